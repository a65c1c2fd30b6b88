"""The signal at initialization: how large activations and gradients are, layer by layer, and what theory expects.

Forward and backward passes in double precision, second moments carried as logarithms, so that
networks in which float32 underflows are still measured.

>>> signal = measure(Spec(depth=3, dataset="gaussian"), seeds=2)
>>> signal.forward_log10.shape
(2, 3)
>>> predict(signal).forward.log10.round(2).tolist()
[0.31, 0.31, 0.31]
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from winit import datasets, laws, theory
from winit.activations import Activation, activation
from winit.fields import Refused
from winit.initializers import LayerShape, scheme
from winit.initializers.biases import bias_rule
from winit.layers import EPSILON, RESIDUALS, linears
from winit.losses import loss_of
from winit.network import Member, Workspace, first_layers, initialize, seeds_of
from winit.queueing import WORKERS, spread
from winit.seeds import generator
from winit.spec import OUTPUT_FACTORS, Spec
from winit.statistics import dead_and_saturated

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

QUANTILES = np.linspace(0.01, 0.99, 21)
"""The quantiles of the pre-activations that are kept, layer by layer."""
BINS = 60
_TOGETHER = 2**17  # values of layers that are looked at in one go: a megabyte
_KEPT = 2**13  # values a layer, of all seeds together, from which quantiles come, and histograms from half of them


@dataclass(frozen=True)
class Histogram:
    """How values are spread in each hidden layer, on edges that all layers share."""

    edges: Array
    """(BINS + 1,) ascending."""
    shares: Array
    """(depth, BINS) of a layer's values in each bin; rows add up to 1 with `zeros` (where apart) and `beyond`."""
    zeros: Array
    """(depth,) share of values that are exactly 0."""
    beyond: Array
    """(depth,) share outside of the edges, or not finite."""


@dataclass(frozen=True)
class Signal:
    """Measurements at initialization, for S seeds and the hidden layers 1 to depth; depth columns.

    A gradient is that of each sample's loss; on data without labels of a N(0, 1) cotangent at the output.
    """

    spec: Spec
    seeds: tuple[int, ...]
    inputs: theory.Inputs
    """What was sent through each network."""
    alignment: float
    """Mean over seeds and pairs of samples of the squared cosine between their gradients by the outputs."""
    forward_log10: Array
    """(S, depth) log10 of the second moment of the pre-activations over units and samples; -inf where all are 0."""
    backward_log10: Array
    """(S, depth) log10 of the second moment of the gradient by the pre-activations; likewise."""
    weight_gradient_log10: Array
    """(S, depth) log10 of the second moment of the gradient of the mean loss by the weights of a layer; likewise."""
    activation_log10: Array
    """(S, depth) log10 of the second moment of the activations; likewise."""
    pre_activation_mean: Array
    """(S, depth) over units and samples."""
    activation_mean: Array
    """(S, depth)"""
    variance_over_units: Array
    """(S, depth) variance of the activations of a sample from unit to unit, averaged over samples."""
    variance_over_samples: Array
    """(S, depth) variance of an activation from sample to sample, averaged over units."""
    correlation: Array
    """(S, depth) cosine between the pre-activations of two samples, averaged over pairs; NaN for one sample."""
    dead_fraction: Array
    """(S, depth) share of units whose derivative is 0 for every sample."""
    saturated_fraction: Array
    """(S, depth) share of units and samples with a slope below a twentieth of the activation's steepest."""
    distinct_rows: Counts
    """(S, depth) how many units of a layer have weights of their own."""
    distinct_gradients: Counts
    """(S, depth) how many have a gradient of their own, by their weights; -1 where gradients are not measured."""
    quantiles: Array
    """(21, depth) of the pre-activations of all seeds together, at `QUANTILES`."""
    activation_histogram: Histogram
    """Of the activations of all seeds; edges reach twice as far as the first layer does, 0 is a value as any other."""
    gradient_histogram: Histogram
    """Of log10 of the absolute gradient by the pre-activations, of all seeds; zeros apart."""

    @property
    def samples(self) -> int:
        """Inputs that were sent through each network."""
        return self.inputs.second_moments.size

    @property
    def forward_underflows(self) -> NDArray[np.bool_]:
        """(S, depth) whether a typical pre-activation is below what float32 holds in full, 2^-126 (all 0: no)."""
        return _underflows(self.forward_log10)

    @property
    def backward_underflows(self) -> NDArray[np.bool_]:
        """(S, depth) whether a typical gradient is."""
        return _underflows(self.backward_log10)

    @property
    def overflows(self) -> NDArray[np.bool_]:
        """(S, depth) whether a typical pre-activation or gradient is beyond float32, 2^128."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.fmax(self.forward_log10, self.backward_log10) / 2 >= 128 * math.log10(2))


def _underflows(log10: Array) -> NDArray[np.bool_]:
    return np.asarray((log10 / 2 < -126 * math.log10(2)) & (log10 > -np.inf))


def _second_moment_log10(values: Sequence[torch.Tensor]) -> Array:
    """Return log10 of the mean square of each of the values, (N,); scaled where squares under- or overflow."""
    squares = np.array([float(torch.dot(flat, flat)) for flat in (each.flatten() for each in values)])
    with np.errstate(divide="ignore"):
        found: Array = np.log10(squares / [each.numel() for each in values])
    for place in np.flatnonzero(~((squares > 1e-280) & (squares < 1e300))).tolist():
        largest = float(values[place].abs().max())
        if largest == 0:
            found[place] = -np.inf
        elif not np.isfinite(largest):
            found[place] = np.inf
        else:
            mean = float((values[place] / largest).square().mean())
            found[place] = 2 * math.log10(largest) + math.log10(mean)
    return found


def pull_back(workspace: Workspace, outputs: torch.Tensor, spec: Spec, samples: int, seed: int) -> float:
    """Send the gradient of each sample's loss, or a N(0, 1) cotangent, from the outputs to the first layer.

    Return the mean squared cosine between the gradients of two samples by the outputs.
    """
    if datasets.DATASETS[spec.dataset].has_labels:
        data = datasets.load(spec.dataset)
        loss = loss_of(data)
        _, cotangent = loss.value_and_gradient(outputs, loss.targets(data.train_y[:samples], outputs.dtype))
    else:
        source = generator(seed, "cotangent")
        cotangent = torch.empty(outputs.shape, dtype=outputs.dtype).normal_(generator=source)
    squared = _mean_squared_cosine(cotangent[0])
    workspace.backward(cotangent)
    return squared


def _lengths(values: torch.Tensor, square: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values (..., units, samples), scaled where squares would leave the numbers, and lengths (..., samples).

    `square` (..., samples) is the sum of squares over the units.
    """
    low, high = square.aminmax()
    if not 1e-280 < float(low) <= float(high) < 1e300:
        values = values / values.abs().amax(dim=-2, keepdim=True).clamp_min(5e-324)
        square = values.square().sum(dim=-2)
    return values, square.sqrt()


def _mean_cosine(values: torch.Tensor, squares: torch.Tensor) -> Array:
    """Return the mean over pairs of samples of their cosine, values (layers, units, samples), (layers,).

    `squares` (layers, samples) are their sums of squares over the units.
    A sample that is 0 in a layer, or beyond all numbers, counts in no pair; NaN where no pair is left.
    """
    values, length = _lengths(values, squares)
    has_direction = (length > 0) & length.isfinite()
    count = has_direction.sum(dim=1)
    if not bool(has_direction.all()):
        values = torch.where(has_direction[:, None], values, 0.0)
        length = torch.where(has_direction, length, 1.0)
    whole = torch.bmm(values, length.reciprocal()[:, :, None]).square().sum(dim=(1, 2))
    found: Array = torch.where(count > 1, (whole - count) / (count * (count - 1)).clamp_min(1), math.nan).numpy()
    return found


def _mean_squared_cosine(values: torch.Tensor) -> float:
    """Return the mean over pairs of samples of their squared cosine, values (units, samples); NaN without a pair."""
    values, length = _lengths(values, values.square().sum(dim=0))
    has_direction = (length > 0) & length.isfinite()
    count = int(has_direction.sum())
    if count < 2:
        return math.nan
    unit = values[:, has_direction] / length[has_direction]
    gram = unit @ unit.mT if unit.shape[0] < count else unit.mT @ unit
    return (float(gram.square().sum()) - count) / (count * (count - 1))


def _distinct(rows: torch.Tensor) -> int:
    """Return how many different rows (rows, columns) there are."""
    sums = rows.sum(dim=1).tolist()
    counts = Counter(sums)
    if len(counts) == len(sums) and not math.isnan(math.fsum(sums)):
        return len(sums)
    # Equal rows have equal sums; only those of equal sums, or of none, need a look.
    alike = [row for row, total in enumerate(sums) if counts[total] > 1 or total != total]
    return len(sums) - len(alike) + len({row.tobytes() for row in rows.numpy()[alike] + 0.0})  # no -0


def _variance(values: torch.Tensor, mean: torch.Tensor) -> Array:
    """Return the mean square of what is left of values (layers, units, samples) without a mean, (layers,)."""
    found: Array = (values - mean).square_().mean(dim=(1, 2)).numpy()
    return found


_MOMENTS = (
    "forward_log10",
    "backward_log10",
    "weight_gradient_log10",
    "activation_log10",
    "pre_activation_mean",
    "activation_mean",
    "variance_over_units",
    "variance_over_samples",
    "correlation",
    "dead_fraction",
    "saturated_fraction",
)
"""The fields of `Signal` that are one number per network and layer."""


@dataclass(frozen=True)
class _One:
    """What is measured of one network."""

    moments: Array
    """(11, depth), one row for each of `_MOMENTS`."""
    distinct: Counts
    """(2, depth) rows of the weights and of their gradients."""
    alignment: float
    kept: tuple[Array, Array]
    """Pre-activations and gradients, (depth, values) each, a fair sample; NaN fills up layers that have fewer."""


def _chunks(widths: Sequence[int], samples: int) -> Iterator[list[int]]:
    """Yield the layers in order, in runs of equal width that are looked at together."""
    chunk: list[int] = []
    for layer, width in enumerate(widths):
        if chunk and (widths[chunk[0]] != width or (len(chunk) + 1) * width * samples > _TOGETHER):
            yield chunk
            chunk = []
        chunk.append(layer)
    yield chunk


def _moments(phi: Activation, z: torch.Tensor, a: torch.Tensor) -> Array:
    """Return the rows of `_MOMENTS` for pre-activations and activations (layers, units, samples), gradients as NaN."""
    squares = z.square().sum(dim=1)
    unknown = np.full(len(z), math.nan)
    of_samples = a.mean(dim=1, keepdim=True)
    return np.stack(
        [
            _second_moment_log10(z.unbind()),
            unknown,
            unknown,
            _second_moment_log10(a.unbind()),
            z.mean(dim=(1, 2)).numpy(),
            of_samples.mean(dim=(1, 2)).numpy(),
            _variance(a, of_samples),
            _variance(a, a.mean(dim=2, keepdim=True)),
            _mean_cosine(z, squares),
            *dead_and_saturated(phi, z, a),
        ]
    )


@torch.inference_mode()
def _measure_some(
    spec: Spec, numbered: Sequence[tuple[int, int]], inputs: torch.Tensor, stride: int, *, backward: bool
) -> list[_One]:
    """Measure one network (row, seed) after the other, in the memory of the first: fresh memory takes time."""
    torch.set_flush_denormal(True)
    workspace: Workspace | None = None
    found = []
    for row, seed in numbered:
        if workspace is None:
            ensemble = initialize(spec, [Member(spec.initializer, seed, 0.0)], torch.float64)
            workspace = Workspace(ensemble, inputs.shape[2])
        else:
            drawn = first_layers(spec, spec.initializer, seed)
            for weight, bias, layer in zip(workspace.ensemble.weights, workspace.ensemble.biases, drawn, strict=True):
                weight[0].copy_(layer[0])
                bias[0, :, 0].copy_(layer[1])
        found.append(_measure_one(spec, seed, workspace, inputs, row % stride, stride, backward=backward))
    return found


def _measure_one(
    spec: Spec, seed: int, workspace: Workspace, inputs: torch.Tensor, offset: int, stride: int, *, backward: bool
) -> _One:
    ensemble, samples = workspace.ensemble, inputs.shape[2]
    outputs = workspace.forward(inputs)
    moments = np.full((len(_MOMENTS), spec.depth), np.nan)
    distinct = np.full((2, spec.depth), -1)
    most = -(-max(spec.widths) * samples // stride)
    kept = np.full((2, spec.depth, most), np.nan)
    for layers in _chunks(spec.widths, samples):
        z, a = (
            torch.stack([values[layer][0] for layer in layers])
            for values in (workspace.pre_activations, workspace.activations)
        )
        moments[:, layers] = _moments(ensemble.activation, z, a)
        some = z.flatten(1)[:, offset::stride].numpy()
        kept[0, layers, : some.shape[1]] = some
    distinct[0] = [_distinct(weight[0]) for weight in ensemble.weights[:-1]]
    alignment = math.nan
    if backward:
        alignment = pull_back(workspace, outputs, spec, samples, seed)
        for layers in _chunks(spec.widths, samples):
            gradient = torch.stack([workspace.gradients[layer][0] for layer in layers])
            moments[1, layers] = _second_moment_log10(gradient.unbind())
            some = gradient.flatten(1)[:, offset::stride].numpy()
            kept[1, layers, : some.shape[1]] = some
        of_weights = [linear.gradients[0][0] for linear in linears(workspace.layers)][:-1]
        moments[2] = _second_moment_log10(of_weights) - 2 * math.log10(samples)
        distinct[1] = [_distinct(each) for each in of_weights]
    return _One(moments, distinct, alignment, (kept[0], kept[1]))


def measure(spec: Spec, seeds: int = 8, samples: int | None = None, *, backward: bool = True) -> Signal:
    """Measure networks from `seeds` consecutive seeds on a batch of `samples` (default: the spec's batch size).

    Without `backward` the gradients are left unmeasured (NaN). Raises `BadInput` for a batch of one sample where
    batch normalization needs more, and as `network.initialize` does.
    """
    x = datasets.batch(spec.dataset, spec.inputs, samples or spec.batch_size, spec.seed)
    spec.require_batch(len(x))
    inputs = torch.tensor(x, dtype=torch.float64).T.unsqueeze(0)
    members = seeds_of(spec, seeds)
    stride = -(-len(members) * max(spec.widths) * len(x) // _KEPT)

    def some(numbered: Sequence[tuple[int, int]]) -> list[_One]:
        return _measure_some(spec, numbered, inputs, stride, backward=backward)

    # A network at a time for each thread: memory stays that of a few, whatever the number of seeds.
    shares = [list(enumerate(members))[first::WORKERS] for first in range(min(WORKERS, seeds))]
    measured = spread(some, shares)
    found = [measured[row % len(shares)][row // len(shares)] for row in range(seeds)]
    rows = np.stack([network.moments for network in found], axis=1)
    distinct = np.stack([network.distinct for network in found], axis=1)
    pre, gradients = (np.concatenate([network.kept[k] for network in found], axis=1) for k in (0, 1))
    phi = activation(spec.activation)
    alignment = [network.alignment for network in found if not math.isnan(network.alignment)]
    moments = dict(zip(_MOMENTS, rows, strict=True))
    return Signal(
        spec,
        members,
        theory.Inputs.of(x.astype(np.float64)),
        float(np.mean(alignment)) if alignment else 0.0,
        **moments,
        distinct_rows=distinct[0],
        distinct_gradients=distinct[1],
        quantiles=_quantiles(pre),
        activation_histogram=_activation_histogram(phi, pre[:, ::2]),
        gradient_histogram=_gradient_histogram(gradients[:, ::2]),
    )


def _quantiles(values: Array) -> Array:
    """Return the quantiles of what is not NaN in each row (depth, N), (21, depth); NaN beyond all numbers.

    By linear interpolation.
    """
    ordered = np.sort(values, axis=1)  # NaN last; faster than a partition
    row, last = np.arange(len(values)), (~np.isnan(values)).sum(axis=1) - 1
    place = QUANTILES[:, None] * last
    low = np.floor(place).astype(int)
    with np.errstate(invalid="ignore"):
        below, above = ordered[row, low], ordered[row, np.minimum(low + 1, last)]
        found: Array = below + (place - low) * (above - below)
    return found


def _counted(values: Array, low: float, high: float, *, is_log: bool) -> Histogram:
    """Return the histogram of values (depth, N), NaN for none; of log10 of their size where `is_log`."""
    edges = np.linspace(low, high, BINS + 1)
    count = np.maximum(1, (~np.isnan(values)).sum(axis=1))[:, None]
    zeros = (values == 0).sum(axis=1) / count[:, 0]
    if is_log:
        with np.errstate(divide="ignore"):
            values = np.log10(np.abs(values))
    ordered = np.sort(values, axis=1)
    upto = np.stack([np.append(row.searchsorted(edges[:-1]), row.searchsorted(high, "right")) for row in ordered])
    shares = np.diff(upto, axis=1) / count
    total = shares.sum(axis=1) + (zeros if is_log else 0.0)
    return Histogram(edges, shares, zeros, np.clip(1 - total, 0.0, 1.0))


def _activation_histogram(phi: Activation, pre_activations: Array) -> Histogram:
    values = np.stack(spread(phi.values, list(pre_activations)))
    first = values[0][np.isfinite(values[0])]
    reach = 2 * float(np.quantile(np.abs(first), 0.99)) if len(first) else 0.0
    reach = reach if 0 < reach < 1e300 else 1.0
    is_positive = not (values < 0).any()
    return _counted(values, 0.0 if is_positive else -reach, reach, is_log=False)


def _gradient_histogram(gradients: Array) -> Histogram:
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = np.log10(np.nanmax(np.where(np.isfinite(gradients), np.abs(gradients), 0.0), axis=1))
    sizes = largest[np.isfinite(largest)]
    low, high = (float(sizes.min()) - 4, float(sizes.max())) if len(sizes) else (-4.0, 0.0)
    return _counted(gradients, low, high, is_log=True)


# Theory


def layer_law(spec: Spec, shape: LayerShape) -> theory.LayerLaw:
    """Return what theory knows of a layer. Raises `Refused` where it knows nothing."""
    bound = scheme(spec.initializer)
    law = bound.law(shape)
    if bound.is_data_dependent:
        raise Refused(
            "an initializer that does not look at the data: theory has no law of weights that are fitted to it"
        )
    if bound.rule.matrices is not None and not isinstance(law, laws.Sparse):
        raise Refused("weights that are drawn independently: theory has nothing to say of those with a pattern")
    if law.mean != 0:
        raise Refused(f"weights of mean 0, not {law.mean:.3g}: theory's pre-activations average over either sign")
    rule = bias_rule(spec.bias)
    own = bound.bias(shape) if rule.record.name == "scheme" else None
    bias = rule.record.law(**rule.values) if rule.record.law is not None else own
    if bias is not None and bias.mean != 0:
        raise Refused(f"biases of mean 0, not {bias.mean:.3g}: theory's pre-activations average over either sign")
    factor = OUTPUT_FACTORS[spec.output] if shape.is_output else 1.0

    def log_variance(deviation: float) -> float:
        return 2 * math.log(deviation) if deviation > 0 else -math.inf

    return theory.LayerLaw(
        shape.fan_in,
        shape.fan_out,
        log_variance(law.standard_deviation * factor),
        log_variance(bias.standard_deviation if bias is not None else 0.0),
    )


def predict(signal: Signal) -> theory.Prediction:
    """Return what theory expects of the networks that were measured, from the second moments of their inputs.

    Its gradients end, in the last hidden layer, at the median that was measured. Raises `Refused` with the reason
    where theory has nothing to say: weights with a mean, with a pattern, or fitted to the data; constant biases.
    """
    found = prediction(signal.spec, signal.inputs, signal.alignment)
    with np.errstate(invalid="ignore"):  # some networks at nothing, some beyond all numbers
        return found.anchored(float(np.median(signal.backward_log10[:, -1])))


def predict_or_reason(signal: Signal) -> theory.Prediction | str:
    """Return what `predict` returns, or the reason why theory has nothing to say."""
    try:
        return predict(signal)
    except Refused as refusal:
        return f"theory needs {refusal}"


def prediction(spec: Spec, inputs: theory.Inputs, alignment: float = 0.0) -> theory.Prediction:
    """Return what theory expects of a network, where the gradient by the outputs has second moment 1.

    Raises `Refused` as `predict` does.
    """
    residual = RESIDUALS.get(spec.residual)
    return theory.predict(
        activation(spec.activation),
        [layer_law(spec, shape) for shape in spec.layer_shapes()],
        inputs,
        blocks=theory.Blocks(spec.normalization, EPSILON, residual.scale(spec.depth) if residual else None),
        is_orthogonal=isinstance(scheme(spec.initializer).law(spec.layer_shapes()[0]), laws.Orthogonal),
        alignment=alignment,
    )


def place(spec: Spec) -> tuple[float, float]:
    """Return sigma_w and sigma_b of the last hidden layer: where the network lies in the phase diagram.

    Raises `Refused` as `predict` does.
    """
    law = layer_law(spec, spec.layer_shapes()[-2])
    return math.exp((math.log(law.fan_in) + law.log_weight_variance) / 2), math.exp(law.log_bias_variance / 2)


# Verdicts


@dataclass(frozen=True)
class Rule:
    """One of the two rules of a good start, and whether a network keeps it."""

    name: str
    is_kept: bool
    number: float
    """What decides: |mean| over root mean square; or the factor on the second moment from first to last layer."""
    sentence: str


_LARGEST_MEAN = 0.1
"""Activations have mean 0 where their mean is below this share of their root mean square, in every layer."""
_LARGEST_FACTOR = 2.0


def zero_mean(signal: Signal) -> Rule:
    """Return whether activations have mean zero in every layer: the first rule of Glorot & Bengio 2010, section 4.2."""
    with np.errstate(all="ignore"):  # of networks beyond all numbers
        root = 10 ** (np.median(signal.activation_log10, axis=0) / 2)
        share = np.abs(np.median(signal.activation_mean, axis=0)) / root
    name = "Activations have mean zero"
    if not np.isfinite(share).any():
        return Rule(
            name, False, math.nan, "There is no mean to speak of: no layer has activations that are finite and not 0."
        )
    layer = int(np.nanargmax(np.where(np.isfinite(share), share, np.nan)))
    number = float(share[layer])
    is_kept = number <= _LARGEST_MEAN
    where = "in every layer" if is_kept else f"in layer {layer + 1}"
    size = f"at most {number:.2g}" if is_kept else f"{number:.2g}"
    return Rule(name, is_kept, number, f"The mean of the activations is {size} of their root mean square {where}.")


def equal_variance(signal: Signal) -> Rule:
    """Return whether the second moment stays within a factor of 2 from the first hidden layer to the last."""
    whole = over_depth(signal)
    name = "The variance is the same in every layer"
    return Rule(name, 1 / _LARGEST_FACTOR <= whole <= _LARGEST_FACTOR, whole, verdict(signal))


def rules(signal: Signal) -> tuple[Rule, Rule]:
    """Return the verdicts on both rules."""
    return zero_mean(signal), equal_variance(signal)


def power(log10: float) -> float:
    """Return 10 to the power of a logarithm, 0 or infinity beyond double precision."""
    return float(10.0 ** float(log10)) if log10 < 308 else float("inf")


def per_layer(signal: Signal) -> float:
    """Return the factor by which the median second moment of the pre-activations changes per layer; 1 at depth 1.

    0 where it ends at nothing, infinity where it leaves the finite numbers.
    """
    with np.errstate(invalid="ignore"):  # some networks at nothing, some beyond all numbers
        first, last = np.median(signal.forward_log10[:, [0, -1]], axis=0)
    if signal.spec.depth == 1:
        return 1.0
    if not np.isfinite(first) or not np.isfinite(last):
        return 0.0 if last < 0 or not np.isfinite(first) else np.inf
    return power((last - first) / (signal.spec.depth - 1))


def over_depth(signal: Signal) -> float:
    """Return the factor by which it changes from the first hidden layer to the last; see `per_layer`."""
    factor = per_layer(signal)
    if factor in (0.0, np.inf):
        return factor if signal.spec.depth > 1 else 1.0
    return power((signal.spec.depth - 1) * np.log10(factor))


def verdict(signal: Signal) -> str:
    """Say in one sentence what happens to the second moment of the pre-activations over the depth."""
    depth, factor = signal.spec.depth, per_layer(signal)
    whole = over_depth(signal)
    if factor == 0:
        return f"The signal is gone: the pre-activations of layer {depth} are all 0."
    if depth == 1 or 1 / _LARGEST_FACTOR <= whole <= _LARGEST_FACTOR:
        return f"The second moment stays within a factor of 2 from layer 1 to layer {depth}."
    if factor == np.inf:
        with np.errstate(invalid="ignore"):  # some networks at nothing, some beyond all numbers
            lost = np.flatnonzero(~np.isfinite(np.median(signal.forward_log10, axis=0)))
        return f"The signal explodes: from layer {lost[0] + 1} on it is beyond all finite numbers."
    if factor > 1:
        return f"The second moment grows by a factor of {factor:.3g} per layer."
    return f"The second moment falls to {factor:.3g} of itself per layer."
