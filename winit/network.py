"""An ensemble of equal-shaped fully connected networks, as stacked tensors.

Weights are (members, fan_out, fan_in) as in PyTorch, biases (members, fan_out, 1), activations and
their gradients (members, units, samples). One batched product per layer serves all members, and
treats each exactly as it would alone: a member's numbers do not depend on its company, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from winit import datasets
from winit.activations import Activation, activation
from winit.initializers import scheme
from winit.initializers.biases import biases
from winit.layers import (
    MOMENTUM,
    NORMALIZATIONS,
    RESIDUALS,
    Branch,
    Elementwise,
    Layer,
    Linear,
    Norm,
    NormState,
    padding,
    stacked,
)
from winit.seeds import generator
from winit.spec import OUTPUT_FACTORS, Spec


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
    norms: tuple[NormState, ...] = ()
    """Of hidden layers 1 to depth; in a residual network of the branches and of the output layer's input."""
    branches: tuple[Tensor, ...] = ()
    """Scale (members, 1, 1) of the residual branches, of hidden layers 2 to depth."""
    learns_branches: bool = False

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
            tuple(norm.to(dtype) for norm in self.norms),
            tuple(_restacked(scale, dtype) for scale in self.branches),
            self.learns_branches,
        )

    @classmethod
    def joined(cls, parts: Sequence[Ensemble]) -> Ensemble:
        """Return all members of ensembles of one shape together: the ensemble itself where it is one, else a copy."""
        if len(parts) == 1:
            return parts[0]

        def stack(tensors: Sequence[Tensor]) -> Tensor:
            return _restacked(torch.cat(list(tensors)), parts[0].dtype)

        return Ensemble(
            parts[0].activation,
            tuple(stack(layer) for layer in zip(*(part.weights for part in parts), strict=True)),
            tuple(stack(layer) for layer in zip(*(part.biases for part in parts), strict=True)),
            tuple(NormState.joined(layer, stack) for layer in zip(*(part.norms for part in parts), strict=True)),
            tuple(stack(layer) for layer in zip(*(part.branches for part in parts), strict=True)),
            parts[0].learns_branches,
        )

    def outputs(self, x: Tensor) -> Tensor:
        """Return the outputs (members, outputs, samples) for inputs (features, samples) that all members share."""
        samples = x.shape[1]
        filled = x[:, padding(samples)]
        workspace = Workspace(self, filled.shape[1], is_training=False)
        return workspace.forward(filled.expand(self.members, *filled.shape))[:, :, :samples]


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
    """Draw the weights and biases of every member by `first_layers`: float32 draws, converted to `dtype`.

    Normalizations start at gain 1 and shift 0.
    """
    drawn = [first_layers(spec, member.initializer, member.seed) for member in members]
    weights, shifts = [], []
    for layer in zip(*drawn, strict=True):
        weights.append(_restacked(torch.stack([weight for weight, _ in layer]), dtype))
        shifts.append(_restacked(torch.stack([bias for _, bias in layer]).unsqueeze(2), dtype))
    kind = NORMALIZATIONS.get(spec.normalization)
    norms = tuple(NormState.fresh(kind, len(members), units, dtype) for units in spec.widths) if kind else ()
    kind_of_branch = RESIDUALS.get(spec.residual)
    branches = (
        tuple(stacked(len(members), 1, 1, dtype).fill_(kind_of_branch.scale(spec.depth)) for _ in spec.widths[1:])
        if kind_of_branch
        else ()
    )
    learns = kind_of_branch is not None and kind_of_branch.is_learned
    return Ensemble(activation(spec.activation), tuple(weights), tuple(shifts), norms, branches, learns)


def calibrate(ensemble: Ensemble, x: datasets.Features) -> None:
    """Set the running statistics of batch normalization to those of inputs (samples, features).

    So the untouched network is evaluated as it is trained; torch.nn.BatchNorm1d starts at mean 0 and variance 1.
    """
    inputs = torch.tensor(x, dtype=ensemble.dtype).T
    filled = inputs[:, padding(inputs.shape[1])].expand(ensemble.members, -1, -1)
    Workspace(ensemble, filled.shape[2], inputs.shape[1], momentum=1.0).forward(filled)


class Workspace:
    """One forward and backward pass of an ensemble through its layers, whose buffers are allocated once.

    `samples` is the width of the pass, of which the first `real` (all by default) are samples of their own.
    Without `is_training` batch normalization uses its running statistics; with it, it moves them by `momentum`.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        samples: int,
        real: int | None = None,
        *,
        is_training: bool = True,
        momentum: float = MOMENTUM,
    ) -> None:
        self.ensemble = ensemble
        depth = len(ensemble.weights) - 1
        linears = [
            Linear(weight, bias, samples, is_first=number == 0)
            for number, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True))
        ]
        norms = [Norm(state, real or samples, is_training=is_training, momentum=momentum) for state in ensemble.norms]
        self._elementwise = [Elementwise(ensemble.activation) for _ in range(depth)]
        self._linears, self._norms = linears, norms
        self.layers: list[Layer] = []
        """Of the pass, in order."""
        for number in range(depth):
            if ensemble.branches and number > 0:
                # A residual branch is normalized where it begins, and the sum of all before the output layer.
                inner: list[Layer] = [*norms[number - 1 : number], linears[number], self._elementwise[number]]
                scale = ensemble.branches[number - 1]
                self.layers.append(Branch(inner, scale, is_learned=ensemble.learns_branches))
            else:
                between = () if ensemble.branches else norms[number : number + 1]
                self.layers += [linears[number], *between, self._elementwise[number]]
        self.layers += norms[depth - 1 :] if ensemble.branches else ()
        self.layers.append(linears[depth])

    @property
    def pre_activations(self) -> list[Tensor]:
        """Of hidden layers 1 to depth, (members, units, samples): what the activation was applied to."""
        return [layer.inputs for layer in self._elementwise]

    @property
    def activations(self) -> list[Tensor]:
        """Of hidden layers 1 to depth."""
        return [layer.outputs for layer in self._elementwise]

    @property
    def gradients(self) -> list[Tensor]:
        """By `pre_activations`, after `backward`."""
        return [layer.gradient for layer in self._elementwise]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (members, outputs, samples) for inputs (members, features, samples)."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, output_gradient: Tensor) -> list[Tensor]:
        """Return the gradients of `parameters`, summed over the samples of the last forward pass.

        `output_gradient` is the gradient with respect to the outputs, (members, outputs, samples).
        """
        delta = output_gradient
        for layer in reversed(self.layers):
            delta = layer.backward(delta)
        return [gradient for layer in self.layers for gradient in layer.gradients]

    @cached_property
    def parameters(self) -> list[Tensor]:
        """All that is learned, in the order of the layers."""
        return [parameter for layer in self.layers for parameter in layer.parameters]
