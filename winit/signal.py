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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from winit import datasets, laws, theory
from winit.activations import Activation, activation
from winit.fields import Refused
from winit.initializers import LayerShape, scheme
from winit.initializers.biases import bias_rule
from winit.layers import EPSILON, RESIDUALS, Layer, linears
from winit.losses import loss_of
from winit.network import Member, Workspace, initialize, seeds_of
from winit.queueing import WORKERS, spread
from winit.seeds import generator
from winit.spec import OUTPUT_FACTORS, Spec
from winit.statistics import dead_and_saturated, sums_of_squares

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

QUANTILES = np.linspace(0.01, 0.99, 21)
"""The quantiles of the pre-activations that are kept, layer by layer."""
BINS = 60
_A_LAYER = 2**15  # weights or values of a layer, of the networks that are measured together
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


def _second_moment_log10(values: torch.Tensor, squares: Array | None = None) -> Array:
    """Return log10 of the mean square of each of the values (N, units, samples), (N,).

    Scaled where squares under- or overflow. `squares` (N,) is their sum, where it is known.
    """
    if squares is None:
        squares = sums_of_squares(values.flatten(1).numpy())
    found = squares
    scaled = np.flatnonzero(~((found > 1e-280) & (found < 1e300))).tolist()
    with np.errstate(divide="ignore"):
        found = np.log10(found / values[0].numel())
    for place in scaled:
        largest = float(values[place].abs().max())
        if largest == 0:
            found[place] = -np.inf
        elif not np.isfinite(largest):
            found[place] = np.inf
        else:
            mean = float((values[place] / largest).square().mean())
            found[place] = 2 * math.log10(largest) + math.log10(mean)
    return found


def pull_back(
    workspace: Workspace,
    outputs: torch.Tensor,
    spec: Spec,
    samples: int,
    seeds: Sequence[int],
    seen: Callable[[Layer], object] | None = None,
) -> Array:
    """Send the gradient of each sample's loss, or a N(0, 1) cotangent, from the outputs to the first layer.

    `seeds` are those of the members; `seen` as in `Workspace.backward`. Return the mean squared cosine between the
    gradients of two samples by the outputs, (members,).
    """
    if datasets.DATASETS[spec.dataset].has_labels:
        data = datasets.load(spec.dataset)
        loss = loss_of(data)
        _, cotangent = loss.value_and_gradient(outputs, loss.targets(data.train_y[:samples], outputs.dtype))
    else:
        cotangent = torch.empty_like(outputs)
        for member, seed in zip(cotangent.unbind(), seeds, strict=True):
            member.normal_(generator=generator(seed, "cotangent"))
    squared = _mean_squared_cosine(cotangent)
    workspace.backward(cotangent, seen)
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


def _directions(values: torch.Tensor, squares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return values (N, units, samples), one over their lengths, and which samples have a direction (N, samples).

    `squares` (N, samples) are their sums of squares over the units. What is 0, or beyond all numbers, has none.
    """
    values, length = _lengths(values, squares)
    has_direction = (length > 0) & length.isfinite()
    if not bool(has_direction.all()):
        values = torch.where(has_direction[:, None], values, 0.0)
        length = torch.where(has_direction, length, 1.0)
    return values, length.reciprocal(), has_direction


def _mean_over_pairs(whole: Array, has_direction: torch.Tensor) -> Array:
    """Return the mean over pairs from the sum over all, those of a sample with itself included; NaN without a pair."""
    count = has_direction.sum(dim=1).numpy()
    return np.where(count > 1, (whole - count) / np.maximum(count * (count - 1), 1), math.nan)


def _mean_cosine(values: torch.Tensor, squares: torch.Tensor) -> Array:
    """Return the mean over pairs of samples of their cosine, values (N, units, samples), (N,)."""
    values, scale, has_direction = _directions(values, squares)
    # NumPy multiplies one after the other: torch.bmm would round by how many there are.
    whole = np.square(values.numpy() @ scale.numpy()[:, :, None]).sum(axis=(1, 2))
    return _mean_over_pairs(whole, has_direction)


def _mean_squared_cosine(values: torch.Tensor) -> Array:
    """Return the mean over pairs of samples of their squared cosine, values (N, units, samples), (N,)."""
    values, scale, has_direction = _directions(values, values.square().sum(dim=1))
    unit = (values * scale[:, None]).numpy()
    turned = unit.swapaxes(1, 2)
    gram = unit @ turned if unit.shape[1] < unit.shape[2] else turned @ unit
    return _mean_over_pairs(np.square(gram).sum(axis=(1, 2)), has_direction)


def _are_distinct(weights: torch.Tensor) -> bool:
    """Return whether all rows of the weights (N, rows, columns) differ, by a few of their columns: False is a maybe."""
    ordered = np.sort(sums_of_squares(weights[:, :, :: -(-weights.shape[2] // 8)].numpy()), axis=1)
    return bool((ordered[:, 1:] > ordered[:, :-1]).all() and (ordered[:, -1] < np.inf).all())


def _distinct(weights: torch.Tensor) -> tuple[Counts, Array]:
    """Return how many different rows each of the weights (N, rows, columns) has, (N,), and its sum of squares."""
    values = weights.numpy()
    squares = sums_of_squares(values)
    is_zero = squares == 0
    if is_zero.any():
        is_zero[is_zero] = ~values[is_zero].any(axis=1)
    found: Counts = squares.shape[1] - np.maximum(is_zero.sum(axis=1) - 1, 0)
    # Equal rows have equal squares; where two of those agree, or say nothing, the rows need a look.
    ordered = np.sort(np.where(is_zero, -np.arange(1.0, squares.shape[1] + 1), squares), axis=1)  # NaN last
    is_doubtful = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1) | ~(ordered[:, -1] < np.inf)
    for place in np.flatnonzero(is_doubtful).tolist():
        others = values[place, ~is_zero[place]] + 0.0  # no -0
        found[place] = len({row.tobytes() for row in others}) + bool(is_zero[place].any())
    return found, squares.sum(axis=1)


def _variance(values: torch.Tensor, mean: torch.Tensor) -> Array:
    """Return the mean square of what is left of values (N, units, samples) without a mean, (N,)."""
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
class _Some:
    """What is measured of N networks."""

    moments: Array
    """(11, N, depth), a row for each of `_MOMENTS`."""
    distinct: Counts
    """(2, N, depth) rows of the weights and of their gradients."""
    alignment: Array
    """(N,)"""
    kept: Array
    """(2, depth, N, values) pre-activations and gradients, a fair sample; NaN fills up layers that have fewer."""


_MOST_BYTES = 6e7  # of buffers, where one network does not need more


@dataclass(frozen=True)
class Plan:
    """How networks are measured: how many together, in how many threads, and in how much memory."""

    together: int
    threads: int
    bytes: float
    """At most."""

    @classmethod
    def of(cls, spec: Spec, seeds: int, samples: int, *, backward: bool = True) -> Plan:
        """Return the plan for `seeds` networks on `samples` inputs.

        As many together as share a core's cache, layer by layer, in groups of equal size where it can be. Only
        networks too large for company have several threads: those of small operations only take the interpreter
        from each other.
        """
        width = max(spec.widths)
        each = 12.0 * spec.weights + 8.0 * (3 if backward else 2) * spec.units * samples
        at_once = int(max(1, _MOST_BYTES // each))
        most = max(1, _A_LAYER // (width * max(width, samples)))
        size = -(-seeds // -(-seeds // min(most, at_once)))
        threads = min(WORKERS, seeds, at_once) if most == 1 else 1
        return cls(size, threads, min(each * seeds, max(each, _MOST_BYTES)))

    def groups(self, seeds: int) -> list[range]:
        """Return the places of the networks that are measured together."""
        return [range(first, min(first + self.together, seeds)) for first in range(0, seeds, self.together)]


def _chunks(widths: Sequence[int], each: int) -> Iterator[list[int]]:
    """Yield the layers in order, in runs of equal width that are looked at together; `each` values for a unit."""
    chunk: list[int] = []
    for layer, width in enumerate(widths):
        if chunk and (widths[chunk[0]] != width or (len(chunk) + 1) * width * each > _TOGETHER):
            yield chunk
            chunk = []
        chunk.append(layer)
    yield chunk


def _moments(phi: Activation, z: torch.Tensor, a: torch.Tensor) -> Array:
    """Return the rows of `_MOMENTS` for pre-activations and activations (N, units, samples), gradients as NaN."""
    squares = z.square().sum(dim=1)
    unknown = np.full(len(z), math.nan)
    of_samples = a.mean(dim=1, keepdim=True)
    return np.stack(
        [
            _second_moment_log10(z, squares.sum(dim=1).numpy()),
            unknown,
            unknown,
            _second_moment_log10(a),
            z.mean(dim=(1, 2)).numpy(),
            of_samples.mean(dim=(1, 2)).numpy(),
            _variance(a, of_samples),
            _variance(a, a.mean(dim=2, keepdim=True)),
            _mean_cosine(z, squares),
            *dead_and_saturated(phi, z, a),
        ]
    )


@torch.inference_mode()
def _measure_groups(
    spec: Spec, groups: Sequence[range], seeds: Sequence[int], inputs: torch.Tensor, stride: int, *, backward: bool
) -> list[_Some]:
    """Measure one group of networks (places in `seeds`) after the other; equal groups in the same memory.

    Fresh memory takes time.
    """
    torch.set_flush_denormal(True)
    workspace: Workspace | None = None
    found = []
    for group in groups:
        members = [seeds[place] for place in group]
        if workspace is None or workspace.ensemble.members != len(members):
            ensemble = initialize(spec, [Member(spec.initializer, seed, 0.0) for seed in members], torch.float64)
            workspace = Workspace(ensemble, inputs.shape[2], learned="passing")
        else:
            for row, seed in enumerate(members):
                workspace.ensemble.draw(spec, row, spec.initializer, seed)
        offsets = [place % stride for place in group]
        found.append(_measure_group(spec, members, workspace, inputs, offsets, stride, backward=backward))
    return found


def _measure_group(
    spec: Spec,
    seeds: Sequence[int],
    workspace: Workspace,
    inputs: torch.Tensor,
    offsets: Sequence[int],
    stride: int,
    *,
    backward: bool,
) -> _Some:
    """Measure the networks of a workspace; of each layer's values every `stride`th is kept, from an offset each."""
    count, samples = len(seeds), inputs.shape[2]
    outputs = workspace.forward(inputs.expand(count, -1, -1))
    moments = np.full((len(_MOMENTS), count, spec.depth), np.nan)
    distinct = np.full((2, count, spec.depth), -1)
    kept = np.full((2, spec.depth, count, -(-max(spec.widths) * samples // stride)), np.nan)
    alignment = np.full(count, np.nan)

    def gathered(values: Sequence[torch.Tensor], layers: Sequence[int], keep: Array | None = None) -> torch.Tensor:
        """Return the values (layers * members, units, samples) of some layers; keep a few."""
        found = torch.stack([values[layer] for layer in layers])
        if keep is not None:
            for row, offset in enumerate(offsets):
                some = found[:, row].flatten(1)[:, offset::stride].numpy()
                keep[layers, row, : some.shape[1]] = some
        return found.flatten(0, 1)

    def by_member(rows: Array) -> Array:
        """Return rows (..., layers * members) as (..., members, layers)."""
        return rows.reshape(*rows.shape[:-1], -1, count).swapaxes(-1, -2)

    chunks = list(_chunks(spec.widths, samples * count))
    for layers in chunks:
        z = gathered(workspace.pre_activations, layers, kept[0])
        a = gathered(workspace.activations, layers)
        moments[:, :, layers] = by_member(_moments(workspace.ensemble.activation, z, a))
    for layer, weight in enumerate(workspace.ensemble.weights[:-1]):
        distinct[0, :, layer] = weight.shape[1] if _are_distinct(weight) else _distinct(weight)[0]
    if backward:
        places = iter(range(spec.depth, -1, -1))

        def look(layer: Layer) -> None:
            for linear in linears([layer]):
                place = next(places)
                if place < spec.depth:  # hidden
                    of_weights = linear.gradients[0]
                    distinct[1, :, place], squares = _distinct(of_weights)
                    moments[2, :, place] = _second_moment_log10(of_weights, squares) - 2 * math.log10(samples)

        alignment = pull_back(workspace, outputs, spec, samples, seeds, look)
        for layers in chunks:
            moments[1][:, layers] = by_member(_second_moment_log10(gathered(workspace.gradients, layers, kept[1])))
    return _Some(moments, distinct, alignment, kept)


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

    plan = Plan.of(spec, seeds, len(x), backward=backward)
    groups = plan.groups(seeds)

    def some(share: Sequence[range]) -> list[_Some]:
        return _measure_groups(spec, share, members, inputs, stride, backward=backward)

    measured = spread(some, [groups[first :: plan.threads] for first in range(plan.threads)])
    found = [measured[number % plan.threads][number // plan.threads] for number in range(len(groups))]
    rows = np.concatenate([group.moments for group in found], axis=1)
    distinct = np.concatenate([group.distinct for group in found], axis=1)
    kept = np.concatenate([group.kept for group in found], axis=2)
    pre, gradients = kept.reshape(2, spec.depth, -1)
    alignment = np.concatenate([group.alignment for group in found])
    alignment = alignment[~np.isnan(alignment)]
    phi = activation(spec.activation)
    moments = dict(zip(_MOMENTS, rows, strict=True))
    return Signal(
        spec,
        members,
        theory.Inputs.of(x.astype(np.float64)),
        float(alignment.mean()) if len(alignment) else 0.0,
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
