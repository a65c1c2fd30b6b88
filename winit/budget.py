"""What a computation costs before it starts, and what this host allows.

The prices are estimates: multiply-adds are counted, seconds follow from them and from the number of
tensor operations, at the speed that this host showed in a short product.
"""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial

import numpy as np

from winit import distributions, host, signal
from winit.fields import BadInput, Refused, fields_of
from winit.initializers import LayerShape, scheme
from winit.initializers.record import STAND_IN_SAMPLES
from winit.lenses import CompareKnobs, together
from winit.optimizers import OPTIMIZERS
from winit.queueing import WORKERS
from winit.spec import Spec
from winit.training import group_size, recorded_steps

_EVALUATION_SAMPLES = 872
_SHARE_OF_PRODUCTS = 0.9  # of the time that goes by in products and activations; the rest goes to updates and memory
_PER_ACTIVATION = 27  # multiply-adds that take as long as what one pass does to an activation, beside the products
_CALLS_PER_OPERATION = 4
_PER_VALUE = 2.5e-8  # seconds in which a weight, or an activation, is drawn or measured in all respects
_PER_SAMPLE = 5e-8  # seconds of a weight that is drawn, sorted and counted
_SINGULAR = 12  # multiply-adds of a matrix' singular values, over rows x columns x the smaller of both
_ORTHOGONAL = 4  # multiply-adds of the draw of an orthogonal matrix, likewise
_FITTING = 4  # passes of the data through a layer with which a data-dependent initializer fits it
_PER_LAYER_DRAWN, _PER_LAYER_MEASURED = 15, 40  # operations on a layer of one network, and of those measured together
_PER_LAYER_FITTED = 100  # instead of those of drawing, where the initializer looks at the data
_MEMORY_SHARE = 16  # of a host's memory, one part for a computation: 64 MB of 1 GB


@dataclass(frozen=True)
class Speed:
    """How fast one core of this host is."""

    multiply_adds: float
    """Per second, in products of matrices of 64 rows, which is what most networks here are made of."""
    call: float
    """Seconds of a product so small that only calling it takes time."""


@cache
def speed() -> Speed:
    """Return the speed of this host, measured once per process, in about 10 ms."""
    large, small = (np.ones((side, side), np.float32) for side in (64, 4))
    # The best of several: other processes can only make it slower.
    product, call = (_best(partial(np.matmul, one, one), 50, tries=8) for one in (large, small))
    return Speed(64**3 / product, call)


def _best(work: Callable[[], object], count: int, tries: int) -> float:
    """Return the seconds of one piece of work, the least of several tries of `count` pieces."""
    least = float("inf")
    for _ in range(tries):
        begun = time.perf_counter()
        for _ in range(count):
            work()
        least = min(least, time.perf_counter() - begun)
    return least / count


def _seconds(multiply_adds: float, operations: float) -> float:
    now = speed()
    return multiply_adds / (_SHARE_OF_PRODUCTS * now.multiply_adds) + operations * _CALLS_PER_OPERATION * now.call


@dataclass(frozen=True)
class Price:
    """What a computation costs."""

    multiply_adds: float
    bytes: float
    seconds: float

    @classmethod
    def of_all(cls, prices: Sequence[Price]) -> Price:
        """Return the price of computations that are made one after the other."""
        return cls(
            sum(price.multiply_adds for price in prices),
            max((price.bytes for price in prices), default=0.0),
            sum(price.seconds for price in prices),
        )

    @property
    def sentence(self) -> str:
        """The price in words, without a full stop."""
        return f"about {duration(self.seconds)} and {max(1, round(self.bytes / 1e6)):,} MB"


def duration(seconds: float) -> str:
    """Return a time in words: seconds up to two minutes, minutes up to two hours, hours above."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds <= 7200 else f"{seconds / 3600:,.0f} h"


@dataclass(frozen=True)
class Limit:
    """What a host allows for one computation."""

    seconds: float
    bytes: float

    @classmethod
    def of_host(cls) -> Limit:
        """Return this host's limit: WINIT_SECONDS (default 120) and WINIT_MEGABYTES (default a 16th of its memory)."""
        megabytes = max(1.0, host.memory() / _MEMORY_SHARE // 1e6)
        return cls(setting("WINIT_SECONDS", 120.0), setting("WINIT_MEGABYTES", megabytes) * 1e6)

    def require(self, price: Price, lower: str) -> None:
        """Raise `BadInput` naming the price where it is over the limit; `lower` says what would help."""
        if not self.allows(price):
            raise BadInput("work", price.sentence, f"{self.allowed}: {lower}")

    def allows(self, price: Price) -> bool:
        """Whether the price is within the limit."""
        return price.seconds <= self.seconds and price.bytes <= self.bytes

    @property
    def allowed(self) -> str:
        """The limit in words."""
        return f"less than {self.seconds:.0f} s and {self.bytes / 1e6:,.0f} MB on this host"


def setting(name: str, default: float) -> float:
    """Return a number that the environment sets for this host. Raises `BadInput` for one that is not above 0."""
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
        _seconds(multiply_adds + float(_PER_ACTIVATION) * units * passes * members, operations),
    )


def runs_at_once(spec: Spec, runs: int) -> int:
    """Return how many of a comparison's runs are in memory at a time: one group of each worker."""
    return min(runs, WORKERS * group_size(spec, runs))


def runs_of(spec: Spec, knobs: CompareKnobs) -> int:
    """Return how many runs a comparison has."""
    return len(together(spec.initializer, knobs.initializers)) * max(1, len(knobs.learning_rates)) * knobs.seeds


def comparison_price(spec: Spec, knobs: CompareKnobs) -> Price:
    """Return the price of a whole comparison: the work of all its runs, the memory of those that train at a time.

    What is recorded of each run stays in memory too.
    """
    runs = runs_of(spec, knobs)
    records = 8.0 * 3 * len(recorded_steps(spec.steps)) * runs
    at_once = training_price(spec, runs_at_once(spec, runs)).bytes
    return replace(training_price(spec, runs), bytes=at_once + records)


def require_comparison(spec: Spec, knobs: CompareKnobs, limit: Limit) -> None:
    """Raise `BadInput` for a comparison over the limit, with its price; `terminal_command` has no limit."""
    price = comparison_price(spec, knobs)
    if not limit.allows(price):
        runs, memory = runs_of(spec, knobs), round(price.bytes / 1e6)
        work = f"{runs:,} runs, {price.multiply_adds:.2g} multiply-adds, {duration(price.seconds)}, {memory:,} MB"
        lower = "fewer initializers, seeds, learning rates, steps, layers or units"
        raise BadInput("work", work, f"{limit.allowed}: {lower}; or a terminal, which has no limit")


def terminal_command(spec: Spec, knobs: CompareKnobs) -> str:
    """Return the command that makes a comparison in a terminal."""
    parts = ["python", "-m", "winit", "compare", "--initializer", spec.initializer]
    if knobs.initializers:
        parts += ["--initializers", ";".join(knobs.initializers)]
    for owner in (spec, knobs.undrawn()):
        for field in fields_of(type(owner)):
            value = getattr(owner, field.name)
            if value != field.default and field.name not in ("initializer", "initializers"):
                parts += [f"--{field.name.replace('_', '-')}", field.write(value)]
    return shlex.join(parts)


def signal_price(spec: Spec, seeds: int, samples: int, *, backward: bool = True) -> Price:
    """Return the price of measuring the signal of `seeds` networks on `samples` inputs, in double precision."""
    weights, units, plan = spec.weights, spec.units, signal.Plan.of(spec, seeds, samples, backward=backward)
    multiply_adds = float(weights) * seeds * samples * (3 if backward else 1)
    matrices = seeds * _matrices(spec.initializer, spec.layer_shapes(), spec.batch_size)
    values = float(weights + units * samples) * seeds
    drawn = _PER_LAYER_FITTED if scheme(spec.initializer).is_data_dependent else _PER_LAYER_DRAWN
    operations = (spec.depth + 1) * (drawn * seeds + _PER_LAYER_MEASURED * -(-seeds // plan.together))
    return Price(
        multiply_adds + matrices,
        plan.bytes,
        _seconds(2 * multiply_adds + matrices, operations) + (_PER_VALUE if backward else _PER_VALUE / 2) * values,
    )


@lru_cache(maxsize=256)
def _matrices(initializer: str, shapes: tuple[LayerShape, ...], samples: int) -> float:
    """Return the multiply-adds with which matrices of layers are made, beside the drawing of their values.

    Weights that are not independent are taken for orthogonal ones, the dearest; `samples` are the data's, where the
    initializer looks at them. Nothing where it has no answer: who asks for it is told elsewhere.
    """
    bound = scheme(initializer)
    passes = _FITTING * samples if bound.is_data_dependent else 0
    try:
        dear = [shape for shape in shapes if not bound.is_independent(shape)]
    except Refused:
        return 0.0
    return float(sum(s.fan_in * s.fan_out * (_ORTHOGONAL * min(s.fan_in, s.fan_out) + passes) for s in dear))


def draw_price(initializer: str, shape: LayerShape, samples: int, network: Spec | None = None) -> Price:
    """Return the price of drawing `samples` weights of such layers, and of their moments, histogram and law.

    `network` is what a data-dependent initializer looks at.
    """
    layers = math.ceil(samples / (shape.fan_in * shape.fan_out))
    drawn = float(layers * shape.fan_in * shape.fan_out)
    matrices = layers * _matrices(initializer, (shape,), STAND_IN_SAMPLES)
    seconds = _PER_SAMPLE * samples + _PER_VALUE * (drawn - samples) + _seconds(matrices, 0)
    return _after_the_way(Price(matrices, 24.0 * samples + 4.0 * drawn, seconds), initializer, shape, network)


def look_price(initializer: str, shape: LayerShape, network: Spec | None = None) -> Price:
    """Return the price of a layer's singular values and image, and of drawing it so often that its time is known."""
    matrices = 2 * _matrices(initializer, (shape,), STAND_IN_SAMPLES)  # what takes long is drawn once to know its time
    found = Price.of_all([_singular_price(shape), Price(matrices, 0.0, _seconds(matrices, 0))])
    return _after_the_way(found, initializer, shape, network)


def _after_the_way(price: Price, initializer: str, shape: LayerShape, network: Spec | None) -> Price:
    """Return a price with that of the way to a layer, where the initializer looks at what the layer sees."""
    if network is None or not scheme(initializer).is_data_dependent:
        return price
    shapes, samples = network.layer_shapes()[: shape.layer], network.batch_size
    weights = float(sum(one.fan_in * one.fan_out for one in shapes))
    multiply_adds = weights * samples + _matrices(initializer, shapes, samples)
    seconds = _seconds(multiply_adds, len(shapes) * _PER_LAYER_FITTED) + _PER_VALUE * weights
    return Price(price.multiply_adds + multiply_adds, price.bytes + 4.0 * network.weights, price.seconds + seconds)


def _singular_price(shape: LayerShape) -> Price:
    weights = float(shape.fan_in * shape.fan_out)
    multiply_adds = _SINGULAR * weights * min(shape.fan_in, shape.fan_out)
    drawings = 1 + distributions.TRIES
    return Price(multiply_adds, 16.0 * weights, _seconds(multiply_adds, 0) + drawings * _PER_VALUE * weights)


def spectra_price(spec: Spec) -> Price:
    """Return the price of the singular values of all layers of a network, in double precision, and of its Jacobian."""
    layers = [_singular_price(shape) for shape in spec.layer_shapes()]
    passes = signal_price(spec, 1, spec.outputs)
    return Price(
        2 * sum(layer.multiply_adds for layer in layers) + passes.multiply_adds,
        12.0 * spec.weights + passes.bytes,
        2 * sum(layer.seconds for layer in layers) + passes.seconds,
    )
