"""The player of Train in a browser: pictures a second, pause, scrub, messages, the server's share of a core.

    python benchmarks/player.py [--seconds 6] [--path 'live?v=1&seeds=8&steps=2000']
    python benchmarks/player.py --memory --path 'live?v=1&depth=2&width=16&dataset=moons&seeds=2&steps=100000'

Against a page of the usual kind: three Plotly figures of the same training in a fragment that runs by
itself. The browser is Debian's chromium, drawing in software; once as it is, once with its processor
slowed four times. A picture counts where what is drawn differs from the picture before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from cold_start import ROOT, chromium, served
from playwright.sync_api import Browser, Page

FRAGMENT = """import time

import plotly.graph_objects as go
import streamlit as st

from winit.spec import Spec
from winit.training import train

if "run" not in st.session_state:
    st.session_state.run = train(Spec(steps=5000), 8, every=16)
    next(st.session_state.run)


@st.fragment(run_every=0.1)
def show():
    run = st.session_state.run
    end = time.monotonic() + 0.1
    while not run.is_finished and run.reach(end):
        next(run)
    steps = [snapshot.step for snapshot in run.snapshots]
    for name in ("loss", "test_accuracy"):
        lines = [go.Scatter(x=steps, y=[getattr(s, name)[m] for s in run.snapshots]) for m in range(8)]
        st.plotly_chart(go.Figure(lines), key=name)
    st.plotly_chart(go.Figure([go.Scatter(y=row) for row in run.measure_layers().activation_deviation]), key="layers")


show()
"""
_COUNT_PLOTS = """() => {
  const counts = (window.counts = { pictures: 0, nodes: 0 });
  let last = "", node = null;
  const look = () => {
    const plot = document.querySelector(".js-plotly-plot");
    const size = plot && plot.data ? plot.data[0].x.length : 0;
    if (plot && String(size) !== last) { last = String(size); counts.pictures++; }
    if (plot && plot !== node) { node = plot; counts.nodes++; }
    requestAnimationFrame(look);
  };
  look();
}"""
_SCRUB = """async root => {
  const bar = root.querySelector("[data-part=time]");
  const made = Number(root.dataset.made), times = [];
  for (let turn = 0; turn < 60; turn++) {
    const frame = (turn * 37) % made;
    if (String(frame) === root.dataset.frame) continue;
    bar.value = frame;
    const begin = performance.now();
    bar.dispatchEvent(new Event("input", { bubbles: true }));
    while (root.dataset.frame !== String(frame)) await new Promise(requestAnimationFrame);
    times.push(performance.now() - begin);
    await new Promise(requestAnimationFrame);
  }
  return times;
}"""
_PAUSE = """async root => {
  const begin = performance.now();
  root.querySelector("[data-part=play]").click();
  while (root.dataset.playing !== "false") await new Promise(requestAnimationFrame);
  const passed = performance.now() - begin;
  const drawn = root.dataset.drawn;
  await new Promise(done => setTimeout(done, 200));
  if (root.dataset.drawn !== drawn) throw new Error("it goes on after the pause");
  return passed;
}"""
_FIRST = """async root => {
  const begin = performance.now();
  const frame = root.dataset.frame;
  root.querySelector("[data-part=play]").click();
  while (root.dataset.frame === frame) await new Promise(requestAnimationFrame);
  return performance.now() - begin;
}"""


def core_seconds(process: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def slowed(page: Page, times: int) -> None:
    """Slow the browser's processor so many times."""
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": times})


def new_page(browser: Browser, **options: Any) -> Page:
    return browser.new_context(viewport={"width": 1280, "height": 800}, **options).new_page()


def fragment_page(browser: Browser, address: str, process: int, seconds: float, times: int) -> str:
    """Measure the page of the usual kind."""
    page = new_page(browser)
    page.goto(address)
    page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
    slowed(page, times)
    page.evaluate(_COUNT_PLOTS)
    page.wait_for_timeout(1000)
    before, used, begin = page.evaluate("counts"), core_seconds(process), time.monotonic()
    page.wait_for_timeout(1000 * seconds)
    passed, after = time.monotonic() - begin, page.evaluate("counts")
    rate, nodes = ((after[name] - before[name]) / passed for name in ("pictures", "nodes"))
    used = (core_seconds(process) - used) / passed
    page.context.close()
    return f"fragment: {rate:5.1f} pictures/s, {nodes:.1f} new nodes/s, server {used:.2f} cores"


def player(browser: Browser, address: str, process: int, seconds: float, times: int) -> str:
    """Measure the player."""
    page = new_page(browser, reduced_motion="no-preference")
    sent: list[int] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda _: sent.append(1)))
    begin = time.monotonic()
    page.goto(address)
    root = page.locator(".player[data-step]")
    root.wait_for(timeout=60_000)
    opened = time.monotonic() - begin
    slowed(page, times)
    root.evaluate("root => { window.first = root; window.canvas = root.querySelector('canvas'); }")
    pauses, firsts = [], []
    page.wait_for_timeout(1500)
    data = "root => ({ ...root.dataset })"
    before, used, begin, messages = root.evaluate(data), core_seconds(process), time.monotonic(), len(sent)
    page.wait_for_timeout(1000 * seconds)
    after, passed = root.evaluate(data), time.monotonic() - begin
    messages, used = len(sent) - messages, (core_seconds(process) - used) / passed
    rate, frames = ((int(after[name]) - int(before[name])) / passed for name in ("drawn", "frame"))
    if after["playing"] != "true":
        raise SystemExit("the run ended while it was measured: give it more steps")
    for _ in range(3):
        pauses.append(root.evaluate(_PAUSE))
        firsts.append(root.evaluate(_FIRST))
    root.evaluate(_PAUSE)
    page.wait_for_timeout(1000)
    quiet = len(sent)
    scrubs = root.evaluate(_SCRUB)
    page.wait_for_timeout(500)
    quiet = len(sent) - quiet
    same = root.evaluate("root => root === window.first && root.querySelector('canvas') === window.canvas")
    page.context.close()
    return (
        f"player:   {rate:5.1f} pictures/s of {frames:.1f} frames/s, same node {same}, server {used:.2f} cores, "
        f"{messages / passed:.1f} messages/s; open to first picture {opened:.2f} s, play {max(firsts):.0f} ms, "
        f"pause {max(pauses):.0f} ms, scrub median {statistics.median(scrubs):.1f} ms, slowest {max(scrubs):.1f} ms, "
        f"{quiet} messages while scrubbing"
    )


def memory(browser: Browser, address: str, process: int) -> str:
    """Play a run to its end as fast as it goes; return what it leaves in the browser and in the server."""
    page = new_page(browser, reduced_motion="no-preference")
    page.goto(address)
    root = page.locator(".player[data-step]")
    root.wait_for(timeout=60_000)
    root.get_by_label("Speed").select_option("max")
    tools = page.context.new_cdp_session(page)

    def megabytes() -> tuple[float, float, float]:
        tools.send("HeapProfiler.collectGarbage")
        heap = tools.send("Runtime.getHeapUsage")
        resident = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if "VmRSS" in line)
        return heap["usedSize"] / 1e6, heap["backingStorageSize"] / 1e6, int(resident.split()[1]) / 1e3

    page.wait_for_timeout(3000)
    early, begin = megabytes(), time.monotonic()
    while root.get_attribute("data-playing") == "true":
        page.wait_for_timeout(1000)
    late = megabytes()
    step, made = (root.get_attribute(f"data-{name}") for name in ("step", "made"))
    page.context.close()
    parts = zip(("script", "its buffers", "server"), early, late, strict=True)
    return f"step {step}, {made} frames, {time.monotonic() - begin:.0f} s: " + ", ".join(
        f"{name} {before:.1f} to {after:.1f} MB" for name, before, after in parts
    )


def main() -> None:
    """Measure both, with the browser as it is and slowed; or the memory of a long run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--path", default="live?v=1&seeds=8&steps=2000", help="the page and its query")
    parser.add_argument("--memory", action="store_true", help="play the run to its end, and measure memory instead")
    arguments = parser.parse_args()
    if arguments.memory:
        with chromium() as browser, served(ROOT / "app.py") as (address, process):
            print(memory(browser, address + arguments.path, process))
        return
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        script = Path(folder) / "fragment.py"
        script.write_text(FRAGMENT, encoding="utf-8")
        for times in (1, 4):
            print(f"browser's processor slowed {times} times")
            with served(ROOT / "app.py") as (address, process):
                print(player(browser, address + arguments.path, process, arguments.seconds, times))
            with served(script) as (address, process):
                print(fragment_page(browser, address, process, arguments.seconds, times))


if __name__ == "__main__":
    main()
