"""What only a browser shows: cold deep links, history, links, ticking pages, downloads, a phone."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest

from winit.distributions import samples_of
from winit.initializers import LayerShape
from winit.ui.pages import PAGES

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=20_000)

pytestmark = pytest.mark.browser

WAIT = 20_000.0
NewTab = Callable[..., Any]
EVERY_PAGE = pytest.mark.parametrize("slug", list(PAGES), ids=lambda slug: slug or "home")

_DATA = """() => Array.from(document.querySelectorAll(".js-plotly-plot")).map(figure =>
  JSON.stringify(figure.data.map(trace => [trace.x, trace.y, trace.z]),
    (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value))"""
_LINKS = """() => Array.from(document.querySelectorAll(".st-key-nav a")).map(link => link.href)"""


def figures(page: Any) -> list[str]:
    """Return the numbers that the page's figures show."""
    found = page.evaluate(_DATA)
    assert all(json.loads(figure) for figure in found)
    return list(found)


def wait_for_figures(page: Any, wanted: Callable[[list[str]], bool]) -> list[str]:
    """Wait until the numbers of the page's figures are the wanted ones, and return them."""
    for _ in range(200):
        found = figures(page)
        if wanted(found):
            return found
        page.wait_for_timeout(100)
    raise AssertionError("the figures did not become what was wanted")


def query(page: Any) -> dict[str, str]:
    """Return the parameters of the page's address."""
    return dict(parse_qsl(urlsplit(page.url).query, keep_blank_values=True))


def expect_query(page: Any, wanted: dict[str, str]) -> None:
    """Wait until the address has these parameters and no others."""
    page.wait_for_url(lambda url: dict(parse_qsl(urlsplit(url).query)) == wanted, timeout=WAIT)


def width(page: Any) -> Any:
    """Return the text input of the network's width."""
    return page.locator(".st-key-width input")


def activation(page: Any) -> Any:
    """Return the select box of the network's activation."""
    return page.locator(".st-key-activation input")


def set_width(page: Any, value: int | str) -> None:
    """Type a width, or several."""
    width(page).fill(str(value))
    width(page).press("Enter")


def set_activation(page: Any, name: str) -> None:
    """Choose an activation."""
    activation(page).click()
    page.get_by_role("option", name=name, exact=True).click()


def button(page: Any, name: str) -> Any:
    """Return the button of the main part with this name."""
    return page.get_by_test_id("stMain").get_by_role("button", name=name, exact=True)


def player(page: Any) -> Any:
    """Return the root of Train's player, once a frame is drawn."""
    return page.locator(".player[data-step]")


def drawn(page: Any) -> Any:
    """Return what a page draws first: a figure, or the player."""
    return page.locator(".js-plotly-plot, .player[data-step]").first


def is_probe(address: str, url: str, slug: str) -> bool:
    """Whether an address is one that Streamlit's own browser code tries below the page's path."""
    return bool(slug) and address in (f"{url}/{slug}/_stcore/{name}" for name in ("health", "host-config"))


def nothing_wrong(tab: Any, slugs: tuple[str, ...]) -> None:
    """Assert that neither page, console nor server's output says that something failed."""
    url = tab.server.url
    assert tab.crashes == []
    assert [found for found in tab.missing if not any(is_probe(found, url, slug) for slug in slugs)] == []
    assert [found for found in tab.errors if not any(is_probe(found[1], url, slug) for slug in slugs)] == []
    assert tab.page.locator("[data-testid=stException]").count() == 0
    assert "Traceback" not in tab.server.log.read_text()


@pytest.mark.sampled(5)
@EVERY_PAGE
def test_deep_link_on_a_cold_server(slug: str, cold_server: Any, new_tab: NewTab) -> None:
    tab = new_tab(cold_server)
    tab.open(f"/{slug}?v=1&depth=3&activation=tanh")
    page = tab.page
    expect(page.locator("h1")).to_have_text([PAGES[slug].lens.question], timeout=WAIT)
    expect(drawn(page)).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_test_id("stDialog")).to_have_count(0)
    expect(activation(page)).to_have_value("tanh")
    assert urlsplit(page.url).path == f"/{slug}"
    assert query(page) == {"v": "1", "depth": "3", "activation": "tanh"}
    nothing_wrong(tab, (slug,))


# How many figures a page has once all of them are drawn.
FIGURES = {"": 4, "distributions": 5}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("slug", FIGURES, ids=lambda slug: slug or "home")
def test_a_knob_changes_figure_and_address_and_another_browser_shows_the_same(
    slug: str, tab: Any, warm_server: Any, new_tab: NewTab
) -> None:
    tab.open(f"/{slug}?v=1&depth=4")
    page = tab.page
    before = wait_for_figures(page, lambda found: len(found) == FIGURES[slug])
    set_width(page, 32)
    expect_query(page, {"v": "1", "depth": "4", "width": "32"})
    tab.settle()
    changed = wait_for_figures(page, lambda found: len(found) == len(before) and found != before)
    if slug != "distributions":  # what is drawn there does not depend on the activation
        set_activation(page, "tanh")
        expect_query(page, {"v": "1", "depth": "4", "width": "32", "activation": "tanh"})
        tab.settle()
        changed = wait_for_figures(page, lambda found: len(found) == len(before) and found != changed)

    other = new_tab(warm_server)
    other.open(page.url.removeprefix(warm_server.url))
    expect(width(other.page)).to_have_value("32")
    expect(activation(other.page)).to_have_value("relu" if slug == "distributions" else "tanh")
    wait_for_figures(other.page, lambda found: found == changed)
    assert query(other.page) == query(page)
    nothing_wrong(tab, (slug,))
    nothing_wrong(other, (slug,))


def test_back_and_forward_undo_and_redo(tab: Any) -> None:
    tab.open("/distributions?v=1&depth=4")
    page = tab.page
    first = wait_for_figures(page, lambda found: len(found) == FIGURES["distributions"])
    set_width(page, 32)
    expect_query(page, {"v": "1", "depth": "4", "width": "32"})
    tab.settle()
    second = wait_for_figures(page, lambda found: len(found) == FIGURES["distributions"] and found != first)
    set_activation(page, "tanh")
    expect_query(page, {"v": "1", "depth": "4", "width": "32", "activation": "tanh"})
    tab.settle()

    page.go_back()
    expect(activation(page)).to_have_value("relu", timeout=WAIT)
    expect(width(page)).to_have_value("32")
    expect_query(page, {"v": "1", "depth": "4", "width": "32"})
    page.go_back()
    expect(width(page)).to_have_value("64", timeout=WAIT)
    expect_query(page, {"v": "1", "depth": "4"})
    wait_for_figures(page, lambda found: found == first)
    page.go_forward()
    expect(width(page)).to_have_value("32", timeout=WAIT)
    expect_query(page, {"v": "1", "depth": "4", "width": "32"})
    wait_for_figures(page, lambda found: found == second)
    page.go_forward()
    expect(activation(page)).to_have_value("tanh", timeout=WAIT)
    tab.settle()
    assert query(page) == {"v": "1", "depth": "4", "width": "32", "activation": "tanh"}
    nothing_wrong(tab, ("distributions",))


@pytest.mark.slow  # without a browser: test_widths_by_layer_travel
def test_widths_by_layer_and_the_depth_that_follows(tab: Any) -> None:
    tab.open("/distributions?v=1&depth=4")
    page = tab.page
    slider = page.locator(".st-key-depth input[type=range]")
    set_width(page, "32-16-8")
    network = {"v": "1", "depth": "3", "width": "32-16-8"}
    expect_query(page, network)
    tab.settle()
    expect(slider).to_have_value("3")
    # A depth that the widths do not have goes back to theirs.
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    tab.settle()
    expect(slider).to_have_value("3", timeout=WAIT)
    assert query(page) == network
    set_width(page, "32-16-")
    expect(page.locator(".st-key-problems")).to_contain_text("width: '32-16-' is not allowed", timeout=WAIT)
    expect(width(page)).to_have_value("32-16-8")
    assert query(page) == network
    set_width(page, "16-16")
    expect_query(page, {"v": "1", "depth": "2", "width": "16"})
    expect(width(page)).to_have_value("16")
    expect(page.locator(".st-key-problems")).to_have_count(0)
    page.go_back()
    expect(width(page)).to_have_value("32-16-8", timeout=WAIT)
    expect(slider).to_have_value("3")
    expect_query(page, network)
    nothing_wrong(tab, ("distributions",))


def test_the_folded_knobs_of_blocks_and_training(tab: Any) -> None:
    tab.open("/live?v=1&depth=3&width=8&steps=5&seeds=2")
    page = tab.page
    network = {"v": "1", "depth": "3", "width": "8", "steps": "5", "seeds": "2"}
    sidebar = page.get_by_test_id("stSidebar")
    sidebar.get_by_text("Normalization, residual").click()
    sidebar.get_by_role("radio", name="batch", exact=True).click()
    expect_query(page, network | {"normalization": "batch"})
    tab.settle()
    sidebar.get_by_role("radio", name="zero", exact=True).click()
    expect_query(page, network | {"normalization": "batch", "residual": "zero"})
    tab.settle()
    sidebar.get_by_text("Training", exact=True).click()
    sidebar.get_by_role("radio", name="cosine", exact=True).click()
    blocks = {"normalization": "batch", "residual": "zero", "schedule": "cosine"}
    expect_query(page, network | blocks)
    tab.settle()
    expect(player(page)).to_have_attribute("data-step", "5", timeout=WAIT)
    nothing_wrong(tab, ("live",))


def test_the_close_look_follows_and_the_histogram_stands_still(tab: Any) -> None:
    tab.open("/distributions?v=1&width=256&initializers=zeros;orthogonal;sparse_martens")
    page = tab.page
    wait_for_figures(page, lambda found: len(found) == 6)
    tab.settle()
    histogram = page.locator(".js-plotly-plot").first
    page.evaluate("() => { document.querySelector('.js-plotly-plot').dataset.mark = 'same' }")
    before = figures(page)
    page.get_by_role("radio", name="tails").click()
    wait_for_figures(page, lambda found: len(found) == 6 and found[0] != before[0])
    # Only the histogram is another one: what follows it was kept.
    assert figures(page)[1:] == before[1:]
    expect(histogram.locator(".ytick text").first).to_have_text(re.compile("10|1"), timeout=WAIT)
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
    query_now = query(page)
    assert query_now["view"] == "tails"
    nothing_wrong(tab, ("distributions",))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("image", ["png", "svg"])
def test_a_figure_is_saved_in_the_format_chosen(image: str, tab: Any, tmp_path: Path) -> None:
    tab.open(f"/distributions?v=1&image={image}")
    page = tab.page
    wait_for_figures(page, lambda found: len(found) == FIGURES["distributions"])
    tab.settle()
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as waiting:
        page.locator(".js-plotly-plot .modebar-btn").first.click()
    assert waiting.value.suggested_filename == f"winit-histograms.{image}"
    target = tmp_path / f"figure.{image}"
    waiting.value.save_as(target)
    start = target.read_bytes()[:200]
    assert start.startswith(b"\x89PNG") if image == "png" else b"<svg" in start
    nothing_wrong(tab, ("distributions",))


def test_the_samples_are_those_of_the_figure(tab: Any, tmp_path: Path) -> None:
    tab.open("/distributions?v=1&samples=500&initializers=orthogonal&seed=7")
    page = tab.page
    page.get_by_text("Samples and downloads").click()
    expected = samples_of("orthogonal", LayerShape(64, 64, 2, 10), 500, 7)
    with page.expect_download() as waiting:
        button(page, "Samples as NPY").click()
    waiting.value.save_as(tmp_path / "samples.npy")
    table = np.load(tmp_path / "samples.npy")
    assert table.dtype.names == ("he_normal", "orthogonal")
    assert np.array_equal(table["orthogonal"], expected)
    with page.expect_download() as waiting:
        button(page, "Samples as CSV").click()
    waiting.value.save_as(tmp_path / "samples.csv")
    rows = list(csv.reader(io.StringIO((tmp_path / "samples.csv").read_text(encoding="utf-8"))))
    assert rows[0] == ["he_normal", "orthogonal"]
    assert np.array_equal(np.array([float(row[1]) for row in rows[1:]], dtype=np.float32), expected)
    with page.expect_download() as waiting:
        button(page, "Spec as JSON").click()
    waiting.value.save_as(tmp_path / "spec.json")
    spec = json.loads((tmp_path / "spec.json").read_text(encoding="utf-8"))
    assert (spec["seed"], spec["initializers"], spec["v"]) == ("7", "orthogonal", "1")
    nothing_wrong(tab, ("distributions",))


@pytest.mark.slow  # of two, one after the other: test_back_and_forward_undo_and_redo
def test_two_quick_backs(tab: Any) -> None:
    tab.open("/distributions?v=1&depth=4")
    page = tab.page
    for value in (32, 16, 8):
        set_width(page, value)
        expect_query(page, {"v": "1", "depth": "4", "width": str(value)})
        tab.settle()
    page.evaluate("() => { history.back(); setTimeout(() => history.back(), 60); }")
    expect(width(page)).to_have_value("32", timeout=WAIT)
    expect_query(page, {"v": "1", "depth": "4", "width": "32"})
    tab.settle()
    expect(width(page)).to_have_value("32")
    assert query(page)["width"] == "32"


@pytest.mark.slow
def test_many_key_presses_in_a_row(tab: Any) -> None:
    tab.open("/distributions?v=1")
    page = tab.page
    slider = page.locator(".st-key-depth input[type=range]")
    slider.focus()
    for _ in range(15):
        page.keyboard.press("ArrowRight", delay=20)
    expect_query(page, {"v": "1", "depth": "25"})
    tab.settle()
    expect(slider).to_have_value("25")
    assert query(page) == {"v": "1", "depth": "25"}


def test_links_carry_the_network_and_a_switch_keeps_it(tab: Any) -> None:
    tab.open("/distributions?v=1&depth=4&width=32&layer=3")
    page = tab.page
    network = {"v": "1", "depth": "4", "width": "32"}
    expect(page.locator(".st-key-nav a")).to_have_count(len(PAGES))
    for slug, link in zip(PAGES, page.evaluate(_LINKS), strict=True):
        own = {"layer": "3"} if slug == "distributions" else {}
        assert dict(parse_qsl(urlsplit(link).query)) == network | own
    for slug in ("live", "", "distributions"):
        page.locator(".st-key-nav").get_by_role("link", name=PAGES[slug].lens.title).click()
        expect(page.locator("h1")).to_have_text([PAGES[slug].lens.question], timeout=WAIT)
        own = {"layer": "3"} if slug == "distributions" else {}
        expect_query(page, network | own)
        tab.settle()
        assert urlsplit(page.url).path == f"/{slug}"
        expect(width(page)).to_have_value("32")
        expect(page.locator(".st-key-depth input[type=range]")).to_have_value("4")
    page.go_back()
    expect(page.locator("h1")).to_have_text([PAGES[""].lens.question], timeout=WAIT)
    expect_query(page, network)
    nothing_wrong(tab, tuple(PAGES))


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("first", "then"), [("", "distributions"), ("live", ""), ("distributions", "live")])
def test_a_knob_after_a_switch_changes_nothing_else(first: str, then: str, tab: Any) -> None:
    network = {"v": "1", "depth": "4", "width": "32", "activation": "tanh"}
    tab.open(f"/{first}?" + "&".join(f"{name}={value}" for name, value in network.items()))
    page = tab.page
    page.locator(".st-key-nav").get_by_role("link", name=PAGES[then].lens.title).click()
    expect(page.locator("h1")).to_have_text([PAGES[then].lens.question], timeout=WAIT)
    tab.settle()
    expect(width(page)).to_have_value("32")
    expect(activation(page)).to_have_value("tanh")
    expect(page.locator(".st-key-depth input[type=range]")).to_have_value("4")
    set_width(page, 16)
    expect_query(page, network | {"width": "16"})
    tab.settle()
    expect(activation(page)).to_have_value("tanh")
    expect(page.locator(".st-key-depth input[type=range]")).to_have_value("4")


@pytest.mark.sampled(5)
@EVERY_PAGE
def test_a_link_opened_in_a_new_tab_leads_to_its_page(slug: str, tab: Any) -> None:
    """A middle click or a copied link takes the link's own address, which the browser resolves."""
    tab.open(f"/{slug}?v=1&depth=2&width=8&steps=5")
    expect(tab.page.locator(".st-key-nav a")).to_have_count(len(PAGES))
    # The link to Home is mended by a script that arrives after the links.
    expect(tab.page.locator('.st-key-nav a[href^="?"]')).to_have_count(0, timeout=WAIT)
    paths = [urlsplit(link).path for link in tab.page.evaluate(_LINKS)]
    assert paths == [f"/{target}" for target in PAGES]


def test_a_change_and_a_link_in_one_breath(tab: Any) -> None:
    tab.open("/distributions?v=1&depth=4")
    page = tab.page
    link = page.locator(".st-key-nav").get_by_role("link", name="Train")
    set_width(page, 32)
    link.click()
    expect(page.locator("h1")).to_have_text(["Does it learn?"], timeout=WAIT)
    expect_query(page, {"v": "1", "depth": "4", "width": "32"})
    tab.settle()
    expect(width(page)).to_have_value("32")


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("slug", "given", "said"),
    [
        ("", "depth=999", "depth: '999' is not allowed; give a whole number from 1 to 200. In use: 10."),
        (
            "distributions",
            "initializer=random_normal(stddev%3D-1)",
            "'random_normal(stddev=-1)' is not allowed",
        ),
        ("live", "width=%3Cimg%20src%3Dx%3E%00", r"width: '<img src=x>\x00' is not allowed"),
        ("", "activation=**bold**%20%5Ba%5D(http%3A%2F%2Fb)", "activation: '**bold** [a](http://b)' is not allowed"),
        ("", "depth=" + "9" * 5000, "at most 1500 characters"),
        ("distributions", "depth=3&depth=4", "depth: '3;4' is not allowed; give each parameter once"),
    ],
    ids=["range", "form", "html", "markdown", "long", "repeated"],
)
def test_bad_address(slug: str, given: str, said: str, tab: Any) -> None:
    tab.open(f"/{slug}?{given}")
    page = tab.page
    expect(page.locator(".st-key-problems")).to_contain_text(said, timeout=WAIT)
    expect(page.locator(".st-key-problems").locator("img, strong, a")).to_have_count(0)
    expect(drawn(page)).to_be_visible(timeout=WAIT)
    expect_query(page, {"v": "1"})
    nothing_wrong(tab, (slug,))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("slug", ["live", "compare"])
def test_a_way_out_of_a_refusal(slug: str, tab: Any) -> None:
    tab.open(f"/{slug}?v=1&dataset=gaussian&depth=1&width=4&steps=5&seeds=2")
    page = tab.page
    refused = page.locator(".st-key-refused")
    expect(refused).to_contain_text("Not computed", timeout=WAIT)
    # By its name: while the page is drawn for the first time, the second button may stand there before the first.
    refused.get_by_role("button", name="Train on digits", exact=True).click()
    expect(refused).to_have_count(0, timeout=WAIT)
    expect(drawn(page)).to_be_visible(timeout=WAIT)
    tab.settle()
    assert "dataset" not in query(page)
    page.go_back()
    expect(refused).to_contain_text("Not computed", timeout=WAIT)
    nothing_wrong(tab, (slug,))


def test_reset_and_back(tab: Any) -> None:
    tab.open("/distributions?v=1&depth=4&width=32&initializer=random_normal(stddev%3D0.2)&layer=3")
    page = tab.page
    given = query(page)
    page.get_by_role("button", name="Reset everything").click()
    expect_query(page, {"v": "1"})
    expect(width(page)).to_have_value("64", timeout=WAIT)
    expect(page.locator(".st-key-initializer input")).to_have_value("he_normal")
    tab.settle()
    page.go_back()
    expect(width(page)).to_have_value("32", timeout=WAIT)
    expect_query(page, given)
    nothing_wrong(tab, ("distributions",))


@pytest.mark.sampled(3)
@EVERY_PAGE
def test_on_a_phone(slug: str, warm_server: Any, new_tab: NewTab) -> None:
    tab = new_tab(warm_server, width=390, height=844)
    tab.open(f"/{slug}?v=1&depth=2&width=8&steps=5")
    page = tab.page
    expect(drawn(page)).to_be_visible(timeout=WAIT)
    if slug == "compare":
        expect(page.get_by_test_id("stDataFrame")).to_be_visible(timeout=WAIT)
    tab.settle()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    main = page.get_by_test_id("stMain")
    assert main.evaluate("part => part.scrollWidth - part.clientWidth") <= 0
    expect(width(page)).not_to_be_in_viewport()
    expect(page.locator("h1")).to_be_in_viewport()
    nothing_wrong(tab, (slug,))
