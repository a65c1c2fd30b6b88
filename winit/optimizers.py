"""The optimizers and what surrounds a step: schedules of the learning rate and clipping of the gradients.

An optimizer is a class: how many tensors it keeps for each parameter, and the direction it makes of a
gradient, as the class of torch.optim named in its docstring. Adding one is adding a class. All of them
work in place on stacked parameters (members, rows, columns) with one learning rate per member, and
treat each member exactly as they would alone. Elementwise passes over all parameters are what a step
costs: 1 (sgd), 2 (momentum), 3 (nesterov), 7 (rmsprop) or 8 (adam, adamw), and 1 more with weight decay.

>>> parameter = torch.zeros(2, 1, 1)
>>> OPTIMIZERS["sgd"]([parameter], torch.tensor([0.1, 1.0])).update([torch.ones(2, 1, 1)], SCHEDULES["warmup"](0, 20))
>>> parameter.flatten().tolist()
[-0.05000000074505806, -0.5]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor


def _zeros_as(parameter: Tensor) -> Tensor:
    """Return zeros with the parameter's strides, so that each member is treated as it would be alone."""
    return torch.empty_strided(parameter.shape, parameter.stride(), dtype=parameter.dtype).zero_()


def _extent(tensor: Tensor) -> int:
    """Return how many numbers lie from the first to the last of a tensor, gaps included."""
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _root(squares: Tensor, out: Tensor) -> Tensor:
    """Write the square roots of numbers from 0 on."""
    # torch.sqrt takes no less, and eight times as long where there are zeros, as dead units leave them.
    return torch.rsqrt(squares, out=out).reciprocal_()


class Optimizer:
    """w <- w - factor * rate * direction(g + weight_decay * w). As it stands: stochastic gradient descent.

    `parameters` are (members, rows, columns), `rates` (members,) of the same precision.
    """

    BUFFERS: ClassVar[int] = 0
    """How many tensors it keeps for each parameter."""

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor, weight_decay: float = 0.0) -> None:
        self.parameters = parameters
        self.rates = rates.view(-1, 1, 1)
        self.weight_decay = weight_decay
        self.buffers = [[_zeros_as(parameter) for _ in range(self.BUFFERS)] for parameter in parameters]

    def update(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        """Move the parameters along the mean gradients of a batch, which may be overwritten.

        `factor` is the schedule's, on the rate of this step.
        """
        for parameter, gradient, buffers in zip(self.parameters, gradients, self.buffers, strict=True):
            if self.weight_decay:
                gradient.add_(parameter, alpha=self.weight_decay)
            parameter.addcmul_(self._direction(gradient, buffers), self.rates, value=-factor)

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """Return what to walk against, in the memory of the gradient or of one of the parameter's buffers."""
        return gradient


class Sgd(Optimizer):
    """Direction g (Robbins & Monro 1951; torch.optim.SGD)."""


class Momentum(Optimizer):
    """v <- 0.9 v + g, direction v (Polyak 1964; torch.optim.SGD with momentum 0.9)."""

    BUFFERS = 1
    MOMENTUM = 0.9

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:
        (velocity,) = buffers
        return torch.add(gradient, velocity, alpha=self.MOMENTUM, out=velocity)


class Nesterov(Momentum):
    """v <- 0.9 v + g, direction g + 0.9 v (Sutskever et al. 2013; torch.optim.SGD with nesterov=True)."""

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:
        return gradient.add_(super()._direction(gradient, buffers), alpha=self.MOMENTUM)


class RmsProp(Optimizer):
    """s <- 0.99 s + 0.01 g^2, direction g / (sqrt(s) + 1e-8) (Hinton 2012, lecture 6e; torch.optim.RMSprop)."""

    BUFFERS = 1
    ALPHA, EPSILON = 0.99, 1e-8

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, rates, weight_decay)
        # One denominator after the other lies here: in the cache, and only as large as the largest parameter.
        self._scratch = torch.empty(max(map(_extent, parameters)), dtype=rates.dtype)

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:
        (square,) = buffers
        square.mul_(self.ALPHA).addcmul_(gradient, gradient, value=1 - self.ALPHA)
        scratch = self._scratch.as_strided(square.shape, square.stride())
        return gradient.div_(_root(square, scratch).add_(self.EPSILON))


class Adam(Optimizer):
    """m <- 0.9 m + 0.1 g, s <- 0.999 s + 0.001 g^2, direction m' / (sqrt(s') + 1e-8).

    Primes divide by 1 - beta^t at step t (Kingma & Ba 2015, algorithm 1; torch.optim.Adam). Both divisions
    are moved out to the rate and to epsilon, as in the remark at the end of their section 2.
    """

    BUFFERS = 2
    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, rates, weight_decay)
        self._count = 0
        self._root_correction = 1.0

    def update(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        self._count += 1
        self._root_correction = math.sqrt(1 - self.BETA2**self._count)
        super().update(gradients, factor * self._root_correction / (1 - self.BETA1**self._count))

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:
        mean, square = buffers
        mean.lerp_(gradient, 1 - self.BETA1)
        square.mul_(self.BETA2).addcmul_(gradient, gradient, value=1 - self.BETA2)
        denominator = _root(square, gradient).add_(self.EPSILON * self._root_correction)
        return torch.div(mean, denominator, out=gradient)


class AdamW(Adam):
    """Adam, its weight decay apart from the gradient: w <- (1 - factor * rate * weight_decay) w comes first.

    Loshchilov & Hutter 2019, algorithm 2; the decay times the rate is that of torch.optim.AdamW.
    """

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, rates)
        self._decoupled_decay = weight_decay

    def update(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        if self._decoupled_decay:
            for parameter in self.parameters:
                parameter.addcmul_(parameter, self.rates, value=-factor * self._decoupled_decay)
        super().update(gradients, factor)


OPTIMIZERS: Mapping[str, type[Optimizer]] = MappingProxyType(
    {"sgd": Sgd, "momentum": Momentum, "nesterov": Nesterov, "rmsprop": RmsProp, "adam": Adam, "adamw": AdamW}
)
"""The catalogue, by the names of the spec."""


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes over a run: `schedule(step, steps)` is the factor on it."""

    name: str
    purpose: str
    source: str
    factor: Callable[[int, int], float] = field(repr=False)
    """(step, from 0 to steps - 1; steps, at least 1) -> factor, above 0 and at most 1."""

    def __call__(self, step: int, steps: int) -> float:
        return self.factor(step, steps)


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        schedule.name: schedule
        for schedule in (
            Schedule("constant", "The same rate throughout.", "", lambda step, steps: 1.0),
            Schedule(
                "warmup",
                "Rises in equal steps over the first tenth of the run: "
                "the first updates, while the network changes fastest, are small.",
                "Goyal et al. 2017, section 2.2",
                lambda step, steps: min(1.0, (step + 1) / math.ceil(steps / 10)),
            ),
            Schedule(
                "cosine",
                "Falls along half a cosine towards zero: large steps first, then ever finer ones.",
                "Loshchilov & Hutter 2017, equation 5 (one period, down to 0)",
                lambda step, steps: (1 + math.cos(math.pi * step / steps)) / 2,
            ),
        )
    }
)
"""The catalogue, by the names of the spec."""


def _norms(gradients: Iterable[Tensor]) -> Tensor:
    """Return each member's norm over all parameters together, (members,) in double precision."""
    # Along the last axis each row is summed in an order of its own, however many there are.
    each = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
    norms: Tensor = torch.linalg.vector_norm(torch.stack(each, dim=1), dim=1)
    return norms.double()


def clip_(gradients: Sequence[Tensor], limit: float) -> None:
    """Scale each member's gradients, in place, so that their norm over all parameters is at most `limit` (above 0).

    The factor is limit / (norm + 1e-6), at most 1 (Pascanu et al. 2013, algorithm 1;
    torch.nn.utils.clip_grad_norm_). Where the norm is not finite, a member's gradients stay as they are.
    """
    norms = _norms(gradients)
    # In single precision squares of numbers below 1e-19 lose digits, which cannot matter beside 1e-6; those of
    # numbers above 1e19 overflow. Doubles for all would cost several times as much.
    if norms.isinf().any():
        norms = torch.where(norms.isinf(), _norms(gradient.double() for gradient in gradients), norms)
    factors = (limit / (norms + 1e-6)).clamp_(max=1).masked_fill_(~norms.isfinite(), 1)
    factors = factors.to(gradients[0].dtype).view(-1, 1, 1)
    for gradient in gradients:
        gradient.mul_(factors)
