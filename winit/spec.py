"""The network: one small immutable value that every lens looks at.

Each field is declared once, here, with its default, range, label and help; the sidebar, the address,
the terminal flags, the validation and the documentation follow from the declaration.

>>> Spec(depth=30, activation="tanh").sentence
'30 hidden layers of 64 tanh units on digits, started from he_normal'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

from winit import activations, initializers, optimizers
from winit.datasets import DATASETS
from winit.fields import BadInput, Choice, Declared, Integer, Real, declare
from winit.initializers.biases import FORM

OPTIMIZERS = tuple(optimizers.OPTIMIZERS)

OUTPUT_FACTORS: Mapping[str, float] = MappingProxyType({"same": 1.0, "zeros": 0.0, "small": 0.01})
"""The rules of the output layer: factors on the weights that the initializer draws."""


@dataclass(frozen=True)
class Spec(Declared):
    """A fully connected network, its data and how it is trained. Raises `BadInput` for a value out of range."""

    depth: int = declare(
        10, Integer(1, 200), label="Hidden layers", help="How many hidden layers the signal crosses.", group="network"
    )
    width: int = declare(64, Integer(1, 1024), label="Width", help="Units in each hidden layer.", group="network")
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
        help="sgd: plain steps; momentum: 0.9; adam: beta 0.9, 0.999.",
        group="training",
    )
    learning_rate: float = declare(
        0.05, Real(0.0, 1e10), label="Learning rate", help="Size of a step along the gradient.", group="training"
    )
    steps: int = declare(300, Integer(1, 100_000), label="Steps", help="Updates of the weights.", group="training")
    seed: int = declare(
        0,
        Integer(0, 2**31 - 1),
        label="Seed",
        help="Fixes the random draws: the same seed gives the same numbers. Further runs use seed + 1, seed + 2, ...",
        group="initialization",
    )

    @property
    def sentence(self) -> str:
        """The network in words, without a full stop."""
        layers = "1 hidden layer" if self.depth == 1 else f"{self.depth} hidden layers"
        units = "unit" if self.width == 1 else "units"
        phi, data = activations.activation(self.activation).label, DATASETS[self.dataset].label
        return f"{layers} of {self.width} {phi} {units} on {data}, started from {self.initializer}"

    @property
    def inputs(self) -> int:
        """Number of input features."""
        return DATASETS[self.dataset].features or self.width

    @property
    def outputs(self) -> int:
        """Number of outputs; on data without labels as many as the network is wide."""
        return DATASETS[self.dataset].outputs or self.width

    def layer_shapes(self) -> tuple[initializers.LayerShape, ...]:
        """Return the shape of every layer, hidden ones first, the output layer last."""
        sizes = [self.inputs, *[self.width] * self.depth, self.outputs]
        return tuple(
            initializers.LayerShape(fan_in, fan_out, number, self.depth, self.activation)
            for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1)
        )

    def require_labels(self) -> None:
        """Raise `BadInput` where the data set has no labels, so that nothing can be trained on it."""
        if not DATASETS[self.dataset].has_labels:
            allowed = "one of " + ", ".join(name for name, record in DATASETS.items() if record.has_labels)
            raise BadInput("dataset", self.dataset, f"{allowed}: this lens needs labels, and gaussian has none")

    def require_start(self, names: Iterable[str]) -> None:
        """Raise `BadInput` for the first initializer that has no answer for one of the network's layers."""
        for name in names:
            for shape in self.layer_shapes():
                initializers.require_answer(name, shape)
