"""The address and the session: which network, which knobs, and how widgets, session and query agree.

The only module that touches `st.query_params`. Values live in plain session entries; widgets are
handles on them, by their keys. `open_page` runs once per script run, before
any widget is drawn, so the address never waits for a page's work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar, cast

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from winit import permalink, textform
from winit.fields import BadInput, Declared, Field, Form, Refused, Several, fields_of
from winit.lenses import Lens
from winit.spec import Spec, Widths
from winit.ui import untrusted, visitor

# A link clicked within this time of a knob may still carry the network from before the knob moved.
_LAG_SECONDS = 2.0

_D = TypeVar("_D", bound=Declared)

untrusted.distrust_widgets()


def _state() -> MutableMapping[str, Any]:
    return cast(MutableMapping[str, Any], st.session_state)


def touched() -> None:
    """Mark that the next run was caused by a widget. Every widget that reruns the script calls this.

    A run receives the query of the moment of the event, which may be older than the address that was
    written since: without the mark it would be taken for a hand-edited address.
    """
    _state()["_touched"] = True


def rerun() -> None:
    """Run the whole page again from a fragment, with what the session holds.

    Marked, because it carries the query from when the fragment began, and the visitor may have gone
    back since.
    """
    _state()["_again"] = True
    st.rerun()


def heed_widgets() -> None:
    """Run the whole page again from a fragment whose message brought what the page has to hear of.

    That is a change of the network by a widget of the fragment, or any widget outside of it: the browser sends in one
    message what changes in one moment, and if a component of a fragment spoke in that moment, the message asks for
    the fragment alone.
    """
    if _state().get("_touched"):
        st.rerun()


def is_history_navigation() -> bool:
    """Whether this run was caused by the browser's back or forward button."""
    # Not public: without it back and forward would fall behind the widgets.
    return bool(getattr(get_script_run_ctx(), "is_history_navigation", False))


def network_key(name: str) -> str:
    """Return the widget key of a field of the network."""
    return name


def own_key(lens: Lens, name: str) -> str:
    """Return the widget key of a lens's own field."""
    return f"{lens.slug}:{name}"


def parameter_key(key: str, record: str, parameter: str) -> str:
    """Return the widget key of a parameter of a text form."""
    return f"{key}.{record}.{parameter}"


def page_named() -> Lens | None:
    """Return the lens that the query names, if it names one."""
    try:
        return permalink.page_named(_query())
    except BadInput:
        return None  # said where the address is read


def without_page() -> dict[str, list[str]]:
    """Return the query without the name of a page."""
    return {name: values for name, values in _query().items() if name != "page"}


def _query() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def open_page(lens: Lens) -> tuple[Spec, Declared, tuple[BadInput, ...]]:
    """Return the network, the lens's knobs and what was refused, and bring the address up to date."""
    visitor.arrive(lens.slug)
    state = _state()
    query = _query()
    spec: Spec = state.setdefault("_network", Spec())
    remembered: dict[str, Declared] = state.setdefault("_own", {})
    knobs = remembered.get(lens.slug) or lens.knobs()
    problems: tuple[BadInput, ...] = state.setdefault("_problems", ())
    by_widget = state.get("_touched", False) and not is_history_navigation()
    again = state.get("_again", False) and not is_history_navigation()
    here = (lens.slug, query)
    is_opened = not (by_widget or again or here == state.get("_last"))

    if by_widget:
        spec, network_problems = _read(spec, network_key)
        knobs, own_problems = _read(knobs, lambda name: own_key(lens, name))
        problems = (*network_problems, *own_problems)
        if spec != state["_network"]:
            state["_superseded"] = (state["_network"], time.monotonic())
    elif is_opened:
        problems = ()
        if permalink.is_stated(query):
            opened = permalink.parse(lens, query)
            old, since = state.get("_superseded", (None, 0.0))
            page_changed = state.get("_last", ("", {}))[0] != lens.slug
            late = page_changed and opened.spec == old and time.monotonic() - since < _LAG_SECONDS
            spec = spec if late else opened.spec
            knobs, problems = opened.knobs, opened.problems
    # The widgets of another page are other widgets under the same keys: they are given their values, equal or not.
    # But on a page that stands that could overtake the visitor's hand, between two quick clicks.
    _put(spec, network_key, anew=is_opened)
    _put(knobs, lambda name: own_key(lens, name), anew=is_opened)
    state["_network"], state["_problems"] = spec, problems
    remembered[lens.slug] = knobs
    # Only now: where the next run cuts this one short, at any look at the session, it has to know as much.
    state["_touched"] = state["_again"] = False
    _write(lens, spec, knobs, query)
    return spec, knobs, problems


def _write(lens: Lens, spec: Spec, knobs: Declared, query: dict[str, list[str]]) -> None:
    """Make the address say what the session holds."""
    state = _state()
    want = permalink.write(spec, knobs)
    listed = {name: [value] for name, value in want.items()}
    # Also compared with what was sent last: the query received may be older than that.
    if listed != query or listed != state.get("_sent"):
        st.query_params.from_dict(want)
    state["_sent"] = listed
    state["_last"] = (lens.slug, listed)


def knobs_of(lens: Lens) -> Declared:
    """Return what the session remembers of a lens, or its defaults."""
    found: Declared = _state().get("_own", {}).get(lens.slug) or lens.knobs()
    return found


def change(lens: Lens, **changes: Any) -> None:
    """Change fields of the network or of a lens from a callback (a preset, a button): one run, one history entry."""
    own = {name: value for name, value in changes.items() if name in knobs_of(lens).values()}
    rest = {name: value for name, value in changes.items() if name not in own}
    _put(_state()["_network"].replace(**rest), network_key)
    _put(knobs_of(lens).replace(**own), lambda name: own_key(lens, name))
    touched()


def reset(lens: Lens) -> None:
    """Put the network and the knobs of every lens back to their defaults, from a callback."""
    _state()["_own"] = {lens.slug: lens.knobs()}
    forms = tuple(f"{network_key(field.name)}." for field in fields_of(Spec) if isinstance(field.kind, Form))
    for key in [key for key in _state() if str(key).startswith(forms)]:
        del _state()[key]
    _put(Spec(), network_key)
    _put(lens.knobs(), lambda name: own_key(lens, name))
    touched()


def _put(values: Declared, key_of: Callable[[str], str], *, anew: bool = False) -> None:
    """Set the widgets' entries to the values, where they differ; `anew` always."""
    for field in fields_of(type(values)):
        key, value = key_of(field.name), getattr(values, field.name)
        if isinstance(field.kind, Form):
            value, parameters, values_by_name = field.kind.parts(value)
            for parameter in parameters:
                put(parameter_key(key, value, parameter.name), values_by_name[parameter.name], anew=anew)
        elif isinstance(field.kind, Several):
            value = [field.kind.kind.write(item) for item in value]
        elif isinstance(field.kind, Widths):
            value = field.kind.write(value)
        put(key, value, anew=anew)


def put(key: str, value: Any, *, anew: bool = False) -> None:
    """Set a widget's entry to a value, where it differs; `anew` always."""
    state = _state()
    # Writing an equal value would send it to the browser and could overtake the visitor's hand. A 3.0 is no 3: a field
    # of whole numbers would not take it.
    if anew or key not in state or state[key] != value or type(state[key]) is not type(value):
        state[key] = value


def _read(held: _D, key_of: Callable[[str], str]) -> tuple[_D, list[BadInput]]:
    """Return the values of the widgets, checked; a refused one keeps what was held."""
    values, problems = held.values(), []
    for field in fields_of(type(held)):
        key = key_of(field.name)
        if key in _state():
            try:
                values[field.name] = _value(field, key)
            except BadInput as problem:
                problems.append(problem)
    return type(held)(**values), problems


def _value(field: Field, key: str) -> Any:
    """Return the checked value of a widget; for a text form, of its parameters' widgets too."""
    value = _state()[key]
    if value is None and not field.optional:
        raise BadInput(field.name, "", field.kind.allowed)
    if isinstance(field.kind, Form):
        return field.check(_form_text(field.kind, value, key))
    if isinstance(field.kind, Several):
        texts = value if isinstance(value, list | tuple) else [value]
        return field.read(";".join(str(text) for text in texts))
    return field.check(value)


def _form_text(kind: Form, name: Any, key: str) -> str:
    """Return the text form that the name's and the parameters' widgets spell."""
    try:
        record, parameters, defaults = kind.parts(str(name))
    except Refused:
        return str(name)
    texts = {}
    for parameter in parameters:
        value = _state().get(parameter_key(key, record, parameter.name), defaults[parameter.name])
        if value is not None:
            texts[parameter.name] = parameter.write(value) if _fits(parameter, value) else str(value)
    return textform.spell(record, texts)


def _fits(field: Field, value: Any) -> bool:
    try:
        field.check(value)
    except BadInput:
        return False
    return True
