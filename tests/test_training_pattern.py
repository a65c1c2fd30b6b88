"""What everybody should see: who learns, who stalls and who diverges, as DESIGN.md, section 6 has it.

Digits, width 128, batches of 64, plain SGD at 0.05, 300 steps, zero biases, one seed per cell.
The two cheapest cells run always, the whole pattern with `-m slow`.
"""

from __future__ import annotations

import numpy as np
import pytest

from winit.spec import Spec
from winit.training import History, train

LEARNED_ACCURACY = 0.99


def _run(depth: int, activation: str, initializer: str) -> History:
    training = train(
        Spec(
            depth=depth,
            width=128,
            activation=activation,
            initializer=initializer,
            dataset="digits",
            batch_size=64,
            optimizer="sgd",
            learning_rate=0.05,
            steps=300,
        ),
        every=300,
    )
    for _ in training:
        pass
    return training.history()


def _assert_ends(history: History, status: str) -> None:
    assert history.is_complete
    assert history.statuses == (status,)


def _assert_has_learned(history: History) -> None:
    _assert_ends(history, "learned")
    assert history.final_train_accuracy[0] > LEARNED_ACCURACY


def _assert_stalls(history: History) -> None:
    _assert_ends(history, "stalled")
    assert history.final_loss[0] == pytest.approx(history.constant_loss, rel=0.01)
    assert history.diverged_at == (None,)


def _assert_diverges(history: History) -> None:
    _assert_ends(history, "diverged")
    assert history.diverged_at != (None,) or history.final_loss[0] > 10 * history.constant_loss


def test_tanh_with_glorot_learns_at_5_layers() -> None:
    _assert_has_learned(_run(5, "tanh", "glorot_normal"))


def test_zeros_stall_at_5_layers() -> None:
    history = _run(5, "relu", "zeros")
    _assert_stalls(history)
    # Only the output biases move: what is predicted is one class for all.
    assert history.final_train_accuracy[0] <= history.chance


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "uniform"])
@pytest.mark.parametrize("depth", [5, 10, 30])
def test_tanh_with_glorot_learns_at_every_depth(depth: int, law: str) -> None:
    _assert_has_learned(_run(depth, "tanh", f"glorot_{law}"))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [5, 10])
@pytest.mark.parametrize("initializer", ["he_normal", "he_uniform", "glorot_normal"])
def test_relu_learns_at_10_layers(initializer: str, depth: int) -> None:
    _assert_ends(_run(depth, "relu", initializer), "learned")


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_relu_with_glorot_stalls_at_30_layers(law: str) -> None:
    history = _run(30, "relu", f"glorot_{law}")
    _assert_stalls(history)
    assert history.final_loss[0] == pytest.approx(np.log(10), abs=2e-3)  # 2.302


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("depth", [5, 10, 30])
def test_zeros_stall_everywhere(depth: int, activation: str) -> None:
    _assert_stalls(_run(depth, activation, "zeros"))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [5, 10])
def test_relu_with_standard_normal_weights_diverges(depth: int) -> None:
    _assert_diverges(_run(depth, "relu", "random_normal(stddev=1)"))


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "uniform"])
@pytest.mark.parametrize("depth", [5, 10])
def test_sigmoid_with_glorot_stalls_from_5_layers_on(depth: int, law: str) -> None:
    _assert_stalls(_run(depth, "sigmoid", f"glorot_{law}"))
