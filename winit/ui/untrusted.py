"""What a browser says of its widgets is untrusted: a value that a widget cannot have counts as none.

Streamlit takes a widget's state as it comes. One of another type raises while the session is put in
order, before any page is drawn, and so it does in each run that follows: the visitor sees no page any more.
"""

from __future__ import annotations

from typing import Any

from streamlit.runtime.state.session_state import Serialized, Value, WStates

_as_it_comes = WStates.__getitem__
_NUMBERS = {"int_value", "double_value"}
"""A field of whole numbers sends the one or the other."""


def _checked(states: WStates, name: str) -> Any:
    """Return the value of a widget, its default where the browser sent what it cannot have."""
    held, about = states.states.get(name), states.widget_metadata.get(name)
    if not isinstance(held, Serialized) or about is None:
        return _as_it_comes(states, name)
    given = held.value.WhichOneof("value")
    if given in (None, about.value_type) or {given, about.value_type} == _NUMBERS:  # None: an emptied one
        try:
            return _as_it_comes(states, name)
        # Whatever a deserializer of Streamlit's raises at it: wrong types, numbers too large, text nested too deep.
        except Exception:
            pass
    states.states[name] = Value(about.deserializer(None))
    return states.states[name].value


def distrust_widgets() -> None:
    """Check every value of a widget that a browser sends, in this process."""
    # Not public: there is no other place between the browser's message and the session.
    WStates.__getitem__ = _checked  # type: ignore[method-assign]
