"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import plotly.graph_objects as go
import pytest
import torch
from hypothesis import settings
from plotly.io.json import to_json_plotly

from winit.figures.chart import Chart

# Busy machines are slow now and then: a deadline would fail tests that are right.
settings.register_profile("winit", deadline=None)
settings.load_profile("winit")

# Not the developer's own store: what was made by yesterday's code would be taken for today's.
_FOLDER = tempfile.TemporaryDirectory(prefix="winit-store-")
os.environ["WINIT_STORE"] = str(Path(_FOLDER.name) / "runs.sqlite")


@pytest.fixture(autouse=True)
def _keep_denormals() -> Iterator[None]:
    """Undo what training sets for its thread: other tests look at the smallest numbers."""
    yield
    torch.set_flush_denormal(False)


_VALID: set[str] = set()
"""Traces and layouts that Plotly has found nothing to object to."""


@pytest.fixture(autouse=True)
def _validate_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Plotly check every figure that a test makes: the app leaves that out, it takes longer than drawing."""
    build = Chart.figure

    def validated(chart: Chart) -> go.Figure:
        figure = build(chart)
        said = figure.to_dict()
        for part in ({"layout": said["layout"]}, *({"data": [trace]} for trace in said["data"])):
            text = to_json_plotly(part)
            if text not in _VALID:
                go.Figure(part)
                _VALID.add(text)
        return figure

    monkeypatch.setattr(Chart, "figure", validated)
