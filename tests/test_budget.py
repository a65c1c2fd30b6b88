"""The budget: prices that grow with the work, limits that come from the host, refusals that say what to do."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winit import budget, distributions, host
from winit.__main__ import _read
from winit.budget import (
    Limit,
    Price,
    comparison_price,
    draw_price,
    duration,
    look_price,
    require_comparison,
    runs_at_once,
    runs_of,
    signal_price,
    spectra_price,
    terminal_command,
    training_price,
)
from winit.datasets import DATASETS
from winit.fields import BadInput
from winit.initializers import LayerShape
from winit.lenses import CompareKnobs
from winit.optimizers import OPTIMIZERS
from winit.spec import Spec
from winit.sweep import Sweep

BASE = Spec(depth=5, width=40, batch_size=32, steps=200)
SPECS = st.builds(
    Spec,
    depth=st.integers(1, 200),
    width=st.integers(1, 1024) | st.lists(st.integers(1, 1024), min_size=2, max_size=16).map(tuple),
    dataset=st.sampled_from(list(DATASETS)),
    batch_size=st.integers(1, 4096),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    steps=st.integers(1, 100_000),
)


def _grows(small: Price, large: Price) -> bool:
    return (
        large.multiply_adds > small.multiply_adds and large.seconds > small.seconds and large.bytes >= small.bytes > 0
    )


@pytest.mark.parametrize("factor", [2, 5])
@pytest.mark.parametrize("field", ["depth", "width", "batch_size", "steps"])
def test_training_costs_more_with_each_field(field: str, factor: int) -> None:
    more = BASE.replace(**{field: factor * getattr(BASE, field)})
    assert _grows(training_price(BASE, 4), training_price(more, 4))
    assert _grows(training_price(BASE, 4, recorded=10), training_price(more, 4, recorded=10))


@settings(max_examples=50)
@given(spec=SPECS, members=st.integers(1, 600), recorded=st.integers(1, 100), data=st.data())
def test_training_never_costs_less_for_more(spec: Spec, members: int, recorded: int, data: Any) -> None:
    cheap = training_price(spec, members, recorded)
    # One width more for each layer, where there are several; the depth is theirs.
    wider = data.draw(
        st.tuples(*[st.integers(units, 1024) for units in spec.widths]) if spec.depth <= 16 else st.none()
    )
    changes: list[dict[str, Any]] = [{"width": wider}] if wider else []
    for field, largest in (("depth", 200), ("width", 1024), ("batch_size", 4096), ("steps", 100_000)):
        if not isinstance(spec.width, tuple) or field not in ("depth", "width"):
            changes.append({field: data.draw(st.integers(getattr(spec, field), largest))})
    for change in changes:
        dear = training_price(spec.replace(**change), members, recorded)
        assert dear.multiply_adds >= cheap.multiply_adds
        assert dear.seconds >= cheap.seconds
        # gaussian is as wide as the network on both sides; the others keep their inputs.
        assert dear.bytes >= cheap.bytes
    assert _grows(cheap, training_price(spec, members + 1, recorded))
    assert _grows(cheap, training_price(spec, members, recorded + 1))


@pytest.mark.parametrize("members", [1, 40])
def test_optimizers_that_remember_more_take_more_memory(members: int) -> None:
    found = {name: training_price(BASE.replace(optimizer=name), members).bytes for name in OPTIMIZERS}
    assert {kept.BUFFERS for kept in OPTIMIZERS.values()} == {0, 1, 2}
    for one, other in product(OPTIMIZERS, repeat=2):
        more = OPTIMIZERS[one].BUFFERS - OPTIMIZERS[other].BUFFERS
        assert np.sign(found[one] - found[other]) == np.sign(more)


@pytest.mark.parametrize("members", [1, 40])
def test_each_width_is_counted(members: int) -> None:
    prices = [training_price(BASE.replace(width=width), members) for width in ("8-8-8", "8-16-8", "8-16-9", "64-16-9")]
    assert all(_grows(small, large) for small, large in pairwise(prices))
    signals = [signal_price(BASE.replace(width=width), members, 64) for width in ("8-8-8", "8-16-8", "64-16-8")]
    assert all(_grows(small, large) for small, large in pairwise(signals))
    spec = Spec(width=(10, 20, 5), dataset="moons", batch_size=8, steps=100)
    weights = 2 * 10 + 10 * 20 + 20 * 5 + 5 * 2
    assert training_price(spec, 3, recorded=0).multiply_adds == 3 * weights * 8 * 100 * 3
    # The same as one number and as one for each layer.
    assert training_price(Spec(depth=3, width=8), members) == training_price(Spec(width=(8, 8, 8)), members)


def test_the_learning_rate_and_the_seed_cost_nothing() -> None:
    other = BASE.replace(learning_rate=3.0, seed=5, initializer="zeros", activation="relu")
    assert training_price(BASE, 4) == training_price(other, 4)


def test_multiply_adds_are_counted() -> None:
    spec = Spec(depth=2, width=10, dataset="moons", batch_size=8, steps=100)
    weights = 2 * 10 + 10 * 10 + 10 * 2
    # Forward, and backward by inputs and by weights: three products per weight and sample.
    without = training_price(spec, 3, recorded=0).multiply_adds
    assert without == 3 * weights * 8 * 100 * 3
    each = training_price(spec, 3, recorded=1).multiply_adds - without
    assert each > 0
    assert training_price(spec, 3, recorded=7).multiply_adds == pytest.approx(without + 7 * each)


def test_a_comparison_costs_the_work_of_all_its_runs_and_the_memory_of_those_at_a_time() -> None:
    knobs = CompareKnobs(initializers=("zeros", "orthogonal"), seeds=3, learning_rates=(0.1, 0.2, 0.3, 0.4))
    all_runs, price = training_price(BASE, 3 * 4 * 3), comparison_price(BASE, knobs)
    assert (price.multiply_adds, price.seconds) == (all_runs.multiply_adds, all_runs.seconds)
    # The network's own initializer competes once, and no rates means its own rate.
    assert runs_of(BASE, CompareKnobs(initializers=("he_normal",), seeds=1)) == 1
    # Ten times as many runs, the same groups: only what is recorded grows.
    wide = BASE.replace(depth=10, width=256)
    few, many = (comparison_price(wide, knobs.replace(seeds=seeds)) for seeds in (5, 50))
    assert runs_at_once(wide, 60) < 60
    assert many.multiply_adds == 10 * few.multiply_adds
    assert many.bytes < 1.5 * few.bytes  # groups are rounded to equal ones
    assert many.bytes < training_price(wide, 600).bytes / 10
    for more in (
        knobs.replace(seeds=4),
        knobs.replace(initializers=("zeros", "orthogonal", "lecun_normal")),
        knobs.replace(learning_rates=(0.1, 0.2, 0.3, 0.4, 0.5)),
    ):
        assert _grows(comparison_price(BASE, knobs), comparison_price(BASE, more))


@pytest.mark.parametrize("field", ["depth", "width"])
def test_measuring_the_signal_costs_more_with_each_field(field: str) -> None:
    more = BASE.replace(**{field: 3 * getattr(BASE, field)})
    assert _grows(signal_price(BASE, 8, 64), signal_price(more, 8, 64))


def test_measuring_the_signal_costs_more_with_seeds_samples_and_gradients() -> None:
    base = signal_price(BASE, 8, 64)
    assert _grows(base, signal_price(BASE, 9, 64))
    assert _grows(base, signal_price(BASE, 8, 65))
    assert _grows(signal_price(BASE, 8, 64, backward=False), base)


def test_drawing_and_looking_cost_more_for_more_weights() -> None:
    few, many = (draw_price("he_normal", LayerShape(10, 10), samples) for samples in (1000, 2000))
    assert (many.seconds, many.bytes) == (pytest.approx(2 * few.seconds), 2 * few.bytes)
    assert _grows(look_price("he_normal", LayerShape(64, 64)), look_price("he_normal", LayerShape(64, 65)))
    assert _grows(spectra_price(BASE), spectra_price(BASE.replace(depth=BASE.depth + 1)))
    # A square matrix of twice the side: eight times the work.
    small, large = (look_price("he_normal", LayerShape(side, side)).multiply_adds for side in (100, 200))
    assert large == 8 * small


def test_matrices_cost_more_than_their_values_and_a_fit_the_way_to_the_layer() -> None:
    network = BASE.replace(depth=20, width=64)
    shape = network.layer_shapes()[10]
    prices: list[Callable[..., Price]] = [
        lambda name, network=None: draw_price(name, shape, 5000, network),
        lambda name, network=None: look_price(name, shape, network),
    ]
    for price in prices:
        plain, orthogonal, fitted = map(price, ("he_normal", "orthogonal", "lsuv"))
        assert plain.seconds < orthogonal.seconds < fitted.seconds
        assert price("he_normal", network) == plain
        here, above = (price("lsuv", network.replace(depth=depth)) for depth in (20, 30))
        assert fitted.seconds < here.seconds == above.seconds  # what lies above the layer is not drawn
    upper = draw_price("lsuv", network.layer_shapes()[18], 5000, network)
    assert draw_price("lsuv", shape, 5000, network).seconds < upper.seconds
    seeds = [signal_price(network.replace(initializer=name), 8, 64).seconds for name in ("he_normal", "orthogonal")]
    assert seeds[0] < seeds[1] < signal_price(network.replace(initializer="lsuv"), 8, 64).seconds


@pytest.mark.parametrize("initializer", ["he_normal", "orthogonal", "lsuv"])
def test_the_price_of_a_wide_layer_is_near_what_it_costs(initializer: str) -> None:
    network = Spec(depth=12, width=512, initializer=initializer)
    shape = network.layer_shapes()[9]
    distributions.draw(initializer, shape, 1000, 0)
    begun = time.process_time()
    distributions.draw(initializer, shape, 50_000, 1, network)
    distributions.close_look(initializer, shape, 1, network)
    cost = time.process_time() - begun
    price = Price.of_all([draw_price(initializer, shape, 50_000, network), look_price(initializer, shape, network)])
    assert cost / 4 < price.seconds < 4 * cost


def test_the_defaults_are_within_the_default_limit_and_the_largest_network_is_not() -> None:
    limit = Limit(120.0, 1e9)
    limit.require(training_price(Spec(), 4), "")
    limit.require(comparison_price(Spec(), CompareKnobs()), "")
    limit.require(signal_price(Spec(), 8, 64), "")
    largest = Spec(depth=200, width=1024, batch_size=4096, steps=100_000)
    for price in (
        training_price(largest, 1),
        comparison_price(Spec(steps=100_000, width=1024), CompareKnobs(seeds=50)),
    ):
        with pytest.raises(BadInput):
            limit.require(price, "fewer steps")


def test_a_refused_comparison_names_its_price_and_the_way_out() -> None:
    spec = Spec(depth=30, width=(8, 4), initializer="random_normal(stddev=0.5)", steps=100_000, batch_size=7)
    knobs = CompareKnobs(initializers=("zeros", "lecun_normal"), seeds=50, learning_rates=(0.1, 1.0), curve="loss")
    price = comparison_price(spec, knobs)
    require_comparison(spec, knobs, Limit(price.seconds, price.bytes))
    with pytest.raises(BadInput) as caught:
        require_comparison(spec, knobs, Limit(price.seconds / 2, price.bytes))
    assert caught.value.field == "work"
    message = str(caught.value)
    for part in ("300 runs", f"{price.multiply_adds:.2g} multiply-adds", duration(price.seconds), " MB"):
        assert part in str(caught.value.value)
    assert "..." not in message  # nothing of the price is cut off
    assert "fewer initializers, seeds, learning rates" in message
    assert message.endswith("or a terminal, which has no limit")


@settings(max_examples=60)
@given(
    spec=SPECS,
    start=st.sampled_from(["he_normal", "random_normal(stddev=0.5)", 'custom(standard_deviation="1/fan_in")']),
    others=st.lists(st.sampled_from(["zeros", "orthogonal", "glorot_normal"]), unique=True),
    rates=st.lists(st.sampled_from([0.1, 1e-7, 3.0]), unique=True),
    seeds=st.integers(2, 50),
)
def test_the_command_in_a_terminal_means_the_same_comparison(
    spec: Spec, start: str, others: list[str], rates: list[float], seeds: int
) -> None:
    spec = spec.replace(initializer=start)
    knobs = CompareKnobs(initializers=others, learning_rates=rates, seeds=seeds)
    words = shlex.split(terminal_command(spec, knobs))
    assert words[:4] == ["python", "-m", "winit", "compare"]
    assert _read((Spec, CompareKnobs), words[4:]) == [spec, knobs]


# The host's limit


def test_the_limit_of_a_host_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINIT_SECONDS", raising=False)
    monkeypatch.delenv("WINIT_MEGABYTES", raising=False)
    # What the system says it has, by another way than the one that is tested.
    kilobytes = next(
        int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line
    )
    assert 1e6 <= Limit.of_host().bytes <= 1024 * kilobytes / 16
    assert Limit.of_host().bytes == host.memory() / 16 // 1e6 * 1e6
    assert Limit.of_host().seconds == 120


@pytest.mark.parametrize(("memory", "megabytes"), [(1.024e9, 64.0), (16.4e9, 1025.0), (1e6, 1.0)])
def test_a_computation_gets_a_sixteenth_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, memory: float, megabytes: float
) -> None:
    monkeypatch.delenv("WINIT_MEGABYTES", raising=False)
    monkeypatch.setattr(host, "memory", lambda: memory)
    assert Limit.of_host().bytes == megabytes * 1e6


def test_the_host_is_measured_once() -> None:
    assert budget.speed() is budget.speed()
    # A product of 64 rows takes longer than one of 4, and both a time that a computer of this century takes.
    assert 1e8 < budget.speed().multiply_adds < 1e13
    assert 1e-8 < budget.speed().call < 64**3 / 1e8


def test_a_faster_host_is_cheaper_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = training_price(BASE, 4)
    now = budget.speed()
    monkeypatch.setattr(budget, "speed", lambda: budget.Speed(2 * now.multiply_adds, now.call / 2))
    fast = training_price(BASE, 4)
    assert fast.seconds == pytest.approx(slow.seconds / 2)
    assert (fast.multiply_adds, fast.bytes) == (slow.multiply_adds, slow.bytes)


@pytest.mark.parametrize(
    ("spec", "knobs"),
    [
        (Spec(), CompareKnobs(seeds=1)),
        (Spec(width=16, steps=100), CompareKnobs(seeds=4)),
        (Spec(depth=50, steps=40), CompareKnobs(seeds=1)),
        (Spec(width=256, steps=30), CompareKnobs(seeds=1)),
    ],
    ids=lambda value: value.sentence if isinstance(value, Spec) else "",
)
def test_a_price_is_near_what_it_costs(spec: Spec, knobs: CompareKnobs) -> None:
    Sweep(spec.replace(steps=1), knobs).conclude()  # data is loaded and libraries are warm
    begun = time.process_time()
    for _ in Sweep(spec, knobs):
        pass
    # In processor time, which other processes do not lengthen much; on this thread and those of the pool.
    cost = time.process_time() - begun
    assert cost / 3 < comparison_price(spec, knobs).seconds < 3 * cost


def test_the_limit_of_a_host_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINIT_SECONDS", "7.5")
    monkeypatch.setenv("WINIT_MEGABYTES", "200")
    assert Limit.of_host() == Limit(7.5, 2e8)
    monkeypatch.setenv("WINIT_SECONDS", "8")
    assert Limit.of_host().seconds == 8


@pytest.mark.parametrize("name", ["WINIT_SECONDS", "WINIT_MEGABYTES"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "many", "", "1e", "0x10"])
def test_a_bad_setting_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=f"^{name}: '{value}' is not allowed; give a number above 0$") as caught:
        Limit.of_host()
    assert caught.value.field == name


def test_a_refusal_names_work_price_limit_and_what_would_help() -> None:
    price = Price(1e12, 3.2e9, 500.0)
    with pytest.raises(BadInput) as caught:
        Limit(60.0, 1e9).require(price, "fewer steps or seeds")
    assert caught.value.field == "work"
    assert caught.value.value == price.sentence
    message = str(caught.value)
    for part in ("work", "about 8 min", "3,200 MB", "less than 60 s", "1,000 MB on this host", "fewer steps or seeds"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("seconds", "size", "allowed"),
    [(60.0, 1e9, True), (60.1, 1e9, False), (60.0, 1.001e9, False), (0.0, 1.0, True), (1e9, 1.0, False)],
)
def test_either_limit_refuses(seconds: float, size: float, allowed: bool) -> None:
    limit, price = Limit(60.0, 1e9), Price(1.0, size, seconds)
    if allowed:
        limit.require(price, "less")
    else:
        with pytest.raises(BadInput):
            limit.require(price, "less")


@pytest.mark.parametrize(
    ("price", "sentence"),
    [
        (Price(1, 1, 0.2), "about 0 s and 1 MB"),
        (Price(1, 2.4e6, 3.4), "about 3 s and 2 MB"),
        (Price(1, 1.5e9, 119.0), "about 119 s and 1,500 MB"),
        (Price(1, 5e6, 120.0), "about 2 min and 5 MB"),
        (Price(1, 5e6, 7200.0), "about 120 min and 5 MB"),
        (Price(1, 5e6, 36000.0), "about 10 h and 5 MB"),
    ],
)
def test_a_price_in_words(price: Price, sentence: str) -> None:
    assert price.sentence == sentence
