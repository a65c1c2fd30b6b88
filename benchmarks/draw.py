"""Drawing a layer: ours against PyTorch's own initializer of the same law, on the same generator.

    python benchmarks/draw.py [--side 1000] [--rounds 15]

Interleaved, minima of the rounds, one thread. Prints the time of both and their ratio; at most 1.3 is asked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from winit.initializers import LayerShape, scheme
from winit.laws import TRUNCATED_STDDEV


def _truncated(scale: float) -> Callable[[Tensor, Generator], object]:
    def draw(w: Tensor, g: Generator) -> object:
        std = (scale / w.shape[1]) ** 0.5 / TRUNCATED_STDDEV
        return nn.init.trunc_normal_(w, std=std, a=-2 * std, b=2 * std, generator=g)

    return draw


THEIRS: Mapping[str, Callable[[Tensor, Generator], object]] = {
    "random_normal": lambda w, g: nn.init.normal_(w, std=0.05, generator=g),
    "random_uniform": lambda w, g: nn.init.uniform_(w, -0.05, 0.05, generator=g),
    "trunc_normal": lambda w, g: nn.init.trunc_normal_(w, generator=g),
    "trunc_normal(std=0.02)": lambda w, g: nn.init.trunc_normal_(w, std=0.02, generator=g),
    "xavier_normal": lambda w, g: nn.init.xavier_normal_(w, generator=g),
    "glorot_uniform": lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    "glorot_normal": _truncated(1.0),
    "he_normal": _truncated(2.0),
    "he_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=g),
    "kaiming_normal": lambda w, g: nn.init.kaiming_normal_(w, generator=g),
    "lecun_normal": _truncated(1.0),
    "lecun_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="linear", generator=g),
    "torch_default": lambda w, g: nn.init.kaiming_uniform_(w, a=5**0.5, generator=g),
    "orthogonal": lambda w, g: nn.init.orthogonal_(w, generator=g),
    "identity": lambda w, g: nn.init.eye_(w),
}


def main() -> None:
    """Measure all and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=1000, help="fan_in and fan_out of the layer")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shape = LayerShape(arguments.side, arguments.side, 2, 3)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    print(f"{'initializer':24}{'ours ms':>10}{'torch ms':>10}{'ratio':>8}")
    for name, theirs in THEIRS.items():
        bound = scheme(name)
        ours_best = theirs_best = float("inf")
        for _ in range(arguments.rounds):
            start = time.perf_counter()
            bound.weights(shape, generator)
            ours_best = min(ours_best, time.perf_counter() - start)
            start = time.perf_counter()
            # Allocated in the timing on both sides: a layer is drawn where none was.
            theirs(torch.empty(shape.fan_out, shape.fan_in), generator)
            theirs_best = min(theirs_best, time.perf_counter() - start)
        worst = max(worst, ours_best / theirs_best)
        print(f"{name:24}{1e3 * ours_best:10.2f}{1e3 * theirs_best:10.2f}{ours_best / theirs_best:8.2f}")
    print(f"largest ratio {worst:.2f}")


if __name__ == "__main__":
    main()
