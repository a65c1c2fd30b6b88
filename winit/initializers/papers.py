"""Schemes that papers and libraries give for a whole network: rules that know activation, place or data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Generator, Tensor

from winit import laws, theory
from winit.fields import Refused, number_text, tex
from winit.initializers.formula import Formula
from winit.initializers.layer import LayerShape
from winit.initializers.record import Code, Initializer, Rule, number, whole
from winit.initializers.scaling import variance_scaling
from winit.initializers.writing import ORTHOGONAL, function, jax_uniform, plain_number, torch_scaled
from winit.laws import Law

_SCALED = Code(
    torch_scaled("{scale} / {fan_in}", "untruncated_normal"),
    'keras.initializers.VarianceScaling({scale}, "fan_in", "untruncated_normal")',
    'jax.nn.initializers.variance_scaling({scale}, "fan_in", "normal")',
)
"""A normal of variance scale / fan_in, where `derived` gives the scale."""


def _scale(value: float) -> str:
    return number_text(plain_number(value))


def _kumar_scale(s: LayerShape) -> float:
    phi = s.phi
    slope, value = float(phi.slopes(np.zeros(1))[0]), float(phi.values(np.zeros(1))[0])
    if 0.0 in phi.kinks or slope == 0:
        raise Refused(f"it an activation with a slope at 0, where {phi.label} has none")
    return 1 / (slope**2 * (1 + value**2))


def _kumar() -> Rule:
    def formula(s: LayerShape) -> Formula:
        scale = _kumar_scale(s)
        return Formula(
            f"normal, mean 0, variance 1 / (fan_in phi'(0)^2 (1 + phi(0)^2)) = {scale:.5g} / {s.fan_in}"
            f" = {scale / s.fan_in:.5g}",
            r"w \sim \mathcal{N}(0, \sigma^2), \qquad \sigma^2 = \frac{1}{n_\text{in}\,\varphi'(0)^2"
            rf" (1 + \varphi(0)^2)}} = \frac{{{tex(scale)}}}{{{s.fan_in}}} = {tex(scale / s.fan_in)}",
        )

    return Rule(lambda s: laws.Normal(0.0, math.sqrt(_kumar_scale(s) / s.fan_in)), formula)


def _edge_of_chaos(sigma_b: float) -> Rule:
    def scale(s: LayerShape) -> float:
        return theory.edge_of_chaos(s.phi, sigma_b) ** 2

    def formula(s: LayerShape) -> Formula:
        edge = scale(s)
        return Formula(
            f"normal, mean 0, variance sigma_w^2 / fan_in = {edge:.5g} / {s.fan_in} = {edge / s.fan_in:.5g}, where"
            f" chi_1 = 1 for {s.phi.label} with biases of standard deviation {number_text(sigma_b)}",
            r"w \sim \mathcal{N}\!\left(0, \frac{\sigma_w^2}{n_\text{in}}\right),\ b \sim \mathcal{N}(0, \sigma_b^2),"
            r"\ \chi_1 = \sigma_w^2\, E\,\varphi'(\sqrt{q^*} z)^2 = 1, \qquad \sigma^2 = "
            rf"\frac{{{tex(edge)}}}{{{s.fan_in}}} = {tex(edge / s.fan_in)},\ \sigma_b = {tex(sigma_b)}",
        )

    return Rule(
        lambda s: laws.Normal(0.0, math.sqrt(scale(s) / s.fan_in)),
        formula,
        bias=lambda s: laws.Normal(0.0, sigma_b),
    )


def _walk_gain(s: LayerShape) -> float:
    if s.phi.text == "relu":
        return math.sqrt(2) * math.exp(1.2 / (max(s.fan_in, 6) - 2.4))
    return math.exp(1 / (2 * s.fan_in))


def _random_walk() -> Rule:
    def formula(s: LayerShape) -> Formula:
        gain = _walk_gain(s)
        is_relu = s.phi.text == "relu"
        text = "sqrt(2) exp(1.2 / (max(fan_in, 6) - 2.4))" if is_relu else "exp(1 / (2 fan_in))"
        latex = r"\sqrt2\,e^{1.2 / (\max(n_\text{in}, 6) - 2.4)}" if is_relu else r"e^{1 / (2 n_\text{in})}"
        return Formula(
            f"normal, mean 0, variance g^2 / fan_in with g = {text} = {gain:.5g}: {gain:.5g}^2 / {s.fan_in}"
            f" = {gain**2 / s.fan_in:.5g}",
            rf"w \sim \mathcal{{N}}(0, g^2 / n_\text{{in}}),\ g = {latex} = {tex(gain)}, \qquad \sigma^2 ="
            rf" \frac{{{tex(gain)}^2}}{{{s.fan_in}}} = {tex(gain**2 / s.fan_in)}",
        )

    return Rule(lambda s: laws.Normal(0.0, _walk_gain(s) / math.sqrt(s.fan_in)), formula)


def _siren(omega: float) -> Rule:
    def bound(s: LayerShape) -> float:
        return 1 / s.fan_in if s.is_first else math.sqrt(6 / s.fan_in) / omega

    def formula(s: LayerShape) -> Formula:
        text = (
            f"1 / fan_in = 1 / {s.fan_in}"
            if s.is_first
            else f"sqrt(6 / fan_in) / omega = sqrt(6 / {s.fan_in}) / {number_text(omega)}"
        )
        latex = (
            rf"\frac{{1}}{{n_\text{{in}}}} = \frac{{1}}{{{s.fan_in}}}"
            if s.is_first
            else rf"\frac{{\sqrt{{6 / n_\text{{in}}}}}}{{\omega}} ="
            rf" \frac{{\sqrt{{6 / {s.fan_in}}}}}{{{tex(omega)}}}"
        )
        return Formula(
            f"uniform between -/+ {text} = {bound(s):.5g}{', in the first layer' if s.is_first else ''}",
            rf"w \sim U(-c, c), \qquad c = {latex} = {tex(bound(s))}",
        )

    return Rule(lambda s: laws.Uniform(-bound(s), bound(s)), formula)


def _randomized_asymmetric() -> Rule:
    def law(s: LayerShape) -> Law:
        rest = laws.Normal(0.0, math.sqrt(0.36 / s.fan_in))
        return laws.Mixture(((rest, s.fan_in / (s.fan_in + 1)), (laws.Beta21(), 1 / (s.fan_in + 1))))

    def formula(s: LayerShape) -> Formula:
        return Formula(
            f"of the {s.fan_in} weights and the bias of a unit one is Beta(2, 1), the others normal with variance"
            f" 0.36 / fan_in = 0.36 / {s.fan_in} = {0.36 / s.fan_in:.5g}",
            r"(w_1, \dots, w_{n_\text{in}}, b):\ \text{one} \sim \mathrm{Beta}(2, 1),\ \text{the others} \sim"
            rf" \mathcal{{N}}\!\left(0, \frac{{0.36}}{{{s.fan_in}}}\right)",
        )

    def matrices(s: LayerShape, count: int, generator: Generator) -> Tensor:
        size = (count, s.fan_out, s.fan_in + 1)
        both = torch.empty(size).normal_(0.0, math.sqrt(0.36 / s.fan_in), generator=generator)
        chosen = torch.randint(s.fan_in + 1, (*size[:2], 1), generator=generator)
        return both.scatter_(2, chosen, laws.Beta21().sample((*size[:2], 1), generator))

    return Rule(law, formula, bias=law, matrices=matrices)


def _lecun_1998() -> Rule:
    return variance_scaling(1.0, "fan_in", "untruncated_normal")


def _nguyen_widrow() -> Rule:
    def length(s: LayerShape) -> float:
        return 0.7 * math.pow(s.fan_out, 1 / s.fan_in)

    def formula(s: LayerShape) -> Formula:
        return Formula(
            f"the weights of a unit are uniform, scaled to length 0.7 fan_out^(1/fan_in) = 0.7 * {s.fan_out}^(1/"
            f"{s.fan_in}) = {length(s):.5g}: variance {length(s) ** 2 / s.fan_in:.5g}; biases uniform between -/+ it",
            rf"w = \beta\,\frac{{u}}{{\|u\|}},\ u \sim U(-1, 1)^{{n_\text{{in}}}},\ b \sim U(-\beta, \beta), \qquad"
            rf" \beta = 0.7\,n_\text{{out}}^{{1/n_\text{{in}}}} = 0.7 \times {s.fan_out}^{{1/{s.fan_in}}}"
            rf" = {tex(length(s))}",
        )

    return Rule(
        lambda s: laws.CubeDirection(length(s), s.fan_in),
        formula,
        bias=lambda s: laws.Uniform(-length(s), length(s)),
    )


def _lsuv(tolerance: float, rounds: int) -> Rule:
    def law(s: LayerShape) -> Law:
        return laws.Unknown("it depends on the data that the layer sees")

    def formula(s: LayerShape) -> Formula:
        return Formula(
            "orthogonal, divided by the standard deviation of its pre-activations on a batch until that is within"
            f" {number_text(tolerance)} of 1, at most {rounds} times",
            rf"W \leftarrow \frac{{W}}{{\mathrm{{sd}}(W x)}}\ \text{{until}}\ |\mathrm{{Var}}(W x) - 1| <"
            rf" {tex(tolerance)},\ \text{{at most {rounds} times}}, \qquad W\ \text{{orthogonal}}",
        )

    def matrices(s: LayerShape, count: int, generator: Generator) -> Tensor:
        return laws.Orthogonal(1.0, max(s.fan_in, s.fan_out)).sample((count, s.fan_out, s.fan_in), generator)

    def fit(weights: Tensor, inputs: Tensor) -> Tensor:
        for _ in range(rounds):
            variance = (weights @ inputs).var(dim=(1, 2), correction=0)
            far = (variance - 1).abs() >= tolerance
            if not bool(far.any()):
                break
            # A layer that sees nothing (all inputs 0) has no scale to mend.
            weights = torch.where(
                (far & (variance > 0))[:, None, None], weights / variance.sqrt()[:, None, None], weights
            )
        return weights

    return Rule(law, formula, matrices=matrices, fit=fit)


def _sklearn_default() -> Rule:
    def factor(s: LayerShape) -> float:
        return 2.0 if s.phi.text == "sigmoid" else 6.0

    def bound(s: LayerShape) -> float:
        return math.sqrt(factor(s) / (s.fan_in + s.fan_out))

    def formula(s: LayerShape) -> Formula:
        return Formula(
            f"uniform between -/+ sqrt({factor(s):g} / (fan_in + fan_out)) = sqrt({factor(s):g} / ({s.fan_in} +"
            f" {s.fan_out})) = {bound(s):.5g}; biases too",
            rf"w, b \sim U(-c, c), \qquad c = \sqrt{{\frac{{{factor(s):g}}}{{n_\text{{in}} + n_\text{{out}}}}}} ="
            rf" \sqrt{{\frac{{{factor(s):g}}}{{{s.fan_in} + {s.fan_out}}}}} = {tex(bound(s))}",
        )

    def law(s: LayerShape) -> Law:
        return laws.Uniform(-bound(s), bound(s))

    return Rule(law, formula, bias=law)


def _playground_default() -> Rule:
    return Rule(
        lambda s: laws.Uniform(-0.5, 0.5),
        lambda s: Formula(
            "uniform between -0.5 and 0.5, biases 0.1",
            r"w \sim U(-0.5,\ 0.5),\ b = 0.1, \qquad \sigma^2 = \frac{1}{12} = 0.083333",
        ),
        bias=lambda s: laws.Constant(0.1),
    )


def _siren_code(shape: LayerShape, omega: float) -> dict[str, str]:
    if shape.is_first:
        return {"bound": f"1 / {shape.fan_in}", "scale": f"1 / (3 * {shape.fan_in})"}
    return {"bound": f"(6 / {shape.fan_in}) ** 0.5 / {number_text(omega)}", "scale": f"2 / {number_text(omega)}**2"}


def _sklearn_code(shape: LayerShape) -> dict[str, str]:
    texts = {"fans": str(shape.fan_in + shape.fan_out)}
    if shape.phi.text != "sigmoid":
        library = {"keras": "keras.initializers.GlorotUniform()", "jax": "jax.nn.initializers.glorot_uniform()"}
        return {"factor": "6", "options": "", **library, **texts}
    library = {
        "keras": 'keras.initializers.VarianceScaling(1 / 3, "fan_avg", "uniform")',
        "jax": 'jax.nn.initializers.variance_scaling(1 / 3, "fan_avg", "uniform")',
    }
    return {"factor": "2", "options": ", gain=3**-0.5", **library, **texts}


RECORDS = (
    Initializer(
        "torch_default",
        "library",
        lambda: variance_scaling(
            1 / 3, "fan_in", "uniform", bias=lambda s: laws.Uniform(-(s.fan_in**-0.5), s.fan_in**-0.5)
        ),
        "What torch.nn.Linear draws when nobody asks: a sixth of He's variance, and uniform biases.",
        "torch.nn.Linear.reset_parameters",
        Code(
            "",  # a layer draws it as it is made
            'keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")',
            'jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")',
            bias=("uniform", "-({fan_in}**-0.5)", "{fan_in}**-0.5"),
        ),
    ),
    Initializer(
        "sklearn_default",
        "library",
        _sklearn_default,
        "What scikit-learn's MLP draws: Glorot's interval for weights and biases alike, a third of the variance for "
        "the logistic function; half of what a ReLU needs.",
        "sklearn.neural_network.MLPClassifier, _init_coef",
        Code(
            "torch.nn.init.xavier_uniform_(layer.weight{options})",
            "{keras}",
            "{jax}",
            bias=("uniform", "-(({factor} / {fans}) ** 0.5)", "({factor} / {fans}) ** 0.5"),
        ),
        derived=_sklearn_code,
    ),
    Initializer(
        "playground_default",
        "library",
        _playground_default,
        "What TensorFlow Playground draws: fine for its few units, wherever a layer is wide it explodes.",
        "tensorflow/playground, nn.ts",
        Code(
            "torch.nn.init.uniform_(layer.weight, -0.5, 0.5)",
            "keras.initializers.RandomUniform(-0.5, 0.5)",
            jax_uniform("-0.5", "0.5"),
            bias=("constant", "0.1"),
        ),
    ),
    Initializer(
        "lecun_1998",
        "lecun",
        _lecun_1998,
        "LeCun's own rule, a plain normal for his scaled tanh 1.7159 tanh(2z/3), which it keeps at unit variance; "
        "half of what a ReLU needs.",
        "LeCun et al. 1998, Efficient BackProp, section 4.6, eq. 16",
        replace(_SCALED, notes={"keras": "LecunNormal is cut at two sd.", "jax": "lecun_normal is cut at two sd."}),
        derived=lambda shape: {"scale": "1"},
    ),
    Initializer(
        "kumar",
        "lecun",
        _kumar,
        "LeCun's variance corrected by value and slope of the activation at 0: right while pre-activations stay "
        "small, no answer for ReLU, which has no slope there.",
        "Kumar 2017, On weight initialization in deep neural networks, eq. 13 (arXiv:1704.08863)",
        _SCALED,
        derived=lambda shape: {"scale": _scale(_kumar_scale(shape))},
    ),
    Initializer(
        "edge_of_chaos",
        "lecun",
        _edge_of_chaos,
        "The variance at which two inputs neither merge nor part with depth, for the activation and the biases given; "
        "not every activation has one.",
        "Schoenholz et al. 2017, eq. 5, 7 (arXiv:1611.01232); Hayou et al. 2019, algorithm 1 (arXiv:1902.06853)",
        replace(_SCALED, bias=("normal", "{sigma_b}")),
        (number("sigma_b", 0.0, 0.0, 100.0, "Standard deviation of the biases; ReLU's edge is at 0 only."),),
        derived=lambda shape, sigma_b: {
            "scale": number_text(plain_number(theory.edge_of_chaos(shape.phi, sigma_b) ** 2))
        },
    ),
    Initializer(
        "random_walk",
        "he",
        _random_walk,
        "He's gain with a little more, so that the typical network, not the mean one, keeps its size; for other "
        "activations than ReLU its linear counterpart.",
        "Sussillo & Abbott 2014, Random Walk Initialization, eq. 12-17 (arXiv:1412.6558)",
        _SCALED,
        derived=lambda shape: {"scale": _scale(_walk_gain(shape) ** 2)},
    ),
    Initializer(
        "siren",
        "own",
        _siren,
        "For sine activations: every pre-activation spans a few periods, at any depth; with others it is as small as "
        "omega is large.",
        "Sitzmann et al. 2020, section 3.2 (arXiv:2006.09661)",
        Code(
            "bound = {bound}\ntorch.nn.init.uniform_(layer.weight, -bound, bound)",
            'keras.initializers.VarianceScaling({scale}, "fan_in", "uniform")',
            'jax.nn.initializers.variance_scaling({scale}, "fan_in", "uniform")',
        ),
        (number("omega", 30.0, 1e-6, 1e6, "Frequency of the sine."),),
        derived=_siren_code,
    ),
    Initializer(
        "randomized_asymmetric",
        "he",
        _randomized_asymmetric,
        "One weight or bias of each unit is positive and large, so narrow ReLU networks are rarely born dead; at "
        "thirty layers it explodes.",
        "Lu et al. 2019, Dying ReLU and Initialization, section 4 (arXiv:1903.06733)",
        Code(
            *function("randomized_asymmetric"),
            bias=("column",),
            function="""def randomized_asymmetric(fan_in, fan_out):
    both = rng.normal(0.0, (0.36 / fan_in) ** 0.5, (fan_out, fan_in + 1))
    chosen = rng.integers(fan_in + 1, size=(fan_out, 1))
    np.put_along_axis(both, chosen, rng.beta(2, 1, (fan_out, 1)), axis=1)
    return both
""",
        ),
    ),
    Initializer(
        "nguyen_widrow",
        "plain",
        _nguyen_widrow,
        "Spreads the units of one hidden layer over inputs between -1 and 1; meant for a single tanh layer, in deep "
        "networks its scale knows nothing of the depth.",
        "Nguyen & Widrow 1990, Improving the learning speed of 2-layer neural networks, section 3",
        Code(
            *function("nguyen_widrow"),
            bias=("uniform", "-0.7 * {fan_out} ** (1 / {fan_in})", "0.7 * {fan_out} ** (1 / {fan_in})"),
            function="""def nguyen_widrow(fan_in, fan_out):
    u = rng.uniform(-1.0, 1.0, (fan_out, fan_in))
    return 0.7 * fan_out ** (1 / fan_in) * u / np.linalg.norm(u, axis=1, keepdims=True)
""",
        ),
    ),
    Initializer(
        "lsuv",
        "data",
        _lsuv,
        "Measures each layer on a batch and rescales it to unit variance, whatever the activation; it costs a pass "
        "per layer and forgets the gradients.",
        "Mishkin & Matas 2016, All you need is a good init, algorithm 1, on pre-activations (arXiv:1511.06422)",
        Code(
            *function("lsuv"),
            function=ORTHOGONAL
            + """

def lsuv(fan_in, fan_out):
    batch = rng.standard_normal((256, fan_in))  # put a batch of what the layer sees here
    weights = orthogonal(fan_out, fan_in)
    for _ in range({rounds}):
        variance = (batch @ weights.T).var()
        if abs(variance - 1) < {tolerance}:
            break
        weights = weights / variance**0.5
    return weights
""",
        ),
        (
            number("tolerance", 0.1, 0.0, 10.0, "How far the variance may be from 1, above 0.", exclusive=True),
            whole("rounds", 10, 1, 100, "At most so many rescalings of a layer."),
        ),
    ),
)
