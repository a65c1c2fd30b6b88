"""What flows through the hidden layers of an ensemble at one step: sizes, histograms, dead and saturated units.

Measured by a forward and backward pass of its own in double precision, so that signals too small for
float32 are still measured, on a few training samples; a run that does not ask for it pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from winit.activations import Activation
from winit.layers import quiet
from winit.losses import Loss
from winit.network import Ensemble, Workspace, places

Array = NDArray[np.float64]

BINS = 30
SAMPLES = 64
"""At most this many training samples are sent through."""
_TOGETHER = 100_000  # numbers of one call, so that they stay near
_COUNTED = 1024
"""A histogram counts at most about this many values of a layer, evenly spread."""
FLAT = 0.05
"""A unit is saturated on a sample where its slope is below this share of the activation's steepest."""


@dataclass(frozen=True)
class Spread:
    """How values are spread in each hidden layer, (members, depth) each."""

    mean: Array
    deviation: Array
    low: Array
    """Lower end of the histogram: the smallest value."""
    high: Array
    counts: NDArray[np.uint16]
    """(members, depth, BINS) values in each of the equal bins from `low` to `high`."""


@dataclass(frozen=True)
class LayerStatistics:
    """What flows through the hidden layers at one step."""

    weights: Spread
    activations: Spread
    gradients: Spread
    """Of a sample's loss by the pre-activations."""
    dead_fraction: Array
    """(members, depth) share of units whose slope is 0 for every sample."""
    saturated_fraction: Array
    """(members, depth) share of units and samples whose slope is below a twentieth of the steepest."""
    effective_rank: Array
    """(members, depth) of the activations over samples, (sum of eigenvalues)^2 / sum of their squares of the Gram
    matrix: 1 to the number of units. The participation ratio (Gao et al. 2017); 0 where all are 0."""
    update_ratio_log10: Array
    """(members, depth) log10 of the size of the last update over that of the weights; NaN before the first."""

    @classmethod
    def joined(cls, parts: Sequence[LayerStatistics]) -> LayerStatistics:
        """Return the statistics of several ensembles as those of all their members together."""

        def together(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            if isinstance(values[0], Spread):
                return Spread(*(np.concatenate([getattr(v, f.name) for v in values]) for f in fields(Spread)))
            return np.concatenate(values)

        return parts[0] if len(parts) == 1 else cls(**{field.name: together(field.name) for field in fields(cls)})

    @property
    def activation_deviation(self) -> Array:
        """(members, depth) standard deviation of the activations over units and samples."""
        return self.activations.deviation

    @property
    def gradient_deviation(self) -> Array:
        """(members, depth) standard deviation of the gradients."""
        return self.gradients.deviation


def _by_layer(work: Callable[..., NDArray[Any]], *layers: Sequence[Tensor]) -> NDArray[Any]:
    """Return what `work` makes of the tensors (members, ...) of each layer: (members, depth, ...).

    `work` takes tensors (rows, ...) and returns (rows, ...). Layers of one shape go to it together, as more rows: a
    call for each would cost more than its work.
    """
    alike: dict[tuple[int, ...], list[list[int]]] = {}
    for number, value in enumerate(layers[0]):
        pieces = alike.setdefault(tuple(value.shape), [[]])
        if (len(pieces[-1]) + 1) * value.numel() > _TOGETHER and pieces[-1]:
            pieces.append([])
        pieces[-1].append(number)
    found: dict[int, NDArray[Any]] = {}
    for numbers in (piece for pieces in alike.values() for piece in pieces):
        rows = work(*(torch.cat([values[number] for number in numbers]) for values in layers))
        found |= zip(numbers, np.split(rows, len(numbers)), strict=True)
    return np.stack([found[number] for number in range(len(layers[0]))], axis=1)


def _spread(values: Sequence[Tensor]) -> Spread:
    """Return the spread of tensors (members, ...), one per layer."""
    return _as_spread(_by_layer(_spread_of, values))


def _as_spread(found: Array) -> Spread:
    """Return as a spread what `_spread_of` made of each layer, (members, depth, 4 + BINS)."""
    mean, deviation, low, high = np.moveaxis(found[..., :4], 2, 0).copy()
    return Spread(mean, deviation, low, high, found[..., 4:].astype(np.uint16))


def _ends(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest of values (rows, ...), (rows, 1) each."""
    flat = values.flatten(1)
    return flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)  # aminmax takes five times as long


def _spread_of(values: Tensor) -> Array:
    """Return mean, deviation, both ends and counts of values (rows, ...): (rows, 4 + BINS)."""
    return _spread_between(values, *_ends(values))


def _spread_between(values: Tensor, low: Tensor, high: Tensor) -> Array:
    """Return the same of values whose ends are known."""
    flat = values.flatten(1)
    scaled, largest = _scaled(flat, torch.maximum(low.abs(), high.abs()))
    mean = scaled.mean(dim=1, keepdim=True)
    deviation = _variance(scaled, mean).sqrt_()[:, None] * largest
    per_bin = BINS / torch.where(high > low, high - low, 1.0)
    some = flat[:, :: max(1, flat.shape[1] // _COUNTED)]
    place = (some - low).mul_(per_bin).clamp_(0, BINS - 1)
    is_simple = (low + per_bin).isfinite() & (per_bin > 0)
    if not bool(is_simple.all()):  # ends beyond all numbers, or too near
        place.nan_to_num_()
    place = place.long()
    counts = flat.new_zeros(flat.shape[0], BINS)
    counts.scatter_add_(1, place, torch.ones_like(place, dtype=flat.dtype))
    found: Array = torch.cat([mean * largest, deviation, low, high, counts], dim=1).numpy()
    return found


def _variance(flat: Tensor, mean: Tensor) -> Tensor:
    """Return the variance of values (rows, N) whose mean (rows, 1) is known, (rows,)."""
    squares = _squares(flat) / flat.shape[1]
    variance = squares - mean[:, 0].square()
    # Half the time of the mean square of what is left without the mean, which those need whose mean is nearly all.
    needs = variance <= 1e-6 * squares
    if bool(needs.any()):
        variance = torch.where(needs, _squares(flat - mean) / flat.shape[1], variance)
    return variance


def _squares(values: Tensor) -> Tensor:
    """Return the sum of squares over all but the first axis."""
    return torch.from_numpy(sums_of_squares(values.flatten(1).numpy()))


def sums_of_squares(values: Array) -> Array:
    """Return the sums of squares over the last axis, those beyond all numbers included."""
    with quiet():
        found: Array = np.vecdot(values, values)
    return found


def _scaled(values: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    """Return values over a scale, and the scale: their largest sizes where squares would leave the numbers, or 1."""
    if bool(((largest > 1e-140) & (largest < 1e140) | (largest == 0)).all()):
        return values, torch.ones_like(largest)
    scale = torch.where(largest > 0, largest, 1.0)
    return values / scale, scale


@lru_cache(maxsize=64)
def steepest(activation: Activation) -> float:
    """Return the largest slope of an activation between -10 and 10."""
    return float(np.abs(activation.slopes(np.linspace(-10, 10, 20_001))).max())


def _effective_rank(activations: Tensor, largest: Tensor) -> Array:
    """Return the participation ratio of activations (members, units, samples) over samples, (members,).

    `largest` (members, 1) are their largest sizes.
    """
    scaled, _ = _scaled(activations, largest[:, :, None])
    centred = scaled - scaled.mean(dim=2, keepdim=True)
    units, samples = centred.shape[1:]
    gram = centred @ centred.mT if units < samples else centred.mT @ centred
    trace = torch.diagonal(gram, dim1=1, dim2=2).sum(dim=1)
    squares = _squares(gram)
    rank: Array = torch.where(squares > 0, trace.square() / torch.where(squares > 0, squares, 1.0), 0.0).numpy()
    return rank


def _size(values: Tensor) -> Tensor:
    """Return the root of the mean square over all but the first axis, scaled where squares leave the numbers."""
    flat = values.flatten(1)
    squares, scale = _squares(flat), torch.ones(1, 1, dtype=values.dtype)
    if not bool(((squares > 1e-280) & (squares < 1e300)).all()):
        flat, scale = _scaled(flat, flat.abs().amax(dim=1, keepdim=True))
        squares = _squares(flat)
    return (squares / flat.shape[1]).sqrt_() * scale[:, 0]


def dead_and_saturated(phi: Activation, z: Tensor, a: Tensor) -> tuple[Array, Array]:
    """Return two shares of pre-activations and activations (rows, units, samples), (rows,) each.

    Of units whose slope is 0 for every sample; of units and samples whose slope is below `FLAT` of the steepest.
    """
    slope = phi.backward(z.new_ones(1).expand_as(z), z, a, torch.empty_like(z)).abs_()
    dead: Array = (slope.amax(dim=2) == 0).double().mean(dim=1).numpy()
    is_flat = slope.numpy() < FLAT * steepest(phi)  # NumPy compares faster
    return dead, np.array([np.count_nonzero(row) / row.size for row in is_flat])


class Probe:
    """Looks at some members of an ensemble, in double precision, again and again in the same memory."""

    def __init__(self, ensemble: Ensemble, rows: Sequence[int], inputs: Tensor, targets: Tensor, loss: Loss) -> None:
        """Make a probe of the members `rows`, which share `inputs` (features, samples) and `targets`, of doubles."""
        self._rows, self._targets, self._loss = rows, targets, loss
        self._double = ensemble.picked(rows, torch.float64)
        self._inputs = inputs.expand(len(rows), *inputs.shape)
        self._workspace = Workspace(self._double, inputs.shape[1], learned="none")

    @torch.inference_mode()
    def measure(self, ensemble: Ensemble, before: Sequence[Tensor] | None = None) -> LayerStatistics:
        """Return what flows through the hidden layers of the members now.

        `before` are the weights of the hidden layers before the last update, (members, fan_out, fan_in) each, of all
        members of the ensemble.
        """
        double, workspace = self._double, self._workspace
        double.take(ensemble, self._rows)
        workspace.backward(self._loss.value_and_gradient(workspace.forward(self._inputs), self._targets)[1])

        def of_activations(z: Tensor, a: Tensor) -> Array:
            low, high = _ends(a)
            rank = _effective_rank(a, torch.maximum(low.abs(), high.abs()))
            return np.column_stack([*dead_and_saturated(double.activation, z, a), rank, _spread_between(a, low, high)])

        found = _by_layer(of_activations, workspace.pre_activations, workspace.activations)
        dead, saturated, rank = np.moveaxis(found[..., :3], 2, 0).copy()
        weights = double.weights[:-1]
        if before is None:
            ratio = np.full((double.members, len(weights)), np.nan)
        else:
            chosen = places(self._rows)
            changes = [_size(now - earlier[chosen]) / _size(now) for now, earlier in zip(weights, before, strict=True)]
            ratio = torch.stack(changes, dim=1).log10_().numpy()  # weights of 0 have none
        return LayerStatistics(
            _spread(weights),
            _as_spread(found[..., 3:]),
            _spread(workspace.gradients),
            dead,
            saturated,
            rank,
            ratio,
        )
