"""Whose page a thread of Streamlit runs, and what becomes of their work when the tab closes."""

from __future__ import annotations

import threading

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from winit import queueing


@st.cache_resource(scope="session", on_release=queueing.leave, show_spinner=False)
def _present(session: str) -> str:
    """Return the session. What lies in a session's cache is released as soon as its tab closes."""
    return session


def arrive(lens: str) -> None:
    """Note which lens this visitor looks at, and have their place in the queue given up when they leave."""
    st.session_state["_lens"] = lens
    context = get_script_run_ctx()
    if context is not None:
        _present(context.session_id)


def _caller() -> queueing.Caller:
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return queueing.Caller(threading.get_ident())
    # Reading the session is where Streamlit ends a run whose tab has closed or whose knob has moved on.
    lens = str(st.session_state.get("_lens", ""))
    return queueing.Caller(context.session_id, lens, lambda: st.session_state.get("_lens"))


queueing.identify_by(_caller)
