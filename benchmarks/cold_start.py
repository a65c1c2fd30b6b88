"""Cold start: from the command to the first figure in a browser, against a bare Streamlit page with one figure.

    python benchmarks/cold_start.py [--repeats 3]

Both servers are fresh processes; the browser is Debian's chromium, started before the clock. Prints
the minimum of each and their ratio.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BARE = """import plotly.graph_objects as go
import streamlit as st

st.title("bare")
st.plotly_chart(go.Figure(go.Scatter(x=[0, 1], y=[0, 1])))
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Return once somebody listens on a port of this machine."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
            return
        except OSError:
            time.sleep(0.02)


def seconds_to_figure(browser: Browser, script: Path) -> float:
    """Start a server on a script, open it, and return the seconds until a figure stands in the page."""
    port = free_port()
    begin = time.perf_counter()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true"]
    server = subprocess.Popen(
        [*command, "--server.address=127.0.0.1", f"--server.port={port}"],
        cwd=script.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    page = browser.new_page()
    try:
        wait_for(port)
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
        return time.perf_counter() - begin
    finally:
        page.close()
        server.terminate()
        server.wait()


def main() -> None:
    """Measure both in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
        )
        times: dict[str, list[float]] = {"winit": [], "bare": []}
        for _ in range(repeats):
            times["winit"].append(seconds_to_figure(browser, ROOT / "app.py"))
            times["bare"].append(seconds_to_figure(browser, bare))
        browser.close()
    ours, theirs = min(times["winit"]), min(times["bare"])
    print(f"cold start to first figure: winit {ours:.2f} s, a bare page {theirs:.2f} s, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
