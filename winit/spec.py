"""The network: one small immutable value that every lens looks at.

Each field is declared once, here, with its default, range, label and help; the sidebar, the address,
the terminal flags, the validation and the documentation follow from the declaration.

>>> Spec(depth=30, activation="tanh").sentence
'30 hidden layers of 64 tanh units on digits, started from he_normal'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from winit import activations, initializers, optimizers
from winit.datasets import DATASETS
from winit.fields import BadInput, Choice, Declared, Integer, Real, Refused, declare
from winit.initializers.biases import FORM
from winit.layers import NORMALIZATIONS, RESIDUALS

OPTIMIZERS = tuple(optimizers.OPTIMIZERS)

OUTPUT_FACTORS: Mapping[str, float] = MappingProxyType({"same": 1.0, "zeros": 0.0, "small": 0.01})
"""The rules of the output layer: factors on the weights that the initializer draws."""


@dataclass(frozen=True)
class Widths:
    """Units of the hidden layers: a whole number for all of them, or one for each, joined by `-`."""

    maximum: int
    most: int

    @property
    def allowed(self) -> str:
        return f"a whole number from 1 to {self.maximum}, or at most {self.most} of them joined by -"

    def read(self, text: str) -> int | tuple[int, ...]:
        parts = text.split("-")
        if len(parts) > self.most or not all(re.fullmatch(r"[0-9]{1,6}", part, re.ASCII) for part in parts):
            raise Refused(self.allowed)
        return self.check(tuple(map(int, parts)) if len(parts) > 1 else int(parts[0]))

    def check(self, value: Any) -> int | tuple[int, ...]:
        if isinstance(value, str):  # what a widget holds
            return self.read(value)
        values = value if isinstance(value, tuple) else (value,)
        if not 1 <= len(values) <= self.most or not all(
            isinstance(units, int) and not isinstance(units, bool) and 1 <= units <= self.maximum for units in values
        ):
            raise Refused(self.allowed)
        return values if len(values) > 1 else values[0]

    def write(self, value: int | tuple[int, ...]) -> str:
        return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


_WIDTHS = Widths(1024, 16)


@dataclass(frozen=True)
class Spec(Declared):
    """A fully connected network, its data and how it is trained. Raises `BadInput` for a value out of range."""

    depth: int = declare(
        10, Integer(1, 200), label="Hidden layers", help="How many hidden layers the signal crosses.", group="network"
    )
    width: int | tuple[int, ...] = declare(
        64,
        _WIDTHS,
        label="Width",
        help="Units in each hidden layer, or one number per layer joined by -, as in 256-128-64: the depth follows.",
        group="network",
    )
    activation: str = declare(
        "relu",
        activations.FORM,
        label="Activation",
        help="The function between the layers: a = phi(z), elementwise.",
        group="network",
    )
    initializer: str = declare(
        "he_normal",
        initializers.FORM,
        label="Initializer",
        help="The law of the first random weights. Names mean what they mean in the library they come from.",
        group="initialization",
    )
    bias: str = declare(
        "scheme",
        FORM,
        label="Biases",
        help="What biases start at. scheme: what the initializer's source says, zeros where it says nothing.",
        group="biases",
    )
    output: str = declare(
        "same",
        Choice(tuple(OUTPUT_FACTORS)),
        label="Output layer",
        help="Its weights: the initializer's, zeros, or the initializer's times 0.01 (a small start).",
        group="biases",
    )
    normalization: str = declare(
        "none",
        Choice(("none", *NORMALIZATIONS)),
        label="Normalization",
        help="none, or batch, layer or RMS normalization: before the activation; in residual networks before a block.",
        group="blocks",
    )
    residual: str = declare(
        "off",
        Choice(("off", *RESIDUALS)),
        label="Residual",
        help="off; plain: h + f(h); depth_scaled: h + f(h) / sqrt(2 L); zero: h + a f(h), with a learned from 0.",
        group="blocks",
    )
    dataset: str = declare(
        "digits",
        Choice(tuple(DATASETS)),
        label="Data",
        help="What the network learns. gaussian has no labels: for signal studies only.",
        group="network",
    )
    batch_size: int = declare(
        64,
        Integer(1, 4096),
        label="Batch size",
        help="Samples per step. At or above the training set it means full batch.",
        group="training",
    )
    optimizer: str = declare(
        "sgd",
        Choice(OPTIMIZERS),
        label="Optimizer",
        help="sgd: plain steps; momentum, nesterov: 0.9; rmsprop: 0.99; adam, adamw: beta 0.9, 0.999.",
        group="training",
    )
    learning_rate: float = declare(
        0.05, Real(0.0, 1e10), label="Learning rate", help="Size of a step along the gradient.", group="training"
    )
    schedule: str = declare(
        "constant",
        Choice(tuple(optimizers.SCHEDULES)),
        label="Schedule",
        help="Of the learning rate: constant; warmup: rising over the first tenth of the steps; cosine: falling to 0.",
        group="training",
    )
    weight_decay: float = declare(
        0.0,
        Real(0.0, 10.0),
        label="Weight decay",
        help="Pulls all parameters towards 0: added to the gradient, or apart from it in adamw.",
        group="training",
    )
    clip: float = declare(
        0.0,
        Real(0.0, 1e6),
        label="Gradient clipping",
        help="Largest norm of a network's gradient; longer ones are shortened to it. 0: off.",
        group="training",
    )
    steps: int = declare(300, Integer(1, 100_000), label="Steps", help="Updates of the weights.", group="training")
    seed: int = declare(
        0,
        Integer(0, 2**31 - 1),
        label="Seed",
        help="Fixes the random draws: the same seed gives the same numbers. Further runs use seed + 1, seed + 2, ...",
        group="initialization",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.width, tuple):
            object.__setattr__(self, "depth", len(self.width))
            if len(set(self.width)) == 1:
                object.__setattr__(self, "width", self.width[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer, (depth,)."""
        return self.width if isinstance(self.width, tuple) else (self.width,) * self.depth

    @property
    def sentence(self) -> str:
        """The network in words, without a full stop."""
        layers = "1 hidden layer" if self.depth == 1 else f"{self.depth} hidden layers"
        width, units = _WIDTHS.write(self.width), "unit" if self.width == 1 else "units"
        phi, data = activations.activation(self.activation).label, DATASETS[self.dataset].label
        blocks = [NORMALIZATIONS[self.normalization].label] if self.normalization != "none" else []
        blocks += [f"{self.residual.replace('_', '-')} residual branches"] if self.residual != "off" else []
        extras = f" with {' and '.join(blocks)}" if blocks else ""
        return f"{layers} of {width} {phi} {units}{extras} on {data}, started from {self.initializer}"

    @property
    def inputs(self) -> int:
        """Number of input features."""
        return DATASETS[self.dataset].features or self.widths[0]

    @property
    def outputs(self) -> int:
        """Number of outputs; on data without labels as many as the network is wide."""
        return DATASETS[self.dataset].outputs or self.widths[-1]

    def layer_shapes(self) -> tuple[initializers.LayerShape, ...]:
        """Return the shape of every layer, hidden ones first, the output layer last."""
        sizes = [self.inputs, *self.widths, self.outputs]
        return tuple(
            initializers.LayerShape(fan_in, fan_out, number, self.depth, self.activation)
            for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1)
        )

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return sum(shape.fan_in * shape.fan_out for shape in self.layer_shapes())

    @property
    def units(self) -> int:
        """Number of units of all layers, the outputs included."""
        return sum(shape.fan_out for shape in self.layer_shapes())

    def require_training(self) -> None:
        """Raise `BadInput` where nothing can be trained: data without labels, or a batch that has no statistics."""
        if not DATASETS[self.dataset].has_labels:
            allowed = "one of " + ", ".join(name for name, record in DATASETS.items() if record.has_labels)
            raise BadInput("dataset", self.dataset, f"{allowed}: this lens needs labels, and gaussian has none")
        self.require_batch(self.batch_size)

    def require_batch(self, size: int) -> None:
        """Raise `BadInput` where batch normalization would have a batch of one sample, which has no statistics."""
        if self.normalization == "batch" and size < 2:
            raise BadInput("batch_size", size, "at least 2 for batch normalization: one sample varies not")

    def require_start(self, names: Iterable[str]) -> None:
        """Raise `BadInput` where the layers do not fit together, or an initializer has no answer for one of them."""
        if self.residual != "off" and len(set(self.widths)) > 1:
            raise BadInput("width", _WIDTHS.write(self.width), "the same width in every layer of a residual network")
        for name in names:
            for shape in self.layer_shapes():
                initializers.require_answer(name, shape)
