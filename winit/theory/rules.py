"""Quadrature rules for averages of one activation: as many nodes as its record calls for, and no search.

Gauss-Legendre on pieces that end at the kinks and shrink towards 0 as far as the function bends there. Where `gaussian`
halves pieces until they agree, these are halved beforehand: `tests/test_theory.py` holds both to 1e-10 of each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from winit.activations import Activation

Array = NDArray[np.float64]

TERMS = 24
"""Terms of the Hermite series by which products of two Gaussians are averaged."""

REACH = 10.0
"""The Gaussian density is 8e-23 there."""

_PANELS = np.array([2.0, 4.5, REACH])  # on each side of 0: 20 nodes resolve the Gaussian times a polynomial
_FACTOR = 4.0  # by which pieces shrink: a pole as far from 0 as a piece is long is as far from the next, in its lengths
_LEAST = 1e-13  # length of a piece
_NODES = 20


@cache
def _legendre(count: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(count)


@dataclass(frozen=True, eq=False)
class Rule:
    """Nodes and weights, so that sum(weights * f(z)) is E f(z), z ~ N(0, 1)."""

    z: Array
    """(N, P), or (1, P) where they serve every row."""
    weights: Array
    """Shaped as z."""

    @cached_property
    def hermite(self) -> Array:
        """Return the weights times the normalized Hermite polynomials, (N or 1, P, TERMS)."""
        found = np.empty((len(self.z), TERMS, self.z.shape[1]))
        found[:, 0], found[:, 1] = self.weights, self.z * self.weights
        for k in range(1, TERMS - 1):
            np.multiply(self.z * math.sqrt(1 / (k + 1)), found[:, k], out=found[:, k + 1])
            found[:, k + 1] -= math.sqrt(k / (k + 1)) * found[:, k - 1]
        return found.swapaxes(1, 2)


def _crowding(finest: float) -> Array:
    """Return how far from a place pieces end that shrink towards it, (L,) ascending, the first at most 2 `finest`."""
    if 2 * finest >= _PANELS[0]:
        return _PANELS[:1]
    count = math.ceil(math.log(_PANELS[0] / (2 * max(finest, _LEAST)), _FACTOR))
    found: Array = _PANELS[0] * _FACTOR ** -np.arange(count, -1.0, -1.0)
    return found


def edges_towards(places: Array, finest: float, low: float, ends: Array | None = None) -> Array:
    """Return edges (N, E) of pieces from `low` to the reach, ascending, that end at `places` (N, M) and shrink there.

    To twice `finest`; not at all where that is longer than the panels. They also end at `ends` (N, L). Some pieces may
    have no length.
    """
    fixed = np.concatenate([-_PANELS[::-1], [0.0], _PANELS])
    steps = _crowding(finest) if 2 * finest < _PANELS[0] else np.empty(0)
    near = places[..., None] + np.concatenate([-steps, [0.0], steps])
    parts = [near.reshape(len(places), -1), np.broadcast_to(fixed[fixed >= low], (len(places), (fixed >= low).sum()))]
    if ends is not None:
        parts.append(ends)
    found: Array = np.sort(np.clip(np.concatenate(parts, axis=1), low, REACH), axis=1)
    return found


@lru_cache(maxsize=256)
def _edges(finest: float, longest: float) -> Array:
    """Return edges (E,) of pieces that shrink towards 0, none longer than `longest`."""
    side = np.concatenate([_crowding(finest), _PANELS[1:]])
    lengths = np.diff(side, prepend=0.0)
    parts = np.ceil(lengths / longest).astype(int) if longest < REACH else np.ones(len(side), dtype=int)
    side = np.cumsum(np.repeat(lengths / parts, parts))
    return np.concatenate([-side[::-1], [0.0], side])


def gauss_legendre(edges: Array, count: int = _NODES) -> tuple[Array, Array]:
    """Return nodes and weights (N, P), `count` in each piece between two of the ascending edges (N, E)."""
    x, weights = _legendre(count)
    half = np.diff(edges, axis=-1)[..., None] / 2
    nodes = edges[..., :-1, None] + half * (1 + x)
    return nodes.reshape(len(edges), -1), (half * weights).reshape(len(edges), -1)


def density(z: Array) -> Array:
    """Return the density of N(0, 1)."""
    found: Array = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return found


def _of(edges: Array) -> Rule:
    z, weights = gauss_legendre(edges)
    return Rule(z, weights * density(z))


@lru_cache(maxsize=64)
def _shared(finest: float, longest: float) -> Rule:
    return _of(_edges(finest, longest)[None])


def rule(activation: Activation, q: Array) -> Rule:
    """Return a rule for averages of phi(sqrt(q) z), phi'(sqrt(q) z) and products of a few of them, at each q (N,)."""
    scale = np.sqrt(q)
    most = float(scale.max())
    finest, longest = math.inf, math.inf
    if most:
        # Rounded to a power of the factor, so that rules are few and kept.
        finest = _FACTOR ** math.floor(math.log(min(max(activation.width / most, _LEAST), REACH), _FACTOR))
        longest = 3 / (activation.frequency * most) if activation.frequency else math.inf
    moved = np.array([place for place in (*activation.kinks, *activation.seams) if place])
    if not moved.size:
        return _shared(finest, longest)
    with np.errstate(divide="ignore", over="ignore"):
        ends = np.clip(moved / scale[:, None], -REACH, REACH)
    fixed = _edges(finest, longest)
    return _of(np.sort(np.concatenate([np.broadcast_to(fixed, (len(q), len(fixed))), ends], axis=1), axis=1))
