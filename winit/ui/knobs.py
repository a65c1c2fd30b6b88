"""Widgets made from declared fields: the kind of a field decides the widget, and nothing else does."""

from __future__ import annotations

from typing import Any

import streamlit as st

from winit.fields import TEXT_LIMIT, Choice, Declared, Field, Form, Integer, Real, Several, Text, fields_of
from winit.initializers import INITIALIZERS
from winit.lenses import Lens
from winit.spec import Spec, Widths
from winit.ui import address

_SLIDER_SPAN = 200
_SEGMENTS = 4
_USUAL_RATES = ("0.001..1:7", "0.001", "0.003", "0.01", "0.03", "0.1", "0.3", "1")
_USUAL_FORMS = (*INITIALIZERS, "random_normal(stddev=0.01)", "random_normal(stddev=1)")


def network(name: str) -> None:
    """Draw the widget of a field of the network."""
    _draw(_field(Spec, name), address.network_key(name))


def own(lens: Lens, name: str, **options: Any) -> None:
    """Draw the widget of a lens's own field; `options` go to the widget (width, placeholder, format_func)."""
    _draw(_field(lens.knobs, name), address.own_key(lens, name), **options)


def _field(owner: type[Declared], name: str) -> Field:
    return next(field for field in fields_of(owner) if field.name == name)


def _draw(field: Field, key: str, **options: Any) -> None:
    kind = field.kind
    # The session's entry decides; the default of each widget says the same, for a widget that the browser
    # mounts only after a later run has overtaken the one that gave it its value.
    held = st.session_state[key]
    common: dict[str, Any] = {
        "key": key,
        "help": field.help,
        "on_change": address.touched,
        **options,
    }
    if isinstance(kind, Integer) and kind.maximum - kind.minimum <= _SLIDER_SPAN and not kind.optional:
        st.slider(field.label, min_value=kind.minimum, max_value=kind.maximum, step=1, value=held, **common)
    elif isinstance(kind, Integer):
        st.number_input(field.label, min_value=kind.minimum, max_value=kind.maximum, step=1, value=held, **common)
    elif isinstance(kind, Real):
        st.number_input(
            field.label,
            min_value=float(kind.minimum),
            max_value=float(kind.maximum),
            step=0.01,
            format="%g",
            value=held,
            **common,
        )
    elif isinstance(kind, Choice) and len(kind.options) <= _SEGMENTS:
        st.segmented_control(field.label, kind.options, required=True, default=held, **common)
    elif isinstance(kind, Choice):
        st.selectbox(field.label, kind.options, index=kind.options.index(held), **common)
    elif isinstance(kind, Form):
        st.selectbox(field.label, kind.options, index=kind.options.index(held), **common)
        name, parameters, _ = kind.parts(held)
        for parameter in parameters:
            inner = address.parameter_key(key, name, parameter.name)
            st.session_state.setdefault(inner, parameter.default)
            _draw(parameter, inner)
    elif isinstance(kind, Text | Widths):
        st.text_input(field.label, value=held, max_chars=TEXT_LIMIT, **common)
    elif isinstance(kind, Several) and isinstance(kind.kind, Choice):
        st.pills(field.label, kind.kind.options, selection_mode="multi", default=held, **common)
    elif isinstance(kind, Several) and isinstance(kind.kind, Integer):
        options = common.pop("options")
        st.pills(
            field.label,
            [*options, *(text for text in held if text not in options)],
            selection_mode="multi",
            default=held,
            **common,
        )
    elif isinstance(kind, Several):
        usual = _USUAL_FORMS if isinstance(kind.kind, Form) else _USUAL_RATES
        st.multiselect(
            field.label,
            list(dict.fromkeys((*usual, *held))),
            default=held,
            max_selections=kind.maximum,
            accept_new_options=True,
            wrap=True,
            **common,
        )
