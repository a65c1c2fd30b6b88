"""The data sets: real tables shipped by scikit-learn, and two-dimensional tasks generated from fixed seeds.

Features are standardized by the training part; a feature that is constant there is left at zero.
Adding a data set is adding one record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets as sklearn_datasets
from sklearn.model_selection import train_test_split

from winit.seeds import generator

Features = NDArray[np.float32]
Targets = NDArray[np.int64] | NDArray[np.float32]

EVALUATION_LIMIT = 512
"""The curves of a run are measured on this many training samples; its end on all of them."""


@dataclass(frozen=True)
class Data:
    """A data set, split and standardized."""

    train_x: Features
    """(samples, features)"""
    train_y: Targets
    """(samples,) class numbers, or (samples, outputs) targets of a regression."""
    test_x: Features
    test_y: Targets
    outputs: int
    """Number of classes, or of regression targets."""
    mean: NDArray[np.float64] | float = 0.0
    """(features,) taken away by the standardization."""
    scale: NDArray[np.float64] | float = 1.0
    """(features,) divided by."""

    def original(self, x: Features) -> NDArray[np.float64]:
        """Return standardized features (samples, features) in their own units."""
        return np.asarray(x * self.scale + self.mean)

    @property
    def features(self) -> int:
        return int(self.train_x.shape[1])

    @property
    def is_classification(self) -> bool:
        return self.train_y.ndim == 1

    @property
    def chance(self) -> float:
        """Accuracy of always answering the most frequent class of the training part; 0 for a regression."""
        if not self.is_classification:
            return 0.0
        return float(np.bincount(self.train_y.astype(np.int64)).max() / len(self.train_y))

    @property
    def constant_loss(self) -> float:
        """Loss of the best constant predictor on the training part: the yardstick of every status.

        Classes: the entropy of their frequencies, in nats. Regression: the mean variance of the targets.
        """
        if self.is_classification:
            present = self._frequencies[self._frequencies > 0]
            return float(-(present * np.log(present)).sum())
        return float(np.var(self.train_y.astype(np.float64), axis=0).mean())

    @property
    def constant_outputs(self) -> NDArray[np.float64]:
        """Outputs (outputs,) of the best constant predictor: log class frequencies, or the mean of the targets."""
        if self.is_classification:
            return np.log(np.maximum(self._frequencies, 1 / (2 * len(self.train_y))))
        return np.asarray(self.train_y.astype(np.float64).mean(axis=0))

    @property
    def _frequencies(self) -> NDArray[np.float64]:
        return np.bincount(self.train_y.astype(np.int64), minlength=self.outputs) / len(self.train_y)


@dataclass(frozen=True)
class Dataset:
    """A data set of the catalogue."""

    name: str
    label: str
    description: str
    source: str
    features: int | None
    """Number of features; None where it follows the network's width."""
    outputs: int
    """Number of classes; 0 where there are no labels."""
    build: Callable[[], tuple[NDArray[np.float64], NDArray[np.int64]]] | None
    """All samples (samples, features) and their classes; None where there are no labels."""
    test_size: int = 0

    @property
    def has_labels(self) -> bool:
        return self.build is not None


def _spirals(samples: int, noise: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Two interleaved spirals of one and three quarter turns, as in TensorFlow Playground."""
    rng = np.random.default_rng(seed)
    half = samples // 2
    radius = np.tile(np.arange(half) / half, 2)
    classes = np.repeat([0, 1], half)
    angle = 1.75 * 2 * np.pi * radius + np.pi * classes
    points = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    return points + noise * rng.uniform(-1, 1, points.shape), classes


def _xor(samples: int, gap: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points in the four quadrants, a gap along both axes; the class is the sign of the product."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (samples, 2))
    points += gap * np.sign(points)
    return points, (points[:, 0] * points[:, 1] > 0).astype(np.int64)


_SKLEARN = "scikit-learn, sklearn.datasets"
_RECORDS = (
    Dataset(
        "digits",
        "digits",
        "1,797 handwritten digits, 8 x 8 pixels, ten classes",
        f"{_SKLEARN}.load_digits (UCI Optical Recognition of Handwritten Digits, test part)",
        64,
        10,
        lambda: sklearn_datasets.load_digits(return_X_y=True),
        360,
    ),
    Dataset(
        "moons",
        "two moons",
        "1,000 points in two interleaved half circles",
        f"{_SKLEARN}.make_moons, noise 0.15",
        2,
        2,
        lambda: sklearn_datasets.make_moons(1000, noise=0.15, random_state=0),
        200,
    ),
    Dataset(
        "circles",
        "circles",
        "1,000 points on two concentric circles",
        f"{_SKLEARN}.make_circles, noise 0.08",
        2,
        2,
        lambda: sklearn_datasets.make_circles(1000, noise=0.08, factor=0.5, random_state=0),
        200,
    ),
    Dataset(
        "spirals",
        "spirals",
        "1,000 points on two interleaved spirals",
        "generated, after the spiral of TensorFlow Playground",
        2,
        2,
        lambda: _spirals(1000, 0.04, 0),
        200,
    ),
    Dataset(
        "xor",
        "exclusive or",
        "1,000 points in four quadrants, opposite ones of one class",
        "generated",
        2,
        2,
        lambda: _xor(1000, 0.05, 0),
        200,
    ),
    Dataset(
        "blobs",
        "blobs",
        "1,000 points in three Gaussian clouds",
        f"{_SKLEARN}.make_blobs",
        2,
        3,
        lambda: sklearn_datasets.make_blobs(1000, centers=3, cluster_std=1.5, random_state=3),
        200,
    ),
    Dataset(
        "gaussian",
        "Gaussian noise",
        "N(0, 1) inputs as wide as the network, without labels: for signal studies, not for training",
        "generated",
        None,
        0,
        None,
    ),
)


def _catalogue(records: tuple[Dataset, ...]) -> Mapping[str, Dataset]:
    by_name = {record.name: record for record in records}
    if len(by_name) < len(records):
        raise ValueError("a data set name is used twice")
    return MappingProxyType(by_name)


DATASETS: Mapping[str, Dataset] = _catalogue(_RECORDS)
"""The catalogue, by name, in the order in which it is shown."""


@lru_cache(maxsize=len(_RECORDS))
def load(name: str) -> Data:
    """Return a labelled data set, split at random but always alike, standardized.

    Raises `ValueError` for a data set without labels.
    """
    record = DATASETS[name]
    if record.build is None:
        raise ValueError(f"{name} has no labels")
    x, y = record.build()
    # Split 1 keeps every pixel that varies at all varying in the training part of digits.
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=record.test_size, random_state=1, stratify=y)
    mean, deviation = train_x.mean(axis=0), train_x.std(axis=0)
    constant = deviation == 0
    scale = np.where(constant, 1.0, deviation)

    def standardized(part: NDArray[np.float64]) -> Features:
        scaled = np.where(constant, 0.0, (part - mean) / scale).astype(np.float32)
        scaled.setflags(write=False)
        return scaled

    def labels(part: NDArray[np.int64]) -> NDArray[np.int64]:
        whole: NDArray[np.int64] = part.astype(np.int64)
        whole.setflags(write=False)
        return whole

    return Data(
        standardized(train_x),
        labels(train_y),
        standardized(test_x),
        labels(test_y),
        record.outputs,
        mean,
        scale,
    )


def gaussian(features: int, samples: int, seed: int) -> Features:
    """Return N(0, 1) inputs, (samples, features)."""
    import torch

    return torch.empty(samples, features).normal_(generator=generator(seed, "inputs")).numpy()


def batch(name: str, features: int, samples: int, seed: int) -> Features:
    """Return what a network sees first: the first training samples, or N(0, 1) inputs where there are no labels."""
    if DATASETS[name].has_labels:
        return load(name).train_x[:samples]
    return gaussian(features, samples, seed)
