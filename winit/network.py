"""An ensemble of equal-shaped fully connected networks, as stacked tensors.

Weights are (members, fan_out, fan_in) as in PyTorch, biases (members, fan_out, 1), activations and
their gradients (members, units, samples). One batched product per layer serves all members, and
treats each exactly as it would alone: a member's numbers do not depend on its company, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from winit import datasets
from winit.activations import Activation, activation
from winit.initializers import scheme
from winit.initializers.biases import biases
from winit.seeds import generator
from winit.spec import OUTPUT_FACTORS, Spec

# Elementwise loops take 2 x 16 floats at a time and finish the rest one by one, with a tanh or a
# multiply-add that rounds differently.
_LANES = 32


def stacked(members: int, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Return an uninitialized tensor (members, rows, columns) in which each member is a run of its own.

    Members start at multiples of 32 numbers, so an elementwise operation treats each as it would
    alone: either none has a remainder, or all have the same one.
    """
    size = rows * columns
    run = -(-size // _LANES) * _LANES
    return torch.empty(members, run, dtype=dtype)[:, :size].view(members, rows, columns)


def padding(samples: int) -> Tensor:
    """Return numbers of samples (0 to samples - 1) that fill up to a multiple of 32, the first ones repeated.

    Batched products of other widths round a member differently alone and in company. Repeated samples
    carry no gradient and no loss.
    """
    return torch.arange(-(-samples // _LANES) * _LANES) % samples


def _restacked(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a copy (members, rows, columns) laid out by `stacked`."""
    members, rows, columns = tensor.shape
    return stacked(members, rows, columns, dtype).copy_(tensor)


@dataclass(frozen=True)
class Member:
    """One network of an ensemble: where it starts, from which seed, and how fast it learns."""

    initializer: str
    seed: int
    learning_rate: float


def seeds_of(spec: Spec, count: int) -> tuple[int, ...]:
    """Return the seeds of `count` runs: the spec's and those after it, within the range of seeds."""
    return tuple((spec.seed + number) % 2**31 for number in range(count))


@dataclass(frozen=True)
class Ensemble:
    """Networks of one shape. The last layer is linear."""

    activation: Activation
    weights: tuple[Tensor, ...]
    """One per layer, (members, fan_out, fan_in)."""
    biases: tuple[Tensor, ...]
    """One per layer, (members, fan_out, 1)."""

    @property
    def members(self) -> int:
        return self.weights[0].shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.weights[0].dtype

    def to(self, dtype: torch.dtype) -> Ensemble:
        """Return a copy in another precision."""
        return Ensemble(
            self.activation,
            tuple(_restacked(weight, dtype) for weight in self.weights),
            tuple(_restacked(bias, dtype) for bias in self.biases),
        )

    def outputs(self, x: Tensor) -> Tensor:
        """Return the outputs (members, outputs, samples) for inputs (features, samples) that all members share."""
        samples = x.shape[1]
        filled = x[:, padding(samples)]
        return Workspace(self, filled.shape[1]).forward(filled.expand(self.members, *filled.shape))[:, :, :samples]


def first_layers(spec: Spec, initializer: str, seed: int, count: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """Draw the weights (fan_out, fan_in) and biases (fan_out,) of the first `count` layers of a network, float32.

    Layer l comes from its own stream of the seed, so it depends on nothing else; with a data-dependent
    initializer, on the layers below it and on the first batch of the data.

    Raises `BadInput` for an initializer that has no answer for one of the layers.
    """
    spec.require_start((initializer,))
    bound = scheme(initializer)
    has_labels = datasets.DATASETS[spec.dataset].has_labels
    best = torch.from_numpy(datasets.load(spec.dataset).constant_outputs).float() if has_labels else None
    inputs = None
    if bound.is_data_dependent:
        inputs = torch.tensor(datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed)).T
    layers = []
    for shape in spec.layer_shapes()[:count]:
        weight, bias = bound.draw(shape, generator(seed, "weights", shape.layer), inputs)
        bias = biases(spec.bias, shape, bias, best, generator(seed, "biases", shape.layer))
        if inputs is not None:
            inputs = shape.phi(weight @ inputs + bias[:, None])
        if shape.is_output:
            weight = weight * OUTPUT_FACTORS[spec.output]
        layers.append((weight, bias))
    return layers


def layer_inputs(spec: Spec, initializer: str, seed: int, layer: int) -> Tensor:
    """Return what a layer (1 to depth + 1) of a network sees of the first batch, (fan_in, samples), float32."""
    below = first_layers(spec, initializer, seed, layer - 1)
    inputs = torch.tensor(datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed)).T
    for weight, bias in below:
        inputs = activation(spec.activation)(weight @ inputs + bias[:, None])
    return inputs


def initialize(spec: Spec, members: Sequence[Member], dtype: torch.dtype = torch.float32) -> Ensemble:
    """Draw the weights and biases of every member by `first_layers`: float32 draws, converted to `dtype`."""
    drawn = [first_layers(spec, member.initializer, member.seed) for member in members]
    weights, shifts = [], []
    for layer in zip(*drawn, strict=True):
        weights.append(_restacked(torch.stack([weight for weight, _ in layer]), dtype))
        shifts.append(_restacked(torch.stack([bias for _, bias in layer]).unsqueeze(2), dtype))
    return Ensemble(activation(spec.activation), tuple(weights), tuple(shifts))


def _product(delta: Tensor, below: Tensor, out: Tensor) -> Tensor:
    """Write the sums over samples of delta (members, fan_out, samples) times below (members, fan_in, samples)."""
    if delta.shape[1] == 1 or below.shape[1] == 1:
        # A product with a vector takes another path for a lone member, and rounds differently.
        return out.copy_((delta.unsqueeze(2) * below.unsqueeze(1)).sum(dim=3))
    return torch.bmm(delta, below.mT, out=out)


class Workspace:
    """The buffers of one forward and backward pass of an ensemble, allocated once and used again.

    `pre_activations[l]` and `activations[l]` belong to hidden layer l + 1; after `backward`,
    `gradients[l]` is the gradient with respect to `pre_activations[l]`.
    """

    def __init__(self, ensemble: Ensemble, samples: int) -> None:
        self.ensemble = ensemble

        def buffers(weights: tuple[Tensor, ...]) -> list[Tensor]:
            return [stacked(w.shape[0], w.shape[1], samples, w.dtype) for w in weights]

        self.pre_activations = buffers(ensemble.weights)
        self.activations = buffers(ensemble.weights[:-1])
        self.gradients: list[Tensor] = []
        self._gradient_buffers = buffers
        self._inputs: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (members, outputs, samples) for inputs (members, features, samples)."""
        ensemble = self.ensemble
        self._inputs = h = x
        for layer, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
            z = torch.bmm(weight, h, out=self.pre_activations[layer]).add_(bias)
            if layer < len(self.activations):
                h = ensemble.activation.forward(z, self.activations[layer])
        return z

    def backward(self, output_gradient: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the gradients of all weights and biases, summed over the samples of the last forward pass.

        `output_gradient` is the gradient with respect to the outputs, (members, outputs, samples).
        """
        ensemble = self.ensemble
        if not self.gradients:
            self.gradients = self._gradient_buffers(ensemble.weights[:-1])
            self._weight_gradients = [stacked(w.shape[0], w.shape[1], w.shape[2], w.dtype) for w in ensemble.weights]
            self._bias_gradients = [stacked(b.shape[0], b.shape[1], b.shape[2], b.dtype) for b in ensemble.biases]
        delta = output_gradient
        for layer in range(len(ensemble.weights) - 1, -1, -1):
            below = self.activations[layer - 1] if layer else self._inputs
            assert below is not None, "backward needs a forward pass first"
            _product(delta, below, self._weight_gradients[layer])
            torch.sum(delta, dim=2, keepdim=True, out=self._bias_gradients[layer])
            if layer:
                grad = torch.bmm(ensemble.weights[layer].mT, delta, out=self.gradients[layer - 1])
                delta = ensemble.activation.backward(grad, self.pre_activations[layer - 1], below, grad)
        return self._weight_gradients, self._bias_gradients
