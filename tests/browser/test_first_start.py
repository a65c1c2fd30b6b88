"""The first start on a machine, in a terminal: no question stands between the command and the page."""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pexpect = pytest.importorskip("pexpect")

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 60.0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_first_start_asks_nothing(tmp_path: Path) -> None:
    """Start with an empty home folder, not headless, in a pseudo-terminal."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMLIT_", "XDG_"))}
    environment = {**kept, "HOME": str(home), "BROWSER": "/bin/true"}
    port = _free_port()
    arguments = ["-m", "streamlit", "run", "app.py", f"--server.port={port}", "--server.address=127.0.0.1"]
    child = pexpect.spawn(sys.executable, arguments, cwd=str(ROOT), env=environment, encoding="utf-8", timeout=1)
    output = ""
    try:
        end = time.monotonic() + START_SECONDS
        while not _is_healthy(port):
            assert time.monotonic() < end, f"no answer in {START_SECONDS:.0f} s: {output}"
            assert child.isalive(), f"ended: {output}"
            output += _said(child, 0.2)
        output += _said(child, 1.0)
    finally:
        child.terminate(force=True)
    assert "mail" not in output.lower()
    assert "Welcome to Streamlit" not in output
    assert str(port) in output


def _said(child: object, seconds: float) -> str:
    """Return what the process has written, waiting a moment for it."""
    try:
        return str(child.read_nonblocking(size=100_000, timeout=seconds))  # type: ignore[attr-defined]
    except (pexpect.TIMEOUT, pexpect.EOF):
        return ""
