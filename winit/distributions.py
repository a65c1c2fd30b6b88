"""What an initializer draws: real samples of a layer beside the exact law.

>>> drawn = draw("he_normal", LayerShape(64, 64), samples=4096, seed=0)
>>> round(drawn.asked.standard_deviation, 4)
0.1768
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from winit.initializers import Formula, LayerShape, scheme
from winit.laws import Law
from winit.network import layer_inputs
from winit.seeds import generator
from winit.spec import Spec

Array = NDArray[np.float64]

BINS = 80
IMAGE_SIDE = 128
"""A matrix is shown as at most so many rows and columns of blocks."""
_CURVE_POINTS = 241
_TAILS = 4.5  # how many standard deviations of an unbounded law are drawn
_WIDEST = 8.0  # and how many of them are binned, however far a heavy tail throws a weight


@dataclass(frozen=True)
class Moments:
    """Moments and range of a weight; infinite where the law is unbounded, NaN where it is not known."""

    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    kurtosis: float
    """Fourth central moment over the squared variance: 3 for a normal; NaN without variance."""
    zero_fraction: float
    """Share of weights that are exactly 0."""

    @classmethod
    def of_law(cls, law: Law) -> Moments:
        """Return those of a law."""
        return cls(law.mean, law.standard_deviation, law.minimum, law.maximum, law.kurtosis, law.zero_fraction)

    @classmethod
    def of_samples(cls, values: torch.Tensor) -> Moments:
        """Return those of samples, float32, in double precision."""
        wide = values.double()
        low, high, mean = float(wide.min()), float(wide.max()), float(wide.mean())
        squares = (wide - mean).square_()
        variance = float(squares.mean()) if low < high else 0.0
        # In units of the standard deviation, so that no fourth power underflows.
        kurtosis = float((squares / variance).square_().mean()) if variance > 0 else math.nan
        return cls(mean, math.sqrt(variance), low, high, kurtosis, float((values == 0).double().mean()))


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
    """(BINS,) density in each bin of the samples that lie on no atom; empty where all do."""
    atoms: tuple[tuple[float, float, float], ...]
    """Values that carry probability: value, probability asked, share drawn."""
    curve_x: Array
    """Where the exact curves are given, their jumps included."""
    density: Array
    """The exact density there, of what lies on no atom; empty where the law has none."""
    cumulative: Array
    """The exact distribution function at `curve_x`; empty where it is not known."""
    empirical: Array
    """The share of samples at or below each of `curve_x`."""
    no_density: str | None
    """Why there is none."""
    distinct_rows: int
    """How many neurons of the first layer drawn differ from all others before them."""

    @property
    def sigma_w_squared(self) -> float:
        """fan_in times the variance asked for."""
        return self.shape.fan_in * self.asked.standard_deviation**2


def _generator(shape: LayerShape, seed: int) -> torch.Generator:
    return generator(seed, "weights", shape.layer)


def weights(
    initializer: str, shape: LayerShape, seed: int, layers: int = 1, network: Spec | None = None
) -> torch.Tensor:
    """Return the weights of `layers` such layers, (layers, fan_out, fan_in), float32.

    The first is the one with which a network of this seed starts; the others go on from there. A
    data-dependent initializer fits them to what the layer sees in `network`, to N(0, 1) inputs without it.

    Raises `Refused` where the initializer has no answer for the layer.
    """
    bound, source = scheme(initializer), _generator(shape, seed)
    inputs = None
    if bound.is_data_dependent and network is not None:
        inputs = layer_inputs(network, initializer, seed, shape.layer)
    first = bound.weights(shape, source, inputs=inputs)
    return first if layers == 1 else torch.cat((first, bound.weights(shape, source, layers - 1, inputs)))


def samples_of(
    initializer: str, shape: LayerShape, samples: int, seed: int, network: Spec | None = None
) -> NDArray[np.float32]:
    """Return the weights that `draw` looks at, (samples,)."""
    layers = math.ceil(samples / (shape.fan_in * shape.fan_out))
    flat: NDArray[np.float32] = weights(initializer, shape, seed, layers, network).flatten()[:samples].numpy()
    return flat


def draw(initializer: str, shape: LayerShape, samples: int, seed: int, network: Spec | None = None) -> Drawn:
    """Draw `samples` weights (1 to 1,000,000) of a layer, in as many layers as that takes; see `weights`."""
    bound = scheme(initializer)
    law = bound.law(shape)
    layers = math.ceil(samples / (shape.fan_in * shape.fan_out))
    all_layers = weights(initializer, shape, seed, layers, network)
    values = all_layers.flatten()[:samples]
    asked, drawn = Moments.of_law(law), Moments.of_samples(values)
    atoms = tuple(
        (value, probability, float(values.eq(float(np.float32(value))).double().mean()))
        for value, probability in law.atoms
    )
    edges, heights = _histogram(values, [value for value, *_ in atoms], asked, drawn)
    x = _curve_points(asked, law, edges)
    return Drawn(
        bound.text,
        shape,
        bound.formula(shape),
        asked,
        drawn,
        samples,
        layers,
        edges,
        heights,
        atoms,
        x,
        law.density(x) if law.no_density is None else np.empty(0),
        _known(law.cumulative(x)),
        _empirical(values, x),
        law.no_density,
        len({row.tobytes() for row in all_layers[0].numpy()}),
    )


def _empirical(values: torch.Tensor, x: Array) -> Array:
    """Return the share of values at or below each of the ascending `x`, as the float32 that a weight can be."""
    ordered = np.sort(values.numpy())
    return np.searchsorted(ordered, x.astype(np.float32), side="right") / len(values)


def _known(values: Array) -> Array:
    return np.empty(0) if np.isnan(values).any() else values


def _histogram(values: torch.Tensor, atoms: list[float], asked: Moments, drawn: Moments) -> tuple[Array, Array]:
    """Return edges and heights of the samples that lie on no atom; no heights where all do."""
    count = len(values)
    if atoms:
        values = values[~torch.isin(values, torch.tensor(atoms, dtype=torch.float32))]
    if len(values) == 0 or drawn.minimum == drawn.maximum:
        margin = abs(drawn.minimum) or 1.0
        return np.array([drawn.minimum - margin, drawn.maximum + margin]), np.empty(0)
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = np.nextafter(np.float32(low), [-np.inf, np.inf], dtype=np.float32).tolist()
    reach = _WIDEST * asked.standard_deviation
    if math.isfinite(reach) and reach > 0:
        low, high = max(low, asked.mean - reach), min(high, asked.mean + reach)
    counts, edges = np.histogram(values.double().numpy(), bins=BINS, range=(low, high))
    return edges, counts / (count * np.diff(edges))


def _curve_points(asked: Moments, law: Law, edges: Array) -> Array:
    """Return where to evaluate the exact curves: across the support, with ends and atoms from both sides."""
    if not math.isfinite(asked.standard_deviation):
        return np.empty(0)
    reach = _TAILS * asked.standard_deviation
    low = max(asked.minimum, min(asked.mean - reach, edges[0]))
    high = min(asked.maximum, max(asked.mean + reach, edges[-1]))
    jumps = [low, high, *(value for value, _ in law.atoms)]
    both_sides = chain.from_iterable(
        (np.nextafter(value, -np.inf), value, np.nextafter(value, np.inf)) for value in jumps
    )
    return np.unique(np.concatenate((np.fromiter(both_sides, float), np.linspace(low, high, _CURVE_POINTS))))


@dataclass(frozen=True)
class CloseLook:
    """One matrix of an initializer seen from near."""

    initializer: str
    singular_values: Array
    """(min(fan_in, fan_out),), largest first."""
    image: NDArray[np.float32]
    """The matrix, (rows, columns); where it is larger than 128 a side, the largest weight of each block."""
    block: tuple[int, int]
    """Rows and columns of a block."""
    cost: float
    """Time to draw the matrix, relative to a normal of the same shape."""


def close_look(initializer: str, shape: LayerShape, seed: int, network: Spec | None = None) -> CloseLook:
    """Return singular values, image and cost of the matrix with which the network of this seed starts."""
    matrix = weights(initializer, shape, seed, network=network)[0]
    values: Array = torch.linalg.svdvals(matrix).double().numpy()
    image, block = _image(matrix)
    return CloseLook(scheme(initializer).text, values, image, block, cost(initializer, shape))


def _image(matrix: torch.Tensor) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Return the matrix in blocks, so few that they can be seen, each shown by its weight of largest size."""
    rows, columns = matrix.shape
    height, width = math.ceil(rows / IMAGE_SIDE), math.ceil(columns / IMAGE_SIDE)
    padded = torch.nn.functional.pad(matrix, (0, -columns % width, 0, -rows % height))
    blocks = padded.view(padded.shape[0] // height, height, -1, width).transpose(1, 2).flatten(2)
    largest = blocks.gather(2, blocks.abs().argmax(dim=2, keepdim=True)).squeeze(2)
    return largest.numpy(), (height, width)


TRIES = 9
"""How often a layer is drawn at most, to know how long that takes."""
_ENOUGH = 0.05  # seconds: beyond it one try says enough


def cost(initializer: str, shape: LayerShape) -> float:
    """Return the time to draw a layer's weights over that of a normal of the same shape, the best of a few tries."""

    def seconds(name: str) -> float:
        bound, source = scheme(name), torch.Generator().manual_seed(0)
        times: list[float] = []
        while len(times) < TRIES and sum(times) < _ENOUGH:
            # Of this thread alone: others of a busy host hold it up.
            start = time.thread_time()
            bound.weights(shape, source)
            times.append(time.thread_time() - start)
        return max(min(times), 1e-7)

    return seconds(initializer) / seconds("random_normal")


def marchenko_pastur(shape: LayerShape, standard_deviation: float, count: int) -> Array:
    """Return the singular values (count,), largest first, of a large matrix of independent entries.

    Quantiles at (k + 1/2) / count of the law of Marchenko & Pastur 1967 for W (fan_out, fan_in) of mean 0
    and a given standard deviation.
    """
    small, large = sorted((shape.fan_in, shape.fan_out))
    ratio = small / large
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    # In the angle t with x = low + (high - low) sin^2(t / 2) the density has no singular ends.
    angle = np.linspace(0, math.pi, 4001)
    x = low + (high - low) * np.sin(angle / 2) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        density = (high - low) ** 2 * np.sin(angle) ** 2 / (8 * math.pi * ratio * x)
    density = np.nan_to_num(density, nan=(high - low) / (2 * math.pi * ratio))
    steps = (density[1:] + density[:-1]) / 2 * np.diff(angle)
    mass = np.concatenate(([0.0], np.cumsum(steps)))
    places = (np.arange(count)[::-1] + 0.5) / count
    eigenvalues: Array = np.interp(places * mass[-1], mass, x)
    return standard_deviation * math.sqrt(large) * np.sqrt(eigenvalues)
