"""The textbook's pattern on digits (DESIGN.md, section 6): width 128, batch 64, plain SGD at 0.05, 300 steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from winit.spec import Spec
from winit.training import History, train

SEEDS = 2


@dataclass(frozen=True)
class Cell:
    """One statement: this network ends like that, from every seed."""

    activation: str
    initializer: str
    depth: int
    status: str
    accuracy: float | None = None
    """Train accuracy that is exceeded."""

    def __str__(self) -> str:
        return f"{self.activation}-{self.initializer}-{self.depth}-{self.status}"


CELLS = (
    Cell("tanh", "glorot_normal", 5, "learned", 0.99),
    Cell("tanh", "glorot_normal", 10, "learned", 0.99),
    Cell("tanh", "glorot_normal", 30, "learned", 0.99),
    Cell("tanh", "glorot_uniform", 10, "learned", 0.99),
    Cell("relu", "glorot_normal", 10, "learned", 0.9),
    Cell("relu", "glorot_normal", 30, "stalled"),
    Cell("relu", "glorot_uniform", 30, "stalled"),
    Cell("relu", "he_normal", 10, "learned", 0.99),
    Cell("relu", "he_uniform", 10, "learned", 0.99),
    Cell("relu", "random_normal(stddev=1)", 5, "diverged"),
    Cell("relu", "random_normal(stddev=1)", 10, "diverged"),
    Cell("relu", "random_normal(stddev=1)", 30, "diverged"),
    *(
        Cell(activation, "zeros", depth, "stalled")
        for activation in ("relu", "tanh", "sigmoid")
        for depth in (1, 5, 30)
    ),
    *(Cell("sigmoid", "glorot_normal", depth, "stalled") for depth in (5, 10, 30)),
)
CHEAP = (
    Cell("tanh", "glorot_normal", 5, "learned", 0.99),
    Cell("relu", "he_normal", 10, "learned", 0.99),
    Cell("relu", "random_normal(stddev=1)", 5, "diverged"),
    Cell("relu", "zeros", 5, "stalled"),
    Cell("sigmoid", "glorot_normal", 5, "stalled"),
)


def _trained(cell: Cell, seeds: int) -> History:
    spec = Spec(
        depth=cell.depth,
        width=128,
        activation=cell.activation,
        initializer=cell.initializer,
        dataset="digits",
        batch_size=64,
        optimizer="sgd",
        learning_rate=0.05,
        steps=300,
    )
    training = train(spec, seeds, every=300)
    for _ in training:
        pass
    return training.history()


def _assert_holds(cell: Cell, history: History) -> None:
    assert history.statuses == (cell.status,) * len(history.members)
    if cell.accuracy is not None:
        assert (history.final_train_accuracy > cell.accuracy).all()
    if cell.status == "stalled":
        # ln 10, at chance: nothing has been learned.
        np.testing.assert_allclose(history.final_loss, np.log(10), atol=0.03)
        assert (history.final_train_accuracy < 0.15).all()
    if cell.status == "diverged":
        assert all(step is not None and step <= 3 for step in history.diverged_at)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_pattern_holds(cell: Cell) -> None:
    _assert_holds(cell, _trained(cell, SEEDS))


@pytest.mark.parametrize("cell", CHEAP, ids=str)
def test_the_cheaper_cells_hold(cell: Cell) -> None:
    _assert_holds(cell, _trained(cell, 1))
