"""The figures of Compare: exact numbers, names of all, odd results drawn without a crash."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from winit import comparison
from winit.__main__ import main
from winit.comparison import Comparison
from winit.datasets import ACCURACY, R_SQUARED
from winit.figures import comparison as figures
from winit.figures.palette import DARK, LIGHT, Palette, styles
from winit.lenses import CompareKnobs, together
from winit.network import Member
from winit.spec import Spec
from winit.sweep import Curves, Sweep
from winit.training import History, status

NAMES = ("he_normal", "glorot_normal", "zeros", "random_normal(stddev=1)")


def history(seeds: int = 5, rates: tuple[float, ...] = (0.1,), dataset: str = "digits") -> History:
    """Return a made-up history of four initializers: two learn, one stalls, one leaves the finite numbers at step 2."""
    members = tuple(Member(name, seed, rate) for name in NAMES for rate in rates for seed in range(seeds))
    steps = (0, 1, 2, 4, 8, 16)
    loss, score = np.empty((len(members), 6)), np.empty((len(members), 6))
    for run, member in enumerate(members):
        kind = NAMES.index(member.initializer)
        fall = np.linspace(0, 1, 6) * (0.9 - 0.3 * kind) * (1 if member.learning_rate <= 0.1 else 0.2)
        loss[run] = 2.3 * (1 - fall) + 0.01 * member.seed if kind < 2 else 2.3
        score[run] = 0.1 + fall * 0.9 - 0.01 * member.seed if kind < 2 else 0.1
        if kind == 3:
            loss[run, 2:], score[run, 2:] = np.nan, np.nan
    left = tuple(2 if member.initializer == NAMES[3] else None for member in members)
    final = np.where(np.isfinite(loss[:, -1]), loss[:, -1], np.inf)
    return History(
        spec=Spec(dataset=dataset, steps=16),
        members=members,
        steps=steps,
        loss=loss,
        train_accuracy=score,
        test_accuracy=score,
        diverged_at=left,
        final_loss=final,
        final_train_accuracy=score[:, -1],
        final_test_accuracy=score[:, -1],
        statuses=tuple(status(value, 2.3, at) for value, at in zip(final, left, strict=True)),
        constant_loss=2.3,
        chance=0.1 if dataset == "digits" else 0.0,
    )


def found(**options: Any) -> Comparison:
    return comparison.conclude(history(**options))


def texts(chart: Any) -> str:
    """Return every text of a figure."""
    return " ".join(note.text for note in chart.layout.annotations)


def curves(one: Comparison, palette: Palette = LIGHT, is_narrow: bool = False, **knobs: Any) -> Any:
    return figures.curves(
        Curves.of(one.history),
        CompareKnobs(**knobs),
        NAMES,
        2.3,
        palette,
        one.measure,
        groups=[rank.runs for rank in one.ranking],
        is_narrow=is_narrow,
    )


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("curve", list(figures.CURVES))
@pytest.mark.parametrize("seeds", [1, 5])
def test_curves_name_every_initializer(palette: Palette, curve: str, seeds: int) -> None:
    chart = curves(found(seeds=seeds), palette, curve=curve)
    said = texts(chart)
    assert "he_normal" in said
    assert "glorot_normal" in said
    assert "stalled: zeros" in said
    assert f"normal(1) diverged, {seeds} of {seeds}" in said
    assert ("accuracy" in said) == (not curve.startswith("loss"))


def test_the_choices_of_the_knob_are_those_of_the_figure() -> None:
    assert CompareKnobs(curve="loss_log").curve in figures.CURVES
    for curve in figures.CURVES:
        assert CompareKnobs(curve=curve).curve == curve


def test_the_line_is_the_median_and_the_band_the_quartiles() -> None:
    one = found()
    chart = curves(one)
    runs = list(next(rank.runs for rank in one.ranking if rank.initializer == "he_normal"))
    line = next(trace for trace in chart.data if "<b>he_normal</b>" in str(trace.hovertext))
    np.testing.assert_allclose(line.y, np.median(one.history.loss[runs], axis=0))
    band = chart.data[list(chart.data).index(line) - 1]
    low, high = np.quantile(one.history.loss[runs], (0.25, 0.75), axis=0)
    np.testing.assert_allclose(band.y, np.concatenate((low, high[::-1])))
    assert "has at step 16<br>a training loss of 0.25 in the median" in line.hovertext[-1]


def test_each_run_is_a_line_on_demand() -> None:
    one = found()
    chart = curves(one, runs="each", only=(1,))
    thin = next(trace for trace in chart.data if trace.line.width == 1)
    runs = list(next(rank.runs for rank in one.ranking if rank.initializer == "he_normal"))
    drawn = [value for value in thin.y if value is not None]
    np.testing.assert_allclose(drawn, one.history.loss[runs].ravel())
    assert "with seed 4" in thin.hovertext[-2]


def test_only_the_chosen_are_drawn_and_keep_their_look() -> None:
    one = found()
    every, two = curves(one), curves(one, only=(2, 40))
    assert "glorot_normal" in texts(two)
    assert "he_normal" not in texts(two)
    look = styles(NAMES, LIGHT)["glorot_normal"]
    for chart in (every, two):
        line = next(trace for trace in chart.data if "<b>glorot_normal</b>" in str(trace.hovertext))
        assert (line.line.color, line.line.dash) == (look.colour, look.dash)


def test_on_a_narrow_page_names_stand_below_and_the_plot_keeps_its_size() -> None:
    wide, narrow = curves(found()), curves(found(), is_narrow=True)
    assert narrow.layout.margin.r < 20 < wide.layout.margin.r
    sizes = [chart.layout.height - chart.layout.margin.t - chart.layout.margin.b for chart in (wide, narrow)]
    assert sizes[0] == sizes[1]
    names = [trace.name for trace in narrow.data if trace.showlegend]
    assert names == ["he_normal", "glorot_normal", "zeros, stalled"]


def test_siblings_of_a_family_differ_in_lightness_and_dash() -> None:
    names = ("random_normal(stddev=1)", "random_normal(stddev=0.1)", "random_uniform")
    looks = list(styles(names, LIGHT).values())
    assert len({look.colour for look in looks}) == 1
    for one, other in itertools.combinations(looks, 2):
        assert one.shade != other.shade
        assert one.dash != other.dash


def test_a_sweep_grows_from_its_first_step() -> None:
    spec, knobs = Spec(depth=2, width=8, steps=30), CompareKnobs(initializers=("zeros",), seeds=3)
    sweep = Sweep(spec, knobs, at_once=3)
    sweep.advance(0.0)
    lengths = []
    while not sweep.is_finished:
        names = together(spec.initializer, knobs.initializers)
        chart = figures.curves(sweep.curves(), knobs, names, 2.3, LIGHT, ACCURACY)
        line = next(trace for trace in chart.data if "<b>he_normal</b>" in str(trace.hovertext))
        assert np.isfinite(np.array(line.y)).all()
        lengths.append(len(line.x))
        sweep.advance(0.0)
    assert lengths[0] == 1
    assert lengths == sorted(lengths)


def test_while_it_runs_the_best_rate_so_far_leads() -> None:
    part = Curves.of(history(rates=(0.1, 1.0)))
    leading = {part.members[group[0]].initializer: group for group in figures.leading_runs(part)}
    assert {part.members[run].learning_rate for run in leading["he_normal"]} == {0.1}
    assert {name: len(group) for name, group in leading.items()} == dict.fromkeys(NAMES, 5)


def test_the_ranking_shows_the_interval_from_five_seeds_on() -> None:
    one = found()
    chart = figures.ranking(one, LIGHT)
    bars = [trace for trace in chart.data if trace.mode == "lines"]
    assert [tuple(bar.x) for bar in bars] == [(rank.score.low, rank.score.high) for rank in one.ranking]
    assert "bar: its 95 % interval" in texts(chart)
    for name in ("he_normal", "glorot_normal", "zeros", "normal(1)"):
        assert f"<b>{name}</b>" in texts(chart)
    few = figures.ranking(found(seeds=4), LIGHT)
    assert not [trace for trace in few.data if trace.mode == "lines"]
    assert "interval" not in texts(few)


def test_the_ranking_of_a_regression() -> None:
    """Below the axis a run stands at its edge, with its R² in words; a diverged one counts as 0."""
    one = history(seeds=2, dataset="diabetes")
    final = np.array([0.9, 0.7, 0.5, 0.3, -3.0, -40.0, np.nan, np.nan])
    one = History(**{**one.__dict__, "final_test_accuracy": final})
    chart = figures.ranking(comparison.conclude(one), LIGHT)
    said = texts(chart)
    assert "Test R² after 16 steps" in said
    assert "0.80" in said
    assert "−21.50" in said
    assert "diverged" in said
    assert "the mean" in said
    low, high = chart.layout.xaxis.range
    numbers = np.concatenate([np.array(trace.x, dtype=float) for trace in chart.data])
    assert numbers.min() == low == pytest.approx(-1.04)
    assert high == 1
    assert any("test R² −40.000" in text for trace in chart.data for text in trace.hovertext or ())
    assert "accuracy" not in curves(comparison.conclude(one), curve="test_accuracy").to_json()
    assert one.spec.dataset == "diabetes"
    assert comparison.conclude(one).measure is R_SQUARED


def test_the_matrix_says_every_pair_once() -> None:
    one = found()
    chart = figures.pairs(one, LIGHT)
    cells = chart.data[-1]
    order = [rank.initializer for rank in one.ranking]
    assert len(cells.x) == len(one.pairs) == 6
    for x, y, text, hover in zip(cells.x, cells.y, cells.text, cells.hovertext, strict=True):
        pair = one.pair(order[x], order[y])
        assert pair is not None
        assert f"{pair.probability:.2f}" in text
        assert hover.replace("<br>", " ") == pair.sentence
        told = chart.data[1].z[y][x]
        assert np.isfinite(told) == pair.is_told_apart
        if pair.is_told_apart:
            assert told == pair.probability
        elif pair.needed is not None:
            assert f"{pair.needed:,} seeds" in text


def test_status_bars_add_up() -> None:
    one = found()
    chart = figures.statuses(one, LIGHT)
    for row, rank in zip(range(4, 0, -1), one.ranking, strict=True):
        bars = [bar for bar in chart.data if bar.y[0] == row]
        assert sum(bar.x[0] for bar in bars) == pytest.approx(1)
        assert len(bars) == sum(count > 0 for count in rank.counts.values())
    colours = {bar.marker.color for bar in chart.data}
    assert {LIGHT.diverged, LIGHT.stalled} <= colours
    assert "out of the finite numbers at step 2" in chart.data[-1].hovertext + chart.data[-2].hovertext


def test_rates_draw_the_medians_ring_the_chosen_and_cross_the_lost() -> None:
    one = found(rates=(0.01, 0.1, 1.0))
    losses = comparison.rate_losses(one)
    chart = figures.rates(losses, one, LIGHT)
    for each in losses:
        middle = np.median(each.losses, axis=1)
        if np.isfinite(middle).all():
            line = next(trace for trace in chart.data if each.initializer in str(trace.hovertext))
            np.testing.assert_allclose(line.y, middle)
    rings = {float(x) for trace in chart.data if trace.marker.symbol == "circle-open" for x in trace.x}
    assert rings == {rate for each in losses for rate in each.chosen if np.isfinite(each.losses).all()}
    crosses = [x for trace in chart.data if trace.marker.symbol == "x-thin" for x in trace.x]
    assert crosses == [0.01, 0.1, 1.0]


def test_many_initializers_are_drawn() -> None:
    names = tuple(f"constant(value={number})" for number in range(1, 25))
    spec = Spec(depth=1, width=2, steps=2)
    sweep = Sweep(spec, CompareKnobs(initializers=names, seeds=1))
    for _ in sweep:
        pass
    one = sweep.conclude()
    for chart in (figures.ranking(one, LIGHT), figures.pairs(one, LIGHT), figures.statuses(one, LIGHT)):
        assert chart.layout.height >= 226


def test_the_terminal_writes_the_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "curves.html"
    words = "compare --depth 1 --width 4 --steps 4 --seeds 2 --initializers he_normal;zeros --only 1 --figure"
    assert main([*words.split(), str(target)]) == 0
    assert json.loads(capsys.readouterr().out)["ranking"]
    page = target.read_text(encoding="utf-8")
    assert "he_normal\\u003c" in page  # its label at the line's end
    assert "zeros\\u003c" not in page
