"""Comparison: which runs there are, how rates are chosen without flattery, and how results are ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from winit.comparison import (
    INTERVAL_SEEDS,
    conclude,
    interquartile_mean,
    median_finite,
    median_loss,
    members,
    score,
    start,
)
from winit.fields import BadInput
from winit.lenses import CompareKnobs
from winit.network import Member
from winit.spec import Spec
from winit.training import STATUSES, History, Training

CHANCE = 0.125
Outcome = tuple[float, float, str]
"""Final test accuracy, final loss, status."""


def _history(outcomes: Mapping[tuple[str, int, float], Outcome]) -> History:
    """Return a history made by hand from (initializer, seed, rate) -> outcome."""
    runs = tuple(Member(*key) for key in outcomes)
    accuracy, loss, statuses = zip(*outcomes.values(), strict=True)
    curve = np.array(loss)[:, None]
    return History(
        Spec(steps=1),
        runs,
        (0,),
        curve,
        curve,
        curve,
        tuple(0 if status == "diverged" else None for status in statuses),
        np.array(loss),
        np.array(accuracy),
        np.array(accuracy),
        tuple(statuses),
        2.3,
        CHANCE,
    )


# Members


def test_members_are_initializers_by_rates_by_seeds_the_networks_own_first() -> None:
    knobs = CompareKnobs(initializers=("glorot_normal", "zeros"), seeds=2, learning_rates=(0.1, 0.01))
    found = members(Spec(initializer="orthogonal", seed=7, learning_rate=5.0), knobs)
    assert found == tuple(
        Member(initializer, seed, rate)
        for initializer in ("orthogonal", "glorot_normal", "zeros")
        for rate in (0.1, 0.01)
        for seed in (7, 8)
    )


def test_without_rates_the_networks_own_is_used() -> None:
    found = members(Spec(learning_rate=0.3), CompareKnobs(initializers=("zeros",), seeds=1))
    assert found == (Member("he_normal", 0, 0.3), Member("zeros", 0, 0.3))


def test_the_networks_own_initializer_runs_once() -> None:
    found = members(Spec(initializer="zeros"), CompareKnobs(initializers=("glorot_normal", "zeros"), seeds=3))
    assert [member.initializer for member in found] == ["zeros"] * 3 + ["glorot_normal"] * 3


def test_seeds_go_round_at_the_end_of_their_range() -> None:
    found = members(Spec(seed=2**31 - 1), CompareKnobs(initializers=("he_normal",), seeds=3))
    assert [member.seed for member in found] == [2**31 - 1, 0, 1]


@pytest.mark.parametrize("build", [members, start])
def test_several_rates_on_one_seed_are_refused(build: object) -> None:
    knobs = CompareKnobs(initializers=("zeros",), seeds=1, learning_rates=(0.1, 0.01))
    assert callable(build)
    with pytest.raises(BadInput, match=r"seeds.*1.*at least 2"):
        build(Spec(), knobs)


def test_one_rate_on_one_seed_is_allowed_and_two_on_two() -> None:
    one = CompareKnobs(initializers=("zeros",), seeds=1, learning_rates=(0.1,))
    assert [member.learning_rate for member in members(Spec(), one)] == [0.1, 0.1]
    two = CompareKnobs(initializers=("zeros",), seeds=2, learning_rates=(0.1, 0.2))
    assert len(members(Spec(), two)) == 8


# Interquartile mean and score


@given(npst.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3)))
def test_interquartile_mean_is_that_of_scipy(values: np.ndarray) -> None:
    before = values.copy()
    assert float(interquartile_mean(values)) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-12, abs=1e-9)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_interquartile_mean_along_an_axis(axis: int) -> None:
    values = np.random.default_rng(0).normal(size=(9, 14))
    np.testing.assert_allclose(interquartile_mean(values, axis), stats.trim_mean(values, 0.25, axis=axis), rtol=1e-12)


@pytest.mark.parametrize("count", range(1, 4))
def test_interquartile_mean_of_few_values_is_their_mean(count: int) -> None:
    values = np.array([1.0, 5.0, 100.0])[:count]
    assert float(interquartile_mean(values)) == pytest.approx(values.mean())


def test_interquartile_mean_ignores_what_lies_far_out() -> None:
    assert float(interquartile_mean(np.array([-1e9, 1.0, 3.0, 1e9]))) == 2.0


@pytest.mark.parametrize("count", [INTERVAL_SEEDS, 7, 50])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 0.9722222222222222, 1.0])
def test_equal_values_give_an_interval_of_zero_width(value: float, count: int) -> None:
    found = score(np.full(count, value))
    assert found.low is not None
    assert found.high is not None
    assert found.low == found.high
    assert found.low == pytest.approx(value, rel=1e-15)
    assert found.median == value
    assert found.iqm == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("count", range(1, INTERVAL_SEEDS))
def test_too_few_seeds_give_no_interval(count: int) -> None:
    found = score(np.linspace(0.1, 0.9, count))
    assert found.low is None
    assert found.high is None
    assert math.isfinite(found.iqm)


@pytest.mark.parametrize("count", [5, 20, 50])
def test_the_interval_lies_around_the_score(count: int) -> None:
    values = np.random.default_rng(count).uniform(0.2, 0.9, count)
    found = score(values)
    assert found.low is not None
    assert found.high is not None
    assert values.min() <= found.low < found.iqm < found.high <= values.max()
    assert found.median == np.median(values)
    assert score(values) == found  # the resamples are always the same


def test_the_interval_is_that_of_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).normal(0.8, 0.05, 30)
    found = score(values)
    expected = stats.bootstrap(
        (values,),
        lambda x, axis: stats.trim_mean(x, 0.25, axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    # Bounds of 2,000 resamples: their Monte Carlo error is about 0.06 of the standard error of the mean.
    error = float(expected.standard_error)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.3 * error)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.3 * error)


def test_more_seeds_give_a_narrower_interval() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.05, 50)
    few, many = score(values[:8]), score(values)
    assert None not in (few.low, few.high, many.low, many.high)
    assert many.high - many.low < few.high - few.low  # type: ignore[operator]


# Choosing a rate


def _rates(good: Sequence[float], bad: Sequence[float]) -> dict[tuple[str, int, float], Outcome]:
    """Return the outcomes of one initializer at rates 0.1 and 0.2, an accuracy per seed."""
    return {
        ("he_normal", seed, rate): (accuracy, 1 - accuracy, "learned")
        for rate, accuracies in ((0.1, good), (0.2, bad))
        for seed, accuracy in enumerate(accuracies)
    }


def test_a_rate_is_chosen_by_one_half_and_scored_on_the_other() -> None:
    """Rate 0.1 does well on seeds 0, 2, 4 and 0.2 on seeds 1, 3, 5: a flattering choice would score 0.9."""
    history = _history(_rates((0.9, 0.2, 0.9, 0.2, 0.9, 0.2), (0.3, 0.9, 0.3, 0.9, 0.3, 0.9)))
    (rank,) = conclude(history).ranking
    # Even seeds are scored at what the odd ones chose, 0.2, and the odd ones at 0.1.
    assert rank.learning_rates == (0.2, 0.1)
    assert [history.members[run] for run in rank.runs] == [
        Member("he_normal", seed, 0.1 if seed % 2 else 0.2) for seed in range(6)
    ]
    assert list(history.final_test_accuracy[list(rank.runs)]) == [0.3, 0.2, 0.3, 0.2, 0.3, 0.2]
    assert rank.score.iqm == pytest.approx(0.25)


def test_a_rate_that_is_better_everywhere_is_chosen_by_both() -> None:
    (rank,) = conclude(_history(_rates((0.8, 0.7, 0.9, 0.8, 0.7), (0.6, 0.5, 0.6, 0.6, 0.6)))).ranking
    assert rank.learning_rates == (0.1, 0.1)
    assert rank.runs == (0, 1, 2, 3, 4)
    assert rank.score.median == 0.8


def test_each_initializer_chooses_for_itself() -> None:
    outcomes = {
        (initializer, seed, rate): (0.9 if rate == best else 0.4, 0.5, "learned")
        for initializer, best in (("he_normal", 0.1), ("zeros", 0.2))
        for rate in (0.1, 0.2)
        for seed in range(4)
    }
    ranking = conclude(_history(outcomes)).ranking
    assert {rank.initializer: rank.learning_rates for rank in ranking} == {
        "he_normal": (0.1, 0.1),
        "zeros": (0.2, 0.2),
    }
    assert all(len(rank.runs) == 4 for rank in ranking)


def test_a_rate_at_which_runs_diverge_is_not_chosen_for_its_flattering_end() -> None:
    outcomes = {
        ("he_normal", seed, rate): (1.0, math.nan, "diverged") if rate == 0.2 else (0.5, 1.0, "learning")
        for rate in (0.1, 0.2)
        for seed in range(4)
    }
    (rank,) = conclude(_history(outcomes)).ranking
    assert rank.learning_rates == (0.1, 0.1)
    assert rank.score.iqm == 0.5


def test_one_rate_is_given_once() -> None:
    (rank,) = conclude(_history({("he_normal", seed, 0.1): (0.5, 1.0, "learning") for seed in (4, 5, 6)})).ranking
    assert rank.learning_rates == (0.1,)
    assert rank.runs == (0, 1, 2)


# Ranking


def test_the_best_score_comes_first() -> None:
    accuracies = {"zeros": 0.1, "he_normal": 0.9, "glorot_normal": 0.95, "orthogonal": 0.5}
    outcomes = {(name, seed, 0.1): (value, 1.0, "learning") for name, value in accuracies.items() for seed in range(5)}
    ranking = conclude(_history(outcomes)).ranking
    assert [rank.initializer for rank in ranking] == ["glorot_normal", "he_normal", "orthogonal", "zeros"]
    assert [rank.score.iqm for rank in ranking] == pytest.approx([0.95, 0.9, 0.5, 0.1])


def test_equal_scores_are_ranked_by_loss_and_infinite_loss_is_worst() -> None:
    losses = {"zeros": 2.3, "he_normal": math.nan, "glorot_normal": 0.1, "orthogonal": 1.0}
    outcomes = {(name, seed, 0.1): (0.5, loss, "stalled") for name, loss in losses.items() for seed in range(5)}
    ranking = conclude(_history(outcomes)).ranking
    assert [rank.initializer for rank in ranking] == ["glorot_normal", "orthogonal", "zeros", "he_normal"]


def test_a_diverged_run_counts_as_chance() -> None:
    outcomes: dict[tuple[str, int, float], Outcome] = {
        ("he_normal", 0, 0.1): (math.nan, math.nan, "diverged"),
        ("he_normal", 1, 0.1): (0.9, 0.2, "learned"),
        ("he_normal", 2, 0.1): (0.99, 1e6, "diverged"),  # finite, but ten times beyond a constant
    }
    (rank,) = conclude(_history(outcomes)).ranking
    assert rank.score.median == CHANCE
    assert rank.score.iqm == pytest.approx((CHANCE + 0.9 + CHANCE) / 3)
    assert rank.counts["diverged"] == 2


def test_counts_are_those_of_the_scored_runs() -> None:
    outcomes: dict[tuple[str, int, float], Outcome] = {
        ("he_normal", seed, rate): (
            (0.9, 0.1, "learned" if seed else "learning") if rate == 0.1 else (0.1, 2.3, "stalled")
        )
        for rate in (0.1, 0.2)
        for seed in range(4)
    }
    (rank,) = conclude(_history(outcomes)).ranking
    assert dict(rank.counts) == {"learned": 3, "learning": 1, "stalled": 0, "worse": 0, "diverged": 0}
    assert tuple(rank.counts) == STATUSES


def test_medians_of_losses() -> None:
    assert median_loss(np.array([1.0, math.nan, 3.0])) == 3.0
    assert median_loss(np.array([math.nan, math.inf, 3.0])) == math.inf
    assert median_finite(np.array([1.0, math.nan, 3.0, math.inf])) == 2.0
    assert median_finite(np.array([math.nan, -math.inf])) is None


# A real one


def test_a_comparison_from_start_to_end() -> None:
    spec = Spec(depth=2, width=16, dataset="blobs", steps=40, seed=3)
    knobs = CompareKnobs(initializers=("zeros", "random_normal(stddev=1e+20)"), seeds=5, learning_rates=(1e-6, 0.1))
    training = start(spec, knobs, every=20)
    assert isinstance(training, Training)
    assert training.members == members(spec, knobs)
    next(training)
    early = conclude(training.history())  # at any time, before the first step too
    assert {rank.initializer for rank in early.ranking} == {"he_normal", "zeros", "random_normal(stddev=1e+20)"}
    for _ in training:
        pass
    comparison = conclude(training.history())
    best, *others = comparison.ranking
    assert best.initializer == "he_normal"
    assert best.learning_rates == (0.1, 0.1)
    assert best.score.iqm > 0.9
    assert best.score.low is not None
    wild = next(rank for rank in others if rank.initializer.startswith("random"))
    assert wild.counts["diverged"] == 5
    assert wild.score.iqm == comparison.history.chance
    for rank in comparison.ranking:
        assert sum(rank.counts.values()) == len(rank.runs) == 5
        assert [comparison.history.members[run].seed for run in rank.runs] == [3, 4, 5, 6, 7]
