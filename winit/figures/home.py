"""The figure of Home: what is left of the signal, as quantile funnels by layer."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from winit.figures import style
from winit.figures.palette import Palette
from winit.initializers import scheme
from winit.signal import QUANTILES, Signal

REACH = 6.0
"""The vertical axis ends here, whatever the data do: a signal that leaves it is out of range."""


def funnel(signal: Signal, palette: Palette, *, meta: str = "") -> go.Figure:
    """Return nested bands between the quantiles of the pre-activations, layer by layer, on a linear axis."""
    chart = style.figure(palette, y="", x="", height=style.SMALL_HEIGHT, left=30, right=8, meta=meta)
    chart.update_layout(margin={"t": 8, "b": 24})
    colour = palette.family(scheme(signal.spec.initializer).record.family)
    layers = np.arange(1, signal.spec.depth + 1)
    if signal.spec.depth == 1:
        layers = np.array([0.5, 1.5])
    quantiles = np.clip(np.nan_to_num(signal.quantiles, posinf=2 * REACH, neginf=-2 * REACH), -2 * REACH, 2 * REACH)
    if signal.spec.depth == 1:
        quantiles = np.repeat(quantiles, 2, axis=1)
    for low in range(len(QUANTILES) // 2):
        high = len(QUANTILES) - 1 - low
        chart.add_scatter(
            x=np.concatenate((layers, layers[::-1])),
            y=np.concatenate((quantiles[low], quantiles[high][::-1])),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=colour + "24",
            hoverinfo="skip",
        )
    middle = len(QUANTILES) // 2
    spread = signal.quantiles[-4] - signal.quantiles[3]
    chart.add_scatter(
        x=layers[: signal.spec.depth],
        y=quantiles[middle][: signal.spec.depth],
        mode="lines",
        line={"width": 1.2, "color": colour},
        hoverinfo="text",
        hovertext=[
            f"<b>{signal.spec.initializer}</b>, layer {layer}<br>middle 70 in 100 values: width {style.number(width)}"
            for layer, width in enumerate(spread, start=1)
        ],
    )
    chart.update_xaxes(tickvals=style.layer_ticks(signal.spec.depth), range=[layers[0], layers[-1]])
    chart.update_yaxes(range=[-REACH, REACH], tickvals=[-5, 0, 5], ticktext=["−5", "0", "5"])
    return chart.figure()
