"""Figures of one step of a training: layers, and what the networks answer, in the form that suits the data.

Classes: regions in the plane, a board of digits, a table of true and predicted classes. Regressions:
curves over one feature, a heat map over two, predictions against targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from winit.datasets import Data, Measure
from winit.figures import style
from winit.figures.chart import Chart
from winit.figures.palette import Palette, Style
from winit.recording import line, plane
from winit.statistics import LayerStatistics, Spread

Array = NDArray[np.float64]

SURFACE_POINTS = 50
"""Points along each side of the plane over which decisions or predictions are shown."""
CURVE_POINTS = 240
"""Points of a curve over one feature."""
BOARD = (5, 6)
"""Rows and columns of the board of digits."""
BOARD_SAMPLES = BOARD[0] * BOARD[1]

_BEYOND = 20.0  # a curve that leaves the figure is cut so many of its heights away: browsers draw no larger numbers
_CELL_HEIGHT = 76
_SURFACE_HEIGHT = 2 * style.SMALL_HEIGHT + 16
_GAP = 3  # empty pixels between the digits of a board; one row of them holds the answer


def score_axis(scores: Array, measure: Measure, *, leave: float = 0.0) -> dict[str, Any]:
    """Return range and ticks of an axis of scores: from the lowest (at most 0, at least the measure's floor) to 1.

    `leave` is the share of the scores that may lie below, so that a short dip does not press the rest together.
    """
    finite = scores[np.isfinite(scores)]
    lowest = float(np.quantile(finite, leave, method="lower")) if len(finite) else 0.0
    low = max(min(lowest, 0.0), measure.floor)
    step = 0.25 if low > -0.5 else 0.5
    ticks = np.arange(np.ceil(low / step) * step, 1 + step / 2, step)
    margin = 0.02 * (1 - low)
    return {
        "range": [low - margin, 1 + 2 * margin],
        "tickvals": ticks.tolist(),
        "ticktext": [measure.rough(tick) for tick in ticks],
    }


def layers(statistics: LayerStatistics, looks: Sequence[Style], palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the standard deviation of activations and gradients by hidden layer on a log axis, one member a look."""
    title = "Activations (solid), gradients (dotted)" if len(looks) > 1 else "Standard deviation by hidden layer"
    chart = style.figure(palette, y=title, x="hidden layer", height=style.SMALL_HEIGHT, right=96, meta=meta)
    several, labels = len(looks) > 1, []
    named = [
        (spread.deviation[row], name, look, *marks)
        for row, look in enumerate(looks)
        for spread, name, *marks in (
            (statistics.activations, "activations", look.symbol, look.glyph, "solid"),
            (statistics.gradients, "gradients", "triangle-down-open", "▽", "2px,3px"),
        )
    ]
    present = np.concatenate([values[np.isfinite(values) & (values > 0)] for values, *_ in named])
    low, high = (np.log10(present.min()), np.log10(present.max())) if len(present) else (-1.0, 0.0)
    middle, half = (low + high) / 2, max((high - low) / 2 * 1.12, 1.0)
    span = (middle - half, middle + half)
    notes = []
    for values, name, look, symbol, glyph, dash in named:
        usable = np.isfinite(values) & (values > 0)
        who = f"{look.name}<br>" if several else ""
        texts = [f"{who}layer {layer}<br>{name} {style.number(value)}" for layer, value in enumerate(values, start=1)]
        _layer_line(chart, np.where(usable, values, np.nan), texts, look.colour, dash, symbol)
        # Several have one label each: its gradients are dotted.
        if usable.any() and (not several or name == "activations"):
            last = np.log10(values[usable][-1])
            labels.append(((last - span[0]) / (span[1] - span[0]), glyph, look.colour, look.name if several else name))
        absent = len(values) - int(usable.sum())
        if absent:
            what = "not finite" if not np.isfinite(values).all() else "0"
            where = "every layer" if absent == len(values) else f"{absent} of {len(values)} layers"
            notes.append(
                f"{style.short_name(look.name, 14)}, {name}: {what}" if several else f"{name} are {what} in {where}"
            )
    for below, text in enumerate(notes, start=1):
        style.note(chart, text, x=0.5, y=0.06 + 0.14 * (len(notes) - below), palette=palette, size=12)
    style.end_labels(chart, labels, palette)
    values_at, texts = style.decades(*span, most=4)
    chart.update_yaxes(type="log", range=span, tickvals=values_at, ticktext=texts)
    return chart.figure()


def _layer_line(
    chart: Chart, values: Array, texts: Sequence[str], colour: str, dash: str, symbol: str = "circle"
) -> None:
    """Draw a line over the hidden layers with markers that say their numbers, and set the axis of the layers."""
    depth = len(values)
    chart.add_scatter(
        x=np.arange(1, depth + 1),
        y=values,
        mode="lines+markers",
        line={"width": 1.6, "color": colour, "dash": dash},
        marker={
            "size": 6.5 if depth <= 40 else 4,
            "color": colour,
            "symbol": symbol,
            "line": {"width": 1.4, "color": colour},
        },
        hoverinfo="text",
        hovertext=texts,
    )
    chart.update_xaxes(range=[0.5, depth + 0.5], tickvals=style.layer_ticks(depth))


USUAL_UPDATE = 1e-3
"""A usual size of an update over that of the weights, for orientation."""


def updates(statistics: LayerStatistics, looks: Sequence[Style], palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the size of the last update over that of the weights by hidden layer, one member a look."""
    title = "Last update, over the size of the weights"
    chart = style.figure(palette, y=title, x="hidden layer", height=style.SMALL_HEIGHT, meta=meta)
    for look, exponents in zip(looks, statistics.update_ratio_log10, strict=True):
        with np.errstate(over="ignore"):
            ratios = np.where(np.isfinite(exponents), 10.0**exponents, np.nan)
        texts = [
            f"{look.name}<br>layer {layer}<br>{style.number(ratio)}" for layer, ratio in enumerate(ratios, start=1)
        ]
        _layer_line(chart, ratios, texts, look.colour, look.dash, look.symbol)
    found = statistics.update_ratio_log10[np.isfinite(statistics.update_ratio_log10)]
    usual = np.log10(USUAL_UPDATE)
    span = (min(usual - 1, *found) - 0.3, max(usual + 1, *found) + 0.3) if len(found) else (usual - 1, usual + 1)
    if not len(found):
        style.note(chart, "no update yet", x=0.5, y=0.5, palette=palette)
    chart.add_hline(y=USUAL_UPDATE, line={"width": 1.2, "dash": "dot", "color": palette.stalled})
    values_at, texts = style.decades(*span, most=4)
    chart.update_yaxes(type="log", range=span, tickvals=values_at, ticktext=texts)
    return chart.figure()


def shares(statistics: LayerStatistics, looks: Sequence[Style], palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the shares of dead units and of saturated units and samples by hidden layer, one member a look."""
    title = "Dead units (solid), saturated ones (dotted)"
    chart = style.figure(palette, y=title, x="hidden layer", height=style.SMALL_HEIGHT, meta=meta)
    for row, look in enumerate(looks):
        for name, values, dash, symbol in (
            ("dead", statistics.dead_fraction[row], "solid", look.symbol),
            ("saturated", statistics.saturated_fraction[row], "2px,3px", "circle-open"),
        ):
            texts = [
                f"{look.name}<br>layer {layer}<br>{name} {value:.1%}" for layer, value in enumerate(values, start=1)
            ]
            _layer_line(chart, values, texts, look.colour, dash, symbol)
    ticks = np.linspace(0, 1, 5)
    chart.update_yaxes(range=[-0.03, 1.03], tickvals=ticks, ticktext=[f"{tick:.0%}" for tick in ticks])
    return chart.figure()


def histogram(
    spread: Spread, layer: int, looks: Sequence[Style], title: str, palette: Palette, *, meta: str = ""
) -> go.Figure:
    """Return how values are spread in one hidden layer (1 to depth), one member a look: shares of equal bins."""
    chart = style.figure(palette, y=title, x="", height=style.SMALL_HEIGHT, left=34, right=8, meta=meta)
    chart.update_layout(margin={"b": 30})
    for row, look in enumerate(looks):
        low, high = float(spread.low[row, layer - 1]), float(spread.high[row, layer - 1])
        counts = spread.counts[row, layer - 1]
        if not (np.isfinite(low) and np.isfinite(high)):
            style.note(chart, "not finite", x=0.5, y=0.9 - 0.15 * row, palette=palette)
            continue
        if low == high:
            style.note(chart, f"all are {style.number(low)}", x=0.5, y=0.9 - 0.15 * row, palette=palette)
            continue
        edges = np.linspace(low, high, len(counts) + 1)
        heights = counts / counts.sum()
        texts = [
            f"{look.name}<br>{style.number(left)} to {style.number(right)}<br>{height:.1%} of the values"
            for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True)
        ]
        chart.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=heights,
            width=np.diff(edges),
            marker={"color": look.colour, "line": {"width": 0}},
            opacity=0.85 if len(looks) == 1 else 0.5,
            hoverinfo="text",
            hovertext=texts,
        )
    chart.update_layout(barmode="overlay")
    chart.update_xaxes(nticks=4)
    chart.update_yaxes(nticks=3, tickformat=".0%", rangemode="tozero")
    return chart.figure()


def surface_grid(data: Data) -> tuple[Array, Array, NDArray[np.float32]]:
    """Return the two axes of the plane of two features and its points (SURFACE_POINTS ** 2, 2)."""
    return plane(data, SURFACE_POINTS)


def surface(data: Data, probabilities: Array, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the class probabilities over the plane, with the test points.

    `probabilities` (SURFACE_POINTS ** 2, classes) belong to the points of `surface_grid`.
    """
    first, second, _ = surface_grid(data)
    chart = style.figure(
        palette, y="Decision surface and test points", x="", height=_SURFACE_HEIGHT, meta=meta, left=14
    )
    hues = (palette.diverging[1], palette.diverging[8], palette.ink)
    side = (SURFACE_POINTS, SURFACE_POINTS)
    for number in range(data.outputs):
        hue = hues[number % len(hues)]
        chart.add_heatmap(
            x=first,
            y=second,
            z=np.nan_to_num(probabilities[:, number]).reshape(side),
            zmin=0,
            zmax=1,
            colorscale=[[0, hue + "00"], [1, hue + "b0"]],
            zsmooth="best",
            showscale=False,
            hoverinfo="skip",
        )
    for number in range(data.outputs):
        points = data.test_x[data.test_y == number]
        chart.add_scatter(
            x=points[:, 0],
            y=points[:, 1],
            mode="markers",
            marker={
                "size": 7,
                "color": hues[number % len(hues)],
                "symbol": ("circle", "square", "diamond")[number % 3],
                "line": {"width": 1, "color": palette.page},
            },
            hoverinfo="text",
            hovertext=f"test point of class {number}",
        )
    chart.update_xaxes(visible=False, range=[first[0], first[-1]])
    chart.update_yaxes(visible=False, range=[second[0], second[-1]], scaleanchor="x")
    return chart.figure()


def board(data: Data, probabilities: Array, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the first test digits with what the network takes them for; `probabilities` (samples, 10)."""
    rows, columns = BOARD
    cell_rows, cell = 8 + _GAP + 2, 8 + _GAP
    image = np.full((rows * cell_rows, columns * cell), np.nan)
    shown = data.original(data.test_x[:BOARD_SAMPLES])
    chart = style.figure(palette, y="Test digits, and what the network reads", x="", height=_SURFACE_HEIGHT, left=14)
    answers = probabilities.argmax(axis=1) if np.isfinite(probabilities).all() else None
    for number, pixels in enumerate(shown):
        row, column = divmod(number, columns)
        top, left = row * cell_rows, column * cell
        image[top : top + 8, left : left + 8] = pixels.reshape(8, 8)
        truth = int(data.test_y[number])
        if answers is None:
            text = "?"
        else:
            right = int(answers[number]) == truth
            text = f"{answers[number]}" if right else f"<b>{answers[number]}</b> ≠ {truth}"
        style.note(
            chart, text, x=left + 3.5, y=top + 9.4, xref="x", yref="y", palette=palette, size=12.5, align="center"
        )
    shades = [[index / 9, colour] for index, colour in enumerate((palette.page, *palette.sequential[1:]))]
    chart.add_heatmap(z=image, zmin=0, zmax=16, colorscale=shades, showscale=False, hoverinfo="skip", xgap=0, ygap=0)
    chart.update_xaxes(visible=False, range=[-1.5, columns * cell - _GAP + 0.5])
    chart.update_yaxes(visible=False, range=[rows * cell_rows - 1, -1], showgrid=False)
    chart.update_layout(meta=meta)
    return chart.figure()


def curve_points(data: Data) -> NDArray[np.float32]:
    """Return the inputs (CURVE_POINTS, 1) of a curve over the one feature, evenly spaced."""
    return line(data, CURVE_POINTS)


def fitted_curves(data: Data, outputs: Array, look: Style, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return every member's curve, their median and the points: training ones grey, test ones in ink.

    `outputs` (members, CURVE_POINTS) belong to the inputs of `curve_points`.
    """
    chart = style.figure(palette, y="Target, in its standard deviations", x="input", height=_SURFACE_HEIGHT, meta=meta)
    low, high = _target_range(data)
    for x, y, name, colour, opacity in (
        (data.train_x, data.train_y, "training", palette.stalled, 0.5),
        (data.test_x, data.test_y, "test", palette.ink, 0.8),
    ):
        chart.add_scatter(
            x=data.original(x)[:, 0],
            y=y[:, 0],
            mode="markers",
            marker={"size": 4.5, "color": colour, "opacity": opacity},
            hoverinfo="text",
            hovertext=[f"{name} point<br>target {style.number(value)}" for value in y[:, 0]],
        )
    inputs = data.original(curve_points(data))[:, 0]
    far = _BEYOND * (high - low)
    for number, row in enumerate((*outputs, _over_members(outputs, np.nanmedian))):
        median = number == len(outputs)
        name = f"median of {len(outputs)} runs" if median else f"run {number + 1}"
        chart.add_scatter(
            x=inputs,
            y=np.clip(np.where(np.isfinite(row), row, np.nan), low - far, high + far),
            mode="lines",
            line={"width": 2.8 if median else 1.1, "color": look.colour},
            opacity=1.0 if median else 0.55,
            hoverinfo="text",
            hovertext=[f"{name}<br>prediction {style.number(value)}" for value in row],
        )
    _note_silence(chart, outputs, palette)
    chart.update_xaxes(range=[inputs[0], inputs[-1]], nticks=6)
    chart.update_yaxes(range=[low, high], nticks=8)
    return chart.figure()


def heat_map(data: Data, outputs: Array, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the members' mean prediction over the plane, with the test points in the colour of their target.

    `outputs` (members, SURFACE_POINTS ** 2) belong to the points of `surface_grid`. Where prediction
    and target agree, a point has the colour of what surrounds it.
    """
    first, second, _ = surface_grid(data)
    title = "Mean prediction, and test points by target"
    chart = style.figure(palette, y=title, x="", height=_SURFACE_HEIGHT, meta=meta, left=14)
    largest = float(np.abs(np.concatenate((data.train_y, data.test_y))).max()) or 1.0
    shades = [[index / 9, colour] for index, colour in enumerate(palette.diverging)]
    mean = np.clip(_over_members(outputs, np.nanmean), -largest, largest)
    chart.add_heatmap(
        x=first,
        y=second,
        z=mean.reshape(SURFACE_POINTS, SURFACE_POINTS),
        zmin=-largest,
        zmax=largest,
        colorscale=shades,
        zsmooth="best" if np.isfinite(mean).all() else False,
        hoverinfo="skip",
        showscale=False,
    )
    targets = data.test_y[:, 0].astype(np.float64)
    chart.add_scatter(
        x=data.test_x[:, 0],
        y=data.test_x[:, 1],
        mode="markers",
        marker={
            "size": 8,
            "color": targets,
            "cmin": -largest,
            "cmax": largest,
            "colorscale": shades,
            "showscale": True,
            "colorbar": {
                "orientation": "h",
                "y": 0,
                "yanchor": "top",
                "ypad": 4,
                "thickness": 8,
                "len": 1,
                "outlinewidth": 0,
                "nticks": 7,
                "tickfont": {"size": 12, "color": palette.ink},
            },
            "line": {"width": 1, "color": palette.ink},
        },
        hoverinfo="text",
        hovertext=[f"test point<br>target {style.number(target)}" for target in targets],
    )
    _note_silence(chart, outputs, palette)
    chart.update_xaxes(visible=False, range=[first[0], first[-1]])
    chart.update_yaxes(visible=False, range=[second[0], second[-1]])
    chart.update_layout(margin={"b": 54})
    unit = "standard deviations of the target"
    style.note(chart, unit, x=1, y=0, palette=palette, yshift=-32, xanchor="right", yanchor="top")
    return chart.figure()


def predicted_against_true(data: Data, outputs: Array, look: Style, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the members' mean prediction for each test sample against its target, with the range of the members.

    `outputs` (members, test samples). What lies beyond the figure is drawn at its edge.
    """
    title = "Predicted target, in its standard deviations"
    chart = style.figure(palette, y=title, x="true target", height=_SURFACE_HEIGHT, meta=meta)
    low, high = _target_range(data)
    targets = data.test_y[:, 0].astype(np.float64)
    mean, least, most = (_over_members(outputs, summary) for summary in (np.nanmean, np.nanmin, np.nanmax))
    chart.add_scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        line={"width": 1.2, "dash": "dot", "color": palette.stalled},
        hoverinfo="skip",
    )
    gaps = np.full(len(targets), np.nan)
    chart.add_scatter(
        x=np.stack((targets, targets, gaps), axis=1).ravel(),
        y=np.stack((np.clip(least, low, high), np.clip(most, low, high), gaps), axis=1).ravel(),
        mode="lines",
        line={"width": 1.1, "color": look.colour},
        opacity=0.5,
        hoverinfo="skip",
    )
    chart.add_scatter(
        x=targets,
        y=np.clip(mean, low, high),
        mode="markers",
        marker={"size": 7, "color": look.colour, "line": {"width": 1, "color": palette.page}},
        cliponaxis=False,
        hoverinfo="text",
        hovertext=[
            f"target {style.number(target)}<br>mean prediction {style.number(value)}<br>runs {style.number(lowest)} to"
            f" {style.number(highest)}"
            for target, value, lowest, highest in zip(targets, mean, least, most, strict=True)
        ],
    )
    style.note(
        chart,
        "perfect",
        x=high,
        y=high,
        xref="x",
        yref="y",
        palette=palette,
        size=12,
        xanchor="right",
        yanchor="top",
        xshift=-16,
        yshift=0,
    )
    _note_silence(chart, outputs, palette)
    chart.update_xaxes(range=[low, high], nticks=8)
    chart.update_yaxes(range=[low, high], nticks=8)
    return chart.figure()


def majority(probabilities: Array) -> NDArray[np.int64]:
    """Return the class (samples,) that most members choose, -1 where none gives a finite answer.

    `probabilities` (members, samples, classes). Among classes with equally many votes their mean
    probability decides.
    """
    finite = np.isfinite(probabilities.sum(axis=2, keepdims=True))
    known = np.where(finite, probabilities, 0.0)
    votes = np.eye(known.shape[2])[known.argmax(axis=2)] * finite
    chosen = (votes.sum(axis=0) + known.mean(axis=0)).argmax(axis=1)
    return np.where(finite.any(axis=(0, 2)), chosen, -1)


def confusion(
    data: Data, answers: NDArray[np.int64], palette: Palette, *, names: Sequence[str] = (), meta: str = ""
) -> go.Figure:
    """Return how many test samples of each class are taken for which; `answers` (test samples,), -1 for none.

    A cell is the darker the larger its share of the true class. `names` of the classes, else their numbers.
    """
    classes = np.arange(data.outputs)
    labels = [*names] or [str(number) for number in classes]
    counts = np.array([[((data.test_y == true) & (answers == taken)).sum() for taken in classes] for true in classes])
    totals = np.bincount(data.test_y.astype(np.int64), minlength=data.outputs)
    height = _CELL_HEIGHT * len(classes) + 78
    left = 20 + 7 * max(len(label) for label in labels)
    chart = style.figure(palette, y="True class of test samples", x="predicted class", height=height, left=left)
    shades = [[index / 4, colour] for index, colour in enumerate((palette.page, *palette.sequential[:4]))]
    chart.add_heatmap(
        x=classes,
        y=classes,
        z=counts / np.maximum(totals, 1)[:, None],
        zmin=0,
        zmax=1,
        colorscale=shades,
        showscale=False,
        xgap=2,
        ygap=2,
        hoverinfo="text",
        text=[
            [
                f"{labels[true]}, taken for {labels[taken]}<br>{counts[true, taken]} of {totals[true]}"
                for taken in classes
            ]
            for true in classes
        ],
    )
    for true in classes:
        for taken in classes:
            text = f"<b>{counts[true, taken]}</b>" if true == taken else str(counts[true, taken])
            style.note(chart, text, x=int(taken), y=int(true), xref="x", yref="y", palette=palette, size=15)
    if not (answers >= 0).any():
        style.note(chart, _SILENCE, x=0.5, y=1, palette=palette, yanchor="top", yshift=-4)
    chart.update_xaxes(tickvals=classes, ticktext=labels, range=[-0.5, len(classes) - 0.5], ticks="", showline=False)
    chart.update_yaxes(tickvals=classes, ticktext=labels, range=[len(classes) - 0.5, -0.5], ticks="", showgrid=False)
    chart.update_layout(meta=meta)
    return chart.figure()


_SILENCE = "no finite prediction"


def _note_silence(chart: Chart, outputs: Array, palette: Palette) -> None:
    """Say that nothing is drawn where no member predicts a finite number."""
    if not np.isfinite(outputs).any():
        style.note(chart, _SILENCE, x=0.5, y=1, palette=palette, yanchor="top", yshift=-4, bgcolor=palette.page)


def _target_range(data: Data) -> tuple[float, float]:
    """Return an axis of targets, with a margin."""
    both = np.concatenate((data.train_y, data.test_y)).astype(np.float64)
    low, high = float(both.min()), float(both.max())
    margin = 0.15 * (high - low) or 1.0
    return low - margin, high + margin


def _over_members(outputs: Array, summary: Callable[..., Any]) -> Array:
    """Return the mean, median, ... of the finite numbers among outputs (members, samples); NaN where there are none."""
    finite = np.where(np.isfinite(outputs), outputs, np.nan)
    present = np.isfinite(outputs).any(axis=0)
    result = np.full(outputs.shape[1], np.nan)
    with np.errstate(over="ignore"):
        result[present] = summary(finite[:, present], axis=0)
    return result
