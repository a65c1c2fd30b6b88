"""The catalogue of initializers: its records and texts, what is refused and how, biases, output layers, real data.

What is drawn is held to the libraries and to closed forms in test_exactness.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from winit import datasets, initializers, laws, theory
from winit.activations import activation
from winit.fields import BadInput, Choice, Field, Integer, Real, Refused, Text, number_text, shown
from winit.initializers import FAMILIES, FORM, FRAMEWORKS, INITIALIZERS, LayerShape, scheme, variance_scaling
from winit.initializers.biases import BIASES, bias_rule
from winit.network import Member, first_layers, initialize, layer_inputs
from winit.seeds import generator
from winit.spec import OUTPUT_FACTORS, Spec
from winit.textform import Catalogue

Array = NDArray[np.float64]

RECORDS = list(INITIALIZERS.values())
WITHOUT_CHANCE = {"zeros", "constant", "identity", "zero_o"}
DRAWN_BIASES = {"torch_default", "sklearn_default", "nguyen_widrow", "randomized_asymmetric"}


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


# The catalogue


def test_a_name_is_used_once() -> None:
    names = [*INITIALIZERS, *INITIALIZERS.aliases]
    assert len(names) == len(set(names))
    with pytest.raises(ValueError, match="used twice"):
        Catalogue((INITIALIZERS["he_normal"], INITIALIZERS["he_normal"]))
    with pytest.raises(TypeError):
        INITIALIZERS["mine"] = INITIALIZERS["zeros"]  # type: ignore[index]


def test_the_catalogue_holds_every_name_that_was_ever_published() -> None:
    fixed = {"zeros", "constant", "random_normal", "random_uniform", "glorot_normal", "glorot_uniform", "he_normal"}
    fixed |= {"he_uniform", "lecun_normal", "lecun_uniform", "orthogonal", "xavier_normal", "kaiming_normal"}
    fixed |= {"variance_scaling", "torch_default", "truncated_normal", "trunc_normal", "identity", "zero_o", "idinit"}
    fixed |= {"looks_linear", "sparse", "sparse_martens", "sklearn_default", "playground_default", "lecun_1998"}
    fixed |= {"kumar", "edge_of_chaos", "random_walk", "siren", "randomized_asymmetric", "nguyen_widrow", "lsuv"}
    assert fixed | {"custom"} <= set(INITIALIZERS)
    assert {"xavier_uniform", "kaiming_uniform", "ones", "normal", "uniform"} <= set(INITIALIZERS.aliases)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_every_record_is_complete(record: initializers.Initializer) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", record.name)
    assert record.family in FAMILIES
    assert record.purpose.endswith(".")
    assert record.source
    assert set(record.code.notes) <= set(FRAMEWORKS)
    for parameter in record.parameters:
        assert parameter.help.endswith(".")
        assert parameter.check(parameter.default) == parameter.default
    assert scheme(record.name).text == record.name
    assert scheme(record.name).values == {parameter.name: parameter.default for parameter in record.parameters}


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ones", "constant(value=1)"),
        ("normal", "random_normal(stddev=1)"),
        ("normal(mean=0.5, std=0.05)", "random_normal(mean=0.5)"),
        ("uniform", "random_uniform(minval=0, maxval=1)"),
        ("uniform(a=-0.05, b=0.05)", "random_uniform"),
        ("xavier_uniform", "glorot_uniform"),
        ("xavier_uniform()", "glorot_uniform"),
        ("xavier_uniform(gain=2)", "variance_scaling(scale=4, mode=fan_avg, distribution=uniform)"),
        ("kaiming_uniform", "he_uniform"),
        ("kaiming_uniform(nonlinearity=relu)", "he_uniform"),
        ("kaiming_uniform(nonlinearity=linear)", "lecun_uniform"),
        ("kaiming_uniform(a=1)", "lecun_uniform"),
        ("kaiming_uniform(mode=fan_out)", "variance_scaling(scale=2, mode=fan_out, distribution=uniform)"),
        # The square root in PyTorch's gain leaves no trace.
        ("kaiming_uniform(a=0.5)", "variance_scaling(scale=1.6, distribution=uniform)"),
    ],
)
def test_an_alias_is_understood_and_replaced(text: str, canonical: str) -> None:
    assert text.partition("(")[0] in INITIALIZERS.aliases
    assert initializers.canonical(text) == FORM.read(text) == scheme(canonical).text == canonical


def test_kaiming_uniform_with_a_of_sqrt_5_is_the_weight_of_a_linear_layer() -> None:
    shape = LayerShape(64, 32)
    ours, linear = scheme(f"kaiming_uniform(a={math.sqrt(5)!r})").law(shape), scheme("torch_default").law(shape)
    assert (ours.minimum, ours.maximum) == pytest.approx((linear.minimum, linear.maximum), rel=1e-14)


@pytest.mark.parametrize(
    ("name", "general"),
    [
        ("glorot_normal", "variance_scaling(mode=fan_avg)"),
        ("glorot_uniform", "variance_scaling(mode=fan_avg, distribution=uniform)"),
        ("xavier_normal", "variance_scaling(mode=fan_avg, distribution=untruncated_normal)"),
        ("xavier_normal(gain=1.5)", "variance_scaling(scale=2.25, mode=fan_avg, distribution=untruncated_normal)"),
        ("he_normal", "variance_scaling(scale=2)"),
        ("he_uniform", "variance_scaling(scale=2, distribution=uniform)"),
        ("kaiming_normal", "variance_scaling(scale=2, distribution=untruncated_normal)"),
        ("lecun_normal", "variance_scaling"),
        ("lecun_uniform", "variance_scaling(distribution=uniform)"),
        ("lecun_1998", "variance_scaling(distribution=untruncated_normal)"),
        ("torch_default", f"variance_scaling(scale={1 / 3!r}, distribution=uniform)"),
    ],
)
def test_named_schemes_follow_from_variance_scaling(name: str, general: str) -> None:
    for shape in (LayerShape(64, 32), LayerShape(32, 64), LayerShape(10, 10)):
        ours, follows = scheme(name).law(shape), scheme(general).law(shape)
        assert type(ours) is type(follows)
        assert (ours.minimum, ours.maximum) == pytest.approx((follows.minimum, follows.maximum), rel=1e-14)
        assert ours.moments == pytest.approx(follows.moments, rel=1e-14)


def test_variance_scaling_draws_what_its_name_says() -> None:
    shape = LayerShape(50, 20)
    cut = variance_scaling(2.0, "fan_in", "truncated_normal").law(shape)
    assert cut == laws.TruncatedNormal.corrected(math.sqrt(2 / 50))
    assert variance_scaling(2.0, "fan_out", "untruncated_normal").law(shape) == laws.Normal(0.0, math.sqrt(2 / 20))
    limit = math.sqrt(6 / 35)
    uniform = variance_scaling(2.0, "fan_avg", "uniform").law(shape)
    assert (uniform.minimum, uniform.maximum) == pytest.approx((-limit, limit), rel=1e-14)
    geometric = variance_scaling(2.0, "fan_geo_avg", "untruncated_normal").law(shape)
    assert geometric.variance == pytest.approx(2 / math.sqrt(1000), rel=1e-14)


@pytest.mark.parametrize("a", [0.0, 0.01, 0.5, math.sqrt(5), -2.0])
@pytest.mark.parametrize("nonlinearity", theory.TORCH_GAINS)
def test_gains_are_those_of_torch(nonlinearity: str, a: float) -> None:
    expected = torch.nn.init.calculate_gain(nonlinearity, a)  # type: ignore[arg-type]
    assert theory.TORCH_GAINS[nonlinearity](a) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("nonlinearity", ["gelu", "silu", "elu", "mish", "softplus", "hardtanh", "softsign"])
def test_torch_has_no_gain_for_the_others(nonlinearity: str) -> None:
    with pytest.raises(ValueError, match="nsupported nonlinearity"):
        torch.nn.init.calculate_gain(nonlinearity)  # type: ignore[arg-type]
    assert nonlinearity not in theory.TORCH_GAINS


# What the libraries' own tests of their initializers ask: shapes, fans, generators


@pytest.mark.parametrize("fans", [(1, 1), (1, 2048), (2048, 1), (2, 1024), (1024, 2)])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_extreme_fans(name: str, fans: tuple[int, int]) -> None:
    """An odd side that would be mirrored is the only one that has no answer."""
    for layer in (1, 2, 3):
        shape = LayerShape(*fans, layer, 2, "tanh")
        odd = (fans[1] % 2 and not shape.is_output) or (fans[0] % 2 and not shape.is_first)
        if name == "looks_linear" and odd:
            with pytest.raises(Refused, match=r"^it an even width, .*: fan_(in|out) is 1 here$"):
                scheme(name).draw(shape, generator(0, "weights"))
            continue
        weight, bias = scheme(name).draw(shape, generator(0, "weights"))
        assert (weight.shape, bias.shape) == (fans[::-1], fans[1:])
        assert weight.dtype == bias.dtype == torch.float32
        assert weight.is_contiguous()
        assert bool(weight.isfinite().all() and bias.isfinite().all())


@pytest.mark.parametrize("fans", [(0, 5), (5, 0), (0, 0), (-1, 5), (5, -3)])
def test_a_layer_without_weights_is_refused_by_its_shape(fans: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match=re.escape(f"shape: '({fans[1]}, {fans[0]})' is not allowed; give (fan_out, ")):
        LayerShape(*fans)


@pytest.mark.parametrize("size", [(0,), (0, 5), (5, 0), (3, 0, 5), (5,), ()], ids=str)
@pytest.mark.parametrize("name", [name for name in INITIALIZERS if name != "lsuv"])
def test_laws_refuse_sizes_by_name_that_are_empty_or_have_too_few_sides(name: str, size: tuple[int, ...]) -> None:
    law = scheme(name).law(LayerShape(4, 5, 3, 2, "tanh"))
    if 0 in size or len(size) < law.axes:
        with pytest.raises(Refused, match=re.escape(f"not {size}")):
            law.sample(size, generator(0, "weights"))
    else:
        assert law.sample(size, generator(0, "weights")).shape == size


@pytest.mark.parametrize("name", INITIALIZERS)
def test_draws_are_a_function_of_the_generator_alone(name: str) -> None:
    shape = LayerShape(6, 10, 3, 5, "tanh")
    torch.manual_seed(1)
    weight, bias = scheme(name).draw(shape, generator(5, "weights", 3))
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(3)), "the global generator has moved"
    again, bias_again = scheme(name).draw(shape, generator(5, "weights", 3))
    assert torch.equal(weight, again)
    assert torch.equal(bias, bias_again)
    assert torch.equal(weight, scheme(name).weights(shape, generator(5, "weights", 3))[0])
    other, other_bias = scheme(name).draw(shape, generator(6, "weights", 3))
    assert torch.equal(weight, other) == (name in WITHOUT_CHANCE)
    assert torch.equal(bias, other_bias) == (name not in DRAWN_BIASES)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_two_layers_are_never_alike(name: str) -> None:
    """Unlike those of one unseeded Keras initializer, or those drawn by one generator that is not moved on."""
    layers = first_layers(Spec(depth=4, width=64, activation="tanh", initializer=name), name, 0)
    hidden = [weight for weight, _ in layers[:4]]  # all (64, 64)
    pairs = [(a, b) for number, a in enumerate(hidden) for b in hidden[number + 1 :]]
    assert all(torch.equal(a, b) == (name in WITHOUT_CHANCE) for a, b in pairs if name != "looks_linear")
    if name == "looks_linear":  # its first layer is not mirrored on both sides
        assert not any(torch.equal(a[:32, :32], b[:32, :32]) for a, b in pairs)
    two = scheme(name).weights(LayerShape(8, 8, 2, 3, "tanh"), generator(0, "weights"), 2)
    assert torch.equal(two[0], two[1]) == (name in WITHOUT_CHANCE)


def test_streams_differ_by_seed_purpose_and_index() -> None:
    keys = [(0, "weights", 0), (0, "weights", 1), (1, "weights", 0), (0, "biases", 0), (2**31 - 1, "weights", 0)]
    draws = [torch.rand(4, generator=generator(*key)).tolist() for key in keys]
    assert len({tuple(draw) for draw in draws}) == len(draws)


@pytest.mark.parametrize("text", ["orthogonal(gain=0)", "identity(gain=0)", "looks_linear(gain=0)", "sparse(std=0)"])
def test_gain_0_draws_zeros(text: str) -> None:
    shape = LayerShape(6, 4, 2, 3)
    weight, _ = scheme(text).draw(shape, generator(0, "weights"))
    assert not weight.any()
    assert scheme(text).law(shape).atoms == ((0.0, 1.0),)


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("he_norm", r"one of zeros, .* \(did you mean he_normal\?\)"),
        ("xavier_unifrm", r"did you mean xavier_uniform\?"),
        ("", "a name, or name"),
        ("he_normal(gain=2)", "he_normal with no parameters"),
        ("orthogonal(gian=2)", r"orthogonal with the parameters gain \(did you mean gain\?\)"),
        ("random_normal(stddev=-0.1)", "for stddev a number from 0"),
        ("xavier_normal(gain=0)", "for gain a number from 1e-15"),
        ("random_uniform(minval=1, maxval=1)", "^minval below maxval$"),
        ("random_uniform(minval=0.2)", "^minval below maxval$"),
        ("truncated_normal(lower=1, upper=-1)", "^lower below upper"),
        ("truncated_normal(lower=2)", "^lower below upper"),
        ("truncated_normal(mean=1, stddev=1e-17)", "^lower below upper, also once rounded beside the mean$"),
        ("trunc_normal(a=3)", "^a below b$"),
        ("zeros" + "x" * 300, "at most 300 characters"),
        ("zeros(a=1, a=1)", "each parameter once"),
        ("zeros(a=1,)", "each parameter once"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        scheme(text)


NAMED: list[tuple[str, tuple[Field, ...]]] = [(record.name, record.parameters) for record in RECORDS]
NAMED += [(alias.name, alias.parameters) for alias in INITIALIZERS.aliases.values()]
EACH_NAME = pytest.mark.parametrize(("name", "parameters"), NAMED, ids=[name for name, _ in NAMED])
EACH_PARAMETER = pytest.mark.parametrize(
    ("name", "parameter"),
    [(name, parameter) for name, parameters in NAMED for parameter in parameters],
    ids=[f"{name}-{parameter.name}" for name, parameters in NAMED for parameter in parameters],
)


def _bad_texts(kind: Any) -> list[str]:
    """Texts that a kind of value refuses: no value, another type, not finite, out of range."""
    match kind:
        case Real():
            beyond = [number_text(kind.maximum * 1.001), number_text(kind.minimum - max(1.0, abs(kind.minimum)))]
            least = [number_text(kind.minimum)] if kind.exclusive else []
            return ["", "abc", "nan", "inf", "-inf", "1e999", "0x10", "True", "1,5", "1_0", "١", "--1", *beyond, *least]
        case Integer():
            beyond = [str(kind.minimum - 1), str(kind.maximum + 1)]
            return ["", "abc", "1.5", "1e2", "nan", "inf", "True", "١", "9" * 13, *beyond]
        case Choice():
            return ["", "nothing", kind.options[0] + "x", kind.options[0].upper(), "1"]
        case Text():
            return ["", "x", "1+", "nan", "-", "fan_in.real"]
    raise AssertionError(f"no bad values for {kind}")


@EACH_PARAMETER
def test_a_bad_value_is_refused_by_parameter_value_and_range(name: str, parameter: Field) -> None:
    for bad in _bad_texts(parameter.kind):
        for value in (f'"{bad}"', bad) if bad.isalnum() and bad.isascii() else (f'"{bad}"',):
            text = f"{name}({parameter.name}={value})"
            with pytest.raises(Refused) as refused:
                scheme(text)
            message = str(refused.value)
            assert message.startswith(f"for {parameter.name} {parameter.kind.allowed}")
            assert message.endswith(f", not {shown(bad)}")
            assert "\n" not in message
            with pytest.raises(BadInput) as told:
                Spec(initializer=text)
            assert (told.value.field, told.value.value, told.value.allowed) == ("initializer", text, message)
            assert str(told.value) == f"initializer: {shown(text)} is not allowed; give {message}"


@EACH_PARAMETER
def test_a_bad_value_from_python_is_refused_too(name: str, parameter: Field) -> None:
    bad: list[Any] = [None, True, [], {}, b"1", object(), math.nan, math.inf, -math.inf, 10**400, 1j]
    bad += [2.5] if isinstance(parameter.kind, Integer) else []
    bad += ["1"] if isinstance(parameter.kind, Integer | Real) else [1, 1.0]
    for value in bad:
        with pytest.raises(BadInput) as refused:
            parameter.check(value)
        assert refused.value.field == parameter.name
        assert str(refused.value).startswith(f"{parameter.name}: {shown(value)} is not allowed; give ")
        assert parameter.kind.allowed in str(refused.value)


@EACH_PARAMETER
def test_a_missing_value_is_refused(name: str, parameter: Field) -> None:
    for inside in (f"{parameter.name}", f"{parameter.name}=", "=1", f"{parameter.name}==1", f"{parameter.name}=1 1"):
        with pytest.raises(Refused, match=r"^a name, or name.*each value a number, a name or text in"):
            scheme(f"{name}({inside})")


@EACH_NAME
def test_an_unknown_parameter_is_refused_and_the_nearest_named(name: str, parameters: tuple[Field, ...]) -> None:
    takes = "the parameters " + ", ".join(p.name for p in parameters) if parameters else "no parameters"
    for parameter in parameters:
        with pytest.raises(Refused) as refused:
            scheme(f"{name}({parameter.name}x=1)")
        assert str(refused.value) == f"{name} with {takes} (did you mean {parameter.name}?)"
    with pytest.raises(Refused) as refused:
        scheme(f"{name}(qqqqqq=1)")
    assert str(refused.value) == f"{name} with {takes}"


@EACH_NAME
def test_an_unknown_name_is_refused_and_the_nearest_named(name: str, parameters: tuple[Field, ...]) -> None:
    for text in (f"{name}x", f"{name}x(a=1)"):
        with pytest.raises(Refused) as refused:
            scheme(text)
        assert str(refused.value) == f"one of {', '.join(INITIALIZERS)} (did you mean {name}?)"


@EACH_NAME
def test_unbalanced_text_is_refused(name: str, parameters: tuple[Field, ...]) -> None:
    for text in (f"{name}(", f"{name})", f"({name}", f'{name}(a="1)', f'{name}"', f"{name}((a=1)", f"{name}(a=1))"):
        with pytest.raises(Refused, match=r"each parenthesis and quote closed$"):
            scheme(text)


ORDERS = {"minval below maxval", "lower below upper, also once rounded beside the mean", "a below b"}
"""What is asked of two parameters at once."""


def _read(text: str) -> initializers.Scheme | None:
    """Return a scheme; None where two parameters, each in its range, do not fit together."""
    try:
        return scheme(text)
    except Refused as refusal:
        if str(refusal) not in ORDERS:
            raise
        return None


def _ends(kind: Any) -> list[str]:
    """The smallest and the largest value that a kind takes."""
    match kind:
        case Real():
            least = math.nextafter(kind.minimum, math.inf) if kind.exclusive else kind.minimum
            return [number_text(least), number_text(kind.maximum)]
        case Integer():
            return [str(kind.minimum), str(kind.maximum)]
        case Choice():
            return list(kind.options)
    return []


@EACH_PARAMETER
def test_the_ends_of_every_range_draw_finite_weights(name: str, parameter: Field) -> None:
    for value in _ends(parameter.kind):
        for layer in (1, 2):
            shape = LayerShape(8, 6, layer, 3, "tanh")
            bound = _read(f"{name}({parameter.name}={value})")
            if bound is None:  # the other end of the interval is at its default
                continue
            assert bool(bound.draw(shape, generator(0, "weights"))[0].isfinite().all())
            assert not re.search(r"\b(nan|inf)\b", bound.formula(shape).text + bound.formula(shape).latex)


@pytest.mark.parametrize(
    ("text", "change", "reason"),
    [
        ("kumar", {"activation": "relu"}, "an activation with a slope at 0, where ReLU has none"),
        ("kumar", {"activation": "leaky_relu"}, "an activation with a slope at 0"),
        ("edge_of_chaos(sigma_b=0.1)", {"activation": "relu"}, "sigma_b 0: for ReLU the edge of chaos is the single"),
        ("looks_linear", {"width": 63}, "it an even width, since it mirrors each unit in another: fan_out is 63 here"),
        ('custom(standard_deviation="layer-2")', {}, "an expression whose value is a finite number above 0"),
    ],
)
def test_a_network_without_an_answer_is_refused_with_the_reason(text: str, change: dict[str, Any], reason: str) -> None:
    spec = Spec(initializer=text, **change)
    for ask in (lambda: first_layers(spec, text, 0), lambda: initialize(spec, [Member(text, 0, 0.1)])):
        with pytest.raises(BadInput) as told:
            ask()
        assert str(told.value).startswith(f"initializer: {shown(text)} is not allowed; give ")
        assert reason in told.value.allowed


# Text forms


def _values(parameter: Field) -> st.SearchStrategy[Any]:
    match parameter.kind:
        case Choice(options=options):
            return st.sampled_from(options)
        case Integer(minimum=low, maximum=high):
            return st.integers(low, high)
        case Real(minimum=low, maximum=high, exclusive=exclusive):
            moderate = [value for value in (0.01, 0.5, 1.0, 3.0) if low < value <= high]
            floats = st.floats(low, high, exclude_min=exclusive).map(lambda value: value + 0.0)
            return floats | st.sampled_from(moderate)
    return st.sampled_from(["gain*sqrt(1/fan_in)", "0.05", "sqrt(2/fan_in)", "1 / layer", "fan_out**-.5"])


@st.composite
def _texts(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    record = draw(st.sampled_from(RECORDS))
    values = {parameter.name: draw(_values(parameter)) for parameter in record.parameters}
    for low, high in (("minval", "maxval"), ("lower", "upper"), ("a", "b")):
        if low in values and high in values:
            assume(values[low] != values[high])
            values[low], values[high] = sorted((values[low], values[high]))
    inside = ", ".join(f'{p.name}="{p.write(values[p.name])}"' for p in record.parameters)
    return f"{record.name}({inside})", values


@given(_texts())
def test_texts_read_back_exactly(made: tuple[str, dict[str, Any]]) -> None:
    text, values = made
    bound = _read(text)
    if bound is None:  # a cut so narrow beside the mean that it has no width in double precision
        return
    assert dict(bound.values) == values
    assert scheme(bound.text).values == bound.values
    assert scheme(bound.text).text == bound.text
    assert FORM.read(FORM.write(bound.text)) == bound.text


def _has_no_answer(bound: initializers.Scheme, shape: LayerShape) -> bool:
    name, phi = bound.record.name, shape.activation
    return (
        (name == "kumar" and phi == "relu")
        or (name == "edge_of_chaos" and bound.values["sigma_b"] > 0)
        or (name == "looks_linear" and (shape.fan_out % 2 == 1 or (shape.layer > 1 and shape.fan_in % 2 == 1)))
    )


@given(
    _texts(), st.integers(1, 64), st.integers(1, 64), st.integers(1, 3), st.sampled_from(["relu", "tanh", "sigmoid"])
)
@example(("variance_scaling(scale=1e-30, distribution=uniform)", {}), 64, 64, 1, "relu")
@example(("variance_scaling(scale=1e30)", {}), 64, 64, 1, "relu")
@example(("xavier_normal(gain=1e-15)", {}), 64, 64, 1, "relu")
@example(("orthogonal(gain=5e-324)", {}), 64, 64, 1, "relu")
@example(("random_normal(stddev=5e-324)", {}), 64, 64, 1, "relu")
@example(("siren(omega=1e-06)", {}), 64, 64, 2, "relu")
@example(("custom(distribution=two_point, share=1e-06)", {}), 64, 64, 1, "relu")
def test_whatever_is_accepted_has_a_law_a_formula_and_finite_draws(
    made: tuple[str, dict[str, Any]], fan_in: int, fan_out: int, layer: int, phi: str
) -> None:
    shape = LayerShape(fan_in, fan_out, layer, 3, phi)
    bound = _read(made[0])
    if bound is None:
        return
    try:
        law = bound.law(shape)
    except Refused:
        assert _has_no_answer(bound, shape)
        return
    assert math.isfinite(law.mean)
    assert math.isfinite(law.standard_deviation) or bound.is_data_dependent
    formula = bound.formula(shape)
    assert not re.search(r"\b(nan|inf)\b", formula.text + formula.latex)
    if law.no_density is None:
        with np.errstate(over="ignore"):
            assert not np.isnan(law.density(np.array([law.mean + 0.1 * law.standard_deviation]))).any()
    weight, bias = bound.draw(shape, generator(0, "weights"))
    assert bool(weight.isfinite().all())
    assert bool(bias.isfinite().all())


# Biases

NETWORK = Spec(depth=3, width=12, activation="tanh", dataset="digits")
RULES = ["scheme", "zeros", "constant", "constant(value=-0.5)", "normal", "normal(stddev=0.3)", "log_prior"]


def _frequencies(dataset: str) -> Array:
    """Return the class frequencies of the training part, counted here."""
    labels = datasets.load(dataset).train_y
    return np.array([(labels == label).mean() for label in range(datasets.DATASETS[dataset].outputs)])


def test_every_bias_rule_is_used_here() -> None:
    assert {bias_rule(text).record.name for text in RULES} == set(BIASES)


@pytest.mark.parametrize("initializer", ["he_normal", "torch_default", "randomized_asymmetric", "edge_of_chaos"])
@pytest.mark.parametrize("rule", RULES)
def test_a_bias_rule_leaves_the_weights_alone(rule: str, initializer: str) -> None:
    plain = first_layers(NETWORK, initializer, 4)
    ruled = first_layers(NETWORK.replace(bias=rule), initializer, 4)
    for (weight, bias), (same, other), shape in zip(plain, ruled, NETWORK.layer_shapes(), strict=True):
        assert torch.equal(weight, same)
        own_weight, own_bias = scheme(initializer).draw(shape, generator(4, "weights", shape.layer))
        assert torch.equal(weight, own_weight)
        assert torch.equal(bias, own_bias)
        assert other.shape == (shape.fan_out,)
        assert other.dtype == torch.float32
        assert torch.equal(bias, other) == (
            rule == "scheme" or (not bias.any() and (rule == "zeros" or (rule == "log_prior" and not shape.is_output)))
        )


@pytest.mark.parametrize(("rule", "value"), [("zeros", 0.0), ("constant", 0.01), ("constant(value=-0.5)", -0.5)])
def test_constant_biases(rule: str, value: float) -> None:
    for initializer in ("he_normal", "torch_default"):
        for _, bias in first_layers(NETWORK.replace(bias=rule), initializer, 0):
            assert torch.equal(bias, torch.full_like(bias, value))


def test_normal_biases_have_streams_of_their_own() -> None:
    spec = NETWORK.replace(width=500, bias="normal(stddev=0.3)")
    layers = first_layers(spec, "he_normal", 0)
    hidden = [bias.double().numpy() for _, bias in layers[:-1]]
    assert stats.kstest(np.concatenate(hidden), stats.norm(0, 0.3).cdf).pvalue > 1e-5
    assert not any(np.array_equal(hidden[0], other) for other in hidden[1:])
    for shape, (weight, bias) in zip(spec.layer_shapes(), layers, strict=True):
        expected = torch.empty(shape.fan_out).normal_(0.0, 0.3, generator=generator(0, "biases", shape.layer))
        assert torch.equal(bias, expected)
        # Independent of the weights of its layer: a correlation of five standard errors would show.
        first = weight.flatten()[: shape.fan_out].double().numpy()
        assert abs(stats.pearsonr(first, bias.double().numpy())[0]) < 5 / math.sqrt(shape.fan_out)
    assert not torch.equal(first_layers(spec, "he_normal", 1)[0][1], layers[0][1])


CLASSES = [name for name, record in datasets.DATASETS.items() if record.has_labels and not record.is_regression]
REGRESSIONS = [name for name, record in datasets.DATASETS.items() if record.is_regression]


@pytest.mark.parametrize("dataset", REGRESSIONS)
def test_of_a_regression_log_prior_starts_at_the_mean(dataset: str) -> None:
    spec = NETWORK.replace(dataset=dataset, bias="log_prior", output="zeros")
    *_, (_, output) = first_layers(spec, "torch_default", 0)
    mean = datasets.load(dataset).train_y.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(output.double().numpy(), mean, atol=1e-6)


@pytest.mark.parametrize("dataset", CLASSES)
def test_log_prior_starts_at_the_class_frequencies_of_the_training_part(dataset: str) -> None:
    spec = NETWORK.replace(dataset=dataset, bias="log_prior", output="zeros")
    *hidden, (_, output) = first_layers(spec, "torch_default", 0)
    assert not any(bias.any() for _, bias in hidden)
    frequencies = _frequencies(dataset)
    np.testing.assert_allclose(output.double().numpy(), np.log(frequencies), rtol=1e-6)
    # With an output layer of zeros the loss starts at the entropy of the classes, whatever the inputs.
    data = datasets.load(dataset)
    outputs = initialize(spec, [Member("torch_default", 0, 0.1)]).outputs(torch.tensor(data.train_x[:50]).T)[0]
    entropy = -(frequencies * np.log(frequencies)).sum()
    loss = torch.nn.functional.cross_entropy(outputs[:, :1].T.repeat(len(data.train_y), 1), torch.tensor(data.train_y))
    assert float(loss) == pytest.approx(entropy, rel=1e-5)
    assert bool((outputs == outputs[:, :1]).all())


def test_without_labels_log_prior_is_zeros() -> None:
    spec = NETWORK.replace(dataset="gaussian", bias="log_prior")
    assert not any(bias.any() for _, bias in first_layers(spec, "torch_default", 0))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("zeroes", r"one of scheme, zeros, constant, normal, log_prior \(did you mean zeros\?\)"),
        ("constant(value=nan)", "for value a number from -1000000 to 1000000, not 'nan'"),
        ("constant(value=1e7)", "for value a number from -1000000"),
        ("normal(stddev=-1)", "for stddev a number from 0 to 1000000, not '-1'"),
        ("normal(value=1)", "normal with the parameters stddev"),
        ("log_prior(a=1)", "log_prior with no parameters"),
        ("normal(", "each parenthesis and quote closed"),
    ],
)
def test_bias_rules_that_are_refused(rule: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        bias_rule(rule)
    with pytest.raises(BadInput, match=f"^bias: {re.escape(shown(rule))} is not allowed; give .*{message}"):
        Spec(bias=rule)


# The output layer


@pytest.mark.parametrize(("output", "factor"), [("same", 1.0), ("zeros", 0.0), ("small", 0.01)])
@pytest.mark.parametrize("initializer", ["he_normal", "torch_default", "lsuv", "orthogonal"])
def test_an_output_rule_scales_the_weights_of_the_last_layer_alone(
    initializer: str, output: str, factor: float
) -> None:
    assert OUTPUT_FACTORS[output] == factor
    plain = first_layers(NETWORK, initializer, 4)
    ruled = first_layers(NETWORK.replace(output=output), initializer, 4)
    for (weight, bias), (other, same) in zip(plain, ruled, strict=True):
        assert torch.equal(bias, same)
        expected = weight * factor if weight is plain[-1][0] else weight
        assert torch.equal(other, expected)
    ensemble = initialize(NETWORK.replace(output=output), [Member(initializer, 4, 0.1)])
    assert torch.equal(ensemble.weights[-1][0], ruled[-1][0])


def test_output_rules_that_are_refused() -> None:
    for output in ("zero", "", "small(a=1)", None, 0):
        with pytest.raises(BadInput, match=r"^output: .* is not allowed; give one of same, zeros, small"):
            Spec(output=output)  # type: ignore[arg-type]


# Layers that are fitted to data


def _numpy_of(spec: Spec, seed: int, tolerance: float, rounds: int) -> list[Array]:
    """Return LSUV's weights of all layers, layer by layer in double precision (Mishkin & Matas 2016, algorithm 1)."""
    inputs = datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed).T.astype(np.float64)
    fitted = []
    for shape in spec.layer_shapes():
        weight, _ = scheme("orthogonal").draw(shape, generator(seed, "weights", shape.layer))
        w = weight.double().numpy()
        for _ in range(rounds):
            variance = np.var(w @ inputs)
            if abs(variance - 1) < tolerance:
                break
            w = w / math.sqrt(variance)
        fitted.append(w)
        _, bias = first_layers(spec, "he_normal", seed)[shape.layer - 1]  # as the rule says, whatever the weights
        inputs = shape.phi.values(w @ inputs + bias.double().numpy()[:, None])
    return fitted


FITTED = [
    {"activation": "relu"},
    {"activation": "tanh", "bias": "normal(stddev=0.3)"},
    {"activation": "sigmoid", "bias": "constant(value=0.2)", "seed": 5},
    {"activation": "sine(omega=1)", "dataset": "gaussian", "batch_size": 300},
    {"activation": "selu", "dataset": "moons", "output": "zeros", "depth": 6},
]


@pytest.mark.parametrize("change", FITTED, ids=lambda change: change["activation"])
@pytest.mark.parametrize(("tolerance", "rounds"), [(0.1, 10), (1e-3, 1)])
def test_lsuv_is_fitted_layer_by_layer(change: Mapping[str, Any], tolerance: float, rounds: int) -> None:
    spec = NETWORK.replace(**change)
    text = f"lsuv(tolerance={tolerance}, rounds={rounds})"
    ensemble = initialize(spec, [Member("he_normal", 1, 0.1), Member(text, 7, 0.1), Member(text, 8, 0.1)])
    expected = _numpy_of(spec, 7, tolerance, rounds)
    expected[-1] = expected[-1] * OUTPUT_FACTORS[spec.output]
    for weight, other in zip(ensemble.weights, expected, strict=True):
        np.testing.assert_allclose(weight[1].double().numpy(), other, rtol=0, atol=2e-5 * np.abs(other).max())


@pytest.mark.parametrize("change", FITTED, ids=lambda change: change["activation"])
@pytest.mark.parametrize("tolerance", [0.1, 0.001])
def test_lsuv_gives_every_layer_of_a_network_unit_variance(change: Mapping[str, Any], tolerance: float) -> None:
    spec, text = NETWORK.replace(**(dict(change) | {"output": "same", "depth": 8})), f"lsuv(tolerance={tolerance})"
    x = torch.tensor(datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed)).T
    for number, (weight, bias) in enumerate(first_layers(spec, text, 3), start=1):
        torch.testing.assert_close(layer_inputs(spec, text, 3, number), x, rtol=1e-4, atol=1e-5)
        z = weight @ x
        # The variance of the pre-activations before the biases, over units and samples; float32 leaves 1e-5.
        assert abs(float(z.double().var(correction=0)) - 1) < tolerance + 1e-5
        plain, _ = scheme("orthogonal").draw(spec.layer_shapes()[number - 1], generator(3, "weights", number))
        x = activation(spec.activation)(z + bias[:, None])
        # Scaled as a whole: still orthogonal up to one factor.
        ratio = (weight * plain).sum() / plain.square().sum()
        torch.testing.assert_close(weight, ratio * plain, rtol=1e-4, atol=1e-5)


def test_lsuv_leaves_alone_what_is_right_or_sees_nothing() -> None:
    shape, source = LayerShape(20, 20, 2, 3), generator(0, "weights")
    plain = scheme("orthogonal").weights(shape, generator(0, "weights"))
    x = torch.empty(20, 5000).normal_(generator=source)  # an orthogonal matrix keeps its unit variance
    assert torch.equal(scheme("lsuv").weights(shape, generator(0, "weights"), inputs=x), plain)
    assert torch.equal(scheme("lsuv").weights(shape, generator(0, "weights"), inputs=torch.zeros(20, 9)), plain)
    scaled = scheme("lsuv").weights(shape, generator(0, "weights"), inputs=10 * x)
    torch.testing.assert_close(scaled, plain / (10 * x).std(correction=0), rtol=1e-2, atol=0)


def test_without_a_network_lsuv_sees_normal_inputs() -> None:
    shape = LayerShape(30, 400, 2, 3)
    weight, bias = scheme("lsuv").draw(shape, generator(0, "weights"))
    assert not bias.any()
    # Rows of length sqrt(30 / 400) before, of unit variance on N(0, 1) after: within the tolerance and the error of
    # a variance over 256 samples of 30 inputs.
    assert float(weight.square().sum(dim=1).mean()) == pytest.approx(1, abs=0.1 + 5 * math.sqrt(2 / (256 * 30)))
    two = scheme("lsuv").weights(shape, generator(0, "weights"), 2)
    assert not torch.equal(two[0], two[1])


def test_only_lsuv_looks_at_data() -> None:
    assert [name for name in INITIALIZERS if scheme(name).is_data_dependent] == ["lsuv"]
    x = torch.ones(6, 3)
    for name in INITIALIZERS:
        shape = LayerShape(6, 4, 2, 3, "tanh")
        seen = scheme(name).weights(shape, generator(0, "weights"), inputs=5 * x)
        assert torch.equal(seen, scheme(name).weights(shape, generator(0, "weights"), inputs=x)) == (name != "lsuv")
