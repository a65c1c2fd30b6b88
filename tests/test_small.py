"""Steps of small networks: the same alone, in company and in pieces; who makes them; and what they start from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from winit import training as module
from winit.activations import ACTIVATIONS, activation
from winit.network import Member
from winit.small import are_small
from winit.spec import Spec
from winit.training import Training

KNOWN = [name for name in ACTIVATIONS if activation(name).in_arrays]
"""Activations with a form for arrays."""


def _trained(spec: Spec, members: list[Member], **options: object) -> Training:
    run = Training(spec, members, every=spec.steps, **options)  # type: ignore[arg-type]
    assert all(group._small for group in run.groups)
    for _ in run:
        pass
    return run


def _parameters(run: Training, row: int) -> list[torch.Tensor]:
    return [part[row] for part in (*run.ensemble.weights, *run.ensemble.biases)]


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_the_form_for_arrays_is_the_activation(name: str, dtype: type, tolerance: float) -> None:
    phi = activation(name)
    form = phi.in_arrays
    assert form is not None
    z = np.concatenate([np.linspace(-20, 20, 4001), [0.0, -0.0, 1e-30, 80.0, -80.0]]).astype(dtype)
    a, slope = z.copy(), np.empty_like(z)
    with np.errstate(over="ignore"):
        form.forward(a)
    form.slope(a, slope)
    np.testing.assert_allclose(a, phi.values(z), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(slope, phi.slopes(z), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", KNOWN)
def test_the_form_for_arrays_loses_no_number_that_is_none(name: str) -> None:
    form = activation(name).in_arrays
    assert form is not None
    a, slope = np.array([np.nan, 1.0]), np.empty(2)
    form.forward(a)
    assert np.isnan(a).tolist() == [True, False]
    form.slope(a, slope)
    assert np.isfinite(slope[1])


@pytest.mark.parametrize(
    ("width", "dataset", "batch_size", "phi"),
    [
        ((4, 2), "xor", 10, "tanh"),
        ((1, 1, 1), "moons", 1, "sigmoid"),
        ((7, 13, 5), "blobs", 33, "relu"),
        ((16,), "wave", 31, "relu"),
        ((9, 9), "wine", 30, "tanh"),
        ((8,), "digits", 7, "identity"),
        ((5,) * 9, "hills", 64, "tanh"),
    ],
)
def test_a_member_is_the_same_alone_and_in_company(
    width: tuple[int, ...], dataset: str, batch_size: int, phi: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Spec(width=width, dataset=dataset, batch_size=batch_size, activation=phi, steps=300, schedule="cosine")
    members = [
        Member(name, seed, rate) for seed in range(5) for name, rate in (("he_normal", 0.1), ("lecun_normal", 1))
    ]
    runs = []
    for size, workers in ((10, 1), (3, 2), (1, 1)):
        monkeypatch.setattr(module, "group_size", lambda spec, members, workers, size=size: size)
        runs.append(_trained(spec, members, workers=workers))
    alone = _trained(spec, members[6:7])
    first, *others = runs
    for other in others:
        for row in range(len(members)):
            for one, two in zip(_parameters(first, row), _parameters(other, row), strict=True):
                np.testing.assert_array_equal(one.numpy(), two.numpy())
        np.testing.assert_array_equal(first.history().loss, other.history().loss)
    for one, two in zip(_parameters(first, 6), _parameters(alone, 0), strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_steps_in_pieces_are_steps_in_one_go() -> None:
    spec = Spec(width=(6, 3), dataset="moons", batch_size=20, steps=700, activation="tanh")
    members = [Member("glorot_normal", seed, 0.3) for seed in range(3)]
    whole, pieces = _trained(spec, members), Training(spec, members, every=spec.steps)
    (group,) = pieces.groups
    for until in (1, 2, 199, 200, 201, 650, 700):
        group.run(until)
    for one, two in zip(whole.ensemble.packed.tensors, group.ensemble.packed.tensors, strict=True):
        assert torch.equal(one, two)
    assert torch.equal(whole.batch_losses, group.batch_losses)


def test_the_weights_before_the_last_step_are_kept() -> None:
    spec = Spec(width=(6, 3), dataset="moons", batch_size=20, steps=9)
    members = [Member("he_normal", 0, 0.3)]
    one, other = (Training(spec, members).groups[0] for _ in range(2))
    one.run(8)
    other.run(9, keep_before=True)
    assert other.before is not None
    for weight, before in zip(one.ensemble.weights, other.before, strict=False):
        assert torch.equal(weight, before)
    assert not torch.equal(other.before[0], other.ensemble.weights[0])


def test_who_diverges_is_marked_and_leaves_the_others_alone() -> None:
    spec = Spec(width=(6, 4), dataset="wave", batch_size=20, steps=200, activation="relu")
    calm = [Member("he_normal", seed, 0.05) for seed in range(3)]
    alone = _trained(spec, calm)
    together = _trained(spec, [calm[0], Member("random_normal(stddev=3)", 1, 1e6), *calm[1:]])
    assert [at is None for at in together.history().diverged_at] == [True, False, True, True]
    for mine, theirs in ((0, 0), (1, 2), (2, 3)):
        for one, two in zip(_parameters(alone, mine), _parameters(together, theirs), strict=True):
            assert torch.equal(one, two)
    by_torch = Training(spec, together.members, every=1)
    by_torch.groups[0]._small = None
    for _ in by_torch:
        pass
    assert by_torch.history().diverged_at == together.history().diverged_at


def test_rest_forgets_nothing() -> None:
    spec = Spec(width=(6, 3), dataset="moons", batch_size=20, steps=60)
    members = [Member("he_normal", seed, 0.3) for seed in range(2)]
    whole, rested = _trained(spec, members), Training(spec, members, every=10)
    for _ in rested:
        rested.rest()
    for one, two in zip(whole.ensemble.packed.tensors, rested.ensemble.packed.tensors, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 16},
        {"batch_size": 65},
        {"dataset": "digits"},
        {"activation": "gelu"},
        {"normalization": "layer"},
        {"residual": "plain"},
        {"optimizer": "adam"},
        {"weight_decay": 0.1},
        {"clip": 1.0},
    ],
)
def test_small_and_plain_networks_step_here_and_no_others(changes: dict[str, object]) -> None:
    spec = Spec(depth=3, width=8, batch_size=64, dataset="moons")
    assert are_small(spec, 64)
    other = spec.replace(**changes)
    assert not are_small(other, other.batch_size)
    assert Training(other, [Member("he_normal", 0, 0.1)]).groups[0]._small is None


def test_the_whole_set_is_the_batch_that_counts() -> None:
    spec = Spec(width=2, dataset="wine", batch_size=4096)
    assert not are_small(spec, 142)  # 13 features
    assert are_small(spec, 39)
