"""Comparison: several initializers, learning rates and seeds, trained together as one ensemble.

A learning rate is chosen on one half of the seeds and scored on the other, both ways, so that
choosing does not flatter. The score is the final test accuracy, or test R² for a regression; a diverged
run counts as one that learned nothing: as chance, or 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from winit.datasets import DATASETS, Measure
from winit.fields import BadInput
from winit.lenses import CompareKnobs, together
from winit.network import Member, seeds_of
from winit.spec import Spec
from winit.training import STATUSES, History, Training

Array = NDArray[np.float64]

INTERVAL_SEEDS = 5
"""Below this many seeds no interval is given."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """Final test score over seeds: median, interquartile mean, and its 95 % percentile-bootstrap interval."""

    median: float
    iqm: float
    low: float | None
    """None below five seeds."""
    high: float | None


@dataclass(frozen=True)
class Rank:
    """One initializer's result."""

    initializer: str
    learning_rates: tuple[float, ...]
    """The rate used for each half of the seeds; one where there was nothing to choose."""
    score: Score
    counts: Mapping[str, int]
    """How many of the scored runs ended in each status."""
    runs: tuple[int, ...]
    """The scored members, one per seed, as numbers into the history."""


@dataclass(frozen=True)
class Comparison:
    """A finished or cancelled comparison, best initializer first."""

    history: History
    ranking: tuple[Rank, ...]

    @property
    def measure(self) -> Measure:
        """What the scores are."""
        return DATASETS[self.history.spec.dataset].measure


def members(spec: Spec, knobs: CompareKnobs) -> tuple[Member, ...]:
    """Return the runs of a comparison: initializers x learning rates x seeds, the network's own first.

    Raises `BadInput` for several learning rates on a single seed: nothing would be left to score on.
    """
    rates = knobs.learning_rates or (spec.learning_rate,)
    if len(rates) > 1 and knobs.seeds < 2:
        raise BadInput("seeds", knobs.seeds, "at least 2 to choose among learning rates: one half chooses, one scores")
    return tuple(
        Member(initializer, seed, rate)
        for initializer in together(spec.initializer, knobs.initializers)
        for rate in rates
        for seed in seeds_of(spec, knobs.seeds)
    )


def start(spec: Spec, knobs: CompareKnobs, *, every: int | None = None) -> Training:
    """Return the training of a whole comparison as one ensemble; `conclude` ranks it, at any time."""
    return Training(spec, members(spec, knobs), every=every)


def conclude(history: History) -> Comparison:
    """Rank the initializers of a history, by interquartile mean of the score, then by final loss."""
    reached = scores(history)
    ranks = []
    for initializer in dict.fromkeys(member.initializer for member in history.members):
        chosen, rates = _scored(history, reached, initializer)
        counts = {status: sum(history.statuses[run] == status for run in chosen) for status in STATUSES}
        ranks.append(Rank(initializer, rates, score(reached[list(chosen)]), counts, chosen))
    losses = {rank.initializer: median_loss(history.final_loss[list(rank.runs)]) for rank in ranks}
    ranks.sort(key=lambda rank: (-rank.score.iqm, losses[rank.initializer]))
    return Comparison(history, tuple(ranks))


def scores(history: History) -> Array:
    """Return the score of every run, (runs,): its final test accuracy or R², for a diverged one that of a constant."""
    final = history.final_test_accuracy
    lost = np.array([status == "diverged" for status in history.statuses]) | ~np.isfinite(final)
    return np.where(lost, history.chance, final)


def median_loss(losses: Array) -> float:
    """Return the median of losses (runs,), infinite where most of them are not finite."""
    return float(np.median(np.where(np.isfinite(losses), losses, np.inf)))


def _scored(history: History, reached: Array, initializer: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return one run per seed, at the rate that the other half of the seeds chose, and those rates."""
    runs = {
        (member.learning_rate, member.seed): number
        for number, member in enumerate(history.members)
        if member.initializer == initializer
    }
    rates = tuple(dict.fromkeys(rate for rate, _ in runs))
    seeds = tuple(dict.fromkeys(seed for _, seed in runs))
    if len(rates) == 1:
        return tuple(runs[rates[0], seed] for seed in seeds), rates
    halves = (seeds[::2], seeds[1::2])

    def best(half: Sequence[int]) -> float:
        return max(rates, key=lambda rate: float(np.mean([reached[runs[rate, seed]] for seed in half])))

    chosen = (best(halves[1]), best(halves[0]))  # the rate of a half is chosen by the other one
    return tuple(runs[chosen[number % 2], seed] for number, seed in enumerate(seeds)), chosen


def interquartile_mean(values: Array, axis: int = -1) -> Array:
    """Return the mean of what is left when the lowest and the highest quarter are cut off.

    Quarters are rounded down, as in scipy.stats.trim_mean: below four values it is their mean.
    Agarwal et al. 2021, Deep RL at the Edge of the Statistical Precipice (arXiv:2108.13264), section 4.3.
    """
    count = values.shape[axis]
    cut = int(count * 0.25)
    ordered = np.sort(values, axis=axis)
    mean: Array = np.take(ordered, np.arange(cut, count - cut), axis=axis).mean(axis=axis)
    return mean


def score(values: Array) -> Score:
    """Summarize scores (seeds,): equal values give an interval of zero width, under five seeds give none."""
    low = high = None
    if len(values) >= INTERVAL_SEEDS:
        resampled = np.random.default_rng(0).choice(values, (_RESAMPLES, len(values)))
        low, high = (float(bound) for bound in np.quantile(interquartile_mean(resampled), (0.025, 0.975)))
    return Score(float(np.median(values)), float(interquartile_mean(values)), low, high)


def median_finite(values: Array) -> float | None:
    """Return the median of the finite values, or None where there are none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None
