"""The layers of a network, each with forward and backward side by side.

All of them work on an ensemble at once: activations and their gradients are (members, units, samples),
weights (members, fan_out, fan_in), everything per unit (members, units, 1). A layer allocates what it
writes once, on its first pass, and uses it again; `backward` follows a `forward` and may overwrite the
gradient that it is given. Samples from `real` on only fill up to a full width: they carry no gradient and
count in no mean.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from winit.activations import Activation

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


def stacked_like(tensor: Tensor) -> Tensor:
    """Return an uninitialized tensor of the same shape, laid out by `stacked`."""
    members, rows, columns = tensor.shape
    return stacked(members, rows, columns, tensor.dtype)


def restacked(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy (members, rows, columns) laid out by `stacked`, in another precision where one is given."""
    members, rows, columns = tensor.shape
    return stacked(members, rows, columns, dtype or tensor.dtype).copy_(tensor)


def padding(samples: int) -> Tensor:
    """Return numbers of samples (0 to samples - 1) that fill up to a multiple of 32, the first ones repeated.

    Batched products of other widths round a member differently alone and in company.
    """
    return torch.arange(-(-samples // _LANES) * _LANES) % samples


class Layer(Protocol):
    """One step of the pass through a network."""

    @property
    def parameters(self) -> Sequence[Tensor]:
        """What it learns."""
        ...

    @property
    def gradients(self) -> Sequence[Tensor]:
        """Of its parameters, after `backward`, summed over the samples."""
        ...

    def forward(self, h: Tensor) -> Tensor:
        """Return what the layer makes of its inputs (members, units, samples)."""
        ...

    def backward(self, delta: Tensor) -> Tensor:
        """Return the gradient by the inputs from that by the outputs."""
        ...


def _product(delta: Tensor, below: Tensor, out: Tensor) -> Tensor:
    """Write the sums over samples of delta (members, fan_out, samples) times below (members, fan_in, samples)."""
    if delta.shape[1] == 1 or below.shape[1] == 1:
        # A product with a vector takes another path for a lone member, and rounds differently.
        return out.copy_((delta.unsqueeze(2) * below.unsqueeze(1)).sum(dim=3))
    return torch.bmm(delta, below.mT, out=out)


class Linear:
    """z = W h + b."""

    def __init__(self, weight: Tensor, bias: Tensor, samples: int, *, is_first: bool = False) -> None:
        members, fan_out, _ = weight.shape
        self.weight, self.bias = weight, bias
        self.parameters: Sequence[Tensor] = (weight, bias)
        self.gradients: Sequence[Tensor] = ()
        self._is_first = is_first
        self._outputs = stacked(members, fan_out, samples, weight.dtype)
        self._inputs = self._outputs

    def forward(self, h: Tensor) -> Tensor:
        self._inputs = h
        return torch.bmm(self.weight, h, out=self._outputs).add_(self.bias)

    def backward(self, delta: Tensor) -> Tensor:
        if not self.gradients:
            self.gradients = (stacked_like(self.weight), stacked_like(self.bias))
            self._below = stacked_like(self._inputs) if not self._is_first else delta
        of_weight, of_bias = self.gradients
        _product(delta, self._inputs, of_weight)
        torch.sum(delta, dim=2, keepdim=True, out=of_bias)
        # Nobody asks for the gradient by the data.
        return delta if self._is_first else torch.bmm(self.weight.mT, delta, out=self._below)


class Elementwise:
    """a = phi(z)."""

    parameters: Sequence[Tensor] = ()
    gradients: Sequence[Tensor] = ()

    def __init__(self, activation: Activation) -> None:
        self.activation = activation
        self.inputs = self.outputs = self.gradient = torch.empty(0)
        """z, a and the gradient by z of the last pass."""

    def forward(self, h: Tensor) -> Tensor:
        self.inputs = h
        if self.outputs.shape != h.shape:
            self.outputs = stacked_like(h)
        return self.activation.forward(h, self.outputs)

    def backward(self, delta: Tensor) -> Tensor:
        self.gradient = self.activation.backward(delta, self.inputs, self.outputs, delta)
        return self.gradient


@dataclass(frozen=True)
class Normalization:
    """A normalization of the catalogue: h - mean over its standard deviation, along one axis, then gain and shift."""

    name: str
    label: str
    purpose: str
    source: str
    axis: int
    """1: over the units of a sample; 2: over the samples of a unit."""
    is_centred: bool = True


NORMALIZATIONS: Mapping[str, Normalization] = MappingProxyType(
    {
        record.name: record
        for record in (
            Normalization(
                "batch",
                "batch normalization",
                "Each unit has mean 0 and variance 1 over the batch: any scale of the weights is undone, at the price "
                "of samples that depend on each other.",
                "Ioffe & Szegedy 2015, algorithm 1 (arXiv:1502.03167)",
                axis=2,
            ),
            Normalization(
                "layer",
                "layer normalization",
                "Each sample has mean 0 and variance 1 over the units of a layer: any scale of the weights is undone, "
                "sample by sample.",
                "Ba et al. 2016, eq. 3-4 (arXiv:1607.06450)",
                axis=1,
            ),
            Normalization(
                "rms",
                "RMS normalization",
                "Each sample has second moment 1 over the units of a layer, its mean untouched.",
                "Zhang & Sennrich 2019, eq. 4 (arXiv:1910.07467)",
                axis=1,
                is_centred=False,
            ),
        )
    }
)
EPSILON = 1e-5
MOMENTUM = 0.1
"""How much of the newest batch enters the running statistics of batch normalization, as in torch.nn.BatchNorm1d."""


@dataclass(frozen=True)
class NormState:
    """What a normalization learns and remembers, (members, units, 1) each."""

    kind: Normalization
    gain: Tensor
    shift: Tensor
    """Learned too, but for RMS normalization, which has none."""
    mean: Tensor
    variance: Tensor
    """Running statistics of batch normalization, used where no batch is trained on."""

    @classmethod
    def fresh(cls, kind: Normalization, members: int, units: int, dtype: torch.dtype) -> NormState:
        """Return gain 1, shift 0, and running statistics of a standard normal."""
        one, zero = (stacked(members, units, 1, dtype).fill_(value) for value in (1.0, 0.0))
        return cls(kind, one, zero, restacked(zero), restacked(one))

    def to(self, dtype: torch.dtype) -> NormState:
        """Return a copy in another precision."""
        return NormState(self.kind, *(restacked(t, dtype) for t in (self.gain, self.shift, self.mean, self.variance)))

    @classmethod
    def joined(cls, parts: Sequence[NormState], stack: Callable[[Sequence[Tensor]], Tensor]) -> NormState:
        """Return the states of several ensembles together, joined by `stack`."""
        fields = zip(*((part.gain, part.shift, part.mean, part.variance) for part in parts), strict=True)
        return cls(parts[0].kind, *(stack(field) for field in fields))

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What is learned."""
        return (self.gain, self.shift) if self.kind.is_centred else (self.gain,)


class Norm:
    """y = gain (h - mean) / sqrt(variance + epsilon) + shift."""

    def __init__(self, state: NormState, real: int, *, is_training: bool, momentum: float = MOMENTUM) -> None:
        self.state, self.real = state, real
        self.parameters: Sequence[Tensor] = state.parameters
        self.gradients: Sequence[Tensor] = ()
        self._uses_batch = state.kind.axis == 1 or is_training
        self._momentum = momentum if is_training and state.kind.axis == 2 else 0.0
        self._normal = self._outputs = torch.empty(0)

    def _mean(self, values: Tensor) -> Tensor:
        """Return the mean along the axis, of real samples only where it runs over samples."""
        if self.state.kind.axis == 2:
            values = values[:, :, : self.real]
        return values.mean(dim=self.state.kind.axis, keepdim=True)

    def forward(self, h: Tensor) -> Tensor:
        state = self.state
        if self._normal.shape != h.shape:
            self._normal, self._outputs = stacked_like(h), stacked_like(h)
        if not state.kind.is_centred:
            centred = self._normal.copy_(h)
        elif self._uses_batch:
            mean = self._mean(h)
            centred = torch.sub(h, mean, out=self._normal)
        else:
            centred = torch.sub(h, state.mean, out=self._normal)
        variance = self._mean(torch.mul(centred, centred, out=self._outputs)) if self._uses_batch else state.variance
        if self._momentum:
            unbiased = variance * (self.real / max(1, self.real - 1))
            # Not lerp_, whose vector code rounds once where its scalar code rounds twice.
            state.mean.mul_(1 - self._momentum).add_(mean * self._momentum)
            state.variance.mul_(1 - self._momentum).add_(unbiased * self._momentum)
        self._scale = (variance + EPSILON).rsqrt_()
        torch.mul(centred, self._scale, out=self._normal)
        outputs = torch.mul(self._normal, state.gain, out=self._outputs)
        return outputs.add_(state.shift) if state.kind.is_centred else outputs

    def backward(self, delta: Tensor) -> Tensor:
        state = self.state
        if not self.gradients:
            self.gradients = tuple(stacked_like(parameter) for parameter in state.parameters)
            self._below, self._product = stacked_like(delta), stacked_like(delta)
        product = torch.mul(delta, self._normal, out=self._product)
        torch.sum(product, dim=2, keepdim=True, out=self.gradients[0])
        if state.kind.is_centred:
            torch.sum(delta, dim=2, keepdim=True, out=self.gradients[1])
        below = torch.mul(delta, state.gain, out=self._below)
        along = self._mean(torch.mul(below, self._normal, out=self._product))
        if state.kind.is_centred:
            below.sub_(self._mean(below))
        below.sub_(torch.mul(self._normal, along, out=self._product)).mul_(self._scale)
        if state.kind.axis == 2:
            below[:, :, self.real :] = 0
        return below


class Branch:
    """h + scale f(h): a residual block around the layers f; the scale (members, 1, 1) is learned where asked."""

    def __init__(self, layers: Sequence[Layer], scale: Tensor, *, is_learned: bool) -> None:
        self.layers, self.scale = layers, scale
        self.is_learned = is_learned
        self._of_scale: tuple[Tensor, ...] = ()
        self._outputs = torch.empty(0)

    @property
    def parameters(self) -> Sequence[Tensor]:
        """Of the layers, then the scale where it is learned."""
        scale = (self.scale,) if self.is_learned else ()
        return (*(parameter for layer in self.layers for parameter in layer.parameters), *scale)

    @property
    def gradients(self) -> Sequence[Tensor]:
        """Of the layers' parameters, then of the scale."""
        return (*(gradient for layer in self.layers for gradient in layer.gradients), *self._of_scale)

    def forward(self, h: Tensor) -> Tensor:
        branch = h
        for layer in self.layers:
            branch = layer.forward(branch)
        return self.join(h, branch)

    def join(self, h: Tensor, branch: Tensor) -> Tensor:
        """Return what the block makes of its inputs and of what its layers made of them."""
        if self._outputs.shape != h.shape:
            self._outputs, self._delta = stacked_like(h), stacked_like(h)
        self._branch = branch
        return torch.mul(branch, self.scale, out=self._outputs).add_(h)

    def backward(self, delta: Tensor) -> Tensor:
        if self.is_learned:
            product = torch.mul(delta, self._branch, out=self._delta)
            if not self._of_scale:
                self._of_scale = (stacked_like(self.scale),)
            self._of_scale[0].copy_(product.sum(dim=2, keepdim=True).sum(dim=1, keepdim=True))
        inner = torch.mul(delta, self.scale, out=self._delta)
        for layer in reversed(self.layers):
            inner = layer.backward(inner)
        return inner.add_(delta)


def walk(layers: Sequence[Layer], h: Tensor) -> Generator[tuple[Linear, Tensor], None, Tensor]:
    """Go forward through layers, and stop before each linear one with its inputs; return the outputs."""
    for layer in layers:
        if isinstance(layer, Branch):
            branch = yield from walk(layer.layers, h)
            h = layer.join(h, branch)
        else:
            if isinstance(layer, Linear):
                yield layer, h
            h = layer.forward(h)
    return h


@dataclass(frozen=True)
class Residual:
    """How hidden layers of equal width, from the second on, add to what they see: h + scale f(h)."""

    name: str
    purpose: str
    source: str
    scale: Callable[[int], float]
    """Number of hidden layers -> scale of a branch at the start."""
    is_learned: bool = False


RESIDUALS: Mapping[str, Residual] = MappingProxyType(
    {
        record.name: record
        for record in (
            Residual(
                "plain",
                "Each layer adds to what it sees: gradients pass by all layers, and the signal grows with depth.",
                "He et al. 2016, eq. 1-2, pre-activation (arXiv:1603.05027)",
                lambda depth: 1.0,
            ),
            Residual(
                "depth_scaled",
                "Branches scaled by 1 / sqrt(2 L): all layers together add as much as one.",
                "Radford et al. 2019 (GPT-2), section 2.3",
                lambda depth: (2 * depth) ** -0.5,
            ),
            Residual(
                "zero",
                "A learned scale that starts at 0: the network starts as its first and its last layer, at any depth.",
                "Bachlechner et al. 2020, ReZero, eq. 1 (arXiv:2003.04887); De & Smith 2020 (arXiv:2002.10444)",
                lambda depth: 0.0,
                is_learned=True,
            ),
        )
    }
)
