"""A sweep in several processes: the same numbers as in one, whoever is lost, and nobody left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from winit.budget import terminal_command
from winit.lenses import CompareKnobs, together
from winit.queueing import WORKERS
from winit.spec import Spec
from winit.store import Store
from winit.sweep import Sweep

ROOT = Path(__file__).resolve().parent.parent
HAS_HELPERS = sys.platform == "linux" and WORKERS > 1

# A shell may have told what it runs in the background to ignore interrupts.
COMMAND = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("winit", run_name="__main__")
"""

# In a process of its own: that of the tests has threads.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from winit.crew import Crew, crewed
from winit.lenses import CompareKnobs
from winit.spec import Spec
from winit.store import Store
from winit.sweep import Sweep

spec = Spec(depth=3, width=16, dataset="moons", steps=40)
knobs = CompareKnobs(initializers=("zeros", "orthogonal"), seeds=3, learning_rates=(0.1, 1000.0))
alone = Sweep(spec, knobs)
for _ in alone:
    pass


def told(lost):
    path = Path(sys.argv[1]) / f"{len(lost)}-{sum(lost)}.sqlite"
    sweep, shares = Crew(spec, knobs, helpers=2, store=Store(path), at_once=2), []
    for progress in sweep:
        shares.append(progress.share)
        for helper in [sweep._helpers[place] for place in lost if place < len(sweep._helpers)]:
            os.kill(helper.process.pid, signal.SIGKILL)
    ours, theirs = sweep.history(), alone.history()
    return {
        "same": all(
            np.array_equal(getattr(ours, name), getattr(theirs, name), equal_nan=True)
            for name in ("loss", "train_accuracy", "test_accuracy", "final_loss")
        ),
        "members": ours.members == theirs.members,
        "diverged": ours.diverged_at == theirs.diverged_at,
        "runs": sweep.progress.runs,
        "kept": Sweep(spec, knobs, store=Store(path)).progress.restored,
        "shares": shares,
    }


kinds = [type(crewed(one, knobs)).__name__ for one in (spec, Spec(depth=30, width=256))]
print(json.dumps({"kinds": kinds, "told": [told(lost) for lost in ((), (0,), (1,), (0, 1))]}))
"""


def test_helpers_make_the_numbers_of_one_process_and_whoever_is_lost_is_done_without(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kinds"] == ["Sweep", "Crew" if HAS_HELPERS else "Sweep"]
    for told in found["told"]:
        assert (told["same"], told["members"], told["diverged"]) == (True, True, True)
        assert (told["runs"], told["kept"], told["shares"][-1]) == (18, 18, 1.0)
    undisturbed = found["told"][0]["shares"]
    assert undisturbed == sorted(undisturbed)


def _children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not HAS_HELPERS, reason="no helpers on this host")
@pytest.mark.sampled(2)
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT], ids=lambda blow: blow.name)
def test_helpers_leave_with_the_command_and_what_was_finished_is_kept(blow: signal.Signals, tmp_path: Path) -> None:
    store = tmp_path / "runs.sqlite"
    spec, knobs = Spec(dataset="moons", steps=300), CompareKnobs(seeds=50)
    _, _, _, *arguments = shlex.split(terminal_command(spec, knobs))  # python -m winit ...
    command = [sys.executable, "-c", COMMAND, *arguments]

    def finished() -> int:
        return Sweep(spec, knobs, store=Store(store)).progress.restored

    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "WINIT_STORE": str(store)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end and len(helpers := _children(process.pid)) < 2:
                time.sleep(0.05)
            assert len(helpers) >= 2
            while time.monotonic() < end and not (store.exists() and finished()):
                time.sleep(0.1)
            process.send_signal(blow)
            process.wait(timeout=20)
            while time.monotonic() < end and any(map(_runs, helpers)):
                time.sleep(0.1)
            assert not any(map(_runs, helpers))
            assert 0 < finished() < 50 * len(together(spec.initializer, knobs.initializers))
        finally:
            process.kill()
