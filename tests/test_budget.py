"""Prices and limits: what is counted, that more work costs more, and what a host says no to."""

from __future__ import annotations

import math
import time

import pytest

from winit.budget import Limit, Price, comparison_price, signal_price, training_price
from winit.fields import BadInput
from winit.lenses import CompareKnobs
from winit.spec import Spec
from winit.training import train

SPEC = Spec(depth=2, width=10, dataset="digits", batch_size=64, steps=100)
WEIGHTS = 64 * 10 + 10 * 10 + 10 * 10


def test_multiply_adds_are_counted_by_hand() -> None:
    """Forward and backward are three products with every weight and sample, an evaluation is one."""
    price = training_price(SPEC, 1, recorded=0)
    assert price.multiply_adds == WEIGHTS * 3 * 64 * 100
    assert training_price(SPEC, 7, recorded=0).multiply_adds == 7 * price.multiply_adds
    evaluated = training_price(SPEC, 1, recorded=10)
    # An evaluation is of 512 training samples and 360 test samples of digits.
    assert evaluated.multiply_adds - price.multiply_adds == WEIGHTS * 10 * (512 + 360)


def test_a_run_is_recorded_as_training_does_unless_told() -> None:
    assert training_price(SPEC, 3) == training_price(SPEC, 3, recorded=len(train(SPEC).schedule))


@pytest.mark.parametrize(
    "more",
    [{"depth": 20}, {"width": 200}, {"batch_size": 2000}, {"steps": 5000}],
    ids=lambda more: next(iter(more)),
)
def test_more_of_anything_costs_more(more: dict[str, int]) -> None:
    low, high = training_price(SPEC, 4), training_price(SPEC.replace(**more), 4)
    assert high.multiply_adds > low.multiply_adds
    assert high.seconds > low.seconds
    assert high.bytes >= low.bytes


def test_more_members_cost_more_of_all() -> None:
    low, high = training_price(SPEC, 1), training_price(SPEC, 50)
    assert high.multiply_adds == 50 * low.multiply_adds
    assert high.bytes == 50 * low.bytes
    assert low.seconds < high.seconds < 50 * low.seconds  # the operations are shared


def test_optimizers_with_more_state_need_more_memory() -> None:
    sgd, momentum, adam = (
        training_price(SPEC.replace(optimizer=name), 5).bytes for name in ("sgd", "momentum", "adam")
    )
    assert momentum - sgd == adam - momentum == 4 * 5 * WEIGHTS


def test_a_comparison_is_the_training_of_all_its_members() -> None:
    knobs = CompareKnobs(initializers=("zeros", "he_normal", "orthogonal"), seeds=4, learning_rates=(0.1, 0.2))
    assert comparison_price(SPEC, knobs) == training_price(SPEC, 3 * 2 * 4)  # he_normal is the network's own
    assert comparison_price(SPEC, CompareKnobs(initializers=("zeros",), seeds=4)) == training_price(SPEC, 2 * 4)


def test_a_signal_costs_its_products() -> None:
    both, forward = (signal_price(SPEC, 8, 64, backward=backward) for backward in (True, False))
    assert both.multiply_adds == WEIGHTS * 8 * 64 * 3
    assert forward.multiply_adds == WEIGHTS * 8 * 64
    assert forward.seconds < both.seconds
    assert forward.bytes < both.bytes
    # A network at a time: memory is that of one, whatever the number of seeds.
    assert signal_price(SPEC, 64, 64).bytes == both.bytes
    assert signal_price(SPEC, 64, 64).seconds > both.seconds


def test_prices_are_finite_at_the_largest_spec() -> None:
    largest = Spec(depth=200, width=1024, batch_size=4096, steps=100_000, optimizer="adam")
    price = training_price(largest, 6000)
    for value in (price.multiply_adds, price.bytes, price.seconds):
        assert math.isfinite(value)
        assert value > 1e6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "members"),
    [(Spec(), 4), (Spec(depth=30, width=32), 10), (Spec(depth=4, width=256, steps=100), 8)],
)
def test_seconds_are_of_the_right_size(spec: Spec, members: int) -> None:
    """Within a factor of 10, whatever the machine: the limit is a guard, not a forecast."""
    start = time.perf_counter()
    for _ in train(spec, members):
        pass
    taken = time.perf_counter() - start
    assert taken / 10 < training_price(spec, members).seconds < taken * 10


@pytest.mark.parametrize(
    ("price", "sentence"),
    [
        (Price(0, 0, 0.2), "about 0 s and 1 MB"),
        (Price(0, 2.4e6, 119.4), "about 119 s and 2 MB"),
        (Price(0, 1.2345e9, 120.0), "about 2 min and 1,234 MB"),
        (Price(0, 1e6, 3600.0), "about 60 min and 1 MB"),
    ],
)
def test_the_price_in_words(price: Price, sentence: str) -> None:
    assert price.sentence == sentence


# Limits


def test_the_limit_of_a_host_without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINIT_SECONDS", raising=False)
    monkeypatch.delenv("WINIT_MEGABYTES", raising=False)
    assert Limit.of_host() == Limit(120.0, 1e9)


def test_a_host_sets_its_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINIT_SECONDS", "7.5")
    monkeypatch.setenv("WINIT_MEGABYTES", "64")
    assert Limit.of_host() == Limit(7.5, 64e6)


@pytest.mark.parametrize("name", ["WINIT_SECONDS", "WINIT_MEGABYTES"])
@pytest.mark.parametrize("text", ["0", "-1", "nan", "many", "", "1e"])
def test_a_setting_that_is_no_limit_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(BadInput, match=f"{name}.*above 0"):
        Limit.of_host()


@pytest.mark.parametrize("price", [Price(1e9, 5e6, 10.0), Price(0, 0, 0), Price(1e30, 5e6, 3.0)])
def test_up_to_the_limit_is_allowed(price: Price) -> None:
    Limit(10.0, 5e6).require(price, "take fewer seeds")


@pytest.mark.parametrize(
    "price",
    [Price(0, 0, math.nextafter(10.0, 11)), Price(0, 5e6 + 1, 0), Price(1e30, 1e12, 1e9)],
)
def test_over_the_limit_is_refused_with_what_would_help(price: Price) -> None:
    with pytest.raises(BadInput, match=r"work: .*less than 10 s and 5 MB on this host: take fewer seeds") as refusal:
        Limit(10.0, 5e6).require(price, "take fewer seeds")
    assert price.sentence in str(refusal.value)


def test_the_defaults_of_every_lens_are_within_the_limit_of_a_host() -> None:
    limit = Limit(120.0, 1e9)
    spec = Spec()
    for price in (training_price(spec, 4), comparison_price(spec, CompareKnobs()), signal_price(spec, 8, 64)):
        limit.require(price, "")


def test_the_largest_spec_is_not() -> None:
    largest = Spec(depth=200, width=1024, batch_size=4096, steps=100_000)
    for price in (training_price(largest, 1), comparison_price(largest, CompareKnobs())):
        with pytest.raises(BadInput):
            Limit(120.0, 1e9).require(price, "")
