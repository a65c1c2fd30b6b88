"""The spec: one immutable value, each field declared once."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from winit.activations import ACTIVATIONS
from winit.datasets import DATASETS
from winit.fields import BadInput, Choice, Field, Form, Integer, Real, fields_of
from winit.initializers import INITIALIZERS
from winit.lenses import CompareKnobs, DistributionsKnobs, together
from winit.spec import Spec

FIELDS = {field.name: field for field in fields_of(Spec)}

# DESIGN.md section 5: names in order, defaults, ends of the range.
DECLARED: dict[str, tuple[Any, tuple[Any, Any] | None]] = {
    "depth": (10, (1, 200)),
    "width": (64, (1, 1024)),
    "activation": ("relu", None),
    "initializer": ("he_normal", None),
    "dataset": ("digits", None),
    "batch_size": (64, (1, 4096)),
    "optimizer": ("sgd", None),
    "learning_rate": (0.05, (0.0, 1e10)),
    "steps": (300, (1, 100_000)),
    "seed": (0, (0, 2**31 - 1)),
}
NUMBERS = [name for name, (_, ends) in DECLARED.items() if ends is not None]


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


def _values(field: Field) -> st.SearchStrategy[Any]:
    match field.kind:
        case Integer(minimum=low, maximum=high):
            return st.integers(low, high)
        case Real(minimum=low, maximum=high, exclusive=exclusive):
            return st.floats(low, high, exclude_min=exclusive)
        case Choice(options=options):
            return st.sampled_from(options)
        case Form(options=options):
            more = ["random_normal(stddev=0.01)", "xavier_uniform", "variance_scaling(scale=3, mode=fan_out)"]
            return st.sampled_from([*options, *more])
    raise AssertionError(f"no strategy for {field}")


SPECS = st.fixed_dictionaries({field.name: _values(field) for field in FIELDS.values()}).map(lambda v: Spec(**v))
JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)
)


def test_fields_are_those_of_the_design_in_its_order() -> None:
    assert list(FIELDS) == list(DECLARED)
    assert {name: field.default for name, field in FIELDS.items()} == {name: d for name, (d, _) in DECLARED.items()}
    assert Spec().values() == {name: default for name, (default, _) in DECLARED.items()}
    for field in FIELDS.values():
        assert field.label
        assert field.help.endswith(".")
        assert field.group in ("network", "initialization", "training")


@pytest.mark.parametrize("name", NUMBERS)
def test_ends_of_the_ranges(name: str) -> None:
    ends = DECLARED[name][1]
    assert ends is not None
    low, high = ends
    assert getattr(Spec(**{name: low}), name) == low
    assert getattr(Spec(**{name: high}), name) == high
    step = 1 if isinstance(low, int) else 1e-3
    for value in (low - step, high + (step if isinstance(low, int) else 1e4)):
        with pytest.raises(BadInput) as caught:
            Spec(**{name: value})
        assert caught.value.field == name
        assert str(low).removesuffix(".0") in caught.value.allowed
        assert str(high).removesuffix(".0") in caught.value.allowed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, None, "10", [10], 10**400])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_the_wrong_type_are_refused(name: str, value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        Spec(**{name: value})
    assert caught.value.field == name


@pytest.mark.parametrize("value", [10.0, 10.5])
def test_counts_are_whole_numbers(value: float) -> None:
    with pytest.raises(BadInput, match="a whole number from 1 to 200"):
        Spec(depth=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["activation", "initializer", "dataset", "optimizer"])
@pytest.mark.parametrize("value", ["", "nothing", "relu\x00", 3, None, True, ["relu"], "x" * 1000])
def test_names_that_are_not_known_are_refused(name: str, value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        Spec(**{name: value})
    assert caught.value.field == name
    assert str(caught.value).isprintable()


def test_catalogues_are_the_choices() -> None:
    for name in ACTIVATIONS:
        assert Spec(activation=name).activation == name
    for name in DATASETS:
        assert Spec(dataset=name).dataset == name
    for name in INITIALIZERS:
        assert Spec(initializer=name).initializer == name
    for name in ("sgd", "momentum", "adam"):
        assert Spec(optimizer=name).optimizer == name


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("xavier_uniform", "glorot_uniform"),
        ("kaiming_uniform()", "he_uniform"),
        (" random_normal( stddev = 0.050 ) ", "random_normal"),
        ("random_normal(stddev=1e-2,mean=0)", "random_normal(stddev=0.01)"),
        ("kaiming_normal(nonlinearity=selu,a=0.5)", "kaiming_normal(a=0.5, nonlinearity=selu)"),
    ],
)
def test_initializers_are_kept_in_canonical_form(text: str, canonical: str) -> None:
    assert Spec(initializer=text).initializer == canonical
    assert Spec(initializer=text) == Spec(initializer=canonical)


@given(SPECS)
def test_a_spec_is_a_value(spec: Spec) -> None:
    copy = Spec(**spec.values())
    assert copy == spec
    assert hash(copy) == hash(spec)
    assert spec.replace() == spec
    assert Spec.settle(spec.values()) == (spec, [])
    for name, field in FIELDS.items():
        value = getattr(spec, name)
        assert field.read(field.write(value)) == value
        assert field.check(value) == value


@given(st.dictionaries(st.sampled_from(list(FIELDS)), JUNK))
def test_any_values_give_a_spec_or_name_the_first_bad_field(values: dict[str, Any]) -> None:
    settled, problems = Spec.settle(values)
    assert isinstance(settled, Spec)
    for problem in problems:
        assert getattr(settled, problem.field) == FIELDS[problem.field].default
        assert str(problem).isprintable()
    if problems:
        with pytest.raises(BadInput) as caught:
            Spec(**values)
        assert caught.value.field == problems[0].field
    else:
        assert Spec(**values) == settled


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Spec().depth = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        Spec(colour="red")  # type: ignore[call-arg]


@settings(deadline=None)
@given(SPECS)
def test_layer_shapes_chain_from_the_inputs_to_the_outputs(spec: Spec) -> None:
    shapes = spec.layer_shapes()
    assert len(shapes) == spec.depth + 1
    assert shapes[0].fan_in == spec.inputs
    assert shapes[-1].fan_out == spec.outputs
    assert [shape.layer for shape in shapes] == list(range(1, spec.depth + 2))
    assert {shape.depth for shape in shapes} == {spec.depth}
    assert {shape.fan_out for shape in shapes[:-1]} == {spec.width}
    for before, after in pairwise(shapes):
        assert before.fan_out == after.fan_in


def test_inputs_and_outputs_follow_the_data() -> None:
    assert (Spec().inputs, Spec().outputs) == (64, 10)
    assert (Spec(dataset="blobs").inputs, Spec(dataset="blobs").outputs) == (2, 3)
    gaussian = Spec(dataset="gaussian", width=17)
    assert (gaussian.inputs, gaussian.outputs) == (17, 17)


def test_the_sentence() -> None:
    assert Spec().sentence == "10 hidden layers of 64 ReLU units on digits, started from he_normal"
    assert Spec(depth=1, width=1, activation="gelu", dataset="moons").sentence == (
        "1 hidden layer of 1 GELU unit on two moons, started from he_normal"
    )


def test_only_data_with_labels_can_be_trained_on() -> None:
    for name, record in DATASETS.items():
        if record.has_labels:
            Spec(dataset=name).require_labels()
        else:
            with pytest.raises(BadInput, match=f"^dataset: '{name}' .*labels") as caught:
                Spec(dataset=name).require_labels()
            assert "one of digits, moons" in caught.value.allowed


# Knobs that answer for a spec


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({}, (32, 32, 2)),
        ({"layer": 1}, (64, 32, 1)),
        ({"layer": 4}, (32, 10, 4)),
        ({"layer": 201}, (32, 10, 4)),  # beyond the last means the last
        ({"fan_in": 5}, (5, 32, 2)),
        ({"fan_in": 5, "fan_out": 7, "layer": 3}, (5, 7, 3)),
    ],
)
def test_which_layer_distributions_draws(knobs: dict[str, int], expected: tuple[int, int, int]) -> None:
    shape = DistributionsKnobs(**knobs).shape(Spec(depth=3, width=32))
    assert (shape.fan_in, shape.fan_out, shape.layer) == expected
    assert shape.depth == 3


def test_the_last_layer_of_the_shallowest_network() -> None:
    shape = DistributionsKnobs(layer=2).shape(Spec(depth=1, width=8, dataset="moons"))
    assert (shape.fan_in, shape.fan_out, shape.layer) == (8, 2, 2)


def test_initializers_that_go_together_are_named_once() -> None:
    assert together("he_normal", ("zeros", "he_normal", "orthogonal")) == ("he_normal", "zeros", "orthogonal")
    assert together("he_normal", ()) == ("he_normal",)


def test_lists_of_knobs_are_canonical_and_without_repetition() -> None:
    knobs = CompareKnobs(initializers=["kaiming_uniform", "zeros()"], learning_rates=[1, 0.1])  # type: ignore[arg-type]
    assert knobs.initializers == ("he_uniform", "zeros")
    assert knobs.learning_rates == (1.0, 0.1)
    for bad in ({"initializers": ("he_uniform", "kaiming_uniform")}, {"learning_rates": (0.0,)}):
        with pytest.raises(BadInput):
            CompareKnobs(**bad)
    with pytest.raises(BadInput, match="at most 12 different values"):
        CompareKnobs(learning_rates=tuple(float(rate) for rate in range(1, 14)))
