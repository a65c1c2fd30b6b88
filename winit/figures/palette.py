"""One way to colour everything: a hue and a marker per family of initializers, a dash per law.

Figures take a `Palette`. The app uses `TOKENS`: Streamlit replaces these strings, wherever they
stand in a figure, by the colours of the active theme, so a figure is right in light and dark. `LIGHT`
and `DARK` hold the real colours, for export and tests; they are those of .streamlit/config.toml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count

from winit.initializers import FAMILIES, scheme


@dataclass(frozen=True)
class Palette:
    """The colours of a figure."""

    categorical: tuple[str, ...]
    """One per family of `FAMILIES`, then diverged."""
    sequential: tuple[str, ...]
    """Ten, from the page's side to the far end."""
    diverging: tuple[str, ...]
    """Ten, from one hue over the page's side to another."""
    ink: str
    page: str
    stalled: str = "#7F868D"
    grid: str = "#7F868D2e"

    @property
    def diverged(self) -> str:
        return self.categorical[-1]

    def family(self, name: str) -> str:
        """Return the hue of a family."""
        return self.categorical[FAMILIES.index(name)]


TOKENS = Palette(
    ("#000001", "#000002", "#000003", "#000004", "#000005", "#000006", "#000007", "#000008", "#000009", "#000010"),
    tuple(f"#0000{number}" for number in range(11, 21)),
    tuple(f"#0000{number}" for number in range(21, 31)),
    ink="#000037",
    page="#000038",
)
LIGHT = Palette(
    ("#3E63E8", "#EA5A0C", "#1F6354", "#2C1E9E", "#8F8B57", "#1B2026", "#4C2B1D", "#96528F", "#2C97C6", "#B3200E"),
    ("#EEF2F8", "#D5E0EF", "#B8CBE4", "#98B3D8", "#7899CA", "#5B7FBA", "#4467A7", "#325091", "#233B76", "#152757"),
    ("#0B5F5C", "#1F7F7A", "#4FA39D", "#8CC5BF", "#CFE6E2", "#F3E6C9", "#E3C588", "#CB9B45", "#A87418", "#7C5206"),
    ink="#14181D",
    page="#FFFFFF",
)
DARK = Palette(
    ("#93A6FC", "#F08C0A", "#3EC48A", "#6F68F0", "#F7DF6A", "#F3F3F3", "#92725E", "#D47CBE", "#A0E1FC", "#E0352B"),
    ("#1C2633", "#223349", "#2A4263", "#34537E", "#41669B", "#527BB6", "#6A92CC", "#88ABDD", "#ABC6EB", "#D3E2F6"),
    ("#7FE0D6", "#4FBDB3", "#2F978F", "#1E6F69", "#16403E", "#3E3219", "#6E5522", "#A17C2E", "#CFA24A", "#F2CB7E"),
    ink="#E4E7EA",
    page="#12161C",
)

# Family -> plotly's marker symbol, and the glyph that stands for it in text.
_MARKERS: Mapping[str, tuple[str, str]] = {
    "glorot": ("square", "■"),
    "he": ("circle", "●"),
    "lecun": ("diamond", "◆"),
    "orthogonal": ("triangle-up", "▲"),
    "plain": ("cross", "✚"),
    "library": ("circle-open", "○"),
    "constant": ("line-ew-open", "━"),
    "data": ("star", "★"),
    "own": ("hexagon", "⬢"),
}
# Streamlit's text colours carry the families' hues; the others are bold ink.
_TEXT_COLOURS: Mapping[str, str] = {
    "glorot": "blue",
    "he": "orange",
    "lecun": "green",
    "orthogonal": "violet",
    "plain": "yellow",
}
_DASHES: Mapping[str, str] = {
    "normal": "solid",
    "truncated_normal": "14px,3px",
    "uniform": "8px,4px",
    "other": "2px,3px",
}
_SHADES = (0.0, 0.3, 0.5, 0.65)
_SPARE_DASHES = ("14px,3px,2px,3px", "8px,3px,2px,3px,2px,3px", "4px,6px", "20px,6px", "2px,8px", "12px,10px")


@dataclass(frozen=True)
class Style:
    """How one initializer looks in a figure."""

    name: str
    colour: str
    dash: str
    symbol: str
    glyph: str
    shade: float = 0.0
    """How much ink is laid over the hue, 0 to 1: tells those of one family apart by lightness."""


def styles(initializers: Iterable[str], palette: Palette) -> dict[str, Style]:
    """Return a style for each initializer of one figure; no two share both hue and dash.

    The first of a family has the plain hue, each further one more ink over it, which stands out more from the page.
    """
    found: dict[str, Style] = {}
    taken: set[tuple[str, str]] = set()
    for text in initializers:
        bound = scheme(text)
        colour = palette.family(bound.record.family)
        symbol, glyph = _MARKERS[bound.record.family]
        own = _DASHES[bound.look]
        more = (f"{3 * number}px,{number}px" for number in count(2))
        dash = next(dash for dashes in ((own,), _SPARE_DASHES, more) for dash in dashes if (colour, dash) not in taken)
        shade = _SHADES[min(sum(hue == colour for hue, _ in taken), len(_SHADES) - 1)]
        taken.add((colour, dash))
        found[text] = Style(text, colour, dash, symbol, glyph, shade)
    return found


def coloured(initializer: str, label: str | None = None) -> str:
    """Return an initializer's name, or another label for it, as Streamlit markdown in its family's hue."""
    colour = _TEXT_COLOURS.get(scheme(initializer).record.family)
    name = (label or initializer).replace("_", r"\_")
    return f":{colour}[**{name}**]" if colour else f"**{name}**"
