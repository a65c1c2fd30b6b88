"""Figures of Signal against the numbers that they draw."""

from __future__ import annotations

import math

import numpy as np
import pytest

from winit import signal, theory
from winit.activations import activation
from winit.figures import signal as figures
from winit.figures.palette import LIGHT
from winit.spec import Spec

SMALL = Spec(depth=6, width=16, batch_size=16)


def marks(chart: figures.go.Figure) -> list[figures.go.Scatter]:
    """Return the traces that carry hover texts."""
    return [trace for trace in chart.data if trace.hovertext is not None]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_points_are_the_medians_over_seeds(direction: str) -> None:
    found = signal.measure(SMALL, 5)
    expected = {SMALL.initializer: signal.predict(found)}
    chart = figures.moments([found], expected, LIGHT, direction=direction)
    (points,) = marks(chart)
    want = np.sort(getattr(found, f"{direction}_log10"), axis=0)[2]
    assert np.allclose(points.y, want)
    lines = [np.asarray(trace.y, float) for trace in chart.data if trace.mode == "lines" and not trace.fill]
    course = getattr(expected[SMALL.initializer], direction)
    assert np.allclose(lines[0], course.log10)
    assert np.allclose(lines[1], course.median_log10)


def test_a_correlation_that_nobody_has_is_said_in_the_figure_and_one_that_some_have_is_not() -> None:
    none, some = (signal.measure(SMALL.replace(initializer=name), 2) for name in ("zeros", "he_normal"))
    texts = [
        [note.text for note in figures.correlations(signals, {}, {}, LIGHT).layout.annotations]
        for signals in ([none], [none, some], [some])
    ]
    assert [any("no values that are finite" in str(text) for text in each) for each in texts] == [True, False, False]


def test_only_points_without_overlays() -> None:
    found = signal.measure(SMALL, 2)
    chart = figures.moments([found], {SMALL.initializer: signal.predict(found)}, LIGHT, direction="forward", overlay=())
    assert len(chart.data) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"initializer": "zeros"},
        {"initializer": "random_normal(stddev=1e-30)", "depth": 30},
        {"initializer": "random_normal(stddev=1e30)", "depth": 30},
        {"width": 1},
        {"depth": 1},
        {"batch_size": 1},
    ],
    ids=str,
)
def test_extremes_stand_within_the_axis(changes: dict[str, object]) -> None:
    spec = SMALL.replace(**changes)
    found = signal.measure(spec, 2)
    expected = {spec.initializer: signal.predict(found)}
    for direction in ("forward", "backward"):
        chart = figures.moments([found], expected, LIGHT, direction=direction)
        (points,) = marks(chart)
        low, high = chart.layout.yaxis.range
        assert np.isfinite([low, high]).all()
        assert len(points.y) == spec.depth
        assert all(low <= value <= high for value in points.y)
    for histogram, is_log in ((found.activation_histogram, False), (found.gradient_histogram, True)):
        chart = figures.histogram(histogram, LIGHT, is_log=is_log)
        assert np.isfinite(chart.layout.yaxis.range).all()


def test_underflow_in_float32_is_drawn_where_it_is() -> None:
    found = signal.measure(SMALL.replace(initializer="random_normal(stddev=1e-10)", depth=10), 2)
    chart = figures.moments([found], {}, LIGHT, direction="forward")
    assert any("underflow" in note.text for note in chart.layout.annotations)
    tiny = 2 * math.log10(float(np.finfo(np.float32).tiny))
    assert tiny == pytest.approx(figures.FLOAT32_LOG10, abs=1e-9)


def test_phase_diagram_offers_every_point_of_its_grid() -> None:
    w, b = np.linspace(0, 3, 31), np.linspace(0, 1.5, 31)
    diagram = theory.phase_diagram(activation("tanh"), w, b)
    chart = figures.phase(diagram, {"glorot_normal": (1.0, 0.0), "zeros": (0.0, 0.0)}, (1.0, 0.0), LIGHT)
    grid = chart.data[0]
    assert set(zip(grid.y, grid.x, strict=True)) == {(x, y) for x in w for y in b}
    notes = [note.text for note in chart.layout.annotations]
    for region in ("ordered", "chaotic"):
        assert any(region in text for text in notes)
    assert {"glorot_normal", "zeros"} <= set(notes)


def test_ticks_and_numbers_hold_beyond_double_precision() -> None:
    ticks, texts = figures.style.exponent_ticks(-3200, 10)
    assert ticks[0] >= -3200
    assert len(ticks) <= 8
    assert texts[0].startswith("10⁻")
    assert figures.style.number_of_log10(-400 + math.log10(2.5)) == "2.5\u00a0×\u00a010⁻⁴⁰⁰"
    assert figures.style.number_of_log10(-math.inf) == "0"
    assert figures.style.number_of_log10(math.inf) == "∞"
    assert figures.style.number_of_log10(3) == "1000"


@pytest.mark.parametrize("name", ["relu", "tanh", "erf", "sigmoid", "gelu", "linear"])
def test_names_of_regions_lie_on_no_label(name: str) -> None:
    b, w = np.linspace(0.0, 1.5, 31), np.linspace(0.0, 3.0, 61)
    places = {
        "glorot_normal": (1.0, 0.0),
        "nguyen_widrow": (0.75, 0.43),
        "sparse": (0.23, 0.0),
        "he_normal": (2**0.5, 0),
    }
    chart = figures.phase(theory.phase_diagram(activation(name), w, b), places, None, LIGHT)
    notes = chart.layout.annotations
    regions = [note for note in notes if note.text.startswith("<i>")]
    labels = [note for note in notes if any(note.text == place for place in places)]
    assert regions
    assert len(labels) == len(places)
    height = float(chart.layout.height - chart.layout.margin.t - chart.layout.margin.b)
    low, high = chart.layout.yaxis.range
    for region in regions:
        for label in labels:
            # As wide as on a phone: 240 pixels, text of 6 pixels a letter.
            starts, ends = (
                region.x / 1.5 * 240 - 3 * len(region.text[3:-4]),
                label.x / 1.5 * 240 + 14 + 6 * len(label.text),
            )
            apart = abs((region.y - low) / (high - low) - label.y) * height
            assert starts >= ends or apart >= 14, (region.text, label.text)
