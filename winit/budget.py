"""What a computation costs before it starts, and what this host allows.

The prices are estimates: multiply-adds are counted, seconds follow from them and from the number of
tensor operations, at the speed of one ordinary core.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from winit.fields import BadInput
from winit.lenses import CompareKnobs, together
from winit.optimizers import OPTIMIZERS
from winit.spec import Spec
from winit.training import recorded_steps

_MULTIPLY_ADDS_PER_SECOND = 2e10
_SECONDS_PER_LAYER_STEP = 3e-5
_EVALUATION_SAMPLES = 872


@dataclass(frozen=True)
class Price:
    """What a computation costs."""

    multiply_adds: float
    bytes: float
    seconds: float

    @property
    def sentence(self) -> str:
        """The price in words, without a full stop."""
        duration = f"{self.seconds:.0f} s" if self.seconds < 120 else f"{self.seconds / 60:.0f} min"
        return f"about {duration} and {max(1, round(self.bytes / 1e6)):,} MB"


@dataclass(frozen=True)
class Limit:
    """What a host allows for one computation."""

    seconds: float
    bytes: float

    @classmethod
    def of_host(cls) -> Limit:
        """Return this host's limit: WINIT_SECONDS (default 120) and WINIT_MEGABYTES (default 1000)."""
        return cls(_setting("WINIT_SECONDS", 120.0), _setting("WINIT_MEGABYTES", 1000.0) * 1e6)

    def require(self, price: Price, lower: str) -> None:
        """Raise `BadInput` naming the price where it is over the limit; `lower` says what would help."""
        if price.seconds > self.seconds or price.bytes > self.bytes:
            allowed = f"less than {self.seconds:.0f} s and {self.bytes / 1e6:,.0f} MB on this host: {lower}"
            raise BadInput("work", price.sentence, allowed)


def _setting(name: str, default: float) -> float:
    try:
        value = float(os.environ.get(name, default))
    except ValueError:
        value = -1.0
    if not value > 0:
        raise BadInput(name, os.environ[name], "a number above 0")
    return value


def training_price(spec: Spec, members: int, recorded: int | None = None) -> Price:
    """Return the price of training `members` networks, with `recorded` evaluations on the way."""
    weights, units = spec.weights, spec.units
    evaluations = len(recorded_steps(spec.steps)) if recorded is None else recorded
    passes = 3 * spec.batch_size * spec.steps + _EVALUATION_SAMPLES * evaluations
    copies = 2 + OPTIMIZERS[spec.optimizer].BUFFERS  # weights, gradients, and what the optimizer keeps
    multiply_adds = float(weights) * passes * members
    operations = (spec.depth + 1) * (8 * spec.steps + 3 * evaluations)
    return Price(
        multiply_adds,
        4.0 * members * (copies * weights + 3 * units * max(spec.batch_size, 256)),
        multiply_adds / _MULTIPLY_ADDS_PER_SECOND + operations * _SECONDS_PER_LAYER_STEP / 8,
    )


def comparison_price(spec: Spec, knobs: CompareKnobs) -> Price:
    """Return the price of a whole comparison."""
    initializers = len(together(spec.initializer, knobs.initializers))
    return training_price(spec, initializers * max(1, len(knobs.learning_rates)) * knobs.seeds)


def signal_price(spec: Spec, seeds: int, samples: int, *, backward: bool = True) -> Price:
    """Return the price of measuring the signal of `seeds` networks on `samples` inputs, in double precision."""
    weights, units = spec.weights, spec.units
    multiply_adds = float(weights) * seeds * samples * (3 if backward else 1)
    draws = 1e-8 * weights * seeds
    return Price(
        multiply_adds,
        12.0 * weights + 8.0 * (3 if backward else 2) * units * samples,
        2 * multiply_adds / _MULTIPLY_ADDS_PER_SECOND + draws + spec.depth * seeds * 2e-4,
    )
