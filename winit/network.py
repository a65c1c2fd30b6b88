"""An ensemble of equal-shaped fully connected networks, as stacked tensors.

Weights are (members, fan_out, fan_in) as in PyTorch, biases (members, fan_out, 1), activations and
their gradients (members, units, samples). One batched product per layer serves all members, and
treats each exactly as it would alone: a member's numbers do not depend on its company, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count, islice
from typing import Literal

import torch
from torch import Tensor

from winit import datasets
from winit.activations import Activation, activation
from winit.initializers import LayerShape, scheme
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
    Packed,
    Scratch,
    quiet,
    restacked,
    stacked,
    stacked_like,
    walk,
)
from winit.seeds import generator
from winit.spec import OUTPUT_FACTORS, Spec


@dataclass(frozen=True)
class Member:
    """One network of an ensemble: where it starts, from which seed, and how fast it learns."""

    initializer: str
    seed: int
    learning_rate: float


def seeds_of(spec: Spec, count: int) -> tuple[int, ...]:
    """Return the seeds of `count` runs: the spec's and those after it, within the range of seeds."""
    return tuple((spec.seed + number) % 2**31 for number in range(count))


def places(rows: Sequence[int]) -> slice | list[int]:
    """Return what picks some members, by their numbers in ascending order, without a copy where they are neighbours."""
    are_neighbours = len(rows) == rows[-1] - rows[0] + 1
    return slice(rows[0], rows[-1] + 1) if are_neighbours else list(rows)


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

    packed: Packed = field(init=False, repr=False)
    """All that is learned, in one flat tensor, of which the tensors above are views."""

    def __post_init__(self) -> None:
        learned = [*self.weights, *self.biases, *(tensor for norm in self.norms for tensor in norm.parameters)]
        packed = Packed.of([*learned, *(self.branches if self.learns_branches else ())])
        places = iter(packed.tensors)
        moved: dict[str, object] = {
            "packed": packed,
            "weights": tuple(islice(places, len(self.weights))),
            "biases": tuple(islice(places, len(self.biases))),
            "norms": tuple(norm.at(*islice(places, len(norm.parameters))) for norm in self.norms),
        }
        if self.learns_branches:
            moved["branches"] = tuple(places)
        for name, value in moved.items():
            object.__setattr__(self, name, value)

    @property
    def members(self) -> int:
        return self.weights[0].shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.weights[0].dtype

    def to(self, dtype: torch.dtype) -> Ensemble:
        """Return a copy in another precision."""
        return self._with([self], lambda tensors: tensors[0].to(dtype))

    @classmethod
    def joined(cls, parts: Sequence[Ensemble]) -> Ensemble:
        """Return all members of ensembles of one shape together: the ensemble itself where it is one, else a copy."""
        return parts[0] if len(parts) == 1 else cls._with(parts, lambda tensors: torch.cat(list(tensors)))

    def picked(self, rows: Sequence[int], dtype: torch.dtype | None = None) -> Ensemble:
        """Return some of its members, copied, in another precision where one is given."""
        return self._with([self], lambda tensors: tensors[0][list(rows)].to(dtype or self.dtype))

    def take(self, other: Ensemble, rows: Sequence[int]) -> None:
        """Write some members of another ensemble of this shape over those of this one, which are as many."""
        chosen = places(rows)
        for here, there in zip(self._tensors(), other._tensors(), strict=True):
            here.copy_(there[chosen])

    def _tensors(self) -> Iterator[Tensor]:
        """Yield all that it consists of, (members, ...) each."""
        yield from (*self.weights, *self.biases, *self.branches)
        for norm in self.norms:
            yield from (norm.gain, norm.shift, norm.mean, norm.variance)

    @classmethod
    def _with(cls, parts: Sequence[Ensemble], make: Callable[[Sequence[Tensor]], Tensor]) -> Ensemble:
        """Return an ensemble of what `make` makes of the same tensor of each part."""
        return cls(
            parts[0].activation,
            tuple(make(layer) for layer in zip(*(part.weights for part in parts), strict=True)),
            tuple(make(layer) for layer in zip(*(part.biases for part in parts), strict=True)),
            tuple(NormState.joined(layer, make) for layer in zip(*(part.norms for part in parts), strict=True)),
            tuple(restacked(make(layer)) for layer in zip(*(part.branches for part in parts), strict=True)),
            parts[0].learns_branches,
        )

    def draw(self, spec: Spec, row: int, initializer: str, seed: int) -> None:
        """Write the weights and biases of `first_layers` over those of one member."""
        drawn = first_layers(spec, initializer, seed)
        for weight, bias, layer in zip(self.weights, self.biases, drawn, strict=True):
            weight[row].copy_(layer[0])
            bias[row, :, 0].copy_(layer[1])

    def outputs(self, x: Tensor) -> Tensor:
        """Return the outputs (members, outputs, samples) for inputs (features, samples) that all members share."""
        return Workspace(self, x.shape[1], is_training=False).forward(x.expand(self.members, -1, -1))

    def calibrate(self, x: Tensor) -> None:
        """Set the running statistics of batch normalization to those of inputs (features, samples).

        So the untouched network is evaluated as it is trained; torch.nn.BatchNorm1d starts at mean 0 and variance 1.
        """
        Workspace(self, x.shape[1], momentum=1.0).forward(x.expand(self.members, -1, -1))


def first_layers(spec: Spec, initializer: str, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Draw the weights (fan_out, fan_in) and biases (fan_out,) of all layers of a network, float32.

    Layer l comes from its own stream of the seed, so it depends on nothing else; with a data-dependent
    initializer, on the layers below it and on the first batch of the data.

    Raises `BadInput` for an initializer that has no answer for one of the layers.
    """
    spec.require_start((initializer,))
    if scheme(initializer).is_data_dependent:
        return [(weight, bias) for _, weight, bias in _drawn_on_the_way(spec, initializer, seed)]
    return [_draw(spec, initializer, seed, shape) for shape in spec.layer_shapes()]


def layer_inputs(spec: Spec, initializer: str, seed: int, layer: int) -> Tensor:
    """Return what a layer (1 to depth + 1) of a network sees of the first batch, (fan_in, samples), float32."""
    spec.require_start((initializer,))
    inputs, _, _ = next(islice(_drawn_on_the_way(spec, initializer, seed), layer - 1, None))
    return inputs


def _draw(
    spec: Spec, initializer: str, seed: int, shape: LayerShape, inputs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Draw weights and biases of one layer by the rules of the spec; `inputs` (fan_in, samples) is what it sees."""
    weight, own = scheme(initializer).draw(shape, generator(seed, "weights", shape.layer), inputs)
    best = None
    if shape.is_output and datasets.DATASETS[spec.dataset].has_labels:
        best = torch.from_numpy(datasets.load(spec.dataset).constant_outputs).float()
    bias = biases(spec.bias, shape, own, best, lambda: generator(seed, "biases", shape.layer))
    return weight * OUTPUT_FACTORS[spec.output] if shape.is_output else weight, bias


def _drawn_on_the_way(spec: Spec, initializer: str, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Draw layer after layer while the first batch passes through; yield what each sees, its weights and biases."""
    shapes = spec.layer_shapes()
    ensemble = _blank(spec, 1, torch.float32)
    x = torch.tensor(datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed)).T
    for shape, (linear, inputs) in zip(shapes, walk(Workspace(ensemble, x.shape[1]).layers, x[None]), strict=True):
        weight, bias = _draw(spec, initializer, seed, shape, inputs[0])
        linear.weight[0] = weight
        linear.bias[0, :, 0] = bias
        yield inputs[0], weight, bias


def initialize(spec: Spec, members: Sequence[Member], dtype: torch.dtype = torch.float32) -> Ensemble:
    """Draw the weights and biases of every member by `first_layers`: float32 draws, converted to `dtype`.

    Normalizations start at gain 1 and shift 0.
    """
    ensemble = _blank(spec, len(members), dtype)
    for row, member in enumerate(members):
        ensemble.draw(spec, row, member.initializer, member.seed)
    return ensemble


def _blank(spec: Spec, members: int, dtype: torch.dtype) -> Ensemble:
    """Return an ensemble of the spec's shape without weights or biases (all 0), its blocks as they start."""
    shapes = spec.layer_shapes()
    kind, residual = NORMALIZATIONS.get(spec.normalization), RESIDUALS.get(spec.residual)
    norms = [NormState.fresh(kind, members, units, dtype) for units in spec.widths] if kind else []
    branches = []
    if residual:
        branches = [stacked(members, 1, 1, dtype).fill_(residual.scale(spec.depth)) for _ in spec.widths[1:]]
    return Ensemble(
        activation(spec.activation),
        tuple(stacked(members, shape.fan_out, shape.fan_in, dtype) for shape in shapes),
        tuple(stacked(members, shape.fan_out, 1, dtype) for shape in shapes),
        tuple(norms),
        tuple(branches),
        residual is not None and residual.is_learned,
    )


class Workspace:
    """One forward and backward pass of an ensemble through its layers, whose buffers are allocated once.

    `samples` is the width of the pass. Without `is_training` there is only a forward pass, and batch normalization
    uses its running statistics; with it, it moves them by `momentum`. Where it `is_lean`, `pre_activations` and
    `gradients`, and without training `activations` too, are overwritten on the way: less to keep in the cache.
    `learned` says what becomes of the gradients of what is learned: kept; passing, where they last from one layer's
    step backward to the next; or none.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        samples: int,
        *,
        is_training: bool = True,
        momentum: float = MOMENTUM,
        is_lean: bool = False,
        learned: Literal["kept", "passing", "none"] = "kept",
    ) -> None:
        self.ensemble = ensemble
        depth = len(ensemble.weights) - 1
        self.packed_gradients = ensemble.packed.twin() if is_training and learned == "kept" else ensemble.packed
        """By what is learned, where they are kept: `backward` writes them."""
        flat = self.packed_gradients.flat

        def gradient_of(parameter: Tensor) -> Tensor:
            if is_training and learned != "kept":
                # Of one input, weights and biases have one shape: neighbours never share.
                key = (parameter.shape, next(calls) % 2)
                if key not in passing:
                    passing[key] = stacked_like(parameter)
                return passing[key]
            return flat.as_strided(parameter.shape, parameter.stride(), parameter.storage_offset())

        def place(number: int, units: int, *, is_shared: bool) -> Tensor:
            """Return where what flows past a linear layer goes; shared, every other layer uses the same."""
            shape = (ensemble.members, units, samples)
            if not is_shared:
                return stacked(*shape, ensemble.dtype)
            key = (number % 2, units)
            if key not in shared:
                shared[key] = stacked(*shape, ensemble.dtype)
            return shared[key]

        shared: dict[tuple[int, int], Tensor] = {}
        passing: dict[tuple[torch.Size, int], Tensor] = {}
        calls = count()
        scratch: Scratch = {}
        linears = []
        for number, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
            _, fan_out, fan_in = weight.shape
            outputs = place(number, fan_out, is_shared=is_lean and not is_training)
            below = place(number, fan_in, is_shared=is_lean) if is_training and number else None
            is_learned = learned != "none"
            linears.append(Linear(weight, bias, outputs, gradient_of, below, scratch, is_learned=is_learned))
        norms = [Norm(state, gradient_of, is_training=is_training, momentum=momentum) for state in ensemble.norms]
        self._elementwise = [Elementwise(ensemble.activation, is_lean=is_lean) for _ in range(depth)]
        self.layers: list[Layer] = []
        """Of the pass, in order."""
        for number in range(depth):
            if ensemble.branches and number > 0:
                # A residual branch is normalized where it begins, and the sum of all before the output layer.
                inner: list[Layer] = [*norms[number - 1 : number], linears[number], self._elementwise[number]]
                scale = ensemble.branches[number - 1]
                self.layers.append(Branch(inner, scale, gradient_of if ensemble.learns_branches else None))
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
        with quiet():
            for layer in self.layers:
                x = layer.forward(x)
        return x

    def backward(self, output_gradient: Tensor, seen: Callable[[Layer], object] | None = None) -> list[Tensor]:
        """Return the gradients of `parameters`, summed over the samples of the last forward pass.

        `output_gradient` is the gradient with respect to the outputs, (members, outputs, samples); `seen` is called
        after each layer's step, last layer first.
        """
        delta = output_gradient
        with quiet():
            for layer in reversed(self.layers):
                delta = layer.backward(delta)
                if seen is not None:
                    seen(layer)
        return self.parameter_gradients

    @cached_property
    def parameters(self) -> list[Tensor]:
        """All that is learned, in the order of the layers."""
        return [parameter for layer in self.layers for parameter in layer.parameters]

    @cached_property
    def parameter_gradients(self) -> list[Tensor]:
        """By `parameters`: the places that each `backward` writes."""
        return [gradient for layer in self.layers for gradient in layer.gradients]
