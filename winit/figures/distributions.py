"""Figures of Distributions: histograms with the exact density, and singular values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from winit.distributions import Drawn
from winit.figures import style
from winit.figures.palette import Palette, Style, styles

Array = NDArray[np.float64]

_PLOT_HEIGHT = style.MAIN_HEIGHT - 78  # without the margins above and below


def histograms(drawn: Sequence[Drawn], palette: Palette, *, standardized: bool = False, meta: str = "") -> go.Figure:
    """Return filled histograms of the draws under the line of the exact density.

    `standardized` measures each law in its own standard deviations. A law without a density is an
    upright line at its value.
    """
    quantity = "weight / standard deviation" if standardized else "weight"
    chart = style.figure(palette, y="Density of the weights", x=quantity, meta=meta)
    looks = styles([one.initializer for one in drawn], palette)
    scales = [one.asked.standard_deviation if standardized else 1.0 for one in drawn]
    scales = [scale if scale > 0 else 1.0 for scale in scales]
    tops = [_top(one) * scale for one, scale in zip(drawn, scales, strict=True)]
    ceiling = 1.18 * max([top for top in tops if np.isfinite(top) and top > 0], default=1.0)
    for one, scale in zip(drawn, scales, strict=True):
        look = looks[one.initializer]
        if len(one.heights):
            _bars(chart, one, look, scale)
        if len(one.density):
            _line(chart, one, look, scale)
        else:
            _spikes(chart, one, look, scale, ceiling)
    places = style.spread_labels([min((top or 0.8 * ceiling) / ceiling, 0.95) for top in tops], _PLOT_HEIGHT)
    for place, one, scale in zip(places, drawn, scales, strict=True):
        look = looks[one.initializer]
        text = f"<span style='color:{look.colour}'>{look.glyph}</span> <b>{style.short_name(one.initializer, 40)}</b>"
        at, above = one.asked.mean / scale, min(place, 0.96)
        style.note(
            chart, text, x=at, y=above, xref="x", palette=palette, yanchor="bottom", yshift=2, size=12.5, align="center"
        )
    chart.update_yaxes(range=[0, ceiling])
    return chart


def _top(one: Drawn) -> float:
    """Return the greatest density that has to be seen, infinite ends left out."""
    finite = one.density[np.isfinite(one.density)]
    inner = float(np.quantile(finite, 0.99)) if len(finite) else 0.0
    return max(inner, float(one.heights.max()) if len(one.heights) and not len(finite) else inner)


def _bars(chart: go.Figure, one: Drawn, look: Style, scale: float) -> None:
    x = np.repeat(one.edges, 2)[1:-1] / scale
    y = np.repeat(one.heights, 2) * scale
    chart.add_scatter(
        x=np.concatenate(([x[0]], x, [x[-1]])),
        y=np.concatenate(([0.0], y, [0.0])),
        mode="lines",
        line={"width": 0, "color": look.colour},
        fill="tozeroy",
        fillcolor=look.colour + "2e",
        hoverinfo="skip",
    )


def _line(chart: go.Figure, one: Drawn, look: Style, scale: float) -> None:
    texts = [
        f"<b>{one.initializer}</b><br>weight {style.number(x)}<br>density {style.number(y)}"
        for x, y in zip(one.density_x, one.density, strict=True)
    ]
    chart.add_scatter(
        x=one.density_x / scale,
        y=np.where(np.isfinite(one.density), one.density * scale, np.nan),
        mode="lines",
        line={"width": 2, "color": look.colour, "dash": look.dash},
        hoverinfo="text",
        hovertext=texts,
    )


def _spikes(chart: go.Figure, one: Drawn, look: Style, scale: float, ceiling: float) -> None:
    for value in sorted({one.drawn.minimum, one.drawn.maximum}):
        chart.add_scatter(
            x=[value / scale, value / scale],
            y=[0, 0.8 * ceiling],
            mode="lines+markers",
            line={"width": 3, "color": look.colour, "dash": look.dash},
            marker={"size": 8, "color": look.colour, "symbol": [look.symbol, look.symbol], "opacity": [0, 1]},
            hoverinfo="text",
            hovertext=f"<b>{one.initializer}</b><br>weight {style.number(value)}<br>{one.no_density}",
        )


def singular_values(values: Mapping[str, Array], palette: Palette, *, meta: str = "") -> go.Figure:
    """Return the singular values of one weight matrix per initializer, largest first."""
    chart = style.figure(palette, y="Singular values of W, largest first", x="share of them", right=14, meta=meta)
    looks = styles(values, palette)
    for name, sizes in values.items():
        share = (np.arange(len(sizes)) + 0.5) / len(sizes)
        texts = [
            f"<b>{name}</b><br>singular value {rank} of {len(sizes)}<br>{style.number(size)}"
            for rank, size in enumerate(sizes, start=1)
        ]
        chart.add_scatter(
            x=share,
            y=sizes,
            mode="lines+markers" if len(sizes) <= 24 else "lines",
            line={"width": 2, "color": looks[name].colour, "dash": looks[name].dash},
            marker={"size": 6.5, "symbol": looks[name].symbol, "color": looks[name].colour},
            hoverinfo="text",
            hovertext=texts,
        )
    top = max((float(sizes.max()) for sizes in values.values()), default=1.0) or 1.0
    chart.update_xaxes(range=[0, 1], tickformat=".0%", tickvals=[0, 0.5, 1])
    chart.update_yaxes(range=[-0.02 * top, 1.06 * top])
    return chart
