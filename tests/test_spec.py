"""The spec: one immutable value, each field declared once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from winit import textform
from winit.activations import ACTIVATIONS
from winit.datasets import DATASETS
from winit.fields import (
    LIST_LIMIT,
    TEXT_LIMIT,
    BadInput,
    Choice,
    Form,
    Integer,
    Kind,
    Real,
    Refused,
    Text,
    fields_of,
)
from winit.initializers import INITIALIZERS, require_answer
from winit.initializers.biases import BIASES
from winit.layers import NORMALIZATIONS, RESIDUALS
from winit.lenses import CompareKnobs, DistributionsKnobs, together
from winit.optimizers import OPTIMIZERS, SCHEDULES
from winit.spec import OUTPUT_FACTORS, Spec, Widths
from winit.translator import TRANSLATIONS

FIELDS = {field.name: field for field in fields_of(Spec)}

# DESIGN.md section 5: names in order, defaults, ends of the range.
DECLARED: dict[str, tuple[Any, tuple[Any, Any] | None]] = {
    "depth": (10, (1, 200)),
    "width": (64, None),
    "activation": ("relu", None),
    "initializer": ("he_normal", None),
    "bias": ("scheme", None),
    "output": ("same", None),
    "normalization": ("none", None),
    "residual": ("off", None),
    "dataset": ("digits", None),
    "batch_size": (64, (1, 4096)),
    "optimizer": ("sgd", None),
    "learning_rate": (0.05, (0.0, 1e10)),
    "schedule": ("constant", None),
    "weight_decay": (0.0, (0.0, 10.0)),
    "clip": (0.0, (0.0, 1e6)),
    "steps": (300, (1, 100_000)),
    "seed": (0, (0, 2**31 - 1)),
}
NUMBERS = [name for name, (_, ends) in DECLARED.items() if ends is not None]


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


EXPRESSIONS = st.sampled_from(["gain*sqrt(2/fan_in)", "0.1", "fan_in", "min(1, layer/depth)**-2 + exp(-log(fan_out))"])


def _values(kind: Kind) -> st.SearchStrategy[Any]:
    match kind:
        case Integer(minimum=low, maximum=high):
            return st.integers(low, high)
        case Real(minimum=low, maximum=high, exclusive=exclusive):
            return st.floats(low, high, exclude_min=exclusive)
        case Choice(options=options):
            return st.sampled_from(options)
        case Text():
            return EXPRESSIONS
        case Form(options=options):
            return st.sampled_from(options).flatmap(lambda name: st.just(name) | _form(kind, name))
        case Widths(maximum=maximum, most=most):
            units = st.integers(1, maximum)
            return units | st.lists(units, min_size=1, max_size=most).map(tuple)
    raise AssertionError(f"no strategy for {kind}")


def _form(kind: Form, name: str) -> st.SearchStrategy[str]:
    """Return texts of a record with any of its parameters set, where they fit together."""
    record, parameters, _ = kind.parts(name)
    texts = {parameter.name: _values(parameter.kind).map(parameter.write) for parameter in parameters}
    return (
        st.fixed_dictionaries({}, optional=texts).map(lambda given: textform.spell(record, given)).filter(_fits(kind))
    )


def _fits(kind: Form) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            kind.check(text)
        except Refused:
            return False
        return True

    return fits


SPECS = st.fixed_dictionaries({field.name: _values(field.kind) for field in FIELDS.values()}).map(lambda v: Spec(**v))
JUNK = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.lists(st.integers(), max_size=2)
    | st.sampled_from(["16-8-4", "7-7", "7", (3, 2), (3, 0), "3-"])
)


def test_fields_are_those_of_the_design_in_its_order() -> None:
    assert list(FIELDS) == list(DECLARED)
    assert {name: field.default for name, field in FIELDS.items()} == {name: d for name, (d, _) in DECLARED.items()}
    assert Spec().values() == {name: default for name, (default, _) in DECLARED.items()}
    for field in FIELDS.values():
        assert field.label
        assert field.help.endswith(".")
        assert field.group in ("network", "initialization", "biases", "blocks", "training")
    assert [name for name, field in FIELDS.items() if field.group == "biases"] == ["bias", "output"]
    assert [name for name, field in FIELDS.items() if field.group == "blocks"] == ["normalization", "residual"]
    training = ["batch_size", "optimizer", "learning_rate", "schedule", "weight_decay", "clip", "steps"]
    assert [name for name, field in FIELDS.items() if field.group == "training"] == training


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


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if isinstance(field.kind, Choice | Form)])
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
    for name in ("scheme", "zeros", "constant", "normal", "log_prior"):
        assert Spec(bias=name).bias == name
    assert list(BIASES) == ["scheme", "zeros", "constant", "normal", "log_prior"]
    for name in ("same", "zeros", "small"):
        assert Spec(output=name).output == name
    assert OUTPUT_FACTORS == {"same": 1, "zeros": 0, "small": 0.01}
    for name in ("none", "batch", "layer", "rms"):
        assert Spec(normalization=name).normalization == name
    assert ["none", *NORMALIZATIONS] == list(FIELDS["normalization"].kind.options)
    for name in ("off", "plain", "depth_scaled", "zero"):
        assert Spec(residual=name).residual == name
    assert ["off", *RESIDUALS] == list(FIELDS["residual"].kind.options)
    for name in ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"):
        assert Spec(optimizer=name).optimizer == name
    assert list(OPTIMIZERS) == list(FIELDS["optimizer"].kind.options)
    for name in ("constant", "warmup", "cosine"):
        assert Spec(schedule=name).schedule == name
    assert list(SCHEDULES) == list(FIELDS["schedule"].kind.options)


# Widths, one or one per layer


@pytest.mark.parametrize(
    ("given", "width", "widths"),
    [
        (7, 7, (7,) * 10),
        ("7", 7, (7,) * 10),  # as a widget has it
        ((7,), 7, (7,) * 10),  # one number, whatever holds it
        ((256, 128, 64), (256, 128, 64), (256, 128, 64)),
        ("256-128-64", (256, 128, 64), (256, 128, 64)),
        ("1-1024", (1, 1024), (1, 1024)),
        ("007-8", (7, 8), (7, 8)),
        ("64-64-64", 64, (64,) * 3),
        ((64,) * 16, 64, (64,) * 16),
        (tuple(range(1, 17)), tuple(range(1, 17)), tuple(range(1, 17))),
    ],
    ids=str,
)
def test_width_is_one_number_or_one_for_each_layer(given: Any, width: Any, widths: tuple[int, ...]) -> None:
    spec = Spec(width=given)
    assert spec.width == width
    assert type(spec.width) is type(width)
    assert spec.widths == widths
    assert spec.depth == len(widths)
    assert spec == Spec(depth=len(widths), width=width)
    assert hash(spec) == hash(Spec(depth=len(widths), width=width))


def test_the_depth_follows_the_widths() -> None:
    """Whatever depth stands beside them, and until the widths are one number again."""
    spec = Spec(depth=30, width=(8, 4))
    assert (spec.depth, spec.widths) == (2, (8, 4))
    assert spec.replace(depth=7) == spec
    assert spec.replace(width=5) == Spec(depth=2, width=5)
    assert spec.replace(width=(8, 8, 8)) == Spec(depth=3, width=8)
    assert Spec(depth=30).replace(width="3-2-1").depth == 3
    # A depth out of range is refused even where it would not count.
    with pytest.raises(BadInput, match=r"^depth: "):
        Spec(depth=0, width=(8, 4))


WIDTHS = FIELDS["width"].kind


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "64-", "-64", "64--32", "0", "64-0", "1025", "64-1025", "64,32", "64 32", "64 - 32", " 64", "64\n"),
        *("+64", "64.0", "1e2", "nan", "x", "１", "0x10", "6_4", "64-x", "64\x00", "9" * 400, "-".join(["4"] * 17)),
    ],
)
def test_texts_of_widths_that_are_refused(text: str) -> None:
    for refuse in (lambda: FIELDS["width"].read(text), lambda: Spec(width=text)):
        with pytest.raises(BadInput) as caught:
            refuse()
        assert (caught.value.field, caught.value.value) == ("width", text)
        assert "a whole number from 1 to 1024, or at most 16 of them joined by -" in caught.value.allowed
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, 1025, 10**400, 64.0, 64.5, math.nan, math.inf, [64, 32], {64}, b"64", ()),
        *((64, 0), (1025, 1), (64, True), (64, 32.0), (64, "32"), (64, None), (64, (32,)), (4,) * 17),
    ],
    ids=lambda value: str(value)[:20],
)
def test_values_of_widths_that_are_refused(value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        Spec(width=value)
    assert caught.value.field == "width"
    assert caught.value.allowed == WIDTHS.allowed


@given(_values(WIDTHS))
def test_widths_are_read_as_they_are_written(value: int | tuple[int, ...]) -> None:
    checked = WIDTHS.check(value)
    assert WIDTHS.read(WIDTHS.write(checked)) == checked
    assert WIDTHS.check(WIDTHS.write(checked)) == checked
    assert len(WIDTHS.write(checked)) <= 16 * len("1024-") - 1


@given(st.text() | st.text(alphabet="0123456789-", max_size=40))
def test_any_text_is_widths_or_a_refusal(text: str) -> None:
    try:
        value = WIDTHS.read(text)
    except Refused as refusal:
        assert refusal.allowed == WIDTHS.allowed  # noqa: PT017 (either way is fine)
    else:
        assert WIDTHS.check(value) == value
        assert Spec(width=value).widths


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("xavier_uniform", "glorot_uniform"),
        ("kaiming_uniform()", "he_uniform"),
        (" random_normal( stddev = 0.050 ) ", "random_normal"),
        ("random_normal(stddev=1e-2,mean=0)", "random_normal(stddev=0.01)"),
        ("kaiming_normal(nonlinearity=selu,a=0.5)", "kaiming_normal(a=0.5, nonlinearity=selu)"),
        ("ones", "constant(value=1)"),
        ('custom(standard_deviation="gain*sqrt(1/fan_in)")', "custom"),
        ('custom(standard_deviation="0.1", nu=5, share=.1)', "custom(standard_deviation=0.1)"),
        (
            'custom(standard_deviation="gain * sqrt(2 / fan_in)",distribution=laplace)',
            'custom(distribution=laplace, standard_deviation="gain * sqrt(2 / fan_in)")',
        ),
    ],
)
def test_initializers_are_kept_in_canonical_form(text: str, canonical: str) -> None:
    assert Spec(initializer=text).initializer == canonical
    assert Spec(initializer=text) == Spec(initializer=canonical)


@pytest.mark.parametrize(
    ("name", "text", "canonical"),
    [
        ("activation", "leaky_relu(slope=0.010)", "leaky_relu"),
        ("activation", " leaky_relu( slope = 2e-1 ) ", "leaky_relu(slope=0.2)"),
        ("activation", "swish", "silu"),
        ("activation", "siren(omega=30)", "sine"),
        ("activation", "sin", "sine(omega=1)"),
        ("activation", "scaled_tanh(b=1, a=1)", "scaled_tanh(a=1, b=1)"),
        ("bias", "constant(value=0.01)", "constant"),
        ("bias", "constant(value=1e-1)", "constant(value=0.1)"),
        ("bias", "normal(stddev=.05)", "normal"),
        ("bias", "zeros()", "zeros"),
    ],
)
def test_activations_and_biases_are_kept_in_canonical_form(name: str, text: str, canonical: str) -> None:
    assert getattr(Spec(**{name: text}), name) == canonical
    assert Spec(**{name: text}) == Spec(**{name: canonical})


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("activation", "leaky_relu(slope=11)", "for slope a number from -10 to 10, not '11'"),
        ("activation", "relu(slope=0.1)", "relu with no parameters"),
        ("activation", "leaky_relu(slop=1)", "did you mean slope?"),
        ("bias", "constant(value=nan)", "for value a number from"),
        ("bias", "normal(stddev=-1)", "for stddev a number from 0 to"),
        ("bias", "log_prior(value=1)", "log_prior with no parameters"),
        ("bias", "scheme(zeros)", "name(parameter=value, ...)"),
        ("initializer", 'custom(standard_deviation="fan_inn")', "for standard_deviation an expression"),
        ("initializer", 'custom(standard_deviation="__import__(1)")', "for standard_deviation an expression"),
        ("initializer", 'custom(standard_deviation="")', "for standard_deviation an expression"),
        ("initializer", "custom(standard_deviation=sqrt(2/fan_in))", 'text in "quotes"'),
        ("initializer", f'custom(standard_deviation="{"1" * 201}")', "at most 200 characters"),
        ("initializer", "custom(distribution=cauchy)", "for distribution one of normal"),
        ("initializer", "custom(nu=2)", "for nu a number above 2"),
    ],
)
def test_forms_out_of_range_are_refused(name: str, text: str, allowed: str) -> None:
    with pytest.raises(BadInput) as caught:
        Spec(**{name: text})
    assert caught.value.field == name
    assert allowed in caught.value.allowed
    assert str(caught.value).isprintable()


def _custom(length: int, separator: str) -> str:
    """Return a law of one's own in a text of just that many characters."""
    start = f'custom(distribution=truncated_normal,{separator}standard_deviation="sqrt(1/fan_in)*1.'
    end = f'",{separator}nu=12345.678901234565,{separator}share=0.12345678901234566)'
    return start + "0" * (length - len(start) - len(end)) + end


def test_a_form_of_300_characters_is_kept_and_a_longer_one_is_refused() -> None:
    assert TEXT_LIMIT == 300
    longest = _custom(300, " ")
    assert Spec(initializer=longest).initializer == longest
    # Some fit in as they are written and would not as they are kept: such a spec could not be read again.
    for text in (_custom(301, " "), _custom(298, "")):
        with pytest.raises(BadInput, match="300 characters") as caught:
            Spec(initializer=text)
        assert caught.value.field == "initializer"


@given(SPECS)
def test_a_spec_is_a_value(spec: Spec) -> None:
    copy = Spec(**spec.values())
    assert copy == spec
    assert hash(copy) == hash(spec)
    assert spec.replace() == spec
    assert Spec.settle(spec.values()) == (spec, [])
    for name, field in FIELDS.items():
        value = getattr(spec, name)
        assert len(field.write(value)) <= TEXT_LIMIT
        assert field.read(field.write(value)) == value
        assert field.check(value) == value


@given(st.dictionaries(st.sampled_from(list(FIELDS)), JUNK))
def test_any_values_give_a_spec_or_name_the_first_bad_field(values: dict[str, Any]) -> None:
    settled, problems = Spec.settle(values)
    refused = {problem.field for problem in problems}
    assert settled == Spec(**{name: value for name, value in values.items() if name not in refused})
    for problem in problems:
        # Widths that are accepted say how deep the network is.
        if problem.field != "depth" or "width" not in values:
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
    assert {(shape.depth, shape.activation) for shape in shapes} == {(spec.depth, spec.activation)}
    assert [shape.is_output for shape in shapes] == [False] * spec.depth + [True]
    assert tuple(shape.fan_out for shape in shapes[:-1]) == spec.widths
    for before, after in pairwise(shapes):
        assert before.fan_out == after.fan_in


def test_inputs_and_outputs_follow_the_data() -> None:
    assert (Spec().inputs, Spec().outputs) == (64, 10)
    assert (Spec(dataset="blobs").inputs, Spec(dataset="blobs").outputs) == (2, 3)
    gaussian = Spec(dataset="gaussian", width=17)
    assert (gaussian.inputs, gaussian.outputs) == (17, 17)
    bottle = Spec(dataset="gaussian", width=(17, 3, 5))
    assert (bottle.inputs, bottle.outputs) == (17, 5)
    for name, record in DATASETS.items():
        if record.has_labels:
            assert (Spec(dataset=name).inputs, Spec(dataset=name).outputs) == (record.features, record.outputs)


def test_shapes_of_layers_of_different_widths() -> None:
    shapes = Spec(width=(6, 5, 4), dataset="blobs").layer_shapes()
    assert [(shape.fan_in, shape.fan_out) for shape in shapes] == [(2, 6), (6, 5), (5, 4), (4, 3)]
    assert [shape.is_output for shape in shapes] == [False, False, False, True]


def test_the_sentence() -> None:
    assert Spec().sentence == "10 hidden layers of 64 ReLU units on digits, started from he_normal"
    assert Spec(depth=1, width=1, activation="gelu", dataset="moons").sentence == (
        "1 hidden layer of 1 GELU unit on two moons, started from he_normal"
    )
    assert Spec(activation="leaky_relu(slope=0.2)").sentence == (
        "10 hidden layers of 64 leaky ReLU (slope 0.2) units on digits, started from he_normal"
    )
    assert Spec(width=(256, 128, 64)).sentence == (
        "3 hidden layers of 256-128-64 ReLU units on digits, started from he_normal"
    )
    assert Spec(width=(1, 1)).sentence.startswith("2 hidden layers of 1 ReLU unit on")


def test_only_data_with_labels_can_be_trained_on() -> None:
    for name, record in DATASETS.items():
        if record.has_labels:
            Spec(dataset=name).require_training()
        else:
            with pytest.raises(BadInput, match=f"^dataset: '{name}' .*labels") as caught:
                Spec(dataset=name).require_training()
            assert "one of digits, moons" in caught.value.allowed
            for other, another in DATASETS.items():
                assert (other in caught.value.allowed.partition(":")[0]) == another.has_labels


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4096])
@pytest.mark.parametrize("normalization", ["none", *NORMALIZATIONS])
def test_batch_normalization_needs_a_batch(normalization: str, batch_size: int) -> None:
    spec = Spec(normalization=normalization, batch_size=batch_size)
    if (normalization, batch_size) != ("batch", 1):
        spec.require_training()
        return
    with pytest.raises(BadInput) as caught:
        spec.require_training()
    assert (caught.value.field, caught.value.value) == ("batch_size", 1)
    assert caught.value.allowed.startswith("at least 2 for batch normalization")
    # What is not trained on may be normalized.
    spec.require_start((spec.initializer,))


@pytest.mark.parametrize("residual", ["off", *RESIDUALS])
def test_a_residual_network_has_one_width(residual: str) -> None:
    for width in (6, (6,), (6, 6), "6-6-6"):
        Spec(width=width, residual=residual).require_start(("he_normal",))
    bottle = Spec(width=(6, 4, 6), residual=residual)
    if residual == "off":
        bottle.require_start(("he_normal",))
        return
    for names in ((), ("he_normal",), ("looks_linear", "kumar")):
        with pytest.raises(BadInput) as caught:
            bottle.require_start(names)
        assert (caught.value.field, caught.value.value) == ("width", "6-4-6")
        assert str(caught.value) == (
            "width: '6-4-6' is not allowed; give the same width in every layer of a residual network"
        )


WITHOUT_ANSWER = [
    ("looks_linear", {"width": 5}, "an even width"),
    ("looks_linear", {"width": (6, 5, 4)}, "an even width"),
    ("kumar", {}, "a slope at 0, where ReLU has none"),
    ("edge_of_chaos(sigma_b=0.1)", {}, ""),
    ('custom(standard_deviation="1/(layer-3)**2")', {}, "has none"),
    ('custom(standard_deviation="layer-4")', {}, "above 0"),
    ('custom(standard_deviation="log(5-layer)")', {}, "above 0"),  # the output layer alone
]


@pytest.mark.parametrize(("name", "changes", "allowed"), WITHOUT_ANSWER)
def test_an_initializer_without_an_answer_for_a_layer_does_not_start(
    name: str, changes: dict[str, Any], allowed: str
) -> None:
    spec = Spec(depth=3, initializer=name, **changes)
    for names in ((name,), ("he_normal", name), ("zeros", name, "looks_linear")):
        with pytest.raises(BadInput) as caught:
            spec.require_start(names)
        assert caught.value.field == "initializer"
        assert caught.value.value == name
        assert allowed in caught.value.allowed
        assert str(caught.value).isprintable()
    spec.require_start(())
    spec.require_start(("he_normal",))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("looks_linear", {"width": 6}),
        ("looks_linear", {"width": (6, 8, 4)}),
        ("looks_linear", {"width": 6, "dataset": "blobs"}),  # three outputs: only mirrored sides have to be even
        ("kumar", {"activation": "tanh"}),
        ("edge_of_chaos", {}),
        ("edge_of_chaos(sigma_b=0.1)", {"activation": "tanh"}),
        ('custom(standard_deviation="1/(layer-4.5)**2")', {}),
        ('custom(standard_deviation="log(6-layer)")', {}),
    ],
)
def test_an_initializer_with_an_answer_for_every_layer_starts(name: str, changes: dict[str, Any]) -> None:
    Spec(depth=3, **changes).require_start((name,))


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_every_initializer_has_an_answer_or_says_why_not(activation: str) -> None:
    spec = Spec(depth=2, width=6, activation=activation)
    refused = {}
    for name in INITIALIZERS:
        try:
            spec.require_start((name,))
        except BadInput as problem:
            refused[name] = problem
    for name, problem in refused.items():
        assert (problem.field, problem.value) == ("initializer", name)
        assert problem.allowed
    # Few need anything of the activation.
    assert set(refused) <= {"kumar", "edge_of_chaos"}
    for name in set(INITIALIZERS) - set(refused):
        for shape in spec.layer_shapes():
            require_answer(name, shape)


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


def test_the_drawn_layer_knows_the_networks_activation() -> None:
    spec = Spec(activation="leaky_relu(slope=0.2)")
    assert {DistributionsKnobs(layer=layer).shape(spec).activation for layer in (1, 5, 11)} == {spec.activation}


@pytest.mark.parametrize(
    ("knobs", "is_one_of_its_layers"),
    [
        ({}, True),
        ({"layer": 1}, True),
        ({"layer": 201}, True),
        ({"fan_in": 32}, True),  # as it is anyway
        ({"fan_in": 32, "fan_out": 32}, True),
        ({"fan_in": 33}, False),
        ({"fan_out": 7}, False),
        ({"layer": 1, "fan_in": 32}, False),  # as in layer 2, but not in layer 1
    ],
)
def test_a_layer_of_free_fans_is_of_no_network(knobs: dict[str, int], is_one_of_its_layers: bool) -> None:
    spec = Spec(depth=3, width=32)
    assert DistributionsKnobs(**knobs).network(spec) == (spec if is_one_of_its_layers else None)


def test_knobs_of_distributions() -> None:
    declared = {field.name: field for field in fields_of(DistributionsKnobs)}
    order = ("initializers", "layer", "fan_in", "fan_out", "samples", "unit", "view", "image", "translate")
    assert tuple(declared) == order
    choices = {name: field.kind.options for name, field in declared.items() if isinstance(field.kind, Choice)}
    assert choices == {
        "unit": ("weight", "deviations"),
        "view": ("density", "tails", "cumulative"),
        "image": ("png", "svg"),
        "translate": tuple(TRANSLATIONS),
    }
    assert declared["translate"].default == "torch_linear"
    for name, options in choices.items():
        for option in options:
            assert getattr(DistributionsKnobs(**{name: option}), name) == option


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


def test_a_list_at_its_limit_is_kept_and_a_longer_one_is_refused() -> None:
    def listed(length: int) -> tuple[str, ...]:
        return (_custom(TEXT_LIMIT, " "), _custom(length - TEXT_LIMIT - 1, " "))

    knobs = CompareKnobs(initializers=listed(LIST_LIMIT))
    assert len(";".join(knobs.initializers)) == LIST_LIMIT
    with pytest.raises(BadInput, match=f"at most {LIST_LIMIT} characters together"):
        CompareKnobs(initializers=listed(LIST_LIMIT + 1))
