"""Layer statistics against NumPy on what autograd gives, and where they have no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from winit import statistics
from winit.activations import activation
from winit.network import Member, Workspace
from winit.spec import Spec
from winit.statistics import BINS, steepest
from winit.training import Training, train

MEMBERS = [Member("he_normal", 0, 0.05), Member("torch_default", 1, 0.05)]


def _measured(spec: Spec, steps: int = 0) -> tuple[Training, statistics.LayerStatistics]:
    training = Training(spec, MEMBERS, every=1, layer_statistics=True)
    snapshot = next(training)
    for _ in range(steps):
        snapshot = next(training)
    assert snapshot.layers is not None
    return training, snapshot.layers


@pytest.mark.parametrize(("normalization", "residual"), [("none", "off"), ("batch", "plain"), ("rms", "zero")])
@pytest.mark.parametrize("rows", [None, [1], [0, 2]])
def test_a_probe_that_looks_again_sees_what_a_new_one_sees(
    normalization: str, residual: str, rows: list[int] | None
) -> None:
    members = [*MEMBERS, Member("glorot_uniform", 2, 0.1)]
    spec = Spec(depth=4, width=12, steps=6, normalization=normalization, residual=residual)
    training = Training(spec, members, every=1, layer_statistics=True)
    for _ in range(4):
        next(training)
        again = training.measure_layers(rows)
        for group in training.groups:
            group._probes.clear()
        fresh = training.measure_layers(rows)
        for name in ("dead_fraction", "saturated_fraction", "effective_rank", "update_ratio_log10"):
            np.testing.assert_array_equal(getattr(again, name), getattr(fresh, name))
        for name in ("weights", "activations", "gradients"):
            for part in vars(getattr(fresh, name)):
                np.testing.assert_array_equal(getattr(getattr(again, name), part), getattr(getattr(fresh, name), part))


@pytest.mark.parametrize("phi", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("normalization", ["none", "layer"])
def test_spreads_are_those_of_numpy(phi: str, normalization: str) -> None:
    spec = Spec(depth=3, width=12, activation=phi, steps=3, normalization=normalization)
    training, found = _measured(spec, 2)
    ensemble = training.ensemble.to(torch.float64)
    x = torch.tensor(training.data.train_x[: statistics.SAMPLES], dtype=torch.float64).T
    workspace = Workspace(ensemble, x.shape[1])
    workspace.forward(x.expand(2, *x.shape))
    for values, spread in ((ensemble.weights[:-1], found.weights), (workspace.activations, found.activations)):
        for layer, value in enumerate(values):
            for member in range(2):
                flat = value[member].numpy().ravel()
                assert spread.mean[member, layer] == pytest.approx(flat.mean(), rel=1e-9, abs=1e-12)
                assert spread.deviation[member, layer] == pytest.approx(flat.std(), rel=1e-9)
                assert (spread.low[member, layer], spread.high[member, layer]) == (flat.min(), flat.max())
                expected, _ = np.histogram(flat, bins=BINS, range=(flat.min(), flat.max()))
                assert spread.counts[member, layer].sum() == flat.size
                assert np.abs(spread.counts[member, layer] - expected).sum() <= 2  # a value at the edge of a bin
    slopes = [ensemble.activation.derivative(z) for z in workspace.pre_activations]
    for layer, slope in enumerate(slopes):
        dead = (slope == 0).all(dim=2).double().mean(dim=1).numpy()
        np.testing.assert_allclose(found.dead_fraction[:, layer], dead)
        flat_share = (slope.abs() < 0.05 * steepest(activation(phi))).double().mean(dim=(1, 2)).numpy()
        np.testing.assert_allclose(found.saturated_fraction[:, layer], flat_share)
        for member in range(2):
            centred = workspace.activations[layer][member].numpy()
            centred = centred - centred.mean(axis=1, keepdims=True)
            eigenvalues = np.linalg.eigvalsh(centred @ centred.T)
            rank = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
            assert found.effective_rank[member, layer] == pytest.approx(rank, rel=1e-8)


def test_update_ratio_is_that_of_the_last_step() -> None:
    spec = Spec(depth=2, width=10, steps=4)
    training = Training(spec, MEMBERS, every=1, layer_statistics=True)
    first = next(training).layers
    assert first is not None
    assert np.isnan(first.update_ratio_log10).all()
    before = [weight.clone() for weight in training.ensemble.weights[:-1]]
    second = next(training).layers
    assert second is not None
    for layer, (weight, old) in enumerate(zip(training.ensemble.weights[:-1], before, strict=True)):
        change = (weight.double() - old.double()).square().mean(dim=(1, 2)).sqrt()
        ratio = torch.log10(change / weight.double().square().mean(dim=(1, 2)).sqrt())
        np.testing.assert_allclose(second.update_ratio_log10[:, layer], ratio.numpy(), rtol=1e-9)


def test_steepest_slopes() -> None:
    wanted = {"relu": 1.0, "tanh": 1.0, "sigmoid": 0.25, "sine": 30.0, "identity": 1.0}
    assert {name: steepest(activation(name)) for name in wanted} == pytest.approx(wanted, rel=1e-3)


def test_a_network_of_zeros_has_numbers_that_say_so() -> None:
    layers = next(train(Spec(depth=3, width=5, initializer="zeros"), layer_statistics=True)).layers
    assert layers is not None
    assert (layers.effective_rank == 0).all()
    assert (layers.dead_fraction == 1).all()
    assert (layers.weights.counts.sum(axis=2) == [[320, 25, 25]]).all()


def test_a_diverged_member_leaves_the_others_alone() -> None:
    spec = Spec(depth=4, width=8, steps=30, learning_rate=0.05)
    wild = [Member("random_normal(stddev=1)", 0, 1e5), *MEMBERS]
    together = list(Training(spec, wild, layer_statistics=True))[-1].layers
    alone = list(Training(spec, MEMBERS, layer_statistics=True))[-1].layers
    assert together is not None
    assert alone is not None
    assert not np.isfinite(together.activations.deviation[0]).all()
    np.testing.assert_allclose(together.activations.deviation[1:], alone.activations.deviation, rtol=1e-12)
    np.testing.assert_array_equal(together.weights.counts[1:], alone.weights.counts)


def test_a_spread_far_from_0_is_exact_and_knows_no_company() -> None:
    noise = torch.randn(3, 6, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values = torch.cat([noise[:1], 1e7 + noise[1:2], 1e-7 * noise[2:], torch.full((1, 6, 50), 3.0)])
    found = statistics._spread_of(values)
    np.testing.assert_allclose(found[:, 0], values.mean(dim=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found[:, 1], values.numpy().std(axis=(1, 2)), rtol=1e-9)
    for row in range(len(values)):
        np.testing.assert_array_equal(found[row], statistics._spread_of(values[row : row + 1])[0])


def test_statistics_change_nothing_of_the_run() -> None:
    spec = Spec(depth=3, width=9, steps=12, optimizer="adam", learning_rate=0.01, normalization="batch")
    plain, watched = Training(spec, MEMBERS), Training(spec, MEMBERS, layer_statistics=True)
    for one, other in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(one.loss, other.loss)
    for one, other in zip(plain.ensemble.weights, watched.ensemble.weights, strict=True):
        assert torch.equal(one, other)


def test_tiny_signals_have_a_size() -> None:
    spec = Spec(depth=50, width=16, initializer="random_normal(stddev=0.01)", steps=1)
    layers = next(train(spec, layer_statistics=True)).layers
    assert layers is not None
    assert 0 < layers.activations.deviation[0, -1] < 1e-50
    assert 0 < layers.gradients.deviation[0, 0] < 1e-50
