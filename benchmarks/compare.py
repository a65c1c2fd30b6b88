"""A whole comparison from the terminal against a plain loop and against Keras, as ratios in one run.

    python benchmarks/compare.py [--repeats 3] [--without-keras]

8 initializers x 10 seeds, 10 hidden layers of 64 ReLU units, batch 64, 500 steps of SGD on digits. Ours is
`python -m winit compare` as a process of its own: start of Python, imports, an empty results store that every
run is written to, the ranking and the JSON are all inside the clock. The others are what a user would write, on
a few of the 80 networks and scaled up: a loop over `nn.Sequential` with torch.optim.SGD and torch's default
number of threads, and Keras' `fit` on its torch backend. To the loop comes, once, what a process takes to start,
to import torch and to load and split the digits, as ours does; Keras starts outside the clock. Keras does not
evaluate on the way; the loop is timed without evaluation, and with that which gives the curves and the scores that
ours gives: the same work.

Also printed: how long the finished comparison takes to open from the store in a process that runs already
(goal 300 ms), how long to its first curve (goal 1 s), and the largest resident memory of the process (goal
1 GB) beside that of one with a tenth of the runs.

Exit code 1 where the sides did not do the same work: in double precision, from our first weights and on our
batches, the loop's final losses must be ours to 1e-9.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from sequential import sequential

from winit.budget import terminal_command
from winit.comparison import members
from winit.datasets import load
from winit.lenses import CompareKnobs
from winit.network import initialize
from winit.seeds import generator
from winit.spec import Spec
from winit.store import Store
from winit.sweep import Sweep
from winit.training import Training, recorded_steps

ROOT = Path(__file__).parent.parent
SPEC = Spec(depth=10, width=64, steps=500)
KNOBS = CompareKnobs(
    initializers=(
        *("glorot_normal", "glorot_uniform", "he_uniform", "lecun_normal", "orthogonal"),
        *("random_normal(stddev=0.01)", "random_normal(stddev=0.05)"),
    ),
    seeds=10,
)
MEMBERS = members(SPEC, KNOBS)
DATA = load(SPEC.dataset)
LOOPED = (0, 20, 50)  # of the members: he_normal, glorot_uniform, orthogonal; all of them finite
FITTED = (0,)
GOALS = {"loop": 8.0, "loop, same curves": 8.0, "keras": 20.0}


def ours(folder: Path, knobs: CompareKnobs) -> tuple[float, float]:
    """Return seconds and largest resident megabytes of the terminal's command with a new store."""
    store = folder / f"{time.monotonic_ns()}.sqlite"
    command = [sys.executable, *shlex.split(terminal_command(SPEC, knobs))[1:]]
    begin = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "WINIT_STORE": str(store)}, capture_output=True, check=True
    )
    seconds = time.perf_counter() - begin
    assert len(json.loads(done.stdout)["members"]) == len(members(SPEC, knobs))
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


class Loop:
    """One network, trained as in any tutorial, from our first weights on our batches."""

    def __init__(self, number: int, dtype: torch.dtype) -> None:
        member = MEMBERS[number]
        ensemble = initialize(SPEC, [member], dtype)
        self.net, self.criterion = sequential(ensemble, 0, SPEC.activation), nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=member.learning_rate)
        self.x, self.y = torch.tensor(DATA.train_x, dtype=dtype), torch.tensor(DATA.train_y)
        self.test_x, self.test_y = torch.tensor(DATA.test_x, dtype=dtype), torch.tensor(DATA.test_y)
        self.final = float("nan")
        """Loss on the whole training part after training."""
        self.seed = member.seed

    def train(self) -> tuple[float, float]:
        """Return the seconds of the whole training, shuffling and gathering included, and those of evaluation."""
        few, recorded, evaluation = DATA.evaluation_samples, set(recorded_steps(SPEC.steps)), 0.0
        begin = time.perf_counter()
        order = torch.empty(0, dtype=torch.int64)
        epoch = 0
        for step in range(SPEC.steps + 1):
            if step in recorded:
                evaluation -= time.perf_counter()
                self.evaluate(self.x[:few], self.y[:few])
                self.evaluate(self.test_x, self.test_y)
                evaluation += time.perf_counter()
            if step == SPEC.steps:
                break
            while len(order) < SPEC.batch_size:
                shuffled = torch.randperm(len(self.x), generator=generator(self.seed, "batches", epoch))
                order, epoch = torch.cat([order, shuffled]), epoch + 1
            batch, order = order[: SPEC.batch_size], order[SPEC.batch_size :]
            self.optimizer.zero_grad()
            loss = self.criterion(self.net(self.x[batch]), self.y[batch])
            loss.backward()
            self.optimizer.step()
        training = time.perf_counter() - begin - evaluation
        begin = time.perf_counter()
        self.final = self.evaluate(self.x, self.y)[0]
        return training, evaluation + time.perf_counter() - begin

    @torch.inference_mode()
    def evaluate(self, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        """Return loss and accuracy."""
        outputs = self.net(x)
        return float(self.criterion(outputs, y)), float((outputs.argmax(dim=1) == y).float().mean())


def default_threads() -> int:
    """Return how many threads torch takes by itself; winit has told it to take one in this process."""
    code = "import torch; print(torch.get_num_threads())"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


_START = """
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
x, y = load_digits(return_X_y=True)
parts = [torch.tensor(part) for part in train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)]
"""


def start() -> float:
    """Return the seconds of a process that imports torch and loads and splits the digits, as in any tutorial."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", _START], check=True)
    return time.perf_counter() - begin


def loop() -> tuple[float, float]:
    """Return the seconds that the loop takes for all members, from those of a few: without and with evaluation."""
    training, evaluation = np.array([Loop(number, torch.float32).train() for number in LOOPED]).sum(axis=0)
    scale = len(MEMBERS) / len(LOOPED)
    return training * scale, (training + evaluation) * scale


def agree() -> float:
    """Return the largest relative difference of final losses in double precision."""
    training = Training(SPEC, [MEMBERS[number] for number in LOOPED], every=SPEC.steps, dtype=torch.float64)
    for _ in training:
        pass
    worst = 0.0
    for number, final in zip(LOOPED, training.history().final_loss, strict=True):
        other = Loop(number, torch.float64)
        other.train()
        worst = max(worst, abs(other.final - final) / abs(final))
    return worst


def fit() -> float:
    """Return the seconds that Keras' fit takes for all members, from those of a few, after one step to warm up."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    x, y = DATA.train_x, DATA.train_y
    seconds, epochs = 0.0, SPEC.steps * SPEC.batch_size // len(x) + 1
    for number in FITTED:
        keras.utils.set_random_seed(MEMBERS[number].seed)
        layers = [keras.layers.Dense(64, activation="relu", kernel_initializer="he_normal") for _ in range(SPEC.depth)]
        model = keras.Sequential([keras.Input((x.shape[1],)), *layers, keras.layers.Dense(10)])
        model.compile(
            keras.optimizers.SGD(SPEC.learning_rate),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.fit(x[:64], y[:64], batch_size=SPEC.batch_size, epochs=1, verbose=0)
        begin = time.perf_counter()
        model.fit(x, y, batch_size=SPEC.batch_size, epochs=epochs, verbose=0)
        # Whole epochs: a few steps more than 500, of which the last of each is smaller.
        steps = epochs * -(-len(x) // SPEC.batch_size)
        seconds += (time.perf_counter() - begin) * SPEC.steps / steps
    return seconds * len(MEMBERS) / len(FITTED)


def reopened(folder: Path) -> tuple[float, float]:
    """Return seconds from the press of run to a first recorded step, and to a finished sweep from its store."""
    store = Store(folder / "again.sqlite")
    begin = time.perf_counter()
    sweep = Sweep(SPEC, KNOBS, store=store)
    sweep.advance(0.0)
    sweep.curves()
    first = time.perf_counter() - begin
    for _ in sweep:
        pass
    store.close()
    best = float("inf")
    for _ in range(5):
        store = Store(folder / "again.sqlite")
        begin = time.perf_counter()
        found = Sweep(SPEC, KNOBS, store=store)
        assert found.is_finished
        found.conclude()
        best = min(best, time.perf_counter() - begin)
        store.close()
    return first, best


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repeats of each side (default 3)")
    parser.add_argument("--without-keras", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(default_threads())  # for the loop and Keras; ours is another process
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, {torch.get_num_threads()} threads of torch")
    print(f"{len(MEMBERS)} networks: {SPEC.sentence}, batch {SPEC.batch_size}, {SPEC.steps} steps of {SPEC.optimizer}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The peak is kept over all children: the small one first.
        small, large = (ours(folder, KNOBS.replace(seeds=seeds))[1] for seeds in (1, KNOBS.seeds))
        print(f"largest resident memory: {large:,.0f} MB (goal 1,000); with a tenth of the runs {small:,.0f} MB")
        best = dict.fromkeys(("ours", *GOALS), float("inf"))
        for _ in range(max(1, arguments.repeats)):
            best["ours"] = min(best["ours"], ours(folder, KNOBS)[0])
            begin = start()
            for side, seconds in zip(("loop", "loop, same curves"), loop(), strict=True):
                best[side] = min(best[side], begin + seconds)
            if not arguments.without_keras:
                best["keras"] = min(best["keras"], fit())
        print(f"ours, terminal and store included: {best['ours']:.1f} s")
        for side, goal in GOALS.items():
            if best[side] < float("inf"):
                ratio = best[side] / best["ours"]
                says = "at or above" if ratio >= goal else "BELOW"
                print(f"{side}: {best[side]:.1f} s, ratio {ratio:.1f}, {says} the goal of {goal:g}")
        torch.set_num_threads(1)
        first, again = reopened(folder)
        print(
            f"first recorded step after {first:.2f} s (goal 1), finished comparison from the store {again:.3f} s (0.3)"
        )
    difference = agree()
    print(f"final losses differ from the loop's by at most {difference:.1e} in double precision")
    if difference > 1e-9:
        print("\nthe two sides did not do the same work", file=sys.stderr)
    return 0 if difference <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
