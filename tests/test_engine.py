"""The engine against torch: autograd and torch.optim from the same weights on the same batches, in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.test_layers import Phi, in_order, module_of
from winit import training as training_module
from winit.activations import ACTIVATIONS
from winit.activations import activation as _activation
from winit.datasets import Data
from winit.layers import NORMALIZATIONS, RESIDUALS, linears
from winit.network import Member, initialize
from winit.spec import Spec
from winit.training import Training

TOLERANCE = 1e-12
STEPS = 50
# Adaptive steps of 0.05 throw these small networks about, and any difference of the last bit with them.
RATES = {"sgd": 0.05, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.003, "adam": 0.003, "adamw": 0.003}

OPTIMIZERS = {
    "sgd": lambda p, decay: torch.optim.SGD(p, lr=RATES["sgd"], weight_decay=decay),
    "momentum": lambda p, decay: torch.optim.SGD(p, lr=RATES["momentum"], momentum=0.9, weight_decay=decay),
    "nesterov": lambda p, decay: torch.optim.SGD(
        p, lr=RATES["nesterov"], momentum=0.9, nesterov=True, weight_decay=decay
    ),
    "rmsprop": lambda p, decay: torch.optim.RMSprop(p, lr=RATES["rmsprop"], weight_decay=decay),
    "adam": lambda p, decay: torch.optim.Adam(p, lr=RATES["adam"], weight_decay=decay),
    "adamw": lambda p, decay: torch.optim.AdamW(p, lr=RATES["adamw"], weight_decay=decay),
}
SCHEDULES = {
    "constant": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1.0),
    "warmup": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: min(1.0, (step + 1) / 5)),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=STEPS),
}
"""By the spec's names; a tenth of 50 steps warms up."""


def data_of(loss: str) -> Data:
    """Return a small data set of a generator of its own: classes, or targets of a regression."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((90, 5)).astype(np.float32)
    if loss == "cross_entropy":
        y = rng.integers(3, size=90)
        return Data(x[:64], y[:64], x[64:], y[64:], 3)
    targets = (np.sin(x[:, :2]) + 0.1 * rng.standard_normal((90, 2))).astype(np.float32)
    return Data(x[:64], targets[:64], x[64:], targets[64:], 2)


class _Shaped(Spec):
    """A spec whose sides are those of `data_of`."""

    @property
    def inputs(self) -> int:
        return 5

    @property
    def outputs(self) -> int:
        return 3 if self.dataset == "digits" else 2


def follow(spec: Spec, data: Data, initializer: str = "he_normal") -> tuple[Training, list[nn.Sequential], list[float]]:
    """Train two members, and the same two as modules; return both and the modules' losses on the batches."""
    members = [Member(initializer, seed, RATES[spec.optimizer]) for seed in range(2)]
    training = Training(spec, members, every=spec.steps, data=data, dtype=torch.float64)
    ensemble = initialize(spec, members, torch.float64)
    for ours, fresh in zip(training.ensemble.weights, ensemble.weights, strict=True):
        assert torch.equal(ours, fresh)
    modules = [module_of(training.ensemble, number, spec) for number in range(2)]
    losses = []
    setups = []
    for module in modules:
        optimizer = OPTIMIZERS[spec.optimizer](in_order(module), spec.weight_decay)
        setups.append((optimizer, SCHEDULES[spec.schedule](optimizer)))
    (group,) = training.groups
    # Of a group that draws the same.
    drawn = Training(spec, members, every=spec.steps, data=data, dtype=torch.float64).groups[0].batches
    batches = [(inputs.clone(), targets) for inputs, targets in (next(drawn) for _ in range(spec.steps))]
    worst = 0.0
    next(training)
    for step in range(spec.steps):
        inputs, targets = batches[step]
        group.run(step + 1)
        for number, (module, (optimizer, schedule)) in enumerate(zip(modules, setups, strict=True)):
            optimizer.zero_grad()
            x = inputs[number, :, : group.batch_size].T
            outputs = module(x)
            y = targets[number].T
            loss = (
                functional.cross_entropy(outputs, y[:, 0])
                if data.is_classification
                else functional.mse_loss(outputs, y)
            )
            loss.backward()
            if spec.clip:
                nn.utils.clip_grad_norm_(in_order(module), spec.clip)
            optimizer.step()
            schedule.step()
            ours, theirs = float(training.batch_losses[number]), float(loss.detach())
            assert math.isfinite(theirs)
            worst = max(worst, abs(ours - theirs) / abs(theirs))
    losses.append(worst)
    return training, modules, losses


def expect_equal(training: Training, modules: list[nn.Sequential], losses: list[float]) -> None:
    assert losses[0] <= TOLERANCE
    for number, module in enumerate(modules):
        theirs = in_order(module)
        ours = training.groups[0].workspace.parameters
        assert len(theirs) == len(ours)
        for parameter, expected in zip(ours, theirs, strict=True):
            found = parameter[number].reshape(expected.shape)
            largest = max(1.0, float(expected.detach().abs().max()))
            assert float((found - expected.detach()).abs().max()) <= 1e-11 * largest
        assert any(isinstance(part, Phi) for part in module.modules())


LOSSES = ("cross_entropy", "mean_squared_error")
BLOCKS = [
    (norm, residual, loss) for norm in ("none", *NORMALIZATIONS) for residual in ("off", *RESIDUALS) for loss in LOSSES
]
FIRST = ("tanh", "sigmoid", "gelu", "relu")
OTHERS = [name if name != "sine" else "sine(omega=1)" for name in ACTIVATIONS if name not in FIRST]
"""Sine at its default of 30 throws these networks about, as a rate of 0.05 does to the adaptive optimizers."""


def _fifty_steps(activation: str, normalization: str, residual: str, loss: str) -> None:
    spec = _Shaped(
        depth=3,
        width=8,
        activation=activation,
        normalization=normalization,
        residual=residual,
        dataset="digits" if loss == "cross_entropy" else "moons",
        batch_size=16,
        steps=STEPS,
    )
    expect_equal(*follow(spec, data_of(loss), "random_normal(stddev=0.1)" if activation == "identity" else "he_normal"))


@pytest.mark.sampled(5)
@pytest.mark.parametrize(("normalization", "residual", "loss"), BLOCKS)
@pytest.mark.parametrize("activation", FIRST)
def test_fifty_steps_are_those_of_autograd(activation: str, normalization: str, residual: str, loss: str) -> None:
    _fifty_steps(activation, normalization, residual, loss)


@pytest.mark.parametrize(("number", "activation"), list(enumerate(OTHERS)))
def test_fifty_steps_of_each_activation_are_those_of_autograd(number: int, activation: str) -> None:
    _fifty_steps(activation, *BLOCKS[7 * number % len(BLOCKS)])


@pytest.mark.parametrize("is_small", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if _activation(name).in_arrays])
def test_fifty_steps_are_those_of_autograd_whoever_makes_them(
    activation: str, loss: str, is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_module, "are_small", lambda spec, batch_size: is_small)
    dataset, initializer = "digits" if loss == "cross_entropy" else "moons", "random_normal(stddev=0.5)"
    shape = {"width": (7, 4, 9), "batch_size": 13}
    spec = _Shaped(**shape, activation=activation, dataset=dataset, schedule="cosine", steps=STEPS)
    training, modules, losses = follow(spec, data_of(loss), initializer)
    assert bool(training.groups[0]._small) == is_small
    expect_equal(training, modules, losses)


@pytest.mark.parametrize("normalization", ["none", "layer"])
@pytest.mark.parametrize(("width", "is_wide"), [((64, 64, 48), False), ((160, 150, 140), True), ((150, 140, 64), True)])
def test_fifty_steps_are_those_of_autograd_whichever_way_products_are_taken(
    width: tuple[int, ...], is_wide: bool, normalization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_torch, multiply = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda *factors, **options: by_torch.append(multiply(*factors, **options)))
    spec = _Shaped(
        width=width, activation="tanh", normalization=normalization, dataset="digits", batch_size=64, steps=STEPS
    )
    training, modules, losses = follow(spec, data_of("cross_entropy"))
    expect_equal(training, modules, losses)
    assert bool(by_torch) == is_wide
    assert next(linears(training.groups[0].workspace.layers))._scratch  # where a factor was turned around


@pytest.mark.slow
@pytest.mark.parametrize(("normalization", "residual", "loss"), BLOCKS)
@pytest.mark.parametrize("activation", OTHERS)
def test_fifty_steps_of_every_activation_in_every_block(
    activation: str, normalization: str, residual: str, loss: str
) -> None:
    _fifty_steps(activation, normalization, residual, loss)


# Each pair of settings stands in one of these rows at least (a covering array of strength 2, checked below).
COVERING = [
    ("sgd", "constant", 0.0, 0.0),
    ("sgd", "warmup", 0.01, 0.5),
    ("sgd", "cosine", 0.01, 0.0),
    ("momentum", "constant", 0.01, 0.5),
    ("momentum", "warmup", 0.0, 0.0),
    ("momentum", "cosine", 0.0, 0.5),
    ("nesterov", "constant", 0.0, 0.5),
    ("nesterov", "warmup", 0.01, 0.0),
    ("nesterov", "cosine", 0.01, 0.5),
    ("rmsprop", "constant", 0.01, 0.0),
    ("rmsprop", "warmup", 0.0, 0.5),
    ("rmsprop", "cosine", 0.0, 0.0),
    ("adam", "constant", 0.0, 0.0),
    ("adam", "warmup", 0.01, 0.5),
    ("adam", "cosine", 0.01, 0.0),
    ("adamw", "constant", 0.01, 0.5),
    ("adamw", "warmup", 0.0, 0.0),
    ("adamw", "cosine", 0.01, 0.5),
]


def test_the_rows_cover_each_pair_of_settings() -> None:
    choices = (OPTIMIZERS, SCHEDULES, (0.0, 0.01), (0.0, 0.5))
    for first in range(4):
        for second in range(first + 1, 4):
            pairs = {(row[first], row[second]) for row in COVERING}
            assert len(pairs) == len(choices[first]) * len(choices[second])


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("optimizer", "schedule", "decay", "clip"), COVERING)
@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_optimizers_schedules_decay_and_clipping_are_those_of_torch(
    optimizer: str, schedule: str, decay: float, clip: float, normalization: str
) -> None:
    spec = _Shaped(
        depth=2,
        width=7,
        activation="tanh",
        normalization=normalization,
        batch_size=16,
        steps=STEPS,
        optimizer=optimizer,
        schedule=schedule,
        weight_decay=decay,
        clip=clip,
    )
    expect_equal(*follow(spec, data_of("cross_entropy")))
