"""What all tests share."""

from __future__ import annotations

import gc
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
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from winit.figures.chart import Chart

# Busy machines are slow now and then: a deadline would fail tests that are right.
settings.register_profile("winit", deadline=None)
settings.load_profile("winit")

# Streamlit's test harness reads the metadata of all installed packages before each run of a page: half a second.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)

# Not the developer's own store: what was made by yesterday's code would be taken for today's.
_FOLDER = tempfile.TemporaryDirectory(prefix="winit-store-")
os.environ["WINIT_STORE"] = str(Path(_FOLDER.name) / "runs.sqlite")


class _Scheduling(LoadScopeScheduling):
    """A file's tests in one process, for the servers they share; those of browsers in one, or they would wait."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "browser" if path.startswith("tests/browser/") else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Return who divides the tests among processes, in the order that they are collected in."""
    config.option.loadscopereorder = False
    return _Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all but a sample of a test's cases to the slow run, and begin with the browser's.

    `@pytest.mark.sampled(n)`: the first of its cases, and every n-th after it, run with the ordinary tests. Choose n
    so that it divides no number of cases of one parameter: then the sample has every value of each.
    """
    seen: Counter[object] = Counter()
    for item in items:
        sampled = item.get_closest_marker("sampled")
        if sampled is not None:
            function = getattr(item, "function", None)
            if seen[function] % sampled.args[0]:
                item.add_marker(pytest.mark.slow)
            seen[function] += 1
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)  # stable


@pytest.fixture(autouse=True, scope="module")
def _freeze() -> None:
    """Spare the garbage collector what is alive: it walked half a second a page, the more, the more tests had run."""
    gc.collect()
    gc.freeze()


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
