"""Many averages of an activation at once, fast, from rules that are laid out beforehand.

Those by which a signal goes on, `log_squares`, are interpolated in ln q between points of a quadrature, and kept:
block by block of a decade of q, at 20 Chebyshev points each, so that a relative error of 1e-10 is not exceeded
(`tests/test_mean_field.py` measures it). All others are quadratures at the q that is asked for. Beyond 1e-26 and 1e26
every activation of the catalogue is two straight lines, a constant, or settled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from winit.activations import Activation
from winit.theory.gaussian import is_homogeneous
from winit.theory.rules import TERMS, Array, Rule, rule

_LEAST, _MOST = math.log(1e-26), math.log(1e26)
_POINTS = 20
_BLOCK = math.log(10)
_CHEBYSHEV = np.cos(math.pi * (np.arange(_POINTS) + 0.5) / _POINTS)
_FIT = np.linalg.inv(np.polynomial.chebyshev.chebvander(_CHEBYSHEV, _POINTS - 1))
_FIRST = math.floor(_LEAST / _BLOCK)
_BLOCKS = math.ceil(_MOST / _BLOCK) - _FIRST
_DEGREES = np.arange(_POINTS)
_TOGETHER = 4  # blocks of one rule


@dataclass(frozen=True)
class Series:
    """E f(u) g(v) over f's and g's own scale, for Gaussians of correlation c, as a power series in c."""

    terms: Array
    """(N, TERMS) coefficients of c^0, c^1, ..."""
    rest: Array
    """(N,) what they leave at c = 1."""
    power: Array
    """(N,) of c by which the rest falls: from the derivative at c = 1 where that is known."""

    def __getitem__(self, place: int) -> Series:
        """Return one of the series alone."""
        some = slice(place, place + 1)
        return Series(self.terms[some], self.rest[some], self.power[some])

    def __call__(self, c: Array) -> Array:
        """Return the average at correlations c (N,), -1 to 1; of any number where the series is one."""
        powers = np.vander(c, self.terms.shape[1], increasing=True)
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
    bend: Array
    """(N,) d growth / d ln q."""
    slope_bend: Array
    """(N,) d slope_growth / d ln q."""
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


@dataclass(frozen=True)
class _Sample:
    """phi and phi' at the nodes of a rule, over their own root mean square."""

    q: Array
    """(N,)"""
    rule: Rule
    log_square: Array
    """(N,)"""
    log_slope_square: Array
    """(N,)"""
    phi: Array
    """(N, P)"""
    slope: Array
    """(N, P)"""

    @classmethod
    def of(cls, activation: Activation, q: Array) -> _Sample:
        """Return that at each q (N,)."""
        found = rule(activation, q)
        phi, slope = activation.values_and_slopes(np.sqrt(q)[:, None] * found.z)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
            square, slope_square = np.vecdot(phi * phi, found.weights), np.vecdot(slope * slope, found.weights)
            phi /= np.sqrt(square)[:, None]
            slope /= np.sqrt(slope_square)[:, None]
            return cls(q, found, np.log(square), np.log(slope_square), phi, slope)

    @cached_property
    def columns(self) -> Array:
        """Return ln E phi^2, ln E phi'^2, E phi, d ln E phi^2 / d ln q and d ln E phi'^2 / d ln q, (N, 5)."""
        z, weights = self.rule.z, self.rule.weights
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            # d phi(sqrt(q) z)^2 / d ln q = phi phi' sqrt(q) z; phi' may jump, so its own average goes by the density.
            growth = np.vecdot(self.phi * self.slope, z * weights)
            growth *= np.exp((np.log(self.q) + self.log_slope_square - self.log_square) / 2)
            slope_growth = np.vecdot(self.slope**2, (z * z - 1) * weights) / 2
        mean = np.vecdot(self.phi, weights)
        return np.stack([self.log_square, self.log_slope_square, mean, growth, slope_growth], axis=1)


class _Table:
    """What is interpolated of one activation, block by block as it is asked for."""

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._scales = is_homogeneous(activation)
        self._blocks = np.empty((_BLOCKS, _POINTS, 5))
        self._is_known = np.zeros(_BLOCKS, dtype=bool)
        self._starts_at_0 = float(activation.values(0.0)) == 0
        # The averages of a wave no longer change, to double precision, where its phase covers many periods.
        self.most = math.log(50 / activation.frequency**2) if activation.frequency else _MOST

    def _learn(self, numbers: Array) -> None:
        """Compute the Chebyshev coefficients of blocks."""
        for some in np.split(numbers, np.flatnonzero(np.diff(numbers // _TOGETHER)) + 1):
            x = (some[:, None] + _FIRST + (1 + _CHEBYSHEV) / 2) * _BLOCK
            q = np.exp(np.minimum(x, self.most)).ravel()
            values = _Sample.of(self._activation, q).columns
            self._blocks[some] = _FIT @ values.reshape(len(some), _POINTS, -1)
            self._is_known[some] = True

    def rows(self, x: Array) -> Array:
        """Return the columns at ln q = x (N,), (N, 5)."""
        if self._scales:
            found = np.repeat(_alike(self._activation).columns, len(x), axis=0)
            found[:, 0] += x
            return found
        inner = np.fmin(np.fmax(x, _LEAST), self.most)
        # The last block of a function that settles is flat in part: stay within those that are not.
        place = np.minimum(inner, self.most - 1e-9) / _BLOCK - _FIRST
        numbers = place.astype(int)
        if not self._is_known[numbers].all():
            self._learn(np.unique(numbers[~self._is_known[numbers]]))
        terms = np.cos(np.arccos(2 * (place - numbers) - 1)[:, None] * _DEGREES)
        found = np.empty((len(x), self._blocks.shape[2]))
        for number in set(numbers.tolist()):
            here = numbers == number
            found[here] = terms[here] @ self._blocks[number]
        # Below, E phi^2 goes with q, or is the constant phi(0)^2; above, by the power that it has reached.
        if self._starts_at_0:
            found[:, 0] += np.minimum(x - _LEAST, 0.0)
        if self.most == _MOST:
            found[:, :2] += np.maximum(x - _MOST, 0.0)[:, None] * found[:, 3:]
        return found


@lru_cache(maxsize=64)
def _table(activation: Activation) -> _Table:
    return _Table(activation)


@lru_cache(maxsize=64)
def _alike(activation: Activation) -> _Sample:
    """Return the sample that serves a homogeneous activation at every q, but for its ln E phi^2."""
    return _Sample.of(activation, np.ones(1))


def _sample(activation: Activation, x: Array) -> _Sample:
    """Return the sample at ln q = x (N,), or the one that serves all."""
    if is_homogeneous(activation):
        return _alike(activation)
    return _Sample.of(activation, np.exp(np.fmin(np.fmax(x, _LEAST), _table(activation).most)))


def log_squares(activation: Activation, x: Array) -> tuple[Array, Array, Array]:
    """Return ln E phi^2, ln E phi'^2, and E phi over the root of E phi^2, at ln q = x (N,)."""
    found = _table(activation).rows(x)
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
    if is_homogeneous(activation):
        return averages(activation, x).value
    found = _sample(activation, x)
    phi = (found.phi[:, None] @ found.rule.hermite)[:, 0]
    steep = _steepness(np.log(found.q), found.log_square, found.log_slope_square)
    return _series(phi, phi, np.ones(len(x)), steep)


def averages(activation: Activation, x: Array) -> Averages:
    """Return all averages at ln q = x (N,); -inf is q = 0."""
    found = _sample(activation, x)
    log_square, log_slope, mean, growth, slope_growth = _table(activation).rows(x).T
    square, slope_square, weights = found.phi**2, found.slope**2, found.rule.weights
    fourth, slope_fourth, mixed = (
        np.broadcast_to(np.vecdot(f * g, weights), x.shape)
        for f, g in ((square, square), (slope_square, slope_square), (square, slope_square))
    )
    terms = np.stack([found.phi, found.slope, square, slope_square], axis=1) @ found.rule.hermite
    of_phi, of_slope, of_square, of_slope_square = np.moveaxis(np.broadcast_to(terms, (len(x), 4, TERMS)), 1, 0)
    one = np.ones(len(x))

    def bend(terms: Array, growth: Array) -> Array:
        """Return d^2 ln E f / d(ln q)^2: q^2 d^2 E f / dq^2 is E f He_4 / 4, as d E f / dq is E f'' / 2."""
        curved: Array = math.sqrt(24) / 4 * terms[:, 4] + growth - growth**2
        return curved

    return Averages(
        log_square,
        log_slope,
        mean,
        fourth,
        slope_fourth,
        mixed,
        growth,
        slope_growth,
        bend(of_square, growth),
        bend(of_slope_square, slope_growth),
        _series(of_phi, of_phi, one, _steepness(x, log_square, log_slope)),
        _series(of_slope, of_slope, one),
        _series(of_square, of_square, fourth),
        _series(of_slope_square, of_slope_square, slope_fourth),
        _series(of_square, of_slope_square, mixed),
    )
