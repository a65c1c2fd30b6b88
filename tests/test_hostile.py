"""Hostile input against the real server: addresses, widget states and component messages that no page would send.

Each time there is a page with words on it, no exception, nothing in the log, and the others are served.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import websockets
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.visitor import Run, Server, Visitor, serving, visit
from winit.fields import fields_of
from winit.lenses import LENSES
from winit.spec import Spec
from winit.ui.pages import PAGES

PORT = 8653
CORPUS = json.loads((Path(__file__).parent / "corpus" / "hostile.json").read_text(encoding="utf-8"))
SMALL = "v=1&depth=2&width=8&steps=4&dataset=moons"
NAMES = sorted(
    {field.name for owner in (Spec, *(lens.knobs for lens in LENSES.values())) for field in fields_of(owner)}
)


def _long(text: str) -> str:
    """Return a corpus text: "x*20000" is 20,000 of x."""
    found = re.fullmatch(r"(.+)\*([0-9]{2,6})", text, re.DOTALL)
    return found[1] * int(found[2]) if found else text


def _value(one: dict[str, Any]) -> dict[str, Any]:
    ((kind, value),) = one.items()

    def real(item: Any) -> Any:
        return float(item) if isinstance(item, str) and kind.startswith("double") else item

    if kind.endswith("array_value"):
        value = [_long(item) if kind.startswith("string") else real(item) for item in value]
    elif kind == "bytes_value":
        value = bytes.fromhex(value)
    elif isinstance(value, str):
        value = real(value) if kind.startswith("double") else _long(value)
    return {kind: value}


_TEXTS = st.sampled_from(CORPUS["texts"]).map(_long) | st.text(max_size=40) | st.integers().map(str)
_FLOATS = st.floats()
_WORDS = st.text(st.characters(codec="utf-8"), max_size=200)
_VALUES = (
    st.sampled_from(CORPUS["values"]).map(_value)
    | st.integers(-(2**63), 2**63 - 1).map(lambda value: {"int_value": value})
    | _FLOATS.map(lambda value: {"double_value": value})
    | st.lists(_FLOATS, max_size=4).map(lambda value: {"double_array_value": value})
    | st.lists(_WORDS, max_size=12).map(lambda value: {"string_array_value": value})
    | _WORDS.map(lambda value: {"string_value": value})
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["run", "have", "n", "step"]), inner),
    max_leaves=6,
)
_EVENTS = st.sampled_from(["want", "moment", "nosuch", "x__y"])
_SLUGS = st.sampled_from([*PAGES, "", "", "live", "live"])  # the cheap ones more often

ADDRESS = st.tuples(
    st.just("address"),
    _SLUGS,
    st.lists(st.tuples(st.sampled_from([*NAMES, "v", "page", "embed", "nosuch"]) | _TEXTS, _TEXTS), max_size=6),
)
WIDGET = st.tuples(st.just("widget"), _SLUGS, st.tuples(st.integers(0, 10_000), _VALUES))
TRIGGER = st.tuples(
    st.just("trigger"),
    st.just("live"),
    st.tuples(_EVENTS, st.sampled_from(CORPUS["triggers"]) | _JSON)
    | st.sampled_from(CORPUS["raw_triggers"]).map(lambda text: (None, _long(text))),
)


class House:
    """The server, an event loop, and a bystander who looks at Home all the while."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.loop = asyncio.new_event_loop()
        self.tried = 0
        self.log_read = 0
        self.pages: dict[str, Visitor] = {}
        self._open = AsyncExitStack()

    async def page(self, slug: str) -> Visitor:
        """Return an open page, the one of before where it is still there."""
        if slug not in self.pages:
            self.pages[slug] = await self._open.enter_async_context(visit(self.server.port, slug, SMALL))
        return self.pages[slug]

    def close(self) -> None:
        """Close all pages."""
        self.loop.run_until_complete(self._open.aclose())
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do one attempt, and look at the log after it."""
        self.loop.run_until_complete(work)
        said = self.server.said()
        new, self.log_read = said[self.log_read :], len(said)
        assert "Traceback" not in new, new
        assert " ERROR " not in new, new
        self.tried += 1
        if self.tried % 25 == 0:
            self.loop.run_until_complete(self._bystander())

    async def _bystander(self) -> None:
        async with visit(PORT, "", "v=1&depth=3") as visitor:
            for depth in (4, 3):
                visitor.set("depth", double_array_value=[depth])
                answer = await visitor.run()
                assert answer.seconds < 3
                _assert_page(answer)
                assert visitor.query == f"v=1&depth={depth}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A real server for the tests of this file."""
    folder = tmp_path_factory.mktemp("hostile")
    limits = {"WINIT_FRAMES_PER_SECOND": "1000", "WINIT_OPENINGS_PER_SECOND": "1000", "WINIT_SECONDS": "2"}
    with serving(
        PORT, folder / "log", WINIT_STORE=str(folder / "runs.sqlite"), WINIT_LOG="warning", **limits
    ) as server:
        found = House(server)
        yield found
        found.close()


def _assert_page(answer: Run) -> None:
    assert answer.exceptions == []
    assert answer.status in ("FINISHED_SUCCESSFULLY", "FINISHED_FRAGMENT_RUN_SUCCESSFULLY")


async def _open(house: House, slug: str, query: str) -> None:
    """Open an address as a new visitor, and see a page."""
    async with visit(house.server.port, slug, query, run=False) as visitor:
        first = await visitor.run()
        _assert_page(first)
        assert any(LENSES[slug].question in text for text in first.texts)


async def _change(house: House, slug: str, number: int, value: dict[str, Any]) -> None:
    """Change a page's widget, see a page, and the page as it was when its address is opened again."""
    visitor = await house.page(slug)
    keys = [key for key in visitor.widgets if not key.startswith(("csv", "download"))]
    visitor.set(keys[number % len(keys)], **value)
    try:
        _assert_page(await visitor.run())
        visitor.states.clear()
        visitor.query = SMALL
        again = await visitor.run()
    except websockets.ConnectionClosed:
        # Hung up on: its frame was too large, or a page's widgets were.
        assert sum(state.ByteSize() for state in visitor.sent) > 200_000
        house.pages.pop(slug)
        return
    _assert_page(again)
    assert any(LENSES[slug].question in text for text in again.texts)


async def _happen(house: House, event: str | None, value: Any) -> None:
    """Let a new visitor's player say something, and see a page."""
    async with visit(house.server.port, "live", SMALL) as visitor:
        _assert_page(await visitor.run(fragment=visitor.trigger("player", event or "", value)))


def _attempt(house: House, attempt: tuple[str, str, Any]) -> None:
    kind, slug, hostile = attempt
    if kind == "address":
        pairs = (f"{_quoted(name)}={_quoted(text)}" for name, text in hostile)
        house.do(_open(house, slug, "&".join(pairs)))
    elif kind == "widget":
        house.do(_change(house, slug, *hostile))
    else:
        house.do(_happen(house, *hostile))


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _given(kinds: st.SearchStrategy[Any], count: int) -> Any:
    def wrap(test: Any) -> Any:
        phases = (Phase.explicit, Phase.reuse, Phase.generate)
        checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]
        # The same attempts each time: a check that finds something new on some days only would block whoever comes by.
        fitted = settings(
            max_examples=count, deadline=None, phases=phases, suppress_health_check=checks, derandomize=True
        )
        return fitted(given(attempt=kinds)(test))

    return wrap


@_given(ADDRESS, 80)
def test_hostile_addresses(house: House, attempt: tuple[str, str, Any]) -> None:
    _attempt(house, attempt)


@_given(WIDGET, 80)
def test_hostile_widgets(house: House, attempt: tuple[str, str, Any]) -> None:
    _attempt(house, attempt)


@_given(TRIGGER, 40)
def test_hostile_triggers(house: House, attempt: tuple[str, str, Any]) -> None:
    _attempt(house, attempt)


@pytest.mark.slow
@_given(ADDRESS | WIDGET | TRIGGER, 2000)
def test_hostile_input_for_long(house: House, attempt: tuple[str, str, Any]) -> None:
    _attempt(house, attempt)


def test_megabytes_are_hung_up_on(house: House) -> None:
    async def send() -> None:
        async with visit(PORT, "", SMALL) as visitor:
            visitor.set("width", string_value="9" * 1_000_000)
            with pytest.raises(websockets.ConnectionClosed):
                await visitor.run()

    house.do(send())
    house.do(house._bystander())
