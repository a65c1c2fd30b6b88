"""The activations: one record each, with forward and backward side by side.

`forward(z, out)` writes phi(z) and `backward(grad, z, a, out)` writes grad * phi'(z), where a = phi(z);
both work elementwise on tensors of any shape and return `out`. `out` may be `grad`, never `z`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

aten = torch.ops.aten

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@dataclass(frozen=True)
class Activation:
    """An activation function phi with its derivative."""

    name: str
    label: str
    forward: Callable[[Tensor, Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    formula: str
    """phi(z) in LaTeX."""
    source: str
    kinks: tuple[float, ...] = ()
    """Where phi' jumps."""

    def __call__(self, z: Tensor) -> Tensor:
        """Return phi(z), shaped as z."""
        return self.forward(z, torch.empty_like(z))

    def derivative(self, z: Tensor) -> Tensor:
        """Return phi'(z), shaped as z."""
        return self.backward(torch.ones_like(z), z, self(z), torch.empty_like(z))


def _softsign_backward(grad: Tensor, z: Tensor, a: Tensor, out: Tensor) -> Tensor:
    # 1 / (1 + |z|) = 1 - |a|
    slope = a.abs().neg_().add_(1).square_()
    return torch.mul(grad, slope, out=out)


def _mish_backward(grad: Tensor, z: Tensor, a: Tensor, out: Tensor) -> Tensor:
    return out.copy_(aten.mish_backward(grad, z))


_RECORDS = (
    Activation(
        "identity",
        "identity",
        lambda z, out: out.copy_(z),
        lambda grad, z, a, out: out if out is grad else out.copy_(grad),
        r"\varphi(z) = z",
        "a linear network (Saxe et al. 2014, arXiv:1312.6120)",
    ),
    Activation(
        "relu",
        "ReLU",
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda grad, z, a, out: aten.threshold_backward.grad_input(grad, z, 0, grad_input=out),
        r"\varphi(z) = \max(0, z)",
        "Nair & Hinton 2010, Rectified Linear Units Improve Restricted Boltzmann Machines",
        (0.0,),
    ),
    Activation(
        "leaky_relu",
        "leaky ReLU",
        lambda z, out: aten.leaky_relu.out(z, 0.01, out=out),
        lambda grad, z, a, out: aten.leaky_relu_backward.grad_input(grad, z, 0.01, False, grad_input=out),
        r"\varphi(z) = \max(0.01\,z, z)",
        "Maas et al. 2013, Rectifier Nonlinearities Improve Neural Network Acoustic Models",
        (0.0,),
    ),
    Activation(
        "tanh",
        "tanh",
        lambda z, out: torch.tanh(z, out=out),
        lambda grad, z, a, out: aten.tanh_backward.grad_input(grad, a, grad_input=out),
        r"\varphi(z) = \tanh z",
        "LeCun et al. 1998, Efficient BackProp, section 4.4",
    ),
    Activation(
        "sigmoid",
        "sigmoid",
        lambda z, out: torch.sigmoid(z, out=out),
        lambda grad, z, a, out: aten.sigmoid_backward.grad_input(grad, a, grad_input=out),
        r"\varphi(z) = \frac{1}{1 + e^{-z}}",
        "Rumelhart, Hinton & Williams 1986",
    ),
    Activation(
        "hardtanh",
        "hardtanh",
        lambda z, out: torch.clamp(z, -1, 1, out=out),
        lambda grad, z, a, out: aten.hardtanh_backward.grad_input(grad, z, -1.0, 1.0, grad_input=out),
        r"\varphi(z) = \min(1, \max(-1, z))",
        "Collobert 2004; torch.nn.functional.hardtanh",
        (-1.0, 1.0),
    ),
    Activation(
        "softsign",
        "softsign",
        lambda z, out: torch.div(z, z.abs().add_(1), out=out),
        _softsign_backward,
        r"\varphi(z) = \frac{z}{1 + |z|}",
        "Glorot & Bengio 2010, section 3",
    ),
    Activation(
        "elu",
        "ELU",
        lambda z, out: aten.elu.out(z, 1.0, 1.0, 1.0, out=out),
        lambda grad, z, a, out: aten.elu_backward.grad_input(grad, 1.0, 1.0, 1.0, False, z, grad_input=out),
        r"\varphi(z) = \begin{cases} z & z > 0 \\ e^z - 1 & z \le 0 \end{cases}",
        "Clevert et al. 2016 (arXiv:1511.07289)",
    ),
    Activation(
        "selu",
        "SELU",
        lambda z, out: aten.elu.out(z, _SELU_ALPHA, _SELU_SCALE, 1.0, out=out),
        lambda grad, z, a, out: aten.elu_backward.grad_input(
            grad, _SELU_ALPHA, _SELU_SCALE, 1.0, False, z, grad_input=out
        ),
        r"\varphi(z) = 1.0507 \begin{cases} z & z > 0 \\ 1.6733\,(e^z - 1) & z \le 0 \end{cases}",
        "Klambauer et al. 2017 (arXiv:1706.02515)",
        (0.0,),
    ),
    Activation(
        "gelu",
        "GELU",
        lambda z, out: aten.gelu.out(z, approximate="none", out=out),
        lambda grad, z, a, out: aten.gelu_backward.grad_input(grad, z, approximate="none", grad_input=out),
        r"\varphi(z) = z\,\Phi(z)",
        "Hendrycks & Gimpel 2016 (arXiv:1606.08415)",
    ),
    Activation(
        "silu",
        "SiLU",
        lambda z, out: aten.silu.out(z, out=out),
        lambda grad, z, a, out: aten.silu_backward.grad_input(grad, z, grad_input=out),
        r"\varphi(z) = \frac{z}{1 + e^{-z}}",
        "Elfwing et al. 2018 (arXiv:1702.03118); Ramachandran et al. 2017 (swish)",
    ),
    Activation(
        "mish",
        "Mish",
        lambda z, out: aten.mish.out(z, out=out),
        _mish_backward,
        r"\varphi(z) = z \tanh(\ln(1 + e^z))",
        "Misra 2020 (arXiv:1908.08681)",
    ),
    Activation(
        "softplus",
        "softplus",
        lambda z, out: aten.softplus.out(z, 1.0, 20.0, out=out),
        lambda grad, z, a, out: aten.softplus_backward.grad_input(grad, z, 1.0, 20.0, grad_input=out),
        r"\varphi(z) = \ln(1 + e^z)",
        "Dugas et al. 2001",
    ),
)


def _catalogue(records: tuple[Activation, ...]) -> Mapping[str, Activation]:
    by_name = {record.name: record for record in records}
    if len(by_name) < len(records):
        raise ValueError("an activation name is used twice")
    return MappingProxyType(by_name)


ACTIVATIONS: Mapping[str, Activation] = _catalogue(_RECORDS)
"""The catalogue, by name, in the order in which it is shown."""
