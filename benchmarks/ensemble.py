"""The ensemble against a loop of single networks: the same work, one thread each, in one process.

    python benchmarks/ensemble.py --repeats 5

40 networks of 4 hidden layers of 32 ReLU units learn digits for 200 steps of SGD on batches of 64.
Ours is `winit.training.Training`, as the pages use it. The loop is what anybody would write: an
nn.Sequential, a CrossEntropyLoss and a torch.optim.SGD, one network after the other, from the same
weights and on the same batches. Inside the clock, on both sides: shuffling, gathering the batches,
the steps, and the evaluations at the recorded steps (512 training samples and the test part).
Outside it, on both sides: drawing the first weights and building the objects.

The repeats are interleaved and the minimum of each side counts. Two schedules are timed: evaluation
at the first and the last step only, and as densely as the app records a run. Exit code 1 where the
two sides did not do the same work: in double precision their losses must agree to 1e-9, in single
precision, where a ReLU's sign may flip in rounding, to 1e-2 and in the median to 1e-5.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from sequential import sequential

from winit.datasets import EVALUATION_LIMIT, Data, load
from winit.network import Member, initialize
from winit.seeds import generator
from winit.spec import Spec
from winit.training import Training, recorded_steps

MEMBERS = 40
SPEC = Spec(depth=4, width=32, activation="relu", dataset="digits", batch_size=64, optimizer="sgd", steps=200)
GOAL = 4.5

Losses = NDArray[np.float64]


def _members() -> list[Member]:
    return [Member("he_normal", seed, 0.05) for seed in range(MEMBERS)]


def ours(every: int | None, dtype: torch.dtype) -> tuple[float, Losses]:
    """Return the seconds of a run and its recorded losses, (members, recorded steps)."""
    training = Training(SPEC, _members(), every=every, dtype=dtype)
    begin = time.perf_counter()
    losses = [snapshot.loss for snapshot in training]
    return time.perf_counter() - begin, np.stack(losses, axis=1)


class Loop:
    """One network, trained as in any tutorial."""

    def __init__(self, member: Member, data: Data, dtype: torch.dtype) -> None:
        ensemble = initialize(SPEC, [member], dtype)
        self.net = sequential(ensemble, 0, SPEC.activation)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=member.learning_rate)
        self.seed = member.seed
        self.x, self.y = torch.tensor(data.train_x, dtype=dtype), torch.tensor(data.train_y)
        self.test_x, self.test_y = torch.tensor(data.test_x, dtype=dtype), torch.tensor(data.test_y)

    def batches(self) -> torch.Tensor:
        """Return the sample numbers of all steps, (steps, batch size), by the rule of `winit.training`."""
        epochs = math.ceil(SPEC.steps * SPEC.batch_size / len(self.x))
        orders = [
            torch.randperm(len(self.x), generator=generator(self.seed, "batches", epoch)) for epoch in range(epochs)
        ]
        return torch.cat(orders)[: SPEC.steps * SPEC.batch_size].view(SPEC.steps, SPEC.batch_size)

    @torch.inference_mode()
    def evaluate(self) -> tuple[float, float, float]:
        """Return loss and accuracy on the evaluation subset, and accuracy on the test part."""
        outputs, answers = self.net(self.x[:EVALUATION_LIMIT]), self.net(self.test_x)
        targets = self.y[:EVALUATION_LIMIT]
        hits, test_hits = outputs.argmax(dim=1) == targets, answers.argmax(dim=1) == self.test_y
        return float(self.criterion(outputs, targets)), float(hits.float().mean()), float(test_hits.float().mean())

    def train(self, recorded: frozenset[int]) -> list[float]:
        """Return the loss at each recorded step."""
        losses = [self.evaluate()[0]] if 0 in recorded else []
        for step, index in enumerate(self.batches(), start=1):
            self.optimizer.zero_grad()
            loss = self.criterion(self.net(self.x[index]), self.y[index])
            loss.backward()
            self.optimizer.step()
            if step in recorded:
                losses.append(self.evaluate()[0])
        return losses


def loop(every: int | None, dtype: torch.dtype) -> tuple[float, Losses]:
    """Return the seconds of the same run, one network after the other, and its recorded losses."""
    data = load(SPEC.dataset)
    loops = [Loop(member, data, dtype) for member in _members()]
    recorded = frozenset(recorded_steps(SPEC.steps, every))
    begin = time.perf_counter()
    losses = [one.train(recorded) for one in loops]
    return time.perf_counter() - begin, np.array(losses)


def difference(one: Losses, other: Losses) -> Losses:
    """Return the largest relative difference of each member's losses, (members,); NaN counts as infinite."""
    relative = np.abs(one - other) / np.abs(other)
    return np.where(np.isfinite(relative), relative, np.inf).max(axis=1)


def agree(every: int | None) -> bool:
    """Say whether both sides compute the same, in double and in single precision."""
    double = difference(ours(every, torch.float64)[1], loop(every, torch.float64)[1])
    single = difference(ours(every, torch.float32)[1], loop(every, torch.float32)[1])
    print(f"  losses differ by at most {double.max():.1e} in double precision,")
    print(f"  {single.max():.1e} in single, {np.median(single):.1e} in the median of the networks")
    return bool(double.max() <= 1e-9 and single.max() <= 1e-2 and np.median(single) <= 1e-5)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats of each side (default 5)")
    repeats = max(1, parser.parse_args().repeats)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(f"torch {torch.__version__}, {os.cpu_count()} cores, {torch.get_num_threads()} thread, {repeats} repeats")
    print(f"{MEMBERS} networks: {SPEC.sentence}, batch {SPEC.batch_size}, {SPEC.steps} steps of {SPEC.optimizer}")
    is_same = True
    for every, title in ((SPEC.steps, "evaluated at both ends"), (None, "evaluated as the app does")):
        print(f"\n{title}: {len(recorded_steps(SPEC.steps, every))} evaluations")
        is_same &= agree(every)
        seconds: dict[str, list[float]] = {"ours": [], "loop": []}
        for _ in range(repeats):
            seconds["ours"].append(ours(every, torch.float32)[0])
            seconds["loop"].append(loop(every, torch.float32)[0])
        best = {name: min(times) for name, times in seconds.items()}
        for name, times in seconds.items():
            each = 1e6 / (MEMBERS * SPEC.steps)
            print(f"  {name}  {best[name] * each:7.1f} us per member and step (slowest repeat {max(times) * each:.1f})")
        ratio = best["loop"] / best["ours"]
        print(f"  ratio {ratio:7.1f}, {'at or above' if ratio >= GOAL else 'BELOW'} the goal of {GOAL}")
    if not is_same:
        print("\nthe two sides did not do the same work", file=sys.stderr)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
