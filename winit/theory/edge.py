"""The edge of chaos: where gradients neither vanish nor explode at the fixed point of the second moment.

>>> from winit.activations import activation
>>> round(edge_of_chaos(activation("tanh"), 0.05**0.5) ** 2, 5)
1.76095
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from winit.activations import Activation
from winit.fields import Real, Refused, shown
from winit.theory.gains import gain
from winit.theory.gaussian import is_homogeneous, second_moment, second_moment_of_slope

_SIGMA_B = Real(0.0, 100.0)
_LARGEST_Q = 1e12
_SMALLEST_BIAS = 1e-48  # the edge leaves its limit with the cube root at the latest, so that this is rounding


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

    if value == 0 and bias < _SMALLEST_BIAS:
        return 1 / math.sqrt(slope)
    if is_homogeneous(activation):
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
