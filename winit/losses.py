"""The losses: value and gradient side by side, for an ensemble at once.

Outputs are (members, outputs, samples), and both work in their place: `each` leaves there what `gradient`
begins with, and `gradient` that of each sample's own loss, so that means over a batch divide by its size
once, later. `each` writes its numbers into a table, of many steps if one likes, whose means are taken at once.
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
    each: Callable[[Tensor, Tensor, Tensor], object]
    """(outputs, targets, place) -> nothing: writes the losses to their place, (members, rows, samples)."""
    gradient: Callable[[Tensor, Tensor], Tensor]
    """(what `each` left of the outputs, targets) -> gradient of each sample's loss."""
    is_by_output: bool
    """Whether `each` writes one row for each output; otherwise one in all."""
    sign: float = 1.0
    """Of what `each` writes."""

    def rows(self, outputs: int) -> int:
        """Return how many rows `each` writes for so many outputs."""
        return outputs if self.is_by_output else 1

    def means(self, table: Tensor) -> Tensor:
        """Return the mean loss (steps, members) of a table that `each` has written."""
        _, _, rows, samples = table.shape
        # In double precision no sum overflows where its terms do not.
        return table.sum(dim=(2, 3), dtype=torch.float64).div_(self.sign * rows * samples).to(table.dtype)

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss (members,); leave in the outputs what `gradient` begins with."""
        members, count, samples = outputs.shape
        table = outputs.new_empty(1, members, self.rows(count), samples)
        self.each(outputs, targets, table[0])
        return self.means(table)[0]

    def value_and_gradient(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss (members,), and the gradient of each sample's loss, in place of the outputs."""
        return self.value(outputs, targets), self.gradient(outputs, targets)


def _classes(targets: Targets, dtype: torch.dtype) -> Tensor:
    return torch.tensor(targets).view(1, 1, -1)


def _values(targets: Targets, dtype: torch.dtype) -> Tensor:
    return torch.tensor(targets, dtype=dtype).T.unsqueeze(0)


def _of_each(targets: Tensor, outputs: Tensor) -> Tensor:
    """Return class numbers (members or 1, 1, samples) as (members, 1, samples)."""
    return targets if len(targets) == len(outputs) else targets.expand(len(outputs), -1, -1)


def _log_likelihood(outputs: Tensor, targets: Tensor, place: Tensor) -> None:
    if outputs.is_contiguous():  # torch writes elsewhere if they are not
        torch.ops.aten._log_softmax.out(outputs, 1, False, out=outputs)
    else:
        outputs.copy_(torch.log_softmax(outputs, dim=1))
    torch.gather(outputs, 1, _of_each(targets, outputs), out=place)


def _share_too_much(log_shares: Tensor, targets: Tensor) -> Tensor:
    return log_shares.exp_().scatter_(1, _of_each(targets, log_shares), -1.0, reduce="add")


def _squared_error(outputs: Tensor, targets: Tensor, place: Tensor) -> None:
    # targets: (members or 1, outputs, samples); the mean runs over outputs and samples, as in torch.nn.MSELoss
    torch.square(outputs.sub_(targets), out=place)


def _twice_the_error(errors: Tensor, targets: Tensor) -> Tensor:
    return errors.mul_(2 / errors.shape[1])


CROSS_ENTROPY = Loss("cross_entropy", _classes, _log_likelihood, _share_too_much, is_by_output=False, sign=-1.0)
MEAN_SQUARED_ERROR = Loss("mean_squared_error", _values, _squared_error, _twice_the_error, is_by_output=True)


def loss_of(data: Data) -> Loss:
    """Return the loss with which a data set is learned: cross-entropy for classes, squared error otherwise."""
    return CROSS_ENTROPY if data.is_classification else MEAN_SQUARED_ERROR
