"""The law of one weight: exact moments, bounds and density, and how to draw it.

Every law draws float32 tensors from a `torch.Generator` that is passed in. Moments and densities
are those of the law, not of a sample; the density is of a single entry.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from winit.fields import Refused

Array = NDArray[np.float64]

TRUNCATED_STDDEV = 0.87962566103423978
"""Standard deviation of N(0, 1) cut at two standard deviations: sqrt(1 - 2 a phi(a) / (2 Phi(a) - 1)), a = 2."""


class Law(ABC):
    """Distribution of one entry of a weight matrix."""

    shape: str
    """How the law is drawn in a figure: normal, truncated_normal, uniform or other."""

    no_density: str | None = None
    """Why there is no density, where there is none."""

    @property
    @abstractmethod
    def mean(self) -> float: ...

    @property
    @abstractmethod
    def variance(self) -> float: ...

    @property
    @abstractmethod
    def minimum(self) -> float:
        """Lower end of the support; -inf where it is unbounded."""

    @property
    @abstractmethod
    def maximum(self) -> float:
        """Upper end of the support; inf where it is unbounded."""

    @property
    def standard_deviation(self) -> float:
        return math.sqrt(self.variance)

    @abstractmethod
    def sample(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Draw a float32 tensor of `size`; the last two axes are (fan_out, fan_in)."""

    @abstractmethod
    def density(self, x: Array) -> Array:
        """Return the probability density of one entry at each `x`; NaN everywhere where there is none."""


def _within(draw: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Clamp to [low, high] so that float32 rounding never leaves the support."""
    bounds = np.array([low, high])
    rounded = bounds.astype(np.float32)
    inward = np.nextafter(rounded, np.array([np.inf, -np.inf], dtype=np.float32))
    outside = np.array([rounded[0] < bounds[0], rounded[1] > bounds[1]])
    low32, high32 = np.where(outside, inward, rounded)
    return draw.clamp_(float(low32), float(high32))


@dataclass(frozen=True)
class Constant(Law):
    """Every entry is `value`."""

    value: float
    shape = "other"
    no_density = "all mass lies on one value"

    @property
    def mean(self) -> float:
        return self.value

    @property
    def variance(self) -> float:
        return 0.0

    @property
    def minimum(self) -> float:
        return self.value

    @property
    def maximum(self) -> float:
        return self.value

    def sample(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return torch.full(size, self.value)

    def density(self, x: Array) -> Array:
        return np.full_like(x, np.nan)


@dataclass(frozen=True)
class Normal(Law):
    """N(mu, sigma^2), not cut."""

    mu: float
    sigma: float
    shape = "normal"

    @property
    def no_density(self) -> str | None:  # type: ignore[override]
        return None if self.sigma > 0 else Constant.no_density

    @property
    def mean(self) -> float:
        return self.mu

    @property
    def variance(self) -> float:
        return self.sigma**2

    @property
    def standard_deviation(self) -> float:
        return self.sigma

    @property
    def minimum(self) -> float:
        return -math.inf if self.sigma > 0 else self.mu

    @property
    def maximum(self) -> float:
        return math.inf if self.sigma > 0 else self.mu

    def sample(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return torch.empty(size).normal_(self.mu, self.sigma, generator=generator)

    def density(self, x: Array) -> Array:
        if self.sigma == 0:
            return np.full_like(x, np.nan)
        z = (x - self.mu) / self.sigma
        return np.exp(-0.5 * z**2) / (self.sigma * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class TruncatedNormal(Law):
    """N(0, parent^2) cut at two parent standard deviations, where parent = sigma / 0.8796: sigma is the real one.

    The correction is that of `jax.nn.initializers.variance_scaling` and `keras.initializers.VarianceScaling`.
    """

    sigma: float
    shape = "truncated_normal"

    @property
    def parent(self) -> float:
        """Standard deviation of the normal before it is cut."""
        return self.sigma / TRUNCATED_STDDEV

    @property
    def mean(self) -> float:
        return 0.0

    @property
    def variance(self) -> float:
        return self.sigma**2

    @property
    def standard_deviation(self) -> float:
        return self.sigma

    @property
    def minimum(self) -> float:
        return -2 * self.parent

    @property
    def maximum(self) -> float:
        return 2 * self.parent

    def sample(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        # Inverse of the distribution function: 2 Phi(x) - 1 = erf(x / sqrt 2), uniform between erf(+-sqrt 2).
        edge = math.erf(math.sqrt(2))
        draw = torch.empty(size).uniform_(-edge, edge, generator=generator)
        return _within(draw.erfinv_().mul_(math.sqrt(2) * self.parent), self.minimum, self.maximum)

    def density(self, x: Array) -> Array:
        z = x / self.parent
        inside = np.exp(-0.5 * z**2) / (self.parent * math.sqrt(2 * math.pi) * math.erf(math.sqrt(2)))
        return np.where(np.abs(z) <= 2, inside, 0.0)


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
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def variance(self) -> float:
        return (self.high - self.low) ** 2 / 12

    @property
    def minimum(self) -> float:
        return self.low

    @property
    def maximum(self) -> float:
        return self.high

    def sample(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return _within(torch.empty(size).uniform_(self.low, self.high, generator=generator), self.low, self.high)

    def density(self, x: Array) -> Array:
        return np.where((x >= self.low) & (x <= self.high), 1 / (self.high - self.low), 0.0)


@dataclass(frozen=True)
class Orthogonal(Law):
    """An entry of gain times a Haar-distributed matrix with orthonormal rows or columns; n is its larger side.

    The squared entry over gain^2 follows Beta(1/2, (n - 1)/2) (Mezzadri 2007 for the draw: QR of a
    Gaussian matrix with the signs of R's diagonal moved into Q).
    """

    gain: float
    n: int
    shape = "other"

    @property
    def no_density(self) -> str | None:  # type: ignore[override]
        return "all mass lies on two values" if self.n == 1 else Constant.no_density if self.gain == 0 else None

    @property
    def mean(self) -> float:
        return 0.0

    @property
    def variance(self) -> float:
        return self.gain**2 / self.n

    @property
    def standard_deviation(self) -> float:
        return abs(self.gain) / math.sqrt(self.n)

    @property
    def minimum(self) -> float:
        return -abs(self.gain)

    @property
    def maximum(self) -> float:
        return abs(self.gain)

    def sample(self, size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        q: torch.Tensor
        *batch, rows, columns = size
        tall = torch.empty(*batch, max(rows, columns), min(rows, columns)).normal_(generator=generator)
        q, r = torch.linalg.qr(tall)
        signs = torch.diagonal(r, dim1=-2, dim2=-1).sign()
        q = q.mul_(torch.where(signs == 0, 1.0, signs).unsqueeze(-2)).mul_(self.gain).add_(0.0)
        return (q if rows >= columns else q.mT).contiguous()

    def density(self, x: Array) -> Array:
        if self.no_density:
            return np.full_like(x, np.nan)
        u = np.clip((x / self.gain) ** 2, 0, 1)
        scale = math.exp(math.lgamma(self.n / 2) - math.lgamma((self.n - 1) / 2)) / math.sqrt(math.pi)
        with np.errstate(divide="ignore"):  # n = 2 is the arcsine law, infinite at its ends
            inside = scale * (1 - u) ** ((self.n - 3) / 2) / abs(self.gain)
        return np.where(np.abs(x) <= abs(self.gain), inside, 0.0)
