"""The page table: which script shows which lens, and with which icon."""

from __future__ import annotations

from dataclasses import dataclass

from winit.lenses import LENSES, Lens


@dataclass(frozen=True)
class Page:
    """A page of the row of links."""

    lens: Lens
    script: str
    icon: str


PAGES: dict[str, Page] = {
    page.lens.slug: page
    for page in (
        Page(LENSES[""], "app.py", ":material/home:"),
        Page(LENSES["distributions"], "pages/distributions.py", ":material/ssid_chart:"),
        Page(LENSES["signal"], "pages/signal.py", ":material/airwave:"),
        Page(LENSES["live"], "pages/live.py", ":material/play_circle:"),
        Page(LENSES["compare"], "pages/compare.py", ":material/leaderboard:"),
    )
}
"""The pages by slug, in the order of the row."""
