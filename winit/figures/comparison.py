"""Figures of Compare: curves over seeds, the ranking, who beats whom, statuses, and loss against the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from winit.comparison import Comparison, RateLosses, scores
from winit.datasets import Measure
from winit.figures import style
from winit.figures.chart import Chart
from winit.figures.palette import Palette, Style, styles
from winit.figures.training import score_axis
from winit.lenses import CompareKnobs
from winit.sweep import Curves
from winit.training import STATUSES

Array = NDArray[np.float64]

CURVES: Mapping[str, str] = MappingProxyType(
    {
        "loss": "Training loss",
        "loss_log": "Training loss",
        "train_accuracy": "Training {score}",
        "test_accuracy": "Test {score}",
    }
)
"""What can be drawn against the step, by the choices of `CompareKnobs.curve`; {score} is accuracy or R²."""

_ROW = 46  # pixels of an initializer's row in ranking and statuses
_CELL = 52  # pixels of a pair's cell
_LEGEND_ROW = 24
_LABELS = 150  # pixels at the right for names at line ends
_MOST_CELLS_WITH_SEEDS, _MOST_CELLS_WITH_TEXT = 8, 14


def curves(
    found: Curves,
    knobs: CompareKnobs,
    initializers: Sequence[str],
    constant_loss: float,
    palette: Palette,
    measure: Measure,
    *,
    groups: Sequence[Sequence[int]] | None = None,
    is_narrow: bool = False,
    meta: str = "",
) -> go.Figure:
    """Return the median over seeds of each initializer, with the middle half of the seeds as a band or each run.

    `knobs` says what is drawn (curve, runs, only); `initializers` are all of the comparison, in its order.
    `groups` are the runs drawn for each initializer, by default those of `leading_runs`. Initializers that stay
    within 3 % of the best constant loss share one grey label; diverged ones end in a cross. On a narrow page names
    stand in a legend below, elsewhere at the ends of the lines.
    """
    groups = leading_runs(found) if groups is None else groups
    wanted = {initializers[number - 1] for number in knobs.only if number <= len(initializers)}
    shown = [group for group in groups if not wanted or found.members[group[0]].initializer in wanted]
    looks = styles(initializers, palette)
    is_log = knobs.curve == "loss_log"
    is_loss = is_log or knobs.curve == "loss"
    seeds = max((len(group) for group in shown), default=0)
    what = {"band": "band: middle half", "each": "thin: each run"}[knobs.runs]
    unit = f" (median of {seeds} seeds; {what})" if seeds > 1 else " (one seed)" if seeds else ""
    margin = {"right": 14 if is_narrow else _LABELS}
    chart = style.figure(
        palette, y=f"{CURVES[knobs.curve].format(score=measure.label)}{unit}", x="step", meta=meta, **margin
    )
    values: Array = found.loss if is_loss else getattr(found, knobs.curve)
    drawn = [run for group in shown for run in group]
    axis = _curve_axis(values[drawn], found.loss[drawn], constant_loss, measure, is_loss=is_loss, is_log=is_log)
    chart.update_xaxes(range=[0, max(1, found.steps[-1])])
    chart.update_yaxes(**axis)
    bottom, top = axis["range"]
    ends: list[tuple[float, str, str, str]] = []
    stalled: list[tuple[str, float]] = []
    crosses = 0
    for group in shown:
        name = found.members[group[0]].initializer
        look = looks[name]
        middle, low, high = _spread(values[list(group)], [found.recorded[run] for run in group])
        still = _is_stalled(found.loss[list(group)], constant_loss)
        if still:
            look = Style(name, palette.stalled, look.dash, look.symbol, "━", 0.0)
        seen = np.isfinite(middle) & ((middle > 0) | (not is_log))
        if len(group) > 1 and knobs.runs == "band":
            floor = 10.0**bottom if is_log else -np.inf
            _band(chart, found.steps, np.maximum(low, floor), high, seen, look.colour)
        elif len(group) > 1:
            _single_runs(chart, found, values, group, look, knobs.curve, measure)
        if seen.any():
            texts = _curve_texts(name, found.steps, middle, low, high, knobs.curve, measure, len(group))
            is_lost = all(found.diverged_at[run] is not None for run in group)
            legend = "" if is_lost else f"{style.short_name(name)}{', stalled' if still else ''}"
            _line(chart, found.steps, middle, seen, look, texts, legend, palette)
        left = [at for at in (found.diverged_at[run] for run in group) if at is not None]
        if left:
            text = f"{style.short_name(name)} diverged, {len(left)} of {len(group)}"
            _cross(chart, min(left), axis, 0.95 - 0.06 * crosses, text, name, palette, is_log=is_log)
            crosses += 1
        if len(left) < len(group) and seen.any():
            last = float(middle[seen][-1])
            height = ((math.log10(last) if is_log else last) - bottom) / (top - bottom)
            if still:
                stalled.append((name, height))
            else:
                ends.append((height, look.glyph, look.colour, name))
    if stalled:
        text = f"stalled: {stalled[0][0] if len(stalled) == 1 else len(stalled)}"
        ends.append((stalled[0][1], "━", palette.stalled, text))
    if is_narrow:
        _legend_below(chart, palette)
    else:
        style.end_labels(chart, ends, palette)
    return chart.figure()


def leading_runs(found: Curves) -> list[list[int]]:
    """Return for each initializer the runs of the learning rate that leads so far: the lowest median of last losses.

    Of several rates those with the most runs take part, so that none leads for having hardly begun.
    """
    by_rate: dict[str, dict[float, list[int]]] = {}
    for run, member in enumerate(found.members):
        by_rate.setdefault(member.initializer, {}).setdefault(member.learning_rate, []).append(run)

    def last(runs: Sequence[int]) -> float:
        losses = [found.loss[run, max(0, found.recorded[run] - 1)] for run in runs]
        return float(np.median([loss if np.isfinite(loss) else np.inf for loss in losses]))

    leading = []
    for rates in by_rate.values():
        most = max(map(len, rates.values()))
        leading.append(min((runs for runs in rates.values() if len(runs) == most), key=last))
    return leading


def _curve_axis(
    values: Array, losses: Array, constant_loss: float, measure: Measure, *, is_loss: bool, is_log: bool
) -> dict[str, Any]:
    """Return range and ticks of the axis of a curve."""
    if not is_loss:
        return score_axis(values, measure, leave=0.05)
    start = losses[:, 0] if len(losses) else np.array([])
    usual = start[np.isfinite(start) & (start < 4 * constant_loss)]
    top = 1.12 * max(constant_loss, float(usual.max()) if len(usual) else 0.0) or 1.0
    return _log_axis(values[(values > 0) & (values < top)], top) if is_log else {"range": [0.0, top]}


def _log_axis(values: Array, top: float) -> dict[str, Any]:
    """Return a logarithmic axis from a little below the values to `top`, of a third of a decade at least."""
    least = float(np.quantile(values, 0.01)) if len(values) else top / 10
    low, high = math.log10(max(least, top * 1e-8)) - 0.08, math.log10(top)
    low = min(low, high - 1 / 3)
    if high - low > 2:
        ticks, texts = style.decades(low, high)
    else:
        exponents = range(math.floor(low), math.ceil(high) + 1)
        ticks = [digit * 10.0**power for power in exponents for digit in (1, 2, 5) if low <= math.log10(digit) + power]
        texts = [style.number(tick) for tick in ticks]
    return {"type": "log", "range": [low, high], "tickvals": ticks, "ticktext": texts}


def _spread(values: Array, recorded: Sequence[int]) -> tuple[Array, Array, Array]:
    """Return median and quartiles at each step of the runs that have come to it; NaN where most have diverged."""
    there = np.arange(values.shape[1]) < np.array(recorded)[:, None]
    finite = np.isfinite(values) & there
    most = (finite.sum(axis=0) * 2 > there.sum(axis=0)) & finite.any(axis=0)
    masked = np.where(finite, values, np.nan)[:, most]
    result = np.full((3, values.shape[1]), np.nan)
    result[:, most] = np.nanquantile(masked, (0.5, 0.25, 0.75), axis=0)
    return result[0], result[1], result[2]


def _is_stalled(losses: Array, constant_loss: float) -> bool:
    """Whether the median loss stays within 3 % of the best constant loss over the last half of the steps so far."""
    reached = losses[:, ~np.isnan(losses).all(axis=0)]
    if reached.shape[1] <= 4 or not constant_loss:
        return False
    half = np.nanmedian(np.where(np.isinf(reached), np.nan, reached)[:, reached.shape[1] // 2 :], axis=0)
    return bool(np.isfinite(half).all() and (np.abs(half / constant_loss - 1) <= 0.03).all())


def _curve_texts(
    name: str,
    steps: Sequence[int],
    middle: Array,
    low: Array,
    high: Array,
    curve: str,
    measure: Measure,
    seeds: int,
) -> list[str]:
    write = style.number if curve.startswith("loss") else measure.fine
    what = CURVES[curve].format(score=measure.label).lower()
    if seeds == 1:
        return [
            f"<b>{name}</b> has at step {step:,}<br>a {what} of {write(at)}"
            for step, at in zip(steps, middle, strict=True)
        ]
    return [
        f"<b>{name}</b> has at step {step:,}<br>a {what} of {write(at)} in the median,<br>"
        f"of {write(a)} to {write(b)} in the middle half of the seeds"
        for step, at, a, b in zip(steps, middle, low, high, strict=True)
    ]


def _band(chart: Chart, steps: Sequence[int], low: Array, high: Array, seen: NDArray[np.bool_], colour: str) -> None:
    x = np.array(steps)[seen]
    chart.add_scatter(
        x=np.concatenate((x, x[::-1])),
        y=np.concatenate((low[seen], high[seen][::-1])),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=colour + "2e",
        hoverinfo="skip",
    )


def _single_runs(
    chart: Chart,
    found: Curves,
    values: Array,
    group: Sequence[int],
    look: Style,
    curve: str,
    measure: Measure,
) -> None:
    """Draw every run of an initializer as a thin line; all are one trace, with gaps between them."""
    write = style.number if curve.startswith("loss") else measure.fine
    what = CURVES[curve].format(score=measure.label).lower()
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for run in group:
        for step, value in zip(found.steps, values[run], strict=True):
            if np.isfinite(value):
                x.append(step)
                y.append(float(value))
                seed = found.members[run].seed
                texts.append(
                    f"<b>{look.name}</b> with seed {seed}<br>has at step {step:,}<br>a {what} of {write(value)}"
                )
        x.append(None)
        y.append(None)
        texts.append("")
    chart.add_scatter(
        x=x,
        y=y,
        mode="lines",
        connectgaps=False,
        line={"width": 1, "color": look.colour + "80"},
        hoverinfo="text",
        hovertext=texts,
    )


def _line(
    chart: Chart,
    x: Sequence[float],
    y: Array,
    seen: NDArray[np.bool_],
    look: Style,
    texts: Sequence[str],
    legend: str,
    palette: Palette,
    *,
    with_markers: bool = False,
) -> None:
    """Draw one initializer's line, named `legend` where names stand below.

    Over a later one of its family ink is laid, so that lightness tells them apart.
    """
    at = np.array(x)[seen]
    mode = "lines+markers" if with_markers or len(at) == 1 else "lines"
    chart.add_scatter(
        x=at,
        y=y[seen],
        name=legend,
        mode=mode,
        line={"width": 2.2, "color": look.colour, "dash": look.dash},
        marker={"size": 7, "symbol": look.symbol, "color": look.colour},
        hoverinfo="text",
        hovertext=[text for text, is_seen in zip(texts, seen, strict=True) if is_seen],
        showlegend=bool(legend),
    )
    if look.shade:
        chart.add_scatter(
            x=at,
            y=y[seen],
            mode="lines",
            line={"width": 2.2, "color": f"{palette.ink}{round(255 * look.shade):02x}", "dash": look.dash},
            hoverinfo="skip",
        )


def _cross(
    chart: Chart,
    x: float,
    axis: Mapping[str, Any],
    height: float,
    text: str,
    name: str,
    palette: Palette,
    *,
    is_log: bool,
) -> None:
    """Mark the step of the first divergence, at a height of 0 to 1 in the plot."""
    bottom, top = axis["range"]
    at = bottom + height * (top - bottom)
    chart.add_scatter(
        x=[x],
        y=[10**at if is_log else at],
        mode="markers",
        cliponaxis=False,
        marker={"symbol": "x-thin", "size": 10, "line": {"width": 2.5, "color": palette.diverged}},
        hoverinfo="text",
        hovertext=f"<b>{name}</b><br>{text.rpartition('diverged, ')[2]} runs diverged, the first at step {x:,}",
    )
    style.note(chart, text, x=x, y=height, xref="x", palette=palette, xshift=12, xanchor="left", yanchor="middle")


def _legend_below(chart: Chart, palette: Palette) -> None:
    """Put the names of the lines in a legend below the plot, whose height stays."""
    bottom = chart.layout["margin"]["b"]
    below = _LEGEND_ROW * sum(bool(trace.get("showlegend")) for trace in chart.data)
    chart.update_layout(
        height=chart.layout["height"] + below,
        margin={"b": bottom + below},
        showlegend=True,
        legend={
            "orientation": "v",
            "x": 0,
            "xanchor": "left",
            "y": -bottom / chart.plot_height,
            "yanchor": "top",
            "itemclick": False,
            "itemdoubleclick": False,
            "font": {"size": 13, "color": palette.ink},
            "bgcolor": "rgba(0,0,0,0)",
        },
    )
    for trace in chart.data:
        trace["showlegend"] = bool(trace.get("showlegend"))


def _rows(palette: Palette, title: str, count: int, *, right: int, bottom: bool, meta: str) -> Chart:
    """Return an empty figure of `count` rows, the first on top."""
    height = max(style.MAIN_HEIGHT, 78 + _ROW * count)
    chart = style.figure(palette, y=title, x="", height=height, right=right, left=14, meta=meta)
    chart.update_layout(margin={"b": 26 if bottom else 8})
    chart.update_yaxes(visible=False, range=[0.4, count + 0.9])
    return chart


def _row_name(chart: Chart, look: Style, row: float, palette: Palette) -> None:
    """Write an initializer's name above the left end of its row."""
    style.note(
        chart,
        _name(look),
        x=0,
        y=row,
        xref="paper",
        yref="y",
        palette=palette,
        xanchor="left",
        yanchor="bottom",
        yshift=7,
        bgcolor=palette.page,
        size=12.5,
    )


def _name(look: Style, limit: int = 40) -> str:
    return f"<span style='color:{look.colour}'>{look.glyph}</span> <b>{style.short_name(look.name, limit)}</b>"


def _looks(comparison: Comparison, palette: Palette) -> dict[str, Style]:
    return styles(dict.fromkeys(member.initializer for member in comparison.history.members), palette)


def ranking(comparison: Comparison, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the final test accuracy or R² of each initializer, best first.

    Seeds are pale, the interquartile mean is big, its interval a bar (from five seeds on), the median a tick. What
    lies beyond the axis is drawn at its edge.
    """
    history, ranks, measure = comparison.history, comparison.ranking, comparison.measure
    has_interval = any(rank.score.low is not None for rank in ranks)
    title = f"Test {measure.label} after {history.steps[-1]:,} steps"
    chart = _rows(palette, title, len(ranks), right=64, bottom=True, meta=meta)
    reached = scores(history)
    axis = score_axis(reached[[run for rank in ranks for run in rank.runs]], measure)
    axis["range"][1] = 1.0
    edge = axis["range"][0]
    looks = _looks(comparison, palette)
    for row, rank in zip(range(len(ranks), 0, -1), ranks, strict=True):
        look, runs, score = looks[rank.initializer], list(rank.runs), rank.score
        diverged = rank.counts["diverged"]
        lost = diverged == len(runs)
        is_stalled = rank.counts["stalled"] == len(runs)
        colour = palette.diverged if lost else palette.stalled if is_stalled else look.colour
        drawn = np.maximum(reached[runs], edge)
        if score.low is not None and score.high is not None:
            chart.add_scatter(
                x=np.maximum([score.low, score.high], edge),
                y=[row, row],
                mode="lines",
                line={"width": 4, "color": colour},
                hoverinfo="skip",
            )
        chart.add_scatter(
            x=drawn,
            y=[row] * len(runs),
            mode="markers",
            cliponaxis=False,
            marker={"size": 8, "color": colour, "opacity": 0.35},
            hoverinfo="text",
            hovertext=[
                f"<b>{rank.initializer}</b> with seed {history.members[run].seed}<br>{history.statuses[run]},"
                f" test {measure.label} {measure.fine(reached[run])}"
                for run in runs
            ],
        )
        chart.add_scatter(
            x=[max(score.median, edge)],
            y=[row],
            mode="markers",
            cliponaxis=False,
            marker={"size": 17, "symbol": "line-ns", "line": {"width": 2, "color": palette.ink}},
            hoverinfo="text",
            hovertext=f"<b>{rank.initializer}</b><br>median of {len(runs)} seeds {measure.fine(score.median)}",
        )
        chart.add_scatter(
            x=[max(score.iqm, edge)],
            y=[row],
            mode="markers",
            cliponaxis=False,
            marker={
                "size": 13,
                "color": colour,
                "symbol": "x" if lost else "circle",
                "line": {"width": 1.5, "color": palette.page},
            },
            hoverinfo="text",
            hovertext=_score_text(comparison, rank.initializer),
        )
        ending = "diverged" if lost else measure.rough(score.iqm) + (", stalled" if is_stalled else "")
        if diverged and not lost:
            ending += f", {diverged} diverged"
        far = float(max(drawn.max(), score.high or edge))
        # Words stand where there is room: at the right of what is drawn, or at the left of what ends far right.
        place = {"xanchor": "left", "xshift": 12}
        if len(ending) > 6 and far > 0.6:
            far, place = float(drawn.min()), {"xanchor": "right", "xshift": -12}
        style.note(chart, ending, x=far, y=row, xref="x", yref="y", palette=palette, size=12.5, **place)
        _row_name(chart, look, row, palette)
    chart.add_vline(x=history.chance, line={"width": 1.2, "dash": "dot", "color": palette.stalled})
    text = measure.constant_label
    style.note(chart, text, x=history.chance, y=1, xref="x", palette=palette, xanchor="left", xshift=4, size=12)
    meaning = "dot: interquartile mean" + ("; bar: its 95 % interval" if has_interval else "") + "; tick: median"
    style.note(
        chart, meaning, x=1, y=0, palette=palette, xanchor="right", yanchor="top", yshift=-24, xshift=50, size=12
    )
    chart.update_layout(margin={"b": 48})
    chart.update_xaxes(**axis, showgrid=True)
    chart.update_xaxes(gridcolor=palette.grid)
    return chart.figure()


def _score_text(comparison: Comparison, initializer: str) -> str:
    rank = next(rank for rank in comparison.ranking if rank.initializer == initializer)
    measure, score = comparison.measure, rank.score
    text = f"<b>{initializer}</b> has an interquartile mean<br>of {measure.fine(score.iqm)} over {score.seeds} seeds"
    if score.low is not None and score.high is not None:
        text += f",<br>95 % interval {measure.fine(score.low)} to {measure.fine(score.high)}"
    return f"{text}<br>{score.note}" if score.note else text


def pairs(comparison: Comparison, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return how likely a run of the better ranked initializer beats one of the other, for every two.

    Names stand on the diagonal: a cell is in the column of the better ranked and in the row of the other. A cell
    whose interval contains one half has no colour, and says about how many seeds would tell the two apart.
    """
    names = [rank.initializer for rank in comparison.ranking]
    count = len(names)
    looks = _looks(comparison, palette)
    height = min(style.MAIN_HEIGHT, max(style.SMALL_HEIGHT, 56 + _CELL * count))
    chart = style.figure(
        palette, y="Probability that the column beats the row", x="", height=height, right=132, left=14, meta=meta
    )
    told, others = np.full((count, count), np.nan), np.full((count, count), np.nan)
    x, y, texts, hovers = [], [], [], []
    for column, row in combinations(range(count), 2):
        pair = comparison.pair(names[column], names[row])
        if pair is None:
            continue
        (told if pair.is_told_apart else others)[row, column] = pair.probability
        text = f"{pair.probability:.2f}" if count <= _MOST_CELLS_WITH_TEXT else ""
        if pair.is_told_apart and text:
            text = f"<b>{text}</b>"
        elif count <= _MOST_CELLS_WITH_SEEDS and pair.needed is not None:
            text += f"<br><span style='font-size:11px'>{pair.needed:,} seeds</span>"
        x.append(column)
        y.append(row)
        texts.append(text)
        hovers.append(_two_lines(pair.sentence))
    gaps = {"xgap": 3, "ygap": 3, "showscale": False, "hoverinfo": "skip", "zmin": 0, "zmax": 1}
    chart.add_heatmap(z=others, colorscale=[(0, palette.grid), (1, palette.grid)], **gaps)
    low, high = palette.diverging[3], palette.diverging[6]
    scale = [(0, low), (0.5, palette.diverging[4]), (0.5, palette.diverging[5]), (1, high)]
    chart.add_heatmap(z=told, colorscale=scale, **gaps)
    chart.add_scatter(
        x=x,
        y=y,
        mode="markers+text",
        marker={"size": 30, "opacity": 0, "color": palette.stalled},
        text=texts,
        textfont={"size": 12.5, "color": palette.ink},
        hoverinfo="text",
        hovertext=hovers,
    )
    for place, name in enumerate(names):
        style.note(
            chart,
            _name(looks[name], 26),
            x=place - 0.44,
            y=place,
            xref="x",
            yref="y",
            palette=palette,
            xanchor="left",
            yanchor="middle",
            size=12.5,
        )
    chart.update_layout(margin={"b": 8})
    chart.update_xaxes(visible=False, range=[-0.5, max(1, count) - 0.5])
    chart.update_yaxes(visible=False, range=[max(1, count) - 0.5, -0.5])
    return chart.figure()


def _two_lines(sentence: str) -> str:
    """Break a pair's sentence where it would be cut at the edge of a figure."""
    return sentence.replace(" with probability", "<br>with probability").replace(": not told", ":<br>not told")


def statuses(comparison: Comparison, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return how many runs of each initializer ended in which status, as bars with words."""
    ranks = comparison.ranking
    chart = _rows(palette, "How the runs ended", len(ranks), right=14, bottom=False, meta=meta)
    chart.update_layout(height=min(chart.layout["height"], max(style.SMALL_HEIGHT, 56 + _CELL * len(ranks))))
    looks = _looks(comparison, palette)
    for row, rank in zip(range(len(ranks), 0, -1), ranks, strict=True):
        look, runs = looks[rank.initializer], len(rank.runs)
        colours = {
            "learned": look.colour,
            "learning": look.colour + "80",
            "stalled": palette.stalled,
            "worse": palette.stalled + "80",
            "diverged": palette.diverged,
        }
        base = 0.0
        for status in STATUSES:
            count = rank.counts[status]
            if count:
                chart.add_bar(
                    x=[count / runs],
                    y=[row],
                    base=base,
                    width=0.26,
                    orientation="h",
                    marker={"color": colours[status], "line": {"width": 1.5, "color": palette.page}},
                    hoverinfo="text",
                    hovertext=_status_text(rank.initializer, status, count, runs, rank.divergences),
                )
                base += count / runs
        words = ", ".join(f"{rank.counts[status]} {status}" for status in STATUSES if rank.counts[status])
        style.note(
            chart, words, x=1, y=row, yref="y", palette=palette, xanchor="right", yanchor="bottom", yshift=7, size=12.5
        )
        _row_name(chart, look, row, palette)
    chart.update_layout(barmode="overlay", bargap=0)
    chart.update_xaxes(visible=False, range=[0, 1])
    return chart.figure()


def _status_text(name: str, status: str, count: int, runs: int, divergences: Sequence[int]) -> str:
    text = f"{count} of {runs} runs of <b>{name}</b><br>ended as {status}"
    if status == "diverged" and divergences:
        steps = f"step {divergences[0]:,}" + (f" to {divergences[-1]:,}" if divergences[-1] > divergences[0] else "")
        text += f",<br>out of the finite numbers at {steps}"
    return text


def rates(
    found: Sequence[RateLosses],
    comparison: Comparison,
    palette: Palette,
    *,
    is_narrow: bool = False,
    meta: str = "",
) -> go.Figure:
    """Return the final training loss against the learning rate: median over seeds, its middle half as a band.

    A chosen rate is ringed; where most seeds diverged there is no line, and a cross at the upper edge.
    """
    looks = _looks(comparison, palette)
    seeds = max((one.losses.shape[1] for one in found), default=1)
    unit = f"median of {seeds} seeds; band: middle half" if seeds > 1 else "one seed"
    title = f"Final training loss ({unit})"
    margin = {"right": 14 if is_narrow else _LABELS}
    chart = style.figure(palette, y=title, x="learning rate", meta=meta, **margin)
    constant = comparison.history.constant_loss
    every = np.concatenate([one.losses.ravel() for one in found]) if found else np.array([])
    finite = every[np.isfinite(every) & (every > 0)]
    worst = float(np.quantile(finite, 0.9)) if len(finite) else 1.0
    top = 1.6 * max(constant, min(worst, 4 * constant) if constant else worst)
    axis = _log_axis(finite[finite < top], top)
    bottom, high = axis["range"]
    chart.update_yaxes(**axis)
    lowest, highest = (end(rate for one in found for rate in one.learning_rates) for end in (min, max))
    ticks = sorted({rate for one in found for rate in one.learning_rates})
    margin_x = 0.04 * math.log10(highest / lowest) or 0.5
    chart.update_xaxes(
        type="log",
        range=[math.log10(lowest) - margin_x, math.log10(highest) + margin_x],
        tickvals=ticks,
        ticktext=[f"{rate:g}" for rate in ticks],
    )
    ends: list[tuple[float, str, str, str]] = []
    for place, one in enumerate(found):
        look, at = looks[one.initializer], np.array(one.learning_rates)
        lower, middle, upper = np.quantile(one.losses, (0.25, 0.5, 0.75), axis=1, method="nearest")
        middle = np.median(one.losses, axis=1)
        seen = np.isfinite(middle) & (middle > 0)
        if seeds > 1:
            _band(
                chart,
                one.learning_rates,  # type: ignore[arg-type]
                np.maximum(lower, 10.0**bottom),
                np.minimum(upper, 100 * top),
                seen,
                look.colour,
            )
        texts = [
            _rate_text(one, number, float(middle[number]), float(lower[number]), float(upper[number]))
            for number in range(len(at))
        ]
        legend = style.short_name(one.initializer)
        if seen.any():
            _line(chart, one.learning_rates, middle, seen, look, texts, legend, palette, with_markers=True)
            last = float(middle[seen][-1])
            ends.append(((math.log10(last) - bottom) / (high - bottom), look.glyph, look.colour, one.initializer))
        else:
            ends.append((0.97 - 0.045 * place, "×", palette.diverged, one.initializer))
        chosen = seen & np.isin(at, one.chosen)
        chart.add_scatter(
            x=at[chosen],
            y=middle[chosen],
            mode="markers",
            marker={"size": 15, "symbol": "circle-open", "line": {"width": 2, "color": palette.ink}},
            hoverinfo="skip",
        )
        lost = ~np.isfinite(middle)
        chart.add_scatter(
            x=at[lost],
            y=[10 ** (high - (0.03 + 0.045 * place) * (high - bottom))] * int(lost.sum()),
            mode="markers",
            cliponaxis=False,
            marker={"symbol": "x-thin", "size": 8, "line": {"width": 2.2, "color": palette.diverged}},
            hoverinfo="text",
            hovertext=[text for text, is_lost in zip(texts, lost, strict=True) if is_lost],
        )
    if constant and constant < top:
        chart.add_hline(y=constant, line={"width": 1.2, "dash": "dot", "color": palette.stalled})
    if is_narrow:
        _legend_below(chart, palette)
    else:
        style.end_labels(chart, ends, palette)
    return chart.figure()


def _rate_text(one: RateLosses, number: int, middle: float, low: float, high: float) -> str:
    losses = one.losses[number]
    rate = f"<b>{one.initializer}</b> at learning rate {one.learning_rates[number]:g}"
    lost = int((~np.isfinite(losses)).sum())
    if not math.isfinite(middle):
        return f"{rate}<br>diverged in {lost} of {len(losses)} runs"
    text = f"{rate}<br>ends at a loss of {style.number(middle)}"
    if len(losses) > 1:
        text += f" in the median,<br>{style.number(low)} to {style.number(high)} in the middle half"
    if lost:
        text += f";<br>{lost} of {len(losses)} diverged"
    share = sum(rate == one.learning_rates[number] for rate in one.chosen)
    return text + ("" if not share else "<br>chosen" if share == len(one.chosen) else "<br>chosen by one half")
