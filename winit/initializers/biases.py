"""What biases start at, whatever the weights: the rules that a network's `bias` field names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor

from winit import laws
from winit.fields import Field
from winit.initializers.layer import LayerShape
from winit.initializers.record import number
from winit.laws import Law
from winit.textform import Bound, Catalogue


@dataclass(frozen=True)
class BiasRule:
    """A rule for the biases of all layers."""

    name: str
    purpose: str
    source: str
    law: Callable[..., Law] | None = None
    """Parameters by name -> law; None where the initializer or the data decide."""
    parameters: tuple[Field, ...] = ()


BIASES: Catalogue[BiasRule] = Catalogue(
    (
        BiasRule(
            "scheme",
            "What the initializer's source says; zeros where it says nothing.",
            "the initializer's own",
        ),
        BiasRule("zeros", "Every bias is 0.", "Glorot & Bengio 2010; He et al. 2015", lambda: laws.Constant(0.0)),
        BiasRule(
            "constant",
            "A small positive value keeps ReLUs alive at the start; the sum over many layers drifts.",
            "Goodfellow et al. 2016, Deep Learning, section 8.4",
            lambda value: laws.Constant(value),
            (number("value", 0.01, -1e6, 1e6, "The value of every bias."),),
        ),
        BiasRule(
            "normal",
            "Normal biases, as mean-field theory has them; they set where the edge of chaos lies.",
            "Poole et al. 2016, section 2 (arXiv:1606.05340)",
            lambda stddev: laws.Normal(0.0, stddev),
            (number("stddev", 0.05, 0.0, 1e6, "Standard deviation of every bias."),),
        ),
        BiasRule(
            "log_prior",
            "The output starts at the class frequencies, so the first steps are not spent on learning them; zeros in "
            "hidden layers.",
            "Karpathy 2019, A Recipe for Training Neural Networks",
        ),
    )
)
FORM = BIASES.form()


@lru_cache(maxsize=128)
def bias_rule(text: str) -> Bound[BiasRule]:
    """Return the rule that a text form names. Raises `Refused` for any other."""
    return BIASES.read(text)


def biases(text: str, shape: LayerShape, own: Tensor, best: Tensor | None, stream: Callable[[], Generator]) -> Tensor:
    """Return the biases (fan_out,) of a layer by a rule.

    `own` is what the initializer drew; `best` (outputs,) what the best constant predictor answers, None without
    labels. `stream` gives the generator, for a rule that has a law.
    """
    rule = bias_rule(text)
    if rule.record.law is not None:
        return rule.record.law(**rule.values).sample((shape.fan_out,), stream())
    if rule.record.name == "scheme":
        return own
    return best if shape.is_output and best is not None else torch.zeros(shape.fan_out)
