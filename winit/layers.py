"""The layers of a network, each with forward and backward side by side.

All of them work on an ensemble at once: activations and their gradients are (members, units, samples),
weights (members, fan_out, fan_in), everything per unit (members, units, 1). A layer allocates what it
writes once and uses it again; `backward` follows a `forward` and may overwrite the gradient that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from winit.activations import Activation

# Like torch.set_num_threads: small products are divided among the members of an ensemble, not within.
threadpool_limits(1, "blas")

# Elementwise loops take 2 x 16 floats at a time and finish the rest one by one, with a tanh or a
# multiply-add that rounds differently.
_LANES = 32


def stacked(members: int, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Return a tensor (members, rows, columns), to be written, in which each member is a run of its own.

    Members start at multiples of 32 numbers, so an elementwise operation treats each as it would
    alone: either none has a remainder, or all have the same one.
    """
    size = rows * columns
    return torch.zeros(members, _run(size), dtype=dtype)[:, :size].view(members, rows, columns)


def _run(size: int) -> int:
    """Return how far one member lies from the next."""
    return -(-size // _LANES) * _LANES


def flat(tensor: Tensor) -> Tensor:
    """Return all numbers of a tensor laid out by `stacked`, and those between its members, in one run.

    It has no remainder, and is contiguous: for some operations torch has other code where a tensor is not.
    """
    return tensor.as_strided((len(tensor) * _run(tensor[0].numel()),), (1,), tensor.storage_offset())


def stacked_like(tensor: Tensor) -> Tensor:
    """Return a tensor of the same shape, to be written, laid out by `stacked`."""
    members, rows, columns = tensor.shape
    return stacked(members, rows, columns, tensor.dtype)


def restacked(tensor: Tensor) -> Tensor:
    """Return a copy (members, rows, columns) laid out by `stacked`."""
    return stacked_like(tensor).copy_(tensor)


@dataclass(frozen=True)
class Packed:
    """Tensors (members, rows, columns), laid out as by `stacked`, one after the other in one flat tensor."""

    flat: Tensor
    """0 where it belongs to none of them."""
    tensors: tuple[Tensor, ...]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Packed:
        """Return copies of tensors."""
        runs = [_run(tensor[0].numel()) for tensor in tensors]
        starts = np.cumsum([0, *(len(tensor) * run for tensor, run in zip(tensors, runs, strict=True))]).tolist()
        flat = torch.zeros(starts[-1], dtype=tensors[0].dtype)
        places = zip(tensors, runs, starts, strict=False)
        return cls(flat, tuple(flat.as_strided(t.shape, (run, t.shape[2], 1), at).copy_(t) for t, run, at in places))

    def twin(self) -> Packed:
        """Return zeros that lie likewise."""
        flat = torch.zeros_like(self.flat)
        return Packed(flat, tuple(flat.as_strided(t.shape, t.stride(), t.storage_offset()) for t in self.tensors))

    def of_members(self, values: Tensor) -> Tensor:
        """Return, laid out like the flat tensor, the value (members,) of the member that each number belongs to."""
        runs = [values.repeat_interleave(tensor.stride(0)) for tensor in self.tensors]
        return torch.cat(runs)


def quiet() -> np.errstate:
    """Let NumPy say nothing of numbers that leave the finite ones: their loss tells."""
    return np.errstate(over="ignore", invalid="ignore")


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


Twin = Callable[[Tensor], Tensor]
"""(parameter) -> where its gradient goes."""

_SQUARE_FROM = 48
_WIDE_FROM = 128


Scratch = dict[tuple[int, ...], np.ndarray]
"""Memory by its shape, of one pass and for one moment: all layers use the same, which so stays in the cache."""


def product(left: Tensor, right: Tensor, out: Tensor, scratch: Scratch) -> Callable[[], object]:
    """Return what writes left @ right over out, (members, rows, columns) each, whenever it is called.

    Members are multiplied one after the other, so what a member gets cannot depend on its company (`torch.bmm`
    rounds by company); shapes and strides alone choose between NumPy's BLAS, which has kernels for small
    matrices, and torch's for wide ones.
    """
    rows, shared, columns = *left.shape[1:], right.shape[2]
    if sorted((rows, shared, columns))[1] >= _WIDE_FROM:
        each = list(zip(left.unbind(), right.unbind(), out.unbind(), strict=True))
        return lambda: [torch.mm(a, b, out=c) for a, b, c in each]
    a, b, c = left.numpy(), right.numpy(), out.numpy()
    is_along_rows = left.stride(2) == 1 and right.stride(1) == 1 and right.stride(2) > 1
    if is_along_rows and min(rows, columns) >= _SQUARE_FROM and shared <= _WIDE_FROM:
        # The kernels for small matrices leave out inner products of rows; turning one factor around is faster.
        if b.shape not in scratch:
            scratch[b.shape] = np.empty(b.shape, dtype=b.dtype)
        turned = scratch[b.shape]

        def multiply() -> None:
            np.copyto(turned, b)
            np.matmul(a, turned, out=c)

        return multiply
    return partial(np.matmul, a, b, out=c)


class Linear:
    """z = W h + b."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        outputs: Tensor,
        gradient_of: Twin,
        below: Tensor | None,
        scratch: Scratch,
        *,
        is_learned: bool = True,
    ) -> None:
        """Make the layer; `outputs` is what it writes.

        `below` is where the gradient by the inputs goes, None where nobody asks for it.
        Unless it `is_learned`, nobody asks for those of weight and bias.
        """
        self.weight, self.bias = weight, bias
        self.parameters: Sequence[Tensor] = (weight, bias)
        self.gradients: Sequence[Tensor] = (gradient_of(weight), gradient_of(bias))
        self._outputs = outputs
        self._inputs = self._delta = torch.empty(0)
        """Of the last pass: while they are the same tensors, so are the products."""
        self._below, self._scratch, self._is_learned = below, scratch, is_learned
        self._ones = torch.ones(len(weight), outputs.shape[2], 1, dtype=weight.dtype)
        self._forward: Callable[[], object]
        self._backward: list[Callable[[], object]]

    def forward(self, h: Tensor) -> Tensor:
        if h is not self._inputs:
            self._inputs, self._delta = h, torch.empty(0)
            self._forward = product(self.weight, h, self._outputs, self._scratch)
        self._forward()
        return self._outputs.add_(self.bias)

    def backward(self, delta: Tensor) -> Tensor:
        if delta is not self._delta:
            self._delta = delta
            of_weight, of_bias = self.gradients
            factors = []
            if self._is_learned:
                factors += [(delta, self._inputs.mT, of_weight), (delta, self._ones, of_bias)]
            if self._below is not None:
                factors.append((self.weight.mT, delta, self._below))
            self._backward = [product(*each, self._scratch) for each in factors]
        for multiply in self._backward:
            multiply()
        return delta if self._below is None else self._below


class Elementwise:
    """a = phi(z)."""

    parameters: Sequence[Tensor] = ()
    gradients: Sequence[Tensor] = ()

    def __init__(self, activation: Activation, *, is_lean: bool) -> None:
        """Make the layer; where it is lean, phi(z) goes over z if the activation allows."""
        self.activation = activation
        self._is_in_place = is_lean and not activation.keeps_z
        self.inputs = self.outputs = self.gradient = torch.empty(0)
        """z, a and the gradient by z of the last pass."""
        self._z = self._a = self._delta = torch.empty(0)

    def forward(self, h: Tensor) -> Tensor:
        if h is not self.inputs:
            self.inputs = h
            self.outputs = h if self._is_in_place else stacked_like(h)
            self._z, self._a = flat(h), flat(self.outputs)
        self.activation.forward(self._z, self._a)
        return self.outputs

    def backward(self, delta: Tensor) -> Tensor:
        if delta is not self.gradient:
            self.gradient, self._delta = delta, flat(delta)
        self.activation.backward(self._delta, self._z, self._a, self._delta)
        return delta


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

    @classmethod
    def joined(cls, parts: Sequence[NormState], make: Callable[[Sequence[Tensor]], Tensor]) -> NormState:
        """Return the state of what `make` makes of the same tensor of each part."""
        fields = zip(*((part.gain, part.shift, part.mean, part.variance) for part in parts), strict=True)
        return cls(parts[0].kind, *(restacked(make(field)) for field in fields))

    def at(self, gain: Tensor, shift: Tensor | None = None) -> NormState:
        """Return the same with what is learned in another place."""
        return replace(self, gain=gain, shift=self.shift if shift is None else shift)

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What is learned."""
        return (self.gain, self.shift) if self.kind.is_centred else (self.gain,)


class Norm:
    """y = gain (h - mean) / sqrt(variance + epsilon) + shift."""

    def __init__(self, state: NormState, gradient_of: Twin, *, is_training: bool, momentum: float = MOMENTUM) -> None:
        self.state = state
        self.parameters: Sequence[Tensor] = state.parameters
        self.gradients: Sequence[Tensor] = tuple(map(gradient_of, state.parameters))
        self._uses_batch = state.kind.axis == 1 or is_training
        self._momentum = momentum if is_training and state.kind.axis == 2 else 0.0
        self._normal = self._outputs = self._below = self._product = torch.empty(0)

    def _mean(self, values: Tensor) -> Tensor:
        """Return the mean along the axis."""
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
            samples = h.shape[2]
            unbiased = variance * (samples / max(1, samples - 1))
            # Not lerp_, whose vector code rounds once where its scalar code rounds twice.
            state.mean.mul_(1 - self._momentum).add_(mean * self._momentum)
            state.variance.mul_(1 - self._momentum).add_(unbiased * self._momentum)
        self._scale = (variance + EPSILON).rsqrt_()
        torch.mul(centred, self._scale, out=self._normal)
        outputs = torch.mul(self._normal, state.gain, out=self._outputs)
        return outputs.add_(state.shift) if state.kind.is_centred else outputs

    def backward(self, delta: Tensor) -> Tensor:
        state = self.state
        if self._below.shape != delta.shape:
            self._below, self._product = stacked_like(delta), stacked_like(delta)
        product = torch.mul(delta, self._normal, out=self._product)
        torch.sum(product, dim=2, keepdim=True, out=self.gradients[0])
        if state.kind.is_centred:
            torch.sum(delta, dim=2, keepdim=True, out=self.gradients[1])
        below = torch.mul(delta, state.gain, out=self._below)
        along = self._mean(torch.mul(below, self._normal, out=self._product))
        if state.kind.is_centred:
            below.sub_(self._mean(below))
        return below.sub_(torch.mul(self._normal, along, out=self._product)).mul_(self._scale)


class Branch:
    """h + scale f(h): a residual block around the layers f; the scale (members, 1, 1) is learned where asked."""

    def __init__(self, layers: Sequence[Layer], scale: Tensor, gradient_of: Twin | None) -> None:
        """Make the block; without `gradient_of` its scale is not learned."""
        self.layers, self.scale = layers, scale
        self._of_scale = (gradient_of(scale),) if gradient_of else ()
        self._outputs = torch.empty(0)

    @property
    def parameters(self) -> Sequence[Tensor]:
        """Of the layers, then the scale where it is learned."""
        scale = (self.scale,) if self._of_scale else ()
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
        if self._of_scale:
            product = torch.mul(delta, self._branch, out=self._delta)
            self._of_scale[0].copy_(product.sum(dim=2, keepdim=True).sum(dim=1, keepdim=True))
        inner = torch.mul(delta, self.scale, out=self._delta)
        for layer in reversed(self.layers):
            inner = layer.backward(inner)
        return inner.add_(delta)


def linears(layers: Sequence[Layer]) -> Iterator[Linear]:
    """Yield the linear layers of a pass in order."""
    for layer in layers:
        if isinstance(layer, Branch):
            yield from linears(layer.layers)
        elif isinstance(layer, Linear):
            yield layer


def walk(layers: Sequence[Layer], h: Tensor) -> Generator[tuple[Linear, Tensor], None, Tensor]:
    """Go forward through layers, and stop before each linear one with its inputs; return the outputs."""
    for layer in layers:
        if isinstance(layer, Branch):
            branch = yield from walk(layer.layers, h)
            h = layer.join(h, branch)
        else:
            if isinstance(layer, Linear):
                yield layer, h
            with quiet():
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
