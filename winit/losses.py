"""The losses: value and gradient side by side, for an ensemble at once.

Outputs are (members, outputs, samples); `value_and_gradient` writes the gradient of each sample's
own loss over them, in place, so that means over a batch divide by its size once, later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from winit.datasets import Data, Targets


@dataclass(frozen=True)
class Loss:
    """A loss of outputs (members, outputs, samples) against targets."""

    name: str
    targets: Callable[[Targets, torch.dtype], Tensor]
    """(targets of a data set, precision) -> targets that all members share, (1, 1 or outputs, samples)."""
    value_and_gradient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """(outputs, targets) -> mean loss (members,), and the gradient of each sample's loss, in place of the outputs."""


def _classes(targets: Targets, dtype: torch.dtype) -> Tensor:
    return torch.tensor(targets).view(1, 1, -1)


def _values(targets: Targets, dtype: torch.dtype) -> Tensor:
    return torch.tensor(targets, dtype=dtype).T.unsqueeze(0)


def _cross_entropy(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    # targets: class numbers, (members or 1, 1, samples)
    members, _, samples = outputs.shape
    index = targets.expand(members, 1, samples)
    if outputs.is_contiguous():  # torch writes elsewhere if they are not
        torch.ops.aten._log_softmax.out(outputs, 1, False, out=outputs)
    else:
        outputs.copy_(torch.log_softmax(outputs, dim=1))
    loss = outputs.gather(1, index).sum(dim=2).view(members).div_(-samples)
    return loss, outputs.exp_().scatter_(1, index, -1.0, reduce="add")


def _mean_squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    # targets: (members or 1, outputs, samples); the mean runs over outputs and samples, as in torch.nn.MSELoss
    gradient = outputs.sub_(targets)
    loss = gradient.square().mean(dim=(1, 2))
    return loss, gradient.mul_(2 / outputs.shape[1])


CROSS_ENTROPY = Loss("cross_entropy", _classes, _cross_entropy)
MEAN_SQUARED_ERROR = Loss("mean_squared_error", _values, _mean_squared_error)


def loss_of(data: Data) -> Loss:
    """Return the loss with which a data set is learned: cross-entropy for classes, squared error otherwise."""
    return CROSS_ENTROPY if data.is_classification else MEAN_SQUARED_ERROR
