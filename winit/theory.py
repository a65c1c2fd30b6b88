"""Mean-field theory: Gaussian averages of an activation, the gains that follow, and the edge of chaos.

In a wide network the pre-activations of a layer are Gaussian with mean 0; q is their second moment. With
weights of variance sigma_w^2 / fan_in and biases of variance sigma_b^2 the next layer has
q' = sigma_w^2 E phi(sqrt(q) z)^2 + sigma_b^2, and gradients grow per layer by
chi_1 = sigma_w^2 E phi'(sqrt(q) z)^2, where z ~ N(0, 1) (Poole et al. 2016, arXiv:1606.05340, eq. 3 to 5;
Schoenholz et al. 2017, arXiv:1611.01232, eq. 5 to 7).

>>> from winit.activations import activation
>>> round(second_moment(activation("tanh")), 6)
0.394294
>>> round(gain(activation("relu"), "forward"), 5)
1.41421
>>> round(edge_of_chaos(activation("tanh"), 0.05**0.5) ** 2, 5)
1.76095
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from winit.activations import ACTIVATIONS, Activation
from winit.fields import Real, Refused, shown

Array = NDArray[np.float64]

_CUT = 10.0  # the Gaussian density is 8e-23 there
# Pieces shrink by the factor 4 towards 0, down to 6e-13. However steep a function is at 0 (tanh at large q, CELU of
# small alpha), its poles then lie a third of a piece's length away or farther, and 16 nodes are off by 3^-32.
_GRADED = _CUT * 4.0 ** -np.arange(23)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_TOLERANCE = 1e-13
_HALVINGS = 20


def gaussian_mean(f: Callable[[Array], Array], kinks: Sequence[float] = (), q: float = 1.0) -> float:
    """Return E f(sqrt(q) z) for z ~ N(0, 1), with a relative error near 1e-13 of E |f|.

    Gauss-Legendre quadrature on pieces that end at the kinks; a piece that disagrees with its two halves is
    replaced by them, which resolves oscillation. `f` works elementwise on arrays of shape (pieces, nodes); it is
    smooth between `kinks`, the arguments where it or a derivative jumps, and steep, if anywhere, at 0.
    Raises `ValueError` for q < 0.
    """
    scale = math.sqrt(q)
    inner = [kink / scale for kink in kinks if abs(kink) < _CUT * scale]
    edges = np.unique(np.concatenate([-_GRADED, [0.0], _GRADED, inner]))

    def integrals(low: Array, high: Array) -> Array:
        half = (high - low) / 2
        z = (low + half)[:, None] + half[:, None] * _NODES
        values: Array = half * ((f(scale * z) * np.exp(-z * z / 2)) @ _WEIGHTS)
        return values

    low, high = edges[:-1], edges[1:]
    whole = integrals(low, high)
    tolerance = _TOLERANCE * np.abs(whole).sum()
    total = 0.0
    for _ in range(_HALVINGS):
        if not low.size:
            break
        middle = (low + high) / 2
        left, right = integrals(low, middle), integrals(middle, high)
        rough = np.abs(left + right - whole) > tolerance
        total += float((left + right)[~rough].sum())
        low, high = np.concatenate([low[rough], middle[rough]]), np.concatenate([middle[rough], high[rough]])
        whole = np.concatenate([left[rough], right[rough]])
    return (total + float(whole.sum())) / math.sqrt(2 * math.pi)


@lru_cache(maxsize=4096)
def second_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E phi(sqrt(q) z)^2, z ~ N(0, 1): the second moment of the activations."""
    return gaussian_mean(lambda x: activation.values(x) ** 2, activation.kinks, q)


@lru_cache(maxsize=4096)
def second_moment_of_slope(activation: Activation, q: float = 1.0) -> float:
    """Return E phi'(sqrt(q) z)^2, z ~ N(0, 1), chi_1 / sigma_w^2: by how much a layer shrinks gradients."""
    return gaussian_mean(lambda x: activation.slopes(x) ** 2, activation.kinks, q)


def gain(activation: Activation, direction: Literal["forward", "backward"]) -> float:
    """Return the sigma_w that keeps a second moment of 1 from layer to layer.

    Forward that of the pre-activations, 1 / sqrt(E phi^2) (He et al. 2015, arXiv:1502.01852, eq. 10, for
    ReLU); backward that of the gradients where pre-activations have second moment 1, 1 / sqrt(E phi'^2)
    (eq. 14 there; Glorot & Bengio 2010, eq. 10 and 11, for functions with slope 1).

    Raises `Refused` where the moment is 0.
    """
    moment = {"forward": second_moment, "backward": second_moment_of_slope}[direction](activation)
    if moment == 0:
        raise Refused(f"another activation: no gain keeps the {direction} signal of {activation.label}, which is 0")
    return 1 / math.sqrt(moment)


TORCH_GAINS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "linear": lambda slope: 1.0,
        "sigmoid": lambda slope: 1.0,
        "tanh": lambda slope: 5 / 3,
        "relu": lambda slope: math.sqrt(2),
        "leaky_relu": lambda slope: math.sqrt(2 / (1 + slope**2)),
        "selu": lambda slope: 0.75,
    }
)
"""`torch.nn.init.calculate_gain` by its names, as it is: the factors 5/3 and 3/4 are PyTorch's, not theory's."""


def torch_gain(activation: Activation) -> float | None:
    """Return what `torch.nn.init.calculate_gain` says for the activation; None where it refuses."""
    bound = ACTIVATIONS.read(activation.text)
    name = {"identity": "linear"}.get(bound.record.name, bound.record.name)
    return TORCH_GAINS[name](bound.values.get("slope", 0.0)) if name in TORCH_GAINS else None


_SIGMA_B = Real(0.0, 100.0)
_LARGEST_Q = 1e12


@lru_cache(maxsize=512)
def edge_of_chaos(activation: Activation, sigma_b: float) -> float:
    """Return the sigma_w at which chi_1 = 1 at the fixed point q of the second moment.

    With sigma_w^2 = 1 / E phi'(sqrt(q) z)^2 put in, q is the smallest root of
    q = sigma_b^2 + E phi(sqrt(q) z)^2 / E phi'(sqrt(q) z)^2. Algorithm 1 of Hayou et al. 2019
    (arXiv:1902.06853) iterates this from 0; the root between bounds is the same and sooner found, as the right
    side falls below q once at most for every function of the catalogue. For sigma_b = 0 and phi(0) = 0 the root
    is q = 0, and sigma_w the limit there: 1 / |phi'(0)|, with the root mean square of both slopes at a kink.
    Whether layers move towards that q is not asked; for GELU, SiLU, Mish and hardswish at small sigma_b they do not.

    Raises `Refused` for sigma_b outside 0 to 100, and where there is no edge: for functions with
    phi(t z) = t phi(z), t > 0, such as ReLU unless sigma_b = 0, and for others that have no root.
    """
    try:
        bias = _SIGMA_B.check(sigma_b) ** 2
    except Refused as refusal:
        raise Refused(f"for sigma_b {refusal.allowed}, not {shown(sigma_b)}") from None
    value = float(activation.values(0.0)) ** 2
    slope = float(np.mean(activation.slopes([-1e-100, 1e-100]) ** 2))

    if bias == value == 0:
        return 1 / math.sqrt(slope)
    if _scales(activation):
        point = f"the single point sigma_w = {gain(activation, 'backward'):.4g}, sigma_b = 0"
        raise Refused(f"sigma_b 0: for {activation.label} the edge of chaos is {point}")

    def excess(q: float) -> float:
        return bias + second_moment(activation, q) / second_moment_of_slope(activation, q) - q

    low, high = 0.0, bias + value / slope
    above, below = high, excess(high)
    while below > 0:
        if high > _LARGEST_Q:
            raise Refused(
                f"another activation or sigma_b: for {activation.label} at sigma_b = {sigma_b:.4g} there is no edge "
                f"of chaos, no fixed point of the second moment up to {_LARGEST_Q:g} has chi_1 = 1"
            )
        low, above = high, below
        high *= 4
        below = excess(high)
    return 1 / math.sqrt(second_moment_of_slope(activation, _root(excess, (low, above), (high, below))))


def _scales(activation: Activation) -> bool:
    """Return whether phi(t z) = t phi(z) for all t > 0."""
    z, t = np.array([-1.0, 1.0]), np.array([[1e-3], [1e3]])
    return np.allclose(activation.values(t * z), t * activation.values(z), rtol=1e-12, atol=0)


def _root(f: Callable[[float], float], low: tuple[float, float], high: tuple[float, float]) -> float:
    """Return a root between two points (x, f(x)), x >= 0, with f(low) > 0 >= f(high).

    Ends where f(x) is 0 but for rounding of x. False position by the Illinois rule: an end that stays twice
    is given half its weight, or it would stay for ever.
    """
    (a, f_a), (b, f_b) = low, high
    x, f_x, moved = b, f_b, 0
    for _ in range(100):
        if abs(f_x) <= 1e-14 * x or b - a <= 1e-15 * b:
            break
        x = (a * f_b - b * f_a) / (f_b - f_a)
        f_x = f(x)
        if f_x > 0:
            a, f_a, f_b, moved = x, f_x, f_b / (2 if moved > 0 else 1), 1
        else:
            b, f_b, f_a, moved = x, f_x, f_a / (2 if moved < 0 else 1), -1
    return x
