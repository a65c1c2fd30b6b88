"""The style that all figures share: margins, axes, labels at line ends, numbers as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from winit.figures.chart import Chart
from winit.figures.palette import Palette

MAIN_HEIGHT = 430
SMALL_HEIGHT = 226


def config(name: str, image: str = "png") -> dict[str, Any]:
    """Return Plotly's configuration in the page: a figure never takes the scroll of a phone.

    Its own button saves it as winit-`name`, in the format `image` (png or svg), at twice the size of the screen.
    """
    return {
        "displaylogo": False,
        "scrollZoom": False,
        "doubleClick": False,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"format": image, "filename": f"winit-{name}", "scale": 2},
    }


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LABEL_GAP = 17  # pixels between labels at line ends


def times(text: str) -> str:
    """Return a factor with its sign; no line ends between them."""
    return f"×\u00a0{text}"


def number(value: float) -> str:
    """Return a number with three significant digits; powers of ten beyond a thousandth or a hundred thousand."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞" if value < 0 else "not a number"
    exponent = math.floor(math.log10(abs(value)) + 1e-12)
    if -4 < exponent < 5:
        text = f"{value:.{max(0, 2 - exponent)}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
    digits, exponent_text = f"{value:.2e}".split("e")
    mantissa = digits.rstrip("0").rstrip(".").replace("-", "−")
    power = power_of_ten(int(exponent_text))
    return power if mantissa == "1" else _scientific(mantissa, power)


def _scientific(mantissa: str, power: str) -> str:
    return f"{mantissa}\u00a0{times(power)}"


def power_of_ten(exponent: int) -> str:
    """Return a power of ten with a raised exponent."""
    return "1" if exponent == 0 else "10" if exponent == 1 else f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def decades(low: float, high: float, most: int = 6) -> tuple[list[float], list[str]]:
    """Return tick values and texts for a logarithmic axis given by its exponents, at most about `most` of them."""
    exponents, texts = exponent_ticks(low, high, most)
    return [10.0**exponent for exponent in exponents], texts


def exponent_ticks(low: float, high: float, most: int = 6) -> tuple[list[int], list[str]]:
    """Return ticks for an axis of base-10 logarithms, at most about `most` of them, and their texts."""
    least = max(1.0, (high - low) / most)
    size = 10 ** math.floor(math.log10(least))
    step = next(size * nice for nice in (1, 2, 5, 10) if size * nice >= least)
    exponents = range(math.ceil(low / step) * step, math.floor(high) + 1, step)
    return list(exponents), [power_of_ten(exponent) for exponent in exponents]


def number_of_log10(log10: float) -> str:
    """Return the number of a base-10 logarithm as text, beyond double precision too."""
    if not math.isfinite(log10) or abs(log10) < 300:
        return number(10.0**log10 if log10 < 300 else log10)
    exponent = math.floor(log10)
    return _scientific(number(10 ** (log10 - exponent)), power_of_ten(exponent))


def layer_ticks(depth: int) -> list[int]:
    """Return whole layer numbers for an axis of 1 to `depth`: both ends, and a few round ones well between them."""
    step = next(step for step in (1, 2, 5, 10, 20, 50) if depth / step <= 6)
    between = (tick for tick in range(step, depth, step) if min(depth - tick, tick - 1) > step / 2)
    return sorted({1, *between, depth})


def figure(
    palette: Palette,
    *,
    y: str,
    x: str,
    height: int = MAIN_HEIGHT,
    right: int = 14,
    left: int = 52,
    meta: str = "",
) -> Chart:
    """Return an empty figure in the common style.

    `y` is the quantity with its unit, written above the axis; `x` stands at the lower right end;
    `right` is the margin in pixels, wider where labels stand at line ends. `meta` is carried along:
    another value makes the browser draw the figure anew.
    """
    axis = {
        "fixedrange": True,
        "zeroline": False,
        "tickfont": {"size": 12, "color": palette.ink},
        "automargin": False,
    }
    chart = Chart()
    chart.update_layout(
        height=height,
        margin={"l": left, "r": right, "t": 34, "b": 44 if x else 26, "pad": 2},
        showlegend=False,
        hovermode="closest",
        dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13, "color": palette.ink},
        hoverlabel={"align": "left", "bgcolor": palette.page, "bordercolor": palette.ink, "font": {"size": 12.5}},
        xaxis={**axis, "showgrid": False, "showline": True, "linecolor": palette.stalled, "ticks": "outside"},
        yaxis={**axis, "showgrid": True, "gridcolor": palette.grid, "showline": False},
        meta=meta,
    )
    note(chart, y, x=0, y=1, palette=palette, xshift=-left + 6, yshift=20, xanchor="left")
    if x:
        note(chart, x, x=1, y=0, palette=palette, yshift=-22, xanchor="right", yanchor="top")
    return chart


def note(
    chart: Chart,
    text: str,
    *,
    x: float,
    y: float,
    palette: Palette,
    xref: str = "paper",
    yref: str = "paper",
    size: float = 13,
    **place: Any,
) -> None:
    """Write a text into a figure, in ink, without an arrow."""
    chart.add_annotation(
        text=text,
        x=x,
        y=y,
        xref=xref,
        yref=yref,
        showarrow=False,
        font={"size": size, "color": palette.ink},
        **{"align": "left", **place},
    )


def spread_labels(heights: Sequence[float], plot_height: float) -> list[float]:
    """Return label positions (0 to 1 from below) near `heights`, at least 17 pixels apart, in the same order."""
    gap = _LABEL_GAP / plot_height
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed = [min(max(heights[index], 0.0), 1.0) for index in order]
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    overflow = max(0.0, placed[-1] - 1.0) if placed else 0.0
    if overflow:
        placed[-1] = 1.0
        for index in range(len(placed) - 2, -1, -1):
            placed[index] = min(placed[index], placed[index + 1] - gap)
    result = [0.0] * len(heights)
    for position, index in zip(placed, order, strict=True):
        result[index] = position
    return result


def end_labels(chart: Chart, labels: Sequence[tuple[float, str, str, str]], palette: Palette) -> None:
    """Write labels at the right end of lines: (height 0 to 1 in the plot, glyph, glyph's colour, name)."""
    places = spread_labels([height for height, *_ in labels], chart.plot_height)
    for place, (_, glyph, colour, name) in zip(places, labels, strict=True):
        text = f"<span style='color:{colour}'>{glyph}</span> <b>{short_name(name)}</b>"
        note(chart, text, x=1, y=place, palette=palette, xanchor="left", yanchor="middle", xshift=6, size=12.5)


def short_name(name: str, limit: int = 26) -> str:
    """Return an initializer's name as a label: long parameter lists are cut."""
    short = name.replace("random_normal(stddev=", "normal(").replace("variance_scaling(", "scaling(")
    return short if len(short) <= limit else short[: limit - 1] + "…"
