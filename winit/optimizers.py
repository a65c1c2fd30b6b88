"""The optimizers and what surrounds a step: schedules of the learning rate and clipping of the gradients.

An optimizer is a class: how many numbers it keeps for each parameter, and the direction it makes of a
gradient, as the class of torch.optim named in its docstring. Adding one is adding a class. All of them
work in place on the flat tensors of an ensemble, piece by piece so that a piece stays in the cache, with
one learning rate per member, and treat each member exactly as they would alone. Passes over all
parameters are what a step costs: 1 (sgd, adam, adamw), 2 (momentum), 3 (nesterov) or 7 (rmsprop), and 1
more with weight decay, but for Adam's.

>>> parameters = Packed.of([torch.zeros(2, 1, 1)])
>>> gradients = parameters.twin()
>>> gradients.flat.fill_(1).sum() > 0
tensor(True)
>>> OPTIMIZERS["sgd"](parameters, gradients, torch.tensor([0.1, 1.0])).update(SCHEDULES["warmup"](0, 20))
>>> parameters.tensors[0].flatten().tolist()
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

from winit.layers import Packed


def _root(squares: Tensor, out: Tensor) -> Tensor:
    """Write the square roots of numbers from 0 on."""
    # torch.sqrt takes no less, and eight times as long where there are zeros, as dead units leave them.
    return torch.rsqrt(squares, out=out).reciprocal_()


_PIECE = 16_384
"""Numbers that are updated at once: with their gradients, rates and buffers they stay in a core's cache."""


class Optimizer:
    """w <- w - factor * rate * direction(g + weight_decay * w). As it stands: stochastic gradient descent.

    `gradients` are the twin of `parameters`: mean gradients of a batch, which an update may overwrite; None where they
    come later, see `follow`. `rates` are (members,).
    """

    purpose: ClassVar[str] = ""
    source: ClassVar[str] = ""
    BUFFERS: ClassVar[int] = 0
    """How many numbers it keeps for each parameter."""

    def __init__(self, parameters: Packed, gradients: Packed | None, rates: Tensor, weight_decay: float = 0.0) -> None:
        self.weight_decay = weight_decay
        self.buffers = [torch.zeros_like(parameters.flat) for _ in range(self.BUFFERS)]
        self._parameters = parameters
        each, lengths = torch.unique_consecutive(parameters.of_members(rates), return_counts=True)
        self._rates, self._lengths = each.tolist(), lengths.tolist()
        self.runs: list[tuple[float, tuple[Tensor, ...]]] = []
        """Rate, and neighbours that share it: parameters, gradients and buffers."""
        self._pieces: list[tuple[float, tuple[Tensor, ...]]] = []
        self.follow(gradients)

    def follow(self, gradients: Packed | None) -> None:
        """Take the gradients from another twin of the parameters from now on; None lets go of those of before."""
        self.runs.clear()
        self._pieces.clear()
        if gradients is None:
            return
        flat = (self._parameters.flat, gradients.flat, *self.buffers)
        runs = zip(*(torch.split(tensor, self._lengths) for tensor in flat), strict=True)
        for rate, run in zip(self._rates, runs, strict=True):
            self.runs.append((rate, run))
            self._pieces += [(rate, piece) for piece in zip(*(torch.split(t, _PIECE) for t in run), strict=True)]

    def update(self, factor: float = 1.0) -> None:
        """Move the parameters along their gradients. `factor` is the schedule's, on the rate of this step."""
        for rate, (parameter, gradient, *buffers) in self._pieces:
            if self.weight_decay:
                gradient.add_(parameter, alpha=self.weight_decay)
            parameter.add_(self._direction(gradient, buffers), alpha=-factor * rate)

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:  # noqa: ARG002
        """Return what to walk against, in the memory of the gradient or of one of its buffers."""
        return gradient


class Sgd(Optimizer):
    """Direction g (torch.optim.SGD)."""

    purpose = "Walks straight down the gradient, so layers whose gradients vanish do not move."
    source = "Robbins & Monro 1951"


class Momentum(Optimizer):
    """v <- 0.9 v + g, direction v (torch.optim.SGD with momentum 0.9)."""

    purpose = "Adds up past gradients: faster along valleys, up to ten times the step where they agree."
    source = "Polyak 1964"

    BUFFERS = 1
    MOMENTUM = 0.9

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:
        (velocity,) = buffers
        return torch.add(gradient, velocity, alpha=self.MOMENTUM, out=velocity)


class Nesterov(Momentum):
    """v <- 0.9 v + g, direction g + 0.9 v (torch.optim.SGD with nesterov=True)."""

    purpose = "Momentum that looks one step ahead, and brakes earlier."
    source = "Sutskever et al. 2013, eq. 3 and 4"

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:
        return gradient.add_(super()._direction(gradient, buffers), alpha=self.MOMENTUM)


class RmsProp(Optimizer):
    """s <- 0.99 s + 0.01 g^2, direction g / (sqrt(s) + 1e-8) (torch.optim.RMSprop)."""

    purpose = "Divides by the size of recent gradients: layers with small ones move as far as others."
    source = "Hinton 2012, lecture 6e"

    BUFFERS = 1
    ALPHA, EPSILON = 0.99, 1e-8

    def __init__(self, parameters: Packed, gradients: Packed | None, rates: Tensor, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, gradients, rates, weight_decay)
        # The denominators of one piece after the other lie here.
        self._scratch = torch.empty(_PIECE, dtype=parameters.flat.dtype)

    def _direction(self, gradient: Tensor, buffers: Sequence[Tensor]) -> Tensor:
        (square,) = buffers
        square.mul_(self.ALPHA).addcmul_(gradient, gradient, value=1 - self.ALPHA)
        return gradient.div_(_root(square, self._scratch[: len(square)]).add_(self.EPSILON))


class Adam(Optimizer):
    """m <- 0.9 m + 0.1 g, s <- 0.999 s + 0.001 g^2, direction m' / (sqrt(s') + 1e-8).

    Primes divide by 1 - beta^t at step t (torch.optim.Adam). The single pass is
    torch's own, which takes one rate for all: members of equal rates go together.
    """

    purpose = "Momentum over the size of recent gradients; forgives most scales of the weights."
    source = "Kingma & Ba 2015, algorithm 1 (arXiv:1412.6980)"

    BUFFERS = 2
    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
    _FUSED: ClassVar[Callable[..., None]] = staticmethod(torch._fused_adam_)

    def __init__(self, parameters: Packed, gradients: Packed | None, rates: Tensor, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, gradients, rates, weight_decay)
        self._count = torch.zeros(())

    def follow(self, gradients: Packed | None) -> None:
        super().follow(gradients)
        self._of_rate = {
            rate: list(zip(*(run for own, run in self.runs if own == rate), strict=True)) for rate, _ in self.runs
        }

    def update(self, factor: float = 1.0) -> None:
        self._count += 1
        for rate, (parameters, gradients, means, squares) in self._of_rate.items():
            self._FUSED(
                parameters,
                gradients,
                means,
                squares,
                [],
                [self._count] * len(parameters),
                lr=factor * rate,
                beta1=self.BETA1,
                beta2=self.BETA2,
                weight_decay=self.weight_decay,
                eps=self.EPSILON,
                amsgrad=False,
                maximize=False,
            )


class AdamW(Adam):
    """Adam, its weight decay apart from the gradient: w <- (1 - factor * rate * weight_decay) w comes first.

    The decay times the rate is that of torch.optim.AdamW.
    """

    purpose = "Adam whose weight decay is not divided by the size of the gradients."
    source = "Loshchilov & Hutter 2019, algorithm 2 (arXiv:1711.05101)"

    _FUSED: ClassVar[Callable[..., None]] = staticmethod(torch._fused_adamw_)


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
