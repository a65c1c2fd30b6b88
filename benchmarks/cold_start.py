"""Cold start: from the command to the first figure in a browser, against a bare Streamlit page with one figure.

    python benchmarks/cold_start.py [--repeats 3]

Both servers are fresh processes; the browser is Debian's chromium, started before the clock. Prints
the minimum of each and their ratio.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BARE = """import plotly.graph_objects as go
import streamlit as st

st.title("bare")
st.plotly_chart(go.Figure(go.Scatter(x=[0, 1], y=[0, 1])))
"""


@contextmanager
def served(script: Path) -> Iterator[tuple[str, int]]:
    """Serve a script by a fresh Streamlit process; yields its address once somebody listens there, and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true"]
    server = subprocess.Popen(
        [*command, "--server.address=127.0.0.1", f"--server.port={port}"],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/", server.pid
    finally:
        server.terminate()
        server.wait()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


def seconds_to_figure(browser: Browser, script: Path) -> float:
    """Start a server on a script, open it, and return the seconds until a figure stands in the page."""
    page = browser.new_page()
    begin = time.perf_counter()
    with served(script) as (address, _):
        page.goto(address)
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
        passed = time.perf_counter() - begin
        page.close()
    return passed


def main() -> None:
    """Measure both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        times: dict[str, list[float]] = {"winit": [], "bare": []}
        for _ in range(repeats):
            times["winit"].append(seconds_to_figure(browser, ROOT / "app.py"))
            times["bare"].append(seconds_to_figure(browser, bare))
    ours, theirs = min(times["winit"]), min(times["bare"])
    print(f"cold start to first figure: winit {ours:.2f} s, a bare page {theirs:.2f} s, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
