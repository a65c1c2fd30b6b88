"""The law of one weight: exact moments, bounds, density and distribution function, and how to draw it.

Every law draws float32 tensors from a `torch.Generator` that is passed in. Moments, densities and
distribution functions are those of the law, not of a sample, and of a single entry: where a whole
matrix is drawn, of one chosen uniformly at random.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from winit.fields import Refused

Array = NDArray[np.float64]

TRUNCATED_STDDEV = 0.87962566103423978
"""Standard deviation of N(0, 1) cut at two standard deviations: sqrt(1 - 2 a phi(a) / (2 Phi(a) - 1)), a = 2."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def _special() -> Any:
    """Return `scipy.special`: a quarter of a second to import, for who asks for shares below a number."""
    from scipy import special

    return special


class Moments(NamedTuple):
    """Mean, standard deviation, and third and fourth central moment over its powers (any number where it is 0)."""

    mean: float
    standard_deviation: float
    skewness: float
    kurtosis: float


class Law(ABC):
    """Distribution of one entry of a weight matrix."""

    shape: str = "other"
    """How the law is drawn in a figure: normal, truncated_normal, uniform or other."""

    axes: int = 0
    """How many of the last axes are drawn together; along all others, draws are independent."""

    @property
    @abstractmethod
    def moments(self) -> Moments: ...

    @property
    def support(self) -> tuple[float, float]:
        """Both ends of the support; infinite where it is unbounded."""
        return (self.mean, self.mean) if self.atoms else (-math.inf, math.inf)

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """The values that carry probability, each with its probability; the mean alone where nothing spreads."""
        return ((self.mean, 1.0),) if self.standard_deviation == 0 else ()

    @property
    def no_density(self) -> str | None:
        """Why there is no density at all, where there is none."""
        count = len(self.atoms)
        values = {1: "one value", 2: "two values"}.get(count, f"{count} values")
        return f"all mass lies on {values}" if count else None

    @property
    def mean(self) -> float:
        return self.moments.mean

    @property
    def variance(self) -> float:
        return self.standard_deviation**2

    @property
    def standard_deviation(self) -> float:
        return self.moments.standard_deviation

    @property
    def skewness(self) -> float:
        """Third central moment over the third power of the standard deviation; NaN where that is 0."""
        return self.moments.skewness if self.standard_deviation != 0 else math.nan

    @property
    def kurtosis(self) -> float:
        """Fourth central moment over the squared variance: 3 for a normal law, NaN where the variance is 0."""
        return self.moments.kurtosis if self.standard_deviation != 0 else math.nan

    @property
    def minimum(self) -> float:
        """Lower end of the support; -inf where it is unbounded."""
        return self.support[0]

    @property
    def maximum(self) -> float:
        """Upper end of the support; inf where it is unbounded."""
        return self.support[1]

    @property
    def zero_fraction(self) -> float:
        """Probability that an entry is exactly 0."""
        return sum(probability for value, probability in self.atoms if value == 0)

    def sample(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Draw a float32 tensor of `size`; the last two axes are (fan_out, fan_in).

        Raises `Refused` for a size with an empty side or too few of them.
        """
        if len(size) < self.axes or min(size, default=1) < 1:
            raise Refused(f"{self.axes} or more sides of at least 1, not {size}")
        return self._draw(size, generator)

    def density(self, x: Array) -> Array:
        """Return the density at each `x` of what is not on atoms; NaN everywhere where there is none.

        It integrates to the probability that is not on atoms.
        """
        return self._density(x) if self.no_density is None else np.full_like(x, np.nan)

    def cumulative(self, x: Array) -> Array:
        """Return the probability of an entry of at most each `x`; NaN everywhere where it is not known."""
        if not self.atoms:
            return self._cumulative(x)
        return sum((np.where(x >= value, probability, 0.0) for value, probability in self.atoms), np.zeros_like(x))

    @abstractmethod
    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor: ...

    def _density(self, x: Array) -> Array:
        return np.full_like(x, np.nan)

    def _cumulative(self, x: Array) -> Array:
        """Return the distribution function of a law without atoms."""
        return np.full_like(x, np.nan)


def _within(draw: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Clamp to [low, high] so that float32 rounding never leaves the support."""
    return draw.clamp_(*_inner_float32(low, high))


@lru_cache(maxsize=1024)
def _inner_float32(low: float, high: float) -> tuple[float, float]:
    """Return the smallest and the largest float32 in [low, high]."""
    bounds = np.array([low, high])
    rounded = bounds.astype(np.float32)
    inward = np.nextafter(rounded, np.array([np.inf, -np.inf], dtype=np.float32))
    outside = np.array([rounded[0] < bounds[0], rounded[1] > bounds[1]])
    low32, high32 = np.where(outside, inward, rounded)
    return float(low32), float(high32)


@dataclass(frozen=True)
class Constant(Law):
    """Every entry is `value`."""

    value: float

    @property
    def moments(self) -> Moments:
        return Moments(self.value, 0.0, 0.0, 0.0)

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return torch.full(size, self.value)


@dataclass(frozen=True)
class Normal(Law):
    """N(mu, sigma^2), not cut."""

    mu: float
    sigma: float
    shape = "normal"

    @property
    def moments(self) -> Moments:
        return Moments(self.mu, self.sigma, 0.0, 3.0)

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return torch.empty(size).normal_(self.mu, self.sigma, generator=generator)

    def _density(self, x: Array) -> Array:
        z = (x - self.mu) / self.sigma
        return np.exp(-0.5 * z**2) / (self.sigma * math.sqrt(2 * math.pi))

    def _cumulative(self, x: Array) -> Array:
        below: Array = _special().ndtr((x - self.mu) / self.sigma)
        return below


@dataclass(frozen=True)
class TruncatedNormal(Law):
    """N(mu, parent^2) cut to [low, high], low < high; `Refused` otherwise. `sigma` is the real deviation, if known.

    Moments and probabilities are Gauss-Legendre integrals over what lies within reach of the mode. Their closed
    forms lose all digits to cancellation far from mu and in narrow cuts; a sum of positive terms loses none.
    """

    mu: float
    parent: float
    low: float
    high: float
    sigma: float | None = field(default=None, kw_only=True, repr=False, compare=False)
    shape = "truncated_normal"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise Refused("low below high")
        if not self.parent > 0:
            raise Refused("a parent standard deviation above 0")

    @classmethod
    def at(cls, mu: float, parent: float, lower: float, upper: float) -> Self:
        """Return the law cut at `lower` and `upper` parent standard deviations from mu."""
        return cls(mu, parent, mu + lower * parent, mu + upper * parent)

    @classmethod
    @lru_cache(maxsize=1024)
    def corrected(cls, sigma: float) -> Self:
        """Return the law around 0, cut at two parent standard deviations, whose real one is `sigma`.

        The correction is that of `jax.nn.initializers.variance_scaling` and `keras.initializers.VarianceScaling`.
        """
        return replace(cls.at(0.0, sigma / TRUNCATED_STDDEV, -2.0, 2.0), sigma=sigma)

    @cached_property
    def _cut(self) -> tuple[float, float]:
        """Both bounds in parent standard deviations from mu, where their squares do not overflow."""
        lower, upper = np.clip([(end - self.mu) / self.parent for end in self.support], -1e150, 1e150).tolist()
        return lower, upper

    @cached_property
    def _mode(self) -> float:
        return min(max(self.mu, self.low), self.high)

    @cached_property
    def _slope(self) -> float:
        """Where the mode is, in parent standard deviations from mu: how fast the logarithm of the density falls."""
        return min(max(0.0, self._cut[0]), self._cut[1])

    @cached_property
    def _range(self) -> tuple[float, float]:
        """From where to where to integrate, in parent standard deviations from the mode: e^-50 lies beyond."""
        reach = 100 / (abs(self._slope) + math.hypot(self._slope, 10))
        return max((self.low - self._mode) / self.parent, -reach), min((self.high - self._mode) / self.parent, reach)

    def _relative(self, t: Array) -> Array:
        """Return the density at `t` parent standard deviations from the mode over the density at the mode."""
        return np.exp(-t * (t / 2 + self._slope))

    def _mass(self, t: Array) -> Array:
        """Return the integral of `_relative` up to each `t`."""
        start = self._range[0]
        centre, half = (t + start) / 2, (t - start) / 2
        terms = (weight * self._relative(centre + node * half) for node, weight in zip(_NODES, _WEIGHTS, strict=True))
        return half * sum(terms, np.zeros_like(t))

    @cached_property
    def moments(self) -> Moments:
        start, end = self._range
        centre, half = (start + end) / 2, (end - start) / 2
        weights = _WEIGHTS * self._relative(centre + _NODES * half)
        weights /= weights.sum()
        mean = math.fsum(weights * _NODES)  # exactly 0 where the cut is symmetric
        second, third, fourth = (math.fsum(weights * (_NODES - mean) ** power) for power in (2, 3, 4))
        return Moments(
            self._mode + self.parent * (centre + half * mean),
            self.parent * half * math.sqrt(second) if self.sigma is None else self.sigma,
            third / second**1.5,
            fourth / second**2,
        )

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def _quantile(self, u: Array) -> Array:
        start, end = self._range
        if end - start < 1e-4:  # too short for the curvature of log density to show: an exponential law
            rate = self._slope * (end - start)
            part = -np.log1p(u * np.expm1(-rate)) / rate if rate else u
            return self._mode + self.parent * (start + (end - start) * part)
        # In logarithms and on the lower side, where float64 tells the probabilities of far tails apart.
        side = -1 if self._cut[0] > 0 else 1
        least, most = _special().log_ndtr(sorted(side * bound for bound in self._cut))
        z: Array = _special().ndtri_exp(most + np.log1p((1 - u) * np.expm1(least - most)))
        return self.mu + self.parent * side * z

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        lower, upper = self._cut
        if -3 <= lower < 0 < upper <= 3:
            # Inverse of the distribution function: 2 Phi(x) - 1 = erf(x / sqrt 2), uniform between those of the bounds.
            edges = [math.erf(bound * math.sqrt(0.5)) for bound in self._cut]
            draw = torch.empty(size).uniform_(*edges, generator=generator)
            draw.erfinv_().mul_(math.sqrt(2) * self.parent).add_(self.mu)
        elif lower < -6 and upper > 6:  # two in a billion lie outside
            draw = torch.empty(size).normal_(self.mu, self.parent, generator=generator)
        else:
            u = torch.empty(size, dtype=torch.float64).uniform_(generator=generator)
            draw = torch.as_tensor(self._quantile(u.numpy()), dtype=torch.float32)
        return _within(draw, self.low, self.high)

    def _density(self, x: Array) -> Array:
        inside = self._relative((np.clip(x, self.low, self.high) - self._mode) / self.parent)
        whole = self._mass(np.array(self._range[1]))
        return np.where((x >= self.low) & (x <= self.high), inside / (self.parent * whole), 0.0)

    def _cumulative(self, x: Array) -> Array:
        start, end = self._range
        return self._mass(np.clip((x - self._mode) / self.parent, start, end)) / self._mass(np.array(end))


@dataclass(frozen=True)
class Uniform(Law):
    """Uniform between `low` and `high`, low < high. Raises `Refused` otherwise."""

    low: float
    high: float
    shape = "uniform"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise Refused("minval below maxval")

    @property
    def moments(self) -> Moments:
        return Moments((self.low + self.high) / 2, (self.high - self.low) / math.sqrt(12), 0.0, 1.8)

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return _within(torch.empty(size).uniform_(self.low, self.high, generator=generator), self.low, self.high)

    def _density(self, x: Array) -> Array:
        return np.where((x >= self.low) & (x <= self.high), 1 / (self.high - self.low), 0.0)

    def _cumulative(self, x: Array) -> Array:
        return np.clip((x - self.low) / (self.high - self.low), 0.0, 1.0)


@dataclass(frozen=True)
class Laplace(Law):
    """Two exponential tails around 0, of scale sigma / sqrt 2."""

    sigma: float

    @property
    def moments(self) -> Moments:
        return Moments(0.0, self.sigma, 0.0, 6.0)

    @property
    def _scale(self) -> float:
        return self.sigma / math.sqrt(2)

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        tails = torch.empty(2, *size).exponential_(generator=generator)
        return tails[0].sub(tails[1]).mul_(self._scale)

    def _density(self, x: Array) -> Array:
        return np.exp(-np.abs(x) / self._scale) / (2 * self._scale)

    def _cumulative(self, x: Array) -> Array:
        tail = 0.5 * np.exp(-np.abs(x) / self._scale)
        return np.where(x < 0, tail, 1 - tail)


@dataclass(frozen=True)
class StudentT(Law):
    """Student's t with `nu` > 2 degrees of freedom, scaled to standard deviation sigma. Raises `Refused` otherwise."""

    sigma: float
    nu: float

    def __post_init__(self) -> None:
        if not self.nu > 2:
            raise Refused("nu above 2")

    @property
    def moments(self) -> Moments:
        return Moments(0.0, self.sigma, 0.0, 3 + 6 / (self.nu - 4) if self.nu > 4 else math.inf)

    @property
    def _scale(self) -> float:
        return self.sigma * math.sqrt((self.nu - 2) / self.nu)

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        # Normal over the root of an independent chi-squared over nu; half of it follows Gamma(nu / 2).
        root = torch._standard_gamma(torch.full(size, self.nu / 2), generator=generator).div_(self.nu / 2).sqrt_()
        return torch.empty(size).normal_(0.0, self._scale, generator=generator).div_(root)

    def _density(self, x: Array) -> Array:
        area = self._scale * math.sqrt(self.nu) * float(_special().beta(0.5, self.nu / 2))
        return np.exp(-(self.nu + 1) / 2 * np.log1p((x / self._scale) ** 2 / self.nu)) / area

    def _cumulative(self, x: Array) -> Array:
        below: Array = _special().stdtr(self.nu, x / self._scale)
        return below


@dataclass(frozen=True)
class Beta21(Law):
    """Density 2 w on [0, 1], Beta(2, 1): one weight of each neuron of Lu et al. 2019 (arXiv:1903.06733)."""

    @property
    def moments(self) -> Moments:
        return Moments(2 / 3, math.sqrt(1 / 18), -math.sqrt(8) / 5, 2.4)

    @property
    def support(self) -> tuple[float, float]:
        return 0.0, 1.0

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return torch.empty(size).uniform_(generator=generator).sqrt_()

    def _density(self, x: Array) -> Array:
        return np.where((x >= 0) & (x <= 1), 2 * x, 0.0)

    def _cumulative(self, x: Array) -> Array:
        return np.clip(x, 0.0, 1.0) ** 2


@dataclass(frozen=True)
class _Coordinate(Law):
    """A coordinate of gain times a random unit vector of n, whose coordinates and their signs are exchangeable."""

    gain: float
    n: int

    @property
    @abstractmethod
    def _kurtosis(self) -> float: ...

    @property
    def moments(self) -> Moments:
        return Moments(0.0, abs(self.gain) / math.sqrt(self.n), 0.0, self._kurtosis)

    @property
    def support(self) -> tuple[float, float]:
        return -abs(self.gain), abs(self.gain)

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        return super().atoms or tuple((end, 0.5) for end in self.support if self.n == 1)


@dataclass(frozen=True)
class Orthogonal(_Coordinate):
    """An entry of gain times a Haar-distributed matrix with orthonormal rows or columns; n is its larger side.

    The squared entry over gain^2 follows Beta(1/2, (n - 1)/2) (Mezzadri 2007 for the draw: QR of a
    Gaussian matrix with the signs of R's diagonal moved into Q).
    """

    axes = 2

    @property
    def _kurtosis(self) -> float:
        return 3 * self.n / (self.n + 2)

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        q: torch.Tensor
        *batch, rows, columns = size
        tall = torch.empty(*batch, max(rows, columns), min(rows, columns)).normal_(generator=generator)
        q, r = torch.linalg.qr(tall)
        signs = torch.diagonal(r, dim1=-2, dim2=-1).sign()
        q = q.mul_(torch.where(signs == 0, 1.0, signs).unsqueeze(-2)).mul_(self.gain).add_(0.0)
        return (q if rows >= columns else q.mT).contiguous()

    def _squared(self, x: Array) -> Array:
        return np.clip(x / self.gain, -1, 1) ** 2

    def _density(self, x: Array) -> Array:
        height = 1 / (abs(self.gain) * _special().beta(0.5, (self.n - 1) / 2))
        with np.errstate(divide="ignore"):  # n = 2 is the arcsine law, infinite at its ends
            inside = height * (1 - self._squared(x)) ** ((self.n - 3) / 2)
        return np.where(np.abs(x) <= abs(self.gain), inside, 0.0)

    def _cumulative(self, x: Array) -> Array:
        nearer: Array = _special().betainc(0.5, (self.n - 1) / 2, self._squared(x))
        return 0.5 + 0.5 * np.sign(x) * nearer


@dataclass(frozen=True)
class CubeDirection(_Coordinate):
    """An entry of gain times u / |u|, u uniform in the cube [-1, 1]^n; n is the last axis (Nguyen & Widrow 1990)."""

    axes = 1

    @property
    def no_density(self) -> str | None:
        return super().no_density or "its density has no closed form"

    @property
    def _kurtosis(self) -> float:
        """n^2 E u1^4 / |u|^4, where 1 / |u|^4 is the integral of t exp(-t |u|^2) over t from 0.

        Each E u1^2k exp(-t u1^2) is an incomplete gamma function. In log t, the integrand is analytic and
        falls exponentially to both sides, so that the trapezoidal rule leaves rounding errors only.
        """
        step = 0.125
        t = np.exp(np.arange(-40, 80, step))
        zeroth, fourth = (_special().gamma(a) * _special().gammainc(a, t) / (2 * t**a) for a in (0.5, 2.5))
        return float(self.n**2 * step * np.sum(t**2 * fourth * zeroth ** (self.n - 1)))

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        u = torch.empty(size).uniform_(-1, 1, generator=generator).add_(1e-10)  # u = 0 has no direction
        u = u.div_(torch.linalg.vector_norm(u, dim=-1, keepdim=True)).mul_(self.gain)
        return _within(u, self.minimum, self.maximum)


@dataclass(frozen=True)
class Mixture(Law):
    """Each entry follows one of a few laws, chosen with its weight. Raises `Refused` unless the weights add up to 1."""

    parts: tuple[tuple[Law, float], ...]

    def __post_init__(self) -> None:
        total = math.fsum(weight for _, weight in self.parts)
        if not (all(weight >= 0 for _, weight in self.parts) and abs(total - 1) < 1e-9):
            raise Refused("weights of at least 0 that add up to 1")
        merged: dict[Law, float] = {}
        for law, weight in self.parts:
            merged[law] = merged.get(law, 0.0) + weight / total
        object.__setattr__(self, "parts", tuple(part for part in merged.items() if part[1] > 0))

    @property
    def moments(self) -> Moments:
        each = [(law.moments, weight) for law, weight in self.parts]
        mean = math.fsum(weight * part.mean for part, weight in each)
        # In units of the widest part or distance, so that no power over- or underflows.
        unit = max(max(part.standard_deviation, abs(part.mean - mean)) for part, _ in each) or 1.0
        second = third = fourth = 0.0
        for part, weight in each:
            d, s = (part.mean - mean) / unit, part.standard_deviation / unit
            cubed, to_fourth = (part.skewness * s**3, part.kurtosis * s**4) if s else (0.0, 0.0)
            second += weight * (d**2 + s**2)
            third += weight * (d**3 + 3 * d * s**2 + cubed)
            fourth += weight * (d**4 + 6 * d**2 * s**2 + 4 * d * cubed + to_fourth)
        root = math.sqrt(second)
        return Moments(mean, unit * root, third / (root**3 or 1.0), fourth / (root**4 or 1.0))

    @property
    def support(self) -> tuple[float, float]:
        return min(law.minimum for law, _ in self.parts), max(law.maximum for law, _ in self.parts)

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        merged: dict[float, float] = {}
        for law, weight in self.parts:
            for value, probability in law.atoms:
                merged[value] = merged.get(value, 0.0) + weight * probability
        return tuple(sorted(merged.items()))

    @property
    def _spread(self) -> list[tuple[Law, float]]:
        """The parts that are not on atoms alone."""
        return [(law, weight) for law, weight in self.parts if not (law.atoms and law.no_density)]

    @property
    def no_density(self) -> str | None:
        reasons = [law.no_density for law, _ in self._spread]
        return next(filter(None, reasons), None) if reasons else super().no_density

    def cumulative(self, x: Array) -> Array:
        return sum((weight * law.cumulative(x) for law, weight in self.parts), np.zeros_like(x))

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        draw = chance = torch.rand(size, generator=generator)
        edge = 0.0
        for law, weight in self.parts:
            draw = torch.where(chance >= edge, law.sample(size, generator), draw)
            edge += weight
        return draw

    def _density(self, x: Array) -> Array:
        return sum((weight * law.density(x) for law, weight in self._spread), np.zeros_like(x))


class Sparse(Mixture):
    """An entry of a matrix in which a share `zeros` is exactly 0 and the rest follows `law`."""

    def __init__(self, law: Law, zeros: float) -> None:
        super().__init__(((Constant(0.0), zeros), (law, 1 - zeros)))


class Atoms(Mixture):
    """A few values, each with its probability."""

    def __init__(self, points: tuple[tuple[float, float], ...]) -> None:
        super().__init__(tuple((Constant(value), probability) for value, probability in points))

    @classmethod
    def of(cls, matrix: torch.Tensor | Array) -> Atoms:
        """Return the law of an entry, chosen at random, of a given matrix of few distinct values."""
        values, counts = np.unique(np.asarray(matrix), return_counts=True)
        return Atoms(tuple(zip(values.tolist(), (counts / counts.sum()).tolist(), strict=True)))


class Rademacher(Atoms):
    """-sigma or sigma, a fair sign."""

    def __init__(self, sigma: float) -> None:
        super().__init__(((-sigma, 0.5), (sigma, 0.5)))


class TwoPointSparse(Atoms):
    """-/+ sigma / sqrt(share), a fair sign, with probability 0 < `share` <= 1, else 0. Raises `Refused` otherwise."""

    def __init__(self, sigma: float, share: float) -> None:
        if not 0 < share <= 1:
            raise Refused("a share above 0, at most 1")
        value = sigma / math.sqrt(share)
        super().__init__(((-value, share / 2), (0.0, 1 - share), (value, share / 2)))


@dataclass(frozen=True)
class Unknown(Law):
    """A law that depends on data, for the `reason` given: mean 0, nothing else known. Raises `Refused` when drawn."""

    reason: str

    @property
    def moments(self) -> Moments:
        return Moments(0.0, math.nan, math.nan, math.nan)

    @property
    def no_density(self) -> str | None:
        return self.reason

    def _draw(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        raise Refused(f"data: {self.reason}")
