"""Training: an ensemble of networks, step by step, as an iterator of snapshots that knows no page.

Step 0 is the untouched initialization. A member whose loss leaves the finite numbers is marked
diverged at that step; the others go on, bit for bit as if it had never been there.

>>> training = Training(Spec(depth=2, width=16, steps=20), [Member("he_normal", 0, 0.05)])
>>> [snapshot.step for snapshot in training][:4]
[0, 1, 2, 3]
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from winit import datasets
from winit.datasets import Data
from winit.losses import loss_of
from winit.network import Ensemble, Member, Workspace, initialize, padding, seeds_of
from winit.optimizers import OPTIMIZERS
from winit.seeds import generator
from winit.spec import Spec

Array = NDArray[np.float64]

STATUSES = ("learned", "learning", "stalled", "worse", "diverged")
"""What became of a run, from best to worst."""

_CHUNK = 256  # samples of one evaluation pass: up to twice as fast as all at once
_STATISTICS_SAMPLES = 64
_GATHER_BYTES = 8_000_000


def status(loss: float, constant_loss: float, diverged_at: int | None) -> str:
    """Return the status of a run from its loss on the whole training set.

    `constant_loss` is that of the best constant predictor. diverged: the loss left the finite
    numbers, or ended above ten times that; worse: above 1.03 of it; stalled: 0.97 to 1.03;
    learning: 0.5 to 0.97; learned: below 0.5.
    """
    if diverged_at is not None or not np.isfinite(loss) or loss > 10 * constant_loss:
        return "diverged"
    share = loss / constant_loss if constant_loss > 0 else (0.0 if loss == 0 else np.inf)
    if share > 1.03:
        return "worse"
    if share >= 0.97:
        return "stalled"
    return "learning" if share >= 0.5 else "learned"


def recorded_steps(steps: int, every: int | None = None) -> tuple[int, ...]:
    """Return the steps at which a run is recorded, first and last included.

    Without `every`: each of the first four, then about forty evenly spaced.
    """
    if every is not None:
        return tuple(sorted({*range(0, steps + 1, every), steps}))
    return tuple(sorted({*range(min(4, steps) + 1), *range(0, steps + 1, max(1, steps // 40)), steps}))


@dataclass(frozen=True)
class LayerStatistics:
    """What flows through the hidden layers at one step, measured in double precision on 64 training samples."""

    activation_deviation: Array
    """Standard deviation of the activations over units and samples, (members, depth)."""
    gradient_deviation: Array
    """Standard deviation of the gradient of a sample's loss by the pre-activations, (members, depth)."""


@dataclass(frozen=True)
class Snapshot:
    """The state of an ensemble after `step` updates."""

    step: int
    loss: Array
    """(members,) on the evaluation subset of the training part; not finite once a member has diverged."""
    train_accuracy: Array
    """(members,) on the same subset, 0 to 1; NaN for a regression and for diverged members."""
    test_accuracy: Array
    """(members,) on the test part, 0 to 1; NaN likewise."""
    diverged_at: tuple[int | None, ...]
    """Step at which each member's loss left the finite numbers: on the batch of that step, or at the end."""
    layers: LayerStatistics | None
    """Present where the training was asked for it."""


@dataclass(frozen=True)
class History:
    """A run as it was recorded: T steps of K members."""

    spec: Spec
    members: tuple[Member, ...]
    steps: tuple[int, ...]
    """(T,)"""
    loss: Array
    """(K, T) on the evaluation subset."""
    train_accuracy: Array
    """(K, T)"""
    test_accuracy: Array
    """(K, T)"""
    diverged_at: tuple[int | None, ...]
    final_loss: Array
    """(K,) on the whole training part, at the last recorded step."""
    final_train_accuracy: Array
    """(K,)"""
    final_test_accuracy: Array
    """(K,)"""
    statuses: tuple[str, ...]
    """(K,) of `STATUSES`."""
    constant_loss: float
    chance: float
    """Accuracy of the most frequent class on the training part."""

    @property
    def is_complete(self) -> bool:
        return self.steps[-1] == self.spec.steps

    def as_snapshots(self) -> list[Snapshot]:
        """Return the recorded steps as snapshots, as a run that goes on would yield them."""
        return [
            Snapshot(step, loss, train, test, self.diverged_at, None)
            for step, loss, train, test in zip(
                self.steps, self.loss.T, self.train_accuracy.T, self.test_accuracy.T, strict=True
            )
        ]


def _deviation(values: Tensor) -> Array:
    """Return the standard deviation over all but the first axis, scaled so that squares do not underflow."""
    flat = values.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    deviation: Array = (scaled.std(dim=1, correction=0) * largest.squeeze(1)).numpy()
    return deviation


class _Batches:
    """Each member's batches: its own seed's permutations of the training part, one after the other.

    At or above the training set the batch is the whole set, in order.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, batch_size: int, seeds: Sequence[int]) -> None:
        self.inputs, self.targets = inputs, targets
        self.total = inputs.shape[0]
        self.is_full = batch_size >= self.total
        self.size = min(batch_size, self.total)
        self.seeds = sorted(set(seeds))
        self.rows = torch.tensor([self.seeds.index(seed) for seed in seeds])
        per_step = len(seeds) * self.size * inputs.shape[1] * inputs.element_size()
        self.chunk = max(1, min(100, _GATHER_BYTES // max(1, per_step)))
        self._orders: dict[int, Tensor] = {}

    def _indices(self, first: int, count: int) -> Tensor:
        """Return the sample numbers of steps `first` to `first + count - 1`, (seeds, count, size)."""
        start, stop = first * self.size, (first + count) * self.size
        epochs = range(start // self.total, (stop - 1) // self.total + 1)
        self._orders = {e: self._orders[e] if e in self._orders else self._order(e) for e in epochs}
        stream = torch.cat([self._orders[epoch] for epoch in epochs], dim=1)
        offset = epochs[0] * self.total
        return stream[:, start - offset : stop - offset].view(len(self.seeds), count, self.size)

    def _order(self, epoch: int) -> Tensor:
        if self.is_full:
            return torch.arange(self.total).expand(len(self.seeds), -1)
        return torch.stack(
            [torch.randperm(self.total, generator=generator(seed, "batches", epoch)) for seed in self.seeds]
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs (members, features, padded size) and targets (members, 1 or outputs, size), without end."""
        first = 0
        filled = padding(self.size)
        while True:
            index = self._indices(first, self.chunk)[self.rows].transpose(0, 1)
            inputs = self.inputs[index[..., filled]].mT.contiguous()
            targets = self.targets[index].mT.contiguous()
            yield from zip(inputs.unbind(), targets.unbind(), strict=True)
            first += self.chunk


class Training(Iterator[Snapshot]):
    """A run of an ensemble. Iterating trains up to the next recorded step and yields its snapshot.

    `members` share the spec but for initializer, seed and learning rate. `every` records each so
    many steps, `layer_statistics` adds what flows through the layers. `data` replaces the spec's
    data set, `dtype` the precision. Raises `BadInput` where the data set has no labels.
    """

    def __init__(
        self,
        spec: Spec,
        members: Sequence[Member],
        *,
        every: int | None = None,
        layer_statistics: bool = False,
        data: Data | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if data is None:
            spec.require_labels()
            data = datasets.load(spec.dataset)
        self.spec = spec
        self.members = tuple(members)
        self.data = data
        self.step = 0
        self.schedule = recorded_steps(spec.steps, every)
        self.ensemble: Ensemble = initialize(spec, self.members, dtype)
        self.snapshots: list[Snapshot] = []
        """All snapshots so far, without their layer statistics."""
        self.batch_losses: Tensor = torch.empty(0)
        """Loss of each member on the batch of the last update, before that update, (members,)."""
        self._layer_statistics = layer_statistics
        self._diverged_at: list[int | None] = [None] * len(self.members)
        self._loss = loss_of(data)
        train_x = torch.tensor(data.train_x, dtype=dtype)
        train_y = self._loss.targets(data.train_y, dtype)[0].T
        batches = _Batches(train_x, train_y, spec.batch_size, [member.seed for member in self.members])
        self._batch_size = batches.size
        self._stream = iter(batches)
        self._workspace = Workspace(self.ensemble, len(padding(batches.size)))
        rates = torch.tensor([member.learning_rate for member in self.members], dtype=dtype)
        # All weights, then all biases, as `Workspace.backward` returns them.
        self._optimizer = OPTIMIZERS[spec.optimizer]([*self.ensemble.weights, *self.ensemble.biases], rates)
        self._evaluation = min(datasets.EVALUATION_LIMIT, len(data.train_x))

    @property
    def is_finished(self) -> bool:
        return bool(self.snapshots) and self.snapshots[-1].step == self.spec.steps

    @property
    def progress(self) -> float:
        """Share of the steps that are done, 0 to 1."""
        return self.step / self.spec.steps

    def __next__(self) -> Snapshot:
        if self.is_finished:
            raise StopIteration
        target = self.schedule[len(self.snapshots)]
        while self.step < target:
            self._update()
        loss, accuracy = self._evaluate(self.data.train_x[: self._evaluation], self.data.train_y[: self._evaluation])
        _, test_accuracy = self._evaluate(self.data.test_x, self.data.test_y)
        if self.step == self.spec.steps:  # no batch follows that would tell
            self._mark_diverged(loss)
        snapshot = Snapshot(self.step, loss, accuracy, test_accuracy, tuple(self._diverged_at), None)
        self.snapshots.append(snapshot)
        if self._layer_statistics:
            return Snapshot(**{**vars(snapshot), "layers": self.measure_layers()})
        return snapshot

    def advance(self, seconds: float) -> None:
        """Train for about `seconds`: up to the recorded step that is then at hand, or to the end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and next(self, None) is not None:
            pass

    def probabilities(self, x: datasets.Features) -> Array:
        """Return each member's class probabilities, (members, samples, classes), for inputs (samples, features)."""
        outputs = self.ensemble.outputs(torch.tensor(x, dtype=self.ensemble.dtype).T)
        probabilities: Array = torch.softmax(outputs, dim=1).mT.double().numpy()
        return probabilities

    def history(self) -> History:
        """Return the run so far, its end measured on the whole training and test parts."""
        data, snapshots = self.data, self.snapshots
        final_loss, final_train_accuracy = self._evaluate(data.train_x, data.train_y)
        _, final_test_accuracy = self._evaluate(data.test_x, data.test_y)
        diverged_at = [
            self.step if at is None and not np.isfinite(loss) else at
            for at, loss in zip(self._diverged_at, final_loss, strict=True)
        ]
        return History(
            self.spec,
            self.members,
            tuple(snapshot.step for snapshot in snapshots),
            np.stack([snapshot.loss for snapshot in snapshots], axis=1),
            np.stack([snapshot.train_accuracy for snapshot in snapshots], axis=1),
            np.stack([snapshot.test_accuracy for snapshot in snapshots], axis=1),
            tuple(diverged_at),
            final_loss,
            final_train_accuracy,
            final_test_accuracy,
            tuple(
                status(loss, data.constant_loss, diverged)
                for loss, diverged in zip(final_loss, diverged_at, strict=True)
            ),
            data.constant_loss,
            data.chance,
        )

    @torch.inference_mode()
    def _update(self) -> None:
        # Products with denormal numbers are up to 200 times slower; the setting belongs to the thread.
        torch.set_flush_denormal(True)
        inputs, targets = next(self._stream)
        outputs = self._workspace.forward(inputs)
        size = self._batch_size
        self.batch_losses, gradient = self._loss.value_and_gradient(outputs[:, :, :size], targets)
        self._mark_diverged(self.batch_losses.double().numpy())
        gradient.div_(size)
        outputs[:, :, size:] = 0  # repeated samples carry no gradient
        weights, biases = self._workspace.backward(outputs)
        self._optimizer.update([*weights, *biases])
        self.step += 1

    @torch.inference_mode()
    def _evaluate(self, x: datasets.Features, y: datasets.Targets) -> tuple[Array, Array]:
        """Return the mean loss and the accuracy of every member, (members,) each."""
        torch.set_flush_denormal(True)
        loss = torch.zeros(len(self.members), dtype=torch.float64)
        hits = torch.zeros(len(self.members), dtype=torch.float64)
        for first in range(0, len(x), _CHUNK):
            inputs = torch.tensor(x[first : first + _CHUNK], dtype=self.ensemble.dtype).T
            targets = self._loss.targets(y[first : first + _CHUNK], self.ensemble.dtype)
            outputs = self.ensemble.outputs(inputs)
            if self.data.is_classification:
                hits += (outputs.max(dim=1, keepdim=True).indices == targets).sum(dim=(1, 2))
            loss += self._loss.value_and_gradient(outputs, targets)[0].double() * inputs.shape[1]
        means = (loss / len(x)).numpy()
        accuracy = (hits / len(x)).numpy()
        undefined = ~np.isfinite(means) | (not self.data.is_classification)
        return means, np.where(undefined, np.nan, accuracy)

    @torch.inference_mode()
    def measure_layers(self) -> LayerStatistics:
        """Return what flows through the hidden layers now."""
        samples = min(_STATISTICS_SAMPLES, self._evaluation)
        ensemble = self.ensemble.to(torch.float64)
        workspace = Workspace(ensemble, samples)
        inputs = torch.tensor(self.data.train_x[:samples], dtype=torch.float64).T
        targets = self._loss.targets(self.data.train_y[:samples], torch.float64)
        outputs = workspace.forward(inputs.expand(ensemble.members, *inputs.shape))
        workspace.backward(self._loss.value_and_gradient(outputs, targets)[1])
        return LayerStatistics(
            np.stack([_deviation(a) for a in workspace.activations], axis=1),
            np.stack([_deviation(g) for g in workspace.gradients], axis=1),
        )

    def _mark_diverged(self, losses: Array) -> None:
        for member in np.flatnonzero(~np.isfinite(losses)):
            if self._diverged_at[member] is None:
                self._diverged_at[member] = self.step


def train(spec: Spec, seeds: int = 1, **options: object) -> Training:
    """Return the training of one spec from several seeds; `options` are those of `Training`."""
    members = [Member(spec.initializer, seed, spec.learning_rate) for seed in seeds_of(spec, seeds)]
    return Training(spec, members, **options)  # type: ignore[arg-type]
