"""The activations: one record each, with forward and backward side by side.

A record is a function with declared parameters; `activation` turns a text form such as
`leaky_relu(slope=0.2)` into an `Activation`. `forward(z, out)` writes phi(z) and `backward(grad, z, a, out)`
writes grad * phi'(z), where a = phi(z); both work elementwise on tensors of any shape and return `out`.
`out` may be `grad`, never `z`. Adding an activation is adding one record.

>>> activation("leaky_relu(slope=0.2)").label
'leaky ReLU (slope 0.2)'
>>> activation("swish").text
'silu'
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from winit import textform
from winit.fields import Field, Form, Real, tex
from winit.textform import Alias, Catalogue

aten = torch.ops.aten

Forward = Callable[[Tensor, Tensor], Tensor]
Backward = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ArrayForm:
    """phi for NumPy's arrays of any shape: for few numbers, of which torch's calls take longer."""

    forward: Callable[[NDArray[Any]], object]
    """(z) -> nothing: writes phi(z) over z."""
    slope: Callable[[NDArray[Any], NDArray[Any]], object]
    """(phi(z), place) -> nothing: writes phi'(z) to its place, the derivative at a kink being 0."""


@dataclass(frozen=True)
class Function:
    """phi with its derivative, every parameter put in."""

    formula: str
    """phi(z) in LaTeX."""
    forward: Forward = field(compare=False, repr=False)
    backward: Backward = field(compare=False, repr=False)
    kinks: tuple[float, ...] = ()
    """Where phi' jumps, from left to right."""
    keeps_z: bool = True
    """Whether `backward` must see z; otherwise phi(z) may have been written over it."""
    width: float = 1.0
    """Over what distance phi bends, at 0; infinity where it is a polynomial between kinks."""
    frequency: float = 0.0
    """omega of a wave sin(omega z); 0 for all others, which settle on both sides."""
    seams: tuple[float, ...] = ()
    """Where a derivative above the first jumps, or the library's formula changes to one that is nearly the same."""
    in_arrays: ArrayForm | None = field(default=None, compare=False, repr=False)
    """The same for NumPy, where networks of few units use it."""

    def __call__(self, z: Tensor) -> Tensor:
        """Return phi(z), shaped as z."""
        return self.forward(z, torch.empty_like(z))

    def derivative(self, z: Tensor) -> Tensor:
        """Return phi'(z), shaped as z."""
        return self.backward(torch.ones_like(z), z, self(z), torch.empty_like(z))

    def values(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return phi(x) in double precision, shaped as x."""
        return self(_tensor(x)).numpy()

    def slopes(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return phi'(x) in double precision, shaped as x."""
        return self.derivative(_tensor(x)).numpy()

    def values_and_slopes(self, x: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what `values` and `slopes` do, with phi(x) computed once."""
        z = _tensor(x)
        a = self(z)
        return a.numpy(), self.backward(torch.ones_like(z), z, a, torch.empty_like(z)).numpy()


def _tensor(x: ArrayLike) -> Tensor:
    # A copy in C order: torch takes neither read-only arrays nor negative strides.
    return torch.from_numpy(np.array(x, dtype=np.float64, order="C"))


@dataclass(frozen=True)
class Record:
    """A function of the catalogue, its parameters open."""

    name: str
    label: str
    make: Callable[..., Function]
    """Parameters by name -> function."""
    purpose: str
    """What it is for, and when it fails."""
    source: str
    parameters: tuple[Field, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Activation(Function):
    """An activation of the catalogue with its parameters set; two of the same text are equal."""

    text: str
    """The canonical text form."""
    label: str
    """For readers, with the parameters that are not at their default."""
    source: str


def _times(factor: float, latex: str) -> str:
    """Return a product as LaTeX; a factor of 1 is not written."""
    return latex if factor == 1 else rf"{tex(factor)}\,{latex}"


def _cases(negative: str) -> str:
    """Return a function that is z above 0, as LaTeX."""
    return rf"\begin{{cases}} z & z > 0 \\ {negative} & z \le 0 \end{{cases}}"


def _identity() -> Function:
    return Function(
        r"\varphi(z) = z",
        lambda z, out: out.copy_(z),
        lambda grad, z, a, out: out if out is grad else out.copy_(grad),
        keeps_z=False,
        width=math.inf,
        in_arrays=ArrayForm(lambda z: None, lambda a, out: out.fill(1)),
    )


def _is_positive(a: NDArray[Any], out: NDArray[Any]) -> None:
    # Of numbers from 0 on. NumPy's sign takes ten times as long.
    np.minimum(a, 1, out=out)
    np.ceil(out, out=out)


def _relu() -> Function:
    return Function(
        r"\varphi(z) = \max(0, z)",
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda grad, z, a, out: aten.threshold_backward.grad_input(grad, a, 0, grad_input=out),
        (0.0,),
        keeps_z=False,
        width=math.inf,
        in_arrays=ArrayForm(lambda z: np.maximum(z, 0, out=z), _is_positive),
    )


def _leaky(slope: float) -> Function:
    return Function(
        rf"\varphi(z) = {_cases(_times(slope, 'z'))}",
        lambda z, out: aten.leaky_relu.out(z, slope, out=out),
        lambda grad, z, a, out: aten.leaky_relu_backward.grad_input(grad, z, slope, False, grad_input=out),
        () if slope == 1 else (0.0,),
        keeps_z=slope <= 0,  # above 0, phi(z) has the sign of z
        width=math.inf,
    )


def _one_less_square(a: NDArray[Any], out: NDArray[Any]) -> None:
    np.multiply(a, a, out=out)
    np.subtract(1, out, out=out)


def _tanh() -> Function:
    return Function(
        r"\varphi(z) = \tanh z",
        lambda z, out: torch.tanh(z, out=out),
        lambda grad, z, a, out: aten.tanh_backward.grad_input(grad, a, grad_input=out),
        keeps_z=False,
        in_arrays=ArrayForm(lambda z: np.tanh(z, out=z), _one_less_square),
    )


def _scaled_tanh(a: float, b: float) -> Function:
    def backward(grad: Tensor, z: Tensor, value: Tensor, out: Tensor) -> Tensor:
        aten.tanh_backward.grad_input(grad, value / a, grad_input=out)
        return out.mul_(a * b)

    tanh = rf"\tanh({_times(b, 'z')})"
    return Function(
        rf"\varphi(z) = {_times(a, tanh)}",
        lambda z, out: torch.mul(z, b, out=out).tanh_().mul_(a),
        backward,
        keeps_z=False,
        width=1 / b,
    )


def _sigmoid_of(z: NDArray[Any]) -> None:
    np.negative(z, out=z)
    np.exp(z, out=z)
    np.add(z, 1, out=z)
    np.reciprocal(z, out=z)


def _less_square(a: NDArray[Any], out: NDArray[Any]) -> None:
    np.multiply(a, a, out=out)
    np.subtract(a, out, out=out)


def _sigmoid() -> Function:
    return Function(
        r"\varphi(z) = \frac{1}{1 + e^{-z}}",
        lambda z, out: torch.sigmoid(z, out=out),
        lambda grad, z, a, out: aten.sigmoid_backward.grad_input(grad, a, grad_input=out),
        keeps_z=False,
        in_arrays=ArrayForm(_sigmoid_of, _less_square),
    )


def _clamp(low: float, high: float) -> Function:
    return Function(
        rf"\varphi(z) = \min({tex(high)}, \max({tex(low)}, z))",
        lambda z, out: torch.clamp(z, low, high, out=out),
        lambda grad, z, a, out: aten.hardtanh_backward.grad_input(grad, z, low, high, grad_input=out),
        (low, high),
        width=math.inf,
    )


def _hardsigmoid() -> Function:
    def backward(grad: Tensor, z: Tensor, a: Tensor, out: Tensor) -> Tensor:
        # Not hardsigmoid_backward, which knows 1/6 in single precision only.
        aten.hardtanh_backward.grad_input(grad, z, -3.0, 3.0, grad_input=out)
        return out.div_(6)

    return Function(
        r"\varphi(z) = \frac{\min(6, \max(0, z + 3))}{6}",
        lambda z, out: aten.hardsigmoid.out(z, out=out),
        backward,
        (-3.0, 3.0),
        width=math.inf,
    )


def _hardswish() -> Function:
    return Function(
        r"\varphi(z) = z\,\frac{\min(6, \max(0, z + 3))}{6}",
        lambda z, out: aten.hardswish.out(z, out=out),
        lambda grad, z, a, out: aten.hardswish_backward.out(grad, z, out=out),
        (-3.0, 3.0),
        width=math.inf,
    )


def _softsign() -> Function:
    def backward(grad: Tensor, z: Tensor, a: Tensor, out: Tensor) -> Tensor:
        # 1 / (1 + |z|) = 1 - |a|
        slope = a.abs().neg_().add_(1).square_()
        return torch.mul(grad, slope, out=out)

    return Function(
        r"\varphi(z) = \frac{z}{1 + |z|}",
        lambda z, out: torch.div(z, z.abs().add_(1), out=out),
        backward,
        keeps_z=False,
        seams=(0.0,),
    )


def _exponential(latex: str, kinks: tuple[float, ...], alpha: float, scale: float = 1.0, rate: float = 1.0) -> Function:
    """Return scale * z above 0 and scale * alpha * (exp(rate * z) - 1) below."""
    return Function(
        rf"\varphi(z) = {latex}",
        lambda z, out: aten.elu.out(z, alpha, scale, rate, out=out),
        lambda grad, z, a, out: aten.elu_backward.grad_input(grad, alpha, scale, rate, False, z, grad_input=out),
        kinks,
        width=1 / rate,
        seams=() if kinks else (0.0,),
    )


def _elu(alpha: float) -> Function:
    negative = "e^z - 1" if alpha == 1 else rf"{tex(alpha)}\,(e^z - 1)"
    return _exponential(_cases(negative), () if alpha == 1 else (0.0,), alpha)


def _celu(alpha: float) -> Function:
    negative = "e^z - 1" if alpha == 1 else rf"{tex(alpha)}\,(e^{{z / {tex(alpha)}}} - 1)"
    return _exponential(_cases(negative), (), alpha, rate=1 / alpha)


def _selu() -> Function:
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    negative = rf"{tex(alpha)}\,(e^z - 1)"
    return _exponential(rf"{tex(scale)} {_cases(negative)}", (0.0,), alpha, scale)


def _gelu() -> Function:
    return Function(
        r"\varphi(z) = z\,\Phi(z)",
        lambda z, out: aten.gelu.out(z, approximate="none", out=out),
        lambda grad, z, a, out: aten.gelu_backward.grad_input(grad, z, approximate="none", grad_input=out),
    )


def _silu() -> Function:
    return Function(
        r"\varphi(z) = \frac{z}{1 + e^{-z}}",
        lambda z, out: aten.silu.out(z, out=out),
        lambda grad, z, a, out: aten.silu_backward.grad_input(grad, z, grad_input=out),
    )


def _mish() -> Function:
    return Function(
        r"\varphi(z) = z \tanh(\ln(1 + e^z))",
        lambda z, out: aten.mish.out(z, out=out),
        lambda grad, z, a, out: out.copy_(aten.mish_backward(grad, z)),
    )


def _softplus() -> Function:
    return Function(
        r"\varphi(z) = \ln(1 + e^z)",
        lambda z, out: aten.softplus.out(z, 1.0, 20.0, out=out),
        lambda grad, z, a, out: aten.softplus_backward.grad_input(grad, z, 1.0, 20.0, grad_input=out),
        seams=(20.0,),
    )


def _erf() -> Function:
    return Function(
        r"\varphi(z) = \operatorname{erf} z = \frac{2}{\sqrt\pi} \int_0^z e^{-t^2} dt",
        lambda z, out: torch.erf(z, out=out),
        lambda grad, z, a, out: torch.mul(grad, z.square().neg_().exp_().mul_(2 / math.sqrt(math.pi)), out=out),
    )


def _sine(omega: float) -> Function:
    return Function(
        rf"\varphi(z) = \sin({_times(omega, 'z')})",
        lambda z, out: torch.mul(z, omega, out=out).sin_(),
        lambda grad, z, a, out: torch.mul(grad, z.mul(omega).cos_().mul_(omega), out=out),
        width=1 / omega,
        frequency=omega,
    )


def _parameter(name: str, default: float, low: float, high: float, help: str) -> Field:
    return Field(name, default, Real(low, high), name, help)


_LEAST = 1e-3  # of parameters that scale a function: nearer to 0 it is only 0, or ReLU

_RECORDS = (
    Record(
        "identity",
        "identity",
        _identity,
        "The linear network that theory solves exactly; however deep, it computes one matrix.",
        "a linear network: Saxe et al. 2014, section 1 (arXiv:1312.6120)",
    ),
    Record(
        "relu",
        "ReLU",
        _relu,
        "The usual first choice, with He's variance; a unit whose input stays negative is dead and never recovers.",
        "Nair & Hinton 2010, Rectified Linear Units Improve Restricted Boltzmann Machines, section 2",
    ),
    Record(
        "leaky_relu",
        "leaky ReLU",
        _leaky,
        "ReLU without dead units; with a small slope it gains little else, and its mean is still not zero.",
        "Maas et al. 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models, eq. 3",
        (_parameter("slope", 0.01, -10.0, 10.0, "Slope below 0; 0 is ReLU, 1 the identity."),),
    ),
    Record(
        "tanh",
        "tanh",
        _tanh,
        "Zero mean and slope 1 at 0, with Glorot's variance; large inputs saturate it and stop the gradient.",
        "LeCun et al. 1998, Efficient BackProp, section 4.4",
    ),
    Record(
        "sigmoid",
        "sigmoid",
        _sigmoid,
        "Outputs between 0 and 1, for probabilities; in hidden layers its slope of at most 1/4 starves the gradient.",
        "Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors, eq. 2",
    ),
    Record(
        "hardtanh",
        "hardtanh",
        lambda: _clamp(-1.0, 1.0),
        "A tanh that costs nothing, linear in the middle; beyond -1 and 1 the gradient is exactly 0.",
        "Collobert 2004, Large Scale Machine Learning; torch.nn.functional.hardtanh",
    ),
    Record(
        "softsign",
        "softsign",
        _softsign,
        "A tanh with slow tails, so it saturates later; its slope falls off on both sides of 0 already.",
        "Bergstra et al. 2009; Glorot & Bengio 2010, section 2.3",
    ),
    Record(
        "elu",
        "ELU",
        _elu,
        "ReLU with a soft negative side that pulls the mean towards 0; for alpha other than 1 it has a kink at 0.",
        "Clevert et al. 2016, section 3 (arXiv:1511.07289)",
        (_parameter("alpha", 1.0, 0.0, 100.0, "Minus the limit far below 0; 0 is ReLU."),),
    ),
    Record(
        "selu",
        "SELU",
        _selu,
        "Returns to mean 0 and variance 1 by itself, with LeCun's variance; another variance or dropout breaks it.",
        "Klambauer et al. 2017, eq. 2 (arXiv:1706.02515)",
    ),
    Record(
        "gelu",
        "GELU",
        _gelu,
        "A smooth ReLU, usual in transformers; without normalization its signal shrinks under He's variance.",
        "Hendrycks & Gimpel 2016, section 2 (arXiv:1606.08415)",
    ),
    Record(
        "silu",
        "SiLU",
        _silu,
        "A smooth ReLU, usual in vision; without normalization its signal shrinks under He's variance.",
        "Elfwing et al. 2018, section 2 (arXiv:1702.03118); Ramachandran et al. 2017 (swish, arXiv:1710.05941)",
    ),
    Record(
        "mish",
        "Mish",
        _mish,
        "SiLU with a slightly steeper middle; costs more, and shrinks the signal in the same way.",
        "Misra 2020, section 3 (arXiv:1908.08681)",
    ),
    Record(
        "softplus",
        "softplus",
        _softplus,
        "The smooth ReLU that is positive everywhere; its mean is far from 0, and the layers' outputs become alike.",
        "Dugas et al. 2001, Incorporating Second-Order Functional Knowledge for Better Option Pricing, section 2",
    ),
    Record(
        "prelu",
        "PReLU",
        lambda start: _leaky(start),
        "Leaky ReLU whose slope is learned; here the slope stays where it starts, so it is the network at step 0.",
        "He et al. 2015, eq. 1 and section 2.1 (arXiv:1502.01852)",
        (_parameter("start", 0.25, -10.0, 10.0, "Slope below 0 before any update, and kept."),),
    ),
    Record(
        "relu6",
        "ReLU6",
        lambda: _clamp(0.0, 6.0),
        "ReLU for arithmetic of few bits; beyond 6 the gradient is 0, which a variance above He's reaches.",
        "Krizhevsky 2010, Convolutional Deep Belief Networks on CIFAR-10",
    ),
    Record(
        "celu",
        "CELU",
        _celu,
        "ELU without the kink, for every alpha; a small alpha makes it ReLU, dead units included.",
        "Barron 2017, Continuously Differentiable Exponential Linear Units (arXiv:1704.07483)",
        (_parameter("alpha", 1.0, _LEAST, 100.0, "Minus the limit far below 0, and the width of the bend."),),
    ),
    Record(
        "hardsigmoid",
        "hardsigmoid",
        _hardsigmoid,
        "A sigmoid that costs nothing, for gates; in hidden layers its slope of at most 1/6 starves the gradient.",
        "Howard et al. 2019, section 5.2 (arXiv:1905.02244); torch.nn.functional.hardsigmoid",
    ),
    Record(
        "hardswish",
        "hardswish",
        _hardswish,
        "A SiLU that costs nothing, for small devices; below -3 its units are dead like those of ReLU.",
        "Howard et al. 2019, section 5.2 (arXiv:1905.02244)",
    ),
    Record(
        "scaled_tanh",
        "scaled tanh",
        _scaled_tanh,
        "A tanh that maps 1 to 1 and keeps unit variance near 1 without a gain; saturates like tanh.",
        "LeCun et al. 1998, Efficient BackProp, section 4.4",
        (
            _parameter("a", 1.7159, _LEAST, 100.0, "Height of the plateaus."),
            _parameter("b", 2 / 3, _LEAST, 100.0, "Factor on the input; the slope at 0 is a times b."),
        ),
    ),
    Record(
        "erf",
        "erf",
        _erf,
        "The sigmoid shape whose Gaussian averages are known in closed form, so theory's choice; saturates like tanh.",
        "Williams 1997, Computing with Infinite Networks, section 3.1",
    ),
    Record(
        "sine",
        "sine",
        _sine,
        "Fits images and waves with their derivatives; with weights drawn for other activations it is noise.",
        "Sitzmann et al. 2020, eq. 3 and section 3.2 (arXiv:2006.09661)",
        (_parameter("omega", 30.0, _LEAST, 100.0, "Factor on the input, omega_0 in SIREN."),),
    ),
)


def _renamed(name: str, record: Record) -> Alias:
    parameters = record.parameters
    return Alias(name, lambda **values: textform.write(record.name, values, parameters), parameters)


_OTHER_NAMES = {
    "linear": "identity",
    "logistic": "sigmoid",
    "swish": "silu",
    "leakyrelu": "leaky_relu",
    "hard_tanh": "hardtanh",
    "hard_sigmoid": "hardsigmoid",
    "hard_swish": "hardswish",
    "hard_silu": "hardswish",
    "lecun_tanh": "scaled_tanh",
    "siren": "sine",
}

ACTIVATIONS: Catalogue[Record] = Catalogue(
    _RECORDS,
    [_renamed(other, record) for other, name in _OTHER_NAMES.items() for record in _RECORDS if record.name == name]
    + [Alias("sin", lambda: "sine(omega=1)")],
)
"""The catalogue, by name, in the order in which it is shown."""

FORM: Form = ACTIVATIONS.form()
"""The kind of a field that holds an activation."""


@lru_cache(maxsize=512)
def activation(text: str) -> Activation:
    """Return the activation that a text form names.

    Raises `Refused` for text of another shape, unknown names and parameters, and values out of range.
    """
    bound = ACTIVATIONS.read(text)
    record = bound.record
    stated = [f"{p.label} {bound.values[p.name]:.5g}" for p in record.parameters if bound.values[p.name] != p.default]
    return Activation(
        **vars(record.make(**bound.values)),
        text=bound.text,
        label=f"{record.label} ({', '.join(stated)})" if stated else record.label,
        source=record.source,
    )
