"""The player's pure parts, tested by node's own test runner on buffers that Python packs; its asking, in the page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from winit.datasets import load
from winit.figures.style import number
from winit.lenses import TrainKnobs
from winit.recording import Recording, pack
from winit.spec import Spec

ROOT = Path(__file__).resolve().parent.parent
REQUIRE = "WINIT_REQUIRE_NODE"


def _plain(numbers: np.ndarray) -> list[float | None]:
    """Return numbers as JSON has them; null for what is not finite."""
    return [number if np.isfinite(number) else None for number in numbers.ravel().tolist()]


def test_the_pure_parts_of_the_player(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"no node, and {REQUIRE}=1")
        pytest.skip("no node: the player's script is not tested")
    spec = Spec(depth=3, width=8, steps=12, dataset="moons", learning_rate=0.1)
    recording = Recording(spec, TrainKnobs(seeds=2, beside=("random_normal(stddev=1e10)",)))
    packets, frames = [], []
    for part, count in enumerate((1, 5, 100)):
        made = recording.advance(count, 60)
        packets.append(tmp_path / f"{part}.bin")
        packets[-1].write_bytes(pack(*recording.packet(made)))
        frames += made
    values = [0.0, 1.0, -0.5, 2.302585, 0.00123, 1e-7, 12345.678, 99999.0, 1e5, -3.2e12, 1e30, 0.1, 150.0, 0.001]
    expected = {
        "packets": [str(path) for path in packets],
        "steps": recording.steps,
        "loss": [_plain(frame.loss) for frame in frames],
        "counts": [_plain(frame.counts) for frame in frames],
        "deviation": [_plain(frame.deviation_log10) for frame in frames],
        "test_y": load("moons").test_y.tolist(),
        "numbers": [[value, number(value)] for value in values],
    }
    path = tmp_path / "expected.json"
    path.write_text(json.dumps(expected), encoding="utf-8")
    script = ROOT / "winit" / "ui" / "live" / "player.js"
    environment = {**os.environ, "WINIT_PLAYER": str(script), "WINIT_EXPECTED": str(path)}
    ran = subprocess.run(
        [node, "--test", str(ROOT / "tests" / "player" / "player.test.mjs")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    failed = [line for line in ran.stdout.splitlines() if "not ok" in line or "error:" in line or "Error" in line]
    assert ran.returncode == 0, "\n".join(line[:200] for line in failed) + ran.stderr[-500:]
    assert "# pass 0" not in ran.stdout
