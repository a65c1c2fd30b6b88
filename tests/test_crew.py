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
from winit.spec import Spec
from winit.store import Store
from winit.sweep import Sweep

ROOT = Path(__file__).resolve().parent.parent

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
sweep = Crew(spec, knobs, helpers=2, store=Store(Path(sys.argv[1])), at_once=2)
steps = []
for progress in sweep:
    steps.append(progress.share)
    if sys.argv[2] != "none" and sweep._helpers:
        helper = sweep._helpers[0 if sys.argv[2] == "first" else -1]
        os.kill(helper.process.pid, signal.SIGKILL)
        if sys.argv[2] == "all":
            os.kill(sweep._helpers[0].process.pid, signal.SIGKILL)
alone = Sweep(spec, knobs)
for _ in alone:
    pass
same = all(
    np.array_equal(getattr(sweep.history(), name), getattr(alone.history(), name), equal_nan=True)
    for name in ("loss", "train_accuracy", "test_accuracy", "final_loss")
)
kinds = [type(crewed(one, knobs)).__name__ for one in (spec, Spec(depth=30, width=256))]
print(json.dumps({
    "same": same, "members": sweep.history().members == alone.history().members, "steps": steps, "kinds": kinds,
    "diverged": sweep.history().diverged_at == alone.history().diverged_at, "runs": sweep.progress.runs,
}))
"""


@pytest.mark.parametrize("lost", ["none", "first", "last", "all"])
def test_helpers_make_the_numbers_of_one_process_and_whoever_is_lost_is_done_without(lost: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), lost], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["same"], found["members"], found["diverged"]) == (True, True, True)
    assert found["runs"] == 18
    assert found["steps"] == sorted(found["steps"]) or lost != "none"
    assert found["steps"][-1] == 1.0
    assert found["kinds"] == ["Sweep", "Crew" if (os.cpu_count() or 1) > 1 else "Sweep"]
    spec = Spec(depth=3, width=16, dataset="moons", steps=40)
    knobs = CompareKnobs(initializers=("zeros", "orthogonal"), seeds=3, learning_rates=(0.1, 1000.0))
    assert Sweep(spec, knobs, store=Store(path)).progress.restored == 18


def _children(process: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has no helpers")
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT], ids=lambda blow: blow.name)
def test_helpers_leave_with_the_command_and_what_was_finished_is_kept(blow: signal.Signals, tmp_path: Path) -> None:
    store = tmp_path / "runs.sqlite"
    spec, knobs = Spec(dataset="moons", steps=2000), CompareKnobs(seeds=40)
    command = [sys.executable, *shlex.split(terminal_command(spec, knobs))[1:]]

    def finished() -> int:
        return Sweep(spec, knobs, store=Store(store)).progress.restored

    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "WINIT_STORE": str(store)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell may have told what it runs in the background to ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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
            assert 0 < finished() < 40 * len(together(spec.initializer, knobs.initializers))
        finally:
            process.kill()
