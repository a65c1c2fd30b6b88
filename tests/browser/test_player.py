"""The player of Train in a real browser: its hands, its messages, and what can go wrong on the way."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from winit.spec import Spec
from winit.training import dense_steps, train

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

pytestmark = pytest.mark.browser

WAIT = 20_000.0
NewTab = Callable[..., Any]
NETWORK = "depth=2&width=16&dataset=moons&seeds=2"
SPEC = Spec(depth=2, width=16, dataset="moons")


def losses(spec: Spec) -> list[float]:
    """Return the loss of the first seed at every recorded step, as Python trains it."""
    return [float(snapshot.loss[0]) for snapshot in train(spec, 1, every=dense_steps(spec.steps))]


def loss_at(spec: Spec, step: int) -> float:
    """Return the loss of the first seed at a step."""
    run = train(spec, 1, every=[step])
    while run.step < step or not run.snapshots:
        next(run)
    return float(run.snapshots[-1].loss[0])


class Film:
    """The player of a tab, and the messages that the tab has sent."""

    def __init__(self, tab: Any) -> None:
        self.tab, self.page = tab, tab.page
        self.sent: list[str | bytes] = []
        self.page.on("websocket", lambda web: web.on("framesent", lambda message: self.sent.append(message)))
        self.root = self.page.locator(".player")

    def open(self, address: str) -> Film:
        self.tab.open(f"/live?v=1&{address}", settle=False)
        self.page.locator(".player[data-step]").wait_for(timeout=WAIT)
        return self

    def data(self) -> dict[str, str]:
        found: dict[str, str] = self.root.evaluate("root => ({ ...root.dataset })")
        return found

    def wait(self, condition: str, *, timeout: float = WAIT) -> dict[str, str]:
        """Wait until a condition on the root's attributes `d` (numbers where they are) holds."""
        self.page.wait_for_function(
            f"""() => {{
              for (const host of document.querySelectorAll("*")) {{
                const root = host.shadowRoot?.querySelector(".player[data-step]");
                if (!root) continue;
                const number = text => isNaN(text) ? text : Number(text);
                const d = Object.fromEntries(Object.entries(root.dataset).map(([name, text]) => [name, number(text)]));
                if ({condition}) return true;
              }}
              return false;
            }}""",
            timeout=timeout,
        )
        return self.data()

    def is_of(self, spec: Spec, frame: int, *, timeout: float = WAIT) -> None:
        """Wait until a frame of the first steps is there, pause, and assert that it is one of this network."""
        wanted = loss_at(spec, frame)
        self.wait(f"d.made > {frame} && d.playing === 'true'", timeout=timeout)
        for _ in range(100):  # the frames of the network before may still be in view
            self.press("Pause") if self.data()["playing"] == "true" else None
            # A film that has just begun anew has no such frame yet.
            drawn = int(self.data()["made"]) > frame and self.scrub(frame, is_there=False) is not None
            if drawn and float(self.data()["loss"]) == wanted:
                break
            self.press("Play")
            self.page.wait_for_timeout(100)
        assert (self.data()["step"], float(self.data()["loss"])) == (str(frame), wanted)
        self.press("Play")

    def press(self, name: str) -> None:
        self.root.get_by_role("button", name=name, exact=True).click()

    def scrub(self, frame: int, *, is_there: bool = True) -> float | None:
        """Drag the time line to a frame; return the milliseconds until it is drawn, None where it may not be there."""
        passed: float | None = self.root.evaluate(
            """(root, [frame, isThere]) => {
              const bar = root.querySelector("[data-part=time]");
              const begin = performance.now();
              bar.value = frame;
              bar.dispatchEvent(new Event("input", { bubbles: true }));
              if (root.dataset.frame !== String(frame)) {
                if (isThere) throw new Error("not drawn at once");
                return null;
              }
              return performance.now() - begin;
            }""",
            [frame, is_there],
        )
        return passed


@pytest.fixture
def film(tab: Any) -> Film:
    return Film(tab)


def nothing_wrong(tab: Any) -> None:
    """Assert that neither page nor server says that something failed."""
    assert tab.crashes == []
    assert tab.page.locator("[data-testid=stException]").count() == 0
    assert "Traceback" not in tab.server.log.read_text()


def test_it_plays_by_itself_on_the_same_node_and_ends(film: Film) -> None:
    film.open(f"{NETWORK}&steps=60")
    film.root.evaluate("root => { window.node = root; window.canvas = root.querySelector('canvas'); }")
    film.wait("d.playing === 'true' && d.frame > 5")
    ended = film.wait("d.playing === 'false' && d.step === 60")
    assert float(ended["loss"]) == losses(SPEC.replace(steps=60))[-1]
    assert int(ended["drawn"]) > 61  # there are pictures between the frames
    assert film.root.evaluate("root => root === window.node && root.querySelector('canvas') === window.canvas")
    film.press("Play")  # from the start again
    film.wait("d.playing === 'true' && d.frame < 40")
    film.press("Pause")
    nothing_wrong(film.tab)


def test_every_recorded_step_is_there_again_and_nothing_is_sent(film: Film) -> None:
    film.open(f"{NETWORK}&steps=40")
    film.wait("d.made === 41")
    film.press("Pause") if film.data()["playing"] == "true" else None
    film.page.wait_for_timeout(300)
    sent = len(film.sent)
    expected = losses(SPEC.replace(steps=40))
    for frame in (40, 3, 17, 0, 39):
        film.scrub(frame)
        found = film.data()
        assert (found["step"], float(found["loss"])) == (str(frame), expected[frame])
    film.press("Step back")
    assert film.data()["step"] == "38"
    film.press("Step forward")
    assert film.data()["step"] == "39"
    film.root.focus()
    for key, step in (("Home", "0"), ("ArrowRight", "1"), ("ArrowRight", "2"), ("ArrowLeft", "1"), ("End", "40")):
        film.page.keyboard.press(key)
        assert film.data()["step"] == step
    film.press("Reset")
    assert film.data()["step"] == "0"
    film.page.keyboard.press("Escape")
    film.root.focus()
    film.page.keyboard.press("Space")
    film.wait("d.playing === 'true' && d.frame > 2")
    film.page.keyboard.press("Space")
    assert film.data()["playing"] == "false"
    for name in ("By layer", "Activations", "Gradients", "Weights", "Updates", "Dead units", "Neurons", "log"):
        film.press(name)
    film.root.get_by_label("Speed").select_option("16")
    film.press("Play")
    film.wait("d.playing === 'false' && d.step === 40")
    assert len(film.sent) == sent
    nothing_wrong(film.tab)


def test_a_paused_player_costs_nothing_and_a_pause_is_quick(film: Film) -> None:
    film.open(f"{NETWORK}&steps=100000")
    film.wait("d.frame > 10")
    frame = film.root.evaluate(
        """async root => {
          root.querySelector("[data-part=play]").click();
          const frame = root.dataset.frame;
          if (root.dataset.playing !== "false") throw new Error("it does not pause at once");
          await new Promise(done => setTimeout(done, 600));
          return [frame, root.dataset.frame];
        }"""
    )
    assert frame[0] == frame[1]
    sent, made = len(film.sent), film.data()["made"]
    film.page.wait_for_timeout(1500)
    assert len(film.sent) == sent
    assert film.data()["made"] == made
    nothing_wrong(film.tab)


def test_a_step_is_gone_to_studied_and_linked(film: Film, new_tab: NewTab) -> None:
    film.open(f"{NETWORK}&steps=3000")
    film.wait("d.frame > 3")
    at = film.root.get_by_label("Go to step")
    at.fill("401")
    at.press("Enter")
    found = film.wait("d.playing === 'false' && Math.abs(d.step - 401) < 8")
    expect(film.root.get_by_role("status")).to_contain_text(re.compile("nearest|Step"), timeout=WAIT)
    step, loss = found["step"], found["loss"]
    film.press("Study this step")
    heading = film.page.get_by_role("heading", name=f"Step {step}")
    expect(heading).to_be_visible(timeout=WAIT)
    expect(film.page.locator(".js-plotly-plot").first).to_be_visible(timeout=WAIT)
    assert f"step={step}" in film.page.url
    assert (film.data()["step"], film.data()["loss"]) == (step, loss)
    film.page.get_by_role("button", name="Close").click()
    expect(heading).to_have_count(0, timeout=WAIT)
    assert "step=" not in film.page.url.replace("steps=", "")
    film.press("Link to this moment")
    film.page.wait_for_url(re.compile(f"[?&]step={step}"), timeout=WAIT)
    other = Film(new_tab(film.tab.server)).open(film.page.url.split("?v=1&")[1])
    there = other.wait(f"d.step === {step}")
    assert (there["loss"], there["playing"]) == (loss, "false")
    nothing_wrong(film.tab)


def test_a_network_that_changes_while_it_plays_starts_anew(film: Film) -> None:
    film.open(f"{NETWORK}&steps=3000")
    wide, narrow = SPEC.replace(steps=3000), SPEC.replace(steps=3000, width=8)
    film.wait("d.frame > 5")
    film.page.locator(".st-key-width input").fill("8")
    film.page.locator(".st-key-width input").press("Enter")
    film.page.wait_for_url(re.compile("width=8"), timeout=WAIT)
    film.is_of(narrow, 6)
    film.page.go_back()
    film.page.wait_for_url(re.compile("width=16"), timeout=WAIT)
    film.is_of(wide, 6)
    film.page.go_forward()
    film.page.wait_for_url(re.compile("width=8"), timeout=WAIT)
    film.is_of(narrow, 6)
    nothing_wrong(film.tab)


def test_a_page_is_left_while_it_asks_and_found_again(film: Film) -> None:
    film.open(f"{NETWORK}&steps=3000")
    links = film.page.locator(".st-key-nav")
    for _ in range(3):
        film.wait("d.playing === 'true' && d.frame > 2")
        links.get_by_role("link", name="Home").click()
        expect(film.page.locator("h1")).to_contain_text("Which weight", timeout=WAIT)
        film.tab.settle()
        sent = len(film.sent)
        film.page.wait_for_timeout(400)
        assert len(film.sent) == sent
        links.get_by_role("link", name="Train").click()
        expect(film.page.locator("h1")).to_contain_text("Does it learn", timeout=WAIT)
    film.is_of(SPEC.replace(steps=3000), 30)
    nothing_wrong(film.tab)


def test_a_tab_that_slept_goes_on_where_it_was(film: Film) -> None:
    film.open(f"{NETWORK}&steps=100000")
    before = int(film.wait("d.frame > 10")["frame"])
    # A hidden tab gets no pictures.
    film.page.evaluate(
        "() => { window.awake = requestAnimationFrame; window.requestAnimationFrame = work => { held = work; }; }"
    )
    film.page.wait_for_timeout(600)
    sent = len(film.sent)
    film.page.wait_for_timeout(2000)
    assert len(film.sent) == sent
    film.page.evaluate("() => { window.requestAnimationFrame = window.awake; requestAnimationFrame(held); }")
    after = int(film.wait(f"d.frame > {before}")["frame"])
    assert after < before + 40  # two seconds of sleep are not made up for
    film.is_of(SPEC.replace(steps=100_000), 60)


class Line:
    """A line to a server that can be cut, and led to another server."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.port: int | None = None
        self.open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lead(self, server: Any) -> None:
        self.port = int(server.url.rsplit(":", 1)[1])

    def cut(self) -> None:
        self.port = None
        for end in self.open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.open.clear()

    def close(self) -> None:
        self.listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.port is None:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                near.close()
                continue
            self.open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


@pytest.mark.slow  # without a browser: test_a_player_gets_the_frames_after_those_it_has
def test_a_lost_line_leaves_what_was_seen_and_no_step_is_missing_after(
    line: Line, warm_server: Any, cold_server: Any, new_tab: NewTab
) -> None:
    line.lead(warm_server)
    film = Film(new_tab(replace(warm_server, url=line.url))).open(f"{NETWORK}&steps=3000")
    spec = SPEC.replace(steps=3000)
    film.wait("d.frame > 20")
    line.cut()
    made = int(film.wait("d.frame > 22")["made"])
    film.scrub(7)
    assert float(film.data()["loss"]) == loss_at(spec, 7)
    film.press("Play")
    film.wait(f"d.frame >= {made - 1}")
    line.lead(warm_server)
    film.is_of(spec, made + 5, timeout=45_000)
    line.cut()  # and now the server is another one, which knows nothing
    line.lead(cold_server)
    film.is_of(spec, int(film.data()["made"]) + 10, timeout=60_000)
    for frame in range(0, made + 5, 3):
        film.scrub(frame)
        assert film.data()["step"] == str(frame)
    nothing_wrong(film.tab)


def test_files_hold_the_numbers_in_view(film: Film) -> None:
    film.open(f"{NETWORK}&steps=20&beside=zeros")
    film.wait("d.playing === 'false' && d.step === 20")
    with film.page.expect_download() as download:
        film.press("History as CSV")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert len(rows) == 2 * 2 * 21
    first = [float(row["loss"]) for row in rows if (row["initializer"], row["seed"]) == ("he_normal", "0")]
    assert first == losses(SPEC.replace(steps=20))
    with film.page.expect_download() as download:
        film.press("View as PNG")
    assert download.value.suggested_filename == "winit-train-step-20.png"
    assert Path(download.value.path()).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_who_asks_for_less_motion_starts_paused(warm_server: Any, new_tab: NewTab) -> None:
    tab = new_tab(warm_server)
    tab.page.emulate_media(reduced_motion="reduce")
    film = Film(tab).open(f"{NETWORK}&steps=200")
    film.page.wait_for_timeout(800)
    assert (film.data()["playing"], film.data()["step"], film.data()["made"]) == ("false", "0", "1")
    film.press("Play")
    film.wait("d.playing === 'true' && d.frame > 3", timeout=5000)


def test_the_status_is_said_at_most_every_two_seconds(film: Film) -> None:
    film.open(f"{NETWORK}&steps=3000")
    film.wait("d.frame > 2")
    times = film.root.evaluate(
        """async root => {
          const times = [];
          const status = root.querySelector("[role=status]");
          const changed = new MutationObserver(() => times.push(performance.now()));
          changed.observe(status, { childList: true, characterData: true });
          await new Promise(done => setTimeout(done, 5000));
          return times;
        }"""
    )
    assert len(times) >= 1
    assert all(later - earlier > 1900 for earlier, later in itertools.pairwise(times))
    assert re.match(r"Step \d+ of 3000: he_normal ", film.root.get_by_role("status").inner_text())


def test_light_becomes_dark_on_the_same_node(film: Film) -> None:
    film.page.emulate_media(color_scheme="light")
    film.open(f"{NETWORK}&steps=20")
    film.wait("d.playing === 'false' && d.step === 20")
    film.root.evaluate("root => { window.node = root; }")
    darkness = """root => {
      const canvas = root.querySelector("[data-part=loss]");
      const pixels = canvas.getContext("2d").getImageData(0, 0, 40, canvas.height).data;
      let ink = 0, count = 0;
      for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3] > 200) { ink += pixels[at]; count++; }
      return ink / count;
    }"""
    light = film.root.evaluate(darkness)  # the labels of the axis are dark
    film.page.emulate_media(color_scheme="dark")
    for _ in range(100):
        if film.root.evaluate(darkness) > light + 80:
            break
        film.page.wait_for_timeout(100)
    assert film.root.evaluate(darkness) > light + 80
    assert film.root.evaluate("root => root === window.node")
    assert film.data()["step"] == "20"


@pytest.mark.parametrize("width", [360, 390])
def test_on_a_phone_everything_is_in_reach_of_a_thumb(width: int, warm_server: Any, new_tab: NewTab) -> None:
    tab = new_tab(warm_server, width=width, height=844)
    film = Film(tab).open(f"{NETWORK}&steps=30&beside=zeros")
    film.wait("d.frame > 2")
    main = film.page.get_by_test_id("stMain")
    assert main.evaluate("part => part.scrollWidth - part.clientWidth") <= 0
    small = film.root.evaluate(
        """root => [...root.querySelectorAll("button, select, input")]
          .map(hand => [hand.dataset.part ?? hand.textContent, hand.getBoundingClientRect()])
          .filter(([, box]) => box.height && (box.height < 44 || box.width < 44 || box.right > innerWidth))
          .map(([name, box]) => `${name} ${box.width} x ${box.height}`)"""
    )
    assert small == []


TWO = """
import sys
sys.path.insert(0, ".")
import streamlit as st
from winit.lenses import LENSES, TrainKnobs
from winit.recording import Recording
from winit.spec import Spec
from winit.ui import frame
from winit.ui.live.player import Session, answer, show_player

for key, width in (("one", 8), ("two", 16)):
    spec, knobs = Spec(depth=2, width=width, dataset="moons", steps=3000), TrainKnobs(seeds=2)
    if key + "-session" not in st.session_state:
        session = st.session_state[key + "-session"] = Session((spec, knobs), Recording(spec, knobs))
        answer(session, 1)
    show_player(frame.Page(LENSES["live"], spec, knobs, "light", False), st.session_state[key + "-session"], key)
"""


@pytest.mark.slow
def test_two_players_on_one_page_both_go_on(serve: Callable[[str], Any], new_tab: NewTab) -> None:
    page = new_tab(server := serve(TWO)).page
    page.goto(server.url)
    players = page.locator(".player[data-step]")
    expect(players).to_have_count(2, timeout=WAIT)
    for _ in range(100):
        frames = [int(found) for found in players.evaluate_all("all => all.map(root => root.dataset.frame)")]
        if min(frames) > 60:
            break
        page.wait_for_timeout(100)
    assert min(frames) > 60
    for number, width in enumerate((8, 16)):
        root = players.nth(number)
        root.get_by_role("button", name="Pause", exact=True).click()
        step, loss = root.evaluate("root => [root.dataset.step, root.dataset.loss]")
        assert float(loss) == loss_at(SPEC.replace(width=width, steps=3000), int(step))
