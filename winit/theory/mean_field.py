"""Depth without end: fixed points of length and correlation, depth scales, regimes, the phase diagram.

Poole et al. 2016 (arXiv:1606.05340), eq. 3 to 5: the maps of length and correlation; Schoenholz et al. 2017
(arXiv:1611.01232), eq. 5 to 9: chi_1 and the depth scales.

>>> from winit.activations import activation
>>> field = mean_field(activation("tanh"), 1.5, 0.2)
>>> field.regime, round(field.chi_1, 3), round(field.c_star, 3)
('chaotic', 1.101, 0.497)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np

from winit.activations import Activation
from winit.fields import Real, Refused, shown
from winit.theory.averages import averages, log_squares
from winit.theory.edge import edge_of_chaos
from winit.theory.gaussian import (
    covariance,
    covariances,
    is_homogeneous,
    second_moment,
    second_moment_of_slope,
)
from winit.theory.rules import Array, rule

Regime = Literal["ordered", "critical", "chaotic", "unstable length"]


@dataclass(frozen=True)
class FixedPoint:
    """A second moment of the pre-activations that layers keep."""

    q: float
    chi_1: float
    """sigma_w^2 E phi'^2 there: the factor on the second moment of gradients, per layer."""
    chi_parallel: float
    """dq'/dq there: the factor on a small change of q, per layer."""

    @property
    def is_stable(self) -> bool:
        """Whether layers move towards it."""
        return abs(self.chi_parallel) < 1


@dataclass(frozen=True)
class MeanField:
    """What layer upon layer of weights sigma_w and biases sigma_b ends in, from q = 1; infinite width.

    Numbers that do not exist are NaN, and `reasons` says why.
    """

    sigma_w: float
    sigma_b: float
    q_star: float
    """The second moment in which q = 1 ends; infinity where it grows without end."""
    chi_1: float
    """sigma_w^2 E phi'^2 at q_star: the factor on the second moment of gradients, per layer."""
    chi_parallel: float
    """dq'/dq at q_star: the factor on a small change of q, per layer."""
    xi_q: float
    """Layers in which a small distance from q_star falls by e; infinity where chi_parallel is 1."""
    xi_c: float
    """Layers in which a small distance from c_star falls by e; infinity at the edge of chaos."""
    c_star: float
    """The correlation in which that of two inputs ends, 0 to 1."""
    regime: Regime
    """ordered (chi_1 < 1), critical, chaotic (chi_1 > 1), or unstable length (q_star is infinite)."""
    edge_of_chaos: float
    """The sigma_w of the edge of chaos at this sigma_b; NaN where there is none."""
    fixed_points: tuple[FixedPoint, ...]
    """All of the second moment, from the smallest; empty where every q is one, or none."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """By field: why it is not a number."""


@dataclass(frozen=True)
class EdgeCurve:
    """The edge of chaos as a curve."""

    sigma_b: Array
    """(P,) ascending; a single 0 where the edge is a point (ReLU), empty where there is none."""
    sigma_w: Array
    """(P,)"""


@dataclass(frozen=True)
class PhaseDiagram:
    """Where signals of an activation go, over a grid of B values of sigma_b and W of sigma_w."""

    sigma_w: Array
    """(W,)"""
    sigma_b: Array
    """(B,)"""
    q_star: Array
    """(B, W) the second moment in which q = 1 ends; infinity where it grows without end."""
    chi_1: Array
    """(B, W) at q_star; ordered below 1, chaotic above."""
    depth_scale: Array
    """(B, W) layers in which gradients change by e, 1 / |ln chi_1|; infinity on the edge."""
    edge: EdgeCurve


SIGMA = Real(0.0, 100.0)
"""The kind of sigma_w and sigma_b."""
# Above, a distance of ln q'/q from 0 is rounding, for every function of the catalogue.
_FEWEST, _FARTHEST = math.log(1e-26), math.log(1e12)
_GRID = np.linspace(_FEWEST, _FARTHEST, 1901)
_COARSE = slice(None, None, 10)
_STEP = 0.25  # of ln q, in the phase diagram
_CRITICAL = 1e-9  # chi_1 is 1 as near as this


def length_map(activation: Activation, q: float, sigma_w: float, sigma_b: float) -> float:
    """Return q' = sigma_w^2 E phi(sqrt(q) z)^2 + sigma_b^2, the second moment one layer on (Poole 2016, eq. 3)."""
    return sigma_w**2 * second_moment(activation, q) + sigma_b**2


def length_slope(activation: Activation, q: float, sigma_w: float) -> float:
    """Return chi_parallel = dq'/dq = sigma_w^2 E phi phi' z / sqrt(q), z ~ N(0, 1) (Schoenholz 2017, eq. 6).

    Integrated by parts, so that it holds at kinks; q above 0.
    """
    found, root = rule(activation, np.array([q])), math.sqrt(q)
    phi, slope = activation.values_and_slopes(root * found.z)
    return sigma_w**2 * float(np.vdot(phi * slope, found.z * found.weights)) / root


def correlation_map(activation: Activation, q: float, c: float, sigma_w: float, sigma_b: float) -> float:
    """Return c' = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q', one layer on (Poole 2016, eq. 4).

    `q` is the second moment of both pre-activations, `c` their correlation. NaN where q' is 0.
    """
    following = length_map(activation, q, sigma_w, sigma_b)
    return (sigma_w**2 * covariance(activation, q, c) + sigma_b**2) / following if following else math.nan


def _at_0(activation: Activation) -> tuple[float, float]:
    """Return phi(0)^2 and the mean square of both slopes at 0."""
    return float(activation.values(0.0)) ** 2, float(np.mean(activation.slopes([-1e-100, 1e-100]) ** 2))


@lru_cache(maxsize=64)
def _log_grid(activation: Activation) -> tuple[Array, Array]:
    """Return ln E phi^2 and ln E phi'^2 on the grid of ln q."""
    square, slope, _ = log_squares(activation, _GRID)
    return square, slope


def _excess(square: Array, x: Array, sigma_w: float, sigma_b: float) -> Array:
    """Return ln q'/q on the grid, from ln E phi^2."""
    with np.errstate(divide="ignore"):
        found: Array = np.logaddexp(2 * np.log(sigma_w) + square, 2 * np.log(sigma_b)) - x
    return found


def _roots(activation: Activation, sigma_w: float, sigma_b: float) -> list[float]:
    """Return the q above 0 that the length map keeps, ascending; none where it keeps every q."""
    grid = _GRID[_COARSE]
    excess = _excess(_log_grid(activation)[0][_COARSE], grid, sigma_w, sigma_b)
    if not np.abs(excess[np.isfinite(excess)]).max(initial=0.0) > 1e-9:
        return []

    def above(x: float) -> float:
        q = math.exp(x)
        return math.log(length_map(activation, q, sigma_w, sigma_b) / q)

    # A sign that is rounding counts as none: where biases are tiny the map follows the diagonal for decades.
    signs = np.where(np.abs(excess) < 1e-10, 0, np.sign(excess))
    places = np.flatnonzero(signs)
    changes = [(a, b) for a, b in pairwise(places) if signs[a] != signs[b]]
    return [math.exp(_bisected(above, grid[a], grid[b])) for a, b in changes]


def _bisected(f: Callable[[float], float], low: float, high: float) -> float:
    """Return a root of f between two points of different sign, by false position with halving of a lazy end."""
    f_low, f_high, moved = f(low), f(high), 0
    for _ in range(80):
        x = (low * f_high - high * f_low) / (f_high - f_low)
        value = f(x)
        if abs(value) < 1e-14 or high - low < 1e-14 * max(1.0, abs(x)):
            return x
        if (value > 0) == (f_low > 0):
            low, f_low, f_high, moved = x, value, f_high / (2 if moved > 0 else 1), 1
        else:
            high, f_high, f_low, moved = x, value, f_low / (2 if moved < 0 else 1), -1
    return (low + high) / 2


def fixed_points(activation: Activation, sigma_w: float, sigma_b: float) -> tuple[FixedPoint, ...]:
    """Return the second moments that layers keep, ascending, q = 0 among them where phi(0) = sigma_b = 0."""
    value, slope = _at_0(activation)
    found = [
        FixedPoint(q, sigma_w**2 * second_moment_of_slope(activation, q), length_slope(activation, q, sigma_w))
        for q in _roots(activation, sigma_w, sigma_b)
    ]
    if sigma_b == 0 and (value == 0 or sigma_w == 0):
        found.insert(0, FixedPoint(0.0, sigma_w**2 * slope, sigma_w**2 * slope if value == 0 else 0.0))
    elif sigma_w == 0 and not found:  # biases beyond the grid
        found.append(FixedPoint(sigma_b**2, 0.0, 0.0))
    return tuple(found)


def _end(points: tuple[FixedPoint, ...], above: float) -> float:
    """Return where q = 1 goes, by the sign of ln q'/q there."""
    if abs(above) < 1e-12:
        return 1.0
    if above > 0:
        return min((point.q for point in points if point.q > 1), default=math.inf)
    return max((point.q for point in points if point.q < 1), default=0.0)


def _scale(factor: float) -> float:
    """Return in how many layers a distance that each layer multiplies by `factor` falls by e."""
    if abs(abs(factor) - 1) < _CRITICAL:
        return math.inf
    return abs(1 / math.log(abs(factor))) if factor else 0.0


def _regime(q_star: float, chi_1: float) -> Regime:
    if math.isinf(q_star):
        return "unstable length"
    if abs(chi_1 - 1) < _CRITICAL:
        return "critical"
    return "ordered" if chi_1 < 1 else "chaotic"


def _correlation_end(activation: Activation, q: float, sigma_w: float, sigma_b: float) -> tuple[float, float]:
    """Return c* below 1 and the slope of the correlation map there, for a fixed point q with chi_1 > 1.

    From c = 0 to 1 the map is convex and ends on the diagonal, so Newton's rule finds the one root below from
    wherever the slope is below 1: from near it by the series, and from farther off where that is too near 1. The slope
    is sigma_w^2 E phi'(u) phi'(v) (Price 1958; Poole et al. 2016, eq. 7), which comes with the value.
    """
    following = length_map(activation, q, sigma_w, sigma_b)

    def at(c: float) -> tuple[float, float]:
        """Return by how much the map exceeds c, and its slope."""
        value, slopes = covariances(activation, q, c)
        return (sigma_w**2 * value + sigma_b**2) / following - c, sigma_w**2 * slopes

    series = averages(activation, np.array([math.log(q)]))
    value = sigma_w**2 * math.exp(float(series.log_square[0]))
    grid = np.concatenate([np.linspace(0, 1, 101)[:-1], 1 - 10.0 ** -np.arange(2, 7, 0.25)])
    above = (value * series.value(grid) + sigma_b**2) / q - grid
    last = int(np.flatnonzero(above >= 0)[-1]) if (above >= 0).any() else 0
    c = float(grid[last])
    if above[last] > 0 and last + 1 < len(grid):
        c += float((grid[last + 1] - c) * above[last] / (above[last] - above[last + 1]))
    excess, slope = at(c)
    while slope >= 1 and c > 0:
        c = max(0.0, 1 - 3 * (1 - c))
        excess, slope = at(c)
    for _ in range(40):
        before, slope_before = c, slope
        c = min(max(c + (excess / (1 - slope) if slope < 1 else 0.0), 0.0), 1.0)
        if c == before:
            break
        excess, slope = at(c)
        if abs(c - before) < 1e-4 and slope < 1:
            # What is left after one more step is its square; the slope goes with c.
            step = excess / (1 - slope)
            if abs(step) < 1e-8:
                return min(max(c + step, 0.0), 1.0), slope + step * (slope - slope_before) / (c - before)
    return c, slope


@lru_cache(maxsize=256)
def mean_field(activation: Activation, sigma_w: float, sigma_b: float) -> MeanField:
    """Return what endless depth does at sigma_w and sigma_b, from q = 1.

    Raises `Refused` for either outside 0 to 100.
    """
    for name, sigma in (("sigma_w", sigma_w), ("sigma_b", sigma_b)):
        try:
            SIGMA.check(sigma)
        except Refused as refusal:
            raise Refused(f"for {name} {refusal.allowed}, not {shown(sigma)}") from None
    points = fixed_points(activation, sigma_w, sigma_b)
    following = length_map(activation, 1.0, sigma_w, sigma_b)
    q_star = _end(points, math.log(following) if following else -math.inf)
    reasons: dict[str, str] = {}
    here = next((point for point in points if point.q == q_star), None)
    if here is not None:
        chi_1, chi_parallel = here.chi_1, here.chi_parallel
    else:  # every q is kept, or q grows without end
        x = np.array([0.0 if math.isfinite(q_star) else _FARTHEST])
        far = averages(activation, x)
        chi_1 = sigma_w**2 * math.exp(float(far.log_slope_square[0]))
        chi_parallel = sigma_w**2 * math.exp(float(far.log_square[0] - x[0])) * float(far.growth[0])
        if math.isfinite(q_star):
            reasons["q_star"] = "every second moment is kept; this is the start"
        else:
            reasons["q_star"] = reasons["xi_q"] = "the second moment grows without end"
    try:
        edge = edge_of_chaos(activation, sigma_b)
    except Refused as refusal:
        edge, reasons["edge_of_chaos"] = math.nan, str(refusal)
    regime = _regime(q_star, chi_1)
    if 0 < q_star < math.inf:
        c_star, slope = (1.0, chi_1)
        if regime == "chaotic":
            c_star, slope = _correlation_end(activation, q_star, sigma_w, sigma_b)
        xi_c = _scale(slope)
    else:
        c_star = xi_c = math.nan
        what = "grows without end" if q_star else "vanishes"
        reasons["c_star"] = reasons["xi_c"] = f"the second moment {what}, and no correlation is approached"
    return MeanField(
        sigma_w,
        sigma_b,
        q_star,
        chi_1,
        chi_parallel,
        math.nan if math.isinf(q_star) else _scale(chi_parallel),
        xi_c,
        c_star,
        regime,
        edge,
        points,
        reasons,
    )


def edge_curve(activation: Activation, most: float = 3.0) -> EdgeCurve:
    """Return the edge of chaos for sigma_b from 0 to `most`.

    Along the curve q is the parameter: sigma_w^2 = 1 / E phi'^2 and sigma_b^2 = q - E phi^2 / E phi'^2 (Hayou et al.
    2019, arXiv:1902.06853, section 2).
    """
    value, slope = _at_0(activation)
    if is_homogeneous(activation):
        point = np.zeros(1), np.array([1 / math.sqrt(slope)]) if slope else np.empty(0)
        return EdgeCurve(*(point if slope else (np.empty(0), np.empty(0))))
    x = np.linspace(math.log(1e-8), math.log(1e8), 1601)
    square, slopes, _ = log_squares(activation, x)
    q = np.exp(x)
    sigma_b_squared = q - np.exp(square - slopes)
    inside = (sigma_b_squared >= 0) & (sigma_b_squared <= most**2)
    sigma_b, sigma_w = np.sqrt(sigma_b_squared[inside]), np.exp(-slopes[inside] / 2)
    if value == 0:
        sigma_b, sigma_w = np.append(0.0, sigma_b), np.append(1 / math.sqrt(slope), sigma_w)
    # The smallest q of a sigma_b counts, as in `edge_of_chaos`: what turns back is left out.
    first = sigma_b >= np.maximum.accumulate(sigma_b)
    return EdgeCurve(sigma_b[first], sigma_w[first])


def phase_diagram(activation: Activation, sigma_w: Array, sigma_b: Array) -> PhaseDiagram:
    """Return where q = 1 ends, and chi_1 there, on the grid of sigma_w (W,) and sigma_b (B,), 0 to 100 each.

    q_star to a relative error of 1e-3, from a grid of q on which ln E phi^2 is taken to be linear in ln q.
    """
    square, slopes = _log_grid(activation)
    shape = (len(sigma_b), len(sigma_w))
    w, b = np.broadcast_to(sigma_w**2, shape), np.broadcast_to(sigma_b[:, None] ** 2, shape)

    def excess(x: Array, w: Array, b: Array) -> Array:
        """Return q'/q - 1 at ln q = x, a number or one for each w and b."""
        found: Array = (w * np.exp(np.interp(x, _GRID, square)) + b) * np.exp(-x) - 1
        return found

    start = excess(np.zeros(1), w, b)
    sign = np.where(np.abs(start) < 1e-12, 0.0, np.sign(start))
    # Step by step from q = 1 to where q' - q changes its sign, all that go one way at once, then halve the last step.
    steps = np.zeros(shape)
    is_open = sign != 0
    for way in (-1.0, 1.0):
        going = np.flatnonzero(sign == way)
        for step in range(1, int(_FARTHEST / _STEP)):
            steps.flat[going] = step
            going = going[excess(np.array([way * step * _STEP]), w.flat[going], b.flat[going]) * way > 1e-12]
            if not going.size:
                break
        is_open &= sign != way
        is_open.flat[going] = True
    far = sign * _STEP * steps
    near = far - sign * _STEP
    for _ in range(14):
        middle = (near + far) / 2
        is_before = excess(middle, w, b) * sign > 1e-12
        near, far = np.where(is_before, middle, near), np.where(is_before, far, middle)
    x = np.where(is_open, np.copysign(math.inf, sign), far)
    with np.errstate(divide="ignore", over="ignore"):
        log_chi = np.log(w) + np.interp(x, _GRID, slopes)
        edge = edge_curve(activation, float(np.max(sigma_b, initial=0.0)))
        return PhaseDiagram(sigma_w, sigma_b, np.exp(x), np.exp(log_chi), 1 / np.abs(log_chi), edge)
