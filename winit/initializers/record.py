"""What the catalogue holds: a record per scheme, the rule that its parameters give, and the bound scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from winit.fields import Choice, Field, Integer, Real, Refused
from winit.initializers.formula import Formula
from winit.initializers.layer import LayerShape
from winit.laws import Law
from winit.textform import Bound, write

# torch's own threads lose against one thread per visitor on small tensors, and collapse beside a busy
# process; a second live Python thread would even make every product single-threaded and slow. And the last
# bits of a QR decomposition depend on their number: a seed gives the same weights whoever draws them.
torch.set_num_threads(1)


@dataclass(frozen=True)
class Rule:
    """How a scheme with its parameters set answers for a layer.

    `law` is that of one entry, chosen at random where entries differ; it raises `Refused` for a layer that
    the scheme has no answer for.
    """

    law: Callable[[LayerShape], Law]
    formula: Callable[[LayerShape], Formula]
    bias: Callable[[LayerShape], Law] | None = None
    """Law of the biases; None where the source says nothing, which means zeros."""
    matrices: Callable[[LayerShape, int, Generator], Tensor] | None = None
    """Draws (count, fan_out, fan_in) where entries are not independent; one more column, the biases, where
    they are drawn together with the weights."""
    fit: Callable[[Tensor, Tensor], Tensor] | None = None
    """Fits drawn weights (count, fan_out, fan_in) to the layer's inputs (fan_in, samples)."""


@dataclass(frozen=True)
class Code:
    """How the frameworks write a scheme, with {parameters}, {fan_in} and {fan_out} to be put in.

    Where no library has it, `function` is a NumPy function of (fan_in, fan_out) that returns the weights
    (fan_out, fan_in), and the texts call it, {part} being the part of its result that are the weights.
    """

    torch: str
    """Statements that fill layer.weight; empty where the layer draws such weights as it is made."""
    keras: str
    """An initializer of keras.layers.Dense's kernel."""
    jax: str
    """An initializer in the sense of jax.nn.initializers, or `lambda key, shape, dtype: ...` with shape (fan_in,
    fan_out)."""
    bias: tuple[str, ...] = ()
    """uniform, low, high; normal, standard deviation; constant, value; or column: the function's last column."""
    function: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    """By framework: the nearest that it has by name, and how that differs."""


@dataclass(frozen=True)
class Initializer:
    """A named scheme of the catalogue."""

    name: str
    family: str
    rule: Callable[..., Rule]
    """Parameters by name -> rule; raises `Refused` where they do not fit together."""
    purpose: str
    """What it is for and when it fails, in a sentence."""
    source: str
    code: Code
    parameters: tuple[Field, ...] = ()
    derived: Callable[..., dict[str, str]] = field(default=lambda shape, **values: {})
    """Further texts for `code` that follow from the layer and the parameters."""


@dataclass(frozen=True)
class Scheme:
    """An initializer with its parameters set."""

    record: Initializer
    values: Mapping[str, Any]
    rule: Rule

    @classmethod
    def of(cls, bound: Bound[Initializer]) -> Scheme:
        """Return the scheme of a bound record. Raises `Refused` where the parameters do not fit together."""
        return cls(bound.record, bound.values, bound.record.rule(**bound.values))

    @property
    def text(self) -> str:
        """The canonical text form."""
        return write(self.record.name, self.values, self.record.parameters)

    @property
    def is_data_dependent(self) -> bool:
        """Whether the weights depend on the data that the network sees."""
        return self.rule.fit is not None

    @property
    def look(self) -> str:
        """How the law is drawn in a figure: normal, truncated_normal, uniform or other."""
        try:
            return self.rule.law(_PROBE).shape
        except Refused:
            return "other"

    def is_independent(self, shape: LayerShape) -> bool:
        """Whether the weights of a layer are drawn independently of each other."""
        return self.rule.matrices is None and self.law(shape).axes == 0

    def law(self, shape: LayerShape) -> Law:
        """Return the law of one weight of a layer. Raises `Refused` for a layer it has no answer for."""
        return self.rule.law(shape)

    def formula(self, shape: LayerShape) -> Formula:
        """Return the formula with the layer's numbers put in."""
        return self.rule.formula(shape)

    def bias(self, shape: LayerShape) -> Law | None:
        """Return the law of one bias of a layer; None where the scheme says nothing."""
        return self.rule.bias(shape) if self.rule.bias else None

    def weights(self, shape: LayerShape, generator: Generator, count: int = 1, inputs: Tensor | None = None) -> Tensor:
        """Draw the weights of `count` such layers, (count, fan_out, fan_in), float32.

        `inputs` (fan_in, samples) is what the layer sees; a data-dependent scheme fits its weights to it,
        to N(0, 1) inputs without it.
        """
        drawn = self._drawn(shape, generator, count)[..., : shape.fan_in].contiguous()
        return self._fitted(drawn, shape, generator, inputs)

    def draw(self, shape: LayerShape, generator: Generator, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw the weights (fan_out, fan_in) and the biases (fan_out,) of a layer, float32; see `weights`."""
        drawn = self._drawn(shape, generator, 1)
        weight = self._fitted(drawn[..., : shape.fan_in].contiguous(), shape, generator, inputs)[0]
        if drawn.shape[-1] > shape.fan_in:
            return weight, drawn[0, :, -1].contiguous()
        law = self.bias(shape)
        return weight, torch.zeros(shape.fan_out) if law is None else law.sample((shape.fan_out,), generator)

    def _drawn(self, shape: LayerShape, generator: Generator, count: int) -> Tensor:
        law = self.law(shape)  # first, for what it refuses
        if self.rule.matrices is not None:
            return self.rule.matrices(shape, count, generator)
        return law.sample((count, shape.fan_out, shape.fan_in), generator)

    def _fitted(self, weights: Tensor, shape: LayerShape, generator: Generator, inputs: Tensor | None) -> Tensor:
        if self.rule.fit is None:
            return weights
        if inputs is None:
            inputs = torch.empty(shape.fan_in, STAND_IN_SAMPLES).normal_(generator=generator)
        return self.rule.fit(weights, inputs)


STAND_IN_SAMPLES = 256
_PROBE = LayerShape(64, 64, layer=2, depth=3, activation="tanh")  # a layer that nearly every scheme has an answer for


def number(name: str, default: float, low: float, high: float, help: str, *, exclusive: bool = False) -> Field:
    """Declare a parameter that is a number."""
    return Field(name, default, Real(low, high, exclusive), name, help)


def whole(name: str, default: int, low: int, high: int, help: str) -> Field:
    """Declare a parameter that is a whole number."""
    return Field(name, default, Integer(low, high), name, help)


def choice(name: str, default: str, options: tuple[str, ...], help: str) -> Field:
    """Declare a parameter that is one of a few names."""
    return Field(name, default, Choice(options), name, help)
