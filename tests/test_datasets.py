"""The data sets: shapes, splits, standardization, determinism and the yardstick loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import cKDTree
from sklearn import datasets as sklearn_datasets
from sklearn.model_selection import train_test_split

from winit import datasets
from winit.datasets import ACCURACY, DATASETS, R_SQUARED, Data, Dataset, gaussian, load

Array = NDArray[np.float64]

LABELLED = [name for name, record in DATASETS.items() if record.has_labels]
CLASSES = [name for name in LABELLED if not DATASETS[name].is_regression]
REGRESSIONS = [name for name in LABELLED if DATASETS[name].is_regression]
PLANE = [name for name in CLASSES if DATASETS[name].features == 2]
EACH = pytest.mark.parametrize("name", LABELLED)
EACH_OF_CLASSES = pytest.mark.parametrize("name", CLASSES)
EACH_REGRESSION = pytest.mark.parametrize("name", REGRESSIONS)
SIZES = {
    "digits": (1437, 360),
    "wine": (142, 36),
    "breast_cancer": (455, 114),
    "wave": (400, 100),
    "hills": (800, 200),
    "diabetes": (354, 88),
    **dict.fromkeys(PLANE, (800, 200)),
}
PARTS = ("train_x", "train_y", "test_x", "test_y")


def _everything(data: Data) -> NDArray[np.float32]:
    return np.concatenate([data.train_x, data.test_x])


def test_the_catalogue_in_order() -> None:
    classes = ["digits", "moons", "circles", "spirals", "xor", "blobs", "wine", "breast_cancer"]
    regressions = ["wave", "hills", "diabetes"]
    assert list(DATASETS) == [*classes, *regressions, "gaussian"]
    assert (classes, regressions) == (CLASSES, REGRESSIONS)
    assert {name: record.name for name, record in DATASETS.items()} == {name: name for name in DATASETS}
    with pytest.raises(ValueError, match="twice"):
        datasets._catalogue((DATASETS["moons"], DATASETS["moons"]))
    for record in DATASETS.values():
        assert record.label
        assert record.description
        assert record.source


@EACH
def test_shapes_and_types_are_as_declared(name: str) -> None:
    record, data = DATASETS[name], load(name)
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert x.shape == (len(y), record.features)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
        if record.is_regression:
            assert y.shape == (len(x), record.outputs)
            assert y.dtype == np.float32
            assert np.isfinite(y).all()
        else:
            assert y.shape == (len(x),)
            assert y.dtype == np.int64
            assert set(y.tolist()) == set(range(record.outputs))
    assert data.features == record.features
    assert data.outputs == record.outputs
    assert data.is_classification is not record.is_regression
    assert (len(data.train_x), len(data.test_x)) == SIZES[name]
    assert data.evaluation_samples == min(512, SIZES[name][0])
    assert len(data.test_x) == record.test_size


@EACH
def test_what_is_shown_fits_the_data(name: str) -> None:
    record = DATASETS[name]
    needs = {
        "regions": (record.features == 2, False),
        "board": (name == "digits", False),
        "confusion": (True, False),
        "curves": (record.features == 1, True),
        "heat_map": (record.features == 2, True),
        "scatter": (True, True),
    }
    assert record.view is not None
    assert needs[record.view] == (True, record.is_regression)
    assert len(record.class_names) in ((0,) if record.is_regression else (0, record.outputs))
    assert len(set(record.class_names)) == len(record.class_names)


@EACH
def test_what_a_score_is(name: str) -> None:
    record, data = DATASETS[name], load(name)
    assert record.measure is data.measure is (R_SQUARED if record.is_regression else ACCURACY)
    assert data.score_label == ("R²" if record.is_regression else "accuracy")


@pytest.mark.parametrize(
    ("value", "rough", "fine"), [(0.8312, "0.83", "0.831"), (-0.0004, "0.00", "0.000"), (-1.5, "−1.50", "−1.500")]
)
def test_r_squared_is_a_number(value: float, rough: str, fine: str) -> None:
    assert (R_SQUARED.rough(value), R_SQUARED.fine(value)) == (rough, fine)


def test_accuracy_is_in_percent() -> None:
    assert (ACCURACY.rough(0.9567), ACCURACY.fine(0.9567)) == ("96%", "95.7%")


@EACH
def test_the_parts_share_no_sample(name: str) -> None:
    """Unless the table itself has a row twice: as many as there are in the whole of it."""
    record, data = DATASETS[name], load(name)
    assert record.build is not None
    x, _ = record.build()
    assert len(data.train_x) + len(data.test_x) == len(x)
    assert len(np.unique(_everything(data), axis=0)) == len(np.unique(x, axis=0)) == len(x)


def test_digits() -> None:
    data = load("digits")
    silent = ~data.train_x.any(axis=0)
    assert silent.sum() == 3
    # The same three never vary in the whole table, so that the split hides no pixel.
    pixels = sklearn_datasets.load_digits().data
    np.testing.assert_array_equal(np.flatnonzero(silent), np.flatnonzero(pixels.std(axis=0) == 0))
    assert not data.test_x[:, silent].any()


@pytest.mark.parametrize("name", PLANE)
def test_tasks_in_the_plane_have_a_thousand_points(name: str) -> None:
    assert sum(SIZES[name]) == len(load(name).train_x) + len(load(name).test_x) == 1000


@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer", "diabetes"])
def test_tables_are_those_of_scikit_learn(name: str) -> None:
    record = DATASETS[name]
    assert record.build is not None
    x, y = record.build()
    options = {"scaled": False} if name == "diabetes" else {}
    reference_x, reference_y = getattr(sklearn_datasets, f"load_{name}")(return_X_y=True, **options)
    np.testing.assert_array_equal(x, reference_x)
    np.testing.assert_array_equal(y, reference_y)


def test_classes_are_named_as_in_scikit_learn() -> None:
    assert DATASETS["breast_cancer"].class_names == tuple(sklearn_datasets.load_breast_cancer().target_names)


def _parts(size: int, test_size: int, classes: NDArray[np.int64] | None) -> list[list[int]]:
    """Return the sample numbers of scikit-learn's split."""
    split = train_test_split(np.arange(size), test_size=test_size, random_state=1, stratify=classes)
    return [part.tolist() for part in split]


@EACH
def test_a_data_set_is_split_as_by_scikit_learn(name: str) -> None:
    record, data = DATASETS[name], load(name)
    assert record.build is not None
    _, y = record.build()
    train, test = _parts(len(y), record.test_size, None if record.is_regression else np.asarray(y, dtype=np.int64))
    if record.is_regression:
        y = np.ravel((y - y[train].mean()) / y[train].std())
        np.testing.assert_allclose(data.train_y[:, 0], y[train], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(data.test_y[:, 0], y[test], rtol=1e-5, atol=1e-6)
    else:
        assert data.train_y.tolist() == y[train].tolist()
        assert data.test_y.tolist() == y[test].tolist()


@given(counts=st.lists(st.integers(2, 12), min_size=2, max_size=6), data=st.data())
def test_any_classes_are_split_as_by_scikit_learn(counts: list[int], data: st.DataObject) -> None:
    total = sum(counts)
    classes = np.array(data.draw(st.permutations([one for one, count in enumerate(counts) for _ in range(count)])))
    test_size = data.draw(st.integers(len(counts), total - len(counts)))
    found = datasets._split(classes, test_size)
    assert [part.tolist() for part in found] == _parts(total, test_size, classes)


def test_without_scikit_learn_a_table_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="scikit-learn"):
        datasets._file("digits.csv.gz")


@EACH
def test_features_are_standardized_by_the_training_part(name: str) -> None:
    data = load(name)
    train = data.train_x.astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    varying = train.any(axis=0)
    np.testing.assert_allclose(train.std(axis=0)[varying], 1, atol=1e-6)
    assert varying.sum() == (61 if name == "digits" else DATASETS[name].features)
    # The test part goes through the same map: its moments are near, not exact.
    test = data.test_x.astype(np.float64)[:, varying]
    assert np.abs(test.mean(axis=0)).max() > 1e-4
    assert np.abs(np.median(test.std(axis=0)) - 1) < 0.2


@EACH_REGRESSION
def test_targets_are_standardized_by_the_training_part(name: str) -> None:
    data = load(name)
    train, test = data.train_y.astype(np.float64), data.test_y.astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-6)
    assert np.abs(test.mean(axis=0)).max() > 1e-4
    assert np.abs(test.std(axis=0) - 1).max() < 0.2


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1 / 3])
def test_a_column_that_is_constant_in_the_training_part_is_left_at_zero(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal values whose deviation rounds to something else than 0 too; what varies later does not explode."""
    varying = np.random.default_rng(0).normal(5, 3, 30)
    x = np.stack([varying, np.full(30, value)], axis=1)
    y = np.stack([np.full(30, value), 2 * varying], axis=1)
    record = Dataset("tiny", "tiny", "tiny", "here", 2, 2, lambda: (x, y), 10, "scatter", is_regression=True)
    monkeypatch.setattr(datasets, "DATASETS", {"tiny": record})
    data = load.__wrapped__("tiny")
    for part in (data.train_x[:, 1], data.test_x[:, 1], data.train_y[:, 0], data.test_y[:, 0]):
        assert not part.any()
    np.testing.assert_allclose(data.train_x[:, 0], data.train_y[:, 1], atol=1e-6)
    assert data.constant_loss == pytest.approx(0.5, rel=1e-6)
    np.testing.assert_allclose(data.original(data.test_x)[:, 1], value)


@EACH
def test_samples_are_those_of_the_source(name: str) -> None:
    """But for an affine map of each column, the two parts together are the table, each sample with its label."""
    record, data = DATASETS[name], load(name)
    assert record.build is not None
    x, y = record.build()

    def comparable(values: Array) -> Array:
        deviation = values.std(axis=0)
        return (values - values.mean(axis=0)) / np.where(deviation == 0, 1, deviation)

    distance, found = cKDTree(comparable(x)).query(comparable(_everything(data).astype(np.float64)))
    assert distance.max() < 1e-4
    assert len(set(found.tolist())) == len(x)
    labels = np.concatenate([data.train_y, data.test_y])
    if record.is_regression:
        labels = labels.astype(np.float64)
        np.testing.assert_allclose(comparable(y.reshape(labels.shape)[found]), comparable(labels), atol=1e-5)
    else:
        np.testing.assert_array_equal(y[found], labels)
    np.testing.assert_allclose(data.original(_everything(data)), x[found], rtol=1e-5, atol=1e-3)


@EACH_OF_CLASSES
def test_classes_are_stratified(name: str) -> None:
    data = load(name)
    train, test = (np.bincount(y, minlength=data.outputs) / len(y) for y in (data.train_y, data.test_y))
    np.testing.assert_allclose(train, test, atol=1 / len(data.test_y))


@pytest.mark.parametrize("name", ["digits", *PLANE])
def test_classes_are_balanced(name: str) -> None:
    data = load(name)
    for y in (data.train_y, data.test_y):
        shares = np.bincount(y, minlength=data.outputs) / len(y)
        # Digits are counted, not made; the classes of xor are drawn: five standard errors.
        slack = {"digits": 0.01, "xor": 5 * 0.5 / math.sqrt(1000)}.get(name, 1 / len(data.test_y))
        np.testing.assert_allclose(shares, 1 / data.outputs, atol=slack)
    assert data.constant_loss == pytest.approx(math.log(data.outputs), abs=0.01)


@EACH
def test_loading_is_deterministic_and_cached(name: str) -> None:
    first = load(name)
    assert load(name) is first
    np.random.seed(1)
    torch.manual_seed(1)
    again = load.__wrapped__(name)
    assert again is not first
    for field in PARTS:
        np.testing.assert_array_equal(getattr(again, field), getattr(first, field))


@EACH
def test_a_cached_table_cannot_be_written_to(name: str) -> None:
    data = load(name)
    for part in (data.train_x, data.test_x, data.train_y, data.test_y):
        assert not part.flags.writeable


@EACH_OF_CLASSES
def test_constant_loss_is_that_of_the_best_constant_predictor(name: str) -> None:
    data = load(name)
    frequencies = np.bincount(data.train_y) / len(data.train_y)
    logits = torch.tensor(np.log(frequencies)).expand(len(data.train_y), -1)
    direct = torch.nn.functional.cross_entropy(logits, torch.tensor(data.train_y))
    assert data.constant_loss == pytest.approx(float(direct), rel=1e-12)
    assert data.constant_loss <= math.log(data.outputs)
    assert data.chance == pytest.approx(frequencies.max())
    np.testing.assert_allclose(data.constant_outputs, np.log(frequencies), rtol=1e-12)
    # No other constant does better: it is a minimum over the simplex.
    for shift in range(data.outputs):
        other = logits + 0.1 * torch.nn.functional.one_hot(torch.tensor(shift), data.outputs)
        assert float(torch.nn.functional.cross_entropy(other, torch.tensor(data.train_y))) > data.constant_loss


def _data(y: NDArray[Any], outputs: int) -> Data:
    x = np.zeros((len(y), 1), dtype=np.float32)
    return Data(x, y, x, y, outputs)


def test_constant_loss_of_a_class_that_never_occurs_and_of_a_single_class() -> None:
    assert _data(np.array([0, 0, 2, 2]), 3).constant_loss == pytest.approx(math.log(2), rel=1e-14)
    assert _data(np.array([1, 1, 1]), 3).constant_loss == 0
    assert _data(np.array([0, 0, 0, 1]), 2).constant_loss == pytest.approx(stats.entropy([3, 1]), rel=1e-14)


def test_constant_loss_of_a_regression_is_the_mean_variance() -> None:
    y = np.random.default_rng(0).normal(3.0, [1.0, 5.0], (50, 2)).astype(np.float32)
    data = _data(y, 2)
    assert not data.is_classification
    mean = torch.tensor(y).double().mean(dim=0).expand(50, 2)
    direct = torch.nn.functional.mse_loss(mean, torch.tensor(y).double())
    assert data.constant_loss == pytest.approx(float(direct), rel=1e-12)
    np.testing.assert_allclose(data.constant_outputs, y.mean(axis=0, dtype=np.float64))
    assert data.chance == 0


@EACH_REGRESSION
def test_the_best_constant_of_a_regression_has_loss_1(name: str) -> None:
    data = load(name)
    assert data.constant_loss == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(data.constant_outputs, 0, atol=1e-6)
    assert data.constant_outputs.shape == (data.outputs,)
    assert data.chance == 0
    y = data.train_y.astype(np.float64)
    for shift in (-0.1, 0.1):
        assert float(((y - data.constant_outputs - shift) ** 2).mean()) > data.constant_loss
    # R² of the constant is 0 on the part that it was made from.
    assert 1 - ((y - data.constant_outputs) ** 2).mean() / y.var() == pytest.approx(data.chance, abs=1e-6)


def test_the_geometry_of_the_generated_tasks() -> None:
    points, classes = datasets._xor(1000, 0.05, 0)
    assert (np.abs(points) > 0.05).all()
    assert (np.abs(points) < 1.05).all()
    np.testing.assert_array_equal(classes, np.prod(np.sign(points), axis=1) > 0)

    points, classes = datasets._spirals(1000, 0.0, 0)
    radius = np.hypot(*points.T)
    np.testing.assert_allclose(radius, np.tile(np.arange(500) / 500, 2), atol=1e-12)
    # The arms are half a turn apart: turning one by 180 degrees gives the other.
    np.testing.assert_allclose(points[:500], -points[500:], atol=1e-12)
    np.testing.assert_array_equal(classes, np.repeat([0, 1], 500))
    turns = np.unwrap(np.arctan2(points[1:500, 0], points[1:500, 1]))
    assert (turns[-1] - turns[0]) / (2 * np.pi) == pytest.approx(1.75, rel=0.01)
    noisy, _ = datasets._spirals(1000, 0.04, 0)
    assert 0.03 < np.abs(noisy - points).max() <= 0.04


def test_the_shape_of_the_generated_regressions() -> None:
    x, y = datasets._wave(4000, 0.1, 0)
    assert x.shape == y.shape == (4000, 1)
    assert stats.kstest(x[:, 0], stats.uniform(-1, 2).cdf).pvalue > 1e-5
    assert stats.kstest((y - np.sin(2 * np.pi * x))[:, 0], stats.norm(0, 0.1).cdf).pvalue > 1e-5
    still, clean = datasets._wave(50, 0.0, 0)
    np.testing.assert_allclose(clean, np.sin(2 * np.pi * still))

    points, heights = datasets._hills(4000, 0)
    assert (np.abs(points) < 3).all()
    # MATLAB's documentation: the highest summit is 8.1, near (0, 1.6), the deepest hollow -6.5, near (0.2, -1.6).
    assert heights.max() == pytest.approx(8.106, abs=0.1)
    assert heights.min() == pytest.approx(-6.551, abs=0.1)
    np.testing.assert_allclose(points[heights.argmax()], (-0.01, 1.58), atol=0.15)
    np.testing.assert_allclose(points[heights.argmin()], (0.23, -1.63), atol=0.15)


@EACH_REGRESSION
def test_a_regression_can_be_learned_and_not_by_a_line(name: str) -> None:
    """But for diabetes, where a line is as good as anything, and leaves half of the variance."""
    from sklearn.linear_model import LinearRegression
    from sklearn.neighbors import KNeighborsRegressor

    data = load(name)
    parts = (data.train_x, data.train_y), (data.test_x, data.test_y)
    line = LinearRegression().fit(*parts[0]).score(*parts[1])
    near = KNeighborsRegressor(5).fit(*parts[0]).score(*parts[1])
    if name == "diabetes":
        assert 0.2 < near <= line < 0.6
    else:
        assert line < 0.3
        assert near > 0.9


@pytest.mark.parametrize("name", [name for name in PLANE if name != "blobs"])
def test_no_line_separates_the_tasks_in_the_plane(name: str) -> None:
    from sklearn.linear_model import LogisticRegression

    data = load(name)
    assert LogisticRegression().fit(data.train_x, data.train_y).score(data.train_x, data.train_y) < 0.95


@EACH_OF_CLASSES
def test_neighbours_share_their_class(name: str) -> None:
    """The labels belong to the samples: one nearest neighbour predicts the test part."""
    from sklearn.neighbors import KNeighborsClassifier

    data = load(name)
    assert KNeighborsClassifier(1).fit(data.train_x, data.train_y).score(data.test_x, data.test_y) > 0.9


# Gaussian inputs


def test_gaussian_has_no_labels() -> None:
    record = DATASETS["gaussian"]
    assert not record.has_labels
    assert record.build is None
    assert record.features is None
    assert record.outputs == 0
    with pytest.raises(ValueError, match="gaussian has no labels"):
        load("gaussian")
    with pytest.raises(KeyError):
        load("iris")


def test_gaussian_inputs_are_standard_normal() -> None:
    x = gaussian(50, 2000, 0)
    assert x.shape == (2000, 50)
    assert x.dtype == np.float32
    assert stats.kstest(x.ravel(), "norm", method="asymp").pvalue > 1e-5


def test_gaussian_inputs_follow_from_their_seed_alone() -> None:
    first = gaussian(5, 7, 3)
    torch.manual_seed(9)
    np.testing.assert_array_equal(gaussian(5, 7, 3), first)
    assert (gaussian(5, 7, 4) != first).all()
