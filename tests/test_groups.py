"""Groups and workers: no number depends on how members are put together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from winit import training as module
from winit.network import Member
from winit.spec import Spec
from winit.training import Training, group_size

CROWD = [Member(name, seed, 0.05) for name in ("he_normal", "orthogonal", "torch_default") for seed in range(4)]


def _sized(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(module, "group_size", lambda spec, members, workers: size)


@pytest.mark.sampled(7)
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize(("normalization", "residual"), [("none", "off"), ("batch", "plain"), ("layer", "zero")])
@pytest.mark.parametrize("width", [7, 32, 65, 130])  # each way to multiply
def test_groups_and_workers_change_no_bit(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, normalization: str, residual: str, width: int
) -> None:
    spec = Spec(
        depth=3,
        width=width,
        steps=40,
        optimizer=optimizer,
        normalization=normalization,
        residual=residual,
        batch_size=50,
        activation="tanh",
    )
    runs = []
    for size, workers in ((12, 1), (5, 2), (1, 2), (4, 1)):
        _sized(monkeypatch, size)
        run = Training(spec, CROWD, every=20, workers=workers)
        snapshots = list(run)
        assert len(run.groups) == -(-12 // size)
        runs.append((run, snapshots, run.history()))
    first, snapshots, history = runs[0]
    for other, others, other_history in runs[1:]:
        for one, two in zip(snapshots, others, strict=True):
            np.testing.assert_array_equal(one.loss, two.loss)
            np.testing.assert_array_equal(one.test_accuracy, two.test_accuracy)
        np.testing.assert_array_equal(history.final_loss, other_history.final_loss)
        assert history.statuses == other_history.statuses
        for one_weight, two_weight in zip(first.ensemble.weights, other.ensemble.weights, strict=True):
            assert torch.equal(one_weight, two_weight)
        for one_norm, two_norm in zip(first.ensemble.norms, other.ensemble.norms, strict=True):
            assert torch.equal(one_norm.mean, two_norm.mean)


def test_joined_statistics_and_outputs_are_those_of_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Spec(depth=2, width=8, steps=6, normalization="batch", residual="zero")
    found = []
    for size in (12, 5):
        _sized(monkeypatch, size)
        run = Training(spec, CROWD, every=3, layer_statistics=True)
        layers = [snapshot.layers for snapshot in run][-1]
        assert layers is not None
        found.append((layers, run.outputs(run.data.test_x), run.probabilities(run.data.test_x[:7]), run.batch_losses))
    one, two = found
    np.testing.assert_array_equal(one[0].weights.counts, two[0].weights.counts)
    np.testing.assert_array_equal(one[0].gradients.mean, two[0].gradients.mean)
    np.testing.assert_array_equal(one[0].update_ratio_log10, two[0].update_ratio_log10)
    assert torch.equal(one[1], two[1])
    np.testing.assert_array_equal(one[2], two[2])
    assert torch.equal(one[3], two[3])


def test_a_member_that_diverges_in_another_group_is_marked_at_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Spec(depth=4, width=8, steps=30)
    wild = [*CROWD[:2], Member("random_normal(stddev=1)", 0, 1e5), *CROWD[2:5]]
    steps = []
    for size in (6, 2, 1):
        _sized(monkeypatch, size)
        run = Training(spec, wild)
        steps.append(list(run)[-1].diverged_at)
    assert steps[0] == steps[1] == steps[2]
    assert steps[0][2] is not None
    assert all(at is None for at in (*steps[0][:2], *steps[0][3:]))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("members", [1, 2, 7, 40, 80, 500])
@pytest.mark.parametrize(
    ("depth", "width", "batch"), [(10, 64, 64), (4, 32, 64), (6, 256, 64), (1, 1, 1), (50, 32, 64)]
)
def test_groups_are_equal_and_keep_all_workers_busy(
    depth: int, width: int, batch: int, members: int, workers: int
) -> None:
    size = group_size(Spec(depth=depth, width=width, batch_size=batch), members, workers)
    assert 1 <= size <= members
    groups = -(-members // size)
    # Equal but for the last one, which may lack what the division leaves.
    assert 0 < members - (groups - 1) * size <= size
    assert groups == 1 or groups >= min(workers, members) - 1


def test_large_networks_train_in_small_groups() -> None:
    assert group_size(Spec(depth=6, width=256), 40, 2) <= 5
    assert 10 <= group_size(Spec(depth=10, width=64), 80, 2) <= 20
    assert group_size(Spec(depth=2, width=4, batch_size=10), 40, 2) == 40
