"""The signal at initialization: how large activations and gradients are, layer by layer.

Forward and backward passes in double precision, second moments carried as logarithms, so that
networks in which float32 underflows are still measured.

>>> signal = measure(Spec(depth=3, dataset="gaussian"), seeds=2)
>>> signal.forward_log10.shape
(2, 3)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from winit import datasets
from winit.losses import loss_of
from winit.network import Member, Workspace, initialize, seeds_of
from winit.seeds import generator
from winit.spec import Spec

Array = NDArray[np.float64]

QUANTILES = np.linspace(0.01, 0.99, 21)
"""The quantiles of the pre-activations that are kept, layer by layer."""


@dataclass(frozen=True)
class Signal:
    """Measurements at initialization, for S seeds and the hidden layers 1 to depth."""

    spec: Spec
    seeds: tuple[int, ...]
    samples: int
    """Inputs that were sent through each network."""
    forward_log10: Array
    """(S, depth) log10 of the second moment of the pre-activations over units and samples; -inf where all are 0."""
    backward_log10: Array
    """(S, depth) log10 of the second moment of the gradient by the pre-activations; likewise.

    Of each sample's loss; on data without labels of a N(0, 1) cotangent at the output.
    """
    activation_mean: Array
    """(S, depth)"""
    variance_over_samples: Array
    """(S, depth) variance of an activation from sample to sample, averaged over units."""
    dead_fraction: Array
    """(S, depth) share of units whose derivative is 0 for every sample."""
    quantiles: Array
    """(21, depth) of the pre-activations of all seeds together, at `QUANTILES`."""


def _second_moment_log10(values: torch.Tensor) -> float:
    """Return log10 of the mean square, scaled so that squares neither underflow nor overflow."""
    largest = float(values.abs().max())
    if largest == 0:
        return -np.inf
    if not np.isfinite(largest):
        return np.inf
    return 2 * float(np.log10(largest)) + float(torch.log10((values / largest).square().mean()))


def _pull_back(workspace: Workspace, outputs: torch.Tensor, spec: Spec, samples: int, seed: int) -> None:
    """Send the gradient of each sample's loss, or a N(0, 1) cotangent, from the outputs to the first layer."""
    if datasets.DATASETS[spec.dataset].has_labels:
        data = datasets.load(spec.dataset)
        loss = loss_of(data)
        _, cotangent = loss.value_and_gradient(outputs, loss.targets(data.train_y[:samples], outputs.dtype))
    else:
        source = generator(seed, "cotangent")
        cotangent = torch.empty(outputs.shape, dtype=outputs.dtype).normal_(generator=source)
    workspace.backward(cotangent)


@torch.inference_mode()
def measure(spec: Spec, seeds: int = 8, samples: int | None = None, *, backward: bool = True) -> Signal:
    """Measure networks from `seeds` consecutive seeds on a batch of `samples` (default: the spec's batch size).

    Without `backward` the gradients are left unmeasured (NaN). Raises `BadInput` for a batch of one sample where
    batch normalization needs more, and as `network.initialize` does.
    """
    torch.set_flush_denormal(True)
    x = datasets.batch(spec.dataset, spec.inputs, samples or spec.batch_size, spec.seed)
    spec.require_batch(len(x))
    inputs = torch.tensor(x, dtype=torch.float64).T.unsqueeze(0)
    members = seeds_of(spec, seeds)
    size = (len(members), spec.depth)
    forward, gradient, mean, spread, dead = (np.full(size, np.nan) for _ in range(5))
    # A network at a time: memory stays that of one, whatever the number of seeds. What the quantiles
    # need is a sample of at most 2^18 values a layer.
    kept: list[list[Array]] = [[] for _ in range(spec.depth)]
    stride = max(1, len(members) * max(spec.widths) * len(x) // 2**18)
    for row, seed in enumerate(members):
        ensemble = initialize(spec, [Member(spec.initializer, seed, 0.0)], torch.float64)
        workspace = Workspace(ensemble, len(x))
        outputs = workspace.forward(inputs)
        for layer in range(spec.depth):
            z, a = workspace.pre_activations[layer][0], workspace.activations[layer][0]
            forward[row, layer] = _second_moment_log10(z)
            mean[row, layer] = float(a.mean())
            spread[row, layer] = float(a.var(dim=1, correction=0).mean())
            dead[row, layer] = float((ensemble.activation.derivative(z) == 0).all(dim=1).double().mean())
            kept[layer].append(z.flatten()[row % stride :: stride].numpy().copy())
        if backward:
            _pull_back(workspace, outputs, spec, len(x), seed)
            for layer in range(spec.depth):
                gradient[row, layer] = _second_moment_log10(workspace.gradients[layer])
    with np.errstate(invalid="ignore"):  # beyond all numbers a quantile is NaN
        quantiles = np.stack([np.quantile(np.concatenate(values), QUANTILES) for values in kept], axis=1)
    return Signal(spec, members, len(x), forward, gradient, mean, spread, dead, quantiles)


def power(log10: float) -> float:
    """Return 10 to the power of a logarithm, 0 or infinity beyond double precision."""
    return float(10.0 ** float(log10)) if log10 < 308 else float("inf")


def per_layer(signal: Signal) -> float:
    """Return the factor by which the median second moment of the pre-activations changes per layer; 1 at depth 1.

    0 where it ends at nothing, infinity where it leaves the finite numbers.
    """
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
    if depth == 1 or 0.5 <= whole <= 2:
        return f"The second moment stays within a factor of 2 from layer 1 to layer {depth}."
    change = "falls to" if factor < 1 else "grows to"
    return f"The second moment {change} {factor:.3g} of itself per layer."
