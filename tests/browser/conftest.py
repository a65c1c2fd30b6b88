"""A server of its own and a real browser for the tests of this folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM = Path("/usr/bin/chromium")
REQUIRE = "WINIT_REQUIRE_BROWSER"
START_SECONDS = 60.0
PATIENCE = 20_000.0  # milliseconds, for whatever a test waits for

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_healthy(port: int) -> bool:
    """Whether a server answers on the port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@dataclass
class Server:
    """A running server: its address, and the file that holds its output."""

    url: str
    log: Path


@contextmanager
def running(log: Path, script: str = "app.py") -> Iterator[Server]:
    """Start the app, or another script, in a process of its own; end that process, and only that one, at the end."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless=true"]
    command += ["--server.address=127.0.0.1", f"--server.port={port}"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + START_SECONDS
            while not is_healthy(port):
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield Server(f"http://127.0.0.1:{port}", log)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass
class Tab:
    """A page of the browser, and what went wrong in it."""

    page: Any
    server: Server
    errors: list[tuple[str, str]] = field(default_factory=list)
    """Console messages at error level: text and the address they are about."""
    crashes: list[str] = field(default_factory=list)
    """Exceptions that no script caught."""
    missing: list[str] = field(default_factory=list)
    """Addresses that were answered with 400 or more."""

    def open(self, address: str, *, settle: bool = True) -> None:
        """Open an address of the server, and wait until the page is drawn.

        `settle` also waits until no script runs: not for a page that computes in slices, one after the other.
        """
        self.page.goto(self.server.url + address)
        self.page.locator("h1").first.wait_for(timeout=PATIENCE)
        if settle:
            self.settle()

    def settle(self) -> None:
        """Wait until no script runs."""
        self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=PATIENCE)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """One chromium; where there is none the tests are skipped, or fail if WINIT_REQUIRE_BROWSER is 1."""
    if not CHROMIUM.exists():
        reason = f"no browser: {CHROMIUM} does not exist"
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{reason}, and {REQUIRE}=1")
        pytest.skip(reason)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def warm_server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not ask for one of their own."""
    with running(tmp_path_factory.mktemp("server") / "log") as server:
        yield server


@pytest.fixture
def cold_server(chromium: Any, tmp_path: Path) -> Iterator[Server]:
    """Start a server that nobody has visited."""
    with running(tmp_path / "log") as server:
        yield server


@pytest.fixture
def serve(chromium: Any, tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Return a function that starts a server on the text of a script."""
    with ExitStack() as servers:

        def started(text: str) -> Server:
            script = tmp_path / "script.py"
            script.write_text(text, encoding="utf-8")
            return servers.enter_context(running(tmp_path / "script-log", str(script)))

        yield started


@pytest.fixture
def new_tab(chromium: Any) -> Iterator[Callable[..., Tab]]:
    """Return a function that opens a tab in a browser context of its own."""
    contexts = []

    def made(server: Server, width: int = 1360, height: int = 900) -> Tab:
        context = chromium.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        tab = Tab(page, server)
        page.on(
            "console",
            lambda message: (
                tab.errors.append((message.text, message.location["url"])) if message.type == "error" else None
            ),
        )
        page.on("pageerror", lambda error: tab.crashes.append(str(error)))
        page.on("response", lambda response: tab.missing.append(response.url) if response.status >= 400 else None)
        return tab

    yield made
    for context in contexts:
        context.close()


@pytest.fixture
def tab(warm_server: Server, new_tab: Callable[..., Tab]) -> Tab:
    """Return a tab on the warm server."""
    return new_tab(warm_server)
