"""What every scheme draws against the libraries, against closed forms, against its own law, and against the past.

The libraries are drawn by their own functions and compared by two-sample Kolmogorov-Smirnov tests; kernels are
(fan_in, fan_out) in Keras, JAX and scikit-learn and (fan_out, fan_in) in PyTorch. All seeds were fixed before the
first run. What such a test can see is itself tested.

tests/golden/initializers.json holds the first weights of every scheme. Where a law was meant to change,
`python -m tests.test_exactness --write` from the root of the repository writes what no longer agrees anew.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import linalg, stats

from winit import laws, theory
from winit.fields import Refused
from winit.initializers import INITIALIZERS, LayerShape, scheme
from winit.laws import Law
from winit.network import Member, initialize
from winit.seeds import generator
from winit.spec import Spec

Array = NDArray[np.float64]
Fans = tuple[int, int]
Reference = Callable[[int, int], Array]

ROOT = Path(__file__).resolve().parents[1]
DEPTH = 3

# How the libraries draw. Options may depend on the fans. Keras and JAX are imported where they are first used.


def _given(values: Mapping[str, Any], n: int, m: int) -> dict[str, Any]:
    return {name: value(n, m) if callable(value) else value for name, value in values.items()}


def _keras(name: str, **options: Any) -> Reference:
    def draw(n: int, m: int) -> Array:
        import keras

        kernel = getattr(keras.initializers, name)(seed=101, **_given(options, n, m))((n, m))
        return torch.as_tensor(kernel).double().numpy()

    return draw


def _jax(name: str, **options: Any) -> Reference:
    def draw(n: int, m: int) -> Array:
        import jax

        initializer = getattr(jax.nn.initializers, name)(**_given(options, n, m))
        return np.asarray(initializer(jax.random.key(102), (n, m)), dtype=np.float64)

    return draw


def _torch(name: str, **options: Any) -> Reference:
    def draw(n: int, m: int) -> Array:
        weight = torch.empty(m, n)
        fill = getattr(torch.nn.init, name)
        return fill(weight, generator=torch.Generator().manual_seed(103), **options).double().numpy()

    return draw


def _linear(n: int, m: int) -> torch.nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(104)
        return torch.nn.Linear(n, m)


def _torch_layer(n: int, m: int) -> Array:
    return _linear(n, m).weight.detach().double().numpy()


def _keras_layer(n: int, m: int) -> Array:
    import keras

    keras.utils.set_random_seed(109)
    layer = keras.layers.Dense(m)
    layer.build((None, n))
    return layer.kernel.value.detach().double().numpy()


def _flax_layer(n: int, m: int) -> Array:
    import jax
    from flax import linen

    parameters = linen.Dense(m).init(jax.random.key(110), np.zeros((1, n), np.float32))["params"]
    return np.asarray(parameters["kernel"], dtype=np.float64)


def _sklearn(activation: str) -> Callable[[int, int], tuple[Array, Array]]:
    def draw(n: int, m: int) -> tuple[Array, Array]:
        from sklearn.neural_network import MLPClassifier

        network = MLPClassifier(activation=activation)
        network._random_state = np.random.RandomState(111)
        return network._init_coef(n, m, np.float64)

    return draw


def _jax_random(name: str, scale: Callable[[int, int], float], **options: Any) -> Reference:
    def draw(n: int, m: int) -> Array:
        import jax

        drawn = getattr(jax.random, name)(jax.random.key(112), shape=(n, m), **options)
        return scale(n, m) * np.asarray(drawn, dtype=np.float64)

    return draw


def _numpy_t(nu: float, scale: Callable[[int, int], float]) -> Reference:
    return lambda n, m: scale(n, m) * np.random.default_rng(118).standard_t(nu, (n, m))


# The laws, as scipy has them


@dataclass(frozen=True)
class Case:
    """A scheme with independent entries, its law by scipy for (fan_in, fan_out), and how the libraries draw it."""

    text: str
    law: Callable[[int, int], Any]
    theirs: Mapping[str, Reference]
    activation: str = "relu"
    layer: int = 1
    digits: float = 1e-9
    """To what relative error the variance is written down here."""

    def shape(self, fans: Fans) -> LayerShape:
        return LayerShape(*fans, self.layer, DEPTH, self.activation)

    def __str__(self) -> str:
        return f"{self.text}-{self.activation}-{self.layer}"


def _normal(variance: Callable[[int, int], float]) -> Callable[[int, int], Any]:
    return lambda n, m: stats.norm(0, math.sqrt(variance(n, m)))


def _uniform(variance: Callable[[int, int], float]) -> Callable[[int, int], Any]:
    return lambda n, m: stats.uniform(-math.sqrt(3 * variance(n, m)), 2 * math.sqrt(3 * variance(n, m)))


def _cut(variance: Callable[[int, int], float]) -> Callable[[int, int], Any]:
    """Cut at two standard deviations of the uncut, whose variance makes up for the cut."""
    return lambda n, m: stats.truncnorm(-2, 2, 0, math.sqrt(variance(n, m) / stats.truncnorm(-2, 2).var()))


def _fixed(law: Any) -> Callable[[int, int], Any]:
    return lambda n, m: law


def _glorot(n: int, m: int) -> float:
    return 2 / (n + m)


def _he(n: int, m: int) -> float:
    return 2 / n


def _lecun(n: int, m: int) -> float:
    return 1 / n


def _scaled(scale: Any) -> Mapping[str, Reference]:
    """How the libraries that can draw a normal of variance scale / fan_in."""
    return {
        "keras": _keras("VarianceScaling", scale=scale, mode="fan_in", distribution="untruncated_normal"),
        "jax": _jax("variance_scaling", scale=scale, mode="fan_in", distribution="normal"),
    }


def _walk(n: int, m: int) -> float:
    return 2 * math.exp(2.4 / (max(n, 6) - 2.4))


def _case(text: str, variance: Callable[[int, int], float], scale: Any, activation: str, digits: float) -> Case:
    return Case(text, _normal(variance), _scaled(scale), activation, digits=digits)


CASES = [
    Case("random_normal", _fixed(stats.norm(0, 0.05)), {"keras": _keras("RandomNormal")}),
    Case("random_normal(stddev=1)", _fixed(stats.norm(0, 1)), {"torch": _torch("normal_")}),
    Case("random_normal(stddev=0.01)", _fixed(stats.norm(0, 0.01)), {"jax": _jax("normal")}),
    Case(
        "random_normal(mean=0.5, stddev=0.1)",
        _fixed(stats.norm(0.5, 0.1)),
        {"keras": _keras("RandomNormal", mean=0.5, stddev=0.1), "torch": _torch("normal_", mean=0.5, std=0.1)},
    ),
    Case("normal", _fixed(stats.norm(0, 1)), {"torch": _torch("normal_")}),
    Case("truncated_normal", _fixed(stats.truncnorm(-2, 2, 0, 0.05)), {"keras": _keras("TruncatedNormal")}),
    Case(
        "truncated_normal(mean=0.5, stddev=0.1)",
        _fixed(stats.truncnorm(-2, 2, 0.5, 0.1)),
        {"keras": _keras("TruncatedNormal", mean=0.5, stddev=0.1)},
    ),
    Case("truncated_normal(stddev=0.01)", _fixed(stats.truncnorm(-2, 2, 0, 0.01)), {"jax": _jax("truncated_normal")}),
    Case(
        "truncated_normal(stddev=0.3, lower=-1, upper=3)",
        _fixed(stats.truncnorm(-1, 3, 0, 0.3)),
        {"jax": _jax("truncated_normal", stddev=0.3, lower=-1.0, upper=3.0)},
    ),
    Case("trunc_normal", _fixed(stats.truncnorm(-2, 2)), {"torch": _torch("trunc_normal_")}),
    Case(
        "trunc_normal(std=0.02)",
        _fixed(stats.truncnorm(-100, 100, 0, 0.02)),
        {"torch": _torch("trunc_normal_", std=0.02)},
    ),
    Case(
        "trunc_normal(mean=0.3, std=0.5, a=-0.5, b=0.6)",
        _fixed(stats.truncnorm(-1.6, 0.6, 0.3, 0.5)),
        {"torch": _torch("trunc_normal_", mean=0.3, std=0.5, a=-0.5, b=0.6)},
    ),
    Case("random_uniform", _fixed(stats.uniform(-0.05, 0.1)), {"keras": _keras("RandomUniform")}),
    Case("random_uniform(minval=0, maxval=0.01)", _fixed(stats.uniform(0, 0.01)), {"jax": _jax("uniform")}),
    Case("uniform", _fixed(stats.uniform(0, 1)), {"torch": _torch("uniform_")}),
    Case(
        "random_uniform(minval=-0.3, maxval=0.1)",
        _fixed(stats.uniform(-0.3, 0.4)),
        {"keras": _keras("RandomUniform", minval=-0.3, maxval=0.1), "torch": _torch("uniform_", a=-0.3, b=0.1)},
    ),
    Case("glorot_normal", _cut(_glorot), {"keras": _keras("GlorotNormal"), "jax": _jax("glorot_normal")}),
    Case(
        "glorot_uniform",
        _uniform(_glorot),
        {
            "keras": _keras("GlorotUniform"),
            "keras Dense": _keras_layer,
            "jax": _jax("glorot_uniform"),
            "torch": _torch("xavier_uniform_"),
        },
    ),
    Case(
        "xavier_uniform(gain=1.5)",
        _uniform(lambda n, m: 2.25 * _glorot(n, m)),
        {"torch": _torch("xavier_uniform_", gain=1.5)},
    ),
    Case("xavier_normal", _normal(_glorot), {"torch": _torch("xavier_normal_")}),
    Case(
        "xavier_normal(gain=1.5)",
        _normal(lambda n, m: 2.25 * _glorot(n, m)),
        {"torch": _torch("xavier_normal_", gain=1.5)},
    ),
    Case("he_normal", _cut(_he), {"keras": _keras("HeNormal"), "jax": _jax("he_normal")}),
    Case(
        "he_uniform",
        _uniform(_he),
        {
            "keras": _keras("HeUniform"),
            "jax": _jax("he_uniform"),
            "torch": _torch("kaiming_uniform_", nonlinearity="relu"),
        },
    ),
    Case(
        "kaiming_uniform(a=0.5, mode=fan_out)",
        _uniform(lambda n, m: 1.6 / m),
        {"torch": _torch("kaiming_uniform_", a=0.5, mode="fan_out")},
    ),
    Case("kaiming_normal", _normal(_he), {"torch": _torch("kaiming_normal_")}),
    Case("kaiming_normal(a=0.5)", _normal(lambda n, m: 1.6 / n), {"torch": _torch("kaiming_normal_", a=0.5)}),
    Case(
        "kaiming_normal(mode=fan_out)",
        _normal(lambda n, m: 2 / m),
        {"torch": _torch("kaiming_normal_", mode="fan_out")},
    ),
    Case(
        "kaiming_normal(nonlinearity=tanh)",
        _normal(lambda n, m: 25 / 9 / n),
        {"torch": _torch("kaiming_normal_", nonlinearity="tanh")},
    ),
    Case(
        "kaiming_normal(a=0.5, mode=fan_out, nonlinearity=selu)",
        _normal(lambda n, m: 9 / 16 / m),
        {"torch": _torch("kaiming_normal_", a=0.5, mode="fan_out", nonlinearity="selu")},
    ),
    Case(
        "lecun_normal",
        _cut(_lecun),
        {"keras": _keras("LecunNormal"), "jax": _jax("lecun_normal"), "flax Dense": _flax_layer},
    ),
    Case(
        "lecun_uniform",
        _uniform(_lecun),
        {
            "keras": _keras("LecunUniform"),
            "jax": _jax("lecun_uniform"),
            "torch": _torch("kaiming_uniform_", nonlinearity="linear"),
        },
    ),
    Case("torch_default", _uniform(lambda n, m: 1 / (3 * n)), {"torch Linear": _torch_layer}),
    Case("sklearn_default", _uniform(lambda n, m: 2 / (n + m)), {"sklearn": lambda n, m: _sklearn("relu")(n, m)[0]}),
    Case(
        "sklearn_default",
        _uniform(lambda n, m: 2 / 3 / (n + m)),
        {"sklearn": lambda n, m: _sklearn("logistic")(n, m)[0]},
        "sigmoid",
    ),
    Case(
        "sklearn_default",
        _uniform(lambda n, m: 2 / (n + m)),
        {"sklearn": lambda n, m: _sklearn("tanh")(n, m)[0]},
        "tanh",
    ),
    Case(
        "playground_default",
        _fixed(stats.uniform(-0.5, 1)),
        {"keras": _keras("RandomUniform", minval=-0.5, maxval=0.5)},
    ),
    _case("lecun_1998", _lecun, 1.0, "relu", 1e-9),
    # Kumar 2017: phi'(0) = 1 and phi(0) = 0 for tanh, 1/4 and 1/2 for the logistic function.
    _case("kumar", _lecun, 1.0, "tanh", 1e-9),
    _case("kumar", lambda n, m: 12.8 / n, 12.8, "sigmoid", 1e-9),
    # Reference numbers of their own: sigma_w^2 = 1.76095 at sigma_b^2 = 0.05, and sigma_w = 10.149.
    _case(f"edge_of_chaos(sigma_b={math.sqrt(0.05)!r})", lambda n, m: 1.76095 / n, 1.76095, "tanh", 5e-6),
    _case("edge_of_chaos", lambda n, m: 10.149**2 / n, 10.149**2, "sigmoid", 1e-4),
    _case("edge_of_chaos", _he, 2.0, "relu", 1e-9),
    _case("random_walk", lambda n, m: _walk(n, m) / n, _walk, "relu", 1e-9),
    _case("random_walk", lambda n, m: math.exp(1 / n) / n, lambda n, m: math.exp(1 / n), "tanh", 1e-9),
    Case(
        "siren",
        lambda n, m: stats.uniform(-1 / n, 2 / n),
        {"keras": _keras("RandomUniform", minval=lambda n, m: -1 / n, maxval=lambda n, m: 1 / n)},
        "sine",
    ),
    *(
        Case(
            text,
            _uniform(lambda n, m, omega=omega: 2 / n / omega**2),
            {"jax": _jax("variance_scaling", scale=2 / omega**2, mode="fan_in", distribution="uniform")},
            "sine",
            layer,
        )
        for text, omega in (("siren", 30.0), ("siren(omega=1)", 1.0))
        for layer in (2, DEPTH, DEPTH + 1)
    ),
    Case("custom", _normal(_he), _scaled(2.0)),
    Case("custom", _normal(_lecun), _scaled(1.0), "selu", digits=1e-7),
    Case(
        'custom(distribution=truncated_normal, standard_deviation="sqrt(2/fan_in)")',
        _cut(_he),
        {"keras": _keras("HeNormal")},
    ),
    Case(
        'custom(distribution=uniform, standard_deviation="(2 / (fan_in + fan_out)) ** 0.5")',
        _uniform(_glorot),
        {"torch": _torch("xavier_uniform_")},
    ),
    Case(
        'custom(distribution=laplace, standard_deviation="layer/depth/fan_in")',
        lambda n, m: stats.laplace(0, 2 / 3 / n / math.sqrt(2)),
        {"jax": _jax_random("laplace", lambda n, m: 2 / 3 / n / math.sqrt(2))},
        layer=2,
    ),
    *(
        Case(
            f'custom(distribution=student_t, standard_deviation="max(fan_in,fan_out)**-1", nu={nu})',
            lambda n, m, nu=nu: stats.t(nu, 0, math.sqrt((nu - 2) / nu) / max(n, m)),
            {"numpy": _numpy_t(nu, lambda n, m, nu=nu: math.sqrt((nu - 2) / nu) / max(n, m))},
        )
        for nu in (5.0, 12.0)
    ),
]
for _mode, _fan in {
    "fan_in": lambda n, m: n,
    "fan_out": lambda n, m: m,
    "fan_avg": lambda n, m: (n + m) / 2,
    "fan_geo_avg": lambda n, m: math.sqrt(n * m),
}.items():
    for _ours, _theirs, _make in (
        ("truncated_normal", "truncated_normal", _cut),
        ("untruncated_normal", "normal", _normal),
        ("uniform", "uniform", _uniform),
    ):
        _libraries = {"jax": _jax("variance_scaling", scale=1.7, mode=_mode, distribution=_theirs)}
        if _mode != "fan_geo_avg":
            _libraries["keras"] = _keras("VarianceScaling", scale=1.7, mode=_mode, distribution=_ours)
        CASES.append(
            Case(
                f"variance_scaling(scale=1.7, mode={_mode}, distribution={_ours})",
                _make(lambda n, m, fan=_fan: 1.7 / fan(n, m)),
                _libraries,
            )
        )
COMPARISONS = [(case, library) for case in CASES for library in case.theirs]
FAST: list[Fans] = [(50, 1000)]
SLOW: list[Fans] = [(1000, 1000), (20, 50_000), (50_000, 20)]
SMALLEST_P = 0.001 / (len(COMPARISONS) * len(FAST + SLOW))


def _sides(fans: Fans) -> str:
    return f"{fans[0]}x{fans[1]}"


EACH_SIZE = pytest.mark.parametrize(
    "fans", [*FAST, *(pytest.param(fans, marks=pytest.mark.slow) for fans in SLOW)], ids=_sides
)


def _drawn(text: str, shape: LayerShape, seed: int = 0) -> Array:
    """Return the weights with which a layer of a network starts."""
    return scheme(text).draw(shape, generator(seed, "weights", shape.layer))[0].double().numpy()


def _agree(first: Array, second: Array) -> bool:
    """Whether two samples may be of one law."""
    found = stats.ks_2samp(first.ravel(), second.ravel(), method="asymp")
    return bool(found.pvalue > SMALLEST_P)


def _follows(sample: Array, cumulative: Callable[[Array], Array]) -> bool:
    """Whether a sample may be of a law without atoms."""
    return bool(stats.kstest(np.ravel(sample), cumulative, method="asymp").pvalue > SMALLEST_P)


@EACH_SIZE
@pytest.mark.parametrize(("case", "library"), COMPARISONS, ids=lambda part: str(part))
def test_draws_follow_the_law_of_the_library(case: Case, library: str, fans: Fans) -> None:
    theirs, ours = case.theirs[library](*fans), _drawn(case.text, case.shape(fans))
    assert ours.shape == fans[::-1]
    assert theirs.size == ours.size
    assert _agree(ours, theirs)


@EACH_SIZE
@pytest.mark.parametrize("case", CASES, ids=str)
def test_drawn_moments_lie_within_five_standard_errors_of_the_closed_form(case: Case, fans: Fans) -> None:
    exact, w = case.law(*fans), _drawn(case.text, case.shape(fans))
    mean, variance, excess = (float(value) for value in exact.stats("mvk"))
    assert abs(w.mean() - mean) < 5 * math.sqrt(variance / w.size)
    error = variance * math.sqrt((excess + 2) / w.size)
    assert abs(np.mean((w - mean) ** 2) - variance) < 5 * error + case.digits * variance


@EACH_SIZE
@pytest.mark.parametrize("case", CASES, ids=str)
def test_draws_stay_within_the_bounds_and_come_close_to_them(case: Case, fans: Fans) -> None:
    exact, w = case.law(*fans), _drawn(case.text, case.shape(fans))
    law = scheme(case.text).law(case.shape(fans))
    assert law.minimum <= w.min()
    assert w.max() <= law.maximum
    for end, reached in zip(exact.support(), (w.min(), w.max()), strict=True):
        height = float(exact.pdf(end)) if math.isfinite(end) else 0.0
        # None of the draws lies nearer to the end than this with probability e^-20.
        assert height == 0 or abs(reached - end) < 20 / (height * w.size)


@pytest.mark.parametrize("fans", [(64, 64), (7, 300), (300, 7), (1, 1)], ids=_sides)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_law_is_that_of_scipy(case: Case, fans: Fans) -> None:
    law, exact = scheme(case.text).law(case.shape(fans)), case.law(*fans)
    mean, variance, skewness, excess = (float(value) for value in exact.stats("mvsk"))
    scale = math.sqrt(variance)
    assert law.mean == pytest.approx(mean, rel=1e-9, abs=1e-9 * scale)
    assert law.variance == pytest.approx(variance, rel=case.digits)
    assert law.skewness == pytest.approx(skewness, abs=1e-6)
    assert law.kurtosis == pytest.approx(excess + 3, rel=1e-6)
    assert (law.minimum, law.maximum) == pytest.approx(exact.support(), rel=1e-9)


# Keras's torch backend draws what lies outside two standard deviations again three times, and then leaves it.
LEFT_OUTSIDE = (2 * stats.norm.sf(2)) ** 4


@pytest.mark.slow
def test_keras_leaves_a_few_weights_outside_the_bounds_and_we_none() -> None:
    case, fans = next(case for case in CASES if case.text == "glorot_normal"), (1000, 4000)
    end = case.law(*fans).support()[1]
    expected = LEFT_OUTSIDE * 4e6
    assert abs(int((np.abs(case.theirs["keras"](*fans)) > end * (1 + 1e-6)).sum()) - expected) < 5 * math.sqrt(expected)
    assert np.abs(_drawn(case.text, case.shape(fans))).max() <= end


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("glorot_normal", _torch("xavier_normal_")),  # same variance, not cut
        ("xavier_normal", _keras("GlorotNormal")),
        ("he_normal", _torch("kaiming_normal_")),
        ("kaiming_normal", _jax("he_normal")),
        ("he_normal", _keras("HeUniform")),
        ("torch_default", _torch("kaiming_uniform_")),  # not Kaiming, whatever one reads
        ("lecun_uniform", _torch_layer),
        ("lecun_1998", _keras("LecunNormal")),
        # The wrong fan of a transposed kernel.
        ("he_normal", lambda n, m: _keras("HeNormal")(m, n)),
        # A standard deviation of the cut normal that is not corrected, and one that is.
        ("variance_scaling(scale=1)", _keras("TruncatedNormal", stddev=lambda n, m: n**-0.5)),
        ("truncated_normal", _keras("VarianceScaling", scale=lambda n, m: n * 0.05**2)),
        ("random_normal(stddev=0.05)", _keras("TruncatedNormal", stddev=0.05)),
        # Bounds that are values, not standard deviations.
        ("truncated_normal(stddev=0.5)", _torch("trunc_normal_", std=0.5)),
        ("sklearn_default", lambda n, m: _sklearn("logistic")(n, m)[0]),
    ],
)
def test_the_comparison_sees_what_people_confuse(text: str, reference: Reference) -> None:
    assert not _agree(_drawn(text, LayerShape(500, 400)), reference(500, 400))


def test_every_scheme_with_independent_entries_is_compared() -> None:
    """All but the constants, which are equal, and the matrices below."""
    independent = {
        name
        for name in INITIALIZERS
        if scheme(name).rule.matrices is None and scheme(name).law(LayerShape(4, 4, 1, DEPTH, "tanh")).axes == 0
    }
    assert {scheme(case.text).record.name for case, _ in COMPARISONS} == independent - {"zeros", "constant"}


def test_flax_has_the_initializers_of_jax() -> None:
    import jax
    from flax import linen

    for name in ("lecun_normal", "he_uniform", "glorot_normal", "variance_scaling", "orthogonal", "truncated_normal"):
        assert getattr(linen.initializers, name) is getattr(jax.nn.initializers, name)


def test_constants_and_identities_are_those_of_the_libraries() -> None:
    import jax
    import keras

    ours = keras.initializers
    kernels = {
        "zeros": [ours.Zeros(), lambda size: jax.nn.initializers.zeros(None, size)],
        "constant(value=0.3)": [ours.Constant(0.3), lambda size: jax.nn.initializers.constant(0.3)(None, size)],
        "ones": [ours.Ones(), lambda size: torch.nn.init.ones_(torch.empty(size))],
        "identity(gain=-0.7)": [ours.Identity(-0.7), lambda size: -0.7 * torch.nn.init.eye_(torch.empty(size))],
    }
    for text, references in kernels.items():
        for fans in ((3, 5), (5, 3), (4, 4), (1, 1)):
            for reference in references:
                kernel = np.asarray(reference(fans))
                np.testing.assert_array_equal(_drawn(text, LayerShape(*fans)).T.astype(np.float32), kernel)


def test_biases_are_those_of_the_libraries() -> None:
    n, m = 16, 50_000
    shape = LayerShape(n, m, 1, DEPTH)
    weight, bias = scheme("torch_default").draw(shape, generator(0, "weights"))
    assert _agree(bias.double().numpy(), _linear(n, m).bias.detach().double().numpy())
    # Weights and biases are drawn one after the other, not the same numbers twice.
    assert not torch.equal(weight.flatten()[:m], bias)
    for activation, theirs in (("relu", "relu"), ("sigmoid", "logistic")):
        placed = LayerShape(n, m, 1, DEPTH, activation)
        _, bias = scheme("sklearn_default").draw(placed, generator(0, "weights"))
        assert _agree(bias.double().numpy(), _sklearn(theirs)(n, m)[1])
    _, bias = scheme("playground_default").draw(shape, generator(0, "weights"))
    assert torch.equal(bias, torch.full((m,), 0.1))
    _, bias = scheme("edge_of_chaos(sigma_b=0.3)").draw(LayerShape(n, m, 1, DEPTH, "tanh"), generator(0, "weights"))
    assert _follows(bias.double().numpy(), stats.norm(0, 0.3).cdf)
    _, bias = scheme("nguyen_widrow").draw(shape, generator(0, "weights"))
    assert _follows(bias.double().numpy(), stats.uniform(-_length(n, m), 2 * _length(n, m)).cdf)


def test_all_others_start_with_zero_biases() -> None:
    drawn = {"torch_default", "sklearn_default", "playground_default", "nguyen_widrow", "randomized_asymmetric"}
    for name in INITIALIZERS.keys() - drawn:
        _, bias = scheme(name).draw(LayerShape(4, 6, 2, DEPTH, "tanh"), generator(0, "weights"))
        assert bias.shape == (6,)
        assert bias.dtype == torch.float32
        assert not bias.any()


# Orthogonal matrices

RECTANGLES: list[Fans] = [(64, 64), (7, 300), (300, 7), (1, 50), (50, 1), (1, 1), (300, 300)]


def _matrices(text: str, shape: LayerShape, count: int, seed: int = 0) -> Array:
    """Draw the weights of `count` layers, (count, fan_out, fan_in)."""
    return scheme(text).weights(shape, generator(seed, "matrices"), count).double().numpy()


def _any_entry(matrices: Array) -> Array:
    """Return one entry of each matrix, its place chosen at random."""
    places = np.random.default_rng(113).integers(matrices[0].size, size=len(matrices))
    return matrices.reshape(len(matrices), -1)[np.arange(len(matrices)), places]


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2), 0.1, 0.0, 100.0])
@pytest.mark.parametrize("fans", RECTANGLES, ids=_sides)
def test_the_smaller_gram_matrix_of_an_orthogonal_one_is_the_identity(fans: Fans, gain: float) -> None:
    w = _drawn(f"orthogonal(gain={gain})", LayerShape(*fans))
    gram = w @ w.T if fans[1] <= fans[0] else w.T @ w
    np.testing.assert_allclose(gram, gain**2 * np.eye(min(fans)), rtol=0, atol=1e-5 * max(1, gain**2))


@pytest.mark.parametrize("fans", [(2, 2), (3, 5), (5, 3), (64, 64), (7, 300), (300, 7)], ids=_sides)
def test_squared_entries_of_an_orthogonal_matrix_follow_a_beta_law(fans: Fans) -> None:
    n = max(fans)
    squares = (_any_entry(_matrices("orthogonal(gain=1.5)", LayerShape(*fans), 2000)) / 1.5) ** 2
    assert _follows(squares, stats.beta(0.5, (n - 1) / 2).cdf)
    assert not _follows(squares, stats.beta(0.5, (2 * n - 1) / 2).cdf)


def _trace_is_haar(traces: Array) -> bool:
    """Whether traces of Haar orthogonal matrices of side 2 or more have mean 0 and variance 1, by their E t^4 = 3."""
    error = 5 / math.sqrt(len(traces))
    return bool(abs(traces.mean()) < error and abs(np.mean(traces**2) - 1) < error * math.sqrt(2))


@pytest.mark.parametrize("side", [2, 5, 24])
def test_the_trace_of_a_square_orthogonal_matrix_has_mean_0_and_variance_1(side: int) -> None:
    w = _matrices("orthogonal(gain=1.5)", LayerShape(side, side), 3000) / 1.5
    assert _trace_is_haar(np.trace(w, axis1=1, axis2=2))
    # What a QR decomposition leaves without the signs of R's diagonal is seen.
    raw = np.linalg.qr(np.random.default_rng(114).standard_normal((3000, side, side)))[0]
    assert not _trace_is_haar(np.trace(raw, axis1=1, axis2=2))


ORTHOGONAL_DRAWS = 1500


def _keras_orthogonal(gain: float, fan_in: int, fan_out: int) -> Array:
    import keras

    make = keras.initializers.Orthogonal(gain=gain, seed=keras.random.SeedGenerator(105))
    return np.stack([torch.as_tensor(make((fan_in, fan_out))).numpy().T for _ in range(ORTHOGONAL_DRAWS)])


def _jax_orthogonal(gain: float, fan_in: int, fan_out: int) -> Array:
    import jax

    keys = jax.random.split(jax.random.key(106), ORTHOGONAL_DRAWS)
    return np.asarray(jax.vmap(lambda key: jax.nn.initializers.orthogonal(gain)(key, (fan_in, fan_out)).T)(keys))


def _torch_orthogonal(gain: float, fan_in: int, fan_out: int) -> Array:
    source, weight = torch.Generator().manual_seed(107), torch.empty(fan_out, fan_in)
    return np.stack(
        [torch.nn.init.orthogonal_(weight, gain, generator=source).numpy().copy() for _ in range(ORTHOGONAL_DRAWS)]
    )


@pytest.mark.parametrize("fans", [(5, 3), (4, 4)], ids=_sides)
@pytest.mark.parametrize("reference", [_keras_orthogonal, _jax_orthogonal, _torch_orthogonal])
def test_orthogonal_follows_the_law_of_the_libraries(reference: Callable[[float, int, int], Array], fans: Fans) -> None:
    theirs, ours = reference(1.5, *fans), _matrices("orthogonal(gain=1.5)", LayerShape(*fans), 8000)
    assert ours.shape[1:] == theirs.shape[1:] == fans[::-1]
    for row, column in ((0, 0), (-1, -1), (0, -1), (-1, 0)):
        assert _agree(ours[:, row, column], theirs[:, row, column])
    # Two entries of one matrix, too: their joint law is that of rows or columns of norm 1.5.
    assert _agree(ours[:, 0, 0] * ours[:, 1, 1], theirs[:, 0, 0] * theirs[:, 1, 1])


@pytest.mark.parametrize(("fans", "layer"), [((7, 12), 1), ((12, 8), 2), ((8, 8), 3), ((8, 5), DEPTH + 1)])
def test_looks_linear_mirrors_an_orthogonal_matrix_entry_by_entry(fans: Fans, layer: int) -> None:
    shape, gain = LayerShape(*fans, layer, DEPTH), 1.5
    w = scheme(f"looks_linear(gain={gain})").draw(shape, generator(0, "weights", layer))[0].numpy()
    a = w[: fans[1] // (1 if shape.is_output else 2), : fans[0] // (1 if shape.is_first else 2)]
    blocks = {1: [[a], [-a]], DEPTH + 1: [[a, -a]]}.get(layer, [[a, -a], [-a, a]])
    np.testing.assert_array_equal(w, np.block(blocks))
    np.testing.assert_allclose(linalg.svdvals(a), gain, rtol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu(slope=0.2)", "identity"])
def test_looks_linear_makes_a_network_linear(activation: str) -> None:
    """phi(z) - phi(-z) = (1 + slope) z, so that the blocks A of all layers multiply."""
    spec = Spec(depth=4, width=16, activation=activation, initializer="looks_linear", dataset="digits")
    ensemble = initialize(spec, [Member("looks_linear", 3, 0.1)], torch.float64)
    product, factor = torch.eye(spec.inputs, dtype=torch.float64), {"relu": 1.0, "identity": 2.0}.get(activation, 1.2)
    for shape, weight in zip(spec.layer_shapes(), ensemble.weights, strict=True):
        block = weight[0, : shape.fan_out // (1 if shape.is_output else 2)]
        product = block[:, : shape.fan_in // (1 if shape.is_first else 2)] @ product
        product *= 1 if shape.is_output else factor
    x = torch.empty(spec.inputs, 20, dtype=torch.float64).normal_(generator=generator(0, "test"))
    torch.testing.assert_close(ensemble.outputs(x)[0], product @ x, rtol=1e-9, atol=1e-12)


# Matrices without randomness, and sparse ones


@pytest.mark.parametrize("fans", [(1, 1), (1, 2), (3, 5), (5, 3), (8, 8), (7, 300), (300, 7), (64, 128), (64, 129)])
def test_zero_o_is_a_part_of_scipys_hadamard_matrix_or_of_the_identity(fans: Fans) -> None:
    n, m = fans
    expected = torch.nn.init.eye_(torch.empty(m, n)).double().numpy()
    if m > n:
        side = next(2**power for power in range(12) if 2**power >= m)
        expected = linalg.hadamard(side)[:m, :n] / math.sqrt(side)
    np.testing.assert_array_equal(_drawn("zero_o", LayerShape(n, m)), expected.astype(np.float32))


@pytest.mark.parametrize("fans", [(1, 1), (1, 4), (3, 5), (5, 3), (4, 4), (7, 30), (30, 7)])
def test_idinit_repeats_the_identity_along_the_longer_side(fans: Fans) -> None:
    n, m = fans
    pattern = np.tile(np.eye(min(fans)), (m // min(fans) + 1, n // min(fans) + 1))[:m, :n]
    np.testing.assert_array_equal(_drawn("idinit(epsilon=0)", LayerShape(n, m)), pattern)
    w = _matrices("idinit(epsilon=0.3)", LayerShape(n, m), 20_000 // max(fans))
    assert not w[:, pattern == 0].any()
    assert _follows(w[:, pattern == 1], stats.norm(1, 0.3).cdf)
    small = _drawn("idinit", LayerShape(n, m))
    np.testing.assert_allclose(small, pattern, rtol=0, atol=7e-6)  # 1e-6 times 6, and what float32 rounds
    assert n == m == 1 or len(np.unique(small)) > 2


def _spread_evenly(counts: Array, draws: int, share: float) -> bool:
    """Whether places may be taken with one chance: `counts` of each, a fixed `share` of them taken by every draw.

    Without replacement the indicators of one draw have covariance share (1 - share) (I - 1/m) m / (m - 1).
    """
    m = len(counts)
    statistic = ((counts - draws * share) ** 2).sum() / (draws * share * (1 - share) * m / (m - 1))
    return bool(stats.chi2(m - 1).sf(statistic) > SMALLEST_P)


@pytest.mark.parametrize("fan_out", [1, 10, 30, 70, 300])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.35, 0.7, 1.0])
def test_sparse_has_as_many_zeros_per_column_as_torch(sparsity: float, fan_out: int) -> None:
    ours = scheme(f"sparse(sparsity={sparsity}, std=2)").weights(LayerShape(50, fan_out), generator(0, "weights"), 40)
    with torch.random.fork_rng():
        torch.manual_seed(115)
        theirs = torch.nn.init.sparse_(torch.empty(fan_out, 50), sparsity, std=2.0)
    zeros = set((theirs == 0).sum(dim=0).tolist())
    assert len(zeros) == 1
    assert set((ours == 0).sum(dim=1).flatten().tolist()) == zeros
    share = zeros.pop() / fan_out
    if share < 1:
        assert _follows(ours[ours != 0].double().numpy(), stats.norm(0, 2).cdf)
    if 0 < share < 1:
        assert _spread_evenly((ours == 0).sum(dim=(0, 2)).double().numpy(), 40 * 50, share)


@pytest.mark.parametrize("fan_in", [1, 5, 15, 16, 100])
@pytest.mark.parametrize("connections", [1, 15, 1024])
def test_sparse_martens_has_so_many_weights_per_unit(connections: int, fan_in: int) -> None:
    w = scheme(f"sparse_martens(connections={connections})").weights(LayerShape(fan_in, 50), generator(0, "x"), 40)
    kept = min(connections, fan_in)
    assert set((w != 0).sum(dim=2).flatten().tolist()) == {kept}
    assert _follows(w[w != 0].double().numpy(), stats.norm(0, 1).cdf)
    if kept < fan_in:
        assert _spread_evenly((w != 0).sum(dim=(0, 1)).double().numpy(), 40 * 50, kept / fan_in)


def test_places_that_are_not_by_chance_are_seen() -> None:
    counts = np.full(10, 200.0)
    assert _spread_evenly(counts + [5, -5] * 5, 2000, 0.1)
    assert not _spread_evenly(counts + [80, -80] * 5, 2000, 0.1)


# Rows that are drawn together


def _length(n: int, m: int) -> float:
    return 0.7 * m ** (1 / n)


@pytest.mark.parametrize("fans", [(1, 1), (1, 5), (2, 9), (7, 300), (300, 7), (64, 64)], ids=_sides)
def test_rows_of_nguyen_widrow_have_one_length(fans: Fans) -> None:
    w = _matrices("nguyen_widrow", LayerShape(*fans), 20)
    np.testing.assert_allclose(np.linalg.norm(w, axis=2), _length(*fans), rtol=1e-6)


@pytest.mark.parametrize("n", [2, 7])
def test_directions_of_nguyen_widrow_are_those_of_a_cube(n: int) -> None:
    ours = _matrices("nguyen_widrow", LayerShape(n, 50), 1000)[:, :, 0] / _length(n, 50)
    u = np.random.default_rng(116).uniform(-1, 1, (50_000, n))
    assert _agree(ours, u[:, 0] / np.linalg.norm(u, axis=1))
    sphere = np.random.default_rng(117).standard_normal((50_000, n))
    assert not _agree(ours, sphere[:, 0] / np.linalg.norm(sphere, axis=1))


def test_randomized_asymmetric_has_one_beta_entry_per_unit() -> None:
    """With sd 0.6 / 200 no normal exceeds 0.05, and a Beta(2, 1) falls short of it with probability 0.05^2."""
    n, m = 40_000, 400
    weight, bias = scheme("randomized_asymmetric").draw(LayerShape(n, m), generator(0, "weights"))
    large = (weight > 0.05).sum(dim=1) + (bias > 0.05)
    assert int(large.max()) == 1
    missing = int((large == 0).sum())
    assert missing <= 0.0025 * m + 5 * math.sqrt(0.0025 * m)
    assert float(weight.min()) > -0.05


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_beta_entry_of_randomized_asymmetric_is_anywhere_among_weights_and_bias(n: int) -> None:
    bound, source = scheme("randomized_asymmetric"), generator(0, "units")
    weight, bias = bound.draw(LayerShape(n, 40_000), source)
    both = torch.cat((weight, bias[:, None]), dim=1).double().numpy()
    sd = 0.6 / math.sqrt(n)

    def cumulative(x: Array) -> Array:
        return (n * stats.norm(0, sd).cdf(x) + stats.beta(2, 1).cdf(x)) / (n + 1)

    for column in both.T:
        assert _follows(column, cumulative)
    # Of two entries one at least has mean 0, independently of the other: were each a mixture by itself, the mean of
    # the product would be (2 / 3)^2 / (n + 1)^2.
    products = both[:, 0] * both[:, -1]
    error = products.std() / math.sqrt(len(products))
    assert abs(products.mean()) < 5 * error < (2 / 3) ** 2 / (n + 1) ** 2


# Every record's law against its draws

OTHERS = [
    *("zeros", "constant", "constant(value=0.3)", "constant(value=-2)", "random_normal(stddev=0)"),
    *("orthogonal", "orthogonal(gain=1.5)", "orthogonal(gain=0)", "identity", "identity(gain=-0.7)", "zero_o"),
    *("idinit", "idinit(epsilon=0.3)", "looks_linear", "looks_linear(gain=1.4)", "randomized_asymmetric"),
    *("sparse", "sparse(sparsity=0.5, std=1)", "sparse(sparsity=0)", "sparse(sparsity=1)", "sparse_martens"),
    *("sparse_martens(connections=3)", "edge_of_chaos(sigma_b=0.3)", "nguyen_widrow", "lsuv"),
    *("lsuv(tolerance=0.01, rounds=2)", "variance_scaling", "custom(distribution=rademacher)"),
    *("custom(distribution=two_point)", "custom(distribution=two_point, share=0.5)"),
]
TEXTS = list(dict.fromkeys([*(scheme(case.text).text for case in CASES), *OTHERS]))
ACTIVATIONS = ["relu", "tanh", "sigmoid", "sine"]
UNKNOWN = {"lsuv"}
"""Schemes whose law depends on data."""


def test_every_record_is_drawn_here() -> None:
    assert {scheme(text).record.name for text in TEXTS} == set(INITIALIZERS)


def _places(text: str, *each: Fans) -> Iterator[tuple[LayerShape, Law]]:
    """Give the layers of a few sizes, at each place in a network, that have laws of their own, with those."""
    seen = []
    for fans in each:
        for layer in (1, 2, DEPTH + 1):
            for activation in ACTIVATIONS:
                shape = LayerShape(*fans, layer, DEPTH, activation)
                try:
                    law = scheme(text).law(shape)
                except Refused:
                    continue
                if (fans, law) not in seen:
                    seen.append((fans, law))
                    yield shape, law


def _agrees(asked: float, means: Array, rounding: float) -> bool:
    """Whether the means of a statistic of independent matrices lie within five standard errors of what is asked."""
    error = float(means.std(ddof=1)) / math.sqrt(len(means))
    return abs(float(means.mean()) - asked) <= 5 * error + rounding


@pytest.mark.parametrize("fans", [(64, 64), (7, 300), (300, 7), (1, 1)], ids=_sides)
@pytest.mark.parametrize("text", [text for text in TEXTS if scheme(text).record.name not in UNKNOWN])
def test_draws_have_the_moments_bounds_and_atoms_of_the_law(text: str, fans: Fans) -> None:
    """Entries of a matrix may depend on each other, matrices do not: errors are those of means over matrices."""
    count = max(50, min(4000, 200_000 // (fans[0] * fans[1])))
    for shape, law in _places(text, fans):
        w = _matrices(text, shape, count).reshape(count, -1)
        scale = law.standard_deviation
        rounding = 1e-6 * (scale + abs(law.mean))
        assert _agrees(law.mean, w.mean(axis=1), rounding)
        squares = (w - law.mean) ** 2
        assert _agrees(law.variance, squares.mean(axis=1), rounding * (scale + rounding))
        # The fourth moment of a Student t has a standard error, if any, that a sample does not show.
        if scale > 0 and not isinstance(law, laws.StudentT):
            assert _agrees(law.kurtosis, ((squares / law.variance) ** 2).mean(axis=1), 1e-4 * law.kurtosis)
        for value, probability in law.atoms:
            assert _agrees(probability, (w == np.float32(value)).mean(axis=1), 1e-12)
        assert _agrees(law.zero_fraction, (w == 0).mean(axis=1), 1e-12)
        # An orthogonal matrix is rounded as a whole, an atom to the nearest float32 number.
        slack = 1e-6 * max(abs(w).max(), 1e-30) if law.atoms or law.axes == 2 else 0.0
        assert law.minimum - slack <= w.min()
        assert w.max() <= law.maximum + slack


def test_places_with_laws_of_their_own_are_all_looked_at() -> None:
    found = {
        name: len(list(_places(name, (8, 6), (7, 5))))
        for name in ("he_normal", "siren", "sklearn_default", "kumar", "looks_linear", "random_walk", "custom")
    }
    # looks_linear: A is 3 x 8, 3 x 4 and 6 x 4; odd widths have no answer.
    expected = {"he_normal": 2, "siren": 4, "sklearn_default": 4, "kumar": 6, "looks_linear": 3, "random_walk": 4}
    assert found == expected | {"custom": 6}


@pytest.mark.parametrize("text", TEXTS)
def test_draws_follow_the_distribution_function_of_the_law(text: str) -> None:
    rule = scheme(text).rule
    for shape, law in _places(text, (8, 6), (6, 10)):
        if np.isnan(law.cumulative(np.zeros(1))).any() or law.standard_deviation <= 1e-5:
            continue  # not known, or rounded too coarsely
        is_free = rule.matrices is None and law.axes == 0
        matrices = _matrices(text, shape, 1000 if is_free else 4000, seed=1)
        sample = matrices.ravel() if is_free else _any_entry(matrices)
        atoms = np.array([value for value, _ in law.atoms])
        between = sample[~np.isin(sample, atoms.astype(np.float32))]
        below = [probability for _, probability in law.atoms]
        if abs(sum(below) - 1) < 1e-12:
            assert len(between) == 0
            continue

        def cumulative(x: Array, law: Law = law, atoms: Array = atoms, below: list[float] = below) -> Array:
            """Return the distribution function of what lies on no atom."""
            jumps = np.where(x[:, None] >= atoms, below, 0.0).sum(axis=1)
            return (law.cumulative(x) - jumps) / (1 - sum(below))

        assert _follows(between, cumulative)


# Formulas

_NUMBER = r"-?[0-9.]+(?:e[+-]?[0-9]+)?"
FUNCTIONS = {"sqrt": math.sqrt, "exp": math.exp, "log": math.log, "max": max, "min": min}


def _value(text: str, shape: LayerShape, **names: float) -> float:
    """Return the value of a formula's side such as `2 / (fan_in + fan_out)` or `0.7 fan_out^(1/fan_in)`."""
    text = text.replace("phi'(0)", "slope").replace("phi(0)", "value").replace("^", "**")
    text = re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", text)
    fans = {"fan_in": shape.fan_in, "fan_out": shape.fan_out, "layer": shape.layer, "depth": shape.depth}
    return float(eval(text, {"__builtins__": {}}, FUNCTIONS | fans | names))


STATED = {
    "variance": r"variance ((?:(?!, where|; biases| with g).)+)(?:, where.*|; biases.*)?$",
    "standard_deviation": r"real standard deviation (.+)$",
    "maximum": r"uniform between -/\+ ((?!sqrt\(3\) standard|it$)(?:(?!, in the|; biases).)+)",
}
"""What formulas state of a law, and where; several sides joined by =."""
SAYS_NO_VARIANCE = {
    "zeros",
    "constant",
    "random_uniform",
    "playground_default",
    "identity",
    "zero_o",
    "idinit",
    "sparse",
}
SAYS_NO_VARIANCE |= {"lsuv", "random_walk", "randomized_asymmetric"}
"""Held to their numbers one by one."""


def _names(shape: LayerShape, text: str) -> dict[str, float]:
    zero = np.zeros(1)
    names = {"slope": float(shape.phi.slopes(zero)[0]), "value": float(shape.phi.values(zero)[0])}
    names |= {"omega": scheme(text).values.get("omega", 0.0), "gain": theory.gain(shape.phi, "forward")}
    if text.startswith("edge_of_chaos"):
        names["sigma_w"] = theory.edge_of_chaos(shape.phi, scheme(text).values["sigma_b"])
    return names


@pytest.mark.parametrize("text", [text for text in TEXTS if scheme(text).record.name not in SAYS_NO_VARIANCE])
def test_every_side_of_a_formula_has_the_value_of_the_law(text: str) -> None:
    for shape, law in _places(text, (64, 32), (6, 300)):
        formula = scheme(text).formula(shape).text
        found = {what: re.search(pattern, formula) for what, pattern in STATED.items()}
        stated = {what: match[1].split(" = ") for what, match in found.items() if match}
        assert stated, formula
        for what, sides in stated.items():
            values = [_value(side, shape, **_names(shape, text)) for side in sides]
            assert values == pytest.approx([getattr(law, what)] * len(values), rel=1e-4), formula
        if "variance" in stated:
            assert ("cut" in formula) == isinstance(law, laws.TruncatedNormal)
            assert ("uniform" in formula) == isinstance(law, laws.Uniform | laws.CubeDirection)


def _numbers(formula: str, pattern: str) -> list[float]:
    match = re.search(pattern.replace("NUMBER", f"({_NUMBER})"), formula)
    assert match, formula
    return [float(number) for number in match.groups()]


def test_formulas_without_a_variance_state_what_is_drawn() -> None:
    for fans in ((64, 32), (6, 300)):
        shape = LayerShape(*fans, 2, DEPTH, "tanh")

        def said(text: str, pattern: str, shape: LayerShape = shape) -> list[float]:
            return _numbers(scheme(text).formula(shape).text, pattern)

        def drawn(text: str, shape: LayerShape = shape) -> Array:
            return _drawn(text, shape)

        assert said("zeros", "every weight is NUMBER$") == [0]
        assert said("constant(value=-0.3)", "every weight is NUMBER$") == [-0.3]
        assert said("random_uniform(minval=-0.3, maxval=0.1)", "between NUMBER and NUMBER$") == [-0.3, 0.1]
        assert said("playground_default", "between NUMBER and NUMBER, biases NUMBER$") == [-0.5, 0.5, 0.1]
        on_diagonal, of = said("identity(gain=0.5)", "^0.5 on the diagonal, 0 elsewhere: NUMBER of NUMBER weights$")
        assert (on_diagonal, of) == ((drawn("identity(gain=0.5)") == 0.5).sum(), fans[0] * fans[1])
        epsilon, side = said("idinit(epsilon=0.25)", r"1 \+ N\(0, NUMBER\^2\) where .* modulo NUMBER, 0 elsewhere$")
        assert (epsilon, side) == (0.25, min(fans))
        std, zeros, of, share = said(
            "sparse(sparsity=0.3, std=2)",
            r"deviation NUMBER; in each column NUMBER of NUMBER weights, ceil\(NUMBER \* fan_out\), are 0$",
        )
        assert (std, of, share) == (2, fans[1], 0.3)
        assert set((drawn("sparse(sparsity=0.3, std=2)") == 0).sum(axis=0).tolist()) == {zeros}
        tolerance, rounds = said("lsuv(tolerance=0.2, rounds=3)", "within NUMBER of 1, at most NUMBER times$")
        assert (tolerance, rounds) == (0.2, 3)
        [over, fan, value] = said("randomized_asymmetric", "0.36 / fan_in = NUMBER / NUMBER = NUMBER$")
        assert (over, fan) == (0.36, fans[0])
        assert value == pytest.approx(0.36 / fans[0], rel=1e-4)
        for activation in ("relu", "tanh"):
            placed = LayerShape(*fans, 2, DEPTH, activation)
            text = scheme("random_walk").formula(placed).text
            symbols, gain, filled, value = re.fullmatch(
                r"normal, mean 0, variance g\^2 / fan_in with g = (.+) = (.+): (.+) = (.+)", text
            ).groups()  # type: ignore[union-attr]
            assert _value(symbols, placed) == pytest.approx(float(gain), rel=1e-4)
            for side in (f"{gain}^2 / fan_in", filled, value):
                assert _value(side, placed) == pytest.approx(scheme("random_walk").law(placed).variance, rel=2e-4)
    assert "1 on the diagonal" in scheme("zero_o").formula(LayerShape(64, 32)).text
    rows, columns, side, value = _numbers(
        scheme("zero_o").formula(LayerShape(6, 300)).text,
        "first NUMBER rows and NUMBER columns of a Hadamard matrix of side NUMBER, .* weight is -/\\+ NUMBER,",
    )
    assert (rows, columns, side) == (300, 6, 512)
    assert np.abs(_drawn("zero_o", LayerShape(6, 300))) == pytest.approx(value, rel=1e-4)


LATEX_SAYS: Mapping[str, tuple[str, str]] = {
    "truncated_normal": (r"\\sigma = ", "standard_deviation"),
    "trunc_normal": (r"\\sigma = ", "standard_deviation"),
    "sklearn_default": (r"c = ", "maximum"),
    "siren": (r"c = ", "maximum"),
    "nguyen_widrow": (r"\\beta = ", "maximum"),
}
"""What the last equation of a formula in LaTeX is about; of all others, the variance."""


def _plain(latex: str) -> str:
    """Return a side in LaTeX whose numbers are put in as one that `_value` reads."""
    text = re.sub(r"\\times 10\^\{(-?\d+)\}", r"* 10^(\1)", latex)
    for _ in range(2):  # one may stand in the other
        text = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", text)
        text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1) / (\2))", text)
    return text.replace(r"\times", "*").replace("{", "(").replace("}", ")").strip()


@pytest.mark.parametrize("text", TEXTS)
def test_latex_is_whole_and_ends_with_the_value_of_the_law(text: str) -> None:
    for shape, law in _places(text, (64, 32), (6, 300)):
        latex = scheme(text).formula(shape).latex
        assert latex.count("{") == latex.count("}")
        assert not re.search(r"\bnan\b|\binf\b|(?<!\\)fan_", latex)
        what, quantity = LATEX_SAYS.get(scheme(text).record.name, (r"\\sigma\^2 = ", "variance"))
        if scheme(text).record.name in {"zeros", "constant", *UNKNOWN} or (
            scheme(text).record.name in SAYS_NO_VARIANCE and "sigma^2 = " not in latex
        ):
            continue
        said = re.split(what, latex)[-1].split(r",\ \sigma_b")[0]
        sides = [_plain(side) for side in said.split(" = ")]
        values = [_value(side, shape) for side in sides if "n_" not in side and "omega" not in side]
        assert values == pytest.approx([getattr(law, quantity)] * len(values), rel=2e-4), latex


# The same numbers for ever, everywhere

_HASHES = """
import hashlib, json, sys
from winit.initializers import LayerShape, scheme
from winit.seeds import generator

def digest(text, fan_in, fan_out):
    parts = scheme(text).draw(LayerShape(fan_in, fan_out, 2, 3, "tanh"), generator(7, "weights", 2))
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()
"""
_IN_ANOTHER_PROCESS = "json.dump([digest(*case) for case in json.load(sys.stdin)], sys.stdout)"


def test_another_process_draws_the_same_bits() -> None:
    cases = [(text, *fans) for text in TEXTS for fans in ((64, 64), (6, 300), (300, 6))]
    here: dict[str, Any] = {}
    exec(_HASHES, here)
    ours = [here["digest"](*case) for case in cases]
    # In reverse, so that nothing may depend on what was drawn before, and with one thread, whatever this process has,
    # as the last bits of a QR decomposition depend on their number.
    result = subprocess.run(
        [sys.executable, "-c", _HASHES + _IN_ANOTHER_PROCESS],
        input=json.dumps(cases[::-1]),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    theirs = json.loads(result.stdout)[::-1]
    assert [case for case, a, b in zip(cases, ours, theirs, strict=True) if a != b] == []
    different = [digest for (text, n, m), digest in zip(cases, ours, strict=True) if n != m and "(scale=1.7" in text]
    assert len(set(different)) == len(different) > 10


def test_members_of_an_ensemble_draw_what_they_draw_alone() -> None:
    spec = Spec(depth=3, width=16, activation="tanh", dataset="digits")
    members = [Member(text, seed, 0.1) for text in TEXTS for seed in (0, 2**31 - 1)]
    together = initialize(spec, members)
    for number, member in enumerate(members):
        alone = initialize(spec, [member])
        for shape, *layers in zip(
            spec.layer_shapes(), together.weights, together.biases, alone.weights, alone.biases, strict=True
        ):
            weights, biases, lone_weights, lone_biases = layers
            assert torch.equal(weights[number], lone_weights[0])
            assert torch.equal(biases[number], lone_biases[0])
            bound = scheme(member.initializer)
            if not bound.is_data_dependent:
                weight, bias = bound.draw(shape, generator(member.seed, "weights", shape.layer))
                assert torch.equal(weights[number], weight)
                assert torch.equal(biases[number, :, 0], bias)
                one = bound.weights(shape, generator(member.seed, "weights", shape.layer))
                assert torch.equal(one[0], weight)


GOLDEN = ROOT / "tests" / "golden" / "initializers.json"
GOLDEN_LAYER = LayerShape(24, 16, 2, DEPTH, "tanh")


def _golden(text: str) -> dict[str, list[float]]:
    """Return the first 16 weights of a layer, its first four biases, and the four moments of its weights."""
    weight, bias = scheme(text).draw(GOLDEN_LAYER, generator(0, "weights", GOLDEN_LAYER.layer))
    w = weight.double().numpy().ravel()
    scale = w.std()
    z = (w - w.mean()) / scale if scale > 0 else np.zeros_like(w)
    numbers = {
        "weights": w[:16],
        "biases": bias.double().numpy()[:4],
        "mean, standard deviation": np.array([w.mean(), scale]),
        "skewness, kurtosis": np.array([np.mean(z**3), np.mean(z**4)]),
    }
    return {name: [float(f"{value:.9g}") for value in values] for name, values in numbers.items()}


def _is_golden(found: Mapping[str, list[float]], golden: Mapping[str, list[float]]) -> bool:
    """Whether numbers agree to a relative error of 1e-5; what cancels, to 1e-5 of the largest of its kind.

    Processors differ in the last bits of normals and of a QR decomposition: float32 leaves 1e-7 of the largest.
    """
    return found.keys() == golden.keys() and all(
        np.allclose(found[name], golden[name], rtol=1e-5, atol=1e-5 * max(map(abs, golden[name]), default=0.0))
        for name in golden
    )


@lru_cache(maxsize=1)
def _kept() -> dict[str, dict[str, list[float]]]:
    kept: dict[str, dict[str, list[float]]] = json.loads(GOLDEN.read_text())
    return kept


def test_the_golden_file_is_of_the_schemes_of_today() -> None:
    assert list(_kept()) == TEXTS, "python -m tests.test_exactness --write"


@pytest.mark.parametrize("text", TEXTS)
def test_draws_are_those_they_have_always_been(text: str) -> None:
    assert _is_golden(_golden(text), _kept()[text])


def test_other_numbers_are_seen() -> None:
    golden = _golden("he_normal")
    for name, values in golden.items():
        for place, value in enumerate(values):
            changed = [*values[:place], value + 3e-5 * max(1e-3, *map(abs, values)), *values[place + 1 :]]
            assert not _is_golden(golden | {name: changed}, golden)
    assert _is_golden({name: [value * (1 + 1e-6) for value in values] for name, values in golden.items()}, golden)


def _write() -> None:
    old = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    new = {text: _golden(text) for text in TEXTS}
    new |= {text: old[text] for text, found in new.items() if text in old and _is_golden(found, old[text])}
    entries = ",\n".join(f" {json.dumps(text)}: {json.dumps(entry)}" for text, entry in new.items())
    GOLDEN.write_text(f"{{\n{entries}\n}}\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.test_exactness --write")
    _write()
