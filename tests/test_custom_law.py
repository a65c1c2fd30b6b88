"""A law of one's own: what its expressions are worth, and that nothing but such an expression is ever read."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from winit.fields import BadInput, Refused, Text
from winit.initializers import FORM, INITIALIZERS, LayerShape, custom, scheme
from winit.laws import Law
from winit.network import Member, initialize
from winit.seeds import generator
from winit.spec import Spec

SHAPE = LayerShape(64, 32, layer=2, depth=5, activation="tanh")
DISTRIBUTIONS = ("normal", "truncated_normal", "uniform", "rademacher", "laplace", "student_t", "two_point")
EXPRESSION = next(parameter for parameter in INITIALIZERS["custom"].parameters if isinstance(parameter.kind, Text))


def _text(expression: str, **others: str) -> str:
    parts = [*(f"{name}={value}" for name, value in others.items()), f'standard_deviation="{expression}"']
    return f"custom({', '.join(parts)})"


def _law(expression: str, shape: LayerShape = SHAPE, **others: str) -> Law:
    return scheme(_text(expression, **others)).law(shape)


# Distributions


def test_the_distributions_are_all_here() -> None:
    assert tuple(custom._DISTRIBUTIONS) == DISTRIBUTIONS


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("sd", [0.01, 0.3, 20.0])
def test_every_distribution_has_the_mean_0_and_the_standard_deviation_asked_for(distribution: str, sd: float) -> None:
    law = _law(f"{sd}", distribution=distribution)
    assert law.mean == 0
    assert law.standard_deviation == pytest.approx(sd, rel=1e-12)
    assert law.skewness == 0


@pytest.mark.parametrize(
    ("distribution", "options", "kurtosis", "bound"),
    [
        ("normal", {}, 3, math.inf),
        ("truncated_normal", {}, 3 + float(stats.truncnorm(-2, 2).stats("k")), 2 / stats.truncnorm(-2, 2).std()),
        ("uniform", {}, 1.8, math.sqrt(3)),
        ("rademacher", {}, 1, 1),
        ("laplace", {}, 6, math.inf),
        ("student_t", {}, 9, math.inf),
        ("student_t", {"nu": "10"}, 4, math.inf),
        ("student_t", {"nu": "4"}, math.inf, math.inf),
        ("two_point", {}, 10, math.sqrt(10)),
        ("two_point", {"share": "0.25"}, 4, 2),
        ("two_point", {"share": "1"}, 1, 1),
    ],
)
def test_kurtosis_and_bounds(distribution: str, options: dict[str, str], kurtosis: float, bound: float) -> None:
    law = _law("0.5", distribution=distribution, **options)
    assert law.kurtosis == pytest.approx(kurtosis, rel=1e-9)
    assert (law.minimum, law.maximum) == pytest.approx((-bound / 2, bound / 2), rel=1e-12)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_formula_names_distribution_expression_and_value(distribution: str) -> None:
    formula = scheme(_text("sqrt(3/fan_in)", distribution=distribution)).formula(SHAPE)
    assert formula.text.startswith(custom._DISTRIBUTIONS[distribution].words)
    assert "standard deviation sqrt(3/fan_in) = 0.21651, variance 0.046875" in formula.text
    assert r"\sigma = \texttt{sqrt(3/fan\_in)} = 0.21651" in formula.latex
    assert r"\sigma^2 = 0.046875" in formula.latex


def test_draws_of_the_laws_on_a_few_values() -> None:
    for distribution, options, values in (
        ("rademacher", {}, [-0.5, 0.5]),
        ("two_point", {"share": "0.25"}, [-1.0, 0.0, 1.0]),
    ):
        weight, bias = scheme(_text("0.5", distribution=distribution, **options)).draw(SHAPE, generator(0, "weights"))
        assert weight.unique().tolist() == values
        assert not bias.any()


# Expressions

GAINS = {"relu": 1.41421, "tanh": 1.59254, "sigmoid": 1.84623, "gelu": 1.53353, "identity": 1.0}
"""Forward gains to five decimals, from tables."""


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.05", 0.05),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("fan_in", 64),
        ("fan_out", 32),
        ("depth", 5),
        ("layer", 2),
        ("2+3*4", 14),
        ("(2+3)*4", 20),
        ("2/3/4", 1 / 6),
        ("2-3+4", 3),
        ("--2", 2),
        ("+2", 2),
        ("2**3**2", 512),
        ("2**-1", 0.5),
        ("-(-2)**3", 8),
        ("-2**2+5", 1),
        ("4**0.5", 2),
        ("sqrt(2/fan_in)", math.sqrt(2 / 64)),
        ("(2/(fan_in+fan_out))**.5", math.sqrt(2 / 96)),
        ("log(fan_in)/log(2)", 6),
        ("log(fan_in, 2)", 6),
        ("exp(-1)", math.exp(-1)),
        ("min(fan_in, fan_out)", 32),
        ("max(fan_in, fan_out, 100)", 100),
        ("1/sqrt(2*depth)", 1 / math.sqrt(10)),
        ("sqrt(2/fan_in) * depth**(-layer/2)", math.sqrt(2 / 64) / 5),
        ("  1 + 1  ", 2),
        ("1_000", 1000),
        ("min(1e999, 3)", 3),
    ],
)
def test_values(expression: str, value: float) -> None:
    assert custom.evaluate(expression, SHAPE) == pytest.approx(value, rel=1e-14)
    assert _law(expression).standard_deviation == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("activation", GAINS)
def test_gain_is_the_forward_gain_of_the_activation(activation: str) -> None:
    shape = LayerShape(64, 32, activation=activation)
    assert custom.evaluate("gain", shape) == pytest.approx(GAINS[activation], abs=5e-6)
    assert scheme("custom").law(shape).standard_deviation == pytest.approx(GAINS[activation] / 8, abs=1e-6)


def test_each_layer_of_a_network_has_its_own_value() -> None:
    text = _text("1/layer/fan_in/depth", distribution="rademacher")
    spec = Spec(depth=3, width=7, initializer=text, dataset="blobs")
    ensemble = initialize(spec, [Member(text, 0, 0.1)])
    for shape, weight in zip(spec.layer_shapes(), ensemble.weights, strict=True):
        assert weight.abs().unique().tolist() == [np.float32(1 / shape.layer / shape.fan_in / 3)]


Value = Callable[[LayerShape], float]
Pair = tuple[str, Value]


def _trees() -> st.SearchStrategy[Pair]:
    """Texts of expressions, each with a function of its own for its value."""
    leaves: list[Pair] = [(name, lambda s, n=name: float(getattr(s, n))) for name in ("fan_in", "fan_out", "depth")]
    leaves += [(text, lambda s, v=float(text): v) for text in ("1", "2", "0.5", "3e-2", "0")]

    def larger(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
        def joined(a: Pair, sign: str, b: Pair) -> Pair:
            values: dict[str, Callable[[float, float], float]] = {
                "+": lambda x, y: x + y,
                "-": lambda x, y: x - y,
                "*": lambda x, y: x * y,
                "/": lambda x, y: x / y,
                "**": lambda x, y: math.pow(x, y),
            }
            return f"({a[0]} {sign} {b[0]})", lambda s: values[sign](a[1](s), b[1](s))

        def called(name: str, a: Pair) -> Pair:
            functions = {"sqrt": math.sqrt, "log": math.log, "exp": math.exp}
            return f"{name}({a[0]})", lambda s: functions[name](a[1](s))

        def least(name: str, a: Pair, b: Pair) -> Pair:
            pick = min if name == "min" else max
            return f"{name}({a[0]},{b[0]})", lambda s: pick(a[1](s), b[1](s))

        return st.one_of(
            st.builds(joined, inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner),
            st.builds(called, st.sampled_from(["sqrt", "log", "exp"]), inner),
            st.builds(least, st.sampled_from(["min", "max"]), inner, inner),
            inner.map(lambda a: (f"(-{a[0]})", lambda s: -a[1](s))),
        )

    return st.recursive(st.sampled_from(leaves), larger, max_leaves=8).filter(lambda pair: len(pair[0]) <= 200)


@given(_trees(), st.integers(1, 1024), st.integers(1, 1024), st.integers(1, 200))
def test_any_expression_is_worth_what_arithmetic_says(tree: Pair, fan_in: int, fan_out: int, depth: int) -> None:
    expression, value = tree
    shape = LayerShape(fan_in, fan_out, depth=depth)
    try:
        expected = value(shape)
    except (ArithmeticError, ValueError):
        expected = math.nan
    if 0 < expected < 1e30:
        assert custom.evaluate(expression, shape) == pytest.approx(expected, rel=1e-12, abs=5e-324)
    else:
        with pytest.raises(Refused):
            custom.evaluate(expression, shape)


# What is refused

NEVER = [
    "",
    " ",
    "x",
    "fan",
    "Gain",
    "pi",
    "nan",
    "inf",
    "True",
    "None",
    "__import__",
    "__import__('os')",
    "fan_in.real",
    "(1).real",
    "().__class__",
    "sqrt.__globals__",
    "fan_in[0]",
    "[1]",
    "(1, 2)",
    "{1}",
    "{}",
    "abs(-1)",
    "rand()",
    "randint(5)",
    "int(2)",
    "sqrt",
    "sqrt(min)",
    "sqrt(2)(2)",
    "min(sqrt, 1)",
    "'a'",
    "b'a'",
    "f'{fan_in}'",
    "lambda: 1",
    "(lambda x: x)(1)",
    "[x for x in (1, 2)]",
    "max(x for x in (1, 2))",
    "(x := 1)",
    "x = 1",
    "1; 2",
    "import os",
    "1 < 2",
    "fan_in == 64",
    "1 if fan_in else 2",
    "1 and 2",
    "1 or 2",
    "not 1",
    "~1",
    "1 << 2",
    "1 | 2",
    "1 ^ 2",
    "7 // 2",
    "7 % 2",
    "fan_in @ fan_out",
    "max(a=1)",
    "max(1, 2, key=sqrt)",
    "max(*(1, 2))",
    "max(**{})",
    "...",
    "1j",
    "1 # one",
    "1\n",
    "(1\n+ 1)",
    "1\t",
    "1\x00",
    "1 +",
    "(1",
    "1)",
    "1 1",
    "2fan_in",
    "1or 2",
    "1if 2else 3",
    "0x10",
    "0b1",
    "١",
    "²",
    "１",
    "ｆａｎ_in",
    "fan＿in",
    "fan_in\u200b",
    "√(2)",
    "2·3",
    "1" * 201,
    "+".join(["1"] * 101),
    "-" * 20 + "1",
    "sqrt(" * 20 + "2" + ")" * 20,
    "+".join(["1"] * 21),
    "(" * 99 + "1" + ")" * 99 + "+x",
    "(" * 200,
    "await 1",
    "yield",
]
NO_VALUE = [
    "0",
    "0.0",
    "-1",
    "-0.5*fan_in",
    "fan_out-fan_in",
    "fan_in/(layer-2)",
    "1/0",
    "0**-1",
    "log(0)",
    "log(-1)",
    "log(1)",
    "sqrt(-1)",
    "(-1)**0.5",
    "((-1)**0.5)**2",
    "max((-1)**0.5, 1)",
    "9**9**9**9",
    "10**400",
    "-10**400",
    "2**0.5**-9999",
    "exp(1000)",
    "exp(exp(exp(9)))",
    "1e999",
    "1e999-1e999",
    "0*1e999",
    "1/1e999",
    "1e30",
    "999999999999999999999999999999",
    "9" * 200,
    "*".join(["9" * 98] * 2),
    "min()",
    "max()",
    "max(1)",
    "sqrt()",
    "sqrt(1, 2)",
    "exp(1, 2)",
    "log()",
    "log(2, 1)",
    "log(2, 3, 4)",
]


def _within_a_second(call: Callable[[], object]) -> None:
    start = time.process_time()
    call()
    assert time.process_time() - start < 1


@pytest.mark.parametrize("expression", NEVER, ids=ascii)
def test_whatever_is_no_expression_is_refused_when_it_is_read(expression: str) -> None:
    def refused() -> None:
        with pytest.raises(BadInput) as caught:
            EXPRESSION.read(expression)
        assert caught.value.field == "standard_deviation"
        assert "an expression of at most 200 characters in fan_in, fan_out, depth, layer, gain" in str(caught.value)
        assert "sqrt, log, exp, min, max" in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(Refused):
            scheme(_text(expression))
        with pytest.raises(Refused):
            custom.evaluate(expression, SHAPE)

    _within_a_second(refused)


@pytest.mark.parametrize("expression", NO_VALUE, ids=ascii)
def test_an_expression_without_a_positive_finite_value_has_no_answer(expression: str) -> None:
    def refused() -> None:
        bound = scheme(_text(expression))
        for ask in (bound.law, bound.formula, lambda shape: bound.draw(shape, generator(0, "weights"))):
            with pytest.raises(
                Refused, match=r"^an expression (with a value|whose value is a finite number)"
            ) as caught:
                ask(SHAPE)
            assert "\n" not in str(caught.value)
        with pytest.raises(BadInput, match=r"^initializer: 'custom") as told:
            initialize(Spec(depth=5, activation="tanh"), [Member(bound.text, 0, 0.1)])
        assert "an expression" in told.value.allowed

    _within_a_second(refused)


def test_the_limits_themselves_are_allowed() -> None:
    longest = "max(" + "1," * 97 + "1)"
    assert len(longest) == custom.EXPRESSION_LIMIT == 200
    assert _law(longest).standard_deviation == 1
    assert _law("-" * 18 + "2").standard_deviation == 2
    assert _law("sqrt(" * 19 + "2" + ")" * 19).standard_deviation == pytest.approx(2**2.0**-19)
    assert _law("+".join(["1"] * 20)).standard_deviation == 20
    assert _law("(" * 60 + "2" + ")" * 60).standard_deviation == 2


def test_quotes_and_semicolons_end_no_list_and_no_text() -> None:
    for expression in ('1"', "1;2", '"'):
        with pytest.raises(BadInput):
            EXPRESSION.read(expression)


def test_some_layers_without_a_value_are_enough() -> None:
    for expression, layer in (("1/(layer-3)", 1), ("1/(3-layer)", 3), ("depth-layer", 4)):
        text = _text(expression)
        for shape in Spec(depth=4).layer_shapes():
            if shape.layer < layer:
                assert scheme(text).law(shape).standard_deviation > 0
        with pytest.raises(BadInput, match=r"^initializer: 'custom"):
            initialize(Spec(depth=4, initializer=text), [Member(text, 0, 0.1)])
    fine = _text("1/(6-layer)")
    assert initialize(Spec(depth=4), [Member(fine, 0, 0.1)]).members == 1


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *(("nu", value) for value in ("2", "1.9", "-5", "nan", "inf", "1e7", "five")),
        *(("share", value) for value in ("0", "1e-7", "1.1", "-0.1", "nan", "all")),
        *(("distribution", value) for value in ("cauchy", "gaussian", "Normal")),
    ],
)
def test_the_other_parameters_have_ranges(parameter: str, value: str) -> None:
    with pytest.raises(Refused, match=f"^for {parameter} .*, not '{value}'$"):
        scheme(f"custom({parameter}={value})")


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("options", [{}, {"nu": "2.000001", "share": "1e-06"}, {"nu": "1e6", "share": "1"}])
@pytest.mark.parametrize("expression", ["1e-320", "1e-30", "9.9e29"])
def test_extreme_scales_draw_finite_weights(distribution: str, options: dict[str, str], expression: str) -> None:
    bound = scheme(_text(expression, distribution=distribution, **options))
    law = bound.law(SHAPE)
    assert math.isfinite(law.standard_deviation)
    weights = bound.weights(SHAPE, generator(0, "weights"), 50)
    assert bool(weights.isfinite().all())
    assert weights.dtype == torch.float32


# Any text

TOKENS = ["fan_in", "fan_out", "depth", "layer", "gain", "0", "1", "2", "9", "2.5", "1e30", "1e-30", "+", "-", "*", "/"]
TOKENS += ["**", "(", ")", ",", "sqrt(", "log(", "exp(", "min(", "max(", " ", ".", "_", "if", "x", "[", "'", ":", "="]


@given(st.one_of(st.text(max_size=220), st.lists(st.sampled_from(TOKENS), max_size=40).map("".join)))
@example("9**9**9**9")
@example("(" * 100 + ")" * 100)
@example("1\r\n")
@example("\ud800")
@example("0x1p3")
@example("1else")
@example("999999999999999949515880660992")
def test_any_text_reads_or_is_refused(expression: str) -> None:
    """Nothing but `Refused` and `BadInput`, both of them `ValueError`s, is raised."""
    start = time.process_time()
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            read = EXPRESSION.read(expression)
        assert not told
    except BadInput:
        assert not told
        with pytest.raises(Refused):
            scheme(_text(expression))
    else:
        assert read == expression
        bound = scheme(_text(expression))
        assert bound.values["standard_deviation"] == expression
        assert scheme(bound.text).values == bound.values
        try:
            law = bound.law(SHAPE)
        except Refused:
            pass
        else:
            assert 0 < law.standard_deviation < 1e30
            assert bound.formula(SHAPE).text
    assert time.process_time() - start < 2


@given(st.text(max_size=320))
@example('custom(standard_deviation="1")x')
@example("custom(standard_deviation=1+1)")
@example('custom(standard_deviation="1", standard_deviation="2")')
def test_any_text_form_reads_or_is_refused(text: str) -> None:
    for form in (text, f"custom({text})", f"custom(standard_deviation={text})"):
        try:
            bound = scheme(form)
        except Refused:
            continue
        assert scheme(bound.text).values == bound.values


@given(
    _trees(),
    st.sampled_from(DISTRIBUTIONS),
    st.floats(2, 1e6, exclude_min=True),
    st.floats(1e-6, 1),
)
def test_a_text_form_reads_back(tree: Pair, distribution: str, nu: float, share: float) -> None:
    values = {"distribution": distribution, "standard_deviation": tree[0], "nu": nu, "share": share}
    text = f'custom(distribution={distribution}, standard_deviation="{tree[0]}", nu={nu!r}, share={share!r})'
    bound = scheme(text)
    assert dict(bound.values) == values
    assert scheme(bound.text).values == bound.values
    assert scheme(bound.text).text == bound.text == FORM.read(text)


def test_canonical_texts() -> None:
    for text, canonical in (
        ("custom()", "custom"),
        ('custom( standard_deviation = "gain*sqrt(1/fan_in)" )', "custom"),
        ('custom(standard_deviation="0.05")', "custom(standard_deviation=0.05)"),
        ("custom(standard_deviation=0.050)", "custom(standard_deviation=0.050)"),
        ("custom(share=0.1, nu=5.0, distribution=laplace)", "custom(distribution=laplace)"),
        ('custom(standard_deviation="1 / fan_in")', 'custom(standard_deviation="1 / fan_in")'),
    ):
        assert scheme(text).text == canonical
