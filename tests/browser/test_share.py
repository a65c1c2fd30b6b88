"""Share in a real browser: the link, a page named in the query, a network as a file."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from winit import sharing
from winit.lenses import LENSES, TrainKnobs
from winit.spec import Spec

pytestmark = pytest.mark.browser


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def opened(tab: Any, address: str) -> Any:
    """Open Share on a page and return the dialog."""
    tab.open(address)
    tab.page.get_by_role("button", name="Share", exact=True).click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("tab", name="Link").wait_for()
    return dialog


def test_the_link_is_the_page_in_view(warm_server: Any, new_tab: Any) -> None:
    tab = new_tab(warm_server)
    dialog = opened(tab, "/distributions?v=1&depth=5&initializer=random_normal(stddev%3D0.02)")
    link, frame = dialog.get_by_test_id("stCode").all()
    text = link.inner_text().strip()
    assert unquote(text) == unquote(tab.page.url)
    assert "embed=true" in frame.inner_text()
    dialog.get_by_role("tab", name="Lecture hall").click()
    dialog.locator("img").wait_for()
    other = new_tab(warm_server)
    other.open(text.removeprefix(warm_server.url))
    assert unquote(other.page.url) == unquote(tab.page.url)
    embedded = new_tab(warm_server)
    embedded.open(text.removeprefix(warm_server.url) + "&embed=true")
    assert embedded.page.locator("h1").inner_text() == other.page.locator("h1").inner_text()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("slug", ["distributions", "compare"])
def test_the_query_may_name_the_page(slug: str, warm_server: Any, new_tab: Any) -> None:
    tab = new_tab(warm_server)
    tab.open(f"/?page={slug}&v=1&depth=2&width=8&steps=20&seeds=2", settle=False)
    tab.page.wait_for_url(re.compile(f"/{slug}\\?"))
    tab.page.wait_for_function("!location.search.includes('page=')")
    assert query(tab.page.url)["depth"] == "2"


def test_a_page_that_there_is_not_is_said(warm_server: Any, new_tab: Any) -> None:
    tab = new_tab(warm_server)
    tab.open("/?page=nowhere&depth=3")
    tab.page.get_by_text(re.compile("page: 'nowhere' is not allowed")).wait_for()
    assert query(tab.page.url) == {"v": "1", "depth": "3"}


def test_a_saved_network_opens_on_its_page(warm_server: Any, new_tab: Any) -> None:
    tab = new_tab(warm_server)
    dialog = opened(tab, "/distributions")
    dialog.get_by_role("tab", name="File").click()
    text = dialog.get_by_role("textbox")
    text.fill('{"winit": "1", "network": {"depth": 0}}')
    dialog.get_by_role("button", name="Open it").click()
    dialog.get_by_text(re.compile("depth: '0' is not allowed")).wait_for()
    text.fill(sharing.saved(LENSES["live"], Spec(depth=2, width=8, dataset="moons"), TrainKnobs(seeds=2)))
    dialog.get_by_role("button", name="Open it").click()
    tab.page.wait_for_url(re.compile("/live\\?"))
    assert query(tab.page.url) == {"v": "1", "depth": "2", "width": "8", "dataset": "moons", "seeds": "2"}
    assert tab.crashes == []
