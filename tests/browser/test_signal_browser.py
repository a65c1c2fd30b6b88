"""Signal in a real browser: what a pointer on the phase diagram does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from winit import signal
from winit.spec import Spec

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
pytestmark = pytest.mark.browser


def test_selecting_a_point_of_the_phase_diagram_sets_the_network(warm_server: Any, new_tab: Callable[..., Any]) -> None:
    tab = new_tab(warm_server, 1280, 3400)
    tab.open("/signal?v=1&activation=tanh&depth=3&width=16&seeds=2")
    page = tab.page
    diagram = page.locator("[class*='st-key-phase-'] .nsewdrag").last
    diagram.wait_for()
    page.wait_for_timeout(1500)  # until what is above has found its height
    box = diagram.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 4
    page.mouse.move(x - 2, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(300)  # a hovered point is what a click selects
    page.mouse.click(x, y)
    page.wait_for_url("**bias=normal**")
    query = parse_qs(urlsplit(page.url).query)
    spec = Spec(depth=3, width=16, activation="tanh", initializer=query["initializer"][0], bias=query["bias"][0])
    sigma_w, sigma_b = signal.place(spec)
    assert sigma_w == pytest.approx(2.25, abs=0.1)
    assert sigma_b == pytest.approx(0.73, abs=0.05)
    expect(page.get_by_label("σ_w of the weights").first).to_have_value(f"{sigma_w:.4g}")
    assert tab.crashes == []
