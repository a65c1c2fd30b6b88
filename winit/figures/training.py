"""Figures of Train: curves, layers, the decision surface and a board of digits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from winit.datasets import Data
from winit.figures import style
from winit.figures.palette import Palette, Style
from winit.training import LayerStatistics, Snapshot

Array = NDArray[np.float64]

SURFACE_POINTS = 50
"""Points along each side of the decision surface."""
BOARD = (5, 6)
"""Rows and columns of the board of digits."""
BOARD_SAMPLES = BOARD[0] * BOARD[1]

_SURFACE_HEIGHT = 2 * style.SMALL_HEIGHT + 16
_GAP = 3  # empty pixels between the digits of a board; one row of them holds the answer


def loss_curves(
    snapshots: Sequence[Snapshot], look: Style, constant_loss: float, total: int, palette: Palette, *, meta: str = ""
) -> go.Figure:
    """Return the training loss of every member against the step, with the loss of the best constant predictor."""
    losses = np.stack([snapshot.loss for snapshot in snapshots], axis=1)
    finite = losses[np.isfinite(losses)]
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


def accuracy_curves(
    snapshots: Sequence[Snapshot], look: Style, chance: float, total: int, palette: Palette, *, meta: str = ""
) -> go.Figure:
    """Return the test accuracy of every member against the step, with chance."""
    accuracies = np.stack([snapshot.test_accuracy for snapshot in snapshots], axis=1)
    chart = _curves(snapshots, accuracies, "test accuracy", "Test accuracy", look, total, palette, meta, percent=True)
    chart.add_hline(y=chance, line={"width": 1.2, "dash": "dot", "color": palette.stalled})
    style.note(chart, "chance", x=1, y=chance, yref="y", palette=palette, xanchor="right", yanchor="bottom", size=12)
    chart.update_yaxes(range=[-0.02, 1.04], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    return chart


def _curves(
    snapshots: Sequence[Snapshot],
    values: Array,
    name: str,
    title: str,
    look: Style,
    total: int,
    palette: Palette,
    meta: str,
    *,
    percent: bool = False,
) -> go.Figure:
    chart = style.figure(palette, y=title, x="step", height=style.SMALL_HEIGHT, meta=meta)
    steps = [snapshot.step for snapshot in snapshots]
    for member, row in enumerate(values):
        texts = [
            f"run {member + 1}, step {step}<br>{name} {f'{value:.1%}' if percent else style.number(value)}"
            for step, value in zip(steps, row, strict=True)
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
    """Return the two axes of the decision surface and its points (SURFACE_POINTS ** 2, 2)."""
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
