"""The figures: one palette, no two curves alike, numbers as text, and odd results drawn without a crash."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from winit import comparison, datasets, distributions, signal
from winit.figures import comparison as comparison_figures
from winit.figures import distributions as distribution_figures
from winit.figures import home as home_figures
from winit.figures import style
from winit.figures import training as training_figures
from winit.figures.palette import DARK, LIGHT, TOKENS, Palette, styles
from winit.initializers import FAMILIES, INITIALIZERS, LayerShape
from winit.lenses import CompareKnobs
from winit.spec import Spec
from winit.training import train

CONFIG = tomllib.loads((Path(__file__).parent.parent / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
MODES = [("light", LIGHT), ("dark", DARK)]


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("mode", "palette"), MODES)
def test_the_palette_is_the_theme(mode: str, palette: Palette) -> None:
    theme = CONFIG["theme"][mode]
    assert tuple(theme["chartCategoricalColors"]) == palette.categorical
    assert tuple(theme["chartSequentialColors"]) == palette.sequential
    assert tuple(theme["chartDivergingColors"]) == palette.diverging
    assert (theme["textColor"], theme["backgroundColor"]) == (palette.ink, palette.page)


@pytest.mark.parametrize(("mode", "palette"), MODES)
def test_every_line_stands_out_from_the_page(mode: str, palette: Palette) -> None:
    for colour in (*palette.categorical, palette.stalled):
        assert _contrast(colour, palette.page) >= 3.0, (mode, colour)
    assert _contrast(palette.ink, palette.page) >= 7.0


@pytest.mark.parametrize(("mode", "palette"), MODES)
def test_coloured_words_are_readable(mode: str, palette: Palette) -> None:
    theme = CONFIG["theme"][mode]
    for name in ("blue", "orange", "green", "violet", "yellow", "red", "gray"):
        assert _contrast(theme[f"{name}TextColor"], palette.page) >= 4.5, name
    assert _contrast(theme["primaryColor"], "#FFFFFF") >= 4.5


def test_tokens_are_distinct_and_as_many() -> None:
    every = [*TOKENS.categorical, *TOKENS.sequential, *TOKENS.diverging, TOKENS.ink, TOKENS.page]
    assert len(set(every)) == len(every) == 32
    assert len(TOKENS.categorical) == len(FAMILIES) + 1


def test_no_two_curves_of_a_figure_look_alike() -> None:
    names = [*INITIALIZERS, "random_normal(stddev=1)", "random_normal(stddev=0.01)", "random_normal(stddev=0.1)"]
    names += [f"constant(value={value})" for value in range(1, 12)]
    looks = styles(names, LIGHT)
    assert list(looks) == names
    for one, other in itertools.combinations(looks.values(), 2):
        assert (one.colour, one.dash) != (other.colour, other.dash), (one.name, other.name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (-0.05, "−0.05"),
        (2.302585, "2.3"),
        (0.1767767, "0.177"),
        (99999, "99999"),
        (1e5, "10⁵"),
        (1.234e-7, "1.23 × 10⁻⁷"),
        (-4.5e12, "−4.5 × 10¹²"),
        (np.inf, "∞"),
        (np.nan, "not a number"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert style.number(value) == text


def test_labels_keep_their_order_and_their_distance() -> None:
    heights = [0.5, 0.5, 0.51, 0.0, 1.0, 0.99]
    placed = style.spread_labels(heights, 340)
    assert all(0 <= place <= 1 for place in placed)
    ordered = sorted(placed)
    assert min(np.diff(ordered)) >= 17 / 340 - 1e-9
    assert placed[3] == min(placed)
    assert placed[4] == max(placed)


def test_decades_are_few_and_whole() -> None:
    values, texts = style.decades(-80.3, 2.1)
    assert len(values) == len(texts) <= 8
    assert all(np.isclose(np.log10(value), round(np.log10(value))) for value in values)


@pytest.mark.parametrize(
    ("depth", "ticks"),
    [(1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (10, [1, 4, 6, 8, 10]), (30, [1, 5, 10, 15, 20, 25, 30])],
)
def test_layers_are_whole_numbers(depth: int, ticks: list[int]) -> None:
    assert style.layer_ticks(depth) == ticks


def _texts(chart: go.Figure) -> str:
    return " ".join(str(annotation.text) for annotation in chart.layout.annotations)


@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize(
    "names", [["zeros"], ["he_normal", "he_uniform", "zeros", "constant(value=2)"], ["orthogonal"]]
)
def test_histograms_carry_the_exact_density(names: list[str], standardized: bool) -> None:
    drawn = [distributions.draw(name, LayerShape(16, 8), 4000, 0) for name in names]
    chart = distribution_figures.histograms(drawn, LIGHT, standardized=standardized)
    assert all(name in _texts(chart) for name in names)
    lines = [trace for trace in chart.data if trace.mode == "lines" and trace.hoverinfo == "text"]
    for trace, one in zip(lines, [one for one in drawn if len(one.density)], strict=True):
        area = float(np.trapezoid(np.nan_to_num(np.array(trace.y)), np.array(trace.x)))
        assert area == pytest.approx(1, abs=0.02), one.initializer


def test_singular_values_of_orthogonal_are_flat() -> None:
    values = {"orthogonal": distributions.singular_values("orthogonal", LayerShape(20, 10), 0)}
    (trace,) = distribution_figures.singular_values(values, LIGHT).data
    assert np.allclose(trace.y, 1, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 30, 200])
@pytest.mark.parametrize("initializer", ["zeros", "he_normal", "random_normal(stddev=1e30)"])
def test_funnels_of_any_network(depth: int, initializer: str) -> None:
    measured = signal.measure(Spec(depth=depth, width=4, initializer=initializer), 2, samples=8, backward=False)
    chart = home_figures.funnel(measured, LIGHT)
    for trace in chart.data:
        assert np.isfinite(np.array(trace.y, dtype=float)).all()


@pytest.mark.parametrize("initializer", ["he_normal", "zeros", "random_normal(stddev=1e20)"])
@pytest.mark.parametrize("dataset", ["digits", "blobs", "moons"])
def test_a_run_can_be_drawn_from_its_first_step(initializer: str, dataset: str) -> None:
    spec = Spec(depth=3, width=8, steps=6, initializer=initializer, dataset=dataset)
    run = train(spec, 2)
    look = styles([initializer], LIGHT)[initializer]
    for _ in range(2):
        next(run)
        training_figures.loss_curves(run.snapshots, look, run.data.constant_loss, 6, LIGHT)
        training_figures.accuracy_curves(run.snapshots, look, 0.1, 6, LIGHT)
        training_figures.layers(run.measure_layers(), look, LIGHT)
        if dataset == "digits":
            shown = run.probabilities(run.data.test_x[: training_figures.BOARD_SAMPLES])[0]
            training_figures.board(run.data, shown, LIGHT)
        else:
            _, _, grid = training_figures.surface_grid(run.data)
            training_figures.surface(run.data, run.probabilities(grid)[0], LIGHT)


def test_what_is_missing_in_every_layer_is_said_for_both() -> None:
    """From zeros neither activations nor gradients can be drawn on a log axis: two notes, not one on the other."""
    run = train(Spec(depth=3, width=8, steps=1, initializer="zeros"), 1)
    look = styles(["zeros"], LIGHT)["zeros"]
    chart = training_figures.layers(run.measure_layers(), look, LIGHT)
    notes = [note for note in chart.layout.annotations if "in every layer" in note.text]
    assert [note.text.split()[0] for note in notes] == ["activations", "gradients"]
    assert abs(notes[0].y - notes[1].y) * (style.SMALL_HEIGHT - 78) >= 17


def test_the_board_shows_what_the_network_reads() -> None:
    data = datasets.load("digits")
    answers = np.zeros((training_figures.BOARD_SAMPLES, 10))
    answers[np.arange(len(answers)), data.test_y[: len(answers)]] = 1
    assert "≠" not in _texts(training_figures.board(data, answers, LIGHT))
    assert "≠" in _texts(training_figures.board(data, np.roll(answers, 1, axis=1), LIGHT))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("curve", list(comparison_figures.CURVES))
def test_comparison_figures_name_every_initializer(seeds: int, curve: str) -> None:
    spec = Spec(depth=2, width=16, steps=40, learning_rate=0.1)
    knobs = CompareKnobs(initializers=("zeros", "random_normal(stddev=1e19)"), seeds=seeds)
    run = comparison.start(spec, knobs)
    for _ in run:
        pass
    found = comparison.conclude(run.history())
    groups = [rank.runs for rank in found.ranking]
    chart = comparison_figures.curves(run.snapshots, run.members, curve, run.data.constant_loss, 40, LIGHT, runs=groups)
    said = _texts(chart)
    assert "he_normal" in said
    assert "stalled: zeros" in said
    assert f"diverged, {seeds} of {seeds}" in said
    ranking = _texts(comparison_figures.ranking(found, LIGHT))
    assert "he_normal" in ranking
    assert "diverged" in ranking
    assert "stalled" in ranking
