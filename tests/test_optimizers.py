"""Optimizers, schedules and clipping against torch, one network at a time, in double precision; company in single."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler
from torch.utils._python_dispatch import TorchDispatchMode

from winit import spec
from winit.layers import Packed
from winit.optimizers import OPTIMIZERS, SCHEDULES, clip_

STEPS = 50
RATES = (0.3, 0.0, 1e-4, 0.02)
SHAPES = ((5, 3), (2, 5), (5, 1), (2, 1), (1, 1))
ODD_SHAPES = ((33, 7), (3, 65), (64, 64), (1, 9), (1, 257), (33, 1), (7, 1), (1, 1))
REFERENCES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], LRScheduler]] = {
    "constant": lambda optimizer: LambdaLR(optimizer, lambda step: 1.0),
    "warmup": lambda optimizer: LinearLR(optimizer, start_factor=1 / 5, total_iters=4),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, T_max=STEPS),
}
PASSES = {"sgd": 1, "momentum": 2, "nesterov": 3, "rmsprop": 7, "adam": 2, "adamw": 2}  # Adam: the count, and one

# (parameters of one member; which member; step) -> its gradients
Gradient = Callable[[Sequence[Tensor], int, int], list[Tensor]]

EACH = pytest.mark.parametrize("name", list(OPTIMIZERS))
DECAYS = pytest.mark.parametrize("decay", [0.0, 0.01])


def _normal(size: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.empty(size, dtype=dtype).normal_(generator=torch.Generator().manual_seed(seed))


def _packed(members: Iterable[Sequence[Tensor]]) -> Packed:
    """Return the parameters of several networks as the engine holds them."""
    return Packed.of([torch.stack(same) for same in zip(*members, strict=True)])


def _stacked(members: Iterable[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    return _packed(members).tensors


def _start(member: int, shapes: Sequence[tuple[int, int]] = SHAPES, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [_normal(shape, 100 * member + number, dtype) for number, shape in enumerate(shapes)]


def _random(parameters: Sequence[Tensor], member: int, step: int) -> list[Tensor]:
    """Return gradients that know nothing of the parameters, of very different sizes."""
    return [
        10.0 ** ((number + member) % 4 * 2 - 5)
        * _normal(tuple(parameter.shape), 1000 * step + 100 * member + number, parameter.dtype)
        for number, parameter in enumerate(parameters)
    ]


def _quadratic(parameters: Sequence[Tensor], member: int, step: int) -> list[Tensor]:
    """Return the gradient of w A w / 2 - b w, where A has the eigenvalues 0.1 to 2, for w all parameters in one."""
    w = torch.cat([parameter.flatten() for parameter in parameters])
    rotation = torch.linalg.qr(_normal((len(w), len(w)), 7 + member)).Q
    matrix = rotation @ torch.diag(torch.linspace(0.1, 2, len(w), dtype=w.dtype)) @ rotation.T
    gradient = matrix @ w - _normal((len(w),), 70 + member)
    pieces = gradient.split([parameter.numel() for parameter in parameters])
    return [piece.view(parameter.shape) for piece, parameter in zip(pieces, parameters, strict=True)]


def _train(
    name: str,
    gradient: Gradient = _random,
    *,
    rates: Sequence[float] = RATES,
    members: Sequence[int] | None = None,
    decay: float = 0.0,
    schedule: str = "constant",
    clip: float = 0.0,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    dtype: torch.dtype = torch.float64,
    steps: int = STEPS,
) -> tuple[Tensor, ...]:
    """Return the stacked parameters after `steps` updates, `rates` those of the members that take part."""
    members = range(len(rates)) if members is None else members
    parameters = _packed(_start(member, shapes, dtype) for member in members)
    gradients = parameters.twin()
    optimizer = OPTIMIZERS[name](parameters, gradients, torch.tensor(rates, dtype=torch.float64), decay)
    for step in range(steps):
        for place, member in enumerate(members):
            new = gradient([parameter[place] for parameter in parameters.tensors], member, step)
            for tensor, value in zip(gradients.tensors, new, strict=True):
                tensor[place] = value
        if clip:
            clip_(gradients.tensors, clip)
        optimizer.update(SCHEDULES[schedule](step, steps))
    return parameters.tensors


def _reference(
    name: str, gradient: Gradient, member: int, rate: float, decay: float, schedule: str, clip: float
) -> list[Tensor]:
    parameters = [start.requires_grad_() for start in _start(member)]
    optimizer = REFERENCES[name](parameters, lr=rate, weight_decay=decay)
    scheduler = SCHEDULERS[schedule](optimizer)
    for step in range(STEPS):
        values = [parameter.detach() for parameter in parameters]
        for parameter, value in zip(parameters, gradient(values, member, step), strict=True):
            parameter.grad = value.clone()
        if clip:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        scheduler.step()
    return [parameter.detach() for parameter in parameters]


def _equal(one: Sequence[Tensor], other: Sequence[Tensor], members: Sequence[int]) -> bool:
    """Return whether these members of one are all members of the other, bit for bit."""
    return all(torch.equal(a[list(members)], b) for a, b in zip(one, other, strict=True))


def test_every_name_of_the_spec_has_an_optimizer_and_a_reference() -> None:
    assert tuple(OPTIMIZERS) == spec.OPTIMIZERS == tuple(REFERENCES)
    assert tuple(SCHEDULES) == tuple(SCHEDULERS)
    assert all(name == schedule.name and schedule.purpose for name, schedule in SCHEDULES.items())


@pytest.mark.sampled(7)
@pytest.mark.parametrize("gradient", [_random, _quadratic])
@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("schedule", list(SCHEDULES))
@DECAYS
@EACH
def test_updates_are_those_of_torch(name: str, decay: float, schedule: str, clip: float, gradient: Gradient) -> None:
    found = _train(name, gradient, decay=decay, schedule=schedule, clip=clip)
    for member, rate in enumerate(RATES):
        expected = _reference(name, gradient, member, rate, decay, schedule, clip)
        for parameter, value, start in zip(found, expected, _start(member), strict=True):
            # Rounding is that of the sizes on the way: some parameters end near zero.
            size = max(float(start.abs().max()), float(value.abs().max()))
            assert float((parameter[member] - value).abs().max()) <= 1e-12 * size
            assert torch.equal(value, start) == (rate == 0)


@EACH
def test_a_quadratic_is_descended(name: str) -> None:
    rates = (0.05, 0.1)
    found = _train(name, _quadratic, rates=rates, steps=500, schedule="cosine")
    for member in range(len(rates)):
        slope = torch.cat([g.flatten() for g in _quadratic([parameter[member] for parameter in found], member, 0)])
        first = torch.cat([g.flatten() for g in _quadratic(_start(member), member, 0)])
        assert float(slope.norm()) < 0.1 * float(first.norm())


@DECAYS
@EACH
def test_a_rate_of_zero_moves_nothing(name: str, decay: float) -> None:
    assert _equal(_stacked(map(_start, range(4))), _train(name, rates=(0.0,) * 4, decay=decay, clip=1.0), range(4))


@EACH
def test_members_move_by_their_own_rate_alone(name: str) -> None:
    one, other = _train(name), _train(name, rates=(7.0, 0.0, 1e-4, 3.0))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a[1:3], b[1:3])
        assert not torch.isclose(a[0], b[0]).all()
        assert not torch.isclose(a[3], b[3]).all()


@pytest.mark.parametrize("clip", [0.0, 1.0])
@DECAYS
@EACH
def test_a_member_is_the_same_alone_and_in_company(name: str, decay: float, clip: float) -> None:
    rates = [0.1 / (1 + member) for member in range(8)]

    def run(*members: int) -> tuple[Tensor, ...]:
        chosen = [rates[member] for member in members]
        return _train(
            name,
            rates=chosen,
            members=members,
            decay=decay,
            schedule="cosine",
            clip=clip,
            shapes=ODD_SHAPES,
            dtype=torch.float32,
            steps=5,
        )

    together = run(*range(8))
    for members in ((0,), (7,), (1, 4, 6)):
        assert _equal(together, run(*members), members)


@EACH
def test_a_member_beyond_the_numbers_leaves_the_others_untouched(name: str) -> None:
    def spoiled(parameters: Sequence[Tensor], member: int, step: int) -> list[Tensor]:
        gradients = _random(parameters, member, step)
        if member == 2 and step >= 3:
            return [gradient.fill_(torch.nan if step == 3 else torch.inf) for gradient in gradients]
        return gradients

    others = [0, 1, 3]
    for clip in (0.0, 1.0):
        whole, broken = _train(name, clip=clip), _train(name, spoiled, clip=clip)
        assert _equal(whole, [parameter[others] for parameter in broken], others)
        assert not any(torch.isfinite(parameter[2]).any() for parameter in broken)


@EACH
def test_a_huge_rate_breaks_its_member_alone(name: str) -> None:
    def steep(parameters: Sequence[Tensor], member: int, step: int) -> list[Tensor]:
        return [0.01 * parameter**5 for parameter in parameters]

    others = [0, 1, 2]
    rates = (0.01, 0.0, 1e-4)
    calm, wild = (_train(name, steep, rates=(*rates, last), decay=0.01, dtype=torch.float32) for last in (0.01, 1e10))
    assert _equal(calm, [parameter[others] for parameter in wild], others)
    assert all(torch.isfinite(parameter).all() for parameter in calm)
    assert not any(torch.isfinite(parameter[3]).any() for parameter in wild)


@EACH
def test_single_precision_stays_single_and_in_place(name: str) -> None:
    parameters = _packed(_start(member, dtype=torch.float32) for member in range(4))
    gradients = parameters.twin()
    optimizer = OPTIMIZERS[name](parameters, gradients, torch.tensor(RATES), 0.01)
    before = [parameter.clone() for parameter in parameters.tensors]
    for _ in range(3):
        gradients.flat.fill_(1.0)
        optimizer.update(0.5)
    for parameter, start in zip(parameters.tensors, before, strict=True):
        assert not torch.equal(parameter, start)
    for tensor in (parameters.flat, *optimizer.buffers):
        assert tensor.dtype == torch.float32
        assert torch.isfinite(tensor).all()


@EACH
def test_it_keeps_as_many_buffers_as_it_says(name: str) -> None:
    parameters = _packed(map(_start, range(4)))
    optimizer = OPTIMIZERS[name](parameters, parameters.twin(), torch.tensor(RATES))
    assert [buffer.shape for buffer in optimizer.buffers] == [parameters.flat.shape] * optimizer.BUFFERS
    reference = REFERENCES[name](parameters.tensors, lr=0.1)
    for parameter in parameters.tensors:
        parameter.grad = torch.ones_like(parameter)
    reference.step()
    kept = [v for v in reference.state[parameters.tensors[0]].values() if torch.is_tensor(v) and v.dim()]
    assert len(kept) == optimizer.BUFFERS


class _Passes(TorchDispatchMode):
    """Counts operations, and those among them that allocate what they write."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0
        self.allocations: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.passes += 1
            self.allocations[str(func)] += not any(argument.is_write for argument in func._schema.arguments)
        return func(*args, **(kwargs or {}))


@DECAYS
@EACH
def test_an_update_takes_the_passes_that_it_takes_and_allocates_nothing(name: str, decay: float) -> None:
    parameters = _packed(map(_start, range(4)))
    optimizer = OPTIMIZERS[name](parameters, parameters.twin(), torch.full((4,), 0.1, dtype=torch.float64), decay)
    with _Passes() as counted:
        optimizer.update()
    assert counted.passes == PASSES[name] + (decay > 0 and "adam" not in name)
    assert not counted.allocations.total()


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("gradient", [0.0, 1e-30, 1.0, 1e15])
def test_the_first_step_of_adam_is_the_rate_whatever_the_gradient(gradient: float, name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        parameters = Packed.of([torch.zeros(1, 1, 1, dtype=dtype)])
        gradients = parameters.twin()
        gradients.flat.fill_(gradient)
        OPTIMIZERS[name](parameters, gradients, torch.tensor([0.01])).update()
        assert float(parameters.tensors[0]) == pytest.approx(-0.01 * gradient / (gradient + 1e-8), rel=1e-5)


@pytest.mark.parametrize("name", ["rmsprop", "adam", "adamw"])
def test_units_without_a_gradient_stay_where_they_are(name: str) -> None:
    parameters = Packed.of([torch.ones(1, 40, 3)])
    gradients = parameters.twin()
    optimizer = OPTIMIZERS[name](parameters, gradients, torch.tensor([0.1]))
    for _ in range(5):
        gradients.tensors[0].fill_(1.0)[:, ::2] = 0
        optimizer.update()
    assert (parameters.tensors[0][:, ::2] == 1).all()
    assert (parameters.tensors[0][:, 1::2] < 0.7).all()


@pytest.mark.parametrize("name", list(SCHEDULES))
@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 95, 100_000])
def test_a_schedule_stays_above_zero_and_at_most_one(name: str, steps: int) -> None:
    factors = [SCHEDULES[name](step, steps) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert 1.0 in factors


def test_schedules_are_those_of_torch() -> None:
    for name, schedule in SCHEDULES.items():
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        scheduler = SCHEDULERS[name](optimizer)
        for step in range(STEPS):
            assert schedule(step, STEPS) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-11)
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize(("steps", "length"), [(1, 1), (10, 1), (11, 2), (20, 2), (95, 10), (1000, 100)])
def test_warmup_takes_a_tenth_of_the_steps(steps: int, length: int) -> None:
    factors = [SCHEDULES["warmup"](step, steps) for step in range(steps)]
    assert factors[:length] == [(step + 1) / length for step in range(length)]
    assert set(factors[length:]) <= {1.0}


def _norm(gradients: Sequence[Tensor], member: int) -> float:
    return math.sqrt(sum(float(gradient[member].double().square().sum()) for gradient in gradients))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("limit", [1e-8, 1.0, 30.0, 1e6])
def test_clipping_is_that_of_torch(limit: float, dtype: torch.dtype) -> None:
    members = [[10.0 ** (member - 2) * gradient for gradient in _start(member, dtype=dtype)] for member in range(5)]
    gradients = _stacked(members)
    clip_(gradients, limit)
    for member, expected in enumerate(members):
        for tensor in expected:
            tensor.requires_grad_().grad = tensor.detach().clone()
        torch.nn.utils.clip_grad_norm_(expected, limit)
        for gradient, tensor in zip(gradients, expected, strict=True):
            assert tensor.grad is not None
            torch.testing.assert_close(
                gradient[member], tensor.grad, rtol=1e-14 if dtype == torch.float64 else 1e-6, atol=0
            )


@pytest.mark.parametrize("members", [1, 3, 8])
@pytest.mark.parametrize("shapes", [ODD_SHAPES, *([shape] for shape in ODD_SHAPES), [(1, 5)], [(37, 41), (2, 3)]])
def test_a_member_is_clipped_the_same_alone_and_in_company(shapes: Sequence[tuple[int, int]], members: int) -> None:
    for sizes in (0, 24):  # the second with norms beyond the squares of single precision
        each = [
            [10.0 ** (sizes * (member % 2)) * gradient for gradient in _start(member, shapes, torch.float32)]
            for member in range(members)
        ]
        together = _stacked(each)
        clip_(together, 0.1)
        for member in range(members):
            alone = _stacked([each[member]])
            clip_(alone, 0.1)
            assert _equal(together, alone, [member])


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e-15, 1.0, 1e15, 1e18, 1e19, 1e25, 1e30])
def test_clipping_neither_overflows_nor_underflows(size: float) -> None:
    start = [size * gradient for gradient in _start(0, ODD_SHAPES, torch.float32)]
    for limit in (1e-3, 1.0, 1e6):
        gradients = _stacked([start, start])
        clip_(gradients, limit)
        before = _norm(_stacked([start]), 0)
        expected = before * min(1.0, limit / (before + 1e-6))
        for member in (0, 1):
            assert _norm(gradients, member) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_gradients_beyond_the_numbers_are_left_as_they_are(value: float) -> None:
    for size in (1.0, 1e25):
        each = [[size * gradient for gradient in _start(member, dtype=torch.float32)] for member in range(3)]
        clean, spoiled = _stacked(each), _stacked(each)
        spoiled[1][1, 0, 2] = value
        before = [gradient.clone() for gradient in spoiled]
        clip_(clean, 0.5)
        clip_(spoiled, 0.5)
        for a, b, start in zip(clean, spoiled, before, strict=True):
            assert torch.equal(a[[0, 2]], b[[0, 2]])
            assert torch.equal(b[1].nan_to_num(7), start[1].nan_to_num(7))


def test_gradients_within_the_limit_stay_as_they_are() -> None:
    gradients = _stacked(_start(member, dtype=torch.float32) for member in range(3))
    before = [gradient.clone() for gradient in gradients]
    clip_(gradients, 1.01 * max(_norm(gradients, member) for member in range(3)))
    assert _equal(gradients, before, range(3))
