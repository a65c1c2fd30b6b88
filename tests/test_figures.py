"""The figures: one palette, no two curves alike, numbers as text, and odd results drawn without a crash."""

from __future__ import annotations

import copy
import itertools
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import plotly.io
import pytest
import torch

from winit import datasets, distributions, signal
from winit.datasets import ACCURACY, DATASETS, R_SQUARED, Data, Measure, load
from winit.fields import Choice, Refused, fields_of
from winit.figures import distributions as distribution_figures
from winit.figures import home as home_figures
from winit.figures import saving, style
from winit.figures import training as training_figures
from winit.figures.palette import DARK, LIGHT, TOKENS, Palette, styles
from winit.initializers import FAMILIES, INITIALIZERS, LayerShape
from winit.lenses import DistributionsKnobs
from winit.spec import Spec
from winit.training import Snapshot, train

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
        (999_999, "10⁶"),
        (9.9999e-7, "10⁻⁶"),
        (1.234e-7, "1.23\u00a0×\u00a010⁻⁷"),
        (-4.5e12, "−4.5\u00a0×\u00a010¹²"),
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


def test_a_figure_is_written_as_plotly_would_write_it_looked_into_or_not() -> None:
    chart = style.figure(LIGHT, y="loss", x="step")
    chart.add_scatter(x=np.arange(3.0), y=np.array([1.0, np.nan, 2.0]), mode="lines")
    ours, theirs = chart.figure(), go.Figure({"data": chart.data, "layout": chart.layout}, _validate=False)
    said = json.loads(plotly.io.to_json(theirs, validate=False))
    assert said["layout"]["template"]
    assert json.loads(plotly.io.to_json(ours, validate=False)) == said
    assert copy.deepcopy(ours).to_dict() == ours.to_dict()
    assert ours.data[0].mode == "lines"
    assert json.loads(plotly.io.to_json(ours, validate=False)) == said
    ours.update_layout(height=123)
    assert ours.to_dict()["layout"]["height"] == 123
    with pytest.raises(AttributeError):
        _ = ours.nothing_of_that_name


def _texts(chart: go.Figure) -> str:
    return " ".join(str(annotation.text) for annotation in chart.layout.annotations)


SHAPE = LayerShape(16, 8, layer=2, depth=3, activation="tanh")
LAWS = [*INITIALIZERS, "constant(value=2)", "custom(distribution=two_point)", "custom(distribution=rademacher)"]
VIEWS = list(distribution_figures.VIEWS)


def _drawn(*names: str, shape: LayerShape = SHAPE, samples: int = 4000) -> list[distributions.Drawn]:
    return [distributions.draw(name, shape, samples, 0) for name in names]


def _curves(chart: go.Figure) -> list[go.Scatter]:
    """Return the lines of the exact law."""
    return [trace for trace in chart.data if trace.mode == "lines" and trace.hoverinfo == "text"]


def test_the_views_are_those_of_the_lens() -> None:
    (field,) = (field for field in fields_of(DistributionsKnobs) if field.name == "view")
    assert field.kind == Choice(tuple(VIEWS))
    titles = {_texts(distribution_figures.histograms(_drawn("he_normal"), LIGHT, view=view)) for view in VIEWS}
    assert len(titles) == len(VIEWS)


@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", LAWS)
def test_every_law_can_be_drawn_in_every_view(name: str, view: str, standardized: bool) -> None:
    (drawn,) = _drawn(name)
    chart = distribution_figures.histograms([drawn], LIGHT, view=view, standardized=standardized)
    assert style.short_name(drawn.initializer, 40) in _texts(chart)
    low, high = chart.layout.yaxis.range
    assert np.isfinite([low, high]).all()
    assert low < high
    for trace in chart.data:
        assert np.isfinite(np.array(trace.x, dtype=float)).all()
        heights = np.array(trace.y, dtype=float)
        heights = heights[~np.isnan(heights)]
        if view == "tails":
            assert (heights > 0).all()
            heights = np.log10(heights)
        assert (heights >= low - 1e-9).all()
    for annotation in chart.layout.annotations:
        assert np.isfinite([annotation.x, annotation.y]).all()


@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize(
    "names",
    [
        ["zeros"],
        ["he_normal", "he_uniform", "zeros", "constant(value=2)"],
        ["orthogonal"],
        ["sparse", "custom(distribution=laplace)"],
    ],
)
def test_histograms_carry_the_exact_density(names: list[str], standardized: bool) -> None:
    """Under the line lies what is on no atom, and so it does in the bars."""
    drawn = _drawn(*names)
    chart = distribution_figures.histograms(drawn, LIGHT, standardized=standardized)
    assert all(name in _texts(chart) for name in names)
    for trace, one in zip(_curves(chart), [one for one in drawn if len(one.density)], strict=True):
        area = float(np.trapezoid(np.nan_to_num(np.array(trace.y)), np.array(trace.x)))
        assert area == pytest.approx(1 - sum(asked for _, asked, _ in one.atoms), abs=0.02), one.initializer
    bars = [trace for trace in chart.data if trace.fill]
    for trace, one in zip(bars, [one for one in drawn if len(one.heights)], strict=True):
        area = float(np.trapezoid(np.array(trace.y), np.array(trace.x)))
        assert area == pytest.approx(1 - sum(share for *_, share in one.atoms), abs=0.02), one.initializer


def test_values_that_carry_probability_are_upright_lines() -> None:
    (drawn,) = _drawn("custom(distribution=two_point, share=0.4)")
    chart = distribution_figures.histograms([drawn], LIGHT)
    spikes = [trace for trace in chart.data if trace.mode == "lines+markers"]
    assert [trace.x[0] for trace in spikes] == [value for value, *_ in drawn.atoms]
    for trace, (_, asked, share) in zip(spikes, drawn.atoms, strict=True):
        assert trace.x[0] == trace.x[1]
        assert trace.y[0] == 0
        assert f"{share:.3g} of the weights, {asked:.3g} asked" in trace.hovertext
    heights = np.array([trace.y[1] for trace in spikes])
    shares = np.array([share for *_, share in drawn.atoms])
    np.testing.assert_allclose(heights / shares, heights[0] / shares[0])


def test_a_distribution_function_rises_to_1_through_what_was_drawn() -> None:
    for name in ("he_normal", "he_uniform", "sparse", "custom(distribution=rademacher)", "zeros"):
        (drawn,) = _drawn(name)
        chart = distribution_figures.histograms([drawn], LIGHT, view="cumulative")
        (line,) = _curves(chart)
        (points,) = (trace for trace in chart.data if trace.mode == "markers")
        exact = np.array(line.y)
        assert (np.diff(exact) >= -1e-12).all()
        assert exact[-1] == pytest.approx(1, abs=1e-4)
        # Beyond this the Kolmogorov-Smirnov distance of 4000 draws goes once in 1500 times.
        # Weights are float32: just below a jump and at it are the same place.
        places = np.array(line.x, dtype=np.float32)
        at = np.searchsorted(places, np.array(points.x, dtype=np.float32), side="right") - 1
        assert np.abs(exact[at] - np.array(points.y)).max() < 2 / np.sqrt(4000)


def test_the_tails_have_a_logarithmic_axis_down_to_a_single_weight() -> None:
    drawn = _drawn("random_normal", "custom(distribution=student_t, nu=3)", samples=20_000)
    chart = distribution_figures.histograms(drawn, LIGHT, view="tails")
    assert chart.layout.yaxis.type == "log"
    low, high = chart.layout.yaxis.range
    assert 10**low < min(one.heights[one.heights > 0].min() for one in drawn)
    assert 10**high > max(np.nanmax(one.density) for one in drawn)
    assert distribution_figures.histograms(drawn, LIGHT).layout.yaxis.type != "log"


def test_many_names_stand_in_a_column() -> None:
    names = list(INITIALIZERS)[:10]
    for view in VIEWS:
        chart = distribution_figures.histograms(_drawn(*names), LIGHT, view=view)
        labels = [note for note in chart.layout.annotations if "<b>" in note.text]
        assert len(labels) == len(names)
        places = {(note.x, note.y, note.yshift) for note in labels}
        assert len(places) == len(names)


def test_singular_values_of_orthogonal_are_flat() -> None:
    looked = distributions.close_look("orthogonal", LayerShape(20, 10), 0)
    (trace,) = distribution_figures.singular_values([looked], {}, LIGHT).data
    assert np.allclose(trace.y, 1, atol=1e-5)


def test_singular_values_of_independent_weights_follow_their_law() -> None:
    shape = LayerShape(400, 200)
    looked = [distributions.close_look(name, shape, 0) for name in ("random_normal", "orthogonal")]
    expected = distributions.marchenko_pastur(shape, 0.05, 200)
    chart = distribution_figures.singular_values(looked, {"random_normal": expected}, LIGHT)
    law, normal, _ = chart.data
    assert "Marchenko-Pastur" in law.hovertext
    np.testing.assert_array_equal(law.x, normal.x)
    np.testing.assert_allclose(normal.y, law.y, atol=0.02 * law.y[0])
    for trace in chart.data:
        assert (np.diff(np.array(trace.y, dtype=float)) <= 1e-6).all()
        assert max(trace.y) <= chart.layout.yaxis.range[1]


@pytest.mark.parametrize("name", LAWS)
def test_every_matrix_can_be_shown(name: str) -> None:
    looked = distributions.close_look(name, SHAPE, 0)
    chart = distribution_figures.matrix(looked, LIGHT)
    (image,) = chart.data
    assert np.array(image.z).shape == (8, 16)  # a row is a unit
    np.testing.assert_array_equal(image.z, distributions.weights(name, SHAPE, 0)[0].numpy())
    assert chart.layout.yaxis.autorange == "reversed"  # the first unit on top, as it is written
    # 0 is the page's colour, and both signs go equally far.
    assert image.zmin == -image.zmax
    assert image.zmax > 0
    assert image.colorscale[5] == (0.5, LIGHT.page)
    assert {colour for _, colour in image.colorscale} == {*LIGHT.diverging, LIGHT.page}
    assert distribution_figures.singular_values([looked], {}, LIGHT).data


def test_a_large_matrix_is_shown_by_the_largest_weight_of_each_block() -> None:
    shape = LayerShape(300, 1024)
    looked = distributions.close_look("random_normal", shape, 0)
    assert looked.block == (8, 3)
    assert looked.image.shape == (128, 100)
    matrix = distributions.weights("random_normal", shape, 0)[0].numpy()
    corner = matrix[:8, :3].ravel()
    assert looked.image[0, 0] == corner[np.abs(corner).argmax()]
    assert np.abs(looked.image).max() == np.abs(matrix).max()
    (image,) = distribution_figures.matrix(looked, LIGHT).data
    assert "8 x 3" in image.hovertemplate


@pytest.mark.parametrize("image", ["png", "svg"])
def test_a_figure_is_saved_under_its_name(image: str) -> None:
    options = style.config("histograms", image)["toImageButtonOptions"]
    assert (options["format"], options["filename"]) == (image, "winit-histograms")
    assert style.config("histograms")["scrollZoom"] is False


def test_a_figure_in_a_file_is_the_figure_of_the_page(tmp_path: Path) -> None:
    chart = distribution_figures.histograms(_drawn("he_normal"), LIGHT)
    before = chart.to_json()
    saving.save(chart, str(tmp_path / "weights.HTML"))
    text = (tmp_path / "weights.HTML").read_text(encoding="utf-8")
    assert "he_normal" in text
    assert LIGHT.page in text  # not transparent
    assert chart.to_json() == before


@pytest.mark.parametrize("name", ["weights", "weights.jpg", "html", "weights.html.gz", ".png"])
def test_a_file_of_another_format_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=r"ends in \.html, \.png, \.svg"):
        saving.check_name(name)


@pytest.mark.parametrize("depth", [1, 2, 30, 200])
@pytest.mark.parametrize("initializer", ["zeros", "he_normal", "random_normal(stddev=1e30)"])
def test_funnels_of_any_network(depth: int, initializer: str) -> None:
    measured = signal.measure(Spec(depth=depth, width=4, initializer=initializer), 2, samples=8, backward=False)
    chart = home_figures.funnel(measured, LIGHT)
    for trace in chart.data:
        assert np.isfinite(np.array(trace.y, dtype=float)).all()


@pytest.mark.parametrize("initializer", ["he_normal", "zeros", "random_normal(stddev=1e20)"])
@pytest.mark.parametrize("dataset", ["digits", "blobs", "moons", "wine", "wave", "hills", "diabetes"])
def test_a_run_can_be_drawn_from_its_first_step(initializer: str, dataset: str) -> None:
    spec = Spec(depth=3, width=8, steps=6, initializer=initializer, dataset=dataset)
    run = train(spec, 2)
    data, look = run.data, styles([initializer], LIGHT)[initializer]

    def outputs(x: np.ndarray) -> np.ndarray:
        return run.ensemble.outputs(torch.tensor(x).T)[:, 0].double().numpy()

    for _ in range(2):
        next(run)
        layers = run.measure_layers()
        training_figures.layers(layers, [look], LIGHT)
        training_figures.layers(layers, [look, look], LIGHT)
        training_figures.updates(layers, [look, look], LIGHT)
        training_figures.shares(layers, [look, look], LIGHT)
        for spread in (layers.weights, layers.activations, layers.gradients):
            training_figures.histogram(spread, 3, [look, look], "Layer 3", LIGHT)
        match DATASETS[dataset].view:
            case "board":
                shown = run.probabilities(data.test_x[: training_figures.BOARD_SAMPLES])[0]
                training_figures.board(data, shown, LIGHT)
            case "regions":
                _, _, grid = training_figures.surface_grid(data)
                training_figures.surface(data, run.probabilities(grid)[0], LIGHT)
            case "confusion":
                answers = training_figures.majority(run.probabilities(data.test_x))
                training_figures.confusion(data, answers, LIGHT)
            case "curves":
                training_figures.fitted_curves(data, outputs(training_figures.curve_points(data)), look, LIGHT)
            case "heat_map":
                _, _, grid = training_figures.surface_grid(data)
                training_figures.heat_map(data, outputs(grid), LIGHT)
            case "scatter":
                training_figures.predicted_against_true(data, outputs(data.test_x), look, LIGHT)


def test_what_is_missing_in_every_layer_is_said_for_both() -> None:
    """From zeros neither activations nor gradients can be drawn on a log axis: two notes, not one on the other."""
    run = train(Spec(depth=3, width=8, steps=1, initializer="zeros"), 1)
    look = styles(["zeros"], LIGHT)["zeros"]
    chart = training_figures.layers(run.measure_layers(), [look], LIGHT)
    notes = [note for note in chart.layout.annotations if "in every layer" in note.text]
    assert [note.text.split()[0] for note in notes] == ["activations", "gradients"]
    assert abs(notes[0].y - notes[1].y) * (style.SMALL_HEIGHT - 78) >= 17


def test_the_board_shows_what_the_network_reads() -> None:
    data = datasets.load("digits")
    answers = np.zeros((training_figures.BOARD_SAMPLES, 10))
    answers[np.arange(len(answers)), data.test_y[: len(answers)]] = 1
    assert "≠" not in _texts(training_figures.board(data, answers, LIGHT))
    assert "≠" in _texts(training_figures.board(data, np.roll(answers, 1, axis=1), LIGHT))


# Regressions, and classes in a table

HE = styles(["he_normal"], LIGHT)["he_normal"]
BAD = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "huge": 1e308, "-huge": -1e308}


def _regression(features: int, samples: int = 12) -> Data:
    source = np.random.default_rng(0)
    x, y = source.normal(size=(samples, features)), source.normal(size=(samples, 1))
    parts = x.astype(np.float32), y.astype(np.float32)
    return Data(*parts, parts[0][:5], parts[1][:5], 1)


def _answers(data: Data, members: int) -> dict[str, np.ndarray]:
    """Return inputs (samples, features) for each figure of a regression on which it can be drawn."""
    points = {"predicted_against_true": len(data.test_x)}
    if data.features == 1:
        points["fitted_curves"] = training_figures.CURVE_POINTS
    if data.features == 2:
        points["heat_map"] = training_figures.SURFACE_POINTS**2
    return {name: np.random.default_rng(1).normal(size=(members, count)) for name, count in points.items()}


def _draw(name: str, data: Data, outputs: np.ndarray, palette: Palette) -> go.Figure:
    if name == "heat_map":
        return training_figures.heat_map(data, outputs, palette)
    look = styles(["he_normal"], palette)["he_normal"]
    return getattr(training_figures, name)(data, outputs, look, palette)


def _numbers(chart: go.Figure) -> np.ndarray:
    """Return every coordinate and every value of a figure's traces."""
    found = [getattr(trace, axis) for trace in chart.data for axis in ("x", "y", "z") if hasattr(trace, axis)]
    return np.concatenate([np.array(values, dtype=float).ravel() for values in found if values is not None])


@pytest.mark.parametrize("palette", [LIGHT, DARK, TOKENS], ids=["light", "dark", "tokens"])
@pytest.mark.parametrize("features", [1, 2, 10])
@pytest.mark.parametrize("members", [1, 3])
def test_a_regression_is_drawn_from_its_palette_alone(members: int, features: int, palette: Palette) -> None:
    data = _regression(features)
    allowed = {*palette.categorical, *palette.sequential, *palette.diverging, palette.ink, palette.page}
    allowed |= {palette.stalled, palette.grid}
    for name, outputs in _answers(data, members).items():
        chart = _draw(name, data, outputs, palette)
        assert chart.layout.height < 500
        drawn = [*chart.data, *chart.layout.annotations, *chart.layout.shapes, chart.layout.xaxis, chart.layout.yaxis]
        colours = {found for part in drawn for found in re.findall(r"#[0-9A-Fa-f]{6,8}", str(part.to_plotly_json()))}
        assert colours <= allowed
        assert len(colours) > 2
        assert not any("no finite" in note.text for note in chart.layout.annotations)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", list(BAD))
@pytest.mark.parametrize("lost", [1, 3])
@pytest.mark.parametrize("features", [1, 2, 10])
def test_what_diverged_leaves_a_figure_that_can_be_drawn(features: int, lost: int, bad: str) -> None:
    """Nothing beyond what a browser draws, and the rest as it is."""
    data = _regression(features)
    for name, outputs in _answers(data, 3).items():
        outputs[:lost] = BAD[bad]
        chart = _draw(name, data, outputs, LIGHT)
        numbers = _numbers(chart)
        assert np.abs(numbers[~np.isnan(numbers)]).max() < 1000
        ranges = [chart.layout.xaxis.range, chart.layout.yaxis.range]
        assert np.isfinite(ranges).all()
        said = "no finite prediction" in _texts(chart)
        assert said == (lost == 3 and "huge" not in bad)


def test_curves_and_their_median() -> None:
    data = _regression(1)
    inputs = training_figures.curve_points(data)
    assert inputs.shape == (training_figures.CURVE_POINTS, 1)
    assert inputs.dtype == np.float32
    both = np.concatenate((data.train_x, data.test_x))
    assert inputs.min() < both.min()
    assert inputs.max() > both.max()
    outputs = np.stack([np.full(len(inputs), value) for value in (0.1, 0.2, 0.9, np.nan)])
    chart = training_figures.fitted_curves(data, outputs, HE, LIGHT)
    train, test, *runs, median = chart.data
    np.testing.assert_array_equal(train.y, data.train_y[:, 0])
    np.testing.assert_array_equal(test.x, data.test_x[:, 0])
    assert len(runs) == 4
    np.testing.assert_allclose(median.y, 0.2)
    assert median.line.width > 2 * max(run.line.width for run in runs)
    low, high = chart.layout.yaxis.range
    assert low < min(train.y)
    assert high > max(train.y)


def test_a_curve_is_drawn_in_the_units_of_its_input() -> None:
    data = load("wave")
    chart = training_figures.fitted_curves(data, np.zeros((1, training_figures.CURVE_POINTS)), HE, LIGHT)
    low, high = chart.layout.xaxis.range
    assert low == pytest.approx(-1.04, abs=0.02)
    assert high == pytest.approx(1.04, abs=0.02)


def test_a_heat_map_and_its_points_share_their_colours() -> None:
    data = _regression(2)
    outputs = np.zeros((2, training_figures.SURFACE_POINTS**2))
    outputs[0], outputs[1, 0] = 0.5, np.nan
    image, points = training_figures.heat_map(data, outputs, LIGHT).data
    values = np.array(image.z)
    assert values.shape == (training_figures.SURFACE_POINTS,) * 2
    assert (values[0, 0], values[1, 1]) == (0.5, 0.25)
    assert (image.zmin, image.zmax) == (points.marker.cmin, points.marker.cmax)
    assert image.zmin == -image.zmax
    assert image.colorscale == points.marker.colorscale
    np.testing.assert_allclose(points.marker.color, data.test_y[:, 0])


def test_predictions_lie_on_the_diagonal_where_they_are_right() -> None:
    data = _regression(10)
    targets = data.test_y[:, 0].astype(np.float64)
    chart = training_figures.predicted_against_true(data, np.stack([targets, targets]), HE, LIGHT)
    diagonal, _, points = chart.data
    np.testing.assert_array_equal(points.x, points.y)
    assert list(diagonal.x) == list(diagonal.y) == list(chart.layout.xaxis.range) == list(chart.layout.yaxis.range)
    chart = training_figures.predicted_against_true(data, np.stack([targets - 0.1, targets + 0.3]), HE, LIGHT)
    _, ranges, points = chart.data
    np.testing.assert_allclose(points.y, targets + 0.1)
    np.testing.assert_allclose(np.array(ranges.y).reshape(-1, 3)[:, :2], np.stack([targets - 0.1, targets + 0.3], 1))
    # What is far off stands at the edge, and says where it is.
    chart = training_figures.predicted_against_true(data, np.full((1, 5), 1e6), HE, LIGHT)
    assert set(chart.data[2].y) == {chart.layout.yaxis.range[1]}
    assert "10⁶" in chart.data[2].hovertext[0]


def test_most_members_decide() -> None:
    certain, leaning, other, lost = (0.0, 0.0, 1.0), (0.1, 0.5, 0.4), (0.6, 0.4, 0.0), (np.nan, 0.2, 0.3)
    members = [[certain, certain, lost, other], [leaning, leaning, lost, lost], [leaning, other, lost, lost]]
    # Two against one; one vote each, where the mean probability decides; nobody; the one that is left.
    assert training_figures.majority(np.array(members)).tolist() == [1, 2, -1, 0]


def test_a_table_of_classes_counts_every_sample() -> None:
    data = load("wine")
    names = DATASETS["wine"].class_names
    for palette in (LIGHT, DARK, TOKENS):
        chart = training_figures.confusion(data, data.test_y, palette, names=names)
        counts = np.bincount(data.test_y)
        assert all(f"<b>{count}</b>" in _texts(chart) for count in counts)
        np.testing.assert_array_equal(chart.data[0].z, np.eye(3))
        assert tuple(chart.layout.xaxis.ticktext) == tuple(chart.layout.yaxis.ticktext) == names
        assert chart.layout.height < 400
    chart = training_figures.confusion(data, np.zeros_like(data.test_y), LIGHT)
    np.testing.assert_array_equal(chart.data[0].z, [[1, 0, 0]] * 3)
    assert tuple(chart.layout.xaxis.ticktext) == ("0", "1", "2")
    chart = training_figures.confusion(data, np.full_like(data.test_y, -1), LIGHT, names=names)
    assert not np.array(chart.data[0].z).any()
    assert "no finite prediction" in _texts(chart)


@pytest.mark.parametrize(("mode", "palette"), MODES)
def test_counts_are_readable_on_their_cells(mode: str, palette: Palette) -> None:
    chart = training_figures.confusion(load("wine"), load("wine").test_y, palette)
    for _, shade in chart.data[0].colorscale:
        assert _contrast(shade, palette.ink) >= 4.5, (mode, shade)


@pytest.mark.parametrize(
    ("measure", "values", "low", "ticks"),
    [
        (ACCURACY, [0.3, 0.9], 0.0, ["0%", "25%", "50%", "75%", "100%"]),
        (R_SQUARED, [0.3, 0.9], 0.0, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (R_SQUARED, [-0.3, 0.9], -0.3, ["−0.25", "0.00", "0.25", "0.50", "0.75", "1.00"]),
        (R_SQUARED, [-1e30, np.nan, np.inf], -1.0, ["−1.00", "−0.50", "0.00", "0.50", "1.00"]),
        (R_SQUARED, [np.nan], 0.0, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
    ],
)
def test_the_axis_of_a_score(measure: Measure, values: list[float], low: float, ticks: list[str]) -> None:
    axis = training_figures.score_axis(np.array(values), measure)
    bottom, top = axis["range"]
    assert low - 0.05 < bottom < low
    assert 1 < top < 1.1
    assert axis["ticktext"] == ticks
    assert len(axis["tickvals"]) == len(ticks)
    assert all(bottom <= tick <= top for tick in axis["tickvals"])


def test_a_short_dip_does_not_press_the_axis_of_a_score() -> None:
    scores = np.append(np.linspace(0, 0.9, 99), -0.9)
    assert training_figures.score_axis(scores, R_SQUARED, leave=0.02)["range"][0] == pytest.approx(-0.02)
    assert training_figures.score_axis(scores, R_SQUARED)["range"][0] < -0.9


def _snapshots(scores: np.ndarray, losses: np.ndarray) -> list[Snapshot]:
    """Return the steps of a run from scores and losses, (members, steps)."""
    left = tuple(None if np.isfinite(row).all() else 3 for row in losses)
    return [
        Snapshot(step, loss, score, score, left, None)
        for step, (score, loss) in enumerate(zip(scores.T, losses.T, strict=True))
    ]


REGRESSION_SCORES = np.array([[-9.0, -0.4, 0.2, 0.5, 0.8, 0.9], [0.0, -0.1, 0.1, np.nan, np.nan, np.nan]])
REGRESSION_LOSSES = np.array([[10, 1.4, 0.8, 0.5, 0.2, 0.1], [1, 1.1, 0.9, np.nan, np.inf, np.nan]])


def test_the_figures_of_a_step_show_its_numbers() -> None:
    run = train(Spec(depth=4, width=8, steps=3, activation="tanh"), 2, every=1, layer_statistics=True)
    layers = [snapshot.layers for snapshot in run][-1]
    assert layers is not None
    names = ["he_normal", "glorot_normal"]
    looks = list(styles(names, LIGHT).values())
    lines = training_figures.layers(layers, looks, LIGHT).data
    assert len(lines) == 4
    np.testing.assert_array_equal(lines[0].y, layers.activations.deviation[0])
    np.testing.assert_array_equal(lines[3].y, layers.gradients.deviation[1])
    ratios = training_figures.updates(layers, looks, LIGHT).data
    np.testing.assert_array_equal([line.y for line in ratios], 10**layers.update_ratio_log10)
    dead, saturated = training_figures.shares(layers, looks[:1], LIGHT).data
    np.testing.assert_array_equal([dead.y, saturated.y], [layers.dead_fraction[0], layers.saturated_fraction[0]])
    chart = training_figures.histogram(layers.activations, 2, looks, "Activations", LIGHT)
    for member, bars in enumerate(chart.data):
        counts = layers.activations.counts[member, 1]
        np.testing.assert_allclose(bars.y, counts / counts.sum())
        low, high = layers.activations.low[member, 1], layers.activations.high[member, 1]
        assert bars.x[0] - bars.width[0] / 2 == pytest.approx(low)
        assert bars.x[-1] + bars.width[-1] / 2 == pytest.approx(high)
        assert names[member] in bars.hovertext[0]
