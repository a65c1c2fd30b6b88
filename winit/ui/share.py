"""Share: the link to what is in view, to copy, to frame, to project, and a network as a file."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import streamlit as st

from winit import permalink, sharing
from winit.fields import BadInput, Declared
from winit.lenses import Lens
from winit.spec import Spec
from winit.ui.pages import PAGES


def page_url() -> str:
    """Return the URL of the page in view, without its query."""
    parts = urlsplit(st.context.url or "")
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", "", ""))


@st.dialog("Share", width="medium", icon=":material/link:")
def show(lens: Lens, spec: Spec, knobs: Declared) -> None:
    """Open the dialog on a page with its network and knobs."""
    url = sharing.link(page_url(), spec, knobs)
    link, room, file = st.tabs(("Link", "Lecture hall", "File"))
    with link:
        st.markdown("Opens this page with this network, these knobs and these seeds: the same figure.")
        st.code(url, language=None, wrap_lines=True)
        st.markdown("In a page of your own, this shows it in a frame:")
        st.code(sharing.embedding(url), language="html", wrap_lines=True)
    with room:
        st.image(sharing.qr_code(url), width=420, caption="For phones in a lecture hall.")
    with file:
        st.markdown("Every field of the network and of this page's knobs. Pasted below, it opens again.")
        st.download_button(
            "Save as JSON",
            sharing.saved(lens, spec, knobs),
            "winit-network.json",
            "application/json",
            key="share-save",
            icon=":material/download:",
            on_click="ignore",
        )
        text = st.text_area("Saved network", key="share-text", height=160, max_chars=sharing.FILE_LIMIT)
        if st.button("Open it", key="share-open", icon=":material/file_open:"):
            try:
                where, network, own = sharing.opened(text)
            except BadInput as problem:
                st.error(str(problem), icon=":material/block:")
            else:
                st.switch_page(PAGES[where.slug].script, query_params=permalink.write(network, own))
