"""A law of one's own: a distribution, and an expression for its standard deviation.

The expression is evaluated by simpleeval with its default functions and names removed: numbers, the
five names, + - * / **, and sqrt, log, exp, min, max. Nothing else is understood.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simpleeval import InvalidExpression, SimpleEval

from winit import laws, theory
from winit.fields import Field, Refused, Text, number_text, tex
from winit.initializers.formula import Formula
from winit.initializers.layer import LayerShape
from winit.initializers.record import Code, Initializer, Rule, choice, number
from winit.initializers.writing import function, jax_uniform, plain_number, torch_cut
from winit.laws import Law

EXPRESSION_LIMIT = 200
_DEPTH_LIMIT = 20
# Python would also read comments, lines, letters of other widths, and, with a warning, words joined to numbers.
_CHARACTERS = re.compile(r"(?!.*[0-9.](?![eE][+-]?[0-9])[A-Za-z])[A-Za-z0-9_.,+*/() -]*")
NAMES: Mapping[str, Callable[[LayerShape], float]] = {
    "fan_in": lambda s: float(s.fan_in),
    "fan_out": lambda s: float(s.fan_out),
    "depth": lambda s: float(s.depth),
    "layer": lambda s: float(s.layer),
    "gain": lambda s: theory.gain(s.phi, "forward"),
}
FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
    "min": min,
    "max": max,
}
_OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    # In floating point: whole numbers would grow to any length.
    ast.Pow: lambda base, exponent: float(base) ** float(exponent),
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_ALLOWED = (
    f"an expression of at most {EXPRESSION_LIMIT} characters in {', '.join(NAMES)}, numbers, + - * / ** and "
    f"{', '.join(FUNCTIONS)}"
)


@lru_cache(maxsize=256)
def _parsed(expression: str) -> ast.AST:
    """Return the tree of an expression. Raises `Refused` for anything but the names, operators and functions."""
    if len(expression) > EXPRESSION_LIMIT or not _CHARACTERS.fullmatch(expression):
        raise Refused(_ALLOWED)
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused(_ALLOWED) from None
    _check(tree, _DEPTH_LIMIT)
    return tree


def _check(node: ast.AST, depth: int) -> None:
    """Raise `Refused` for a node that is none of those allowed, or deeper than `depth`."""
    if depth == 0:
        raise Refused(f"{_ALLOWED}, nested at most {_DEPTH_LIMIT} deep")
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            inner = [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            inner = [operand]
        case ast.Call(func=ast.Name(id=name), args=inner, keywords=[]) if name in FUNCTIONS:
            pass
        case ast.Name(id=name) if name in NAMES:
            inner = []
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            inner = []
        case _:
            raise Refused(_ALLOWED)
    for child in inner:
        _check(child, depth - 1)


def evaluate(expression: str, shape: LayerShape) -> float:
    """Return the value of an expression in a layer.

    Raises `Refused` where the expression has other parts than those allowed, or its value is not a finite
    number above 0.
    """
    tree = _parsed(expression)
    evaluator = SimpleEval(
        operators=dict(_OPERATORS),
        functions=dict(FUNCTIONS),
        names={name: value(shape) for name, value in NAMES.items() if name in expression},
    )
    try:
        value = evaluator.eval(expression, previously_parsed=tree)
    except (InvalidExpression, ArithmeticError, ValueError, TypeError) as problem:
        raise Refused(f"an expression with a value in this layer, where this one has none ({problem})") from None
    if not isinstance(value, int | float) or not 0 < float(value) < 1e30:
        raise Refused("an expression whose value is a finite number above 0 and below 1e30 in each layer")
    return float(value)


@dataclass(frozen=True)
class _Distribution:
    """A distribution of one's own law, at a standard deviation that the expression gives."""

    words: str
    law: Callable[[float, float, float], Law]
    """(standard deviation, nu, share) -> law."""
    numpy: str
    """How NumPy draws it with standard deviation 1, where libraries cannot."""
    library: tuple[str, str, str] | None = None
    """How PyTorch, Keras and JAX draw it with standard deviation {sd}, where they can."""


_SIZE = "(fan_out, fan_in)"
_DISTRIBUTIONS: Mapping[str, _Distribution] = {
    "normal": _Distribution(
        "normal",
        lambda sd, nu, share: laws.Normal(0.0, sd),
        "",
        (
            "std = {sd}  # {expression}\ntorch.nn.init.normal_(layer.weight, std=std)",
            "keras.initializers.RandomNormal(stddev={sd})",
            "jax.nn.initializers.normal({sd})",
        ),
    ),
    "truncated_normal": _Distribution(
        "normal cut at 2 standard deviations",
        lambda sd, nu, share: laws.TruncatedNormal.corrected(sd),
        "",
        (
            "std = {sd}  # {expression}\n" + torch_cut("std"),
            f"keras.initializers.TruncatedNormal(stddev={{sd}} / {laws.TRUNCATED_STDDEV!r})",
            f"jax.nn.initializers.truncated_normal({{sd}} / {laws.TRUNCATED_STDDEV!r})",
        ),
    ),
    "uniform": _Distribution(
        "uniform between -/+ sqrt(3) standard deviations",
        lambda sd, nu, share: laws.Uniform(-math.sqrt(3) * sd, math.sqrt(3) * sd),
        "",
        (
            "std = {sd}  # {expression}\nbound = 3**0.5 * std\ntorch.nn.init.uniform_(layer.weight, -bound, bound)",
            "keras.initializers.RandomUniform(-{bound}, {bound})",
            jax_uniform("-{bound}", "{bound}"),
        ),
    ),
    "rademacher": _Distribution(
        "one standard deviation, either sign",
        lambda sd, nu, share: laws.Rademacher(sd),
        f"rng.choice([-1.0, 1.0], {_SIZE})",
    ),
    "laplace": _Distribution(
        "Laplace",
        lambda sd, nu, share: laws.Laplace(sd),
        f"rng.laplace(0.0, 0.5**0.5, {_SIZE})",
    ),
    "student_t": _Distribution(
        "Student t with nu degrees of freedom",
        lambda sd, nu, share: laws.StudentT(sd, nu),
        f"(({{nu}} - 2) / {{nu}}) ** 0.5 * rng.standard_t({{nu}}, {_SIZE})",
    ),
    "two_point": _Distribution(
        "0 but for a share of the weights, which have one size and either sign",
        lambda sd, nu, share: laws.TwoPointSparse(sd, share),
        f"rng.choice([-1.0, 0.0, 1.0], {_SIZE}, p=[{{half}}, {{rest}}, {{half}}]) / {{share}}**0.5",
    ),
}


def _custom(distribution: str, standard_deviation: str, nu: float, share: float) -> Rule:
    chosen = _DISTRIBUTIONS[distribution]
    chosen.law(1.0, nu, share)  # refuses what does not fit together

    def law(s: LayerShape) -> Law:
        return chosen.law(evaluate(standard_deviation, s), nu, share)

    def formula(s: LayerShape) -> Formula:
        value = evaluate(standard_deviation, s)
        typed = standard_deviation.replace("_", r"\_")
        return Formula(
            f"{chosen.words}, mean 0, standard deviation {standard_deviation} = {value:.5g}, variance {value**2:.5g}",
            rf"\text{{{chosen.words}}}, \qquad \sigma = \texttt{{{typed}}} = {tex(value)}, "
            rf" \sigma^2 = {tex(value**2)}",
        )

    return Rule(law, formula)


def _code(shape: LayerShape, distribution: str, standard_deviation: str, nu: float, share: float) -> dict[str, str]:
    chosen = _DISTRIBUTIONS[distribution]
    value = evaluate(standard_deviation, shape)
    numbers = {"nu": nu, "share": share, "half": share / 2, "rest": 1 - share, "sd": value, "bound": 3**0.5 * value}
    texts = {name: number_text(plain_number(number)) for name, number in numbers.items()}
    texts |= {"fan_in": str(shape.fan_in), "fan_out": str(shape.fan_out), "part": ""}
    texts["expression"] = ast.unparse(_parsed(standard_deviation))  # in one line, without comments
    torch_text, keras_text, jax_text = (text.format(**texts) for text in chosen.library or function("custom"))
    drawn = "def custom(fan_in, fan_out):\n    std = {sd}  # {expression}\n    return std * " + chosen.numpy + "\n"
    written = "" if chosen.library else drawn.format(**texts)
    return {"torch": torch_text, "keras": keras_text, "jax": jax_text, "function": written}


RECORD = Initializer(
    "custom",
    "own",
    _custom,
    "A law of your own: any scale as a formula of the layer; nobody vouches for it but the measurement.",
    "the expression that you type, evaluated for each layer",
    Code("{torch}", "{keras}", "{jax}", function="{function}"),
    (
        choice("distribution", "normal", tuple(_DISTRIBUTIONS), "The shape of the law."),
        Field(
            "standard_deviation",
            "gain*sqrt(1/fan_in)",
            Text(_ALLOWED, _parsed),
            "standard_deviation",
            f"In {', '.join(NAMES)}: numbers, + - * / ** and {', '.join(FUNCTIONS)}. gain keeps the forward variance.",
        ),
        number("nu", 5.0, 2.0, 1e6, "Degrees of freedom of student_t, above 2.", exclusive=True),
        number("share", 0.1, 1e-6, 1.0, "Share of weights that are not 0, of two_point."),
    ),
    derived=_code,
)
