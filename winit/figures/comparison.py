"""Figures of Compare: curves with a band over seeds, and the ranking."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from winit.comparison import Comparison, scores
from winit.datasets import Measure
from winit.figures import style
from winit.figures.palette import Palette, styles
from winit.figures.training import score_axis
from winit.network import Member
from winit.training import Snapshot

Array = NDArray[np.float64]

CURVES = {"loss": "Training loss", "train_accuracy": "Training {score}", "test_accuracy": "Test {score}"}
"""What can be drawn against the step, by its name in `Snapshot`; {score} is accuracy or R²."""


def curves(
    snapshots: Sequence[Snapshot],
    members: Sequence[Member],
    curve: str,
    constant_loss: float,
    total: int,
    palette: Palette,
    measure: Measure,
    *,
    runs: Sequence[Sequence[int]] | None = None,
    meta: str = "",
) -> go.Figure:
    """Return the median over seeds of each initializer, with the middle half of the seeds as a band.

    `curve` is a key of `CURVES`; `runs` chooses the members drawn for each initializer (all by
    default). Initializers that stay within 3 % of the best constant loss share one grey label;
    diverged ones end in a cross.
    """
    seeds = len({member.seed for member in members})
    unit = f"median of {seeds} seeds; band: middle half" if seeds > 1 else "one seed"
    chart = style.figure(
        palette, y=f"{CURVES[curve].format(score=measure.label)} ({unit})", x="step", right=150, meta=meta
    )
    steps = np.array([snapshot.step for snapshot in snapshots])
    values = np.stack([getattr(snapshot, curve) for snapshot in snapshots], axis=1)
    losses = np.stack([snapshot.loss for snapshot in snapshots], axis=1)
    names = list(dict.fromkeys(member.initializer for member in members))
    looks = styles(names, palette)
    groups = runs or [[n for n, member in enumerate(members) if member.initializer == name] for name in names]
    is_loss = curve == "loss"
    axis = {"range": [0, _loss_top(losses, constant_loss)]} if is_loss else score_axis(values, measure, leave=0.05)
    bottom, top = axis["range"]
    write = style.number if is_loss else measure.fine
    labels: list[tuple[float, str, str, str]] = []
    stalled: list[tuple[str, float]] = []
    crosses: list[str] = []
    for group in groups:
        name = members[group[0]].initializer
        look = looks[name]
        left = [at for at in (snapshots[-1].diverged_at[run] for run in group) if at is not None]
        middle, low, high = _spread(values[list(group)])
        still = len(steps) > 4 and _is_stalled(losses[list(group)], constant_loss)
        colour = palette.stalled if still else look.colour
        alive = np.isfinite(middle)
        if seeds > 1:
            _band(chart, steps[alive], low[alive], high[alive], colour)
        chart.add_scatter(
            x=steps[alive],
            y=middle[alive],
            mode="lines+markers" if len(steps) == 1 else "lines",
            line={"width": 2.2, "color": colour, "dash": look.dash},
            hoverinfo="text",
            hovertext=[
                f"<b>{name}</b>, step {step}<br>median {write(value)}<br>middle half {write(a)} to {write(b)}"
                for step, value, a, b in zip(steps[alive], middle[alive], low[alive], high[alive], strict=True)
            ],
        )
        if left:
            at = bottom + (0.95 - 0.06 * len(crosses)) * (top - bottom)
            crosses.append(f"{style.short_name(name)} diverged, {len(left)} of {len(group)}")
            chart.add_scatter(
                x=[min(left)],
                y=[at],
                mode="markers",
                marker={"symbol": "x-thin", "size": 10, "line": {"width": 2.5, "color": palette.diverged}},
                hoverinfo="text",
                hovertext=f"<b>{name}</b><br>{len(left)} of {len(group)} runs diverged, the first at step {min(left)}",
            )
            style.note(
                chart, crosses[-1], x=min(left), y=at, xref="x", yref="y", palette=palette, xshift=10, xanchor="left"
            )
        if len(left) < len(group) and alive.any():
            end = (float(middle[alive][-1]) - bottom) / (top - bottom)
            if still:
                stalled.append((name, end))
            else:
                labels.append((end, look.glyph, look.colour, name))
    if stalled:
        text = f"stalled: {stalled[0][0]}" if len(stalled) == 1 else f"stalled: {len(stalled)}"
        labels.append((stalled[0][1], "━", palette.stalled, text))
    style.end_labels(chart, labels, palette)
    chart.update_xaxes(range=[0, total])
    chart.update_yaxes(axis)
    return chart


def _spread(values: Array) -> tuple[Array, Array, Array]:
    """Return median and quartiles over the finite members at each step; NaN where most have diverged."""
    finite = np.isfinite(values)
    most = finite.sum(axis=0) * 2 > len(values)
    masked = np.where(finite, values, np.nan)[:, most]
    result = np.full((3, values.shape[1]), np.nan)
    result[:, most] = np.nanquantile(masked, (0.5, 0.25, 0.75), axis=0)
    return result[0], result[1], result[2]


def _is_stalled(losses: Array, constant_loss: float) -> bool:
    """Whether the median loss stays within 3 % of the best constant loss over the last half of the steps."""
    half = np.median(losses[:, losses.shape[1] // 2 :], axis=0)
    return (
        bool(np.isfinite(half).all() and (np.abs(half / constant_loss - 1) <= 0.03).all()) if constant_loss else False
    )


def _loss_top(losses: Array, constant_loss: float) -> float:
    start = losses[:, 0]
    usual = start[np.isfinite(start) & (start < 4 * constant_loss)]
    return 1.12 * max(constant_loss, float(usual.max()) if len(usual) else 0.0)


def _band(chart: go.Figure, steps: NDArray[np.int64], low: Array, high: Array, colour: str) -> None:
    chart.add_scatter(
        x=np.concatenate((steps, steps[::-1])),
        y=np.concatenate((low, high[::-1])),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=colour + "2e",
        hoverinfo="skip",
    )


def ranking(comparison: Comparison, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the final test accuracy or R² of each initializer: seeds pale, their range a bar, the median big.

    What lies beyond the axis is drawn at its edge.
    """
    history, ranks, measure = comparison.history, comparison.ranking, comparison.measure
    title = f"Test {measure.label} after {history.steps[-1]} steps"
    chart = style.figure(palette, y=title, x="", right=64, left=14, meta=meta)
    reached = scores(history)
    axis = score_axis(reached[[run for rank in ranks for run in rank.runs]], measure)
    axis["range"][1] = 1.0
    edge = axis["range"][0]
    looks = styles([member.initializer for member in history.members], palette)
    rows = len(ranks)
    for row, rank in enumerate(ranks):
        look = looks[rank.initializer]
        runs = list(rank.runs)
        diverged = rank.counts["diverged"]
        lost = diverged == len(runs)
        stalled = rank.counts["stalled"] == len(runs)
        colour = palette.diverged if lost else palette.stalled if stalled else look.colour
        values = reached[runs]
        drawn = np.maximum(values, edge)
        y = rows - row
        chart.add_scatter(
            x=[drawn.min(), drawn.max()],
            y=[y, y],
            mode="lines",
            line={"width": 3, "color": colour},
            hoverinfo="skip",
        )
        chart.add_scatter(
            x=drawn,
            y=[y] * len(values),
            mode="markers",
            cliponaxis=False,
            marker={"size": 8, "color": colour, "opacity": 0.45},
            hoverinfo="text",
            hovertext=[
                f"<b>{rank.initializer}</b>, seed {history.members[run].seed}<br>{history.statuses[run]},"
                f" test {measure.label} {measure.fine(value)}"
                for run, value in zip(runs, values, strict=True)
            ],
        )
        chart.add_scatter(
            x=[max(rank.score.median, edge)],
            y=[y],
            mode="markers",
            cliponaxis=False,
            marker={
                "size": 13,
                "color": colour,
                "symbol": "x" if lost else "circle",
                "line": {"width": 1.5, "color": palette.page},
            },
            hoverinfo="text",
            hovertext=f"<b>{rank.initializer}</b><br>median of {len(runs)} seeds {measure.fine(rank.score.median)}",
        )
        ending = "diverged" if lost else measure.rough(rank.score.median) + (", stalled" if stalled else "")
        if diverged and not lost:
            ending += f", {diverged} diverged"
        far = float(drawn.max())
        style.note(chart, ending, x=far, y=y, xref="x", yref="y", palette=palette, xanchor="left", xshift=11, size=12.5)
        glyph = f"<span style='color:{look.colour}'>{look.glyph}</span>"
        name = f"{glyph} <b>{style.short_name(rank.initializer, 40)}</b>"
        style.note(
            chart,
            name,
            x=0,
            y=y,
            xref="paper",
            yref="y",
            palette=palette,
            xanchor="left",
            yanchor="bottom",
            yshift=7,
            bgcolor=palette.page,
            size=12.5,
        )
    chart.add_vline(x=history.chance, line={"width": 1.2, "dash": "dot", "color": palette.stalled})
    text = measure.constant_label
    style.note(chart, text, x=history.chance, y=1, xref="x", palette=palette, xanchor="left", xshift=4, size=12)
    chart.update_xaxes(**axis, showgrid=True)
    chart.update_xaxes(gridcolor=palette.grid)
    chart.update_yaxes(visible=False, range=[0.4, rows + 0.9])
    return chart
