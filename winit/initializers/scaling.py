"""The variance scalings: one rule, Var(w) = scale / n, from which Glorot's, He's and LeCun's follow."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from winit import laws
from winit.fields import tex
from winit.initializers.formula import Formula, fraction, grouped
from winit.initializers.layer import LayerShape
from winit.initializers.record import Code, Initializer, Rule, choice, number
from winit.initializers.writing import options, scale_text, torch_scaled, torch_truncated
from winit.laws import Law
from winit.textform import Alias
from winit.theory import TORCH_GAINS


@dataclass(frozen=True)
class _Fan:
    """How a mode counts: Var(w) = factor * scale / count."""

    factor: int
    text: str
    latex: str
    count: Callable[[LayerShape], float]

    def numbers(self, shape: LayerShape) -> str:
        """Return the fan with the layer's numbers put in."""
        return self.text.replace("fan_in", str(shape.fan_in)).replace("fan_out", str(shape.fan_out))


_FANS: Mapping[str, _Fan] = {
    "fan_in": _Fan(1, "fan_in", r"n_\text{in}", lambda s: s.fan_in),
    "fan_out": _Fan(1, "fan_out", r"n_\text{out}", lambda s: s.fan_out),
    "fan_avg": _Fan(2, "(fan_in + fan_out)", r"n_\text{in} + n_\text{out}", lambda s: s.fan_in + s.fan_out),
    "fan_geo_avg": _Fan(
        1, "sqrt(fan_in * fan_out)", r"\sqrt{n_\text{in}\,n_\text{out}}", lambda s: math.sqrt(s.fan_in * s.fan_out)
    ),
}
_DISTRIBUTIONS: Mapping[str, tuple[Callable[[float], Law], str, str]] = {
    "truncated_normal": (
        laws.TruncatedNormal.corrected,
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
    """Return the rule Var(w) = scale / n, with n = fan_in, fan_out, their mean or their geometric mean.

    `scale` > 0; `mode` is fan_in, fan_out, fan_avg or fan_geo_avg; `distribution` is truncated_normal,
    untruncated_normal or uniform. The standard deviation asked for is the real one, truncated or
    not, as in `keras.initializers.VarianceScaling` and `jax.nn.initializers.variance_scaling`.
    """
    fan = _FANS[mode]
    top = fan.factor * scale
    make, law_text, law_latex = _DISTRIBUTIONS[distribution]

    def law(shape: LayerShape) -> Law:
        return make(math.sqrt(top / fan.count(shape)))

    def formula(shape: LayerShape) -> Formula:
        numbers, value = fan.numbers(shape), top / fan.count(shape)
        over, under = fraction(top)
        symbols, filled = (f"({under} * {fan.text})", f"({under} * {numbers})") if under > 1 else (fan.text, numbers)
        factor, times = (f"{under}\\,", rf"{under} \times ") if under > 1 else ("", "")
        inner = re.sub(r"^\((.*)\)$", r"\1", numbers) if under == 1 else numbers
        inner = re.sub(r"sqrt\((\d+) \* (\d+)\)", r"\\sqrt{\1 \\times \2}", inner)
        return Formula(
            f"{law_text}, mean 0, variance {over:.5g} / {symbols} = {over:.5g} / {filled} = {value:.5g}",
            rf"{law_latex}, \qquad \sigma^2 = \frac{{{tex(over)}}}{{{factor}{grouped(fan.latex, under)}}}"
            rf" = \frac{{{tex(over)}}}{{{times}{inner}}} = {tex(value)}",
        )

    return Rule(law, formula, bias)


def kaiming_scale(a: float, nonlinearity: str) -> float:
    """Return the square of PyTorch's gain: the variance of a weight times the fan."""
    return TORCH_GAINS[nonlinearity](a) ** 2


_GLOROT = "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, eq. 12, 16"
_HE = "He et al. 2015, Delving Deep into Rectifiers, eq. 10 (arXiv:1502.01852)"
_LECUN = "LeCun et al. 1998, Efficient BackProp, section 4.6; Klambauer et al. 2017 (arXiv:1706.02515)"
_UNCUT = (
    "{} is a plain normal of the same variance: not cut, so a weight in twenty lies beyond two standard deviations."
)
_GAIN = number("gain", 1.0, 1e-15, 1e15, "Factor on the standard deviation.")
_KAIMING = (
    number("a", 0.0, -1e6, 1e6, "Slope of leaky_relu below zero; 0 is ReLU."),
    choice("mode", "fan_in", ("fan_in", "fan_out"), "Keep the variance forward (fan_in) or backward (fan_out)."),
    choice("nonlinearity", "leaky_relu", tuple(TORCH_GAINS), "The activation whose gain PyTorch looks up."),
)


def _scaling(scale: float, mode: str, distribution: str) -> str:
    return f"variance_scaling(scale={scale:.15g}, mode={mode}, distribution={distribution})"


def _xavier_uniform(gain: float) -> str:
    return "glorot_uniform" if gain == 1 else _scaling(gain**2, "fan_avg", "uniform")


def _kaiming_uniform(a: float, mode: str, nonlinearity: str) -> str:
    named = {"2": "he_uniform", "1": "lecun_uniform"} if mode == "fan_in" else {}
    scale = kaiming_scale(a, nonlinearity)
    return named.get(f"{scale:.15g}", _scaling(scale, mode, "uniform"))


def _kaiming_code(shape: LayerShape, a: float, mode: str, nonlinearity: str) -> dict[str, str]:
    # A leaky ReLU of slope 0 is a ReLU, and no other has a slope.
    named, slope = ("relu", 0.0) if a == 0 and nonlinearity == "leaky_relu" else (nonlinearity, a)
    return {
        "options": options(
            a=(slope if named == "leaky_relu" else 0.0, 0.0),
            mode=(mode, "fan_in"),
            nonlinearity=(named, "leaky_relu"),
        ),
        "scale": scale_text(kaiming_scale(a, nonlinearity)),
    }


def _variance_scaling_code(shape: LayerShape, scale: float, mode: str, distribution: str) -> dict[str, str]:
    text, keras_scale, keras_mode = scale_text(scale), scale_text(scale), mode
    variance = f"{scale_text(_FANS[mode].factor * scale)} / {_FANS[mode].numbers(shape)}"
    if mode == "fan_geo_avg":
        variance = f"{text} / ({shape.fan_in} * {shape.fan_out}) ** 0.5"
        # Keras has no geometric mean of the fans: the scale makes up for it in this layer.
        ratio, keras_mode = f"({shape.fan_in} / {shape.fan_out}) ** 0.5", "fan_in"
        keras_scale = ratio if scale == 1 else f"{text} * {ratio}"
    return {
        "scale": text,
        "torch": torch_scaled(variance, distribution),
        "keras": f'keras.initializers.VarianceScaling({keras_scale}, "{keras_mode}", "{distribution}")',
        "jax_distribution": "normal" if distribution == "untruncated_normal" else distribution,
    }


RECORDS = (
    Initializer(
        "glorot_normal",
        "glorot",
        lambda: variance_scaling(1.0, "fan_avg", "truncated_normal"),
        "Balances the variance forward and backward where the activation is close to linear; halves it in a ReLU.",
        _GLOROT,
        Code(
            torch_truncated("2 / ({fan_in} + {fan_out})"),
            "keras.initializers.GlorotNormal()",
            "jax.nn.initializers.glorot_normal()",
            notes={"torch": _UNCUT.format("xavier_normal_")},
        ),
    ),
    Initializer(
        "glorot_uniform",
        "glorot",
        lambda: variance_scaling(1.0, "fan_avg", "uniform"),
        "Keras's default for Dense: Glorot's variance drawn uniformly; in a ReLU it is half of what is needed.",
        _GLOROT,
        Code(
            "torch.nn.init.xavier_uniform_(layer.weight)",
            "keras.initializers.GlorotUniform()",
            "jax.nn.initializers.glorot_uniform()",
        ),
    ),
    Initializer(
        "xavier_normal",
        "glorot",
        lambda gain: variance_scaling(gain**2, "fan_avg", "untruncated_normal"),
        "PyTorch's Glorot: a plain normal, not cut, times a gain for the activation; without the right gain it fades.",
        f"torch.nn.init.xavier_normal_; {_GLOROT}",
        Code(
            "torch.nn.init.xavier_normal_(layer.weight{options})",
            'keras.initializers.VarianceScaling({scale}, "fan_avg", "untruncated_normal")',
            'jax.nn.initializers.variance_scaling({scale}, "fan_avg", "normal")',
            notes={
                "keras": "GlorotNormal is cut at two standard deviations: same variance, lighter tails.",
                "jax": "glorot_normal is cut at two standard deviations: same variance, lighter tails.",
            },
        ),
        (_GAIN,),
        derived=lambda shape, gain: {"options": options(gain=(gain, 1.0)), "scale": scale_text(gain**2)},
    ),
    Initializer(
        "he_normal",
        "he",
        lambda: variance_scaling(2.0, "fan_in", "truncated_normal"),
        "Keeps the second moment of a ReLU network from layer to layer; too wide for activations that do not halve it.",
        _HE,
        Code(
            torch_truncated("2 / {fan_in}"),
            "keras.initializers.HeNormal()",
            "jax.nn.initializers.he_normal()",
            notes={"torch": _UNCUT.format("kaiming_normal_")},
        ),
    ),
    Initializer(
        "he_uniform",
        "he",
        lambda: variance_scaling(2.0, "fan_in", "uniform"),
        "He's variance drawn uniformly: same second moment, lighter tails; too wide where nothing is halved.",
        _HE,
        Code(
            'torch.nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")',
            "keras.initializers.HeUniform()",
            "jax.nn.initializers.he_uniform()",
        ),
    ),
    Initializer(
        "kaiming_normal",
        "he",
        lambda a, mode, nonlinearity: variance_scaling(kaiming_scale(a, nonlinearity), mode, "untruncated_normal"),
        "PyTorch's He: a plain normal, not cut, with PyTorch's own gain for the activation, of which it knows six.",
        f"torch.nn.init.kaiming_normal_; {_HE}",
        Code(
            "torch.nn.init.kaiming_normal_(layer.weight{options})",
            'keras.initializers.VarianceScaling({scale}, "{mode}", "untruncated_normal")',
            'jax.nn.initializers.variance_scaling({scale}, "{mode}", "normal")',
            notes={
                "keras": "HeNormal is cut at two standard deviations: same variance at ReLU's gain, lighter tails.",
                "jax": "he_normal is cut at two standard deviations: same variance at ReLU's gain, lighter tails.",
            },
        ),
        _KAIMING,
        derived=_kaiming_code,
    ),
    Initializer(
        "lecun_normal",
        "lecun",
        lambda: variance_scaling(1.0, "fan_in", "truncated_normal"),
        "Keeps the second moment of a linear network, and of SELU, from layer to layer; halves it in a ReLU.",
        _LECUN,
        Code(
            torch_truncated("1 / {fan_in}"),
            "keras.initializers.LecunNormal()",
            "jax.nn.initializers.lecun_normal()",
            notes={"torch": _UNCUT.format('kaiming_normal_(nonlinearity="linear")')},
        ),
    ),
    Initializer(
        "lecun_uniform",
        "lecun",
        lambda: variance_scaling(1.0, "fan_in", "uniform"),
        "LeCun's variance drawn uniformly: right for linear networks and SELU, half of what a ReLU needs.",
        _LECUN,
        Code(
            'torch.nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")',
            "keras.initializers.LecunUniform()",
            "jax.nn.initializers.lecun_uniform()",
        ),
    ),
    Initializer(
        "variance_scaling",
        "own",
        lambda scale, mode, distribution: variance_scaling(scale, mode, distribution),
        "The general rule behind Glorot, He and LeCun: choose scale, fan and distribution; it knows no activation.",
        "keras.initializers.VarianceScaling; jax.nn.initializers.variance_scaling",
        Code(
            "{torch}",
            "{keras}",
            'jax.nn.initializers.variance_scaling({scale}, "{mode}", "{jax_distribution}")',
            notes={"torch": "kaiming_* and xavier_* cover the modes fan_in, fan_out and fan_avg, and are never cut."},
        ),
        (
            number("scale", 1.0, 1e-30, 1e30, "Variance of a weight times the fan."),
            choice("mode", "fan_in", tuple(_FANS), "Which number divides the scale."),
            choice("distribution", "truncated_normal", tuple(_DISTRIBUTIONS), "The shape of the law."),
        ),
        derived=_variance_scaling_code,
    ),
)

ALIASES = (
    Alias("xavier_uniform", _xavier_uniform, (_GAIN,)),
    Alias("kaiming_uniform", _kaiming_uniform, _KAIMING),
)
