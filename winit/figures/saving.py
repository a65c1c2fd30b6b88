"""Writing a figure to a file: HTML always, PNG and SVG where the package kaleido and a Chromium are found."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import plotly.graph_objects as go

from winit.fields import BadInput, Refused
from winit.figures.palette import LIGHT

FORMATS = (".html", ".png", ".svg")
_SIZE = 1280


def check_name(name: str) -> None:
    """Raise `Refused` for a file name of another format."""
    if name and Path(name).suffix.lower() not in FORMATS:
        raise Refused("a file name that ends in " + ", ".join(FORMATS))


def save(chart: go.Figure, name: str) -> None:
    """Write a figure drawn in `LIGHT` colours to a file, in the format that its name ends in.

    Raises `BadInput` where the file cannot be written, or the format needs what is not installed.
    """
    is_page = name.lower().endswith(".html")
    if not is_page and find_spec("kaleido") is None:
        raise BadInput("figure", name, "a name that ends in .html, or install the package kaleido and Chromium")
    # Streamlit's page gives the browser its font; a file names one that is near it.
    chart = go.Figure(chart).update_layout(
        paper_bgcolor=LIGHT.page, plot_bgcolor=LIGHT.page, font_family="Source Sans Pro, sans-serif"
    )
    try:
        if is_page:
            chart.write_html(name, include_plotlyjs=True)
        else:
            chart.write_image(name, width=_SIZE, scale=2)
    except OSError as problem:
        raise BadInput("figure", name, f"a file that can be written ({problem.strerror or problem})") from None
    except (RuntimeError, ValueError) as problem:
        reason = str(problem).strip().partition("\n")[0]
        raise BadInput("figure", name, f"a name that ends in .html: no Chromium drew it ({reason})") from None
