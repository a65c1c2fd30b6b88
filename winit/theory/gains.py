"""The gain of an activation: by theory, and what `torch.nn.init.calculate_gain` says.

>>> from winit.activations import activation
>>> round(gain(activation("relu"), "forward"), 5)
1.41421
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from winit.activations import ACTIVATIONS, Activation
from winit.fields import Refused
from winit.theory.gaussian import second_moment, second_moment_of_slope


def gain(activation: Activation, direction: Literal["forward", "backward"]) -> float:
    """Return the sigma_w that keeps a second moment of 1 from layer to layer.

    Forward that of the pre-activations, 1 / sqrt(E phi^2) (He et al. 2015, arXiv:1502.01852, eq. 10, for
    ReLU); backward that of the gradients where pre-activations have second moment 1, 1 / sqrt(E phi'^2)
    (eq. 14 there; Glorot & Bengio 2010, eq. 10 and 11, for functions with slope 1).

    Raises `Refused` where the moment is 0.
    """
    moment = {"forward": second_moment, "backward": second_moment_of_slope}[direction](activation)
    if moment == 0:
        raise Refused(f"another activation: no gain keeps the {direction} signal of {activation.label}, which is 0")
    return 1 / math.sqrt(moment)


TORCH_GAINS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "linear": lambda slope: 1.0,
        "sigmoid": lambda slope: 1.0,
        "tanh": lambda slope: 5 / 3,
        "relu": lambda slope: math.sqrt(2),
        "leaky_relu": lambda slope: math.sqrt(2 / (1 + slope**2)),
        "selu": lambda slope: 0.75,
    }
)
"""`torch.nn.init.calculate_gain` by its names, as it is: the factors 5/3 and 3/4 are PyTorch's, not theory's."""


def torch_gain(activation: Activation) -> float | None:
    """Return what `torch.nn.init.calculate_gain` says for the activation; None where it refuses."""
    bound = ACTIVATIONS.read(activation.text)
    name = {"identity": "linear"}.get(bound.record.name, bound.record.name)
    return TORCH_GAINS[name](bound.values.get("slope", 0.0)) if name in TORCH_GAINS else None
