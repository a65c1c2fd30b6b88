"""Comparison: who competes, how a rate is chosen without flattering, how scores and intervals come about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

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
from winit.datasets import ACCURACY, DATASETS, R_SQUARED
from winit.fields import BadInput
from winit.lenses import CompareKnobs
from winit.network import Member
from winit.spec import Spec
from winit.sweep import Sweep
from winit.training import STATUSES, History
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
    found = score(np.linspace(0.2, 0.8, count))
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


def test_the_interval_covers_what_it_should() -> None:
    """Of 300 intervals from normal samples of 30 at least 85 % cover: nominally 95 %, the bootstrap is a bit short."""
    source = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        found = score(source.normal(0.0, 1.0, 30))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    assert 0.85 <= covered / 300 < 1


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
