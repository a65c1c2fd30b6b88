"""Sweeps: the grid of a comparison, trained group after group; each finished run goes to the store at once.

Memory grows with a group, not with the grid. The runs are made seed after seed over the whole grid, so that
every initializer is seen early; no number depends on the order, on the groups, or on what was already in
the store. A sweep may be left at any time: what is finished is kept.

>>> from winit.lenses import CompareKnobs
>>> sweep = Sweep(Spec(depth=2, width=8, steps=4), CompareKnobs(initializers=("zeros",), seeds=3))
>>> [progress.runs for progress in sweep][-1]
6
>>> [rank.initializer for rank in sweep.conclude().ranking]
['he_normal', 'zeros']
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from winit import budget, comparison, datasets
from winit.comparison import Comparison
from winit.lenses import CompareKnobs, together
from winit.network import Member
from winit.spec import Spec
from winit.store import Run, Store, key
from winit.training import History, Training, recorded_steps, status

Array = NDArray[np.float64]

SLICE = 0.3
"""Seconds of training between two looks at a sweep."""

_PIECE = 0.05  # seconds of training, after which a sweep asks whether it is enough


@dataclass(frozen=True)
class Progress:
    """How far a sweep is."""

    runs: int
    """Finished ones."""
    total: int
    restored: int
    """Finished ones that came from the store."""
    share: float
    """Of all steps of all runs, 0 to 1."""
    steps_per_second: float | None
    """Steps of single networks; None before there are any."""
    seconds_left: float | None

    @property
    def sentence(self) -> str:
        """The progress in words, without a full stop."""
        text = f"{self.runs:,} of {self.total:,} runs"
        if self.restored:
            text += f", {self.restored:,} from the store"
        if self.steps_per_second and self.seconds_left is not None:
            text += f", {self.steps_per_second:,.0f} steps per second"
            text += f", about {budget.duration(self.seconds_left)} left" if self.runs < self.total else ""
        return text


@dataclass(frozen=True)
class Curves:
    """What is recorded of K runs at T steps so far, finished or not."""

    members: tuple[Member, ...]
    """(K,)"""
    steps: tuple[int, ...]
    """(T,) all steps that a finished run is recorded at."""
    loss: Array
    """(K, T) on the evaluation subset; NaN where a run has not come to yet, not finite once it has diverged."""
    train_accuracy: Array
    """(K, T) likewise."""
    test_accuracy: Array
    """(K, T) likewise."""
    recorded: tuple[int, ...]
    """(K,) how many of the steps each run has come to."""
    diverged_at: tuple[int | None, ...]
    """(K,)"""

    @classmethod
    def of(cls, history: History) -> Curves:
        """Return the curves of a history."""
        return cls(
            history.members,
            history.steps,
            history.loss,
            history.train_accuracy,
            history.test_accuracy,
            (len(history.steps),) * len(history.members),
            history.diverged_at,
        )


class Sweep(Iterator[Progress]):
    """The training of a whole comparison. Iterating trains for about `SLICE` seconds and yields the progress.

    `every` is that of `recorded_steps`; `store` keeps finished runs and gives back those of before; `at_once` says
    how many runs train together. Raises `BadInput` where nothing can be compared: see `Spec.require_training`,
    `Spec.require_start` and `comparison.members`.
    """

    def __init__(
        self,
        spec: Spec,
        knobs: CompareKnobs,
        *,
        every: int | None = None,
        store: Store | None = None,
        at_once: int | None = None,
    ) -> None:
        spec.require_training()
        spec.require_start(together(spec.initializer, knobs.initializers))
        self.spec, self.knobs = spec, knobs
        self.members = comparison.members(spec, knobs)
        self.steps = recorded_steps(spec.steps, every)
        self._store = store or Store(None)
        self._at_once = at_once
        self._keys = {member: key(spec, member, every) for member in self.members}
        self._every = every
        self._found: dict[Member, Run] = {}
        self._training: Training | None = None
        self._restored = 0
        self._begun: float | None = None
        seeds = list(dict.fromkeys(member.seed for member in self.members))
        self._order = sorted(self.members, key=lambda member: seeds.index(member.seed))
        self._restore()

    @property
    def is_finished(self) -> bool:
        return len(self._found) == len(self.members)

    @property
    def progress(self) -> Progress:
        """How far the sweep is now."""
        total = len(self.members) * self.spec.steps
        done = len(self._found) * self.spec.steps + self._running
        made = done - self._restored * self.spec.steps
        speed = made / max(1e-9, time.monotonic() - self._begun) if self._begun is not None and made else None
        left = (total - done) / speed if speed else None
        return Progress(len(self._found), len(self.members), self._restored, done / total, speed, left)

    @property
    def _running(self) -> int:
        """Steps of runs that are in training."""
        training = self._training
        return training.step * len(training.members) if training is not None else 0

    def __next__(self) -> Progress:
        if self.is_finished:
            raise StopIteration
        return self.advance(SLICE)

    def advance(self, seconds: float, is_enough: Callable[[], bool] = lambda: False) -> Progress:
        """Train for about `seconds`, in pieces that stop in between the recorded steps where those are far apart.

        No further piece is begun where it `is_enough`.
        """
        end = time.monotonic() + seconds
        if self._begun is None:
            self._begun = time.monotonic()
        while not self.is_finished:
            if self._training is None:
                self._begin()
            else:
                self._step(self._training, min(end, time.monotonic() + _PIECE))
            if time.monotonic() >= end or is_enough():
                break
        return self.progress

    def _restore(self) -> None:
        """Take what the store has of the runs that are missing."""
        missing = [member for member in self._order if member not in self._found]
        kept = self._store.read([self._keys[member] for member in missing], len(self.steps))
        restored = {member: kept[self._keys[member]] for member in missing if self._keys[member] in kept}
        self._found |= restored
        self._restored += len(restored)

    def _begin(self) -> None:
        """Begin the next group of each worker, unless another process has made what was missing."""
        self._restore()
        missing = [member for member in self._order if member not in self._found]
        count = self._at_once or budget.runs_at_once(self.spec, len(missing))
        if missing:
            self._training = Training(self.spec, missing[:count], every=self._every)
            next(self._training)

    def _step(self, training: Training, end: float) -> None:
        """Train on, to the next recorded step or as far as the time allows, and keep what is finished."""
        if training.reach(end):
            next(training)
        if training.is_finished:
            self._keep(split(training.history()))
            self._training = None

    def _keep(self, runs: Mapping[Member, Run]) -> None:
        """Keep finished runs, here and in the store."""
        self._store.write({self._keys[member]: run for member, run in runs.items()})
        self._found |= runs

    @property
    def is_in_memory(self) -> bool:
        """Whether there are networks in training, begun and not finished."""
        return self._training is not None

    def let_go(self) -> None:
        """Free the networks in training; they are begun anew with the next `advance`. Finished runs are kept."""
        self._training = None

    def curves(self) -> Curves:
        """Return what is recorded so far of all runs that have begun, in the order of the members."""
        training, parts = self._training, dict(self._found)
        recorded = dict.fromkeys(parts, len(self.steps))
        if training is not None:
            far = len(training.snapshots)
            tail = np.full((len(training.members), len(self.steps) - far), np.nan)
            loss, train, test = (
                np.hstack([np.stack([getattr(one, name) for one in training.snapshots], axis=1), tail])
                for name in ("loss", "train_accuracy", "test_accuracy")
            )
            for number, member in enumerate(training.members):
                left = training.snapshots[-1].diverged_at[number]
                parts[member] = Run(loss[number], train[number], test[number], left, np.nan, np.nan, np.nan)
                recorded[member] = far
        begun = tuple(member for member in self.members if member in parts)
        runs = [parts[member] for member in begun]
        shape = (len(begun), len(self.steps))
        return Curves(
            begun,
            self.steps,
            np.array([run.loss for run in runs]).reshape(shape),
            np.array([run.train_accuracy for run in runs]).reshape(shape),
            np.array([run.test_accuracy for run in runs]).reshape(shape),
            tuple(recorded[member] for member in begun),
            tuple(run.diverged_at for run in runs),
        )

    def history(self) -> History:
        """Return the finished runs; where none is finished, those in training, measured where they are."""
        if not self._found:
            self.advance(0.0)
        if not self._found and self._training is not None:
            return self._training.history()
        return joined(self.spec, self.steps, {m: self._found[m] for m in self.members if m in self._found})

    def conclude(self) -> Comparison:
        """Return the comparison of what `history` has, at any time."""
        return comparison.conclude(self.history(), target=self.knobs.target, planned=len(self.members))


def split(history: History) -> dict[Member, Run]:
    """Return the single runs of a history."""
    return {
        member: Run(
            history.loss[number],
            history.train_accuracy[number],
            history.test_accuracy[number],
            history.diverged_at[number],
            float(history.final_loss[number]),
            float(history.final_train_accuracy[number]),
            float(history.final_test_accuracy[number]),
        )
        for number, member in enumerate(history.members)
    }


def joined(spec: Spec, steps: Sequence[int], runs: Mapping[Member, Run]) -> History:
    """Return the history of single runs: what `split` takes apart. Statuses are judged anew."""
    data = datasets.load(spec.dataset)
    each = list(runs.values())
    return History(
        spec,
        tuple(runs),
        tuple(steps),
        np.stack([run.loss for run in each]),
        np.stack([run.train_accuracy for run in each]),
        np.stack([run.test_accuracy for run in each]),
        tuple(run.diverged_at for run in each),
        np.array([run.final_loss for run in each]),
        np.array([run.final_train_accuracy for run in each]),
        np.array([run.final_test_accuracy for run in each]),
        tuple(status(run.final_loss, data.constant_loss, run.diverged_at) for run in each),
        data.constant_loss,
        data.chance,
    )
