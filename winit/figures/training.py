"""Figures of Train: curves, layers, and what the networks answer, in the form that suits the data.

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
from winit.figures.palette import Palette, Style
from winit.statistics import LayerStatistics
from winit.training import Snapshot

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


def loss_curves(
    snapshots: Sequence[Snapshot], look: Style, constant_loss: float, total: int, palette: Palette, *, meta: str = ""
) -> go.Figure:
    """Return the training loss of every member against the step, with the loss of the best constant predictor.

    The axis is that of the members which have not diverged; where all have, that of the start.
    """
    losses = np.stack([snapshot.loss for snapshot in snapshots], axis=1)
    remain = np.array([at is None for at in snapshots[-1].diverged_at])
    shown = losses[remain] if remain.any() else losses[:, :1]
    finite = shown[np.isfinite(shown)]
    top = 1.08 * max(float(np.quantile(finite, 0.98)) if len(finite) else 0.0, constant_loss)
    chart = _curves(snapshots, losses, "loss", "Training loss", look, total, palette, meta)
    chart.add_hline(y=constant_loss, line={"width": 1.2, "dash": "dot", "color": palette.stalled})
    style.note(
        chart,
        "best constant",
        x=1,
        y=constant_loss,
        yref="y",
        palette=palette,
        xanchor="right",
        yanchor="bottom",
        size=12,
    )
    chart.update_yaxes(range=[0, top])
    diverged = {member: at for member, at in enumerate(snapshots[-1].diverged_at) if at is not None}
    for member, at in diverged.items():
        chart.add_scatter(
            x=[at],
            y=[0.93 * top],
            mode="markers",
            marker={"symbol": "x-thin", "size": 10, "line": {"width": 2.5, "color": palette.diverged}},
            hoverinfo="text",
            hovertext=f"run {member + 1} diverged at step {at}",
        )
    if diverged:
        text = f"diverged, {len(diverged)} of {losses.shape[0]}"
        style.note(chart, text, x=min(diverged.values()), y=0.93 * top, xref="x", yref="y", palette=palette, xshift=10)
        chart.layout.annotations[-1].xanchor = "left"
    return chart


def score_curves(
    snapshots: Sequence[Snapshot],
    look: Style,
    chance: float,
    total: int,
    palette: Palette,
    measure: Measure,
    *,
    meta: str = "",
) -> go.Figure:
    """Return the test accuracy or R² of every member against the step, with that of the best constant predictor."""
    scores = np.stack([snapshot.test_accuracy for snapshot in snapshots], axis=1)
    name = f"test {measure.label}"
    chart = _curves(snapshots, scores, name, f"Test {measure.label}", look, total, palette, meta, measure.fine)
    chart.add_hline(y=chance, line={"width": 1.2, "dash": "dot", "color": palette.stalled})
    axis = score_axis(scores, measure, leave=0.02)
    side = "bottom" if chance - axis["range"][0] < 0.2 else "top"  # below the line there are fewer curves
    text = measure.constant_label
    style.note(chart, text, x=1, y=chance, yref="y", palette=palette, xanchor="right", yanchor=side, size=12)
    chart.update_yaxes(axis)
    return chart


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


def _curves(
    snapshots: Sequence[Snapshot],
    values: Array,
    name: str,
    title: str,
    look: Style,
    total: int,
    palette: Palette,
    meta: str,
    write: Callable[[float], str] = style.number,
) -> go.Figure:
    chart = style.figure(palette, y=title, x="step", height=style.SMALL_HEIGHT, meta=meta)
    steps = [snapshot.step for snapshot in snapshots]
    for member, row in enumerate(values):
        texts = [
            f"run {member + 1}, step {step}<br>{name} {write(value)}" for step, value in zip(steps, row, strict=True)
        ]
        first = member == 0
        chart.add_scatter(
            x=steps,
            y=row,
            mode="lines+markers" if len(steps) == 1 else "lines",
            line={"width": 2.2 if first else 1.1, "color": look.colour, "dash": "solid"},
            opacity=1.0 if first else 0.55,
            cliponaxis=len(steps) > 1,
            hoverinfo="text",
            hovertext=texts,
        )
    chart.update_xaxes(range=[0, total], nticks=6)
    return chart


def layers(statistics: LayerStatistics, look: Style, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the standard deviation of activations and gradients by hidden layer, first member, on a log axis."""
    activations, gradients = statistics.activation_deviation[0], statistics.gradient_deviation[0]
    depth = len(activations)
    chart = style.figure(
        palette,
        y="Standard deviation by hidden layer",
        x="hidden layer",
        height=style.SMALL_HEIGHT,
        right=96,
        meta=meta,
    )
    shown = [values[np.isfinite(values) & (values > 0)] for values in (activations, gradients)]
    present = np.concatenate(shown)
    low, high = (np.log10(present.min()), np.log10(present.max())) if len(present) else (-1.0, 0.0)
    middle, half = (low + high) / 2, max((high - low) / 2 * 1.12, 1.0)
    span = (middle - half, middle + half)
    numbers = np.arange(1, depth + 1)
    labels = []
    for values, name, symbol, glyph, dash, height in (
        (activations, "activations", look.symbol, look.glyph, "solid", 0.2),
        (gradients, "gradients", "triangle-down-open", "▽", "2px,3px", 0.06),
    ):
        usable = np.isfinite(values) & (values > 0)
        chart.add_scatter(
            x=numbers[usable],
            y=values[usable],
            mode="lines+markers",
            line={"width": 1.6, "color": look.colour, "dash": dash},
            marker={
                "size": 6.5 if depth <= 40 else 4,
                "color": look.colour,
                "symbol": symbol,
                "line": {"width": 1.4, "color": look.colour},
            },
            hoverinfo="text",
            hovertext=[
                f"layer {layer}<br>{name} {style.number(value)}"
                for layer, value in zip(numbers[usable], values[usable], strict=True)
            ],
        )
        if usable.any():
            last = np.log10(values[usable][-1])
            labels.append(((last - span[0]) / (span[1] - span[0]), glyph, look.colour, name))
        missing = depth - int(usable.sum())
        if missing:
            what = "not finite" if not np.isfinite(values).all() else "0"
            where = "every layer" if missing == depth else f"{missing} of {depth} layers"
            style.note(chart, f"{name} are {what} in {where}", x=0.5, y=height, palette=palette, size=12)
    style.end_labels(chart, labels, palette)
    values_at, texts = style.decades(*span, most=4)
    chart.update_yaxes(type="log", range=span, tickvals=values_at, ticktext=texts)
    chart.update_xaxes(range=[0.5, depth + 0.5], tickvals=style.layer_ticks(depth))
    return chart


def surface_grid(data: Data) -> tuple[Array, Array, NDArray[np.float32]]:
    """Return the two axes of the plane of two features and its points (SURFACE_POINTS ** 2, 2)."""
    both = np.concatenate((data.train_x, data.test_x)).astype(np.float64)
    low, high = both.min(axis=0) - 0.3, both.max(axis=0) + 0.3
    first, second = (np.linspace(low[axis], high[axis], SURFACE_POINTS) for axis in (0, 1))
    grid = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    return first, second, grid.astype(np.float32)


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
    return chart


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
    return chart


def curve_points(data: Data) -> NDArray[np.float32]:
    """Return the inputs (CURVE_POINTS, 1) of a curve over the one feature, evenly spaced."""
    both = np.concatenate((data.train_x, data.test_x)).astype(np.float64)
    low, high = both.min(), both.max()
    margin = 0.02 * (high - low)
    return np.linspace(low - margin, high + margin, CURVE_POINTS, dtype=np.float32).reshape(-1, 1)


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
    return chart


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
    return chart


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
    return chart


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
    return chart


_SILENCE = "no finite prediction"


def _note_silence(chart: go.Figure, outputs: Array, palette: Palette) -> None:
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
