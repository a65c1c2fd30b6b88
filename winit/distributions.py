"""What an initializer draws: real samples of a layer beside the exact law.

>>> drawn = draw("he_normal", LayerShape(64, 64), samples=4096, seed=0)
>>> round(drawn.asked.standard_deviation, 4)
0.1768
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from winit.initializers import Formula, LayerShape, scheme
from winit.seeds import generator

Array = NDArray[np.float64]

BINS = 80
_DENSITY_POINTS = 241
_TAILS = 4.5  # how many standard deviations of an unbounded law are drawn


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation and range of a weight; infinite where the law is unbounded."""

    mean: float
    standard_deviation: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Drawn:
    """One initializer's draws for one layer."""

    initializer: str
    shape: LayerShape
    formula: Formula
    asked: Moments
    """Of the law."""
    drawn: Moments
    """Of the samples."""
    samples: int
    layers: int
    """How many layers were drawn to have so many samples."""
    edges: Array
    """(BINS + 1,) of the histogram."""
    heights: Array
    """(BINS,) density of the samples in each bin."""
    density_x: Array
    """Where the exact density is given, its jumps included."""
    density: Array
    """The exact density there; empty where the law has none."""
    no_density: str | None
    """Why there is none."""
    distinct_rows: int
    """How many neurons of the first layer drawn differ from all others before them."""


def _generator(shape: LayerShape, seed: int) -> torch.Generator:
    return generator(seed, "weights", shape.layer)


def first_matrix(initializer: str, shape: LayerShape, seed: int) -> torch.Tensor:
    """Return the weights (fan_out, fan_in) with which the network of this seed starts in this layer."""
    return scheme(initializer).draw(shape, _generator(shape, seed))[0]


def singular_values(initializer: str, shape: LayerShape, seed: int) -> Array:
    """Return the singular values of `first_matrix`, largest first, (min(fan_in, fan_out),)."""
    matrix = first_matrix(initializer, shape, seed)
    values: Array = torch.linalg.svdvals(matrix).double().numpy()
    return values


def draw(initializer: str, shape: LayerShape, samples: int, seed: int) -> Drawn:
    """Draw `samples` weights (1 to 1,000,000) of a layer, in as many layers as that takes.

    The first layer is the one the network of this seed starts with; the others go on from there.
    """
    bound = scheme(initializer)
    law = bound.law(shape)
    entries = shape.fan_in * shape.fan_out
    layers = math.ceil(samples / entries)
    source = _generator(shape, seed)
    first = law.sample((shape.fan_out, shape.fan_in), source)
    parts = [first.flatten()]
    if layers > 1:
        parts.append(law.sample((layers - 1, shape.fan_out, shape.fan_in), source).flatten())
    values = torch.cat(parts)[:samples].double().numpy()
    low, high = float(values.min()), float(values.max())
    asked = Moments(law.mean, law.standard_deviation, law.minimum, law.maximum)
    if low == high:
        margin = abs(low) or 1.0
        edges, heights = np.array([low - margin, high + margin]), np.empty(0)
    else:
        counts, edges = np.histogram(values, bins=BINS, range=(low, high))
        heights = counts / (samples * np.diff(edges))
    x = _density_points(asked) if law.no_density is None else np.empty(0)
    return Drawn(
        bound.text,
        shape,
        bound.formula(shape),
        asked,
        Moments(float(values.mean()), float(values.std()), low, high),
        samples,
        layers,
        edges,
        heights,
        x,
        law.density(x),
        law.no_density,
        len({row.tobytes() for row in first.numpy()}),
    )


def _density_points(asked: Moments) -> Array:
    """Return where to evaluate a density: across the support, with its ends from both sides."""
    low = max(asked.minimum, asked.mean - _TAILS * asked.standard_deviation)
    high = min(asked.maximum, asked.mean + _TAILS * asked.standard_deviation)
    inside = np.linspace(np.nextafter(low, high), np.nextafter(high, low), _DENSITY_POINTS)
    return np.concatenate(([np.nextafter(low, -np.inf)], inside, [np.nextafter(high, np.inf)]))
