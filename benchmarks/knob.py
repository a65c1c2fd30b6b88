"""A knob on Distributions: from the key press to the new figure in a browser, against a bare Streamlit page.

    python benchmarks/knob.py [--moves 12]

Each move draws new samples of three initializers (nothing is cached); the bare page has one number
field and one figure of as many points. Prints medians, the slowest move, and the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cold_start import ROOT, free_port, wait_for
from playwright.sync_api import Browser, sync_playwright

BARE = """import plotly.graph_objects as go
import streamlit as st

seed = st.number_input("Seed", min_value=0, value=0)
st.plotly_chart(go.Figure(go.Scatter(x=list(range(240)), y=[seed + n for n in range(240)])))
"""
_SUM = "() => { const gd = document.querySelector('.js-plotly-plot'); return gd && gd.data ? gd.data.length + ':' +"
_SUM += " gd.data.map(t => (Array.from(t.y._inputArray || t.y)).reduce((a, b) => a + (b || 0), 0)).join() : '' }"
_CHANGED = f"before => ({_SUM})() !== before"


def milliseconds(browser: Browser, script: Path, path: str, moves: int) -> list[float]:
    """Return the time of each move of the seed on a page."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true"]
    server = subprocess.Popen(
        [*command, "--server.address=127.0.0.1", f"--server.port={port}"],
        cwd=script.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    try:
        wait_for(port)
        page.goto(f"http://127.0.0.1:{port}/{path}")
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
        page.wait_for_timeout(1000)
        field = page.get_by_label("Seed", exact=True).first
        times = []
        for move in range(1, moves + 1):
            before = page.evaluate(_SUM)
            field.fill(str(100 + move))
            begin = time.perf_counter()
            field.press("Enter")
            page.wait_for_function(_CHANGED, arg=before, polling="raf", timeout=20_000)
            times.append(1000 * (time.perf_counter() - begin))
            page.wait_for_timeout(400)
        return times
    finally:
        page.close()
        server.terminate()
        server.wait()


def main() -> None:
    """Measure both and print the ratio of medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--moves", type=int, default=12)
    moves = parser.parse_args().moves
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
        )
        ours = milliseconds(browser, ROOT / "app.py", "distributions?v=1", moves)
        theirs = milliseconds(browser, bare, "", moves)
        browser.close()
    middle, bare_middle = statistics.median(ours), statistics.median(theirs)
    print(
        f"a knob on Distributions: median {middle:.0f} ms, slowest {max(ours):.0f} ms; "
        f"a bare page {bare_middle:.0f} ms, ratio {middle / bare_middle:.2f}"
    )


if __name__ == "__main__":
    main()
