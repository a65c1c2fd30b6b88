"""Figures of Signal: moments by layer against theory, histograms by layer, shares, the phase diagram, spectra."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from winit.figures import style
from winit.figures.chart import Chart
from winit.figures.palette import Palette, Style, styles
from winit.signal import Histogram, Signal
from winit.spectrum import Jacobian, LayerSpectra
from winit.theory import Course, PhaseDiagram, Prediction

Array = NDArray[np.float64]

FLOAT32_LOG10 = -2 * 126 * math.log10(2)
"""The second moment of numbers at the end of what float32 holds in full."""
_TITLES = {
    "forward": "Forward: second moment of the pre-activations, E z²",
    "backward": "Backward: second moment of the gradients, E (∂L/∂z)²",
}
_LEAST_SPAN = 3.0  # decades, so that what keeps its size looks level
_LAYER_HEIGHT = 300
_PHASE_HEIGHT = 560
_LABELS = 118
_BELOW = 0.025  # of the axes, below 0, so that points at 0 are seen whole
_SCALES = (3, 10, 30)
_GREATEST_SCALE = 1e4  # layers: depth scales beyond are drawn as the edge


def _layer_axis(chart: Chart, depth: int) -> None:
    margin = 0.5 if depth == 1 else 0.02 * depth
    chart.update_xaxes(range=[1 - margin, depth + margin], tickvals=style.layer_ticks(depth))


def moments(
    signals: Sequence[Signal],
    expected: Mapping[str, Prediction],
    palette: Palette,
    *,
    direction: str,
    overlay: Sequence[str] = ("theory", "band"),
    meta: str = "",
) -> go.Figure:
    """Return the second moment against the layer: points with bars over seeds, theory as lines with its band.

    `direction` is forward or backward; `expected` has, by initializer, what theory predicts, where it does.
    `overlay` holds theory, band and seeds. The axis is that of base-10 logarithms, right beyond double precision.
    Layers that are all 0 stand on the lower end of the axis, those beyond all numbers on the upper.
    """
    depth = signals[0].spec.depth
    chart = style.figure(palette, y=_TITLES[direction], x="hidden layer", right=_LABELS, meta=meta)
    names = [one.spec.initializer for one in signals]
    looks = styles(names, palette)
    values = {name: getattr(one, f"{direction}_log10") for name, one in zip(names, signals, strict=True)}
    courses = {name: getattr(found, direction) for name, found in expected.items() if "theory" in overlay}
    drawn = [*values.values(), *(line for course in courses.values() for line in (course.log10, course.median_log10))]
    low, high = _span(drawn)
    layers = np.arange(1, depth + 1)
    ends = []
    for name, course in courses.items():
        _theory(chart, layers, course, looks[name], band="band" in overlay)
    for name, found in values.items():
        middle = _median(found)
        _points(chart, name, layers, found, middle, courses.get(name), looks[name], (low, high), "seeds" in overlay)
        ends.append(((float(np.clip(middle[-1], low, high)) - low) / (high - low), name))
    style.end_labels(chart, [(at, looks[name].glyph, looks[name].colour, name) for at, name in ends], palette)
    for place, text in (
        (FLOAT32_LOG10, "below: underflow in float32"),
        (256 * math.log10(2), "above: float32 overflows"),
    ):
        if low < place < high:
            chart.add_hline(y=place, line={"width": 1, "color": palette.stalled, "dash": "4px,4px"})
            style.note(
                chart,
                text,
                x=0,
                y=place,
                yref="y",
                palette=palette,
                size=11.5,
                xanchor="left",
                xshift=8,
                yshift=-8 if place < 0 else 8,
            )
    ticks, texts = style.exponent_ticks(low, high)
    chart.update_yaxes(range=[low, high], tickvals=ticks, ticktext=texts)
    _layer_axis(chart, depth)
    return chart.figure()


def _median(found: Array) -> Array:
    with np.errstate(invalid="ignore"):  # some networks at nothing, some beyond all numbers
        return np.asarray(np.nan_to_num(np.median(found, axis=0), nan=np.inf, posinf=np.inf, neginf=-np.inf))


def _span(lines: Sequence[Array]) -> tuple[float, float]:
    """Return the ends of a logarithmic axis that holds all finite values, at least some decades long."""
    finite = np.concatenate([line[np.isfinite(line)].ravel() for line in lines])
    if not len(finite):
        return -2.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    pad = max(0.06 * (high - low), 0.15, (_LEAST_SPAN - (high - low)) / 2)
    return low - pad, high + pad


def _theory(chart: Chart, layers: NDArray[np.int64], course: Course, look: Style, *, band: bool) -> None:
    line, median, low, high = (
        np.where(np.isfinite(each), each, np.nan)
        for each in (getattr(course, name) for name in ("log10", "median_log10", "low_log10", "high_log10"))
    )
    x = layers.astype(float)
    if len(x) == 1:  # one layer: short level lines
        x = np.array([0.8, 1.2])
        line, median, low, high = (np.repeat(each, 2) for each in (line, median, low, high))
    seen = np.isfinite(low) & np.isfinite(high)
    if band and seen.any():
        chart.add_scatter(
            x=np.concatenate((x[seen], x[seen][::-1])),
            y=np.concatenate((low[seen], high[seen][::-1])),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=look.colour + "2e",
            hoverinfo="skip",
        )
    for values, width, dash in ((line, 1.0, "1px,3px"), (median, 1.8, look.dash)):
        chart.add_scatter(
            x=x, y=values, mode="lines", line={"width": width, "color": look.colour, "dash": dash}, hoverinfo="skip"
        )


def _points(
    chart: Chart,
    name: str,
    layers: NDArray[np.int64],
    found: Array,
    middle: Array,
    course: Course | None,
    look: Style,
    span: tuple[float, float],
    seeds: bool,
) -> None:
    low, high = np.quantile(found, (0.1, 0.9), axis=0, method="nearest")
    at = np.clip(middle, *span)
    text = style.number_of_log10
    texts = []
    for layer in range(len(layers)):
        said = f"<b>{name}</b>, layer {layer + 1}<br>measured {text(middle[layer])}"
        if middle[layer] == -np.inf:
            said = f"<b>{name}</b>, layer {layer + 1}<br>every value is 0"
        elif middle[layer] == np.inf:
            said = f"<b>{name}</b>, layer {layer + 1}<br>beyond all numbers"
        elif len(found) > 1:
            said += f"<br>80 in 100 seeds {text(low[layer])} to {text(high[layer])}"
        if course is not None:
            said += f"<br>theory {text(course.median_log10[layer])}"
        texts.append(said)
    if seeds and len(found) > 1:
        chart.add_scatter(
            x=np.tile(layers, len(found)),
            y=np.clip(found, *span).ravel(),
            mode="markers",
            marker={"size": 3.5, "color": look.colour, "opacity": 0.4},
            hoverinfo="skip",
        )
    bars = None
    if len(found) > 1:
        finite = np.isfinite(middle) & np.isfinite(low) & np.isfinite(high)
        bars = {
            "type": "data",
            "symmetric": False,
            "array": np.subtract(high, middle, where=finite, out=np.zeros_like(middle)),
            "arrayminus": np.subtract(middle, low, where=finite, out=np.zeros_like(middle)),
            "thickness": 1.2,
            "width": 0,
            "color": look.colour,
        }
    chart.add_scatter(
        x=layers,
        y=at,
        mode="markers",
        marker={
            "size": 6.5 if len(layers) <= 60 else 4,
            "symbol": look.symbol,
            "color": look.colour,
            "line": {"width": 1.6 if look.symbol.endswith("-open") else 0, "color": look.colour},
        },
        error_y=bars,
        hoverinfo="text",
        hovertext=texts,
        cliponaxis=False,
    )


def histogram(found: Histogram, palette: Palette, *, is_log: bool, meta: str = "") -> go.Figure:
    """Return a heat map of how values are spread, by layer; darker where more are, by the root of their share.

    `is_log`: the edges are base-10 logarithms of sizes, and the zeros' share is told in the hover text only.
    """
    depth = len(found.shares)
    quantity = "size of the gradients" if is_log else "activations"
    chart = style.figure(palette, y=quantity, x="hidden layer", height=style.SMALL_HEIGHT, meta=meta)
    middles = (found.edges[1:] + found.edges[:-1]) / 2
    hues = (palette.page, *palette.sequential)
    chart.add_heatmap(
        x=np.arange(1, depth + 1),
        y=middles,
        z=np.sqrt(found.shares.T),
        zmin=0,
        zmax=float(np.sqrt(np.quantile(found.shares.max(axis=1), 0.8))) or 1.0,
        colorscale=[(place / (len(hues) - 1), hue) for place, hue in enumerate(hues)],
        showscale=False,
        customdata=np.asarray(100 * found.shares.T),
        hovertemplate=(
            "layer %{x}<br>"
            + ("10^%{y:.1f}" if is_log else "about %{y:.2f}")
            + "<br>%{customdata:.1f} in 100 values<extra></extra>"
        ),
    )
    chart.update_xaxes(range=[0.5, depth + 0.5], tickvals=style.layer_ticks(depth))
    low, high = float(found.edges[0]), float(found.edges[-1])
    if is_log:
        ticks, texts = style.exponent_ticks(low, high, 4)
        chart.update_yaxes(range=[low, high + 0.08 * (high - low)], tickvals=ticks, ticktext=texts, showgrid=False)
    else:
        chart.update_yaxes(range=[low, high + 0.08 * (high - low)], nticks=4, showgrid=False)
    empty = found.shares.sum(axis=1) == 0
    if empty.all():
        why = "every value is 0" if (found.zeros == 1).all() else "every value is beyond the axis"
        style.note(chart, why, x=0.5, y=0.5, palette=palette, xanchor="center")
    return chart.figure()


def shares(signals: Sequence[Signal], palette: Palette, *, quantity: str, meta: str = "") -> go.Figure:
    """Return a share against the layer, median over seeds: `quantity` is dead_fraction or saturated_fraction."""
    title = {"dead_fraction": "Dead units: no slope for any input", "saturated_fraction": "Saturated: nearly no slope"}
    chart = style.figure(palette, y=title[quantity], x="hidden layer", height=_LAYER_HEIGHT, meta=meta)
    _lines(chart, signals, palette, quantity, lambda value: f"{100 * value:.3g} in 100")
    chart.update_yaxes(range=[-0.03, 1.05], tickformat=".0%", tickvals=[0, 0.5, 1])
    return chart.figure()


def _lines(
    chart: Chart, signals: Sequence[Signal], palette: Palette, quantity: str, write: Callable[[float], str]
) -> None:
    looks = styles([one.spec.initializer for one in signals], palette)
    medians = [np.median(getattr(one, quantity), axis=0) for one in signals]
    for place, (one, middle) in enumerate(zip(signals, medians, strict=True)):
        name = one.spec.initializer
        look = looks[name]
        chart.add_scatter(
            x=np.arange(1, one.spec.depth + 1),
            y=middle,
            mode="lines+markers",
            line={"width": 1.6, "color": look.colour, "dash": look.dash},
            # What lies below is larger: ReLU's shares are the same at any scale.
            marker={"size": 5.5 + 2 * (len(signals) - 1 - place), "symbol": look.symbol, "color": look.colour},
            hoverinfo="text",
            hovertext=[
                f"<b>{name}</b>, layer {layer}<br>{write(value)}" for layer, value in enumerate(middle, start=1)
            ],
        )
    if not np.isfinite(np.concatenate(medians)).any():
        style.note(chart, "no values that are finite and not 0", x=0.5, y=0.5, palette=palette, xanchor="center")
    _layer_axis(chart, signals[0].spec.depth)


def correlations(
    signals: Sequence[Signal],
    expected: Mapping[str, Prediction],
    ends: Mapping[str, float],
    palette: Palette,
    *,
    meta: str = "",
) -> go.Figure:
    """Return the correlation of two inputs against the layer, theory as a thin line, and where it ends, c*."""
    chart = style.figure(
        palette, y="Correlation of two inputs", x="hidden layer", height=_LAYER_HEIGHT, right=34, meta=meta
    )
    looks = styles([one.spec.initializer for one in signals], palette)
    for name, found in expected.items():
        chart.add_scatter(
            x=np.arange(1, len(found.correlation) + 1),
            y=found.correlation,
            mode="lines",
            line={"width": 1, "color": looks[name].colour, "dash": "1px,3px"},
            hoverinfo="skip",
        )
    for name, end in ends.items():
        chart.add_hline(y=end, line={"width": 1, "color": looks[name].colour, "dash": "6px,4px"})
        style.note(chart, "c*", x=1, y=end, yref="y", palette=palette, xanchor="left", xshift=6)
    _lines(chart, signals, palette, "correlation", style.number)
    chart.update_yaxes(range=[-0.12, 1.08], tickvals=[0, 0.5, 1])
    return chart.figure()


def phase(
    diagram: PhaseDiagram,
    places: Mapping[str, tuple[float, float]],
    mine: tuple[float, float] | None,
    palette: Palette,
    *,
    meta: str = "",
) -> go.Figure:
    """Return the phase diagram: ordered and chaotic regions, edge of chaos, depth scales, and who lies where.

    `places` has sigma_w and sigma_b by initializer; those in one place share a label. `mine` is the user's own. The
    first trace is a grid of unseen markers under the pointer, whose y is sigma_w and x is sigma_b.
    """
    w, b = diagram.sigma_w, diagram.sigma_b
    chart = style.figure(palette, y="σ_w", x="σ_b", height=_PHASE_HEIGHT, right=64, meta=meta)
    every = max(1, len(w) // 40)
    grid_b, grid_w = (axis.ravel() for axis in np.meshgrid(b[::every], w[::every]))
    chart.add_scatter(
        x=grid_b,
        y=grid_w,
        mode="markers",
        marker={"size": 12, "color": palette.page, "opacity": 0.01},
        selected={"marker": {"opacity": 0.01}},
        unselected={"marker": {"opacity": 0.01}},
        hovertemplate="σ_w %{y:.2f}, σ_b %{x:.2f}<br>select to set<extra></extra>",
    )
    hues = palette.diverging
    chart.add_heatmap(
        x=b, y=w, z=(~(diagram.chi_1.T < 1)).astype(np.uint8), zmin=0, zmax=1, showscale=False, hoverinfo="skip",
        opacity=0.55, colorscale=[(0, hues[4]), (1, hues[5])],
    )  # fmt: skip
    scales = np.log10(np.clip(diagram.depth_scale.T, 1e-3, _GREATEST_SCALE))
    # Lines of one trace are evenly spaced in its heights: those of the scales are at 0, 1, 2, on a smooth parabola.
    parabola = np.polyfit(np.log10(_SCALES), np.arange(len(_SCALES)), len(_SCALES) - 1)
    heights = np.polyval(parabola, scales).astype(np.float32)
    chart.add_contour(
        x=b, y=w, z=heights, showscale=False, hoverinfo="skip",
        contours={"coloring": "lines", "start": 0, "end": len(_SCALES) - 1, "size": 1},
        colorscale=[(0, palette.stalled), (1, palette.stalled)], line={"width": 1, "dash": "3px,3px"},
    )  # fmt: skip
    ends: list[tuple[float, int]] = []
    for scale in _SCALES:
        crossed = np.flatnonzero(np.diff(scales[:, -1] > math.log10(scale)))
        ends += [(_height(float(w[row] + w[row + 1]) / 2, float(w[-1])), scale) for row in crossed]
    for place, (_, scale) in zip(style.spread_labels([end[0] for end in ends], chart.plot_height), ends, strict=True):
        style.note(chart, f"ξ = {scale}", x=1, y=place, palette=palette, size=11.5, xanchor="left", xshift=6,
                   yanchor="middle")  # fmt: skip
    if len(diagram.edge.sigma_b) > 1:
        chart.add_scatter(x=diagram.edge.sigma_b, y=diagram.edge.sigma_w, mode="lines", hoverinfo="skip",
                          line={"width": 2.2, "color": palette.ink})  # fmt: skip
    elif len(diagram.edge.sigma_b):
        chart.add_scatter(
            x=diagram.edge.sigma_b,
            y=diagram.edge.sigma_w,
            mode="markers",
            hoverinfo="text",
            hovertext="the edge of chaos is this point",
            cliponaxis=False,
            marker={"size": 15, "symbol": "diamond-open", "color": palette.ink, "line": {"width": 2}},
        )
    taken = _placed(chart, places, mine, diagram, palette)
    _regions(chart, diagram, taken, palette)
    chart.update_xaxes(range=[-_BELOW * float(b[-1]), float(b[-1])])
    chart.update_yaxes(range=[-_BELOW * float(w[-1]), float(w[-1])], showgrid=False)
    return chart.figure()


def _regions(chart: Chart, diagram: PhaseDiagram, taken: Sequence[float], palette: Palette) -> None:
    """Write the name of each region near its middle, above or below the labels at the heights that are taken."""
    top = float(diagram.sigma_w[-1])
    grows = np.isinf(diagram.q_star)
    for mask, text in (
        (grows, "the signal grows without end"),
        ((diagram.chi_1 < 1) & ~grows, "ordered: gradients vanish"),
        ((diagram.chi_1 > 1) & ~grows, "chaotic: gradients explode"),
    ):
        if mask.mean() > 0.03:
            column = min(len(diagram.sigma_b) - 1, int(_NAMED * len(diagram.sigma_b)))
            rows = np.flatnonzero(mask[column])
            if len(rows):
                free = [min((abs(_height(w, top) - other) for other in taken), default=1.0) * chart.plot_height
                        for w in diagram.sigma_w[rows]]  # fmt: skip
                order = np.argsort(np.abs(rows - np.median(rows)), kind="stable")
                row = next((rows[at] for at in order if free[at] > _LINE), rows[int(np.argmax(free))])
                style.note(
                    chart,
                    f"<i>{text}</i>",
                    x=float(diagram.sigma_b[column]),
                    y=float(diagram.sigma_w[row]),
                    xref="x",
                    yref="y",
                    palette=palette,
                    xanchor="center",
                )


_MARKER = 9  # pixels
_LINE = 16  # pixels of a line of text
_LETTER = 6  # pixels, about
_PHONE = 240  # pixels of the diagram's width on a phone, where labels are nearest to each other
_NAMED = 0.68  # where the middle of a region's name stands, as a share of the width


def _placed(
    chart: Chart,
    places: Mapping[str, tuple[float, float]],
    mine: tuple[float, float] | None,
    diagram: PhaseDiagram,
    palette: Palette,
) -> list[float]:
    """Place the initializers, and the network's own; return the heights of labels that reach the regions' names."""
    looks = styles(places, palette)
    top, right = float(diagram.sigma_w[-1]), float(diagram.sigma_b[-1])
    groups: dict[tuple[float, float], list[str]] = {}
    for name, (sigma_w, sigma_b) in places.items():
        groups.setdefault((round(sigma_w, 2), round(sigma_b, 2)), []).append(name)
    inside = {at: names for at, names in groups.items() if at[0] <= top and at[1] <= right}
    for (sigma_w, sigma_b), names in inside.items():
        look = looks[names[0]]
        chart.add_scatter(
            x=[sigma_b], y=[sigma_w], mode="markers", cliponaxis=False, hoverinfo="text",
            marker={"size": 9, "symbol": look.symbol, "color": look.colour, "line": {"width": 1.5}},
            selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}},
            hovertext=f"<b>{'<br>'.join(names)}</b><br>σ_w {style.number(sigma_w)}, σ_b {style.number(sigma_b)}",
        )  # fmt: skip
    # Those with small biases stand near one column, whose labels are pushed apart.
    column = sorted(at for at in inside if at[1] < 0.25 * right)
    heights = style.spread_labels([_height(at[0], top) for at in column], chart.plot_height)
    spread = dict(zip(column, heights, strict=True))
    taken = []
    for at, names in inside.items():
        more = f" + {len(names) - 2}" if len(names) > 2 else ""
        label = ", ".join(style.short_name(name, 20) for name in names[:2]) + more
        place = spread.get(at, _height(at[0], top))
        # Right of every marker that the label would lie on.
        near = [other for other in column if abs(_height(other[0], top) - place) * chart.plot_height < _MARKER]
        beside = max([at[1], *(other[1] for other in near if at in spread)])
        if beside / right * _PHONE + 14 + _LETTER * len(label) > (_NAMED - 0.3) * _PHONE:
            taken.append(place)
        style.note(chart, label, x=beside, y=place, xref="x", palette=palette, size=11.5, xanchor="left", xshift=14,
                   yanchor="middle")  # fmt: skip
    if mine is not None and mine[0] <= top and mine[1] <= right:
        chart.add_scatter(
            x=[mine[1]], y=[mine[0]], mode="markers", cliponaxis=False, hoverinfo="text",
            hovertext=f"<b>yours</b><br>σ_w {style.number(mine[0])}, σ_b {style.number(mine[1])}",
            marker={"size": 20, "symbol": "circle-open", "color": palette.ink, "line": {"width": 2.5}},
            selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}},
        )  # fmt: skip
    return taken


def _height(sigma_w: float, top: float) -> float:
    """Return where a sigma_w stands in the diagram, 0 to 1."""
    return (sigma_w + _BELOW * top) / (top + _BELOW * top)


def layer_spectra(found: LayerSpectra, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the singular values of a first, a middle and the last hidden layer beside what theory expects."""
    chart = style.figure(palette, y="Singular values of W, largest first", x="share of them", right=70,
                         height=_LAYER_HEIGHT, meta=meta)  # fmt: skip
    depth = found.spec.depth
    chosen = sorted({0, depth // 2, depth - 1})
    hues = (palette.sequential[4], palette.sequential[6], palette.sequential[9])
    labels, top = [], max(float(found.values[layer].max(initial=0.0)) for layer in chosen) or 1.0
    for layer, hue in zip(chosen, hues[-len(chosen) :], strict=True):
        sizes, law = found.values[layer], found.expected[layer]
        x = (np.arange(len(sizes)) + 0.5) / len(sizes)
        if len(law):
            chart.add_scatter(x=x, y=law, mode="lines", hoverinfo="skip",
                              line={"width": 1.6, "color": palette.ink, "dash": "1px,3px"})  # fmt: skip
        chart.add_scatter(
            x=x, y=sizes, mode="lines+markers" if len(sizes) <= 24 else "lines", hoverinfo="text",
            line={"width": 2, "color": hue}, marker={"size": 5, "color": hue},
            hovertext=[f"layer {layer + 1}<br>{rank} of {len(sizes)}: {style.number(size)}"
                       for rank, size in enumerate(sizes, start=1)],
        )  # fmt: skip
        labels.append((float(sizes[-1]) / (1.06 * top), "━", hue, f"layer {layer + 1}"))
    style.end_labels(chart, labels, palette)
    chart.update_xaxes(range=[0, 1], tickformat=".0%", tickvals=[0, 0.5, 1])
    chart.update_yaxes(range=[-0.02 * top, 1.06 * top])
    return chart.figure()


def jacobian(found: Jacobian, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the singular values of the Jacobian, median over seeds and inputs, and theory's root mean square."""
    chart = style.figure(palette, y="Singular values of the Jacobian", x="largest to smallest", right=70,
                         height=_LAYER_HEIGHT, meta=meta)  # fmt: skip
    values = found.singular_values_log10.reshape(-1, found.singular_values_log10.shape[2])
    values = values[~np.isnan(values).any(axis=1)]
    low, high = (-2.0, 1.0) if not len(values) else _span([values, np.array([found.expected_mean_square_log10 / 2])])
    ranks = np.arange(1, found.singular_values_log10.shape[2] + 1)
    if len(values):
        middle = _median(values)
        chart.add_scatter(
            x=ranks, y=np.clip(middle, low, high), mode="markers", hoverinfo="text",
            marker={"size": 6.5, "color": palette.sequential[6]},
            hovertext=[f"{rank} of {len(ranks)}<br>{style.number_of_log10(value)}"
                       for rank, value in zip(ranks, middle, strict=True)],
        )  # fmt: skip
    if math.isfinite(found.expected_mean_square_log10):
        chart.add_hline(
            y=found.expected_mean_square_log10 / 2, line={"width": 1.6, "color": palette.ink, "dash": "1px,3px"}
        )
        style.note(chart, "theory's<br>root mean<br>square", x=1, y=found.expected_mean_square_log10 / 2, yref="y",
                   palette=palette, size=11.5, xanchor="left", xshift=4)  # fmt: skip
    if not np.isfinite(values).any():
        style.note(chart, "every singular value is 0", x=0.5, y=0.5, palette=palette, xanchor="center")
    ticks, texts = style.exponent_ticks(low, high, 4)
    chart.update_yaxes(range=[low, high], tickvals=ticks, ticktext=texts)
    chart.update_xaxes(range=[0.5, len(ranks) + 0.5])
    return chart.figure()


def rows(values: Array, palette: Palette, *, quantity: str, meta: str = "") -> go.Figure:
    """Return units (a row each) by inputs (a column each) as an image: equal neurons are equal rows."""
    chart = style.figure(palette, y=f"{quantity}: a row is a neuron", x="input", height=_LAYER_HEIGHT, meta=meta)
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    hues = (*palette.diverging[:5], palette.page, *palette.diverging[5:])
    chart.add_heatmap(
        x0=1, y0=1, z=values / largest, zmin=-1, zmax=1, showscale=False,
        colorscale=[(place / 10, hue) for place, hue in enumerate(hues)],
        hovertemplate="neuron %{y}, input %{x}<br>%{z:.3g} of the largest<extra></extra>",
    )  # fmt: skip
    chart.add_shape(type="rect", xref="paper", yref="paper", x0=0, y0=0, x1=1, y1=1,
                    line={"width": 1, "color": palette.stalled})  # fmt: skip
    chart.update_yaxes(autorange="reversed", showgrid=False)
    if not values.any():
        style.note(chart, "every one is 0: equal rows", x=0.5, y=0.5, palette=palette, xanchor="center")
    return chart.figure()
