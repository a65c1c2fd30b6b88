"""Gaussian averages, gains and the edge of chaos against closed forms, scipy, simulation and torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import integrate

from winit import theory
from winit.activations import ACTIVATIONS, Activation, activation
from winit.fields import Refused
from winit.theory import (
    TORCH_GAINS,
    edge_of_chaos,
    gain,
    gaussian_mean,
    second_moment,
    second_moment_of_slope,
    torch_gain,
)
from winit.theory.rules import TERMS, rule

Array = NDArray[np.float64]

OTHERS = ["leaky_relu(slope=0.2)", "leaky_relu(slope=-1)", "prelu(start=3)", "elu(alpha=0)", "elu(alpha=2)"]
OTHERS += ["elu(alpha=100)", "celu(alpha=0.1)", "celu(alpha=0.001)", "celu(alpha=100)", "scaled_tanh(a=1, b=100)"]
OTHERS += ["sine(omega=1)", "sine(omega=100)"]
TEXTS = [*ACTIVATIONS, *OTHERS]
EACH = pytest.mark.parametrize("text", TEXTS)
SCALES = [1e-8, 1e-3, 1.0, 30.0, 1e4]


def _cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


# Gaussian means


@pytest.mark.parametrize(
    ("f", "kinks", "mean"),
    [
        (np.ones_like, (), 1.0),
        (lambda z: z, (), 0.0),
        (lambda z: z**2, (), 1.0),
        (lambda z: z**8, (), 105.0),
        (np.abs, (), math.sqrt(2 / math.pi)),
        (lambda z: np.abs(z - 1.7), (1.7,), 1.7 * (2 * _cdf(1.7) - 1) + 2 * _density(1.7)),
        (lambda z: (z > 2.3) * 1.0, (2.3,), 1 - _cdf(2.3)),
        (lambda z: (np.abs(z) < 0.25) * 1.0, (-0.25, 0.25), 2 * _cdf(0.25) - 1),
        (np.cos, (), math.exp(-0.5)),
        (lambda z: np.cos(100 * z) ** 2, (), 0.5),
        (lambda z: np.exp(-((300 * z) ** 2)), (), 1 / math.sqrt(1 + 2 * 300**2)),
        (np.exp, (), math.exp(0.5)),
        (np.zeros_like, (), 0.0),
    ],
)
def test_gaussian_mean(f: Callable[[Array], Array], kinks: tuple[float, ...], mean: float) -> None:
    assert gaussian_mean(f, kinks) == pytest.approx(mean, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("q", [1e-300, *SCALES, 1e8])
def test_kinks_move_with_the_scale(q: float) -> None:
    kink = 0.75
    expected = 1 - _cdf(kink / math.sqrt(q))
    assert gaussian_mean(lambda x: np.heaviside(x - kink, 0.0), (kink,), q) == pytest.approx(
        expected, rel=1e-12, abs=1e-20
    )


def test_at_scale_0_the_mean_is_the_value_at_0() -> None:
    assert gaussian_mean(np.cos, (0.0, 1.0), 0.0) == pytest.approx(1.0, rel=1e-14)


def test_a_negative_second_moment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"domain|nonnegative"):
        gaussian_mean(np.cos, (), -1.0)


def test_not_a_number_is_carried_on() -> None:
    assert math.isnan(gaussian_mean(lambda z: np.sqrt(z, where=z > 0, out=np.full_like(z, np.nan))))


# Second moments


def _relu_like(slope: float) -> tuple[Callable[[float], float], Callable[[float], float]]:
    return lambda q: q * (1 + slope**2) / 2, lambda q: (1 + slope**2) / 2


def _hardtanh(q: float) -> float:
    k = 1 / math.sqrt(q)
    middle = math.erf(k / math.sqrt(2))
    if k < 1e-2:  # the difference below cancels
        return q * 2 * _density(0) * k**3 * (1 / 3 - k**2 / 10 + k**4 / 56) + 1 - middle
    return q * (middle - 2 * k * _density(k)) + 1 - middle


CLOSED_FORMS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "identity": (lambda q: q, lambda q: 1.0),
    "relu": _relu_like(0.0),
    "leaky_relu": _relu_like(0.01),
    "leaky_relu(slope=0.2)": _relu_like(0.2),
    "leaky_relu(slope=-1)": _relu_like(-1.0),
    "leaky_relu(slope=-10)": _relu_like(-10.0),
    "prelu": _relu_like(0.25),
    "prelu(start=3)": _relu_like(3.0),
    "elu(alpha=0)": _relu_like(0.0),
    "hardtanh": (_hardtanh, lambda q: math.erf(1 / math.sqrt(2 * q))),
    "hardsigmoid": (lambda q: (1 + _hardtanh(q / 9)) / 4, lambda q: math.erf(3 / math.sqrt(2 * q)) / 36),
    "erf": (
        lambda q: 2 / math.pi * math.asin(2 * q / (1 + 2 * q)),
        lambda q: 4 / math.pi / math.sqrt(1 + 4 * q),
    ),
} | {
    f"sine(omega={omega:g})": (
        lambda q, w=omega: -math.expm1(-2 * w * w * q) / 2,
        lambda q, w=omega: w * w * (1 + math.exp(-2 * w * w * q)) / 2,
    )
    for omega in (0.001, 0.5, 1.0, 7.0, 30.0, 100.0)
}


@pytest.mark.parametrize("text", list(CLOSED_FORMS))
@pytest.mark.parametrize("q", SCALES)
def test_second_moments_have_these_closed_forms(text: str, q: float) -> None:
    value, slope = CLOSED_FORMS[text]
    assert second_moment(activation(text), q) == pytest.approx(value(q), rel=1e-10)
    assert second_moment_of_slope(activation(text), q) == pytest.approx(slope(q), rel=1e-10)


def _by_scipy(f: Callable[[Array], Array], kinks: tuple[float, ...], q: float) -> float:
    """Return E f(sqrt(q) z)^2 piece by piece; the ends follow the kinks and the width of a bend at 0."""
    scale = math.sqrt(q)
    bends = {sign * width / scale for sign in (-1, 1) for width in 10.0 ** np.arange(-7, 5)}
    ends = sorted({-10.0, 10.0, 0.0, -3.0, 3.0} | {e for e in bends | {k / scale for k in kinks} if abs(e) < 10})
    return math.fsum(
        integrate.quad(
            lambda z: float(f(np.array(scale * z))) ** 2 * _density(z), low, high, epsabs=0, epsrel=1e-11, limit=200
        )[0]
        for low, high in pairwise(ends)
        if _density(min(abs(low), abs(high))) > 1e-18
    )


@pytest.mark.parametrize("text", [text for text in TEXTS if not text.startswith("sine")])
@pytest.mark.parametrize("q", [1e-8, 0.3, 1.0, 1e4])
@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
def test_second_moments_are_those_of_scipy(text: str, q: float) -> None:
    phi = activation(text)
    assert second_moment(phi, q) == pytest.approx(_by_scipy(phi.values, phi.kinks, q), rel=1e-10)
    assert second_moment_of_slope(phi, q) == pytest.approx(_by_scipy(phi.slopes, phi.kinks, q), rel=1e-10)


@EACH
@pytest.mark.parametrize("q", [0.1, 1.0, 25.0])
def test_second_moments_are_those_of_a_simulation(text: str, q: float) -> None:
    phi = activation(text)
    x = math.sqrt(q) * np.random.default_rng(TEXTS.index(text)).normal(size=400_000)
    for found, moment in ((phi.values(x) ** 2, second_moment), (phi.slopes(x) ** 2, second_moment_of_slope)):
        error = found.std() / math.sqrt(found.size)
        assert moment(phi, q) == pytest.approx(found.mean(), rel=1e-12, abs=5 * error)


# Rules that are laid out beforehand

WIDE = [1e-12, 1e-8, 1e-4, 0.1, 0.5, 1.0, 3.0, 10.0, 37.0, 300.0, 1e4, 1e6, 1e9, 1e12]


@EACH
def test_rules_agree_with_pieces_that_are_halved_until_they_agree(text: str) -> None:
    """`gaussian_mean` searches for its nodes; waves are left out where it would search for long."""
    phi = activation(text)
    for q in WIDE:
        if phi.frequency**2 * q > 1e4:
            continue
        for f, found in ((phi.values, second_moment(phi, q)), (phi.slopes, second_moment_of_slope(phi, q))):
            assert found == pytest.approx(gaussian_mean(lambda x, f=f: f(x) ** 2, phi.kinks, q), rel=1e-12)


@EACH
def test_a_rule_serves_fourth_powers_too(text: str) -> None:
    phi = activation(text)
    q = np.array([q for q in WIDE if phi.frequency**2 * q < 50])
    found = rule(phi, q)
    values, slopes = phi.values_and_slopes(np.sqrt(q)[:, None] * found.z)
    for number, each in enumerate(q.tolist()):
        for f, kept in ((phi.values, values), (phi.slopes, slopes)):
            mean = float(np.vecdot(kept**4, found.weights)[number])
            assert mean == pytest.approx(gaussian_mean(lambda x, f=f: f(x) ** 4, phi.kinks, each), rel=1e-10)


@EACH
def test_a_rule_knows_the_moments_of_a_normal_law(text: str) -> None:
    found = rule(activation(text), np.array([0.3, 0.4]))
    for power, moment in ((0, 1), (1, 0), (2, 1), (3, 0), (4, 3), (8, 105)):
        np.testing.assert_allclose(np.vecdot(found.z**power, found.weights), moment, rtol=3e-15, atol=1e-15)
    # The generating function: E He_k(z) exp(i z) = i^k exp(-1 / 2).
    k = np.arange(TERMS)
    expected = np.exp(-1 / 2 - np.array([math.lgamma(each + 1) / 2 for each in k])) * np.array([1, 1, -1, -1])[k % 4]
    series = ((np.cos(found.z) + np.sin(found.z))[:, None] @ found.hermite)[:, 0]
    np.testing.assert_allclose(series, np.broadcast_to(expected, series.shape), atol=1e-11)


@EACH
def test_a_record_says_on_what_length_its_function_bends(text: str) -> None:
    """Polynomials of degree 2 between kinks where it says infinity; else a change of slope within ten widths of 0."""
    phi = activation(text)
    if math.isinf(phi.width):
        ends = np.array([-20.0, *phi.kinks, 20.0])
        for low, high in pairwise(ends):
            bends = np.diff(phi.values(np.linspace(low, high, 9)[1:-1]), 3)
            np.testing.assert_allclose(bends, 0, atol=1e-10)
    else:
        slopes = phi.slopes(phi.width * np.array([-10.0, -0.3, 0.3, 10.0]))
        assert np.ptp(slopes) > 0.1 * np.abs(slopes).max()
        assert phi.frequency in (0.0, 1 / phi.width)


TABLE = [
    ("relu", 0.5, 0.5, 1.41421, 1.41421),
    ("tanh", 0.394294, 0.464403, 1.59254, 1.46741),
    ("sigmoid", 0.293379, 0.044836, 1.84623, 4.72265),
    ("selu", 1.0, 1.071575, 1.0, 0.96603),
    ("elu", 0.644945, 0.668102, 1.24520, 1.22343),
    ("gelu", 0.425221, 0.455851, 1.53353, 1.48111),
    ("silu", 0.355776, 0.379482, 1.67653, 1.62332),
]
"""DESIGN.md section 6."""


@pytest.mark.parametrize(("text", "square", "slope", "forward", "backward"), TABLE)
def test_the_reference_numbers(text: str, square: float, slope: float, forward: float, backward: float) -> None:
    phi = activation(text)
    assert round(second_moment(phi), 6) == square
    assert round(second_moment_of_slope(phi), 6) == slope
    assert round(gain(phi, "forward"), 5) == forward
    assert round(gain(phi, "backward"), 5) == backward


# Gains


@EACH
def test_a_gain_keeps_its_moment(text: str) -> None:
    phi = activation(text)
    assert gain(phi, "forward") ** 2 * second_moment(phi) == pytest.approx(1, rel=1e-14)
    assert gain(phi, "backward") ** 2 * second_moment_of_slope(phi) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 1.0, -3.0])
def test_both_gains_of_a_leaky_relu_are_he(slope: float) -> None:
    phi = activation(f"leaky_relu(slope={slope})")
    for direction in ("forward", "backward"):
        assert gain(phi, direction) == pytest.approx(math.sqrt(2 / (1 + slope**2)), rel=1e-13)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_where_the_signal_is_0_no_gain_keeps_it(direction: Literal["forward", "backward"]) -> None:
    flat = Activation(
        formula="0",
        forward=lambda z, out: out.zero_(),
        backward=lambda grad, z, a, out: out.zero_(),
        text="flat",
        label="flat",
        source="",
    )
    with pytest.raises(Refused, match=f"no gain keeps the {direction} signal of flat"):
        gain(flat, direction)


@EACH
def test_torch_gain_is_that_of_torch(text: str) -> None:
    bound = ACTIVATIONS.read(text)
    name = "linear" if bound.record.name == "identity" else bound.record.name
    try:
        expected = float(torch.nn.init.calculate_gain(name, bound.values.get("slope")))  # type: ignore[arg-type]
    except ValueError:
        assert torch_gain(activation(text)) is None
    else:
        assert torch_gain(activation(text)) == expected


def test_the_table_of_torch_gains_is_complete() -> None:
    assert list(TORCH_GAINS) == ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
    for name, value in TORCH_GAINS.items():
        for slope in (0.0, 0.01, 2.0):
            assert value(slope) == torch.nn.init.calculate_gain(name, slope)  # type: ignore[arg-type]


def test_theory_knows_no_torch() -> None:
    assert not hasattr(theory, "torch")


# The edge of chaos


@pytest.mark.parametrize(
    ("text", "sigma_b", "sigma_w"),
    [
        ("tanh", math.sqrt(0.05), math.sqrt(1.76095)),
        ("tanh", 0, 1),
        ("relu", 0, math.sqrt(2)),
        ("sigmoid", 0, 10.149),
    ],
)
def test_the_edge_of_chaos_is_at_the_reference_numbers(text: str, sigma_b: float, sigma_w: float) -> None:
    assert edge_of_chaos(activation(text), sigma_b) == pytest.approx(sigma_w, rel=3e-5 if text == "sigmoid" else 3e-6)


SLOPES_AT_0: dict[str, float] = {
    "identity": 1,
    "tanh": 1,
    "hardtanh": 1,
    "softsign": 1,
    "elu": 1,
    "celu": 1,
    "celu(alpha=0.001)": 1,
}
SLOPES_AT_0 |= {"gelu": 1 / 2, "silu": 1 / 2, "hardswish": 1 / 2, "mish": 3 / 5, "scaled_tanh": 1.7159 * 2 / 3}
SLOPES_AT_0 |= {"erf": 2 / math.sqrt(math.pi), "sine": 30, "sine(omega=100)": 100, "relu": math.sqrt(1 / 2)}
SLOPES_AT_0 |= {"relu6": math.sqrt(1 / 2), "leaky_relu(slope=-1)": 1, "elu(alpha=2)": math.sqrt(5 / 2)}


@pytest.mark.parametrize("text", list(SLOPES_AT_0))
def test_without_biases_the_edge_is_where_a_signal_that_vanishes_is_kept(text: str) -> None:
    phi = activation(text)
    assert phi.values(0.0) == 0
    assert edge_of_chaos(phi, 0) == pytest.approx(1 / SLOPES_AT_0[text], rel=1e-14)
    assert edge_of_chaos(phi, 0) == pytest.approx(second_moment_of_slope(phi, 1e-26) ** -0.5, rel=1e-5)


SCALING = ["identity", "relu", "leaky_relu", "prelu", "leaky_relu(slope=-1)", "elu(alpha=0)", "prelu(start=1)"]
BENT = [text for text in TEXTS if text not in [*SCALING, "softplus", "prelu(start=3)", "leaky_relu(slope=0.2)"]]


@pytest.mark.parametrize("text", BENT)
@pytest.mark.parametrize("sigma_b", [1e-3, 0.05**0.5, 1.0, 10.0])
def test_on_the_edge_the_fixed_point_has_chi_1(text: str, sigma_b: float) -> None:
    """Found apart from the code: q where chi_1 = 1 by bisection, then the map of the second moment at that q."""
    phi = activation(text)
    variance = edge_of_chaos(phi, sigma_b) ** 2

    low, high = sigma_b**2, 1e13
    if text.startswith("sine"):
        high = sigma_b**2 + 1  # q = sigma_b^2 + tanh(omega^2 q) / omega^2
    for _ in range(100):
        middle = math.sqrt(low * high)
        ratio = second_moment(phi, middle) / second_moment_of_slope(phi, middle)
        low, high = (middle, high) if sigma_b**2 + ratio > middle else (low, middle)
    assert variance * second_moment_of_slope(phi, low) == pytest.approx(1, rel=1e-9)
    assert variance * second_moment(phi, low) + sigma_b**2 == pytest.approx(low, rel=1e-9)


@pytest.mark.parametrize("text", ["tanh", "erf", "sigmoid", "hardtanh", "softsign", "scaled_tanh", "hardsigmoid"])
@pytest.mark.parametrize("sigma_b", [0.5, 1.0, 3.0])
def test_on_the_edge_layers_settle_where_gradients_are_kept(text: str, sigma_b: float) -> None:
    """The map of the second moment from layer to layer, from any start, for functions that saturate."""
    phi = activation(text)
    variance = edge_of_chaos(phi, sigma_b) ** 2
    for start in (1e-3, 1.0, 1e3):
        q = start
        for _ in range(2000):
            last, q = q, variance * second_moment(phi, q) + sigma_b**2
            if abs(q - last) < 1e-14 * q:
                break
        assert variance * second_moment_of_slope(phi, q) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("text", ["gelu", "silu", "mish", "hardswish"])
def test_layers_may_move_away_from_the_fixed_point_on_the_edge(text: str) -> None:
    phi, q = activation(text), 0.0
    variance = edge_of_chaos(phi, 0.1) ** 2
    for _ in range(500):
        q = 0.1**2 + second_moment(phi, q) / second_moment_of_slope(phi, q)
    growth = variance * (second_moment(phi, 1.001 * q) - second_moment(phi, 0.999 * q)) / (0.002 * q)
    assert growth > 1.01


@pytest.mark.parametrize("text", ["tanh", "gelu", "silu", "elu", "selu", "sigmoid", "sine(omega=1)"])
def test_the_edge_is_that_of_hayou_algorithm_1(text: str) -> None:
    phi = activation(text)
    q = 0.0
    for _ in range(500):
        last, q = q, 0.3**2 + second_moment(phi, q) / second_moment_of_slope(phi, q)
        if abs(q - last) < 1e-14 * q:
            break
    assert edge_of_chaos(phi, 0.3) == pytest.approx(second_moment_of_slope(phi, q) ** -0.5, rel=1e-9)


@pytest.mark.parametrize("text", [text for text in TEXTS if not text.startswith("sine")])
def test_the_curve_of_fixed_points_falls_below_the_diagonal_once_at_most(text: str) -> None:
    """So the first root that is found is the smallest; for sine the curve is tanh(omega^2 q) / omega^2."""
    phi = activation(text)
    above = [
        second_moment(phi, q) / second_moment_of_slope(phi, q) / q - 1 for q in np.geomspace(1e-8, 1e8, 129).tolist()
    ]
    signs = [sign for sign in np.sign(np.where(np.abs(above) < 1e-12, 0, above)) if sign]
    assert signs == sorted(signs, reverse=True)
    if phi.values(0.0) == 0:
        assert 1 not in signs


@pytest.mark.parametrize(
    "text", [text for text in BENT if text not in ("celu(alpha=0.001)", "scaled_tanh(a=1, b=100)")]
)
def test_the_edge_is_continuous_where_biases_vanish(text: str) -> None:
    assert edge_of_chaos(activation(text), 1e-9) == pytest.approx(edge_of_chaos(activation(text), 0), rel=1e-3)
    for sigma_b in (1e-200, 1e-160):
        assert edge_of_chaos(activation(text), sigma_b) == pytest.approx(edge_of_chaos(activation(text), 0), rel=1e-9)


@EACH
def test_the_edge_takes_few_quadratures(text: str) -> None:
    phi = activation(text)
    for sigma_b in (0.0, 0.01, 0.2236, 1.0):
        second_moment.cache_clear()
        try:
            edge_of_chaos.__wrapped__(phi, sigma_b)
        except Refused:
            continue
        assert second_moment.cache_info().misses <= 40


@pytest.mark.parametrize("text", SCALING)
def test_a_function_that_scales_has_one_point_only(text: str) -> None:
    phi = activation(text)
    point = gain(phi, "backward")
    assert edge_of_chaos(phi, 0) == pytest.approx(point, rel=1e-12)
    for sigma_b in (1e-10, 0.1, 100.0):
        with pytest.raises(Refused) as caught:
            edge_of_chaos(phi, sigma_b)
        expected = (
            f"sigma_b 0: for {phi.label} the edge of chaos is the single point sigma_w = {point:.4g}, sigma_b = 0"
        )
        assert caught.value.allowed == expected


@pytest.mark.parametrize(
    ("text", "sigma_b", "message"),
    [
        ("relu", 0.2, "for ReLU the edge of chaos is the single point sigma_w = 1.414, sigma_b = 0"),
        ("softplus", 0.0, "for softplus at sigma_b = 0 there is no edge of chaos"),
        ("softplus", 0.5, "for softplus at sigma_b = 0.5 there is no edge of chaos"),
        ("tanh", -0.1, "for sigma_b a number from 0 to 100, not '-0.1'"),
        ("tanh", 101.0, "for sigma_b a number from 0 to 100, not '101.0'"),
        ("tanh", math.nan, "for sigma_b a number from 0 to 100, not 'nan'"),
        ("relu", math.inf, "for sigma_b a number from 0 to 100, not 'inf'"),
    ],
)
def test_where_there_is_no_edge_the_reason_is_given(text: str, sigma_b: float, message: str) -> None:
    with pytest.raises(Refused) as caught:
        edge_of_chaos(activation(text), sigma_b)
    assert message in caught.value.allowed
