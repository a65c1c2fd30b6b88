"""Theory, by activation: the averages at one place of the diagram, ours against quadrature as one would write it.

    python benchmarks/theory.py [--repeats 5] [ACTIVATION ...]

Ours is what the Signal page asks for when a knob moves, with nothing kept from before: a prediction for 50 layers of
128 units (the slowest of several initializers, biases, branches and normalizations), `mean_field` (the slowest of four
places), the edge of chaos, the phase diagram. The baseline takes E phi(u) phi(v) and E phi'(u) phi'(v), what one step
towards c* needs, by nested quadrature that searches for its nodes (`covariance`), at the fixed point; ours takes the
same. Minima of the repeats, in processor time of one thread, so that other processes count little. Exit code 1 where
both differ by more than 1e-10.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from winit import theory
from winit.activations import ACTIVATIONS, Activation, activation
from winit.fields import Refused
from winit.signal import prediction
from winit.spec import Spec
from winit.theory.gaussian import covariances

_PLACES = [(2**0.5, 0.0), (1.5, 0.2), (3.0, 0.1), (3.0, 0.0)]
_SIGMA_W, _SIGMA_B = np.linspace(0, 3, 61), np.linspace(0, 1.5, 61)
_INITIALIZERS = ["he_normal", "glorot_normal", "random_normal(stddev=1)", "orthogonal"]
_COLUMNS = ["predict", "mean field", "edge", "diagram", "pair", "searched", "off by"]


def _specs(text: str) -> list[Spec]:
    """Return the networks for which theory is asked."""
    plain = [Spec(dataset="gaussian", width=128, depth=50, activation=text, initializer=each) for each in _INITIALIZERS]
    changes = [{"residual": "plain"}, {"residual": "plain", "normalization": "layer"}, {"normalization": "batch"}]
    return plain + [plain[0].replace(**change) for change in [*changes, {"bias": "normal(stddev=0.3)"}]]


def _forget() -> None:
    """Empty what theory keeps between calls."""
    for name, module in sys.modules.items():
        if name.startswith("winit.theory."):
            for kept in vars(module).values():
                if hasattr(kept, "cache_clear"):
                    kept.cache_clear()


def _least(call: Callable[[], object], repeats: int) -> float:
    """Return the milliseconds of a call that finds nothing kept."""
    times = []
    for _ in range(repeats):
        _forget()
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def _edge(phi: Activation) -> float:
    try:
        return theory.edge_of_chaos(phi, 0.2)
    except Refused:
        return math.nan


def _compare(phi: Activation, repeats: int) -> tuple[float, float, float]:
    """Return the milliseconds of a pair of covariances, of the same by search, and how far they differ."""
    q = theory.mean_field(phi, 1.0, 0.3).q_star
    q, c = (q if math.isfinite(q) else 1.0), 0.83
    searches = (theory.covariance, theory.covariance_of_slopes)
    wholes = (theory.second_moment(phi, q), theory.second_moment_of_slope(phi, q))
    found, expected = covariances(phi, q, c), tuple(search(phi, q, c) for search in searches)
    apart = max(abs(a - b) / whole for a, b, whole in zip(found, expected, wholes, strict=True))
    ours = _least(lambda: covariances(phi, q, c), repeats)
    return ours, _least(lambda: [search(phi, q, c) for search in searches], min(repeats, 2)), apart


def main() -> int:
    """Print the table; return 1 where a rule and a search disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("activations", nargs="*", default=list(ACTIVATIONS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    inputs = theory.Inputs.of(np.random.default_rng(0).normal(size=(64, 128)))
    print(f"{'ms':14}" + "".join(f"{name:>11}" for name in _COLUMNS))
    is_right = True
    for text in options.activations:
        phi, repeats = activation(text), options.repeats
        row = [
            max(_least(lambda spec=spec: prediction(spec, inputs), repeats) for spec in _specs(text)),
            max(_least(lambda place=place, phi=phi: theory.mean_field(phi, *place), repeats) for place in _PLACES),
            _least(lambda phi=phi: _edge(phi), repeats),
            _least(lambda phi=phi: theory.phase_diagram(phi, _SIGMA_W, _SIGMA_B), repeats),
        ]
        *times, apart = _compare(phi, repeats)
        is_right &= apart <= 1e-10
        print(f"{text:14.14}" + "".join(f"{each:11.2f}" for each in [*row, *times]) + f"{apart:11.0e}", flush=True)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
