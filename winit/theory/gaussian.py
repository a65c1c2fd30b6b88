"""Averages of an activation over Gaussian pre-activations, by quadrature that splits at kinks.

>>> from winit.activations import activation
>>> round(second_moment(activation("tanh")), 6)
0.394294
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from winit.activations import Activation
from winit.theory.rules import REACH, Array, density, edges_towards, gauss_legendre, rule

Owners = NDArray[np.intp]

# Pieces shrink by the factor 4 towards 0, down to 6e-13. However steep a function is at 0 (tanh at large q, CELU of
# small alpha), its poles then lie a third of a piece's length away or farther, and 16 nodes are off by 3^-32.
_GRADED = REACH * 4.0 ** -np.arange(23)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_TOLERANCE = 1e-13
_LOOSE = 1e-12  # of a nested integral, whose values carry the rounding of the inner one
_HALVINGS = 20
_PAIR_NODES = 16  # of a piece, for averages over two Gaussians
_TOGETHER = 64  # nodes over p, so that arrays stay in the cache
_NEGLIGIBLE = 1e-20  # weight of a node among some tens of thousands


def _refined(
    integrals: Callable[[Array, Array, Owners], Array],
    low: Array,
    high: Array,
    owner: Owners,
    count: int,
    tolerance: float = _TOLERANCE,
) -> Array:
    """Return the sum of the integrals from `low` to `high` of each of `count` owners, (count,).

    A piece that disagrees with its two halves is replaced by them, which resolves oscillation.
    """
    whole = integrals(low, high, owner)
    limit = tolerance * np.bincount(owner, np.abs(whole), count).max(initial=0.0)
    total = np.zeros(count)
    for _ in range(_HALVINGS):
        if not low.size:
            break
        middle = (low + high) / 2
        left, right = integrals(low, middle, owner), integrals(middle, high, owner)
        rough = np.abs(left + right - whole) > limit
        total += np.bincount(owner[~rough], (left + right)[~rough], count)
        low, high = np.concatenate([low[rough], middle[rough]]), np.concatenate([middle[rough], high[rough]])
        whole, owner = np.concatenate([left[rough], right[rough]]), np.tile(owner[rough], 2)
    rest: Array = total + np.bincount(owner, whole, count)
    return rest


def gaussian_mean(f: Callable[[Array], Array], kinks: Sequence[float] = (), q: float = 1.0) -> float:
    """Return E f(sqrt(q) z) for z ~ N(0, 1), with a relative error near 1e-13 of E |f|.

    Gauss-Legendre quadrature on pieces that end at the kinks, halved until they agree. `f` works elementwise on
    arrays of shape (pieces, nodes); it is smooth between `kinks`, the arguments where it or a derivative jumps,
    and steep, if anywhere, at 0. Raises `ValueError` for q < 0.
    """
    scale = math.sqrt(q)
    inner = [kink / scale for kink in kinks if abs(kink) < REACH * scale]
    edges = np.unique(np.concatenate([-_GRADED, [0.0], _GRADED, inner]))

    def integrals(low: Array, high: Array, _: Owners) -> Array:
        half = (high - low) / 2
        z = (low + half)[:, None] + half[:, None] * _NODES
        values: Array = half * ((f(scale * z) * np.exp(-z * z / 2)) @ _WEIGHTS)
        return values

    owner = np.zeros(len(edges) - 1, dtype=np.intp)
    return float(_refined(integrals, edges[:-1], edges[1:], owner, 1)[0]) / math.sqrt(2 * math.pi)


@lru_cache(maxsize=4096)
def second_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E phi(sqrt(q) z)^2, z ~ N(0, 1): the second moment of the activations."""
    closed = closed_covariances(activation, q, 1.0)
    return closed[0] if closed else _square_mean(activation, activation.values, q)


@lru_cache(maxsize=4096)
def second_moment_of_slope(activation: Activation, q: float = 1.0) -> float:
    """Return E phi'(sqrt(q) z)^2, z ~ N(0, 1), chi_1 / sigma_w^2: by how much a layer shrinks gradients."""
    closed = closed_covariances(activation, q, 1.0)
    return closed[1] if closed else _square_mean(activation, activation.slopes, q)


def _square_mean(activation: Activation, f: Callable[[Array], Array], q: float) -> float:
    """Return E f(sqrt(q) z)^2 for phi or phi'."""
    found = rule(activation, np.array([q]))
    values = f(math.sqrt(q) * found.z)
    return float(np.vecdot(values * values, found.weights)[0])


@lru_cache(maxsize=512)
def is_homogeneous(activation: Activation) -> bool:
    """Return whether phi(t z) = t phi(z) for all t > 0: two straight lines that meet at 0."""
    z, t = np.array([-1.0, 1.0]), np.array([[1e-3], [1e3]])
    return np.allclose(activation.values(t * z), t * activation.values(z), rtol=1e-12, atol=0)


def _steps(centres: Array, finest: float) -> Array:
    """Return edges (centres, edges) between -10 and 10 that crowd at each centre, down to a length of `finest`."""
    reach = 2 * REACH
    lengths = reach * 16.0 ** -np.arange(max(1, math.ceil(math.log(reach / finest, 16))) + 1)
    edges = centres[..., None] + np.concatenate([-lengths, [0.0], lengths])
    clipped: Array = np.clip(edges.reshape(*centres.shape[:-1], -1), -REACH, REACH)
    return clipped


@lru_cache(maxsize=512)
def _bend(activation: Activation) -> float:
    """Return how far from 0 the slope first differs by a tenth of the largest nearby; infinity if it never does."""
    x = 4.0 ** -np.arange(12.0)[::-1]
    slopes = activation.slopes(np.stack([x, -x]))
    changes = np.abs(slopes - slopes[:, :1]) > 0.1 * np.abs(slopes).max(initial=1e-300)
    return float(np.min(x, where=changes.any(axis=0), initial=math.inf))


def product_mean(
    f: Callable[[Array], Array], kinks: Sequence[float], q: float, c: float, finest: float = math.inf
) -> float:
    """Return E f(u) f(v) for Gaussian u, v of mean 0, variance q and correlation c, to 1e-11 of E |f(u) f(v)|.

    In the coordinates p = (u + v) / sqrt(2 q (1 + c)) and r = (u - v) / sqrt(2 q (1 - c)), independent and N(0, 1),
    by nested quadrature as in `gaussian_mean`: over r between the kinks of either factor, over p between the
    places where two of them cross. `finest` is the length near 0 on which f bends.
    """
    scale, along, across = math.sqrt(q), math.sqrt((1 + c) / 2), math.sqrt((1 - c) / 2)
    if min(along, across) < 1e-8:  # one Gaussian, to double precision
        sign = 1.0 if along > across else -1.0
        return gaussian_mean(lambda x: f(x) * f(sign * x), (*kinks, *(-kink for kink in kinks)), q)
    corners = np.unique([0.0, *kinks]) / scale
    crossings = np.unique((corners[:, None] + corners) / 2) / along
    outer = np.unique(_steps(crossings, min(finest / scale, across, 1.0) / along))
    smallest = min(max(finest / scale / across, 1e-6), 4.0)

    def over_r(p: Array) -> Array:
        """Return the integral over r at each p (count,), the density of both included."""
        centre = (corners - along * p[:, None]) / across
        low_high = np.sort(_steps(np.concatenate([centre, -centre], axis=1), smallest), axis=1)
        low, high = low_high[:, :-1].ravel(), low_high[:, 1:].ravel()
        owner = np.repeat(np.arange(len(p)), low_high.shape[1] - 1)
        some = high > low

        def integrals(low: Array, high: Array, owner: Owners) -> Array:
            half = (high - low) / 2
            r = (low + half)[:, None] + half[:, None] * _NODES
            middle = p[owner][:, None]
            values = f(scale * (along * middle + across * r)) * f(scale * (along * middle - across * r))
            found: Array = half * ((values * np.exp(-(r * r + middle * middle) / 2)) @ _WEIGHTS)
            return found

        return _refined(integrals, low[some], high[some], owner[some], len(p), _LOOSE)

    def integrals(low: Array, high: Array, _: Owners) -> Array:
        half = (high - low) / 2
        p = (low + half)[:, None] + half[:, None] * _NODES
        found: Array = half * (over_r(p.ravel()).reshape(p.shape) @ _WEIGHTS)
        return found

    owner = np.zeros(len(outer) - 1, dtype=np.intp)
    return float(_refined(integrals, outer[:-1], outer[1:], owner, 1, _LOOSE)[0]) / (2 * math.pi)


def closed_covariances(activation: Activation, q: float, c: float) -> tuple[float, float] | None:
    """Return E phi(u) phi(v) and E phi'(u) phi'(v) in closed form; None where none is known.

    Two lines that meet at 0: the arc-cosine kernels of degree 1 and 0 (Cho & Saul 2009, eq. 6); erf: Williams 1997,
    eq. 11, and its derivative; sine: from the characteristic function of u + v and u - v.
    """
    if is_homogeneous(activation):
        left, right = (float(slope) for slope in activation.slopes([-1.0, 1.0]))
        odd, even = ((right + left) / 2) ** 2, ((right - left) / 2) ** 2
        arc = math.asin(c)
        kinked = 2 / math.pi * (math.sqrt((1 - c) * (1 + c)) + c * arc)
        return q * (odd * c + even * kinked), odd + even * 2 / math.pi * arc
    if activation.text == "erf":
        root = math.sqrt((1 + 2 * q * (1 - c)) * (1 + 2 * q * (1 + c)))
        # The arc sine of 2 q c / (1 + 2 q), whose rounding does not grow with q.
        return 2 / math.pi * math.atan2(2 * q * c, root), 4 / math.pi / root
    if activation.frequency:
        square = activation.frequency**2
        less, more = math.exp(-square * q * (1 - abs(c))), math.exp(-square * q * (1 + abs(c)))
        # exp(-a) sinh(b), which does not cancel where q is small.
        return math.copysign(-less * math.expm1(-2 * square * q * abs(c)) / 2, c), square * (less + more) / 2
    return None


def covariances(activation: Activation, q: float, c: float) -> tuple[float, float]:
    """Return E phi(u) phi(v) and E phi'(u) phi'(v) for Gaussian u, v of variance q and correlation c, 0 to 1.

    In closed form where one is known; else as `product_mean`, in the same coordinates, by a rule that is laid out
    beforehand, both at once: over r >= 0, as u and v may be exchanged, and over p in pieces that shrink towards the
    crossings of two corners, where the integral over r bends on the length of the root of (1 - c) / (1 + c).
    """
    closed = closed_covariances(activation, q, c)
    if closed:
        return closed
    scale, along, across = math.sqrt(q), math.sqrt((1 + c) / 2), math.sqrt((1 - c) / 2)
    if across < 1e-8:  # one Gaussian, to double precision
        return second_moment(activation, q), second_moment_of_slope(activation, q)
    width = activation.width / scale
    places = (*activation.kinks, *activation.seams, *([] if math.isinf(width) else [0.0]))
    corners = np.unique(np.array(places) / scale)
    corners = corners[np.abs(corners) < REACH]
    crossings = np.unique((corners[:, None] + corners) / 2) / along
    bend = min(across, width) if activation.kinks or activation.seams else width
    p, over_p = gauss_legendre(np.unique(edges_towards(crossings[None], bend / along, -REACH))[None], _PAIR_NODES)
    found = np.zeros(2)
    middles, over_p = along * p.T, (over_p * density(p)).T
    for part in np.array_split(np.arange(len(middles)), math.ceil(len(middles) / _TOGETHER)):
        middle = middles[part]
        ends = np.abs(corners - middle) / across
        r, over_r = gauss_legendre(edges_towards(np.abs(middle) / across, width / across, 0.0, ends), _PAIR_NODES)
        # Twice: r < 0 is r > 0 with u and v exchanged.
        weights = 2 * over_p[part] * over_r * density(r)
        some = weights > _NEGLIGIBLE
        weights, shift = weights[some], (across * r)[some]
        centre = np.broadcast_to(middle, some.shape)[some]
        value_u, slope_u = activation.values_and_slopes(scale * (centre + shift))
        value_v, slope_v = activation.values_and_slopes(scale * (centre - shift))
        found += np.vdot(value_u * value_v, weights), np.vdot(slope_u * slope_v, weights)
    return float(found[0]), float(found[1])


@lru_cache(maxsize=4096)
def covariance(activation: Activation, q: float, c: float) -> float:
    """Return E phi(u) phi(v) for Gaussian u, v of mean 0, variance q and correlation c, -1 to 1."""
    closed = closed_covariances(activation, q, c)
    return closed[0] if closed else product_mean(activation.values, activation.kinks, q, c, _bend(activation))


@lru_cache(maxsize=4096)
def covariance_of_slopes(activation: Activation, q: float, c: float) -> float:
    """Return E phi'(u) phi'(v) likewise; q times it is the derivative of `covariance` by c."""
    closed = closed_covariances(activation, q, c)
    return closed[1] if closed else product_mean(activation.slopes, activation.kinks, q, c, _bend(activation))
