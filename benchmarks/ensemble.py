"""An ensemble trained by winit against one network after the other, as anybody would write it.

    python benchmarks/ensemble.py [--repeats 3]

Forty members, four hidden layers of 32 ReLU units, batches of 64 digits, 200 steps of SGD. Both sides
start from the same weights, draw and gather the same batches, and evaluate nothing. Repeats are
interleaved and the fastest of each side counts. Exits with 1 where the batch losses of the two differ.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from winit.datasets import load
from winit.network import Member, initialize
from winit.seeds import generator
from winit.spec import Spec
from winit.training import Training

SPEC = Spec(depth=4, width=32, activation="relu", initializer="he_normal", batch_size=64, steps=200)
MEMBERS = tuple(Member(SPEC.initializer, seed, SPEC.learning_rate) for seed in range(40))
TOLERANCE = 1e-3
"""Largest allowed difference of two batch losses, relative to the loss at the start: single precision, 200 steps on."""

Losses = NDArray[np.float64]


def ours() -> tuple[float, Losses]:
    """Return seconds, and the batch losses (members, steps), of the ensemble."""
    training = Training(SPEC, MEMBERS)
    losses: list[Tensor] = []
    start = time.perf_counter()
    for _ in range(SPEC.steps):
        training._update()  # what iterating calls between two evaluations
        losses.append(training.batch_losses)
    seconds = time.perf_counter() - start
    return seconds, torch.stack(losses, dim=1).double().numpy()


def _networks() -> list[nn.Sequential]:
    ensemble = initialize(SPEC, MEMBERS)
    networks = []
    for member in range(len(MEMBERS)):
        layers: list[nn.Module] = []
        for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
            linear = nn.Linear(weight.shape[2], weight.shape[1])
            with torch.no_grad():
                linear.weight.copy_(weight[member])
                linear.bias.copy_(bias[member, :, 0])
            layers += [linear, nn.ReLU()]
        networks.append(nn.Sequential(*layers[:-1]))
    return networks


def _batches(samples: int, seed: int) -> list[Tensor]:
    epochs = -(-SPEC.steps * SPEC.batch_size // samples)
    orders = [torch.randperm(samples, generator=generator(seed, "batches", epoch)) for epoch in range(epochs)]
    return list(torch.cat(orders)[: SPEC.steps * SPEC.batch_size].view(SPEC.steps, SPEC.batch_size))


def loop() -> tuple[float, Losses]:
    """Return seconds, and the batch losses (members, steps), of one network after the other."""
    data = load(SPEC.dataset)
    x, y = torch.tensor(data.train_x), torch.tensor(data.train_y)
    networks, criterion = _networks(), nn.CrossEntropyLoss()
    losses: list[Tensor] = []
    start = time.perf_counter()
    torch.set_flush_denormal(True)  # as on the other side
    for network, member in zip(networks, MEMBERS, strict=True):
        optimizer = torch.optim.SGD(network.parameters(), lr=member.learning_rate)
        for index in _batches(len(x), member.seed):
            optimizer.zero_grad()
            loss = criterion(network(x[index]), y[index])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    seconds = time.perf_counter() - start
    return seconds, torch.stack(losses).view(len(MEMBERS), SPEC.steps).double().numpy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repeats; the fastest counts (default 3)")
    repeats = max(1, parser.parse_args().repeats)
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {"ours": [], "loop": []}
    worst = 0.0
    for _ in range(repeats):
        taken, found = ours()
        seconds["ours"].append(taken)
        taken, expected = loop()
        seconds["loop"].append(taken)
        # NaN must count as a difference: `max` alone would drop it.
        difference = float(np.abs(found - expected).max() / expected[:, 0].mean())
        worst = max(worst, difference) if np.isfinite(difference) else np.inf
    member_steps = len(MEMBERS) * SPEC.steps
    fastest = {side: min(values) / member_steps * 1e6 for side, values in seconds.items()}
    for side, values in seconds.items():
        spread = ", ".join(f"{value / member_steps * 1e6:.2f}" for value in values)
        print(f"{side}: {fastest[side]:.2f} us per member-step (of {spread})")
    print(f"ratio: {fastest['loop'] / fastest['ours']:.1f}")
    print(f"largest difference of two batch losses: {worst:.1e} of the first loss (allowed {TOLERANCE:.0e})")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
