"""The losses: value and gradient side by side, for an ensemble at once.

Outputs are (members, outputs, samples), and both work in their place: `value` leaves there what `gradient`
begins with, and `gradient` that of each sample's own loss, so that means over a batch divide by its size
once, later.
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
    value: Callable[[Tensor, Tensor], Tensor]
    """(outputs, targets) -> mean loss (members,)."""
    gradient: Callable[[Tensor, Tensor], Tensor]
    """(what `value` left of the outputs, targets) -> gradient of each sample's loss."""

    def value_and_gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss (members,), and the gradient of each sample's loss, in place of the outputs."""
        return self.value(outputs, targets), self.gradient(outputs, targets)


def _classes(targets: Targets, dtype: torch.dtype) -> Tensor:
    return torch.tensor(targets).view(1, 1, -1)


def _values(targets: Targets, dtype: torch.dtype) -> Tensor:
    return torch.tensor(targets, dtype=dtype).T.unsqueeze(0)


def _log_likelihood(outputs: Tensor, targets: Tensor) -> Tensor:
    # targets: class numbers, (members or 1, 1, samples)
    members, _, samples = outputs.shape
    if outputs.is_contiguous():  # torch writes elsewhere if they are not
        torch.ops.aten._log_softmax.out(outputs, 1, False, out=outputs)
    else:
        outputs.copy_(torch.log_softmax(outputs, dim=1))
    likelihoods = outputs.gather(1, targets.expand(members, 1, samples))
    # In double precision no sum overflows where its terms do not.
    return likelihoods.sum(dim=2, dtype=torch.float64).view(members).div_(-samples).to(outputs.dtype)


def _share_too_much(log_shares: Tensor, targets: Tensor) -> Tensor:
    members, _, samples = log_shares.shape
    return log_shares.exp_().scatter_(1, targets.expand(members, 1, samples), -1.0, reduce="add")


def _squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    # targets: (members or 1, outputs, samples); the mean runs over outputs and samples, as in torch.nn.MSELoss
    return outputs.sub_(targets).square().mean(dim=(1, 2))


def _twice_the_error(errors: Tensor, targets: Tensor) -> Tensor:
    return errors.mul_(2 / errors.shape[1])


CROSS_ENTROPY = Loss("cross_entropy", _classes, _log_likelihood, _share_too_much)
MEAN_SQUARED_ERROR = Loss("mean_squared_error", _values, _squared_error, _twice_the_error)


def loss_of(data: Data) -> Loss:
    """Return the loss with which a data set is learned: cross-entropy for classes, squared error otherwise."""
    return CROSS_ENTROPY if data.is_classification else MEAN_SQUARED_ERROR
