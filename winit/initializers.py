"""The initializers: one record each, with its law, formula, source and how the libraries write it.

A record is a scheme with parameters; `bind` turns a text form such as `random_normal(stddev=0.01)`
into a `Scheme`, which draws the weights and biases of a layer. The named scalings all follow from
`variance_scaling`, as in `jax.nn.initializers`. Adding an initializer is adding one record.

>>> round(scheme("he_normal").law(LayerShape(fan_in=64, fan_out=64)).variance, 12)
0.03125
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch

from winit import laws, textform
from winit.fields import BadInput, Choice, Field, Form, Real, Refused, nearest, number_text
from winit.laws import Law

FAMILIES = ("glorot", "he", "lecun", "orthogonal", "plain", "library", "constant", "data", "own")
"""Families of initializers, in the order of the palette's hues."""

FRAMEWORKS = ("keras", "torch", "jax")


@dataclass(frozen=True)
class LayerShape:
    """A layer: weights (fan_out, fan_in), and its place, 1 to depth for hidden layers, depth + 1 for the output."""

    fan_in: int
    fan_out: int
    layer: int = 1
    depth: int = 1


@dataclass(frozen=True)
class Formula:
    """What a scheme asks for in a given layer: in plain text, and in LaTeX with the numbers put in."""

    text: str
    latex: str


def _digits(value: float) -> str:
    """Return a number with five significant digits as LaTeX."""
    text = f"{value:.5g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}"


def _fraction(value: float) -> tuple[float, int]:
    """Return (1, k) for a value of 1/k with k from 2 to 12, and (value, 1) for all others."""
    inverse = round(1 / value) if value > 0.05 else 1
    return (1.0, inverse) if 2 <= inverse <= 12 and abs(value * inverse - 1) < 1e-12 else (value, 1)


def _grouped(latex: str, factor: int) -> str:
    """Return a sum in parentheses where a factor stands before it."""
    return f"({latex})" if factor > 1 and "+" in latex else latex


@dataclass(frozen=True)
class Rule:
    """How a scheme with its parameters set answers for a layer."""

    law: Callable[[LayerShape], Law]
    formula: Callable[[LayerShape], Formula]
    bias: Callable[[LayerShape], Law] | None = None
    """Law of the biases; None where the source says nothing, which means zeros."""


@dataclass(frozen=True)
class _Fan:
    """How a mode counts: Var(w) = factor * scale / count."""

    factor: int
    text: str
    latex: str
    code: str

    def count(self, shape: LayerShape) -> int:
        return sum(getattr(shape, name) for name in re.findall(r"fan_\w+", self.text))

    def numbers(self, shape: LayerShape) -> str:
        """Return the fan with the layer's numbers put in."""
        return self.text.replace("fan_in", str(shape.fan_in)).replace("fan_out", str(shape.fan_out))


_FANS: Mapping[str, _Fan] = {
    "fan_in": _Fan(1, "fan_in", r"n_\text{in}", "fan_in"),
    "fan_out": _Fan(1, "fan_out", r"n_\text{out}", "fan_out"),
    "fan_avg": _Fan(2, "(fan_in + fan_out)", r"n_\text{in} + n_\text{out}", "((fan_in + fan_out) / 2)"),
}
_SHAPES: Mapping[str, tuple[Callable[[float], Law], str, str]] = {
    "truncated_normal": (
        laws.TruncatedNormal,
        "normal cut at 2 standard deviations",
        r"w \sim \mathcal{N}(0, \sigma^2 / 0.8796^2)\ \text{cut at two standard deviations}",
    ),
    "untruncated_normal": (
        lambda sigma: laws.Normal(0.0, sigma),
        "normal",
        r"w \sim \mathcal{N}(0, \sigma^2)",
    ),
    "uniform": (
        lambda sigma: laws.Uniform(-math.sqrt(3) * sigma, math.sqrt(3) * sigma),
        "uniform between -/+ sqrt(3) standard deviations",
        r"w \sim U\!\left(-\sqrt3\,\sigma,\ \sqrt3\,\sigma\right)",
    ),
}


def variance_scaling(
    scale: float, mode: str, distribution: str, *, bias: Callable[[LayerShape], Law] | None = None
) -> Rule:
    """Return the rule Var(w) = scale / n, with n = fan_in, fan_out or their mean.

    `scale` > 0; `mode` is fan_in, fan_out or fan_avg; `distribution` is truncated_normal,
    untruncated_normal or uniform. The standard deviation asked for is the real one, truncated or
    not, as in `keras.initializers.VarianceScaling` and `jax.nn.initializers.variance_scaling`.
    """
    fan = _FANS[mode]
    top = fan.factor * scale
    make, shape_text, shape_latex = _SHAPES[distribution]

    def law(shape: LayerShape) -> Law:
        return make(math.sqrt(top / fan.count(shape)))

    def formula(shape: LayerShape) -> Formula:
        numbers, value = fan.numbers(shape), top / fan.count(shape)
        over, under = _fraction(top)
        symbols, filled = (f"({under} * {fan.text})", f"({under} * {numbers})") if under > 1 else (fan.text, numbers)
        factor, times = (f"{under}\\,", rf"{under} \times ") if under > 1 else ("", "")
        inner = numbers if under > 1 else numbers.strip("()")
        return Formula(
            f"{shape_text}, mean 0, variance {over:.5g} / {symbols} = {over:.5g} / {filled} = {value:.5g}",
            rf"{shape_latex}, \qquad \sigma^2 = \frac{{{_digits(over)}}}{{{factor}{_grouped(fan.latex, under)}}}"
            rf" = \frac{{{_digits(over)}}}{{{times}{inner}}} = {_digits(value)}",
        )

    return Rule(law, formula, bias)


def _fixed(law: Law, text: str, latex: str) -> Rule:
    """Return a rule whose law does not depend on the layer."""
    return Rule(lambda shape: law, lambda shape: Formula(text, latex))


@dataclass(frozen=True)
class Initializer:
    """A named scheme of the catalogue."""

    name: str
    family: str
    rule: Callable[..., Rule]
    """Parameters by name -> rule; raises `Refused` where they do not fit together."""
    purpose: str
    source: str
    code: Mapping[str, str]
    """How each framework writes it, with {parameters}, {fan_in} and {fan_out} to be put in."""
    parameters: tuple[Field, ...] = ()
    aliases: tuple[str, ...] = ()
    derived: Callable[..., dict[str, str]] = field(default=lambda **values: {})
    """Further texts for `code` that follow from the parameters."""


def _parameter(name: str, default: float, low: float, high: float, help: str, *, exclusive: bool = False) -> Field:
    return Field(name, default, Real(low, high, exclusive), name, help)


def _choice(name: str, default: str, options: tuple[str, ...], help: str) -> Field:
    return Field(name, default, Choice(options), name, help)


# Keras and JAX name the same scalings; these lines differ in the class or function name only.
def _keras(call: str) -> str:
    return f"keras.layers.Dense({{fan_out}}, kernel_initializer=keras.initializers.{call})"


def _jax(call: str) -> str:
    return f"jax.nn.initializers.{call}(key, ({{fan_in}}, {{fan_out}}))"


def _torch(call: str) -> str:
    return f"torch.nn.init.{call}"


def _torch_truncated(variance: str) -> str:
    # trunc_normal_ takes absolute bounds and does not correct the standard deviation.
    return (
        f"std = ({variance}) ** 0.5 / {laws.TRUNCATED_STDDEV!r}\n"
        "torch.nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)"
    )


_GAINS: Mapping[str, Callable[[float], float]] = {
    "linear": lambda a: 1.0,
    "sigmoid": lambda a: 1.0,
    "tanh": lambda a: 5 / 3,
    "relu": lambda a: math.sqrt(2),
    "leaky_relu": lambda a: math.sqrt(2 / (1 + a**2)),
    "selu": lambda a: 0.75,
}
"""`torch.nn.init.calculate_gain`, as it is: the factors 5/3 and 3/4 are PyTorch's, not theory's."""


def _kaiming_scale(a: float, nonlinearity: str) -> float:
    return _GAINS[nonlinearity](a) ** 2


_GLOROT = "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, eq. 12, 16"
_HE = "He et al. 2015, Delving Deep into Rectifiers, eq. 10 (arXiv:1502.01852)"
_LECUN = "LeCun et al. 1998, Efficient BackProp, section 4.6; Klambauer et al. 2017 (arXiv:1706.02515)"
_TORCH_BIAS: Callable[[LayerShape], Law] = lambda s: laws.Uniform(-(s.fan_in**-0.5), s.fan_in**-0.5)  # noqa: E731

_RECORDS = (
    Initializer(
        "zeros",
        "constant",
        lambda: _fixed(laws.Constant(0.0), "every weight is 0", "w = 0"),
        "Every neuron of a layer stays equal to its neighbours and the signal is cut: nothing is learned.",
        "keras.initializers.Zeros",
        {
            "keras": _keras("Zeros()"),
            "torch": _torch("zeros_(layer.weight)"),
            "jax": "jnp.zeros(({fan_in}, {fan_out}))",
        },
    ),
    Initializer(
        "constant",
        "constant",
        lambda value: _fixed(laws.Constant(value), f"every weight is {number_text(value)}", f"w = {_digits(value)}"),
        "All neurons of a layer compute the same thing and receive the same gradient: one neuron per layer in effect.",
        "keras.initializers.Constant",
        {
            "keras": _keras("Constant(value={value})"),
            "torch": _torch("constant_(layer.weight, {value})"),
            "jax": "jnp.full(({fan_in}, {fan_out}), {value}, dtype=float)",
        },
        (_parameter("value", 0.0, -1e30, 1e30, "The value of every weight."),),
    ),
    Initializer(
        "random_normal",
        "plain",
        lambda mean, stddev: _fixed(
            laws.Normal(mean, stddev),
            f"normal, mean {number_text(mean)}, variance {number_text(stddev)}^2 = {stddev**2:.5g}",
            rf"w \sim \mathcal{{N}}(\mu, \sigma^2), \qquad \mu = {_digits(mean)},"
            rf"\ \sigma^2 = {_digits(stddev)}^2 = {_digits(stddev**2)}",
        ),
        "One standard deviation for every layer, whatever its size: right for one width, wrong for all others.",
        "keras.initializers.RandomNormal; torch.nn.init.normal_",
        {
            "keras": _keras("RandomNormal(mean={mean}, stddev={stddev})"),
            "torch": _torch("normal_(layer.weight, mean={mean}, std={stddev})"),
            "jax": "{mean} + {stddev} * jax.random.normal(key, ({fan_in}, {fan_out}))",
        },
        (
            _parameter("mean", 0.0, -1e30, 1e30, "Mean of every weight."),
            _parameter("stddev", 0.05, 0.0, 1e30, "Standard deviation of every weight."),
        ),
    ),
    Initializer(
        "random_uniform",
        "plain",
        lambda minval, maxval: _fixed(
            laws.Uniform(minval, maxval),
            f"uniform between {number_text(minval)} and {number_text(maxval)}",
            rf"w \sim U({_digits(minval)},\ {_digits(maxval)}), \qquad"
            rf"\sigma^2 = \frac{{({_digits(maxval)} - ({_digits(minval)}))^2}}{{12}}"
            rf" = {_digits((maxval - minval) ** 2 / 12)}",
        ),
        "One interval for every layer, whatever its size; its mean need not be zero.",
        "keras.initializers.RandomUniform; torch.nn.init.uniform_",
        {
            "keras": _keras("RandomUniform(minval={minval}, maxval={maxval})"),
            "torch": _torch("uniform_(layer.weight, {minval}, {maxval})"),
            "jax": "jax.random.uniform(key, ({fan_in}, {fan_out}), minval={minval}, maxval={maxval})",
        },
        (
            _parameter("minval", -0.05, -1e30, 1e30, "Lower end."),
            _parameter("maxval", 0.05, -1e30, 1e30, "Upper end, above the lower one."),
        ),
    ),
    Initializer(
        "glorot_normal",
        "glorot",
        lambda: variance_scaling(1.0, "fan_avg", "truncated_normal"),
        "Balances the variance forward and backward where the activation is close to linear; halves it in a ReLU.",
        _GLOROT,
        {
            "keras": _keras("GlorotNormal()"),
            "torch": _torch_truncated("2 / ({fan_in} + {fan_out})"),
            "jax": _jax("glorot_normal()"),
        },
    ),
    Initializer(
        "glorot_uniform",
        "glorot",
        lambda: variance_scaling(1.0, "fan_avg", "uniform"),
        "Keras's default for Dense: Glorot's variance drawn uniformly.",
        _GLOROT,
        {
            "keras": _keras("GlorotUniform()"),
            "torch": _torch("xavier_uniform_(layer.weight)"),
            "jax": _jax("glorot_uniform()"),
        },
        aliases=("xavier_uniform",),
    ),
    Initializer(
        "xavier_normal",
        "glorot",
        lambda gain: variance_scaling(gain**2, "fan_avg", "untruncated_normal"),
        "PyTorch's Glorot: a plain normal, not cut, times a gain for the activation.",
        f"torch.nn.init.xavier_normal_; {_GLOROT}",
        {
            "keras": _keras('VarianceScaling(scale={gain} ** 2, mode="fan_avg", distribution="untruncated_normal")'),
            "torch": _torch("xavier_normal_(layer.weight, gain={gain})"),
            "jax": _jax('variance_scaling({gain} ** 2, "fan_avg", "normal")'),
        },
        (_parameter("gain", 1.0, 0.0, 1e15, "Factor on the standard deviation, above 0.", exclusive=True),),
    ),
    Initializer(
        "he_normal",
        "he",
        lambda: variance_scaling(2.0, "fan_in", "truncated_normal"),
        "Keeps the second moment of a ReLU network from layer to layer; too wide for activations that do not halve it.",
        _HE,
        {
            "keras": _keras("HeNormal()"),
            "torch": _torch_truncated("2 / {fan_in}"),
            "jax": _jax("he_normal()"),
        },
    ),
    Initializer(
        "he_uniform",
        "he",
        lambda: variance_scaling(2.0, "fan_in", "uniform"),
        "He's variance drawn uniformly: same second moment, lighter tails.",
        _HE,
        {
            "keras": _keras("HeUniform()"),
            "torch": _torch('kaiming_uniform_(layer.weight, nonlinearity="relu")'),
            "jax": _jax("he_uniform()"),
        },
        aliases=("kaiming_uniform",),
    ),
    Initializer(
        "kaiming_normal",
        "he",
        lambda a, mode, nonlinearity: variance_scaling(_kaiming_scale(a, nonlinearity), mode, "untruncated_normal"),
        "PyTorch's He: a plain normal, not cut, with PyTorch's own gain for the activation.",
        f"torch.nn.init.kaiming_normal_; {_HE}",
        {
            "keras": _keras('VarianceScaling(scale={scale}, mode="{mode}", distribution="untruncated_normal")'),
            "torch": _torch('kaiming_normal_(layer.weight, a={a}, mode="{mode}", nonlinearity="{nonlinearity}")'),
            "jax": _jax('variance_scaling({scale}, "{mode}", "normal")'),
        },
        (
            _parameter("a", 0.0, -1e6, 1e6, "Slope of leaky_relu below zero; 0 is ReLU."),
            _choice(
                "mode", "fan_in", ("fan_in", "fan_out"), "Keep the variance forward (fan_in) or backward (fan_out)."
            ),
            _choice("nonlinearity", "leaky_relu", tuple(_GAINS), "The activation whose gain PyTorch looks up."),
        ),
        derived=lambda a, nonlinearity, **_: {"scale": f"{_kaiming_scale(a, nonlinearity):.15g}"},
    ),
    Initializer(
        "lecun_normal",
        "lecun",
        lambda: variance_scaling(1.0, "fan_in", "truncated_normal"),
        "Keeps the second moment of a linear network, and of SELU, from layer to layer; halves it in a ReLU.",
        _LECUN,
        {
            "keras": _keras("LecunNormal()"),
            "torch": _torch_truncated("1 / {fan_in}"),
            "jax": _jax("lecun_normal()"),
        },
    ),
    Initializer(
        "lecun_uniform",
        "lecun",
        lambda: variance_scaling(1.0, "fan_in", "uniform"),
        "LeCun's variance drawn uniformly.",
        _LECUN,
        {
            "keras": _keras("LecunUniform()"),
            "torch": _torch('kaiming_uniform_(layer.weight, nonlinearity="linear")'),
            "jax": _jax("lecun_uniform()"),
        },
    ),
    Initializer(
        "variance_scaling",
        "own",
        lambda scale, mode, distribution: variance_scaling(scale, mode, distribution),
        "The general rule behind Glorot, He and LeCun: choose the scale, the fan and the distribution.",
        "keras.initializers.VarianceScaling",
        {
            "keras": _keras('VarianceScaling(scale={scale}, mode="{mode}", distribution="{distribution}")'),
            "torch": "fan_in, fan_out = {fan_in}, {fan_out}\nstd = ({scale} / {fan}) ** 0.5\n{draw}",
            "jax": _jax('variance_scaling({scale}, "{mode}", "{jax_distribution}")'),
        },
        (
            _parameter("scale", 1.0, 1e-30, 1e30, "Variance of a weight times the fan."),
            _choice("mode", "fan_in", tuple(_FANS), "Which number divides the scale."),
            _choice("distribution", "truncated_normal", tuple(_SHAPES), "The shape of the law."),
        ),
        derived=lambda mode, distribution, **_: {
            "fan": _FANS[mode].code,
            "jax_distribution": "normal" if distribution == "untruncated_normal" else distribution,
            "draw": {
                "truncated_normal": (
                    f"std = std / {laws.TRUNCATED_STDDEV!r}\n"
                    "torch.nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)"
                ),
                "untruncated_normal": "torch.nn.init.normal_(layer.weight, std=std)",
                "uniform": "torch.nn.init.uniform_(layer.weight, -(3**0.5) * std, 3**0.5 * std)",
            }[distribution],
        },
    ),
    Initializer(
        "orthogonal",
        "orthogonal",
        lambda gain: Rule(
            lambda s: laws.Orthogonal(gain, max(s.fan_in, s.fan_out)),
            lambda s: Formula(
                f"{number_text(gain)} times a Haar orthogonal matrix; an entry has variance "
                f"{number_text(gain)}^2 / max({s.fan_in}, {s.fan_out}) = {gain**2 / max(s.fan_in, s.fan_out):.5g}",
                rf"W = g\,Q,\ Q \text{{ Haar orthogonal}}, \qquad \sigma^2 = \frac{{g^2}}{{\max(n_\text{{in}},"
                rf" n_\text{{out}})}} = \frac{{{_digits(gain)}^2}}{{{max(s.fan_in, s.fan_out)}}}"
                rf" = {_digits(gain**2 / max(s.fan_in, s.fan_out))}",
            ),
        ),
        "Every singular value is the gain: no direction is stretched or lost, at the price of a QR decomposition.",
        "Saxe et al. 2014, Exact solutions to the nonlinear dynamics of learning (arXiv:1312.6120)",
        {
            "keras": _keras("Orthogonal(gain={gain})"),
            "torch": _torch("orthogonal_(layer.weight, gain={gain})"),
            "jax": _jax("orthogonal(scale={gain})"),
        },
        (_parameter("gain", 1.0, 0.0, 1e15, "Every singular value."),),
    ),
    Initializer(
        "torch_default",
        "library",
        lambda: variance_scaling(1 / 3, "fan_in", "uniform", bias=_TORCH_BIAS),
        "What torch.nn.Linear draws when nobody asks: a sixth of He's variance, and uniform biases.",
        "torch.nn.Linear.reset_parameters",
        {
            "keras": (
                'keras.layers.Dense({fan_out}, kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in",'
                ' "uniform"), bias_initializer=keras.initializers.RandomUniform(-({fan_in}**-0.5), {fan_in}**-0.5))'
            ),
            "torch": "layer.reset_parameters()",
            "jax": _jax('variance_scaling(1 / 3, "fan_in", "uniform")'),
        },
    ),
)


def _catalogue(records: tuple[Initializer, ...]) -> Mapping[str, Initializer]:
    """Return the records by name and alias, in order. Raises `ValueError` for a name used twice."""
    by_name: dict[str, Initializer] = {}
    for record in records:
        for name in (record.name, *record.aliases):
            if name in by_name:
                raise ValueError(f"initializer name {name} is used twice")
            by_name[name] = record
    return MappingProxyType(by_name)


INITIALIZERS: Mapping[str, Initializer] = MappingProxyType({record.name: record for record in _RECORDS})
"""The catalogue, by name, in the order in which it is shown."""

_BY_ANY_NAME = _catalogue(_RECORDS)


@dataclass(frozen=True)
class Scheme:
    """An initializer with its parameters set."""

    record: Initializer
    values: Mapping[str, Any]
    rule: Rule

    @property
    def text(self) -> str:
        """The canonical text form."""
        return textform.write(self.record.name, self.values, self.record.parameters)

    def law(self, shape: LayerShape) -> Law:
        """Return the law of one weight of a layer."""
        return self.rule.law(shape)

    def formula(self, shape: LayerShape) -> Formula:
        """Return the formula with the layer's numbers put in."""
        return self.rule.formula(shape)

    def draw(self, shape: LayerShape, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the weights (fan_out, fan_in) and the biases (fan_out,) of a layer, float32."""
        weight = self.law(shape).sample((shape.fan_out, shape.fan_in), generator)
        if self.rule.bias is None:
            return weight, torch.zeros(shape.fan_out)
        return weight, self.rule.bias(shape).sample((shape.fan_out,), generator)

    def code(self, framework: str, fan_in: int | str, fan_out: int | str) -> str:
        """Return the line or lines with which a framework draws this law.

        `framework` is keras, torch or jax; fans may be numbers or the names of variables.
        """
        texts = {p.name: p.write(self.values[p.name]) for p in self.record.parameters}
        texts |= self.record.derived(**self.values)
        return self.record.code[framework].format(**texts, fan_in=fan_in, fan_out=fan_out)


@lru_cache(maxsize=512)
def scheme(text: str) -> Scheme:
    """Return the initializer that a text form names.

    Raises `Refused` for text of another shape, unknown names and parameters, and values out of range.
    """
    name, arguments = textform.parse(text)
    if name not in _BY_ANY_NAME:
        raise Refused("one of " + ", ".join(INITIALIZERS) + nearest(name, tuple(_BY_ANY_NAME)))
    record = _BY_ANY_NAME[name]
    values = textform.bind(name, arguments, record.parameters)
    rule = record.rule(**values)
    rule.law(LayerShape(1, 1))  # refuses parameters that do not fit together
    return Scheme(record, MappingProxyType(values), rule)


def canonical(text: str) -> str:
    """Return the canonical spelling of a text form. Raises `Refused` as `scheme` does."""
    return scheme(text).text


FORM = Form(tuple(INITIALIZERS), canonical)
"""The kind of a field that holds an initializer."""

__all__ = ["FAMILIES", "FORM", "FRAMEWORKS", "INITIALIZERS", "BadInput", "Formula", "Initializer", "LayerShape"]
__all__ += ["Scheme", "canonical", "scheme", "variance_scaling"]
