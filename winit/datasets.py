"""The data sets: real tables shipped by scikit-learn, and small tasks generated from fixed seeds.

Features, and the targets of a regression, are standardized by the training part; a column that is
constant there is left at zero. Adding a data set is adding one record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from winit.seeds import generator

Features = NDArray[np.float32]
Targets = NDArray[np.int64] | NDArray[np.float32]

View = Literal["regions", "board", "confusion", "curves", "heat_map", "scatter"]
"""How predictions are shown.

Classes: their regions in the plane, a board of digits, or a table of true and predicted classes.
Regressions: curves over one feature, a heat map over two, or predictions against targets.
"""

EVALUATION_LIMIT = 512
"""The curves of a run are measured on this many training samples; its end on all of them."""


@dataclass(frozen=True)
class Measure:
    """How well outputs agree with targets, as one number: at most 1, and more is better."""

    label: str
    name: str
    """For the columns of a file."""
    rough_format: str
    fine_format: str
    points: float
    """What one point of a difference is."""
    points_label: str
    constant_label: str
    """What the best constant predictor is called."""
    constant_answer: str
    """What the best constant predictor does, in words."""
    floor: float
    """Lowest value that a figure must show; further down a run is no worse in any way that matters."""

    def rough(self, value: float) -> str:
        """Return a value as it stands in a sentence."""
        return f"{value:{self.rough_format}}".replace("-", "−")

    def fine(self, value: float) -> str:
        """Return a value with one more digit."""
        return f"{value:{self.fine_format}}".replace("-", "−")


ACCURACY = Measure(
    "accuracy", "accuracy", ".0%", ".1%", 0.01, " points", "chance", "guessing the class frequencies", 0.0
)
"""Share of the samples whose largest output is that of their class."""
R_SQUARED = Measure("R²", "r_squared", "z.2f", "z.3f", 1.0, "", "the mean", "predicting the mean", -1.0)
"""1 - mean squared error / variance of the targets of the same part."""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, split and standardized. Each is equal to itself only."""

    train_x: Features
    """(samples, features)"""
    train_y: Targets
    """(samples,) class numbers, or (samples, outputs) targets of a regression, standardized."""
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
    def evaluation_samples(self) -> int:
        """How many training samples the curves of a run are measured on."""
        return min(EVALUATION_LIMIT, len(self.train_x))

    @property
    def is_classification(self) -> bool:
        return self.train_y.ndim == 1

    @property
    def measure(self) -> Measure:
        return ACCURACY if self.is_classification else R_SQUARED

    @property
    def score_label(self) -> str:
        """What the score of a run is called: accuracy, or R²."""
        return self.measure.label

    @property
    def chance(self) -> float:
        """Score of a run that learned nothing: accuracy of the training part's most frequent class, or an R² of 0."""
        if not self.is_classification:
            return 0.0
        return float(np.bincount(self.train_y.astype(np.int64)).max() / len(self.train_y))

    @property
    def constant_loss(self) -> float:
        """Loss of the best constant predictor on the training part: the yardstick of every status.

        Classes: the entropy of their frequencies, in nats. Regression: the mean variance of the targets, 1 where
        they are standardized.
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
    """Number of classes, or of regression targets; 0 where there are no labels."""
    build: Callable[[], tuple[NDArray[np.float64], NDArray[np.int64] | NDArray[np.float64]]] | None
    """All samples (samples, features) and their labels: classes (samples,), or regression targets
    (samples,) or (samples, outputs). None where there are no labels."""
    test_size: int = 0
    view: View | None = None
    is_regression: bool = False
    class_names: tuple[str, ...] = ()
    """Names of the classes; their numbers where there are none."""

    @property
    def has_labels(self) -> bool:
        """Whether there is something to learn: classes, or targets of a regression."""
        return self.build is not None

    @property
    def measure(self) -> Measure:
        return R_SQUARED if self.is_regression else ACCURACY


def _sklearn() -> Any:
    """Return `sklearn.datasets`: with scipy.stats and pandas it takes more than a second, for who asks for points."""
    from sklearn import datasets

    return datasets


def _file(name: str, **reading: Any) -> NDArray[np.float64]:
    """Return a table of numbers that scikit-learn ships, (samples, columns), without importing scikit-learn."""
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("scikit-learn, whose tables are used, is not installed", name="sklearn")
    table: NDArray[np.float64] = np.loadtxt(
        Path(package.submodule_search_locations[0], "datasets", "data", name), ndmin=2, **reading
    )
    return table


def _labelled(name: str, **reading: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return features and classes of a table whose last column is the class."""
    table = _file(name, delimiter=",", **reading)
    return table[:, :-1], table[:, -1].astype(np.int64)


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


def _wave(samples: int, noise: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """y = sin(2 pi x) + noise N(0, 1), x uniform over [-1, 1]: two full periods."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (samples, 1))
    return x, np.sin(2 * np.pi * x) + noise * rng.standard_normal(x.shape)


def _hills(samples: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Three hills and three hollows: MATLAB's `peaks` over [-3, 3] x [-3, 3], points uniform."""
    points = np.random.default_rng(seed).uniform(-3, 3, (samples, 2))
    x, y = points.T
    return points, (
        3 * (1 - x) ** 2 * np.exp(-(x**2) - (y + 1) ** 2)
        - 10 * (x / 5 - x**3 - y**5) * np.exp(-(x**2) - y**2)
        - np.exp(-((x + 1) ** 2) - y**2) / 3
    )


_SKLEARN = "scikit-learn, sklearn.datasets"
_RECORDS = (
    Dataset(
        "digits",
        "digits",
        "1,797 handwritten digits, 8 x 8 pixels, ten classes",
        f"{_SKLEARN}.load_digits (UCI Optical Recognition of Handwritten Digits, test part)",
        64,
        10,
        lambda: _labelled("digits.csv.gz"),
        360,
        "board",
    ),
    Dataset(
        "moons",
        "two moons",
        "1,000 points in two interleaved half circles",
        f"{_SKLEARN}.make_moons, noise 0.15",
        2,
        2,
        lambda: _sklearn().make_moons(1000, noise=0.15, random_state=0),
        200,
        "regions",
    ),
    Dataset(
        "circles",
        "circles",
        "1,000 points on two concentric circles",
        f"{_SKLEARN}.make_circles, noise 0.08",
        2,
        2,
        lambda: _sklearn().make_circles(1000, noise=0.08, factor=0.5, random_state=0),
        200,
        "regions",
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
        "regions",
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
        "regions",
    ),
    Dataset(
        "blobs",
        "blobs",
        "1,000 points in three Gaussian clouds",
        f"{_SKLEARN}.make_blobs",
        2,
        3,
        lambda: _sklearn().make_blobs(1000, centers=3, cluster_std=1.5, random_state=3),
        200,
        "regions",
    ),
    Dataset(
        "wine",
        "wine",
        "178 wines of three cultivars, 13 chemical measurements",
        f"{_SKLEARN}.load_wine (UCI Wine)",
        13,
        3,
        lambda: _labelled("wine_data.csv", skiprows=1),
        36,
        "confusion",
        class_names=("cultivar 1", "cultivar 2", "cultivar 3"),
    ),
    Dataset(
        "breast_cancer",
        "breast cancer",
        "569 breast tumours, 30 measurements of their cell nuclei, malignant or benign",
        f"{_SKLEARN}.load_breast_cancer (UCI Breast Cancer Wisconsin, Diagnostic)",
        30,
        2,
        lambda: _labelled("breast_cancer.csv", skiprows=1),
        114,
        "confusion",
        class_names=("malignant", "benign"),
    ),
    Dataset(
        "wave",
        "wave",
        "500 points on two periods of a sine, with noise of standard deviation 0.1: a regression in one dimension",
        "generated, y = sin(2 pi x) + N(0, 0.1²)",
        1,
        1,
        lambda: _wave(500, 0.1, 0),
        100,
        "curves",
        is_regression=True,
    ),
    Dataset(
        "hills",
        "hills",
        "1,000 points on a smooth surface of hills and hollows: a regression in two dimensions",
        "generated, the function peaks of MATLAB",
        2,
        1,
        lambda: _hills(1000, 0),
        200,
        "heat_map",
        is_regression=True,
    ),
    Dataset(
        "diabetes",
        "diabetes",
        "442 patients, ten measurements, progression of their disease after a year: a regression",
        f"{_SKLEARN}.load_diabetes (Efron et al. 2004, Least Angle Regression)",
        10,
        1,
        lambda: (_file("diabetes_data_raw.csv.gz"), _file("diabetes_target.csv.gz")[:, 0]),
        88,
        "scatter",
        is_regression=True,
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
    train, test = _split(len(y) if record.is_regression else y, record.test_size)
    train_x, test_x, train_y, test_y = x[train], x[test], y[train], y[test]
    (inputs, test_inputs), mean, scale = _standardized(train_x, test_x)
    labels: tuple[Targets, Targets]
    if record.is_regression:
        labels, _, _ = _standardized(*(part.reshape(-1, record.outputs).astype(float) for part in (train_y, test_y)))
    else:
        labels = train_y.astype(np.int64), test_y.astype(np.int64)
    for part in (inputs, test_inputs, *labels):
        part.setflags(write=False)
    return Data(inputs, labels[0], test_inputs, labels[1], record.outputs, mean, scale)


_SPLIT = 1
"""The seed of every split: it keeps each pixel that varies at all varying in the training part of digits."""


def _split(samples: int | NDArray[Any], test_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sample numbers of the training and of the test part, at random; given classes, of each its share.

    They are those of `sklearn.model_selection.train_test_split(..., stratify=classes)`, whose import takes longer
    than many a training.
    """
    rng = np.random.RandomState(_SPLIT)
    if isinstance(samples, int):
        order = rng.permutation(samples)
        return order[test_size:], order[:test_size]
    of_class = [np.flatnonzero(samples == one) for one in np.unique(samples)]
    counts = np.array([len(each) for each in of_class])
    in_train = _shares(counts, len(samples) - test_size, rng)
    in_test = _shares(counts - in_train, test_size, rng)
    parts: list[list[NDArray[np.int64]]] = [[], []]
    for each, first, second in zip(of_class, in_train, in_test, strict=True):
        shuffled = each[rng.permutation(len(each))]
        parts[0].append(shuffled[:first])
        parts[1].append(shuffled[first : first + second])
    train, test = (rng.permutation(np.concatenate(part)) for part in parts)
    return train, test


def _shares(counts: NDArray[np.int64], draws: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Return how many of so many draws fall to each class, by its count: rounded down, then by largest remainder.

    Of equal remainders chance chooses.
    """
    exact = counts / counts.sum() * draws
    shares = np.floor(exact)
    remainders = exact - shares
    for remainder in np.unique(remainders)[::-1]:
        missing = int(draws - shares.sum())
        if missing:
            equal = np.flatnonzero(remainders == remainder)
            shares[rng.choice(equal, size=min(len(equal), missing), replace=False)] += 1
    whole: NDArray[np.int64] = shares.astype(np.int64)
    return whole


def _standardized(
    train: NDArray[np.float64], test: NDArray[np.float64]
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64], NDArray[np.float64]]:
    """Return both parts (samples, columns) standardized by the first, with its mean and scale (columns,)."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    constant = np.ptp(train, axis=0) == 0  # the deviation of equal values may round to something else than 0
    scale = np.where(constant, 1.0, deviation)
    first, second = (np.where(constant, 0.0, (part - mean) / scale).astype(np.float32) for part in (train, test))
    return (first, second), mean, scale


def gaussian(features: int, samples: int, seed: int) -> Features:
    """Return N(0, 1) inputs, (samples, features)."""
    import torch

    return torch.empty(samples, features).normal_(generator=generator(seed, "inputs")).numpy()


def batch(name: str, features: int, samples: int, seed: int) -> Features:
    """Return what a network sees first: the first training samples, or N(0, 1) inputs where there are no labels."""
    if DATASETS[name].has_labels:
        return load(name).train_x[:samples]
    return gaussian(features, samples, seed)
