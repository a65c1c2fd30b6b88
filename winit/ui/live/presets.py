"""The row above the player: starts that are worth seeing, each with one press, and who learns side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from winit.lenses import TrainKnobs
from winit.ui import address, frame

_DEEP: Mapping[str, Any] = {"depth": 30, "activation": "relu"}
_USUAL: Mapping[str, Any] = {"depth": 10, "activation": "relu"}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "Zeros": {**_USUAL, "initializer": "zeros"},
    "Too small": {**_USUAL, "initializer": "random_normal(stddev=0.01)"},
    "Too large": {**_USUAL, "initializer": "random_normal(stddev=1)"},
    "Glorot in ReLU, 30 layers": {**_DEEP, "initializer": "glorot_normal"},
    "He in ReLU, 30 layers": {**_DEEP, "initializer": "he_normal"},
}
"""Fields of the network by the label of their button."""


def show_row(page: frame.Page[TrainKnobs]) -> None:
    """Draw the presets, and the lens's own knobs."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall", key="knobs"):
        for number, (label, fields) in enumerate(PRESETS.items()):
            frame.button(
                label,
                key=f"preset-{number}",
                on_click=address.change,
                kwargs={"lens": page.lens, "step": None, **fields},
            )
        runs = "1 run" if page.knobs.seeds == 1 else f"{page.knobs.seeds} runs"
        each = f" × {len(page.knobs.beside) + 1} initializers" if page.knobs.beside else ""
        with st.popover(runs + each, icon=":material/compare:", key="runs"):
            for name in ("beside", "seeds", "shown"):
                page.knob(name)
