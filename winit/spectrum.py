"""Singular values at initialization: of the weights of each layer, and of the Jacobian from inputs to outputs.

>>> found = jacobian(Spec(depth=4, width=32, activation="tanh", dataset="gaussian"), seeds=2, samples=1)
>>> found.singular_values_log10.shape
(2, 1, 32)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from winit import datasets, laws, signal, theory
from winit.activations import activation
from winit.distributions import marchenko_pastur
from winit.fields import BadInput, Refused
from winit.initializers import LayerShape, scheme
from winit.network import Member, Workspace, first_layers, initialize, seeds_of
from winit.queueing import spread
from winit.spec import Spec
from winit.theory.averages import averages

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LayerSpectra:
    """Singular values of the weights of all layers of one network, 1 to depth + 1."""

    spec: Spec
    seed: int
    values: tuple[Array, ...]
    """(min(fan_in, fan_out),) each, largest first."""
    expected: tuple[Array, ...]
    """Likewise, of a wide matrix of that law: Marchenko & Pastur 1967; one value if orthogonal; empty without law."""
    condition: Array
    """(depth + 1,) largest over smallest; infinity where that is 0, NaN where all are 0."""


def _condition(values: Array) -> float:
    """Return largest over smallest of values that fall; what rounding leaves of a 0 counts as 0."""
    largest, smallest = float(values[0]), float(values[-1])
    if not (math.isfinite(largest) and largest > 0):
        return math.nan
    return largest / smallest if smallest > largest * len(values) * np.finfo(float).eps else math.inf


def _expected(spec: Spec, shape: LayerShape) -> Array:
    """Return the singular values that theory expects of a layer; empty where it expects none."""
    try:
        law = signal.layer_law(spec, shape)
    except Refused:
        return np.empty(0)
    deviation = math.exp(law.log_weight_variance / 2)
    if isinstance(scheme(spec.initializer).law(shape), laws.Orthogonal):
        return np.full(min(shape.fan_in, shape.fan_out), deviation * math.sqrt(max(shape.fan_in, shape.fan_out)))
    return marchenko_pastur(shape, deviation, min(shape.fan_in, shape.fan_out))


def layer_spectra(spec: Spec, seed: int | None = None) -> LayerSpectra:
    """Return the singular values of each layer's weights in the network of a seed (default: the spec's).

    Raises `BadInput` as `network.first_layers` does.
    """
    seed = spec.seed if seed is None else seed
    weights = [weight.double() for weight, _ in first_layers(spec, spec.initializer, seed)]
    # Scaled, so that no square under- or overflows.
    sizes = [float(weight.abs().max()) or 1.0 for weight in weights]

    def values_of(numbered: tuple[torch.Tensor, float]) -> Array:
        weight, size = numbered
        found: Array = torch.linalg.svdvals(weight / size).numpy() * size
        return found

    values = tuple(spread(values_of, list(zip(weights, sizes, strict=True))))
    expected = tuple(_expected(spec, shape) for shape in spec.layer_shapes())
    return LayerSpectra(spec, seed, values, expected, np.array([_condition(each) for each in values]))


@dataclass(frozen=True)
class Jacobian:
    """The derivative of the outputs by the inputs, of S seeds at N inputs; k = min(inputs, outputs)."""

    spec: Spec
    seeds: tuple[int, ...]
    singular_values_log10: Array
    """(S, N, k) largest first; -inf where 0."""
    mean_square_log10: Array
    """(S, N) log10 of the mean of the squared singular values."""
    relative_variance: Array
    """(S, N) of the squared singular values, over the square of their mean; NaN where all are 0."""
    condition: Array
    """(S, N) largest over smallest; infinity where that is 0, NaN where all are 0."""
    expected_mean_square_log10: float
    """Of infinite width: chi_1 to the power of the depth, where fans are equal and q is at its fixed point."""
    expected_relative_variance: float
    """Of infinite width: Pennington et al. 2017 (arXiv:1711.04735), eq. 19, layer by layer."""
    expected_condition: float
    """1 for an orthogonal linear network; infinity where the smallest singular value goes to 0 with the width."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """By field: why there is no expectation (NaN)."""


@torch.inference_mode()
def _singular_values(spec: Spec, seed: int, x: Array) -> tuple[Array, Array]:
    """Return log10 of the scale, and the singular values over it, of the Jacobian at each of N inputs (N, features)."""
    torch.set_flush_denormal(True)
    ensemble = initialize(spec, [Member(spec.initializer, seed, 0.0)], torch.float64)
    outputs = spec.outputs
    workspace = Workspace(ensemble, outputs)
    scales, values = [], []
    for sample in x:
        # One copy of the input for each output, whose gradient it gets.
        copies = torch.tensor(sample, dtype=torch.float64)[None, :, None].repeat(1, 1, outputs)
        workspace.forward(copies)
        workspace.backward(torch.eye(outputs, dtype=torch.float64)[None].clone())
        below = workspace.gradients[0][0]
        size = float(below.abs().max())
        size = size if 0 < size < math.inf else 1.0
        jacobian = ensemble.weights[0][0].mT @ (below / size)
        finite = bool(jacobian.isfinite().all())
        values.append(torch.linalg.svdvals(jacobian).numpy() if finite else np.full(min(jacobian.shape), np.nan))
        scales.append(math.log10(size))
    return np.array(scales), np.stack(values)


def jacobian(spec: Spec, seeds: int = 4, samples: int = 4) -> Jacobian:
    """Return the Jacobians of `seeds` networks at the first `samples` inputs.

    Raises `BadInput` for normalization, which ties samples or units together, and as `network.initialize` does.
    """
    if spec.normalization != "none":
        raise BadInput("normalization", spec.normalization, "none: the Jacobian is that of layers without it")
    x = datasets.batch(spec.dataset, spec.inputs, samples, spec.seed).astype(np.float64)
    members = seeds_of(spec, seeds)
    found = spread(lambda seed: _singular_values(spec, seed, x), list(members))
    scale = np.stack([scales for scales, _ in found])
    values = np.stack([each for _, each in found])
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = values**2
        mean = squares.mean(axis=2)
        return Jacobian(
            spec,
            members,
            np.log10(values) + scale[..., None],
            np.log10(mean) + 2 * scale,
            squares.var(axis=2) / mean**2,
            np.apply_along_axis(_condition, 2, values),
            *_expectation(spec, x),
        )


def _expectation(spec: Spec, x: Array) -> tuple[float, float, float, dict[str, str]]:
    """Return the expected mean square (log10), relative variance and condition, with the reasons for what is NaN."""
    shapes = spec.layer_shapes()
    try:
        first = signal.layer_law(spec, shapes[0])
        predicted = signal.prediction(spec, theory.Inputs.of(x))
    except Refused as refusal:
        why = f"theory needs {refusal}"
        names = ("expected_mean_square_log10", "expected_relative_variance", "expected_condition")
        return math.nan, math.nan, math.nan, dict.fromkeys(names, why)
    side = min(spec.inputs, spec.outputs)
    # Gradients of second moment 1 at the outputs have the squared norm of all rows of the Jacobian together.
    into_inputs = (math.log(first.fan_in * first.fan_out) + first.log_weight_variance) / math.log(10)
    mean_square = float(predicted.backward.log10[0]) + into_inputs - math.log10(side)
    is_orthogonal = isinstance(scheme(spec.initializer).law(shapes[0]), laws.Orthogonal)
    phi = activation(spec.activation)
    slopes = averages(phi, predicted.forward.log10 * math.log(10)).slope_fourth
    reasons = {}
    variance = float((slopes - 1).sum()) + (0.0 if is_orthogonal else spec.depth + 1.0)
    if spec.residual != "off" or len({shape.fan_in for shape in shapes} | {shapes[-1].fan_out}) > 1:
        variance = math.nan
        reasons["expected_relative_variance"] = "known for equal widths of inputs, layers and outputs without branches"
    condition = 1.0 if is_orthogonal and phi.text == "identity" else math.inf
    if spec.residual != "off" or (is_orthogonal and phi.text != "identity"):
        condition = math.nan
        reasons["expected_condition"] = "not known in closed form for these layers"
    return mean_square, variance, condition, reasons
