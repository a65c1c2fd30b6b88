"""The optimizers: each a small state with an in-place update, as torch.optim defines them.

All of them work on stacked parameters (members, ...) with one learning rate per member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor


class Optimizer(Protocol):
    """Updates the parameters it was made for."""

    BUFFERS: int
    """How many tensors it keeps for each parameter."""

    def update(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters along the mean gradients of a batch; the gradients may be overwritten."""
        ...


def _zeros_as(parameter: Tensor) -> Tensor:
    """Return zeros with the parameter's strides, so that each member is treated as it would be alone."""
    return torch.empty_strided(parameter.shape, parameter.stride(), dtype=parameter.dtype).zero_()


class Sgd:
    """w <- w - rate * g (torch.optim.SGD)."""

    BUFFERS = 0

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor) -> None:
        self.parameters = parameters
        self.step = -rates.view(-1, 1, 1)

    def update(self, gradients: Sequence[Tensor]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.addcmul_(gradient, self.step)


class Momentum:
    """v <- 0.9 v + g, w <- w - rate * v (torch.optim.SGD with momentum 0.9)."""

    BUFFERS = 1
    MOMENTUM = 0.9

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor) -> None:
        self.parameters = parameters
        self.step = -rates.view(-1, 1, 1)
        self.velocities = [_zeros_as(parameter) for parameter in parameters]

    def update(self, gradients: Sequence[Tensor]) -> None:
        for parameter, gradient, velocity in zip(self.parameters, gradients, self.velocities, strict=True):
            velocity.mul_(self.MOMENTUM).add_(gradient)
            parameter.addcmul_(velocity, self.step)


class Adam:
    """Adam with beta 0.9, 0.999 and epsilon 1e-8 (Kingma & Ba 2015, algorithm 1; torch.optim.Adam)."""

    BUFFERS = 2
    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor) -> None:
        self.parameters = parameters
        self.rates = rates.view(-1, 1, 1)
        self.means = [_zeros_as(parameter) for parameter in parameters]
        self.squares = [_zeros_as(parameter) for parameter in parameters]
        self.count = 0

    def update(self, gradients: Sequence[Tensor]) -> None:
        self.count += 1
        step = self.rates * (-1 / (1 - self.BETA1**self.count))
        root_correction = (1 - self.BETA2**self.count) ** 0.5
        for parameter, gradient, mean, square in zip(self.parameters, gradients, self.means, self.squares, strict=True):
            mean.lerp_(gradient, 1 - self.BETA1)
            square.mul_(self.BETA2).addcmul_(gradient, gradient, value=1 - self.BETA2)
            denominator = torch.sqrt(square, out=gradient).div_(root_correction).add_(self.EPSILON)
            parameter.addcmul_(mean.div(denominator), step)


OPTIMIZERS: Mapping[str, type[Sgd | Momentum | Adam]] = MappingProxyType(
    {"sgd": Sgd, "momentum": Momentum, "adam": Adam}
)
"""The catalogue, by the names of the spec."""
