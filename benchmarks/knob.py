"""A knob on Distributions and on Signal: from the key press to the new figure, against a bare Streamlit page.

    python benchmarks/knob.py [--moves 12] [--path 'distributions?v=1&width=1024']

Each move draws new samples of three initializers (nothing is cached); the bare page has one number
field and one figure of as many points. Prints medians, the slowest move, and the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from cold_start import ROOT, chromium, served
from playwright.sync_api import Browser

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
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    with served(script) as (address, _):
        page.goto(address + path)
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
            page.wait_for_timeout(200)
            page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=20_000)
        page.close()
    return times


SIGNAL = "signal?v=1&depth=50&width=128&batch_size=64&seeds=5&initializers="


def main() -> None:
    """Measure both and print the ratio of medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--moves", type=int, default=12)
    parser.add_argument("--path", default="distributions?v=1", help="the page and its query")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        ours = milliseconds(browser, ROOT / "app.py", arguments.path, arguments.moves)
        signal = milliseconds(browser, ROOT / "app.py", SIGNAL, arguments.moves)
        theirs = milliseconds(browser, bare, "", arguments.moves)
    middle, bare_middle = statistics.median(ours), statistics.median(theirs)
    print(
        f"a knob on Distributions: median {middle:.0f} ms, slowest {max(ours):.0f} ms; "
        f"a bare page {bare_middle:.0f} ms, ratio {middle / bare_middle:.2f}"
    )
    signal_middle = statistics.median(signal)
    print(
        f"a knob on Signal, 50 layers of 128, 5 seeds: median {signal_middle:.0f} ms, slowest {max(signal):.0f} ms, "
        f"ratio {signal_middle / bare_middle:.2f}"
    )


if __name__ == "__main__":
    main()
