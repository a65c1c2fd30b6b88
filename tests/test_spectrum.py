"""Singular values of layers and Jacobians: against NumPy, autograd, Marchenko-Pastur and Pennington et al. 2017."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from winit import datasets
from winit.fields import BadInput
from winit.network import Member, first_layers, initialize
from winit.spec import Spec
from winit.spectrum import jacobian, layer_spectra


def _spec(**changes: object) -> Spec:
    return Spec(dataset="gaussian").replace(**changes)


# Layers


def test_singular_values_are_those_of_numpy() -> None:
    spec = Spec(width=(20, 50, 30), initializer="torch_default")
    found = layer_spectra(spec, 3)
    assert found.seed == 3
    assert len(found.values) == len(found.expected) == len(found.condition) == 4
    for (weight, _), values, condition in zip(
        first_layers(spec, spec.initializer, 3), found.values, found.condition, strict=True
    ):
        expected = np.linalg.svd(weight.double().numpy(), compute_uv=False)
        np.testing.assert_allclose(values, expected, rtol=1e-9)
        assert condition == pytest.approx(expected[0] / expected[-1], rel=1e-6)


@pytest.mark.parametrize("initializer", ["glorot_normal", "he_uniform", "torch_default", "random_normal(stddev=0.3)"])
def test_independent_weights_follow_marchenko_pastur(initializer: str) -> None:
    found = layer_spectra(_spec(depth=2, width=256, initializer=initializer))
    for values, expected in zip(found.values, found.expected, strict=True):
        assert np.abs(values - expected).max() < 0.05 * expected[0]


def test_orthogonal_weights_have_one_singular_value() -> None:
    found = layer_spectra(Spec(width=(48, 96), initializer="orthogonal(gain=1.5)"))
    for values, expected, condition in zip(found.values, found.expected, found.condition, strict=True):
        np.testing.assert_allclose(values, 1.5, rtol=1e-5)
        np.testing.assert_allclose(expected, 1.5, rtol=1e-12)
        assert condition == pytest.approx(1, abs=1e-5)


def test_where_there_is_no_law_there_is_no_expectation() -> None:
    found = layer_spectra(Spec(depth=2, width=8, initializer="constant(value=0.1)"))
    assert all(not len(expected) for expected in found.expected)
    assert (found.condition == math.inf).all()  # of rank 1
    nothing = layer_spectra(Spec(depth=2, width=8, initializer="zeros"))
    assert np.isnan(nothing.condition).all()
    assert all((values == 0).all() for values in nothing.values)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_sizes_do_not_matter(size: float) -> None:
    found = layer_spectra(_spec(depth=2, width=32, initializer=f"random_normal(stddev={size})"))
    one = layer_spectra(_spec(depth=2, width=32, initializer="random_normal(stddev=1)"))
    for values, expected in zip(found.values, one.values, strict=True):
        np.testing.assert_allclose(values / size, expected, rtol=1e-5)


# From inputs to outputs


@pytest.mark.parametrize("residual", ["off", "plain"])
@pytest.mark.parametrize("dataset", ["gaussian", "digits", "moons"])
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_jacobians_are_those_of_autograd(name: str, dataset: str, residual: str) -> None:
    spec = Spec(depth=3, width=6, activation=name, dataset=dataset, residual=residual, seed=2)
    found = jacobian(spec, 2, 3)
    assert found.seeds == (2, 3)
    phi = {"tanh": torch.tanh, "relu": nn.functional.relu}[name]
    x = torch.tensor(datasets.batch(dataset, spec.inputs, 3, 2), dtype=torch.float64)
    for row, seed in enumerate(found.seeds):
        ensemble = initialize(spec, [Member(spec.initializer, seed, 0.0)], torch.float64)

        def outputs(h: torch.Tensor, ensemble: object = ensemble) -> torch.Tensor:
            *hidden, last = ensemble.weights  # type: ignore[attr-defined]
            for number, weight in enumerate(hidden):
                branch = phi(weight[0] @ h)
                h = h + branch if residual == "plain" and number else branch
            return last[0] @ h

        for column in range(3):
            expected = np.linalg.svd(torch.autograd.functional.jacobian(outputs, x[column]).numpy(), compute_uv=False)
            values = 10 ** found.singular_values_log10[row, column]
            np.testing.assert_allclose(values, expected, atol=1e-9 * expected[0])
            square = (expected**2).mean()
            assert 10 ** found.mean_square_log10[row, column] == pytest.approx(square, rel=1e-9)
            if square > 0:  # narrow ReLU networks may be dead at an input
                variance = (expected**2).var() / square**2
                assert found.relative_variance[row, column] == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("initializer", ["lecun_normal", "orthogonal"])
@pytest.mark.parametrize("name", ["identity", "tanh", "relu", "hardtanh", "gelu"])
def test_mean_square_and_variance_are_those_of_free_probability(name: str, initializer: str) -> None:
    """Pennington 2017, eq. 19. The linear orthogonal network has one singular value, that of a product of rotations."""
    found = jacobian(_spec(depth=5, width=160, activation=name, initializer=initializer), 4, 2)
    square = found.mean_square_log10 * math.log(10)
    assert square.mean() == pytest.approx(found.expected_mean_square_log10 * math.log(10), abs=0.25)
    expected = found.expected_relative_variance
    assert found.relative_variance.mean() == pytest.approx(expected, rel=0.15, abs=1e-6)
    if name == "identity":
        assert expected == pytest.approx(6.0 if initializer == "lecun_normal" else 0.0, abs=1e-9)
        assert found.expected_condition == (math.inf if initializer == "lecun_normal" else 1)
    if name == "relu":
        assert expected == pytest.approx(11.0 if initializer == "lecun_normal" else 5.0)
        assert (found.condition == math.inf).all()


def test_an_isometry_has_condition_1() -> None:
    found = jacobian(_spec(depth=8, width=32, activation="identity", initializer="orthogonal"), 2, 1)
    np.testing.assert_allclose(found.condition, 1, atol=1e-4)
    np.testing.assert_allclose(found.mean_square_log10, 0, atol=1e-5)


def test_at_the_fixed_point_the_mean_square_is_chi_1_to_the_depth() -> None:
    """ReLU has chi_1 = 1 with He's variance, half with LeCun's, at any q."""
    for initializer, chi in (("he_normal", 1.0), ("lecun_normal", 0.5)):
        found = jacobian(_spec(depth=7, width=16, initializer=initializer), 1, 1)
        # The output layer's own variance, too, is twice LeCun's.
        expected = 7 * math.log10(chi) + (math.log10(2) if chi == 1 else 0)
        assert found.expected_mean_square_log10 == pytest.approx(expected, abs=1e-9)


def test_what_is_not_known_has_a_reason() -> None:
    found = jacobian(Spec(depth=2, width=16, dataset="digits"), 1, 1)
    assert math.isnan(found.expected_relative_variance)
    assert "equal widths" in found.reasons["expected_relative_variance"]
    assert math.isfinite(found.expected_mean_square_log10)
    none = jacobian(_spec(depth=2, width=8, initializer="constant(value=0.1)"), 1, 1)
    assert math.isnan(none.expected_mean_square_log10)
    assert "mean 0" in none.reasons["expected_mean_square_log10"]
    bent = jacobian(_spec(depth=2, width=8, activation="tanh", initializer="orthogonal"), 1, 1)
    assert math.isnan(bent.expected_condition)
    assert "closed form" in bent.reasons["expected_condition"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("initializer", ["zeros", "random_normal(stddev=1e-30)", "random_normal(stddev=1e30)"])
@pytest.mark.parametrize(("depth", "width"), [(1, 1), (30, 4)])
def test_extremes_give_numbers(initializer: str, depth: int, width: int) -> None:
    found = jacobian(_spec(depth=depth, width=width, initializer=initializer, activation="identity"), 2, 1)
    if initializer == "zeros":
        assert (found.singular_values_log10 == -np.inf).all()
        assert np.isnan(found.condition).all()
        assert found.expected_mean_square_log10 == -math.inf


def test_normalization_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        jacobian(Spec(depth=2, width=8, normalization="layer"), 1)
    assert caught.value.field == "normalization"
