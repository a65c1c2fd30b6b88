"""Comparison: which initializer wins a grid of initializers, learning rates and seeds, and whether that is luck.

A learning rate is chosen on one half of the seeds and scored on the other, both ways, so that
choosing does not flatter. The score of a run is its final test accuracy, or test R² for a regression; a
diverged run scores as one that learned nothing: chance, or 0. Wherever runs are held against each other
(choosing a rate, ranking, pairs) a score below chance counts as chance, so that who diverged never does
better than who merely failed; among equals the lower final loss is first.

Luck is measured as Agarwal et al. 2021 ask (Deep RL at the Edge of the Statistical Precipice,
arXiv:2108.13264): median and interquartile mean with percentile-bootstrap intervals over seeds, and the
probability of improvement of every pair, with an interval. Of few runs the bootstrap's intervals are
too narrow: for scores of a normal law, those of nominally 95 % hold the law's interquartile mean in about
90 of 100 comparisons of 5 seeds and 94 of 100 of 10 seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from winit.datasets import DATASETS, Measure
from winit.fields import BadInput
from winit.lenses import CompareKnobs, together
from winit.network import Member, seeds_of
from winit.spec import Spec
from winit.training import STATUSES, History

Array = NDArray[np.float64]

INTERVAL_SEEDS = 5
"""Below this many seeds no interval is given."""
_RESAMPLES = 5000
_QUANTILE = NormalDist().inv_cdf(0.975)
_FAILED = ("stalled", "worse", "diverged")


@dataclass(frozen=True)
class Score:
    """Final test score over seeds, with 95 % intervals; None below five seeds, of no width where all are equal."""

    median: float
    iqm: float
    """Interquartile mean."""
    low: float | None
    """Of the interquartile mean."""
    high: float | None
    median_low: float | None
    median_high: float | None
    seeds: int
    is_constant: bool
    """All runs score the same, as those of a stalled initializer do: the intervals have no width."""

    @property
    def note(self) -> str:
        """What must be said beside the interval; often nothing."""
        if self.low is None:
            return f"no interval below {INTERVAL_SEEDS} seeds"
        return f"all {self.seeds} runs score the same: an interval of no width" if self.is_constant else ""


@dataclass(frozen=True)
class Rank:
    """One initializer's result, each half of the seeds at the rate that the other half chose."""

    initializer: str
    learning_rates: tuple[float, ...]
    """The rate used for each half of the seeds; one where there was nothing to choose."""
    score: Score
    counts: Mapping[str, int]
    """How many of the scored runs ended in each status."""
    runs: tuple[int, ...]
    """The scored members, one per seed, as numbers into the history."""
    divergences: tuple[int, ...]
    """Steps at which scored runs left the finite numbers, in order."""
    final_loss: float
    """Median over the scored runs, on the whole training part; infinite where most of them are not finite."""
    loss_area: float
    """Median of `loss_areas`."""
    steps_to_target: float
    """Median of `steps_to`: infinite where most runs never reach the target loss."""
    reached: int
    """How many of the scored runs reach the target loss."""

    @property
    def learners(self) -> int:
        """How many of the scored runs learned or are learning."""
        return sum(count for status, count in self.counts.items() if status not in _FAILED)


@dataclass(frozen=True)
class Pair:
    """Two initializers on the seeds that both have: how likely a run of the first beats one of the second.

    The interval is Wilson's (1927): the bootstrap's has no width where one side wins every pair, at any number of
    seeds. Ties count half and only narrow the truth, so the interval is on the safe side. Not corrected for the
    number of pairs: of 20 equal ones about one is told apart by chance.
    """

    first: str
    second: str
    probability: float
    """Share of the same-seed pairs that the first wins, ties half."""
    low: float | None
    """None below five seeds."""
    high: float | None
    seeds: int

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval leaves out one half."""
        return self.low is not None and self.high is not None and not self.low <= 0.5 <= self.high

    @property
    def needed(self) -> int | None:
        """About how many seeds would tell the two apart, were the share of wins to stay; None where it is one half.

        Wilson's interval leaves out one half where |p - 1/2| > z / (2 sqrt(n)), z = 1.96: so more than
        z² / (4 (p - 1/2)²) seeds, and at least five.
        """
        distance = abs(self.probability - 0.5)
        if distance < 1e-12:
            return None
        return max(INTERVAL_SEEDS, math.floor(_QUANTILE**2 / (4 * distance**2)) + 1)

    @property
    def sentence(self) -> str:
        """The pair in words, without a full stop."""
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        text = f"{self.first} beats {self.second} with probability {self.probability:.2f}"
        if self.low is not None:
            text += f" ({self.low:.2f} to {self.high:.2f})"
        if self.is_told_apart:
            return text
        would = "no number would, as it stands" if self.needed is None else f"about {self.needed:,} would"
        return f"{text}: not told apart by {seeds}; {would}"


@dataclass(frozen=True)
class RateLosses:
    """Final loss of one initializer against the learning rate."""

    initializer: str
    learning_rates: tuple[float, ...]
    """(R,) ascending."""
    losses: Array
    """(R, S) final training loss of each seed's run, infinite for a diverged one."""
    chosen: tuple[float, ...]
    """The rates at which it is scored."""


@dataclass(frozen=True)
class Comparison:
    """A finished or cancelled comparison, best initializer first.

    An initializer is ranked on the seeds that finished at all of its learning rates. Without any it is not ranked.
    """

    history: History
    ranking: tuple[Rank, ...]
    pairs: tuple[Pair, ...]
    """Every two of the ranking, the better ranked one first, in the order of the ranking."""
    target_loss: float
    """The loss that `Rank.steps_to_target` is about."""
    planned: int
    """How many runs the whole comparison has."""

    @property
    def measure(self) -> Measure:
        """What the scores are."""
        return DATASETS[self.history.spec.dataset].measure

    @property
    def is_complete(self) -> bool:
        """Whether every run of the grid is there, to its last step."""
        return self.history.is_complete and len(self.history.members) == self.planned

    def pair(self, first: str, second: str) -> Pair | None:
        """Return how two initializers compare, seen from the first; None where no seed is common to both."""
        for one in self.pairs:
            if (one.first, one.second) == (first, second):
                return one
            if (one.first, one.second) == (second, first):
                low, high = (None, None) if one.low is None or one.high is None else (1 - one.high, 1 - one.low)
                return Pair(first, second, 1 - one.probability, low, high, one.seeds)
        return None


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


def conclude(history: History, *, target: int = CompareKnobs().target, planned: int | None = None) -> Comparison:
    """Rank the initializers of a history, by interquartile mean of the compared scores, then by final loss.

    `target` is the loss whose first reaching is counted, in percent of the best constant predictor's. `planned` is the
    number of runs of the whole comparison, where the history may hold a part of them.
    """
    target_loss = target / 100 * history.constant_loss
    reached, compared = scores(history), compared_scores(history)
    areas, steps = loss_areas(history), steps_to(history, target_loss)
    ranks = []
    for initializer in dict.fromkeys(member.initializer for member in history.members):
        chosen, rates = _scored(history, compared, initializer)
        if not chosen:
            continue
        runs = list(chosen)
        left = sorted(at for at in (history.diverged_at[run] for run in runs) if at is not None)
        ranks.append(
            Rank(
                initializer,
                rates,
                score(reached[runs]),
                {status: sum(history.statuses[run] == status for run in runs) for status in STATUSES},
                chosen,
                tuple(left),
                median_loss(history.final_loss[runs]),
                median_loss(areas[runs]),
                median_loss(steps[runs]),
                int(np.isfinite(steps[runs]).sum()),
            )
        )
    ranks.sort(key=lambda rank: (-float(interquartile_mean(compared[list(rank.runs)])), rank.final_loss))
    by_seed = [{history.members[run].seed: compared[run] for run in rank.runs} for rank in ranks]
    pairs = []
    for one, other in combinations(range(len(ranks)), 2):
        seeds = [seed for seed in by_seed[one] if seed in by_seed[other]]
        if seeds:
            mine, theirs = (np.array([by_seed[which][seed] for seed in seeds]) for which in (one, other))
            pairs.append(pair(ranks[one].initializer, ranks[other].initializer, mine, theirs))
    return Comparison(history, tuple(ranks), tuple(pairs), target_loss, planned or len(history.members))


def scores(history: History) -> Array:
    """Return the score of every run, (runs,): its final test accuracy or R², for a diverged one that of a constant."""
    final = history.final_test_accuracy
    lost = np.array([status == "diverged" for status in history.statuses]) | ~np.isfinite(final)
    return np.where(lost, history.chance, final)


def compared_scores(history: History) -> Array:
    """Return what runs are held against each other by, (runs,): their scores, not below chance."""
    return np.maximum(scores(history), history.chance)


def loss_areas(history: History) -> Array:
    """Return the mean loss of every run over its steps, (runs,): the area under its curve, by trapezoids, over T.

    Infinite where the loss left the finite numbers on the way.
    """
    steps = np.array(history.steps, dtype=np.float64)
    if len(steps) == 1:
        return np.where(np.isfinite(history.loss[:, 0]), history.loss[:, 0], np.inf)
    heights = (history.loss[:, 1:] + history.loss[:, :-1]) / 2
    areas = (heights * np.diff(steps)).sum(axis=1) / (steps[-1] - steps[0])
    return np.where(np.isfinite(areas), areas, np.inf)


def steps_to(history: History, target_loss: float) -> Array:
    """Return the first recorded step at which every run's loss is at or below the target, (runs,); infinite if never.

    A run that diverges later has not reached it.
    """
    below = history.loss <= target_loss
    first = np.array(history.steps, dtype=np.float64)[below.argmax(axis=1)]
    lost = np.array([status == "diverged" for status in history.statuses])
    return np.where(below.any(axis=1) & ~lost, first, np.inf)


def rate_losses(found: Comparison) -> tuple[RateLosses, ...]:
    """Return the final loss against the learning rate of every ranked initializer, in the order of the ranking."""
    history = found.history
    result = []
    for rank in found.ranking:
        runs = _runs(history, rank.initializer)
        rates = tuple(sorted({rate for rate, _ in runs}))
        seeds = [history.members[run].seed for run in rank.runs]
        losses = history.final_loss[[[runs[rate, seed] for seed in seeds] for rate in rates]]
        lost = np.where(np.isfinite(losses), losses, np.inf)
        result.append(RateLosses(rank.initializer, rates, lost, rank.learning_rates))
    return tuple(result)


def median_loss(losses: Array) -> float:
    """Return the median of losses (runs,), infinite where most of them are not finite."""
    return float(np.median(np.where(np.isfinite(losses), losses, np.inf)))


def _runs(history: History, initializer: str) -> dict[tuple[float, int], int]:
    """Return the numbers of an initializer's runs by learning rate and seed."""
    return {
        (member.learning_rate, member.seed): number
        for number, member in enumerate(history.members)
        if member.initializer == initializer
    }


def _scored(history: History, compared: Array, initializer: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return one run per seed, at the rate that the other half of the seeds chose, and those rates.

    Of a part of a comparison the seeds that have all rates take part. Of several rates one seed chooses none.
    """
    runs = _runs(history, initializer)
    rates = tuple(dict.fromkeys(rate for rate, _ in runs))
    seeds = tuple(
        seed for seed in dict.fromkeys(seed for _, seed in runs) if all((rate, seed) in runs for rate in rates)
    )
    if len(rates) == 1:
        return tuple(runs[rates[0], seed] for seed in seeds), rates
    if len(seeds) < 2:
        return (), ()
    halves = (seeds[::2], seeds[1::2])

    def best(half: Sequence[int]) -> float:
        def worth(rate: float) -> tuple[float, float]:
            of_rate = [runs[rate, seed] for seed in half]
            # Equal scores, as of failures: the lower loss.
            return float(np.mean(compared[of_rate])), -median_loss(history.final_loss[of_rate])

        return max(rates, key=worth)

    chosen = (best(halves[1]), best(halves[0]))  # the rate of a half is chosen by the other one
    return tuple(runs[chosen[number % 2], seed] for number, seed in enumerate(seeds)), chosen


def interquartile_mean(values: Array, axis: int = -1) -> Array:
    """Return the mean of what is left when the lowest and the highest quarter are cut off.

    Quarters are rounded down, as in scipy.stats.trim_mean: below four values it is their mean.
    Agarwal et al. 2021 (arXiv:2108.13264), section 4.3.
    """
    count = values.shape[axis]
    cut = int(count * 0.25)
    ordered = np.sort(values, axis=axis)
    mean: Array = np.take(ordered, np.arange(cut, count - cut), axis=axis).mean(axis=axis)
    return mean


def score(values: Array) -> Score:
    """Summarize scores (seeds,): equal values give an interval of zero width, under five seeds give none."""
    median, iqm = float(np.median(values)), float(interquartile_mean(values))
    is_constant = bool(np.ptp(values) == 0)
    if is_constant:  # a mean of equal numbers may differ from them in its last digit
        median = iqm = float(values[0])
    if len(values) < INTERVAL_SEEDS:
        return Score(median, iqm, None, None, None, None, len(values), is_constant)
    if is_constant:
        return Score(median, iqm, iqm, iqm, median, median, len(values), is_constant)
    low, high = _interval(values, interquartile_mean)
    return Score(median, iqm, low, high, *_interval(values, np.median), len(values), is_constant)


def _interval(values: Array, statistic: Callable[..., Array]) -> tuple[float, float]:
    """Return the percentile bootstrap's 95 % interval of a statistic of values (seeds,), with a fixed seed.

    The numbers of scipy.stats.bootstrap, which takes nearly a second to import. Not its default (BCa), which is not
    defined where resamples are equal.
    """
    drawn = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    # Rounding may cross them where most values are equal.
    low, high = sorted(np.percentile(statistic(values[drawn], axis=-1), (2.5, 97.5)).tolist())
    return low, high


def pair(first: str, second: str, mine: Array, theirs: Array) -> Pair:
    """Return how two initializers' scores on the same seeds, (seeds,) each, compare."""
    count = len(mine)
    share = float(np.mean((mine > theirs) + (mine == theirs) / 2))
    low = high = None
    if count >= INTERVAL_SEEDS:
        squared = _QUANTILE**2 / count
        middle = (share + squared / 2) / (1 + squared)
        half = _QUANTILE / (1 + squared) * math.sqrt(share * (1 - share) / count + squared / (4 * count))
        # Exact at the ends, where rounding would leave a little.
        low, high = (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)
    return Pair(first, second, share, low, high, count)


def median_finite(values: Array) -> float | None:
    """Return the median of the finite values, or None where there are none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None


_VERBS = {"stalled": ("stalls", "stall"), "worse": ("ends worse", "end worse"), "diverged": ("diverges", "diverge")}
"""Of one initializer and of several."""


def finding(
    found: Comparison, *, name: Callable[[str], str] = str, verb: Callable[[str, str], str] = lambda status, word: word
) -> str:
    """Say what was found, from the numbers: who leads, whether that is luck, who fails and how often.

    `name` dresses the name of an initializer, `verb` the word for a status, given both.
    """
    history = found.history
    text = _lead(found, name)
    failures: dict[tuple[str, int, int, bool], list[Rank]] = {}
    for rank in found.ranking:
        status = max(_FAILED, key=lambda one: rank.counts[one])
        count, runs = rank.counts[status], len(rank.runs)
        if 2 * count > runs:
            tried = _runs(history, rank.initializer).values()
            everywhere = len(tried) > runs and all(history.statuses[run] == status for run in tried)
            failures.setdefault((status, count, runs, everywhere), []).append(rank)
    where = f" at {history.spec.depth} layers" if history.spec.depth > 1 else " at 1 layer"
    for (status, count, runs, everywhere), ranks in failures.items():
        names = listed([name(rank.initializer) for rank in ranks])
        word = verb(status, _VERBS[status][len(ranks) > 1])
        text += f" {names} {word} in {count} of {runs}{where}{', at every learning rate tried' if everywhere else ''}"
        left = [step for rank in ranks for step in rank.divergences]
        text += f", from step {min(left):,} on." if status == "diverged" and left else "."
        where = ""
    if not history.is_complete:
        text = f"Cancelled at step {history.steps[-1]} of {history.spec.steps}. {text}"
    elif not found.is_complete:
        text = f"Cancelled with {len(history.members)} of {found.planned} runs finished. {text}"
    return text


def _lead(found: Comparison, name: Callable[[str], str]) -> str:
    """Say who leads, and whether the next one is told apart from it."""
    if not found.ranking:
        return "Too few runs are finished for a ranking."
    learners = [rank for rank in found.ranking if rank.learners]
    if not learners:
        return "None of them learns."
    first, measure = learners[0], found.measure
    text = f"{name(first.initializer)} learns in {first.learners} of {len(first.runs)}"
    text += f", with a median test {measure.label} of {measure.rough(first.score.median)}"
    if len(learners) == 1:
        return f"{text}; no other does."
    second = name(learners[1].initializer)
    duel = found.pair(first.initializer, learners[1].initializer)
    if duel is None:
        return f"{text}; {second} has no seed in common with it."
    wins = f"{duel.probability * duel.seeds:g} of {duel.seeds}"
    if duel.seeds == 1:
        return f"{text}; one seed decides nothing between it and {second}: add seeds."
    if duel.low is None:
        return f"{text}. It beats {second} in {wins} same-seed pairs, too few to tell: take {INTERVAL_SEEDS} or more."
    if duel.is_told_apart:
        return f"{text}. It beats {second} in {wins} same-seed pairs: " + (
            "more than luck." if duel.probability > 0.5 else f"{second} wins more often, by less."
        )
    would = "no number would, as it stands" if duel.needed is None else f"about {duel.needed:,} would"
    return f"{text}. It beats {second} in {wins} same-seed pairs: not told apart by {duel.seeds} seeds; {would}."


def listed(parts: Sequence[str]) -> str:
    """Return names as they stand in a sentence: a, b and c."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
