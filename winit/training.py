"""Training: an ensemble of networks, step by step, as an iterator of snapshots that knows no page.

Step 0 is the untouched initialization. A member whose loss leaves the finite numbers is marked
diverged at that step; the others go on, bit for bit as if it had never been there.

>>> training = Training(Spec(depth=2, width=16, steps=20), [Member("he_normal", 0, 0.05)])
>>> [snapshot.step for snapshot in training][:4]
[0, 1, 2, 3]
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from winit import datasets, statistics
from winit.datasets import Data
from winit.losses import loss_of
from winit.network import Ensemble, Member, Workspace, initialize, seeds_of
from winit.optimizers import OPTIMIZERS, SCHEDULES, clip_
from winit.queueing import POOL, WORKERS
from winit.seeds import generator
from winit.small import SmallSteps, are_small
from winit.spec import Spec
from winit.statistics import LayerStatistics, Probe

Array = NDArray[np.float64]
T = TypeVar("T")

STATUSES = ("learned", "learning", "stalled", "worse", "diverged")
"""What became of a run, from best to worst."""

_PIECE = 512  # samples of one evaluation pass at most, and fewer where that keeps its products among the small ones:
_SMALL_WIDTH, _SMALL_PRODUCT = 100, 1_000_000  # up to so many multiplications NumPy's BLAS is faster,
_LINE = 32  # and with rows that begin at whole lines of the cache
_STEPS = 25  # whose batches are drawn at once, or fewer, of so many sample numbers:
_DRAWN = 400_000
_SMALL_STEPS = 200  # of small networks, whose batches are drawn and gathered at once, or fewer, of so many numbers:
_SMALL_DRAWN = 65_536
_LOSSES = 16_384  # of samples, that are kept before they are looked at


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


def _diverged(before: Sequence[int | None], losses: Array, step: int) -> list[int | None]:
    """Return the step at which each member left the finite numbers, `step` where these losses are the first to tell."""
    return [step if at is None and not np.isfinite(loss) else at for at, loss in zip(before, losses, strict=True)]


def recorded_steps(steps: int, every: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """Return the steps at which a run is recorded, first and last included: each `every`-th, or those listed.

    Without `every`: each of the first four, then about forty evenly spaced.
    """
    if every is None:
        every = (*range(5), *range(0, steps, max(1, steps // 40)))
    elif isinstance(every, int):
        every = range(0, steps, every)
    return tuple(sorted({0, *(step for step in every if 0 <= step <= steps), steps}))


def dense_steps(steps: int, most: int = 600) -> tuple[int, ...]:
    """Return at most about `most` steps, first and last included: every step early, sparser later.

    Each of the first quarter of `most`, then at equal ratios; all where they are fewer than `most`.
    """
    if steps < most:
        return tuple(range(steps + 1))
    early = most // 4
    later = np.geomspace(early, steps, most - early).round().astype(int)
    return tuple(sorted({*range(early), *later.tolist()}))


@dataclass(frozen=True)
class Snapshot:
    """The state of an ensemble after `step` updates."""

    step: int
    loss: Array
    """(members,) on the evaluation subset of the training part; not finite once a member has diverged."""
    train_accuracy: Array
    """(members,) on the same subset, 0 to 1; of a regression R^2, 1 - loss / variance; NaN for diverged members."""
    test_accuracy: Array
    """(members,) on the test part; likewise."""
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


@lru_cache(maxsize=32)
def _samples(data: Data, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of the training part, (samples, features) and (samples, 1 or outputs): once for all."""
    return torch.tensor(data.train_x, dtype=dtype), loss_of(data).targets(data.train_y, dtype)[0].T


Part = Literal["curve", "train", "test"]
"""Of a data set: what the curves are measured on, the whole training part, and the test part."""


def _part(data: Data, part: Part) -> tuple[datasets.Features, datasets.Targets]:
    """Return the inputs (samples, features) and targets of a part."""
    if part == "test":
        return data.test_x, data.test_y
    few = slice(data.evaluation_samples if part == "curve" else None)
    return data.train_x[few], data.train_y[few]


@lru_cache(maxsize=32)
def _pieces(data: Data, part: Part, width: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Return a part in pieces: inputs (1, features, samples) and targets for all networks of a width."""
    x, y = _part(data, part)
    size = _PIECE
    if width < _SMALL_WIDTH:
        size = min(size, max(_LINE, _SMALL_PRODUCT // width**2 // _LINE * _LINE))
    size = -(-len(x) // (-(-len(x) // size) * _LINE)) * _LINE  # as many pieces, of equal size: small ones take longer
    return [
        (
            torch.tensor(np.ascontiguousarray(x[first : first + size].T), dtype=dtype).unsqueeze(0),
            loss_of(data).targets(y[first : first + size], dtype),
        )
        for first in range(0, len(x), size)
    ]


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
        self.chunk = max(1, min(_STEPS, _DRAWN // (len(seeds) * self.size)))
        self._gathered = torch.empty(len(seeds) * self.size, inputs.shape[1], dtype=inputs.dtype)
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
        """Yield inputs (members, features, size) and targets (members, 1 or outputs, size), without end.

        The inputs are always the same tensor, written anew.
        """
        inputs = self._gathered.view(len(self.rows), self.size, -1).mT  # a view: the products read it as it lies
        for index in self._numbers(self.chunk):
            places = index.view(self.chunk, -1)
            targets = self.targets[index].mT.contiguous()
            # One after the other: many tensors at once would set off Python's garbage collector.
            for step in range(self.chunk):
                torch.index_select(self.inputs, 0, places[step], out=self._gathered)
                yield inputs, targets[step]

    def by_chunks(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield the same, as arrays, of many steps at once: (steps, members, size, features) and likewise."""
        inputs, targets = self.inputs.numpy(), self.targets.numpy()
        each = self.size * len(self.rows) * (inputs.shape[1] + targets.shape[1])
        for index in self._numbers(max(1, min(_SMALL_STEPS, _SMALL_DRAWN // each))):
            # NumPy's indexing takes ten times as long.
            yield np.take(inputs, index.numpy(), axis=0), np.take(targets, index.numpy(), axis=0)

    def _numbers(self, steps: int) -> Iterator[Tensor]:
        """Yield the sample numbers of so many steps after the other, (steps, members, size), without end."""
        for first in count(0, steps):
            yield self._indices(first, steps)[self.rows].transpose(0, 1).contiguous()


class Group:
    """Members that train together in one thread: their buffers are sized to its cache, and nobody else touches them."""

    def __init__(
        self, spec: Spec, members: Sequence[Member], data: Data, dtype: torch.dtype, *, keeps_answers: bool = False
    ) -> None:
        self.spec, self.members, self.data = spec, tuple(members), data
        self._keeps_answers = keeps_answers
        self.answers: list[Tensor] = []
        """Where they are kept: outputs (members, outputs, samples) when the test part was last evaluated, by pieces."""
        self.step = 0
        self.ensemble: Ensemble = initialize(spec, self.members, dtype)
        if spec.normalization == "batch":
            self.ensemble.calibrate(torch.tensor(data.train_x[: datasets.EVALUATION_LIMIT], dtype=dtype).T)
        self.batch_losses: Tensor = torch.empty(0)
        """Loss of each member on the batch of the last update, before that update, (members,)."""
        self.before: list[Tensor] | None = None
        """Weights of the hidden layers before the last update, where they were asked for."""
        self.diverged_at: list[int | None] = [None] * len(self.members)
        self.loss = loss_of(data)
        batches = _Batches(*_samples(data, dtype), spec.batch_size, [member.seed for member in self.members])
        self.batch_size = batches.size
        self._samples = torch.tensor(batches.size, dtype=dtype)  # to divide by a number takes torch twice as long
        self.batches = iter(batches)
        self._small: SmallSteps | None = None
        if are_small(spec, batches.size):
            each = [member.learning_rate for member in self.members]
            self._small = SmallSteps(self.ensemble, self.loss, batches.by_chunks(), batches.size, each)
        self._workspace: Workspace | None = None
        self._evaluation: dict[int, Workspace] = {}
        """By the number of samples of a pass."""
        self._given: dict[Part, list[tuple[Tensor, Tensor]]] = {}
        """By the part: inputs for all members, and targets; the same tensors each time, which passes prepare for."""
        self._probes: dict[tuple[int, ...], Probe] = {}
        """By the members that are looked at."""
        rates = torch.tensor([member.learning_rate for member in self.members], dtype=torch.float64)
        self.optimizer = OPTIMIZERS[spec.optimizer](self.ensemble.packed, None, rates, spec.weight_decay)
        self.schedule = SCHEDULES[spec.schedule]

    @property
    def workspace(self) -> Workspace:
        """Where steps are made."""
        if self._workspace is None:
            self._workspace = Workspace(self.ensemble, self.batch_size, is_lean=True)
            self.optimizer.follow(self._workspace.packed_gradients)
        return self._workspace

    @torch.inference_mode()
    def run(self, until: int, *, keep_before: bool = False) -> None:
        """Train up to a step; `keep_before` keeps the weights from before the last update."""
        # Products with denormal numbers are up to 200 times slower; the setting belongs to the thread.
        torch.set_flush_denormal(True)
        if keep_before and self.step < until:
            self._train(until - 1)
            self.before = [weight.clone() for weight in self.ensemble.weights[:-1]]
        self._train(until)

    def _train(self, until: int) -> None:
        """Train up to a step."""
        shape = len(self.members), self.loss.rows(self.data.outputs), self.batch_size
        while self.step < until:
            first = self.step
            made = min(max(1, _LOSSES // math.prod(shape)), until - first)
            table = torch.empty(made, *shape, dtype=self.ensemble.dtype)
            factors = (self.schedule(step, self.spec.steps) for step in range(first, first + made))
            if self._small is not None:
                self._small.run(factors, table.numpy())
            else:
                for factor, row in zip(factors, table, strict=True):
                    self._update(factor, row)
            self.step += made
            losses = self.loss.means(table)
            self.batch_losses = losses[-1]
            # Read once for many steps; the table still has the exact one.
            for member, lost in enumerate((~torch.isfinite(losses)).T.tolist()):
                if self.diverged_at[member] is None and any(lost):
                    self.diverged_at[member] = first + lost.index(True)

    def _update(self, factor: float, losses: Tensor) -> None:
        """Make one step, the rate times `factor`, and write the losses on its batch, (members, rows, samples)."""
        inputs, targets = next(self.batches)
        workspace = self.workspace
        outputs = workspace.forward(inputs)
        self.loss.each(outputs, targets, losses)
        workspace.backward(self.loss.gradient(outputs, targets).div_(self._samples))
        if self.spec.clip:
            clip_(workspace.packed_gradients.tensors, self.spec.clip)
        self.optimizer.update(factor)

    @torch.inference_mode()
    def evaluate(self, part: Part) -> tuple[Array, Array]:
        """Return the mean loss and the accuracy (of a regression R^2) of every member on a part, (members,) each."""
        torch.set_flush_denormal(True)
        count = len(self.members)
        loss, hits = torch.zeros(2, count, dtype=torch.float64)
        is_kept = self._keeps_answers and part == "test"
        if is_kept:
            self.answers.clear()
        if part not in self._given:
            pieces = _pieces(self.data, part, max(self.spec.widths), self.ensemble.dtype)
            self._given[part] = [(inputs.expand(count, -1, -1), targets) for inputs, targets in pieces]
        for inputs, targets in self._given[part]:
            samples = inputs.shape[2]
            if samples not in self._evaluation:
                self._evaluation[samples] = Workspace(self.ensemble, samples, is_training=False, is_lean=True)
            outputs = self._evaluation[samples].forward(inputs)
            if is_kept:
                self.answers.append(outputs.clone())
            if self.data.is_classification:
                hits += (outputs.max(dim=1, keepdim=True).indices == targets).sum(dim=(1, 2))
            loss += self.loss.value(outputs, targets).double() * samples
        y = _part(self.data, part)[1]
        means: Array = (loss / len(y)).numpy()
        if self.data.is_classification:
            return means, np.where(np.isfinite(means), (hits / len(y)).numpy(), np.nan)
        variance = float(np.var(y.astype(np.float64), axis=0).mean())
        # Of targets that do not vary there is nothing to explain.
        return means, np.where(np.isfinite(means) & (variance > 0), 1 - means / (variance or 1.0), np.nan)

    def measure_layers(self, rows: Sequence[int]) -> LayerStatistics:
        """Return what flows through the hidden layers of some members now, by their numbers in ascending order."""
        key = tuple(rows)
        if key not in self._probes:
            data, few = self.data, slice(min(statistics.SAMPLES, self.data.evaluation_samples))
            inputs = torch.tensor(data.train_x[few], dtype=torch.float64).T
            targets = self.loss.targets(data.train_y[few], torch.float64)
            self._probes[key] = Probe(self.ensemble, key, inputs, targets, self.loss)
        return self._probes[key].measure(self.ensemble, self.before)

    def rest(self) -> None:
        """Let go of all memory but what is learned and what the optimizer keeps, until it is needed again."""
        self._evaluation.clear()
        self._given.clear()
        self._probes.clear()
        self.answers.clear()
        self._workspace = self.before = None
        self.optimizer.follow(None)


_CACHE_BYTES = 4e6  # about twice what one core keeps near
_CALL_ELEMENTS = {1: 16_000, 2: 80_000}  # a call of fewer numbers costs more than its work; more with the lock shared


def group_size(spec: Spec, members: int, workers: int = WORKERS) -> int:
    """Return how many members train together, so that their numbers stay in a core's cache and calls are worth it.

    Groups are equal, and as many as a multiple of the workers where there are several.
    """
    width = max(spec.widths)
    each = 4 * (spec.weights + spec.batch_size * (spec.units + 2 * width))
    fits = max(_CALL_ELEMENTS[min(workers, 2)] / (spec.batch_size * width), _CACHE_BYTES / each)
    groups = math.ceil(members / max(1.0, fits))
    if groups > 1:
        groups = math.ceil(groups / workers) * workers
    return math.ceil(members / groups)


class Training(Iterator[Snapshot]):
    """A run of an ensemble. Iterating trains up to the next recorded step and yields its snapshot.

    `members` share the spec but for initializer, seed and learning rate; they train in groups, on `workers` threads
    (all cores by default), and no number depends on how. `every` is that of `recorded_steps`, `layer_statistics` adds
    what flows through the layers, `keeps_answers` is for `test_outputs`. `data` replaces the spec's data set, `dtype`
    the precision. Raises `BadInput` where nothing can be trained: see `Spec.require_training`.
    """

    def __init__(
        self,
        spec: Spec,
        members: Sequence[Member],
        *,
        every: int | Sequence[int] | None = None,
        layer_statistics: bool = False,
        keeps_answers: bool = False,
        data: Data | None = None,
        dtype: torch.dtype = torch.float32,
        workers: int = WORKERS,
    ) -> None:
        if data is None:
            spec.require_training()
            data = datasets.load(spec.dataset)
        self.spec = spec
        self.members = tuple(members)
        self.data = data
        self.schedule = recorded_steps(spec.steps, every)
        size = group_size(spec, len(self.members), workers)
        chunks = [self.members[first : first + size] for first in range(0, len(self.members), size)]
        self.groups = [Group(spec, chunk, data, dtype, keeps_answers=keeps_answers) for chunk in chunks]
        self.snapshots: list[Snapshot] = []
        """All snapshots so far, without their layer statistics."""
        self.threads = min(workers, len(self.groups))
        """How many work at once."""
        self._layer_statistics = layer_statistics
        self._seconds_per_step = 0.0

    @property
    def step(self) -> int:
        """Updates that were made."""
        return self.groups[0].step

    @property
    def ensemble(self) -> Ensemble:
        """All members; a copy where they train in several groups."""
        return Ensemble.joined([group.ensemble for group in self.groups])

    @property
    def batch_losses(self) -> Tensor:
        """Loss of each member on the batch of the last update, before that update, (members,)."""
        return torch.cat([group.batch_losses for group in self.groups])

    @property
    def is_finished(self) -> bool:
        return bool(self.snapshots) and self.snapshots[-1].step == self.spec.steps

    @property
    def progress(self) -> float:
        """Share of the steps that are done, 0 to 1."""
        return self.step / self.spec.steps

    def of_each(self, work: Callable[[Group], T]) -> list[T]:
        """Return what `work` makes of each group, on all workers at once."""
        return list((POOL.map if self.threads > 1 else map)(work, self.groups))

    def __next__(self) -> Snapshot:
        if self.is_finished:
            raise StopIteration
        target = self.schedule[len(self.snapshots)]

        def advance(group: Group) -> tuple[Array, Array, Array]:
            group.run(target, keep_before=self._layer_statistics)
            loss, accuracy = group.evaluate("curve")
            if target == self.spec.steps:  # no batch follows that would tell
                group.diverged_at = _diverged(group.diverged_at, loss, target)
            return loss, accuracy, group.evaluate("test")[1]

        loss, accuracy, test_accuracy = (np.concatenate(parts) for parts in zip(*self.of_each(advance), strict=True))
        snapshot = Snapshot(target, loss, accuracy, test_accuracy, self._diverged_at, None)
        self.snapshots.append(snapshot)
        if self._layer_statistics:
            return Snapshot(**{**vars(snapshot), "layers": self.measure_layers()})
        return snapshot

    def rest(self) -> None:
        """Let go of memory that is needed only while there is work, and of the weights before the last update."""
        for group in self.groups:
            group.rest()

    @property
    def _diverged_at(self) -> tuple[int | None, ...]:
        return tuple(at for group in self.groups for at in group.diverged_at)

    def reach(self, end: float, *, keep_before: bool = False) -> bool:
        """Train towards the next recorded step, in pieces, until about `end` by `time.monotonic`.

        At least one piece is trained; returns whether the step is reached. `keep_before` is that of `Group.run`.
        """
        target = self.schedule[len(self.snapshots)]
        while self.step < target:
            first, begin = self.step, time.monotonic()
            fits = int((end - begin) / self._seconds_per_step) if self._seconds_per_step else 1
            until = min(target, first + max(1, fits))
            self._run(until, keep_before and until == target)
            self._seconds_per_step = (time.monotonic() - begin) / (until - first)
            if until < target and time.monotonic() >= end:
                return False
        return True

    def _run(self, until: int, keep_before: bool) -> None:
        self.of_each(lambda group: group.run(until, keep_before=keep_before))

    def outputs(self, x: datasets.Features) -> Tensor:
        """Return each member's outputs, (members, outputs, samples), for inputs (samples, features)."""
        return torch.cat(
            [group.ensemble.outputs(torch.tensor(x, dtype=group.ensemble.dtype).T) for group in self.groups]
        )

    def test_outputs(self) -> Tensor:
        """Return each member's outputs on the test part, (members, outputs, samples), as at the last snapshot.

        Only where the training keeps its answers, and only until it rests.
        """
        return torch.cat([torch.cat(group.answers, dim=2) for group in self.groups])

    def predictions(self, x: datasets.Features) -> Array:
        """Return each member's prediction of a regression's first target, (members, samples)."""
        predictions: Array = self.outputs(x)[:, 0].double().numpy()
        return predictions

    def probabilities(self, x: datasets.Features) -> Array:
        """Return each member's class probabilities, (members, samples, classes), for inputs (samples, features)."""
        probabilities: Array = torch.softmax(self.outputs(x), dim=1).mT.double().numpy()
        return probabilities

    def history(self) -> History:
        """Return the run so far, its end measured on the whole training and test parts."""
        data, snapshots = self.data, self.snapshots

        def end(group: Group) -> tuple[Array, Array, Array]:
            return *group.evaluate("train"), group.evaluate("test")[1]

        loss, train_accuracy, test_accuracy = (np.concatenate(parts) for parts in zip(*self.of_each(end), strict=True))
        diverged_at = _diverged(self._diverged_at, loss, self.step)
        return History(
            self.spec,
            self.members,
            tuple(snapshot.step for snapshot in snapshots),
            np.stack([snapshot.loss for snapshot in snapshots], axis=1),
            np.stack([snapshot.train_accuracy for snapshot in snapshots], axis=1),
            np.stack([snapshot.test_accuracy for snapshot in snapshots], axis=1),
            tuple(diverged_at),
            loss,
            train_accuracy,
            test_accuracy,
            tuple(
                status(final, data.constant_loss, diverged) for final, diverged in zip(loss, diverged_at, strict=True)
            ),
            data.constant_loss,
            data.chance,
        )

    def measure_layers(self, rows: Sequence[int] | None = None) -> LayerStatistics:
        """Return what flows through the hidden layers now, of all members or of some, by their numbers."""

        def of(group: Group) -> LayerStatistics | None:
            here = range(len(group.members)) if rows is None else self._in_group(group, rows)
            return group.measure_layers(here) if here else None

        return LayerStatistics.joined([found for found in self.of_each(of) if found is not None])

    def picked(self, rows: Sequence[int]) -> Ensemble:
        """Return some members, by their numbers in ascending order, copied."""
        parts = ((group, self._in_group(group, rows)) for group in self.groups)
        return Ensemble.joined([group.ensemble.picked(here) for group, here in parts if here])

    def _in_group(self, group: Group, rows: Sequence[int]) -> list[int]:
        """Return which of a group's members are among these."""
        first = sum(len(other.members) for other in self.groups[: self.groups.index(group)])
        return [place for place in range(len(group.members)) if first + place in rows]


def train(spec: Spec, seeds: int = 1, **options: object) -> Training:
    """Return the training of one spec from several seeds; `options` are those of `Training`."""
    members = [Member(spec.initializer, seed, spec.learning_rate) for seed in seeds_of(spec, seeds)]
    return Training(spec, members, **options)  # type: ignore[arg-type]
