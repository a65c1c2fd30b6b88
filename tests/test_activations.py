"""The activations against torch's own functions and their derivatives by autograd."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from winit import activations
from winit.activations import ACTIVATIONS, Activation

REFERENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z * 1,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hardtanh": F.hardtanh,
    "softsign": F.softsign,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
}
RECORDS = list(ACTIVATIONS.values())
EACH = pytest.mark.parametrize("activation", RECORDS, ids=lambda a: a.name)
TOLERANCES = [(torch.float64, 1e-12, 1e-12), (torch.float32, 2e-6, 2e-6)]


def _inputs(dtype: torch.dtype) -> Tensor:
    """Return random inputs of several scales and every point where something may happen, (8, 500)."""
    source = torch.Generator().manual_seed(0)
    random = torch.empty(3994, dtype=dtype).normal_(generator=source)
    random *= torch.logspace(-3, 2, 3994, dtype=dtype)
    return torch.cat([random, torch.tensor([0.0, 1.0, -1.0, 20.0, -20.0, 88.0], dtype=dtype)]).view(8, 500)


def _gradient(function: Callable[[Tensor], Tensor], z: Tensor, grad: Tensor) -> Tensor:
    leaf = z.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(leaf), leaf, grad)
    return found


def test_every_activation_has_a_reference() -> None:
    assert set(REFERENCES) == set(ACTIVATIONS)


@EACH
@pytest.mark.parametrize(("dtype", "rtol", "atol"), TOLERANCES)
def test_function_is_that_of_torch(activation: Activation, dtype: torch.dtype, rtol: float, atol: float) -> None:
    z = _inputs(dtype)
    expected = REFERENCES[activation.name](z)
    torch.testing.assert_close(activation(z), expected, rtol=rtol, atol=atol)
    out = torch.full_like(z, torch.nan)
    assert activation.forward(z, out) is out
    torch.testing.assert_close(out, expected, rtol=rtol, atol=atol)


@EACH
@pytest.mark.parametrize(("dtype", "rtol", "atol"), TOLERANCES)
def test_derivative_is_that_of_autograd(activation: Activation, dtype: torch.dtype, rtol: float, atol: float) -> None:
    z = _inputs(dtype)
    grad = torch.empty_like(z).normal_(generator=torch.Generator().manual_seed(1))
    expected = _gradient(REFERENCES[activation.name], z, grad)
    a = activation(z)
    out = torch.full_like(z, torch.nan)
    assert activation.backward(grad, z, a, out) is out
    torch.testing.assert_close(out, expected, rtol=rtol, atol=atol)
    slope = _gradient(REFERENCES[activation.name], z, torch.ones_like(z))
    torch.testing.assert_close(activation.derivative(z), slope, rtol=rtol, atol=atol)


@EACH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_out_may_be_grad_and_nothing_else_changes(activation: Activation, dtype: torch.dtype) -> None:
    z = _inputs(dtype)
    a = activation(z)
    grad = torch.empty_like(z).normal_(generator=torch.Generator().manual_seed(2))
    kept_z, kept_a, kept_grad = z.clone(), a.clone(), grad.clone()
    apart = activation.backward(grad, z, a, torch.empty_like(z))
    assert torch.equal(grad, kept_grad)
    assert activation.backward(grad, z, a, grad) is grad
    assert torch.equal(grad, apart)
    assert torch.equal(z, kept_z)
    assert torch.equal(a, kept_a)


@EACH
def test_it_works_elementwise_on_any_shape_and_keeps_the_precision(activation: Activation) -> None:
    z = _inputs(torch.float32)
    for shape in ((), (1,), (2, 0, 3), (4, 5, 6)):
        part = z.flatten()[: torch.Size(shape).numel()].view(shape)
        assert activation(part).shape == activation.derivative(part).shape == shape
        assert activation(part).dtype == activation.derivative(part).dtype == torch.float32
    torch.testing.assert_close(activation(z.mT.contiguous()).mT, activation(z), rtol=1e-6, atol=1e-6)


@EACH
def test_derivative_is_the_limit_of_difference_quotients(activation: Activation) -> None:
    """Independent of torch's own backward functions, at smooth points."""
    z = torch.linspace(-6, 6, 2000, dtype=torch.float64)
    z = z[(z - torch.tensor(activation.kinks or [torch.inf], dtype=torch.float64).unsqueeze(1)).abs().amin(0) > 1e-3]
    step = 1e-5
    quotient = (activation(z + step) - activation(z - step)) / (2 * step)
    torch.testing.assert_close(activation.derivative(z), quotient, rtol=1e-8, atol=1e-8)


@EACH
def test_kinks_are_where_the_derivative_jumps(activation: Activation) -> None:
    step, count = 1 / 1024, 10 * 1024  # whole numbers lie on the grid
    z = step * torch.arange(-count, count + 1, dtype=torch.float64)
    jumps = (activation.derivative(z + step / 2) - activation.derivative(z - step / 2)).abs() > 0.02
    assert tuple(z[jumps].tolist()) == activation.kinks
    for kink in activation.kinks:
        sides = activation.derivative(torch.tensor([kink - 1e-9, kink + 1e-9], dtype=torch.float64))
        assert abs(float(sides[1] - sides[0])) > 0.1


@EACH
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_far_out_it_neither_overflows_nor_turns_into_nan(activation: Activation, dtype: torch.dtype) -> None:
    z = torch.tensor([-1e30, -1e10, -1e4, -200.0, 200.0, 1e4, 1e10, 1e30], dtype=dtype)
    assert activation(z).isfinite().all()
    assert activation.derivative(z).isfinite().all()
    torch.testing.assert_close(activation(z), REFERENCES[activation.name](z))


@EACH
def test_not_a_number_is_carried_on(activation: Activation) -> None:
    assert activation(torch.tensor([torch.nan])).isnan().all()


@EACH
def test_every_record_is_complete(activation: Activation) -> None:
    assert re.fullmatch(r"[a-z_]+", activation.name)
    assert activation.label
    assert activation.source
    assert activation.formula.startswith(r"\varphi(z) = ")
    assert activation.formula.count("{") == activation.formula.count("}")


def test_names_are_those_of_torch() -> None:
    for name in set(ACTIVATIONS) - {"identity"}:
        assert callable(getattr(F, name))
    assert {name: record.name for name, record in ACTIVATIONS.items()} == {name: name for name in ACTIVATIONS}
    with pytest.raises(ValueError, match="twice"):
        activations._catalogue((ACTIVATIONS["relu"], ACTIVATIONS["relu"]))


@pytest.mark.parametrize(
    ("name", "square", "slope"),
    [
        ("relu", 0.5, 0.5),
        ("tanh", 0.394294, 0.464403),
        ("sigmoid", 0.293379, 0.044836),
        ("selu", 1.0, 1.071575),
        ("elu", 0.644945, 0.668102),
        ("gelu", 0.425221, 0.455851),
        ("silu", 0.355776, 0.379482),
    ],
)
def test_second_moments_under_a_standard_normal_are_the_reference_numbers(
    name: str, square: float, slope: float
) -> None:
    """E phi^2 and E phi'^2 of DESIGN.md section 6, by the trapezoidal rule; zero is between two nodes."""
    step = 1e-4
    z = step * (torch.arange(-100_000, 100_000, dtype=torch.float64) + 0.5)
    weight = torch.exp(-(z**2) / 2) * step / (2 * torch.pi) ** 0.5
    activation = ACTIVATIONS[name]
    assert float((activation(z) ** 2 * weight).sum()) == pytest.approx(square, abs=2e-6)
    assert float((activation.derivative(z) ** 2 * weight).sum()) == pytest.approx(slope, abs=2e-6)
