"""The engine at many shapes: against a loop of single networks, and against what the cores can multiply.

    python benchmarks/engine.py [--repeats 3] [--case 10x64]

For each case: microseconds per member and step of a loop over `nn.Sequential` with torch.optim (on a few
of the members: it takes each alone), of ours on one core, on all by threads (as in the app) and by processes
(as the terminal's sweeps), the ratios, and the share of
`sgemm` (1024 cubed, one thread, same run) that ours reaches on one core. Interleaved, minima of the
repeats. Both sides shuffle, gather, step and look at each loss; neither evaluates. Exit code 1 where the
losses of both differ by more than 1e-9 in double precision.

Also printed: what a busy process beside it costs, with all workers; samples per second of TensorFlow Playground's
default network; what layer statistics cost at the app's recording schedule; and the resident memory of the largest
run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from sequential import sequential

from winit.datasets import load
from winit.network import Member, initialize
from winit.spec import Spec
from winit.training import Training

_LOOPED = 3  # members of the loop; its cost per member does not depend on their number


@dataclass(frozen=True)
class Case:
    """A shape, how many networks of it, and the ratios that are asked for (one core, all cores)."""

    name: str
    spec: Spec
    members: int
    goal: tuple[float, float | None]


CASES = (
    Case("10x64 sgd", Spec(depth=10, width=64, steps=40), 80, (4.5, 8.0)),
    Case("10x64 adam", Spec(depth=10, width=64, steps=30, optimizer="adam", learning_rate=0.001), 80, (7.0, 12.0)),
    Case("4x32 sgd", Spec(depth=4, width=32, steps=150), 40, (12.0, None)),
    Case("50x32 sgd", Spec(depth=50, width=32, steps=15), 80, (7.0, None)),
    Case("6x256 sgd", Spec(depth=6, width=256, steps=10), 40, (1.7, None)),
)


def sgemm() -> float:
    """Return the Gflop/s of a product of 1024 x 1024 matrices on one thread."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    out = torch.empty(1024, 1024)
    best = float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - begin)
    return 2 * 1024**3 / best / 1e9


def _members(case: Case, count: int) -> list[Member]:
    return [Member("he_normal", seed, case.spec.learning_rate) for seed in range(count)]


def ours(case: Case, workers: int, dtype: torch.dtype = torch.float32) -> tuple[float, torch.Tensor]:
    """Return seconds per member and step, and the last batch's losses."""
    run = Training(case.spec, _members(case, case.members), workers=workers, dtype=dtype)
    for group in run.groups:
        group.run(1)  # buffers are allocated on the first step
    begin = time.perf_counter()
    run.of_each(lambda group: group.run(case.spec.steps))
    return (time.perf_counter() - begin) / (case.members * (case.spec.steps - 1)), run.batch_losses


def by_processes(case: Case, count: int) -> float:
    """Return seconds per member and step where as many processes train their share of the members each.

    As a sweep from the terminal does. The slowest counts; all begin at once.
    """
    context = multiprocessing.get_context("fork")
    start, found = context.Barrier(count), context.SimpleQueue()

    def train() -> None:
        share = replace(case, members=case.members // count)
        start.wait()
        found.put(ours(share, 1)[0] / count)

    processes = [context.Process(target=train) for _ in range(count)]
    for process in processes:
        process.start()
    slowest = max(found.get() for _ in processes)
    for process in processes:
        process.join()
    return slowest


def loop(case: Case, dtype: torch.dtype = torch.float32) -> tuple[float, torch.Tensor]:
    """Return the same for a loop over single networks, on the first few members."""
    spec, data = case.spec, load(case.spec.dataset)
    members = _members(case, min(_LOOPED, case.members))
    ensemble = initialize(spec, members, dtype)
    batches = Training(spec, members, dtype=dtype).groups[0].batches
    # Copies: the batches of a chunk share one buffer.
    drawn = [(inputs.clone(), targets) for inputs, targets in (next(batches) for _ in range(spec.steps))]
    x, y = torch.tensor(data.train_x, dtype=dtype), torch.tensor(data.train_y)
    seconds, losses = 0.0, []
    for number, member in enumerate(members):
        net, criterion = sequential(ensemble, number, spec.activation), nn.CrossEntropyLoss()
        make = torch.optim.Adam if spec.optimizer == "adam" else torch.optim.SGD
        optimizer = make(net.parameters(), lr=member.learning_rate)
        # Its own gathering is timed; which samples they are was drawn before.
        given = [(inputs[number].T[: spec.batch_size], targets[number, 0]) for inputs, targets in drawn]
        index = torch.randint(len(x), (spec.steps, spec.batch_size))
        begin = time.perf_counter()
        for step, (inputs, targets) in enumerate(given):
            if step == 1:
                begin = time.perf_counter()
            _ = x[index[step]], y[index[step]]
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            optimizer.step()
        seconds += time.perf_counter() - begin
        losses.append(loss.detach())
    return seconds / (len(members) * (spec.steps - 1)), torch.stack(losses)


def multiply_adds(spec: Spec) -> float:
    """Return the multiply-adds of a member's step: forward, and two products backward but for the first layer."""
    sides = [shape.fan_in * shape.fan_out for shape in spec.layer_shapes()]
    return spec.batch_size * (3.0 * sum(sides) - sides[0])


def beside_a_busy_process(repeats: int) -> float:
    """Return the time of 80 networks of 10 x 64 beside one process that keeps a core busy, over that without it."""
    cores = os.cpu_count() or 1
    alone, beside = float("inf"), float("inf")
    for _ in range(repeats):
        alone = min(alone, ours(CASES[0], cores)[0])
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
            try:
                time.sleep(0.3)
                beside = min(beside, ours(CASES[0], cores)[0])
            finally:
                busy.kill()
    return beside / alone


def playground(members: int) -> float:
    """Return samples per second of TensorFlow Playground's default network: 2-4-2-1, tanh, batches of 10.

    Of the best of twenty pieces of a run.
    """
    spec = Spec(width=(4, 2), activation="tanh", dataset="xor", batch_size=10, steps=20_000)
    run = Training(spec, [Member("glorot_uniform", seed, 0.03) for seed in range(members)], workers=1)
    best, steps = float("inf"), 1000 if members == 1 else 200
    for until in range(steps, 21 * steps, steps):
        begin = time.perf_counter()
        run.groups[0].run(until)
        best = min(best, time.perf_counter() - begin)
    return members * spec.batch_size * steps / best


def statistics_ratio() -> float:
    """Return the time of a run of 8 x 10 x 64 with layer statistics over one without, as the app records it."""
    spec = Spec(depth=10, width=64, steps=300)
    members = [Member("he_normal", seed, 0.05) for seed in range(8)]
    best = {False: float("inf"), True: float("inf")}
    for _ in range(4):
        for collected in best:
            run = Training(spec, members, layer_statistics=collected)
            begin = time.perf_counter()
            for _ in run:
                pass
            best[collected] = min(best[collected], time.perf_counter() - begin)
    return best[True] / best[False]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", default="", help="only cases whose name begins so")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cores = os.cpu_count() or 1
    print(f"torch {torch.__version__}, {cores} cores, {arguments.repeats} repeats, times in us per member and step\n")
    heads = ("case", "loop", "1 worker", "ratio", "goal", "sgemm", f"{cores} threads", "ratio")
    heads += (f"{cores} processes", "ratio", "goal")
    print("{:12}{:>9}{:>10}{:>7}{:>6}{:>7}{:>11}{:>7}{:>13}{:>7}{:>6}".format(*heads))
    is_same = True
    for case in CASES:
        if not case.name.startswith(arguments.case):
            continue
        mine, theirs = ours(case, 1, torch.float64)[1], loop(case, torch.float64)[1]
        is_same &= bool(((mine[: len(theirs)] - theirs).abs() <= 1e-9 * theirs.abs()).all())
        best = {"loop": float("inf"), "one": float("inf"), "all": float("inf"), "processes": float("inf")}
        speed = 0.0
        for _ in range(arguments.repeats):
            speed = max(speed, sgemm())
            best["loop"] = min(best["loop"], loop(case)[0])
            best["one"] = min(best["one"], ours(case, 1)[0])
            best["processes"] = min(best["processes"], by_processes(case, cores))
            best["all"] = min(best["all"], ours(case, cores)[0])
        share = 2 * multiply_adds(case.spec) / best["one"] / 1e9 / speed
        us = {name: 1e6 * seconds for name, seconds in best.items()}
        goal = "" if case.goal[1] is None else f"{case.goal[1]:g}"
        ratios = [us["loop"] / us[name] for name in ("one", "all", "processes")]
        one = f"{case.name:12}{us['loop']:9.1f}{us['one']:10.1f}{ratios[0]:7.1f}{case.goal[0]:6g}{share:7.0%}"
        print(f"{one}{us['all']:11.1f}{ratios[1]:7.1f}{us['processes']:13.1f}{ratios[2]:7.1f}{goal:>6}")
    print(f"\nbeside a process that keeps one core busy: {beside_a_busy_process(arguments.repeats):.2f} times as long")
    print(
        f"TensorFlow Playground's default network: {playground(1):,.0f} samples/s alone, {playground(40):,.0f} for 40"
    )
    print(f"layer statistics at the app's schedule: {statistics_ratio():.2f} times a run without")
    print(
        f"largest resident memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB"
    )
    if not is_same:
        print("\nthe two sides did not do the same work", file=sys.stderr)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
