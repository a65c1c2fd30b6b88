"""Measuring the signal at initialization: ours against a plain `nn.Sequential` with hooks, on the same work.

    python benchmarks/signal_by_layer.py [--repeats 5] [--case 128]

Both draw weights, pass a batch forward and back in double precision, and take the same numbers of each layer: second
moments of pre-activations, activations and gradients (of weights too), means, variances over units and samples,
correlation, dead and saturated shares, and the quantiles of the pre-activations. Ours also counts distinct units and
makes histograms. Interleaved, minima of the repeats; also the share of drawing in ours, and theory for every
activation. Exit code 1 where second moments of the same weights differ by more than 1e-9.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from winit import datasets
from winit.activations import ACTIVATIONS, activation
from winit.network import Member, first_layers, initialize, seeds_of
from winit.queueing import spread
from winit.seeds import generator
from winit.signal import QUANTILES, Signal, measure, place, predict
from winit.spec import Spec
from winit.theory import mean_field

_SEEDS = 5
_MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass
class Plain:
    """A network as one would write it, with hooks that take the numbers of each layer."""

    net: nn.Sequential
    rows: list[list[float]]
    gradients: list[float]
    kept: list[Tensor]

    @classmethod
    def of(cls, spec: Spec) -> Plain:
        sizes = [spec.inputs, *spec.widths, spec.outputs]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            linear = nn.Linear(fan_in, fan_out, dtype=torch.float64)
            deviation = math.sqrt(2 / fan_in) / 0.8796256610342398
            nn.init.trunc_normal_(linear.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            nn.init.zeros_(linear.bias)
            layers += [linear, _MODULES[spec.activation]()]
        made = cls(nn.Sequential(*layers[:-1]), [], [], [])
        for module in made.net:
            if not isinstance(module, nn.Linear):
                module.register_forward_hook(made._look)
        return made

    def _look(self, module: nn.Module, inputs: tuple[Tensor, ...], a: Tensor) -> None:
        (z,) = inputs
        z.register_hook(lambda gradient: self.gradients.append(float(gradient.square().mean().log10())))
        with torch.no_grad():
            slope = (a > 0).double() if isinstance(module, nn.ReLU) else 1 - a * a
            unit = z / z.norm(dim=1, keepdim=True)
            count = len(z)
            self.rows.append(
                [
                    float(z.square().mean().log10()),
                    float(a.square().mean().log10()),
                    float(z.mean()),
                    float(a.mean()),
                    float(a.var(dim=1, correction=0).mean()),
                    float(a.var(dim=0, correction=0).mean()),
                    float((unit.sum(dim=0).square().sum() - count) / (count * (count - 1))),
                    float((slope == 0).all(dim=0).double().mean()),
                    float((slope.abs() < 0.05).double().mean()),
                ]
            )
            self.kept.append(z.flatten().clone())

    def run(self, x: Tensor, cotangent: Tensor) -> list[float]:
        """Pass forward and back; return log10 of the second moments of the gradients by the weights."""
        self.net(x).backward(cotangent)
        linears = [module for module in self.net if isinstance(module, nn.Linear)]
        return [float((linear.weight.grad / len(x)).square().mean().log10()) for linear in linears]


def plain(spec: Spec) -> None:
    """Measure `_SEEDS` networks in a loop, as one would write it."""
    x = torch.tensor(datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed), dtype=torch.float64)
    kept: list[list[Tensor]] = []
    for _ in range(_SEEDS):
        made = Plain.of(spec)
        made.run(x, torch.randn(len(x), spec.outputs, dtype=torch.float64))
        kept.append(made.kept)
    for layer in zip(*kept, strict=True):
        np.quantile(torch.cat(layer).numpy(), QUANTILES)


def ours(spec: Spec) -> Signal:
    """Measure as many by ours."""
    return measure(spec, _SEEDS)


def drawing(spec: Spec) -> None:
    """Draw the weights of ours, on all cores."""
    spread(lambda seed: first_layers(spec, spec.initializer, seed), list(seeds_of(spec, _SEEDS)))


def is_same(spec: Spec) -> bool:
    """Return whether both take the same numbers from the same weights."""
    found = measure(spec, 1)
    made = Plain.of(spec)
    ensemble = initialize(spec, [Member(spec.initializer, spec.seed, 0.0)], torch.float64)
    linears = [module for module in made.net if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for linear, weight in zip(linears, ensemble.weights, strict=True):
            linear.weight.copy_(weight[0])
    x = torch.tensor(datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed), dtype=torch.float64)
    cotangent = torch.empty(1, spec.outputs, len(x), dtype=torch.float64)
    cotangent.normal_(generator=generator(spec.seed, "cotangent"))
    of_weights = made.run(x, cotangent[0].T)
    theirs = np.array(made.rows).T
    names = ("forward_log10", "activation_log10", "pre_activation_mean", "activation_mean", "variance_over_units")
    names += ("variance_over_samples", "correlation", "dead_fraction", "saturated_fraction")
    pairs = [(getattr(found, name)[0], row) for name, row in zip(names, theirs, strict=True)]
    pairs += [(found.backward_log10[0], np.array(made.gradients[::-1]))]
    pairs += [(found.weight_gradient_log10[0], np.array(of_weights[:-1]))]
    return all(np.allclose(mine, theirs, rtol=1e-9, atol=1e-9) for mine, theirs in pairs)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--case", default="", help="only this width")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cores = os.cpu_count() or 1
    print(f"torch {torch.__version__}, {cores} cores, {_SEEDS} seeds, depth 50, batch 64; milliseconds")
    print(f"\n{'width':>6}{'activation':>12}{'plain':>8}{'ours':>8}{'ratio':>7}{'drawing':>9}")
    agree = True
    for width, name in ((128, "relu"), (128, "tanh"), (256, "relu")):
        if arguments.case not in ("", str(width)):
            continue
        spec = Spec(depth=50, width=width, batch_size=64, dataset="gaussian", activation=name)
        agree &= is_same(spec)
        best = dict.fromkeys((plain, ours, drawing), math.inf)
        for _ in range(arguments.repeats):
            for work in best:
                best[work] = min(best[work], seconds(lambda work=work, spec=spec: work(spec)))
        ms = {work: 1e3 * took for work, took in best.items()}
        ratio = best[plain] / best[ours]
        print(f"{width:6}{name:>12}{ms[plain]:8.0f}{ms[ours]:8.0f}{ratio:7.1f}{ms[drawing]:9.0f}")

    print(f"\n{'theory, depth 50':18}{'first':>8}{'again':>8}{'fixed point':>13}")
    for name in ACTIVATIONS:
        spec = Spec(depth=50, width=128, batch_size=64, dataset="gaussian", activation=name)
        found = measure(spec, 1)
        first, again = (seconds(lambda found=found: predict(found)) for _ in range(2))
        point = seconds(lambda spec=spec, name=name: mean_field(activation(name), place(spec)[0], 0.05))
        print(f"{name:18}{1e3 * first:8.0f}{1e3 * again:8.0f}{1e3 * point:13.0f}")
    if not agree:
        print("\nboth sides do not measure the same", file=sys.stderr)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
