"""The activations against torch's own functions and their derivatives by autograd."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from winit.activations import ACTIVATIONS, FORM, Activation, activation
from winit.fields import Real, Refused

REFERENCES: dict[str, Callable[..., Tensor]] = {
    "identity": lambda z: z * 1,
    "relu": F.relu,
    "leaky_relu": lambda z, slope=0.01: F.leaky_relu(z, slope),
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
    "prelu": lambda z, start=0.25: F.prelu(z, torch.tensor(start, dtype=z.dtype)),
    "relu6": F.relu6,
    "celu": lambda z, alpha=1.0: torch.where(z > 0, z, alpha * torch.expm1(z.clamp_max(0) / alpha)),
    "hardsigmoid": lambda z: F.relu6(z + 3) / 6,
    "hardswish": F.hardswish,
    "scaled_tanh": lambda z, a=1.7159, b=2 / 3: a * torch.tanh(b * z),
    "erf": torch.erf,
    "sine": lambda z, omega=30.0: torch.sin(omega * z),
}
FIRST = ["identity", "relu", "leaky_relu", "tanh", "sigmoid", "hardtanh", "softsign"]
FIRST += ["elu", "selu", "gelu", "silu", "mish", "softplus"]
"""Published names, in their order."""

OTHERS = ["leaky_relu(slope=0)", "leaky_relu(slope=0.2)", "leaky_relu(slope=1)", "leaky_relu(slope=-10)"]
OTHERS += ["prelu(start=0)", "prelu(start=3)", "prelu(start=1)", "elu(alpha=0)", "elu(alpha=0.5)", "elu(alpha=100)"]
OTHERS += ["celu(alpha=0.1)", "celu(alpha=5)", "scaled_tanh(a=2)", "scaled_tanh(b=3)", "scaled_tanh(a=0.5, b=1)"]
OTHERS += ["sine(omega=1)", "sine(omega=0.3)", "sine(omega=100)"]
CASES = [activation(text) for text in [*ACTIVATIONS, *OTHERS]]
EACH = pytest.mark.parametrize("phi", CASES, ids=lambda phi: phi.text)
TOLERANCES = [(torch.float64, 1e-12, 1e-12), (torch.float32, 2e-6, 2e-6)]
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def in_autograd(text: str, z: Tensor) -> Tensor:
    """Return phi(z) as torch's own functions compute it."""
    bound = ACTIVATIONS.read(text)
    return REFERENCES[bound.record.name](z, **bound.values)


def _inputs(dtype: torch.dtype) -> Tensor:
    """Return random inputs of several scales and every point where something may happen, (8, 500)."""
    source = torch.Generator().manual_seed(0)
    special = [0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 20.0, -20.0, 88.0]
    random = torch.empty(4000 - len(special), dtype=dtype).normal_(generator=source)
    random *= torch.logspace(-3, 2, len(random), dtype=dtype)
    return torch.cat([random, torch.tensor(special, dtype=dtype)]).view(8, 500)


def _gradient(phi: Activation, z: Tensor, grad: Tensor) -> Tensor:
    leaf = z.clone().requires_grad_()
    (found,) = torch.autograd.grad(in_autograd(phi.text, leaf), leaf, grad)
    return found


# The functions


def test_every_record_has_ain_autograd() -> None:
    assert list(REFERENCES) == list(ACTIVATIONS)


@EACH
@pytest.mark.parametrize(("dtype", "rtol", "atol"), TOLERANCES)
def test_function_is_that_of_torch(phi: Activation, dtype: torch.dtype, rtol: float, atol: float) -> None:
    z = _inputs(dtype)
    expected = in_autograd(phi.text, z)
    torch.testing.assert_close(phi(z), expected, rtol=rtol, atol=atol)
    out = torch.full_like(z, torch.nan)
    assert phi.forward(z, out) is out
    torch.testing.assert_close(out, expected, rtol=rtol, atol=atol)


@EACH
@pytest.mark.parametrize(("dtype", "rtol", "atol"), TOLERANCES)
def test_derivative_is_that_of_autograd(phi: Activation, dtype: torch.dtype, rtol: float, atol: float) -> None:
    z = _inputs(dtype)
    grad = torch.empty_like(z).normal_(generator=torch.Generator().manual_seed(1))
    a = phi(z)
    out = torch.full_like(z, torch.nan)
    assert phi.backward(grad, z, a, out) is out
    torch.testing.assert_close(out, _gradient(phi, z, grad), rtol=rtol, atol=atol)
    torch.testing.assert_close(phi.derivative(z), _gradient(phi, z, torch.ones_like(z)), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", FIRST)
@PRECISIONS
def test_functions_published_first_are_those_of_torch_to_the_last_bit(name: str, dtype: torch.dtype) -> None:
    z = _inputs(dtype)
    assert torch.equal(activation(name)(z), REFERENCES[name](z))


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("celu(alpha=0.1)", lambda z: F.celu(z, 0.1)),
        ("celu(alpha=5)", lambda z: F.celu(z, 5)),
        ("hardsigmoid", F.hardsigmoid),
    ],
)
def test_values_alone_are_those_of_torch(text: str, function: Callable[[Tensor], Tensor]) -> None:
    """In double precision autograd of these knows 1 / alpha and 1 / 6 to 7 digits: their reference is the formula."""
    z = _inputs(torch.float64)
    torch.testing.assert_close(activation(text)(z), function(z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(in_autograd(text, z), function(z), rtol=1e-12, atol=1e-12)


@EACH
@PRECISIONS
def test_out_may_be_grad_and_nothing_else_changes(phi: Activation, dtype: torch.dtype) -> None:
    z = _inputs(dtype)
    a = phi(z)
    grad = torch.empty_like(z).normal_(generator=torch.Generator().manual_seed(2))
    kept_z, kept_a, kept_grad = z.clone(), a.clone(), grad.clone()
    apart = phi.backward(grad, z, a, torch.empty_like(z))
    assert torch.equal(grad, kept_grad)
    assert phi.backward(grad, z, a, grad) is grad
    assert torch.equal(grad, apart)
    assert torch.equal(z, kept_z)
    assert torch.equal(a, kept_a)


@EACH
def test_it_works_elementwise_on_any_shape_and_keeps_the_precision(phi: Activation) -> None:
    z = _inputs(torch.float32)
    for shape in ((), (1,), (2, 0, 3), (4, 5, 6)):
        part = z.flatten()[: torch.Size(shape).numel()].view(shape)
        assert phi(part).shape == phi.derivative(part).shape == shape
        assert phi(part).dtype == phi.derivative(part).dtype == torch.float32
    torch.testing.assert_close(phi(z.mT.contiguous()).mT, phi(z), rtol=1e-6, atol=1e-6)


@EACH
def test_derivative_is_the_limit_of_difference_quotients(phi: Activation) -> None:
    """Independent of torch's own backward functions, at smooth points."""
    z = torch.linspace(-6, 6, 2000, dtype=torch.float64)
    z = z[(z - torch.tensor(phi.kinks or [torch.inf], dtype=torch.float64).unsqueeze(1)).abs().amin(0) > 1e-3]
    step = 1e-4
    near, far = phi(z + step) - phi(z - step), phi(z + 2 * step) - phi(z - 2 * step)
    slope = phi.derivative(z)
    scale = max(1.0, float(slope.abs().max()))
    torch.testing.assert_close(slope, (8 * near - far) / (12 * step), rtol=1e-8, atol=1e-8 * scale)


@EACH
def test_kinks_are_where_the_derivative_jumps(phi: Activation) -> None:
    step, count = 2**-16, 10 * 2**16  # whole numbers lie on the grid
    z = step * torch.arange(-count, count + 1, dtype=torch.float64)
    left, right = phi.derivative(z - step / 2), phi.derivative(z + step / 2)
    jumps = (right - left).abs() > 0.02 * right.abs().max()
    assert tuple(z[jumps].tolist()) == phi.kinks
    for kink in phi.kinks:
        sides = phi.derivative(torch.tensor([kink - 1e-9, kink + 1e-9], dtype=torch.float64))
        assert abs(float(sides[1] - sides[0])) > 0.1


@EACH
@PRECISIONS
def test_far_out_it_neither_overflows_nor_turns_into_nan(phi: Activation, dtype: torch.dtype) -> None:
    z = torch.tensor([-1e30, -1e10, -1e4, -200.0, 200.0, 1e4, 1e10, 1e30], dtype=dtype)
    assert phi(z).isfinite().all()
    assert phi.derivative(z).isfinite().all()
    torch.testing.assert_close(phi(z), in_autograd(phi.text, z))


@pytest.mark.parametrize("name", [name for name, record in ACTIVATIONS.items() if record.parameters])
@PRECISIONS
def test_it_computes_at_both_ends_of_every_parameter(name: str, dtype: torch.dtype) -> None:
    z = _inputs(dtype)
    for parameter in ACTIVATIONS[name].parameters:
        assert isinstance(parameter.kind, Real)
        for value in (parameter.kind.minimum, parameter.kind.maximum):
            phi = activation(f"{name}({parameter.name}={value})")
            torch.testing.assert_close(phi(z), in_autograd(phi.text, z))
            assert phi.derivative(z).isfinite().all()


@EACH
def test_not_a_number_is_carried_on(phi: Activation) -> None:
    assert phi(torch.tensor([torch.nan])).isnan().all()


@EACH
def test_values_and_slopes_are_the_same_in_numpy(phi: Activation) -> None:
    z = _inputs(torch.float64)
    x = z.numpy()[::-1, ::2]  # in steps, one of them negative
    x.flags.writeable = False
    np.testing.assert_allclose(phi.values(x), phi(z).numpy()[::-1, ::2], rtol=1e-14, atol=1e-300)
    np.testing.assert_allclose(phi.slopes(x), phi.derivative(z).numpy()[::-1, ::2], rtol=1e-12, atol=1e-12)
    for array in (phi.values(x), phi.slopes(x), phi.values([0, 1]), phi.slopes(2.0)):
        assert array.dtype == np.float64
    assert phi.values(x).shape == phi.slopes(x).shape == x.shape
    assert phi.values(2.0).shape == ()


# The catalogue


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_every_record_is_complete(name: str) -> None:
    record = ACTIVATIONS[name]
    assert record.name == name
    assert re.fullmatch(r"[a-z0-9_]+", name)
    assert record.label
    assert re.search(r"\d{4}", record.source)
    assert re.fullmatch(r"[A-Z][^.]+\.", record.purpose), "one sentence"
    for parameter in record.parameters:
        assert parameter.kind.check(parameter.default) == parameter.default
        assert parameter.label
        assert parameter.help.endswith(".")


@EACH
def test_formulas_are_latex_with_the_numbers_put_in(phi: Activation) -> None:
    assert phi.formula.startswith(r"\varphi(z) = ")
    assert phi.formula.count("{") == phi.formula.count("}")
    assert phi.formula.count("(") == phi.formula.count(")")
    bound = ACTIVATIONS.read(phi.text)
    for value in bound.values.values():
        assert value == 1 or f"{value:.5g}" in phi.formula


def test_names_are_those_of_torch() -> None:
    assert list(ACTIVATIONS)[: len(FIRST)] == FIRST
    torch_has_no_name = {"identity", "scaled_tanh", "sine"}
    for name in set(ACTIVATIONS) - torch_has_no_name:
        assert callable(getattr(F, name, None) or getattr(torch, name))


@pytest.mark.parametrize(
    ("text", "canonical", "label"),
    [
        ("relu", "relu", "ReLU"),
        (" leaky_relu ( slope = 0.20 ) ", "leaky_relu(slope=0.2)", "leaky ReLU (slope 0.2)"),
        ("leaky_relu(slope=0.01)", "leaky_relu", "leaky ReLU"),
        ("leaky_relu(slope=-1e-3)", "leaky_relu(slope=-0.001)", "leaky ReLU (slope -0.001)"),
        ("elu(alpha=1)", "elu", "ELU"),
        ("elu(alpha=2)", "elu(alpha=2)", "ELU (alpha 2)"),
        ("prelu", "prelu", "PReLU"),
        ("celu(alpha=0.5)", "celu(alpha=0.5)", "CELU (alpha 0.5)"),
        ("scaled_tanh", "scaled_tanh", "scaled tanh"),
        ("scaled_tanh(b=1, a=2)", "scaled_tanh(a=2, b=1)", "scaled tanh (a 2, b 1)"),
        ("sine", "sine", "sine"),
        ("sine(omega=30)", "sine", "sine"),
        ("sine(omega=1)", "sine(omega=1)", "sine (omega 1)"),
    ],
)
def test_text_forms(text: str, canonical: str, label: str) -> None:
    phi = activation(text)
    assert (phi.text, phi.label) == (canonical, label)
    assert FORM.check(text) == canonical
    assert activation(canonical) == phi
    assert hash(activation(canonical)) == hash(phi)
    assert phi.source == ACTIVATIONS[FORM.parts(canonical)[0]].source


def test_activations_of_different_texts_differ() -> None:
    assert len(set(CASES)) == len(CASES)
    assert activation("leaky_relu(slope=0.25)") != activation("prelu")
    assert activation("leaky_relu(slope=0.1234567)") != activation("leaky_relu(slope=0.1234568)")


@pytest.mark.parametrize(
    ("alias", "canonical"),
    [
        ("linear", "identity"),
        ("logistic", "sigmoid"),
        ("swish", "silu"),
        ("leakyrelu", "leaky_relu"),
        ("leakyrelu(slope=0.3)", "leaky_relu(slope=0.3)"),
        ("hard_tanh", "hardtanh"),
        ("hard_sigmoid", "hardsigmoid"),
        ("hard_swish", "hardswish"),
        ("hard_silu", "hardswish"),
        ("lecun_tanh", "scaled_tanh"),
        ("siren", "sine"),
        ("siren(omega=10)", "sine(omega=10)"),
        ("sin", "sine(omega=1)"),
    ],
)
def test_other_names_are_understood(alias: str, canonical: str) -> None:
    assert activation(alias) == activation(canonical)
    assert FORM.check(alias) == canonical


def test_every_alias_is_tested_and_is_no_name_of_the_catalogue() -> None:
    assert set(ACTIVATIONS.aliases) == {"linear", "logistic", "swish", "leakyrelu", "lecun_tanh", "siren", "sin"} | {
        f"hard_{name}" for name in ("tanh", "sigmoid", "swish", "silu")
    }
    assert not set(ACTIVATIONS.aliases) & set(ACTIVATIONS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leaky_relu(slope=11)", "for slope a number from -10 to 10, not '11'"),
        ("leaky_relu(slope=-10.5)", "for slope a number from -10 to 10, not '-10.5'"),
        ("leaky_relu(slope=nan)", "for slope a number from -10 to 10, not 'nan'"),
        ("prelu(start=1e3)", "for start a number from -10 to 10, not '1e3'"),
        ("elu(alpha=-0.1)", "for alpha a number from 0 to 100, not '-0.1'"),
        ("celu(alpha=0)", "for alpha a number from 0.001 to 100, not '0'"),
        ("sine(omega=0)", "for omega a number from 0.001 to 100, not '0'"),
        ("sine(omega=101)", "for omega a number from 0.001 to 100, not '101'"),
        ("scaled_tanh(a=-1)", "for a a number from 0.001 to 100, not '-1'"),
        ("leakyrelu(slope=11)", "for slope a number from -10 to 10, not '11'"),
        ("leaky_relu(slop=0.1)", "leaky_relu with the parameters slope (did you mean slope?)"),
        ("relu(slope=0.1)", "relu with no parameters"),
        ("swish(beta=2)", "swish with no parameters"),
        ("leaky_rely", "(did you mean leaky_relu?)"),
        ("swich", "(did you mean swish?)"),
        ("", "a name, or name(parameter=value, ...)"),
        ("leaky_relu(0.2)", "a name, or name(parameter=value, ...)"),
        ("leaky_relu(slope=0.1", "each parenthesis and quote closed"),
    ],
)
def test_texts_that_are_refused(text: str, message: str) -> None:
    for read in (activation, FORM.check):
        with pytest.raises(Refused) as caught:
            read(text)
        assert message in caught.value.allowed
