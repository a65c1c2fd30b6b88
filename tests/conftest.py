"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import plotly.graph_objects as go
import pytest
import torch
from hypothesis import settings
from plotly.io.json import to_json_plotly
from streamlit.components.v2 import manifest_scanner

from winit.figures.chart import Chart

# Busy machines are slow now and then: a deadline would fail tests that are right.
settings.register_profile("winit", deadline=None)
settings.load_profile("winit")

# Streamlit's test harness reads the metadata of all installed packages before each run of a page: half a second.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)

# Not the developer's own store: what was made by yesterday's code would be taken for today's.
_FOLDER = tempfile.TemporaryDirectory(prefix="winit-store-")
os.environ["WINIT_STORE"] = str(Path(_FOLDER.name) / "runs.sqlite")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all but a sample of a test's cases to the slow run, and keep together what one process should run.

    `@pytest.mark.sampled(n)`: the first of its cases, and every n-th after it, run with the ordinary tests. Choose n
    so that it divides no number of cases of one parameter: then the sample has every value of each. All browser tests
    are one group, and come first: two browsers at a time would wait for each other.
    """
    seen: Counter[object] = Counter()
    for item in items:
        is_browser = item.get_closest_marker("browser") is not None
        item.add_marker(pytest.mark.xdist_group("browser" if is_browser else item.path.name))
        sampled = item.get_closest_marker("sampled")
        if sampled is not None:
            function = getattr(item, "function", None)
            if seen[function] % sampled.args[0]:
                item.add_marker(pytest.mark.slow)
            seen[function] += 1
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)


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
