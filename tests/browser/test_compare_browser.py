"""Compare in a real browser: pressing run, growing, cancelling, the store, pills, files, a phone."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_browser import WAIT, button, expect, nothing_wrong, query, wait_for_figures

pytestmark = pytest.mark.browser

NewTab = Callable[..., Any]
LONG = "/compare?v=1&depth=2&width=16&steps=20000&seeds=2&initializers=orthogonal"


def answer(tab: Any) -> Any:
    return tab.page.locator(".st-key-answer")


def test_it_grows_can_be_cancelled_and_gone_on_with(tab: Any) -> None:
    tab.open(LONG, settle=False)
    page = tab.page
    given = query(page)
    progress = page.locator(".st-key-progress")
    expect(progress).to_contain_text("of 4 runs", timeout=WAIT)
    expect(progress).to_contain_text(re.compile(r"steps of single networks per second\s*about .* left"), timeout=WAIT)

    first = wait_for_figures(page, lambda found: len(found) == 1)
    wait_for_figures(page, lambda found: len(found) == 1 and found != first)
    button(page, "Cancel").click()
    expect(answer(tab)).to_contain_text(re.compile(r"Cancelled at step [1-9]\d* of 20000"), timeout=WAIT)
    expect(page.get_by_test_id("stDataFrame")).to_be_visible(timeout=WAIT)
    expect(progress).to_have_count(0)
    tab.settle()
    assert query(page) == given
    button(page, "Go on with what is left").click()
    expect(progress).to_be_visible(timeout=WAIT)
    button(page, "Cancel").click()
    expect(answer(tab)).to_contain_text("Cancelled at step", timeout=WAIT)
    nothing_wrong(tab, ("compare",))


def test_a_finished_one_is_there_at_once_for_the_next_with_its_pills_and_files(
    tab: Any, warm_server: Any, new_tab: NewTab, tmp_path: Path
) -> None:
    address = "/compare?v=1&depth=1&width=4&steps=5&seeds=2&initializers=orthogonal%3Bzeros"
    tab.open(address)
    expect(tab.page.get_by_test_id("stDataFrame")).to_be_visible(timeout=WAIT)
    found = wait_for_figures(tab.page, lambda found: len(found) == 4)
    other = new_tab(warm_server)
    other.open(address)
    page = other.page
    expect(page.get_by_test_id("stDataFrame")).to_be_visible(timeout=WAIT)
    wait_for_figures(page, lambda again: again == found)

    page.locator(".st-key-view").get_by_text("orthogonal").click()
    wait_for_figures(page, lambda now: len(now) == 4 and now[0] != found[0] and now[1:] == found[1:])
    assert query(page)["only"] == "2"
    page.go_back()
    wait_for_figures(page, lambda again: again == found)

    for name, ending in (("CSV", "csv"), ("JSON", "json")):
        with page.expect_download() as waiting:
            button(page, f"Every run as {name}").click()
        assert waiting.value.suggested_filename == f"winit-compare.{ending}"
        waiting.value.save_as(tmp_path / f"runs.{ending}")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text(encoding="utf-8"))))
    assert {(row["initializer"], row["seed"]) for row in rows} == {
        (name, seed) for name in ("he_normal", "orthogonal", "zeros") for seed in ("0", "1")
    }
    runs = json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))["members"]
    assert len(runs) == 6
    nothing_wrong(other, ("compare",))


def test_on_a_phone_the_names_stand_below_the_plot(warm_server: Any, new_tab: NewTab) -> None:
    tab = new_tab(warm_server, width=390, height=844)
    tab.open("/compare?v=1&depth=1&width=4&steps=5&seeds=2&initializers=orthogonal%3Bzeros")
    page = tab.page
    expect(page.locator(".js-plotly-plot").first.locator(".legend")).to_be_visible(timeout=WAIT)
    tab.settle()
    plot = page.locator(".js-plotly-plot").first.locator(".xy .plot, .plotbg, .nsewdrag").first.bounding_box()
    assert plot is not None
    assert plot["width"] > 250
    nothing_wrong(tab, ("compare",))
