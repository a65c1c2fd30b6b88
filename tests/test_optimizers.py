"""The optimizers against torch.optim, one network at a time, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from winit import spec
from winit.optimizers import OPTIMIZERS

STEPS = 50
RATES = (0.3, 0.0, 1e-4, 0.02)
SHAPES = ((4, 5, 3), (4, 2, 5), (4, 5, 1), (4, 2, 1))
REFERENCES: dict[str, Callable[[list[Tensor], float], torch.optim.Optimizer]] = {
    "sgd": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate),
    "momentum": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate, momentum=0.9),
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.999), eps=1e-8),
}
EACH = pytest.mark.parametrize("name", list(OPTIMIZERS))


def _normal(size: tuple[int, ...], seed: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(seed))


def _start() -> list[Tensor]:
    return [_normal(shape, number) for number, shape in enumerate(SHAPES)]


def _gradient(parameter: Tensor, number: int, step: int) -> Tensor:
    """Return a gradient that depends on where the parameter is, with noise, and of very different sizes."""
    noise = _normal(SHAPES[number], 1000 * step + number)
    scale = torch.logspace(-6, 2, 4, dtype=torch.float64).view(4, 1, 1).roll(number, 0)
    return scale[: parameter.shape[0]] * (parameter + noise[: parameter.shape[0]])


def _run(name: str, rates: tuple[float, ...], steps: int = STEPS, *, spoiled: int | None = None) -> list[Tensor]:
    parameters = _start()
    optimizer = OPTIMIZERS[name](parameters, torch.tensor(rates, dtype=torch.float64))
    for step in range(steps):
        gradients = [_gradient(parameter, number, step) for number, parameter in enumerate(parameters)]
        if spoiled is not None and step >= 3:
            for gradient in gradients:
                gradient[spoiled] = torch.nan if step == 3 else torch.inf
        optimizer.update(gradients)
    return parameters


def test_every_name_of_the_spec_has_an_optimizer_and_a_reference() -> None:
    assert tuple(OPTIMIZERS) == spec.OPTIMIZERS == tuple(REFERENCES)


@EACH
def test_updates_are_those_of_torch(name: str) -> None:
    found = _run(name, RATES)
    for member, rate in enumerate(RATES):
        references = [start[member].clone().requires_grad_() for start in _start()]
        optimizer = REFERENCES[name](references, rate)
        for step in range(STEPS):
            for number, reference in enumerate(references):
                # The stacked gradient at this member's place: the others' numbers do not matter.
                stacked = reference.detach().expand(4, *reference.shape)
                reference.grad = _gradient(stacked, number, step)[member].clone()
            optimizer.step()
        for parameter, reference, start in zip(found, references, _start(), strict=True):
            expected = reference.detach()
            assert float((parameter[member] - expected).abs().max()) <= 1e-12 * float(expected.abs().max())
            assert torch.equal(expected, start[member]) == (rate == 0)


@EACH
def test_a_rate_of_zero_moves_nothing(name: str) -> None:
    for parameter, start in zip(_run(name, (0.0,) * 4), _start(), strict=True):
        assert torch.equal(parameter, start)


@EACH
def test_members_move_by_their_own_rate_alone(name: str) -> None:
    one, other = _run(name, RATES), _run(name, (7.0, 0.0, 1e-4, 3.0))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a[1:3], b[1:3])
        assert not torch.equal(a[0], b[0])
        assert not torch.equal(a[3], b[3])


@EACH
def test_a_member_beyond_the_numbers_leaves_the_others_untouched(name: str) -> None:
    whole, broken = _run(name, RATES), _run(name, RATES, spoiled=2)
    for a, b in zip(whole, broken, strict=True):
        assert torch.equal(a[[0, 1, 3]], b[[0, 1, 3]])
        assert not torch.isfinite(b[2]).any()


@EACH
def test_single_precision_stays_single(name: str) -> None:
    parameters = [start.float() for start in _start()]
    identities = [parameter.data_ptr() for parameter in parameters]
    optimizer = OPTIMIZERS[name](parameters, torch.tensor(RATES))
    for _ in range(3):
        optimizer.update([torch.ones_like(parameter) for parameter in parameters])
    assert all(parameter.dtype == torch.float32 for parameter in parameters)
    assert [parameter.data_ptr() for parameter in parameters] == identities
    assert all(torch.isfinite(parameter).all() for parameter in parameters)


@pytest.mark.parametrize("gradient", [0.0, 1e-30, 1.0, 1e15])
def test_the_first_step_of_adam_is_the_rate_whatever_the_gradient(gradient: float) -> None:
    parameter = torch.zeros(1, 1, 1, dtype=torch.float64)
    OPTIMIZERS["adam"]([parameter], torch.tensor([0.01], dtype=torch.float64)).update(
        [torch.full_like(parameter, gradient)]
    )
    assert float(parameter) == pytest.approx(-0.01 * gradient / (gradient + 1e-8), rel=1e-7)
