"""Figures of Distributions: the drawn weights under their exact law, singular values, and matrices as images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from winit.distributions import CloseLook, Drawn
from winit.figures import style
from winit.figures.chart import Chart
from winit.figures.palette import Palette, Style, styles

Array = NDArray[np.float64]

_PLOT_HEIGHT = style.MAIN_HEIGHT - 78  # without the margins above and below
_LEAST_SPIKE = 0.06  # so that a rare atom is still seen
_SPIKE = 0.8
_MOST_OVER_CURVES = 3
_LABEL_TOP = 0.94  # of the plot: above it a label would leave it


@dataclass(frozen=True)
class _View:
    """What is drawn against the weight."""

    quantity: str
    is_log: bool = False
    is_cumulative: bool = False


VIEWS: Mapping[str, _View] = MappingProxyType(
    {
        "density": _View("Density of the weights"),
        "tails": _View("Density of the weights, logarithmic", is_log=True),
        "cumulative": _View("Share of weights at or below", is_cumulative=True),
    }
)


def histograms(
    drawn: Sequence[Drawn],
    palette: Palette,
    *,
    view: str = "density",
    standardized: bool = False,
    meta: str = "",
) -> go.Figure:
    """Return what was drawn under the line of the exact law, for each initializer.

    `view` is density (filled histograms), tails (the same on a logarithmic axis) or cumulative (points of the
    empirical distribution function); `standardized` measures each law in its own standard deviations.
    Values that carry probability are upright lines, as high as their share.
    """
    shown = VIEWS[view]
    quantity = "weight / standard deviation" if standardized else "weight"
    chart = style.figure(palette, y=shown.quantity, x=quantity, meta=meta)
    looks = styles([one.initializer for one in drawn], palette)
    scales = [_scale(one) if standardized else 1.0 for one in drawn]
    pairs = list(zip(drawn, scales, strict=True))
    if shown.is_cumulative:
        for one, scale in pairs:
            _steps(chart, one, looks[one.initializer], scale)
        chart.update_yaxes(range=[-0.02, 1.06], tickformat=".0%")
        _column(chart, pairs, looks, palette, top=0.6)
        return chart.figure()
    tops = [_top(one) * scale for one, scale in pairs]
    ceiling = 1.18 * max([top for top in tops if np.isfinite(top) and top > 0], default=1.0)
    floor = _floor(pairs) if shown.is_log else 0.0
    for one, scale in pairs:
        look = looks[one.initializer]
        if len(one.heights):
            _bars(chart, one, look, scale, floor)
        if len(one.density):
            _line(chart, one, look, scale, floor)
        _spikes(chart, one, look, scale, floor, ceiling)
    if shown.is_log:
        ceiling *= 2.0
        ticks, texts = style.decades(np.log10(floor), np.log10(ceiling))
        chart.update_yaxes(
            type="log",
            range=[np.log10(floor), np.log10(ceiling)],
            tickvals=ticks,
            ticktext=texts,
            minor={"showgrid": False},
        )
        _label(chart, pairs, looks, palette, [_log_place(top, floor, ceiling) for top in tops])
    else:
        chart.update_yaxes(range=[0, ceiling])
        _label(chart, pairs, looks, palette, [min((top or _SPIKE * ceiling) / ceiling, 0.95) for top in tops])
    return chart.figure()


def _scale(one: Drawn) -> float:
    """Return the standard deviation that the axis is measured in, 1 where there is none."""
    for size in (one.asked.standard_deviation, one.drawn.standard_deviation):
        if size > 0:
            return size
    return 1.0


def _top(one: Drawn) -> float:
    """Return the greatest density that has to be seen, infinite ends and narrow peaks left out."""
    if _is_narrow(one):
        return 0.0
    finite = one.density[np.isfinite(one.density)]
    inner = float(np.quantile(finite, 0.99)) if len(finite) else 0.0
    return max(inner, float(one.heights.max()) if len(one.heights) and not len(finite) else inner)


def _is_narrow(one: Drawn) -> bool:
    """Whether what is not on atoms lies so close together that it is a spike among them."""
    return bool(one.atoms) and len(one.heights) > 0 and one.edges[-1] - one.edges[0] < 0.01 * _scale(one)


def _floor(pairs: Sequence[tuple[Drawn, float]]) -> float:
    """Return the lowest density of a logarithmic axis: half that of a bin with one weight in it."""
    least = [
        scale * one.heights[one.heights > 0].min() for one, scale in pairs if len(one.heights) and not _is_narrow(one)
    ]
    return 0.5 * float(min(least, default=1e-3))


def _log_place(top: float, floor: float, ceiling: float) -> float:
    if not (np.isfinite(top) and top > floor):
        return _SPIKE
    return min(float(np.log(top / floor) / np.log(ceiling / floor)), 0.95)


def _names(pairs: Sequence[tuple[Drawn, float]], looks: Mapping[str, Style]) -> list[str]:
    """Return the label of each initializer: its glyph in its hue, its name in ink."""
    found = []
    for one, _ in pairs:
        look = looks[one.initializer]
        name = style.short_name(one.initializer, 40)
        found.append(f"<span style='color:{look.colour}'>{look.glyph}</span> <b>{name}</b>")
    return found


def _column(
    chart: Chart,
    pairs: Sequence[tuple[Drawn, float]],
    looks: Mapping[str, Style],
    palette: Palette,
    top: float = 1.0,
) -> None:
    """Write the names in a column at the right, where the curves leave room below `top`."""
    for row, text in enumerate(_names(pairs, looks)):
        style.note(
            chart, text, x=1, y=top, palette=palette, xanchor="right", yanchor="top", yshift=-17 * row, size=12.5
        )


def _label(
    chart: Chart,
    pairs: Sequence[tuple[Drawn, float]],
    looks: Mapping[str, Style],
    palette: Palette,
    heights: Sequence[float],
) -> None:
    """Write each initializer's name over the middle of its law; many of them in a column at the right."""
    if len(pairs) > _MOST_OVER_CURVES:
        _column(chart, pairs, looks, palette)
        return
    places = style.spread_labels([height / _LABEL_TOP for height in heights], _PLOT_HEIGHT * _LABEL_TOP)
    for place, text, (one, scale) in zip(places, _names(pairs, looks), pairs, strict=True):
        style.note(
            chart,
            text,
            x=one.asked.mean / scale,
            y=place * _LABEL_TOP,
            xref="x",
            palette=palette,
            yanchor="bottom",
            yshift=2,
            size=12.5,
            align="center",
        )


def _bars(chart: Chart, one: Drawn, look: Style, scale: float, floor: float) -> None:
    if _is_narrow(one):
        return
    x = np.repeat(one.edges, 2)[1:-1] / scale
    y = np.maximum(np.repeat(one.heights, 2) * scale, floor)
    chart.add_scatter(
        x=np.concatenate(([x[0]], x, [x[-1]])),
        y=np.concatenate(([floor], y, [floor])),
        mode="lines",
        line={"width": 0, "color": look.colour},
        fill="toself" if floor else "tozeroy",
        fillcolor=look.colour + "2e",
        hoverinfo="skip",
    )


def _line(chart: Chart, one: Drawn, look: Style, scale: float, floor: float) -> None:
    if _is_narrow(one):
        return
    seen = np.isfinite(one.density) & (one.density * scale >= floor)
    chart.add_scatter(
        x=one.curve_x / scale,
        y=np.where(seen, one.density * scale, np.nan),
        mode="lines",
        line={"width": 2, "color": look.colour, "dash": look.dash},
        hoverinfo="text",
        hovertext=_texts(one, one.density, "density"),
    )


def _texts(one: Drawn, values: Array, quantity: str, write: Callable[[float], str] = style.number) -> list[str]:
    return [
        f"<b>{one.initializer}</b><br>weight {style.number(x)}<br>{quantity} {write(y)}"
        for x, y in zip(one.curve_x, values, strict=True)
    ]


def _spikes(chart: Chart, one: Drawn, look: Style, scale: float, floor: float, ceiling: float) -> None:
    spikes = [
        (value, share, f"{share:.3g} of the weights, {probability:.3g} asked")
        for value, probability, share in one.atoms
    ]
    if not one.asked.standard_deviation > 0 and not spikes:
        return
    if _is_narrow(one):
        rest = 1 - sum(share for _, share, _ in spikes)
        spikes.append((float(one.edges.mean()), rest, f"{rest:.3g} of the weights, spread too little to see"))
    for value, share, text in spikes:
        height = _SPIKE * max(share, _LEAST_SPIKE)
        top = ceiling * height if not floor else floor * (ceiling / floor) ** height
        chart.add_scatter(
            x=[value / scale, value / scale],
            y=[floor, top],
            mode="lines+markers",
            line={"width": 3, "color": look.colour, "dash": look.dash},
            marker={"size": 8, "color": look.colour, "symbol": [look.symbol, look.symbol], "opacity": [0, 1]},
            hoverinfo="text",
            hovertext=f"<b>{one.initializer}</b><br>weight {style.number(value)}<br>{text}",
        )


def _steps(chart: Chart, one: Drawn, look: Style, scale: float) -> None:
    if len(one.cumulative):
        chart.add_scatter(
            x=one.curve_x / scale,
            y=one.cumulative,
            mode="lines",
            line={"width": 2, "color": look.colour, "dash": look.dash},
            hoverinfo="text",
            hovertext=_texts(one, one.cumulative, "at or below", lambda share: f"{share:.1%}"),
        )
    some = slice(None, None, 8 if len(one.cumulative) else 1)
    chart.add_scatter(
        x=one.curve_x[some] / scale,
        y=one.empirical[some],
        mode="markers",
        marker={"size": 5, "symbol": look.symbol, "color": look.colour, "opacity": 0.55},
        hoverinfo="text",
        hovertext=_texts(one, one.empirical, "drawn at or below", lambda share: f"{share:.1%}")[some],
    )


def singular_values(
    looked: Sequence[CloseLook], expected: Mapping[str, Array], palette: Palette, *, meta: str = ""
) -> go.Figure:
    """Return the singular values of one weight matrix per initializer, largest first.

    `expected` has, by initializer, those of the Marchenko-Pastur law, drawn as a thin line.
    """
    chart = style.figure(palette, y="Singular values of W, largest first", x="share of them", right=22, meta=meta)
    looks = styles([one.initializer for one in looked], palette)
    for name, sizes in expected.items():
        chart.add_scatter(
            x=(np.arange(len(sizes)) + 0.5) / len(sizes),
            y=sizes,
            mode="lines",
            line={"width": 1.6, "color": palette.ink, "dash": "1px,3px"},
            hoverinfo="text",
            hovertext=f"<b>{name}</b><br>Marchenko-Pastur law",
        )
    for one in looked:
        sizes, look = one.singular_values, looks[one.initializer]
        texts = [
            f"<b>{one.initializer}</b><br>singular value {rank} of {len(sizes)}<br>{style.number(size)}"
            for rank, size in enumerate(sizes, start=1)
        ]
        chart.add_scatter(
            x=(np.arange(len(sizes)) + 0.5) / len(sizes),
            y=sizes,
            mode="lines+markers" if len(sizes) <= 24 else "lines",
            line={"width": 2, "color": look.colour, "dash": look.dash},
            marker={"size": 6.5, "symbol": look.symbol, "color": look.colour},
            hoverinfo="text",
            hovertext=texts,
        )
    top = max((float(one.singular_values.max()) for one in looked), default=1.0) or 1.0
    chart.update_xaxes(range=[0, 1], tickformat=".0%", tickvals=[0, 0.5, 1])
    chart.update_yaxes(range=[-0.02 * top, 1.06 * top])
    return chart.figure()


def matrix(one: CloseLook, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return a weight matrix as an image: rows are units, columns their inputs, the page's colour is 0."""
    largest = float(np.abs(one.image).max()) or 1.0
    chart = Chart()
    hues = (*palette.diverging[:5], palette.page, *palette.diverging[5:])
    colours = [(place / 10, colour) for place, colour in enumerate(hues)]
    rows, columns = one.block
    place = "input %{x}, unit %{y}" if one.block == (1, 1) else f"largest of a block of {rows} x {columns}"
    chart.add_heatmap(
        z=one.image,
        x0=1,
        y0=1,
        zmin=-largest,
        zmax=largest,
        colorscale=colours,
        showscale=False,
        hovertemplate=f"weight %{{z:.3g}}<br>{place}<extra></extra>",
    )
    height, width = one.image.shape
    # A frame: where most weights are 0 the image would have no edge.
    chart.add_shape(
        type="rect", x0=0.5, y0=0.5, x1=width + 0.5, y1=height + 0.5, line={"width": 1, "color": palette.stalled}
    )
    axis = {"fixedrange": True, "visible": False, "constrain": "domain"}
    chart.update_layout(
        height=style.SMALL_HEIGHT,
        margin={"l": 1, "r": 1, "t": 4, "b": 4},
        dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"align": "left", "bgcolor": palette.page, "bordercolor": palette.ink, "font": {"size": 12.5}},
        xaxis=axis,
        yaxis={**axis, "autorange": "reversed", "scaleanchor": "x"},
        meta=meta,
    )
    return chart.figure()
