"""The losses against torch.nn.functional: values, gradients, and what each side of the bounds gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from winit.datasets import DATASETS, Data, load
from winit.losses import CROSS_ENTROPY, MEAN_SQUARED_ERROR, Loss, loss_of

MEMBERS, OUTPUTS, SAMPLES = 3, 5, 13


def _outputs(scale: float = 3.0) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.empty(MEMBERS, OUTPUTS, SAMPLES, dtype=torch.float64).normal_(generator=source).mul_(scale)


def _classes(*size: int) -> Tensor:
    return torch.randint(OUTPUTS, size, generator=torch.Generator().manual_seed(1))


def _values(*size: int) -> Tensor:
    return torch.empty(size, dtype=torch.float64).normal_(generator=torch.Generator().manual_seed(2))


def _assert_is(loss: Loss, outputs: Tensor, targets: Tensor, reference: list[Tensor], leaf: Tensor) -> None:
    """Assert the values, and that the gradient is that of each sample's own loss: of the mean times their number."""
    expected_values = torch.stack([value.detach() for value in reference])
    (expected_gradient,) = torch.autograd.grad(sum(reference, torch.zeros(())), leaf)
    values, gradient = loss.value_and_gradient(outputs, targets)
    assert values.shape == (MEMBERS,)
    torch.testing.assert_close(values, expected_values, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient / SAMPLES, expected_gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-3, 3.0, 300.0])
@pytest.mark.parametrize("shared", [True, False], ids=["shared targets", "targets of each member"])
def test_cross_entropy(scale: float, shared: bool) -> None:
    outputs = _outputs(scale)
    leaf = outputs.clone().requires_grad_()
    targets = _classes(1 if shared else MEMBERS, 1, SAMPLES)
    own = targets.expand(MEMBERS, 1, SAMPLES)[:, 0]
    reference = [F.cross_entropy(leaf[member].T, own[member]) for member in range(MEMBERS)]
    _assert_is(CROSS_ENTROPY, outputs, targets, reference, leaf)


@pytest.mark.parametrize("shared", [True, False], ids=["shared targets", "targets of each member"])
def test_mean_squared_error(shared: bool) -> None:
    outputs = _outputs()
    leaf = outputs.clone().requires_grad_()
    targets = _values(1 if shared else MEMBERS, OUTPUTS, SAMPLES)
    own = targets.expand(MEMBERS, OUTPUTS, SAMPLES)
    reference = [F.mse_loss(leaf[member].T, own[member].T) for member in range(MEMBERS)]
    _assert_is(MEAN_SQUARED_ERROR, outputs, targets, reference, leaf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("loss", "targets"), [(CROSS_ENTROPY, _classes(1, 1, SAMPLES)), (MEAN_SQUARED_ERROR, _values(1, OUTPUTS, SAMPLES))]
)
def test_the_gradient_takes_the_place_of_the_outputs(loss: Loss, targets: Tensor, dtype: torch.dtype) -> None:
    outputs = _outputs().to(dtype)
    targets = targets if loss is CROSS_ENTROPY else targets.to(dtype)
    kept = targets.clone()
    values, gradient = loss.value_and_gradient(outputs, targets)
    assert gradient.data_ptr() == outputs.data_ptr()
    assert torch.equal(gradient, outputs)
    assert values.dtype == gradient.dtype == dtype
    assert torch.equal(targets, kept)


def test_cross_entropy_of_certain_answers_does_not_overflow() -> None:
    outputs = torch.zeros(2, 2, 1)
    outputs[:, 0] = 1e30
    right, wrong = torch.tensor([[[0]]]), torch.tensor([[[1]]])
    values, gradient = CROSS_ENTROPY.value_and_gradient(outputs.clone(), right)
    assert values.tolist() == [0.0, 0.0]
    assert float(gradient.abs().max()) == 0
    values, gradient = CROSS_ENTROPY.value_and_gradient(outputs.clone(), wrong)
    assert values.tolist() == [pytest.approx(1e30), pytest.approx(1e30)]
    assert gradient[0, :, 0].tolist() == [1.0, -1.0]


def test_the_gradient_of_cross_entropy_sums_to_nothing() -> None:
    _, gradient = CROSS_ENTROPY.value_and_gradient(_outputs(), _classes(1, 1, SAMPLES))
    assert float(gradient.sum(dim=1).abs().max()) < 1e-14
    assert float(gradient.abs().max()) > 0.1


@pytest.mark.parametrize(
    ("loss", "targets"), [(CROSS_ENTROPY, _classes(1, 1, SAMPLES)), (MEAN_SQUARED_ERROR, _values(1, OUTPUTS, SAMPLES))]
)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_member_beyond_the_numbers_leaves_the_others_untouched(loss: Loss, targets: Tensor, bad: float) -> None:
    values, gradient = loss.value_and_gradient(_outputs(), targets)
    broken = _outputs()
    broken[1, :, 4] = bad
    broken_values, broken_gradient = loss.value_and_gradient(broken, targets)
    assert not torch.isfinite(broken_values[1])
    for member in (0, 2):
        assert torch.equal(values[member], broken_values[member])
        assert torch.equal(gradient[member], broken_gradient[member])


def test_the_best_constant_predictor_has_the_constant_loss() -> None:
    """The yardstick of a run's status: no constant does better, and the best one does exactly that."""
    data = load("digits")
    frequencies = np.bincount(data.train_y) / len(data.train_y)
    targets = CROSS_ENTROPY.targets(data.train_y, torch.float64)
    best = torch.tensor(np.log(frequencies)).view(1, -1, 1).expand(1, -1, len(data.train_y)).clone()
    other = torch.zeros_like(best)
    assert float(CROSS_ENTROPY.value_and_gradient(best, targets)[0]) == pytest.approx(data.constant_loss, rel=1e-12)
    assert float(CROSS_ENTROPY.value_and_gradient(other, targets)[0]) > data.constant_loss


def _regression() -> Data:
    source = np.random.default_rng(0)
    x = source.normal(size=(20, 2)).astype(np.float32)
    y = source.normal(3, 2, size=(20, 2)).astype(np.float32)
    return Data(x, y, x, y, 2)


def test_the_mean_has_the_constant_loss_of_a_regression() -> None:
    data = _regression()
    targets = MEAN_SQUARED_ERROR.targets(data.train_y, torch.float64)
    mean = torch.tensor(data.train_y, dtype=torch.float64).mean(dim=0).view(1, 2, 1).expand(1, 2, 20).clone()
    assert float(MEAN_SQUARED_ERROR.value_and_gradient(mean, targets)[0]) == pytest.approx(
        data.constant_loss, rel=1e-12
    )


@pytest.mark.parametrize("name", [name for name, record in DATASETS.items() if record.is_regression])
def test_the_best_constant_of_a_standardized_regression_has_squared_error_1(name: str) -> None:
    data = load(name)
    assert loss_of(data) is MEAN_SQUARED_ERROR
    targets = MEAN_SQUARED_ERROR.targets(data.train_y, torch.float64)
    best = torch.tensor(data.constant_outputs).view(1, -1, 1).expand(1, -1, len(data.train_y)).clone()
    value = float(MEAN_SQUARED_ERROR.value_and_gradient(best, targets)[0])
    assert value == pytest.approx(data.constant_loss, rel=1e-12)
    assert value == pytest.approx(1, rel=1e-6)


def test_classes_are_learned_by_cross_entropy_and_values_by_squared_error() -> None:
    assert loss_of(load("moons")) is CROSS_ENTROPY
    assert loss_of(_regression()) is MEAN_SQUARED_ERROR


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_are_shared_by_all_members(dtype: torch.dtype) -> None:
    labels = load("moons").train_y[:6]
    classes = CROSS_ENTROPY.targets(labels, dtype)
    assert classes.dtype == torch.int64
    assert classes.shape == (1, 1, 6)
    assert classes[0, 0].tolist() == labels.tolist()
    data = _regression()
    values = MEAN_SQUARED_ERROR.targets(data.train_y, dtype)
    assert values.dtype == dtype
    assert values.shape == (1, 2, 20)
    assert np.array_equal(values[0].T.numpy(), data.train_y)
