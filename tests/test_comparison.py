"""Comparison: who competes, how a rate is chosen without flattering, how scores and intervals come about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from tests.test_training import plain_network
from winit import comparison
from winit.__main__ import main
from winit.comparison import (
    INTERVAL_SEEDS,
    Comparison,
    Pair,
    compared_scores,
    conclude,
    finding,
    interquartile_mean,
    loss_areas,
    members,
    pair,
    rate_losses,
    score,
    scores,
    steps_to,
)
from winit.datasets import ACCURACY, DATASETS, R_SQUARED, load
from winit.fields import BadInput, fields_of
from winit.lenses import CompareKnobs, logarithmic_grid
from winit.network import Member, initialize
from winit.seeds import generator
from winit.spec import Spec
from winit.sweep import Progress, Sweep
from winit.training import STATUSES, History, Training
from winit.ui import answers

Array = NDArray[np.float64]
CHANCE = 0.2
ACCURACIES = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1))


def _history(
    accuracies: Mapping[tuple[str, float], Sequence[float]],
    *,
    losses: Mapping[tuple[str, float], Sequence[float]] | None = None,
    statuses: Mapping[tuple[str, float, int], str] | None = None,
    seeds: Sequence[int] | None = None,
    dataset: str = "digits",
) -> History:
    """Return a finished history from the score of each seed, by initializer and learning rate."""
    seeds = seeds or range(len(next(iter(accuracies.values()))))
    runs = [(name, rate, seed) for name, rate in accuracies for seed in seeds]
    final = np.array([value for values in accuracies.values() for value in values], dtype=float)
    loss = np.array([value for values in losses.values() for value in values]) if losses else 1 - final
    told = tuple((statuses or {}).get(run, "learned") for run in runs)
    return History(
        spec=Spec(dataset=dataset),
        members=tuple(Member(name, seed, rate) for name, rate, seed in runs),
        steps=(0, 300),
        loss=np.stack([np.ones_like(loss), loss], axis=1),
        train_accuracy=np.stack([final, final], axis=1),
        test_accuracy=np.stack([final, final], axis=1),
        diverged_at=tuple(7 if status == "diverged" else None for status in told),
        final_loss=loss,
        final_train_accuracy=final,
        final_test_accuracy=final,
        statuses=told,
        constant_loss=1.0,
        chance=0.0 if DATASETS[dataset].is_regression else CHANCE,
    )


def _swept(spec: Spec, knobs: CompareKnobs, **options: Any) -> Comparison:
    """Return the comparison of a whole sweep."""
    sweep = Sweep(spec, knobs, **options)
    for _ in sweep:
        pass
    return sweep.conclude()


# Who competes


def test_members_are_the_networks_own_initializer_first_then_rates_then_seeds() -> None:
    spec = Spec(initializer="orthogonal", seed=7)
    knobs = CompareKnobs(initializers=("zeros", "orthogonal", "he_normal"), seeds=2, learning_rates=(0.1, 0.01))
    expected = [
        Member(name, seed, rate)
        for name in ("orthogonal", "zeros", "he_normal")
        for rate in (0.1, 0.01)
        for seed in (7, 8)
    ]
    assert members(spec, knobs) == tuple(expected)


def test_without_rates_the_networks_own_is_used() -> None:
    found = members(Spec(learning_rate=0.3), CompareKnobs(initializers=(), seeds=3))
    assert found == tuple(Member("he_normal", seed, 0.3) for seed in range(3))


@pytest.mark.parametrize("seeds", [1, 2])
def test_several_rates_need_a_seed_to_score_on(seeds: int) -> None:
    knobs = CompareKnobs(learning_rates=(0.1, 0.01), seeds=seeds)
    if seeds == 1:
        with pytest.raises(BadInput, match="seeds: '1' is not allowed; give at least 2"):
            members(Spec(), knobs)
        with pytest.raises(BadInput):
            Sweep(Spec(), knobs)
    else:
        assert len(members(Spec(), knobs)) == 2 * 2 * 5


def test_one_rate_needs_one_seed() -> None:
    assert len(members(Spec(), CompareKnobs(initializers=(), learning_rates=(0.1,), seeds=1))) == 1


def test_who_cannot_start_does_not_compete() -> None:
    spec = Spec(width=5, depth=2, steps=2)
    for other, knobs in (
        (spec, CompareKnobs(initializers=("zeros", "looks_linear"), seeds=1)),
        (spec.replace(initializer="looks_linear"), CompareKnobs(initializers=("zeros",), seeds=1)),
    ):
        with pytest.raises(BadInput, match="an even width") as caught:
            Sweep(other, knobs)
        assert (caught.value.field, caught.value.value) == ("initializer", "looks_linear")
    Sweep(spec.replace(width=6), CompareKnobs(initializers=("zeros", "looks_linear"), seeds=1))


# Choosing a rate


def test_each_half_of_the_seeds_is_scored_at_the_rate_that_the_other_half_chose() -> None:
    #                       seed  0    1    2    3    4    5
    slow = ("he_normal", 0.01), (0.9, 0.1, 0.9, 0.2, 0.9, 0.3)
    fast = ("he_normal", 1.0), (0.4, 0.8, 0.5, 0.8, 0.6, 0.8)
    rank = conclude(_history(dict([slow, fast]))).ranking[0]
    # Seeds 0, 2, 4 like 0.01 and so send 1, 3, 5 to it; those like 1.0 and send 0, 2, 4 there.
    assert rank.learning_rates == (1.0, 0.01)
    assert rank.runs == (6, 1, 8, 3, 10, 5)
    scored = np.array([0.4, 0.1, 0.5, 0.2, 0.6, 0.3])
    assert rank.score == score(scored)
    assert rank.score.median == pytest.approx(0.35)
    # Whoever chooses and scores on the same seeds gets 0.9 and 0.8 throughout.
    assert rank.score.iqm < 0.5


def test_an_odd_number_of_seeds_is_halved_with_the_first_half_larger() -> None:
    history = _history(
        {("zeros", 0.1): (0.9, 0.5, 0.1, 0.5, 0.1), ("zeros", 0.2): (0.3, 0.6, 0.3, 0.6, 0.3)}, seeds=(5, 6, 7, 8, 9)
    )
    rank = conclude(history).ranking[0]
    # Mean of seeds 5, 7, 9: 0.367 at 0.1, 0.3 at 0.2; of 6, 8: 0.5 and 0.6.
    assert rank.learning_rates == (0.2, 0.1)
    assert [history.members[run].seed for run in rank.runs] == [5, 6, 7, 8, 9]
    assert [history.members[run].learning_rate for run in rank.runs] == [0.2, 0.1, 0.2, 0.1, 0.2]


def test_two_seeds_choose_for_each_other() -> None:
    rank = conclude(_history({("zeros", 0.1): (0.9, 0.2), ("zeros", 0.2): (0.3, 0.7)})).ranking[0]
    assert rank.learning_rates == (0.2, 0.1)
    assert rank.runs == (2, 1)


def test_one_rate_is_used_as_it_is() -> None:
    rank = conclude(_history({("zeros", 0.1): (0.9, 0.2, 0.5)})).ranking[0]
    assert rank.learning_rates == (0.1,)
    assert rank.runs == (0, 1, 2)


def test_each_initializer_gets_its_own_rate() -> None:
    found = conclude(
        _history(
            {
                ("he_normal", 0.1): (0.9,) * 6,
                ("he_normal", 1.0): (0.2,) * 6,
                ("zeros", 0.1): (0.1,) * 6,
                ("zeros", 1.0): (0.3,) * 6,
            }
        )
    )
    assert [(rank.initializer, rank.learning_rates) for rank in found.ranking] == [
        ("he_normal", (0.1, 0.1)),
        ("zeros", (1.0, 1.0)),
    ]


def test_a_diverged_run_counts_as_chance_when_a_rate_is_chosen_and_when_it_is_scored() -> None:
    # Rate 1.0 is brilliant where it survives; on average, chance included, 0.1 is better.
    statuses = {("he_normal", 1.0, seed): "diverged" for seed in (0, 1, 2, 3)}
    history = _history(
        {
            ("he_normal", 0.1): (0.7,) * 6,
            # A number left by a run beyond ten times the constant's loss, and one beyond the numbers.
            ("he_normal", 1.0): (0.99, np.nan, 0.99, np.nan, 0.99, 0.99),
        },
        statuses=statuses,
    )
    rank = conclude(history).ranking[0]
    assert rank.learning_rates == (0.1, 0.1)
    forced = conclude(_history({("he_normal", 1.0): (0.99, np.nan, 0.99, np.nan, 0.99, 0.99)}, statuses=statuses))
    assert forced.ranking[0].score.median == CHANCE
    assert forced.ranking[0].counts == {"learned": 2, "learning": 0, "stalled": 0, "worse": 0, "diverged": 4}


# Ranking


def test_the_ranking_goes_by_interquartile_mean_then_by_final_loss() -> None:
    accuracies = {
        ("zeros", 0.1): (0.5,) * 5,
        ("he_normal", 0.1): (0.8,) * 5,
        ("orthogonal", 0.1): (0.8,) * 5,
        # By interquartile mean 0.667, by median 0.6, by mean 0.68, by the best 0.9.
        ("lecun_normal", 0.1): (0.9, 0.5, 0.6, 0.5, 0.9),
        # By interquartile mean and by median 0.65, by mean 0.72, by the best 1.
        ("lecun_uniform", 0.1): (0.65, 0.65, 0.65, 0.65, 1.0),
        ("glorot_normal", 0.1): (0.8,) * 5,
    }
    losses = {
        ("zeros", 0.1): (0.0,) * 5,
        ("he_normal", 0.1): (0.3,) * 5,
        ("orthogonal", 0.1): (0.1,) * 5,
        ("lecun_normal", 0.1): (0.0,) * 5,
        ("lecun_uniform", 0.1): (0.0,) * 5,
        ("glorot_normal", 0.1): (0.0, np.nan, np.nan, np.inf, 0.0),
    }
    found = conclude(_history(accuracies, losses=losses))
    order = [rank.initializer for rank in found.ranking]
    assert order == ["orthogonal", "he_normal", "glorot_normal", "lecun_normal", "lecun_uniform", "zeros"]


def test_the_winner_does_not_depend_on_who_is_named_first() -> None:
    accuracies = {("zeros", 0.1): (0.1, 0.2), ("he_normal", 0.1): (0.9, 0.8), ("orthogonal", 0.1): (0.5, 0.6)}
    backwards = dict(reversed(accuracies.items()))
    one, other = conclude(_history(accuracies)), conclude(_history(backwards))
    assert [rank.initializer for rank in one.ranking] == [rank.initializer for rank in other.ranking]
    assert [rank.score for rank in one.ranking] == [rank.score for rank in other.ranking]


# A regression: R² instead of accuracy


def test_what_is_scored_follows_the_data() -> None:
    for name, record in DATASETS.items():
        if record.has_labels:
            found = conclude(_history({("zeros", 0.1): (0.5,)}, dataset=name))
            assert found.measure is (R_SQUARED if record.is_regression else ACCURACY)


def test_a_negative_r_squared_is_scored_as_it_is_and_compared_as_0() -> None:
    history = _history(
        {("he_normal", 0.1): (0.9, -3.0, -1e9, np.nan, np.inf, -0.2)},
        statuses={("he_normal", 0.1, seed): "diverged" for seed in (2, 3)},
        dataset="wave",
    )
    # A run that is finite on the training part and not on the test part has no R² either.
    assert scores(history).tolist() == [0.9, -3.0, 0.0, 0.0, 0.0, -0.2]
    assert compared_scores(history).tolist() == [0.9, 0.0, 0.0, 0.0, 0.0, 0.0]
    rank = conclude(history).ranking[0]
    assert rank.score == score(np.array([0.9, -3.0, 0.0, 0.0, 0.0, -0.2]))
    assert rank.score.median == 0


@pytest.mark.parametrize(("dataset", "low"), [("wave", (-3.0, -0.5, -2.0)), ("digits", (0.1, 0.15, 0.19))])
def test_who_diverged_never_does_better_than_who_merely_failed(dataset: str, low: tuple[float, ...]) -> None:
    history = _history(
        {("zeros", 0.1): (np.nan,) * 3, ("he_normal", 0.1): low},
        losses={("zeros", 0.1): (np.inf,) * 3, ("he_normal", 0.1): (3.0, 2.0, 4.0)},
        statuses={
            **{("zeros", 0.1, seed): "diverged" for seed in range(3)},
            **{("he_normal", 0.1, seed): "worse" for seed in range(3)},
        },
        dataset=dataset,
    )
    found = conclude(history)
    assert [rank.initializer for rank in found.ranking] == ["he_normal", "zeros"]
    assert found.ranking[0].score.median < found.ranking[1].score.median  # as they are scored
    assert [one.probability for one in found.pairs] == [0.5]


def test_a_rate_is_chosen_by_r_squared_and_among_failures_by_loss() -> None:
    history = _history(
        {("zeros", 0.1): (-0.5,) * 4, ("zeros", 1.0): (0.9, -9.0, 0.9, -9.0), ("zeros", 2.0): (np.nan,) * 4},
        losses={
            ("zeros", 0.1): (1.5,) * 4,
            ("zeros", 1.0): (0.1, 10.0, 0.1, 10.0),
            ("zeros", 2.0): (np.inf,) * 4,
        },
        statuses={("zeros", 2.0, seed): "diverged" for seed in range(4)},
        dataset="hills",
    )
    # Seeds 0 and 2 like 1.0, which sends 1 and 3 there; for those all rates fail, 0.1 with the lowest loss.
    assert conclude(history).ranking[0].learning_rates == (0.1, 1.0)


@pytest.mark.parametrize(("dataset", "said"), [("wave", "a median test R² of 0.91"), ("digits", "accuracy of 91%")])
def test_the_finding_is_in_what_is_scored(dataset: str, said: str) -> None:
    values = {("he_normal", 0.1): (0.90, 0.91, 0.92), ("lecun_normal", 0.1): (0.70, 0.71, 0.72)}
    assert said in finding(conclude(_history(values, dataset=dataset)))
    lost = {("lecun_normal", 0.1, seed): "diverged" for seed in range(3)}
    assert said in finding(conclude(_history(values, statuses=lost, dataset=dataset)))


def test_a_comparison_of_a_regression_from_start_to_end() -> None:
    spec = Spec(depth=2, width=16, steps=60, initializer="glorot_normal", dataset="diabetes")
    found = _swept(spec, CompareKnobs(initializers=("zeros", "random_normal(stddev=1e18)"), seeds=3), every=60)
    assert found.measure is R_SQUARED
    assert found.history.chance == 0
    glorot, zeros, huge = sorted(found.ranking, key=lambda rank: min(rank.runs))
    assert glorot.counts["learning"] + glorot.counts["learned"] == 3
    assert zeros.counts["stalled"] == 3
    assert huge.counts["diverged"] == 3
    assert huge.score.median == 0
    assert all(np.isfinite([rank.score.median, rank.score.iqm]).all() for rank in found.ranking)
    assert zeros.score.median == pytest.approx(0, abs=0.1)
    assert found.ranking[0] is glorot
    assert 0.1 < glorot.score.median < 0.8


def test_counts_name_every_status() -> None:
    history = _history(
        {("zeros", 0.1): (0.5,) * 5},
        statuses={("zeros", 0.1, seed): status for seed, status in enumerate(STATUSES)},
    )
    assert conclude(history).ranking[0].counts == dict.fromkeys(STATUSES, 1)


# Beside the score


def _curves(losses: Sequence[Sequence[float]], steps: Sequence[int], statuses: Sequence[str] = ()) -> History:
    """Return a history of runs from their losses at recorded steps."""
    base = _history({("zeros", 0.1): (0.5,) * len(losses)})
    told = tuple(statuses) or base.statuses
    return replace(base, steps=tuple(steps), loss=np.array(losses, dtype=float), statuses=told)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 9)), elements=st.floats(0, 9)), st.data())
def test_the_area_under_the_loss_is_that_of_numpy(losses: Array, data: st.DataObject) -> None:
    count = losses.shape[1]
    gaps = data.draw(st.lists(st.integers(1, 50), min_size=count - 1, max_size=count - 1))
    steps = np.concatenate(([0], np.cumsum(gaps)))
    found = loss_areas(_curves(losses, steps.tolist()))
    np.testing.assert_allclose(found, np.trapezoid(losses, steps, axis=1) / steps[-1], rtol=1e-12)
    assert (found <= losses.max(axis=1) + 1e-12).all()


def test_the_area_of_a_run_that_left_the_numbers_is_unbounded() -> None:
    found = loss_areas(_curves([(1, np.nan, np.nan), (1, np.inf, 2), (2, 1, 0)], (0, 1, 4)))
    assert found.tolist() == [np.inf, np.inf, (1.5 + 1.5) / 4]
    assert loss_areas(_curves([(2.0,)], (0,))).tolist() == [2.0]


def test_steps_to_a_loss_are_the_first_recorded_ones() -> None:
    losses = [(2, 1, 0.5, 0.9), (2, 1, 0.7, 0.6), (0.1, 3, 3, 3), (2, 0.1, np.nan, np.nan)]
    history = _curves(losses, (0, 5, 20, 30), ("learned", "learning", "worse", "diverged"))
    assert steps_to(history, 0.5).tolist() == [20, np.inf, 0, np.inf]
    assert steps_to(history, 1.0).tolist() == [5, 5, 0, np.inf]
    assert steps_to(history, 0.0).tolist() == [np.inf] * 4
    rank = conclude(history, target=100).ranking[0]
    assert (rank.steps_to_target, rank.reached) == (5, 3)


def test_steps_of_divergence_are_listed_in_order() -> None:
    history = _history({("zeros", 0.1): (0.5,) * 4}, statuses={("zeros", 0.1, seed): "diverged" for seed in (1, 2, 3)})
    history = replace(history, diverged_at=(None, 9, None, 3))  # one ended beyond ten times the constant's loss
    rank = conclude(history).ranking[0]
    assert rank.divergences == (3, 9)
    assert rank.counts["diverged"] == 3


def test_losses_by_rate() -> None:
    history = _history(
        {("zeros", 1.0): (0.9, 0.8), ("zeros", 0.1): (0.3, 0.4)},
        losses={("zeros", 1.0): (0.1, np.nan), ("zeros", 0.1): (0.7, 0.6)},
    )
    (found,) = rate_losses(conclude(history))
    assert found.learning_rates == (0.1, 1.0)
    assert found.losses.tolist() == [[0.7, 0.6], [0.1, np.inf]]
    assert found.chosen == (1.0, 1.0)


# A part of a comparison


def _without(history: History, *runs: int) -> History:
    """Return a history that misses some runs."""
    kept = [number for number in range(len(history.members)) if number not in runs]
    single = ("final_loss", "final_train_accuracy", "final_test_accuracy")
    arrays = {name: getattr(history, name)[kept] for name in ("loss", "train_accuracy", "test_accuracy", *single)}
    tuples = {name: tuple(getattr(history, name)[n] for n in kept) for name in ("members", "diverged_at", "statuses")}
    return replace(history, **arrays, **tuples)


def test_a_part_is_ranked_on_the_seeds_that_have_all_rates() -> None:
    whole = _history(
        {
            ("zeros", 0.1): (0.9, 0.2, 0.7),
            ("zeros", 1.0): (0.3, 0.7, 0.8),
            ("ones", 0.1): (0.5,) * 3,
            ("ones", 1.0): (0.5,) * 3,
        }
    )
    part = conclude(_without(whole, 5, 7, 8, 10, 11), planned=12)
    assert not part.is_complete
    # zeros misses seed 2 at rate 1, ones has seed 0 alone, which cannot choose.
    (rank,) = part.ranking
    assert rank.initializer == "zeros"
    assert [part.history.members[run].seed for run in rank.runs] == [0, 1]
    assert part.pairs == ()
    assert "Cancelled with 7 of 12 runs finished. zeros learns in 2 of 2" in finding(part)
    none = conclude(_without(whole, *(run for run in range(12) if run not in (0, 3))), planned=12)
    assert none.ranking == ()
    assert rate_losses(none) == ()
    assert "Too few runs are finished for a ranking." in finding(none)
    assert conclude(whole, planned=12).is_complete


def test_a_pair_is_of_the_seeds_that_both_have() -> None:
    whole = _history({("zeros", 0.1): (0.9, 0.2, 0.7), ("ones", 0.1): (0.8, 0.3, 0.1)})
    found = conclude(_without(whole, 4))
    (one,) = found.pairs
    assert (one.seeds, one.probability) == (2, 1.0)
    assert found.pair("ones", "zeros") == Pair("ones", "zeros", 0.0, None, None, 2)
    assert found.pair("ones", "ones") is None


# Pairs

PAIRED = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[hnp.arrays(np.float64, n, elements=st.sampled_from([0.1, 0.2, 0.25, 0.9]))] * 2)
)


@given(PAIRED)
def test_the_probability_of_improvement_is_a_count(values: tuple[Array, Array]) -> None:
    found = pair("a", "b", *values)
    wins = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x, y in zip(*values, strict=True))
    assert found.probability == pytest.approx(wins / len(values[0]))
    assert pair("b", "a", *values[::-1]).probability == pytest.approx(1 - found.probability)
    assert found.seeds == len(values[0])


@given(PAIRED)
def test_the_probability_of_improvement_is_that_of_rliable(values: tuple[Array, Array]) -> None:
    """Its metrics.probability_of_improvement, transcribed: each seed is a task of one run, pairs are of one task.

    Agarwal et al. 2021: Mann-Whitney's U of each task over the number of its pairs, equal runs one half, averaged.
    """
    tasks = [
        0.5 if x == y else float(stats.mannwhitneyu([x], [y], alternative="greater").statistic)
        for x, y in zip(*values, strict=True)
    ]
    assert pair("a", "b", *values).probability == pytest.approx(float(np.mean(tasks)))


@pytest.mark.parametrize("count", [5, 7, 10, 50])
def test_the_interval_of_a_pair_is_wilsons(count: int) -> None:
    for wins in range(count + 1):
        found = pair("a", "b", (np.arange(count) < wins).astype(float), np.full(count, 0.5))
        expected = stats.binomtest(wins, count).proportion_ci(method="wilson")
        assert found.low == pytest.approx(expected.low, abs=1e-12)
        assert found.high == pytest.approx(expected.high, abs=1e-12)
        assert found.is_told_apart == (not expected.low <= 0.5 <= expected.high)


@pytest.mark.parametrize("count", range(1, 8))
def test_a_pair_has_an_interval_from_five_seeds(count: int) -> None:
    found = pair("a", "b", np.ones(count), np.zeros(count))
    assert (found.low is not None) is (found.high is not None) is found.is_told_apart is (count >= 5)


@given(st.integers(5, 40), st.data())
def test_so_many_seeds_as_are_said_tell_a_pair_apart_and_one_less_does_not(count: int, data: st.DataObject) -> None:
    """The same share of wins at another number of seeds, by the test of a share that Wilson's interval inverts."""
    wins = data.draw(st.integers(0, count))
    found = pair("a", "b", (np.arange(count) < wins).astype(float), np.full(count, 0.5))
    if 2 * wins == count:
        assert found.needed is None
        return
    assert found.needed is not None

    def tells(seeds: int) -> bool:
        z = (wins / count - 0.5) / np.sqrt(0.25 / seeds)
        return bool(2 * stats.norm.sf(abs(z)) < 0.05)

    assert tells(found.needed)
    assert found.needed == INTERVAL_SEEDS or not tells(found.needed - 1)
    assert found.is_told_apart == (found.needed <= count)


def test_pairs_of_a_comparison_follow_the_ranking() -> None:
    found = conclude(_history({("zeros", 0.1): (0.3,) * 6, ("ones", 0.1): (0.9,) * 6, ("he_normal", 0.1): (0.5,) * 6}))
    order = ["ones", "he_normal", "zeros"]
    assert [(one.first, one.second) for one in found.pairs] == list(combinations(order, 2))
    assert all(one.probability == 1 and one.is_told_apart for one in found.pairs)
    back = found.pair("zeros", "ones")
    assert back is not None
    assert back.low == 0
    assert back.high == pytest.approx(1 - (found.pairs[1].low or 0))
    assert found.pairs[0].sentence == "ones beats he_normal with probability 1.00 (0.61 to 1.00)"


def test_the_pair_says_how_many_seeds_would() -> None:
    six_of_ten = pair("a", "b", np.array([1.0] * 6 + [0.0] * 4), np.full(10, 0.5))
    assert six_of_ten.sentence.endswith("not told apart by 10 seeds; about 97 would")
    even = pair("a", "b", np.full(1, 0.5), np.full(1, 0.5))
    assert even.sentence.endswith("not told apart by 1 seed; no number would, as it stands")


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 10])
def test_the_interval_of_a_pair_covers_what_it_should(seeds: int) -> None:
    """At shares from one half to .95, exactly by the binomial law: never below 83 %, 93 % in the mean."""
    counts = np.arange(seeds + 1)
    covers = []
    for share in np.linspace(0.5, 0.95, 46):
        bounds = [pair("a", "b", (np.arange(seeds) < wins).astype(float), np.full(seeds, 0.5)) for wins in counts]
        inside = [one.low is not None and one.high is not None and one.low <= share <= one.high for one in bounds]
        covers.append(float(stats.binom.pmf(counts, seeds, share)[inside].sum()))
    assert min(covers) > 0.83
    assert np.mean(covers) > 0.93


# What was found, in words


def _found(values: Mapping[str, Sequence[float]], **options: Any) -> str:
    return finding(conclude(_history({(name, 0.1): numbers for name, numbers in values.items()}, **options)))


def test_the_finding_says_who_leads_and_whether_it_is_luck() -> None:
    rising = np.linspace(0.8, 0.9, 10)
    said = _found({"he_normal": rising + 0.05, "lecun_normal": rising})
    assert said == (
        "he_normal learns in 10 of 10, with a median test accuracy of 90%. It beats lecun_normal in 10 of 10 same-seed "
        "pairs: more than luck."
    )
    close = _found({"he_normal": rising + 0.001, "lecun_normal": rising + 0.002 * (np.arange(10) < 3)})
    assert "It beats lecun_normal in 7 of 10 same-seed pairs: not told apart by 10 seeds; about 25 would." in close
    level = _found({"he_normal": rising, "lecun_normal": rising})
    assert "in 5 of 10 same-seed pairs: not told apart by 10 seeds; no number would, as it stands." in level
    assert "too few to tell: take 5 or more" in _found({"he_normal": (0.9, 0.8), "lecun_normal": (0.5, 0.6)})
    assert "one seed decides nothing" in _found({"he_normal": (0.9,), "lecun_normal": (0.5,)})


def test_the_finding_says_who_wins_more_often_by_less() -> None:
    rising = np.linspace(0.5, 0.9, 20)
    said = _found({"he_normal": rising, "lecun_normal": np.roll(rising, -1) - 0.001})
    assert "It beats lecun_normal in 1 of 20 same-seed pairs: lecun_normal wins more often, by less." in said


def test_the_finding_counts_failures_and_says_where() -> None:
    values = {(name, rate): (0.5,) * 6 for name in ("he_normal", "zeros", "ones", "orthogonal") for rate in (0.1, 1.0)}
    statuses = {
        **{("zeros", rate, seed): "stalled" for rate in (0.1, 1.0) for seed in range(6)},
        **{("ones", 0.1, seed): "stalled" for seed in range(6)},
        **{("orthogonal", rate, seed): "diverged" for rate in (0.1, 1.0) for seed in range(6)},
    }
    losses = {key: (0.1 if key[1] == 0.1 else 0.2,) * 6 for key in values}
    history = _history(values, statuses=statuses, losses=losses)
    said = finding(conclude(replace(history, spec=Spec(depth=30))))
    assert "he_normal learns in 6 of 6, with a median test accuracy of 50%; no other does." in said
    assert "zeros stalls in 6 of 6 at 30 layers, at every learning rate tried." in said
    assert "ones stalls in 6 of 6." in said
    assert "orthogonal diverges in 6 of 6, at every learning rate tried, from step 7 on." in said
    dressed = answers.comparison(conclude(history))
    assert ":gray[**stalls**]" in dressed
    assert ":red[**diverges**]" in dressed


def test_the_finding_of_failures_alone() -> None:
    statuses = {(name, 0.1, seed): "stalled" for name in ("zeros", "ones") for seed in range(3)}
    said = _found({"zeros": (0.1,) * 3, "ones": (0.1,) * 3}, statuses=statuses)
    assert said == "None of them learns. zeros and ones stall in 3 of 3 at 10 layers."


# Scores


@given(ACCURACIES)
def test_interquartile_mean_is_that_of_scipy(values: Array) -> None:
    np.testing.assert_allclose(interquartile_mean(values), stats.trim_mean(values, 0.25), rtol=1e-12, atol=1e-15)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(-5, 5)))
def test_interquartile_mean_along_an_axis(values: Array) -> None:
    for axis in (0, 1):
        found = interquartile_mean(values, axis=axis)
        np.testing.assert_allclose(found, stats.trim_mean(values, 0.25, axis=axis), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0.3,), 0.3), ((0.0, 1.0, 0.5), 0.5), ((0.0, 0.4, 0.6, 9.0), 0.5), ((1, 2, 3, 4, 5, 6, 7, 80), 4.5)],
)
def test_interquartile_mean_by_hand(values: tuple[float, ...], expected: float) -> None:
    assert interquartile_mean(np.array(values)) == pytest.approx(expected)
    assert interquartile_mean(np.array(values[::-1])) == pytest.approx(expected)


@given(ACCURACIES)
@settings(max_examples=40)
def test_a_score_is_ordered_and_within_the_values(values: Array) -> None:
    found = score(values)
    assert found.median == np.median(values)
    assert found.iqm == pytest.approx(float(stats.trim_mean(values, 0.25)), abs=1e-12)
    assert (found.low is None) == (found.high is None) == (len(values) < INTERVAL_SEEDS)
    if found.low is not None and found.high is not None:
        assert values.min() - 1e-12 <= found.low <= found.high <= values.max() + 1e-12


@given(st.floats(0, 1), st.integers(INTERVAL_SEEDS, 30))
@settings(max_examples=20)
def test_equal_values_give_an_interval_of_no_width(value: float, count: int) -> None:
    found = score(np.full(count, value))
    assert found.low == found.high == found.iqm
    assert found.iqm == pytest.approx(value)


@pytest.mark.parametrize("count", range(1, 8))
def test_an_interval_takes_five_seeds(count: int) -> None:
    assert INTERVAL_SEEDS == 5
    assert score(np.full(count, 0.1 + 0.2)).note == (
        "no interval below 5 seeds" if count < 5 else f"all {count} runs score the same: an interval of no width"
    )
    found = score(np.linspace(0.2, 0.8, count))
    assert found.note == ("no interval below 5 seeds" if count < 5 else "")
    assert (found.low is not None) is (count >= 5)
    assert (found.high is not None) is (count >= 5)


def test_a_score_is_reproducible_and_moves_with_its_values() -> None:
    values = np.array([0.1, 0.2, 0.4, 0.5, 0.7, 0.9, 0.3])
    first, again, moved = score(values), score(values), score(values + 0.05)
    assert first == again
    for name in ("median", "iqm", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(first, name) + 0.05)
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.iqm < first.high


def test_more_seeds_narrow_the_interval() -> None:
    source = np.random.default_rng(0)
    widths = []
    for count in (10, 40, 160):
        found = score(source.normal(0.5, 0.1, count))
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]
    # As 1 / sqrt(n), within a factor of 2.
    assert 2 < widths[0] / widths[2] < 8


def _coverage(seeds: int, samples: int) -> float:
    """Return how many of the intervals of a normal law's interquartile mean hold it."""
    source = np.random.default_rng(1)
    covered = 0
    for _ in range(samples):
        found = score(source.normal(0.0, 1.0, seeds))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    return covered / samples


def test_the_interval_covers_what_it_should() -> None:
    """Nominally 95 %, the bootstrap is a bit short; of 150 samples the error is 2 %."""
    assert 0.88 <= _coverage(30, 150) < 1


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "stated"), [(5, 90), (10, 94)])
def test_the_interval_covers_what_the_documentation_states(seeds: int, stated: int) -> None:
    assert f"{stated} of 100" in (comparison.__doc__ or "")
    assert f"{seeds} seeds" in (comparison.__doc__ or "")
    assert _coverage(seeds, 2000) == pytest.approx(stated / 100, abs=0.02)


@pytest.mark.parametrize("count", [5, 12])
def test_the_interval_of_the_median_is_the_bootstraps_too(count: int) -> None:
    values = np.random.default_rng(3).uniform(size=count)
    found = score(values)
    assert found.median_low is not None
    assert found.median_high is not None
    resampled = np.median(np.random.default_rng(9).choice(values, (20_000, count)), axis=1)
    low, high = np.quantile(resampled, (0.025, 0.975))
    width = high - low
    assert found.median_low == pytest.approx(low, abs=0.05 * width)
    assert found.median_high == pytest.approx(high, abs=0.05 * width)


@pytest.mark.parametrize("count", [5, 10, 33])
def test_the_interval_is_that_of_scipys_bootstrap(count: int) -> None:
    values = np.random.default_rng(count).uniform(size=count)
    reference = stats.bootstrap(
        (values,),
        interquartile_mean,
        n_resamples=comparison._RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = score(values)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=1e-14)


def test_the_interval_is_the_percentile_bootstrap_of_the_interquartile_mean() -> None:
    values = np.random.default_rng(3).uniform(size=12)
    found = score(values)
    reference = stats.bootstrap(
        (values,),
        lambda sample, axis: stats.trim_mean(sample, 0.25, axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    width = reference.high - reference.low
    assert found.low == pytest.approx(reference.low, abs=0.05 * width)
    assert found.high == pytest.approx(reference.high, abs=0.05 * width)


# A real one


def _real() -> tuple[Spec, CompareKnobs]:
    spec = Spec(depth=8, width=32, steps=120, initializer="he_normal")
    return spec, CompareKnobs(initializers=("zeros", "random_normal(stddev=1)"), seeds=5, learning_rates=(0.1, 0.0001))


def test_a_comparison_from_start_to_end() -> None:
    spec, knobs = _real()
    found = _swept(spec, knobs, every=60)
    assert found.history.members == members(spec, knobs)
    assert found.is_complete
    assert found.ranking[0].initializer == "he_normal"
    best = found.ranking[0]
    assert best.learning_rates == (0.1, 0.1)
    assert best.score.low is not None
    assert best.score.low > found.history.chance
    assert best.counts["learned"] + best.counts["learning"] == 5
    for rank in found.ranking:
        assert sum(rank.counts.values()) == len(rank.runs) == 5
        assert {found.history.members[run].initializer for run in rank.runs} == {rank.initializer}
        assert sorted(found.history.members[run].seed for run in rank.runs) == list(range(5))
    zeros = next(rank for rank in found.ranking if rank.initializer == "zeros")
    assert zeros.counts["stalled"] == 5


def test_a_run_scores_the_same_alone_as_in_the_comparison() -> None:
    spec, knobs = _real()
    whole = _swept(spec, knobs, every=120).history
    alone = _swept(spec, CompareKnobs(initializers=(), seeds=5, learning_rates=(0.1,)), every=120).history
    np.testing.assert_array_equal(alone.final_loss, whole.final_loss[:5])


def test_every_run_is_a_loop_over_a_sequential() -> None:
    """The same first weights and batches, in double precision: the same losses of every member to 1e-12."""
    spec = Spec(depth=3, width=16, activation="tanh", steps=40)
    knobs = CompareKnobs(initializers=("orthogonal", "glorot_uniform"), seeds=2, learning_rates=(0.05, 0.2))
    ours = Training(spec, members(spec, knobs), every=10, dtype=torch.float64)
    for _ in ours:
        pass
    recorded, data = ours.history(), load(spec.dataset)
    x, y = torch.tensor(data.train_x, dtype=torch.float64), torch.tensor(data.train_y)
    ensemble = initialize(spec, members(spec, knobs), torch.float64)
    for number, member in enumerate(members(spec, knobs)):
        net, criterion = plain_network(spec.activation, ensemble, number), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(net.parameters(), lr=member.learning_rate)
        order = torch.cat([torch.randperm(len(x), generator=generator(member.seed, "batches", n)) for n in range(2)])
        losses = [criterion(net(x[:512]), y[:512]).item()]
        for step in range(1, spec.steps + 1):
            batch = order[(step - 1) * 64 : step * 64]
            optimizer.zero_grad()
            criterion(net(x[batch]), y[batch]).backward()
            optimizer.step()
            if step % 10 == 0:
                losses.append(criterion(net(x[:512]), y[:512]).item())
        np.testing.assert_allclose(recorded.loss[number], losses, rtol=1e-12)
        np.testing.assert_allclose(recorded.final_loss[number], criterion(net(x), y).item(), rtol=1e-12)


@pytest.mark.parametrize(("output", "bias"), [("zeros", "log_prior"), ("small", "zeros"), ("same", "constant")])
def test_biases_and_the_output_rule_are_those_of_every_competitor(output: str, bias: str) -> None:
    spec = Spec(depth=2, width=16, steps=20, output=output, bias=bias, activation="leaky_relu(slope=0.2)")
    history = _swept(spec, CompareKnobs(initializers=("custom", "lsuv", "looks_linear"), seeds=2), every=20).history
    assert history.is_complete
    starts = history.loss[:, 0]
    if output == "zeros":
        # All of them answer the class frequencies, but for the subset of samples that the loss is taken of.
        np.testing.assert_allclose(starts, starts[0], rtol=1e-6)
        assert starts[0] == pytest.approx(history.constant_loss, rel=0.01)
    elif output == "small":
        np.testing.assert_allclose(starts, np.log(10), rtol=0.01)
    else:
        assert len(set(starts)) == len(history.members)
    # Zero weights at the output leave the first step's gradient to the output layer alone, and learning goes on.
    assert (history.final_loss < starts).all()


# Learning rates by range and count


@given(st.floats(1e-12, 1e3), st.floats(1.5, 1e6), st.integers(2, 12))
def test_a_logarithmic_grid_is_that_of_numpy_to_three_digits(low: float, ratio: float, count: int) -> None:
    found = logarithmic_grid(low, low * ratio, count)
    np.testing.assert_allclose(found, np.geomspace(low, low * ratio, count), rtol=0.0051)
    assert all(float(f"{rate:.3g}") == rate for rate in found)


@pytest.mark.parametrize(
    ("low", "high", "count"),
    [(0.0, 1.0, 3), (-1.0, 1.0, 3), (1.0, 1.0, 3), (2.0, 1.0, 3), (1.0, 1e11, 3), (0.1, 1.0, 1), (0.1, 1.0, 13)],
)
def test_what_is_no_logarithmic_grid_is_refused(low: float, high: float, count: int) -> None:
    with pytest.raises(BadInput) as caught:
        logarithmic_grid(low, high, count)
    assert caught.value.field == "learning_rates"


@pytest.mark.parametrize("count", [2, 5, 12])
def test_a_grid_among_the_rates_stands_for_its_rates(count: int) -> None:
    field = next(field for field in fields_of(CompareKnobs) if field.name == "learning_rates")
    rates = field.read(f"0.001..1:{count}")
    assert rates == logarithmic_grid(0.001, 1, count)
    assert field.read(field.write(rates)) == rates  # an address holds the rates themselves
    assert CompareKnobs(learning_rates=[f"0.001..1:{count}"]).learning_rates == rates
    assert field.read(" 5 ;1e-2 .. 1 : 3") == (5.0, 0.01, 0.1, 1.0)
    for text in ("0.1..1:3;0.1", "0.1..0.1001:4", "1..10:12;20", "0.1..1:x", "..1:3", "0.1..:3", "0.1..1:"):
        with pytest.raises(BadInput):
            field.read(text)


# From the terminal

TERMINAL = (
    *("compare", "--depth", "2", "--width", "8", "--dataset", "moons", "--steps", "12", "--seeds", "6"),
    *("--initializers", "he_normal;zeros;random_normal(stddev=1e18)", "--target", "40"),
)


def test_the_terminal_says_what_was_found_and_makes_nothing_twice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WINIT_STORE", str(tmp_path / "runs.sqlite"))
    assert main(TERMINAL) == 0
    first = capsys.readouterr()
    monkeypatch.setattr("winit.sweep.Training", None)
    assert main(TERMINAL) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "18 of 18 runs, 18 from the store" in second.err
    assert first.err.startswith("18 runs, ")
    assert "18 of 18 runs, " in first.err
    found = json.loads(first.out)
    assert found["finding"].count(" in 6 of 6") >= 2
    assert found["target_loss"] == pytest.approx(0.4 * found["constant_loss"])
    huge = next(rank for rank in found["ranking"] if rank["initializer"].startswith("random_normal"))
    assert huge["diverged"] == 6
    assert len(huge["divergences"]) == 6
    assert huge["steps_to_target"] is None
    assert huge["reasons"]["steps_to_target"] == "most runs never reach the target loss"
    assert "no width" in huge["score"]["reason"]
    assert len(found["pairs"]) == 3
    for one in found["pairs"]:
        assert one["told_apart"] == (not one["low"] <= 0.5 <= one["high"])
    for member in found["members"]:
        if member["status"] != "diverged":
            assert member["loss_area"] == pytest.approx(
                np.trapezoid(member["loss"], found["steps"]) / found["steps"][-1], rel=1e-12
            )


def test_an_interrupted_terminal_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WINIT_STORE", str(tmp_path / "runs.sqlite"))
    advance = Sweep.advance

    def interrupted(sweep: Sweep, seconds: float) -> Progress:
        if sweep.progress.runs:
            raise KeyboardInterrupt
        sweep._at_once = 6
        return advance(sweep, 0.0)

    monkeypatch.setattr(Sweep, "advance", interrupted)
    with pytest.raises(SystemExit) as caught:
        main(TERMINAL)
    assert caught.value.code == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "stopped: 6 of 18 runs" in printed.err
    monkeypatch.setattr(Sweep, "advance", advance)
    assert main(TERMINAL) == 0
    assert "18 of 18 runs, 6 from the store" in capsys.readouterr().err
