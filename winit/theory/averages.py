"""Many averages of an activation at once, fast: interpolated in ln q between points of a quadrature, and kept.

Block by block of a decade of q, at 20 Chebyshev points each, so that a relative error of 1e-9 is not exceeded
(`tests/test_mean_field.py` measures it). Beyond 1e-26 and 1e26 every activation
of the catalogue is two straight lines, a constant, or settled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from winit.activations import ACTIVATIONS, Activation
from winit.theory.gaussian import Array, is_homogeneous

TERMS = 24
"""Terms of the Hermite series by which products of two Gaussians are averaged."""

_LEAST, _MOST = math.log(1e-26), math.log(1e26)
_POINTS = 20
_BLOCK = math.log(10)
_CHEBYSHEV = np.cos(math.pi * (np.arange(_POINTS) + 0.5) / _POINTS)
_FIT = np.linalg.inv(np.polynomial.chebyshev.chebvander(_CHEBYSHEV, _POINTS - 1))
_REACH = 10.0
_LONGEST = 0.5  # of a piece: 16 nodes resolve what oscillates where `_settled` allows it
_LENGTHS = _REACH * 4.0 ** -np.arange(23)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True)
class Series:
    """E f(u) g(v) over f's and g's own scale, for Gaussians of correlation c, as a power series in c."""

    terms: Array
    """(N, TERMS) coefficients of c^0, c^1, ..."""
    rest: Array
    """(N,) what they leave at c = 1."""
    power: Array
    """(N,) of c by which the rest falls: from the derivative at c = 1 where that is known."""

    def __call__(self, c: Array) -> Array:
        """Return the average at correlations c (N,), -1 to 1."""
        powers = c[:, None] ** np.arange(self.terms.shape[1])
        with np.errstate(over="ignore", under="ignore"):
            tail: Array = self.rest * np.sign(c) * np.abs(c) ** self.power
        found: Array = (self.terms * powers).sum(axis=1) + tail
        return found


@dataclass(frozen=True)
class Averages:
    """Averages over z ~ N(0, q) at each of N values of q."""

    log_square: Array
    """(N,) ln E phi^2."""
    log_slope_square: Array
    """(N,) ln E phi'^2."""
    mean: Array
    """(N,) E phi over the root of E phi^2."""
    fourth: Array
    """(N,) E phi^4 over (E phi^2)^2."""
    slope_fourth: Array
    """(N,) E phi'^4 over (E phi'^2)^2."""
    mixed: Array
    """(N,) E phi^2 phi'^2 over E phi^2 E phi'^2."""
    growth: Array
    """(N,) d ln E phi^2 / d ln q."""
    slope_growth: Array
    """(N,) d ln E phi'^2 / d ln q."""
    value: Series
    """Of phi and phi."""
    slope: Series
    """Of phi' and phi'."""
    square: Series
    """Of phi^2 and phi^2."""
    slope_square: Series
    """Of phi'^2 and phi'^2."""
    square_and_slope: Series
    """Of phi^2 and phi'^2."""


_PLAIN = 8


def _hermite(z: Array) -> Array:
    """Return the normalized Hermite polynomials at z (P,), (P, TERMS)."""
    found = np.empty((len(z), TERMS))
    found[:, 0], found[:, 1] = 1.0, z
    for k in range(1, TERMS - 1):
        found[:, k + 1] = (z * found[:, k] - math.sqrt(k) * found[:, k - 1]) / math.sqrt(k + 1)
    return found


def _pieces(corners: Array) -> tuple[Array, Array]:
    """Return nodes and weights (P,) of the Gaussian average, split at corners and crowded at 0."""
    edges = np.unique(np.concatenate([-_LENGTHS, [0.0], _LENGTHS, corners[np.abs(corners) < _REACH]]))
    parts = np.maximum(1, np.ceil(np.diff(edges) / _LONGEST)).astype(int)
    first = np.repeat(np.cumsum(parts) - parts, parts)
    length = np.repeat(np.diff(edges) / parts, parts)
    low = np.repeat(edges[:-1], parts) + (np.arange(parts.sum()) - first) * length
    half = length[:, None] / 2
    z = low[:, None] + half * (1 + _NODES)
    return z.ravel(), (half * _WEIGHTS * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)).ravel()


def _quadrature(activation: Activation, q: Array) -> Array:
    """Return the rows of the table at each q (N,), (N, columns)."""
    scale = np.sqrt(q)[:, None]
    kinks = np.array([kink for kink in activation.kinks if kink != 0])
    z, weights = _pieces((kinks / scale).ravel())
    x = scale * z
    phi, slope = activation.values(x), activation.slopes(x)
    square, slope_square = phi * phi, slope * slope
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        second, slopes = square @ weights, slope_square @ weights
        phi /= np.sqrt(second)[:, None]
        slope /= np.sqrt(slopes)[:, None]
        square /= second[:, None]
        slope_square /= slopes[:, None]
        plain = (
            np.log(second),
            np.log(slopes),
            phi @ weights,
            (square * square) @ weights,
            (slope_square * slope_square) @ weights,
            (square * slope_square) @ weights,
            # d phi(sqrt(q) z)^2 / d ln q = phi phi' sqrt(q) z; phi' may jump, so its own average goes by the density.
            (phi * slope * z) @ weights * np.sqrt(q * slopes / second),
            (slope_square * (z * z - 1)) @ weights / 2,
        )
    series = _hermite(z) * weights[:, None]
    return np.concatenate([np.stack(plain, axis=1), *(f @ series for f in (phi, slope, square, slope_square))], axis=1)


class _Table:
    """The averages of one activation, block by block as they are asked for."""

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._blocks: dict[int, Array] = {}
        self._scales = is_homogeneous(activation)
        self._starts_at_0 = float(activation.values(0.0)) == 0
        bound = ACTIVATIONS.read(activation.text)
        # The averages of sin(omega z) no longer change, to double precision, where its phase covers many periods.
        self._most = math.log(50 / bound.values["omega"] ** 2) if bound.record.name == "sine" else _MOST

    def _block(self, number: int) -> Array:
        """Return the Chebyshev coefficients of a block, (POINTS, columns)."""
        if number not in self._blocks:
            x = (number + (1 + _CHEBYSHEV) / 2) * _BLOCK
            self._blocks[number] = _FIT @ _quadrature(self._activation, np.exp(np.minimum(x, self._most)))
        return self._blocks[number]

    def rows(self, x: Array, columns: int) -> Array:
        """Return the first columns of the rows at ln q = x (N,), (N, columns); at least the plain ones."""
        if self._scales:
            if not self._blocks:
                self._blocks[0] = _quadrature(self._activation, np.ones(1))
            found = np.repeat(self._blocks[0], len(x), axis=0)
            found = found[:, :columns]
            found[:, 0] += x
            return found
        inner = np.clip(x, _LEAST, self._most)
        # The last block of a function that settles is flat in part: stay within those that are not.
        place = np.minimum(inner, self._most - 1e-9) / _BLOCK
        numbers = np.floor(place).astype(int)
        each, inverse = np.unique(numbers, return_inverse=True)
        terms = np.polynomial.chebyshev.chebvander(2 * (place - numbers) - 1, _POINTS - 1)
        blocks = np.stack([self._block(int(number))[:, :columns] for number in each])
        found = (terms[:, None] @ blocks[inverse])[:, 0]
        # Below, E phi^2 goes with q, or is the constant phi(0)^2; above, by the power that it has reached.
        below, above = x < _LEAST, x > self._most
        if self._starts_at_0:
            found[below, 0] += x[below] - _LEAST
        if self._most == _MOST:
            found[above, :2] += (x[above] - _MOST)[:, None] * found[above][:, 6:8]
        return found


@lru_cache(maxsize=64)
def _table(activation: Activation) -> _Table:
    return _Table(activation)


def log_squares(activation: Activation, x: Array) -> tuple[Array, Array, Array]:
    """Return ln E phi^2, ln E phi'^2, and E phi over the root of E phi^2, at ln q = x (N,)."""
    found = _table(activation).rows(x, _PLAIN)
    return found[:, 0], found[:, 1], found[:, 2]


def _steepness(x: Array, log_square: Array, log_slope_square: Array) -> Array:
    """Return q E phi'^2 / E phi^2 at ln q = x, the derivative at c = 1 of E phi(u) phi(v) over E phi^2."""
    with np.errstate(over="ignore", invalid="ignore"):
        exponent = np.where(np.isfinite(x), x, _LEAST) + log_slope_square
        found: Array = np.exp(exponent - np.where(np.isfinite(x), log_square, _LEAST))
    return found


def _series(f: Array, g: Array, whole: Array, derivative: Array | None = None) -> Series:
    """Return the series of terms f (N, TERMS) and g whose value at c = 1 is `whole` (N,), and its derivative there."""
    terms = f * g
    rest = whole - terms.sum(axis=1)
    power = np.full(len(whole), float(TERMS))
    if derivative is not None:
        some = rest > 1e-9
        power[some] = np.maximum(TERMS, (derivative - terms @ np.arange(TERMS))[some] / rest[some])
    return Series(terms, rest, power)


def correlation(activation: Activation, x: Array) -> Series:
    """Return E phi(u) phi(v) over E phi^2 at ln q = x (N,), as a series in the correlation of u and v."""
    found = _table(activation).rows(x, _PLAIN + TERMS)
    phi = found[:, _PLAIN:]
    return _series(phi, phi, np.ones(len(x)), _steepness(x, found[:, 0], found[:, 1]))


def averages(activation: Activation, x: Array) -> Averages:
    """Return all averages at ln q = x (N,); -inf is q = 0."""
    found = _table(activation).rows(x, _PLAIN + 4 * TERMS)
    plain = found[:, :_PLAIN].T
    phi, slope, square, slope_square = np.split(found[:, _PLAIN:], 4, axis=1)
    steep = _steepness(x, plain[0], plain[1])
    one = np.ones(len(x))
    log_square, log_slope, mean, fourth, slope_fourth, mixed, growth, slope_growth = plain
    return Averages(
        log_square,
        log_slope,
        mean,
        fourth,
        slope_fourth,
        mixed,
        growth,
        slope_growth,
        _series(phi, phi, one, steep),
        _series(slope, slope, one),
        _series(square, square, plain[3]),
        _series(slope_square, slope_square, plain[4]),
        _series(square, slope_square, plain[5]),
    )
