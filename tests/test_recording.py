"""Frames of a training: the numbers of the training itself, however it is cut; packed small, and bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from winit.datasets import DATASETS, load
from winit.fields import BadInput
from winit.lenses import TrainKnobs
from winit.network import Member
from winit.recording import (
    BOARD,
    FRAME_BYTES,
    FRAMES,
    HISTOGRAM_LAYERS,
    NEURON_LAYERS,
    SURFACE_POINTS,
    Frame,
    Recording,
    evenly,
    line,
    nearest,
    pack,
    plane,
    unpack,
)
from winit.spec import Spec
from winit.training import STATUSES, Training, dense_steps, status, train

SMALL = Spec(depth=3, width=8, steps=12, dataset="moons", activation="tanh", learning_rate=0.3)


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Training makes the thread flush denormal numbers, which other tests draw."""
    yield
    torch.set_flush_denormal(False)


def film(spec: Spec, knobs: TrainKnobs | None = None, *, first: int = 0, most: int = 1000) -> list[Frame]:
    """Return all frames of a run."""
    recording, frames = Recording(spec, knobs or TrainKnobs(seeds=2), first), []
    while not recording.is_finished:
        frames += recording.advance(most, 60)
    return frames


def same(one: Sequence[Frame], other: Sequence[Frame]) -> bool:
    """Whether frames are the same, bit for bit."""
    return len(one) == len(other) and all(
        getattr(a, field.name).tobytes() == getattr(b, field.name).tobytes()
        for a, b in zip(one, other, strict=True)
        for field in fields(Frame)
    )


# The codec


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3),
    st.lists(
        st.tuples(
            st.sampled_from(["float64", "float32", "uint8", "int64"]),
            st.lists(st.integers(0, 5), min_size=1, max_size=3),
        ),
        max_size=4,
    ),
)
def test_what_is_packed_comes_out_again(header: dict[str, int], shapes: list[tuple[str, list[int]]]) -> None:
    header.pop("arrays", None)
    rng = np.random.default_rng(0)
    arrays = {str(number): rng.integers(0, 200, shape).astype(kind) for number, (kind, shape) in enumerate(shapes)}
    packed = pack(header, arrays)
    assert len(packed) % 8 == 0
    found, read = unpack(packed)
    assert found == header
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
    start = 4 + int.from_bytes(packed[:4], "little")
    assert start % 8 == 0


def test_numbers_that_are_not_finite_stay_in_arrays_and_out_of_headers() -> None:
    _, read = unpack(pack({}, {"a": np.array([np.nan, np.inf, 1e-300])}))
    assert np.isnan(read["a"][0])
    assert read["a"][1:].tolist() == [np.inf, 1e-300]
    with pytest.raises(ValueError, match="JSON"):
        pack({"a": float("nan")}, {})


# The numbers


@pytest.mark.parametrize(
    "spec", [SMALL, Spec(depth=2, width=16, steps=5), SMALL.replace(normalization="batch")], ids=str
)
def test_losses_and_scores_are_those_of_the_training(spec: Spec) -> None:
    frames = film(spec, TrainKnobs(seeds=3))
    run = train(spec, 3, every=dense_steps(spec.steps), layer_statistics=True)
    constant = load(spec.dataset).constant_loss
    for frame, snapshot in zip(frames, run, strict=True):
        for name in ("loss", "train_accuracy", "test_accuracy"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(snapshot, name))
        judged = [status(*each) for each in zip(snapshot.loss, [constant] * 3, snapshot.diverged_at, strict=True)]
        assert [STATUSES[number] for number in frame.statuses] == judged
        layers = snapshot.layers
        assert layers is not None
        for number, spread in enumerate((layers.weights, layers.activations, layers.gradients)):
            np.testing.assert_allclose(10 ** frame.deviation_log10[0, number], spread.deviation[0], rtol=1e-5)
            np.testing.assert_allclose(frame.ends[0, number, :, 0], spread.low[0], rtol=1e-5)
            np.testing.assert_allclose(frame.ends[0, number, :, 1], spread.high[0], rtol=1e-5)
            counts = spread.counts[0].astype(float)
            np.testing.assert_allclose(
                frame.counts[0, number] / 255, counts / counts.max(axis=1, keepdims=True), atol=0.5 / 255 + 1e-12
            )
        np.testing.assert_allclose(frame.update_ratio_log10[0], layers.update_ratio_log10[0], rtol=1e-5)
        np.testing.assert_allclose(frame.shares[0, 0] / 255, layers.dead_fraction[0], atol=0.5 / 255 + 1e-12)
        np.testing.assert_allclose(frame.shares[0, 1] / 255, layers.saturated_fraction[0], atol=0.5 / 255 + 1e-12)


@pytest.mark.parametrize("most", [1, 5])
def test_no_number_depends_on_the_slices(most: int) -> None:
    assert same(film(SMALL), film(SMALL, most=most))


def test_slices_of_no_time_arrive_in_the_end() -> None:
    """Frames are far apart in a long run, or at the beginning of a recording: one of them takes many slices."""
    spec = SMALL.replace(steps=400)
    recording, slices = Recording(spec, TrainKnobs(seeds=1), first=400), 0
    while not (frames := recording.advance(1, 0.002)):
        slices += 1
        assert 0 < recording.training.step < 400
        assert 0 < recording.progress < 1
    assert slices > 3
    assert recording.is_finished
    np.testing.assert_array_equal(frames[0].loss, list(train(spec, 1, every=[400]))[-1].loss)


@pytest.mark.parametrize("first", [1, 7, 12])
def test_a_recording_may_begin_at_any_frame(first: int) -> None:
    assert same(film(SMALL, first=first), film(SMALL)[first:])


def test_who_learns_beside_changes_nothing() -> None:
    alone = film(SMALL, TrainKnobs(seeds=2))
    other = film(SMALL.replace(initializer="zeros"), TrainKnobs(seeds=2))
    together = film(SMALL, TrainKnobs(seeds=2, beside=("zeros",)))
    for one, two, both in zip(alone, other, together, strict=True):
        for name in ("loss", "train_accuracy", "test_accuracy", "statuses"):
            np.testing.assert_array_equal(getattr(both, name), [*getattr(one, name), *getattr(two, name)])
        for name in ("deviation_log10", "predictions", "neurons", "counts"):
            np.testing.assert_array_equal(getattr(both, name), np.concatenate([getattr(one, name), getattr(two, name)]))


def state(spec: Spec, seeds: int, steps: int) -> Training:
    """Return a plain training after some steps."""
    run = train(spec, seeds, every=[steps])
    next(run), next(run)
    return run


@pytest.mark.parametrize("shown", ["first", "mean"])
@pytest.mark.parametrize("dataset", [name for name, record in DATASETS.items() if record.has_labels])
def test_predictions_are_those_of_the_networks(dataset: str, shown: str) -> None:
    spec = SMALL.replace(dataset=dataset, steps=3)
    frame = film(spec, TrainKnobs(seeds=3, shown=shown))[-1]
    run, data, view = state(spec, 3, 3), load(dataset), DATASETS[dataset].view
    used = slice(None) if shown == "mean" else slice(1)
    x = plane(data, SURFACE_POINTS)[2] if view in ("regions", "heat_map") else data.test_x
    found = frame.predictions[0]
    assert frame.known.tolist() == [1]
    if view in ("board", "confusion"):
        expected = run.probabilities(x)[used].mean(axis=0).argmax(axis=1)
        assert (found == expected).mean() > 0.99
    elif view == "regions":
        expected = run.probabilities(x)[used].mean(axis=0)[:, 1:].T
        np.testing.assert_allclose(found / 255, expected, atol=0.5 / 255 + 1e-4)
    elif view == "heat_map":
        largest = np.abs(np.concatenate((data.train_y, data.test_y))).max()
        expected = np.clip(run.predictions(x)[used].mean(axis=0), -largest, largest)
        np.testing.assert_allclose((found[0] / 127.5 - 1) * largest, expected, atol=largest / 200)
    else:
        x = line(data, len(found)) if view == "curves" else x
        np.testing.assert_allclose(found, run.predictions(x)[used].mean(axis=0), rtol=1e-4, atol=1e-4)


def test_neurons_are_those_of_the_first_network() -> None:
    spec = SMALL.replace(initializer="glorot_normal")
    frame = film(spec.replace(steps=1), TrainKnobs(seeds=2))[0]
    grid = plane(load("moons"), SURFACE_POINTS)[2].reshape(SURFACE_POINTS, SURFACE_POINTS, 2)[1::3, 1::3].reshape(-1, 2)
    ensemble = train(spec, 1).ensemble
    h = grid.T.astype(np.float64)
    for layer in range(3):
        h = np.tanh(ensemble.weights[layer][0].double().numpy() @ h + ensemble.biases[layer][0].double().numpy())
        # The largest size is that of the whole layer at the points that are kept.
        expected = 128 + 127 * h / np.abs(h).max()
        np.testing.assert_allclose(frame.neurons[0, layer], expected, atol=0.51)


def test_equal_neurons_are_equal_pictures() -> None:
    """From a constant all neurons of a layer are one, and stay so."""
    frames = film(SMALL.replace(initializer="constant(value=0.1)", activation="sigmoid"), TrainKnobs(seeds=1))
    for frame in frames:
        assert len(np.unique(frame.neurons[0, 1], axis=0)) == 1
    other = film(SMALL, TrainKnobs(seeds=1))[-1]
    assert len(np.unique(other.neurons[0, 1], axis=0)) == 8


@pytest.mark.parametrize("spec", [SMALL.replace(width=17), Spec(depth=2, width=8, steps=1)], ids=["wide", "digits"])
def test_neurons_are_left_out_where_they_cannot_be_seen(spec: Spec) -> None:
    assert film(spec.replace(steps=1))[0].neurons.size == 0


def test_divergence_is_recorded_and_the_rest_goes_on() -> None:
    spec = Spec(depth=10, width=32, steps=20)
    knobs = TrainKnobs(seeds=2, beside=("random_normal(stddev=2)",))
    recording = Recording(spec, knobs)
    frames = recording.advance(100, 60)
    header, arrays = unpack(pack(*recording.packet(frames)))
    assert header["diverged_at"][:2] == [-1, -1]
    assert all(at >= 0 for at in header["diverged_at"][2:])
    assert arrays["known"][-1].tolist() == [1, 0]
    assert set(arrays["predictions"][-1, 1]) == {255}
    assert [STATUSES[number] for number in arrays["statuses"][-1, 2:]] == ["diverged", "diverged"]
    assert np.isfinite(arrays["loss"][:, :2]).all()


# Bounds


EXTREMES = [
    (Spec(depth=200, width=16, dataset="blobs", steps=1), TrainKnobs(seeds=16, beside=("zeros", "glorot_normal"))),
    (Spec(depth=30, width=8, dataset="digits", steps=1), TrainKnobs(seeds=16, beside=("zeros", "glorot_normal"))),
    (Spec(depth=2, width=1024, dataset="hills", steps=1), TrainKnobs(seeds=1)),
]


@pytest.mark.parametrize(("spec", "knobs"), EXTREMES, ids=["deep", "digits", "wide"])
def test_a_frame_is_bounded(spec: Spec, knobs: TrainKnobs) -> None:
    recording = Recording(spec, knobs)
    recording.advance(1, 60)
    frames = recording.advance(1, 60)
    assert len(pack(*recording.packet(frames))) <= FRAME_BYTES
    assert frames[0].counts.shape[2] == min(spec.depth, HISTOGRAM_LAYERS)
    assert frames[0].neurons.shape[1] <= NEURON_LAYERS


def test_the_usual_frame_is_small() -> None:
    recording = Recording(Spec(), TrainKnobs(seeds=8))
    recording.advance(1, 60)
    assert len(pack(*recording.packet(recording.advance(4, 60)))) < 4 * 2400


@pytest.mark.parametrize("steps", [1, 599, 600, 10_000, 100_000])
def test_a_run_has_a_bounded_number_of_frames(steps: int) -> None:
    assert len(dense_steps(steps, FRAMES)) <= FRAMES + 2
    assert FRAME_BYTES * len(dense_steps(100_000, FRAMES)) < 50e6


def test_the_recording_keeps_no_frames() -> None:
    recording = Recording(SMALL, TrainKnobs(seeds=2))
    recording.advance(100, 60)
    held = [value for value in vars(recording).values() if isinstance(value, list | tuple | dict)]
    assert not [item for value in held for item in value if isinstance(item, Frame)]


# The rest


def test_the_scene_comes_with_the_first_frame_only() -> None:
    recording = Recording(Spec(depth=2, width=8, steps=3), TrainKnobs(seeds=2))
    header, arrays = recording.packet(recording.advance(1, 60))
    assert header["scene"]["steps"] == (0, 1, 2, 3)
    assert arrays["pixels"].shape == (BOARD, 64)
    assert arrays["test_y"].tolist() == load("digits").test_y.tolist()
    header, arrays = recording.packet(recording.advance(2, 60))
    assert (header["first"], header["count"], header["total"]) == (1, 2, 4)
    assert "scene" not in header
    assert set(arrays) == {field.name for field in fields(Frame)}


def test_a_run_has_the_name_of_its_numbers() -> None:
    def name(spec: Spec, knobs: TrainKnobs) -> str:
        return Recording(spec, knobs).run

    usual = name(SMALL, TrainKnobs())
    assert usual == name(SMALL, TrainKnobs())
    assert usual == name(SMALL, TrainKnobs(step=5))
    others = [
        (SMALL.replace(seed=1), TrainKnobs()),
        (SMALL.replace(width=9), TrainKnobs()),
        (SMALL, TrainKnobs(seeds=5)),
        (SMALL, TrainKnobs(shown="mean")),
        (SMALL, TrainKnobs(beside=("zeros",))),
    ]
    assert len({usual, *(name(*other) for other in others)}) == 6


def test_the_network_beside_itself_is_one() -> None:
    recording = Recording(SMALL, TrainKnobs(seeds=1, beside=("he_normal", "zeros")))
    assert recording.training.members == (Member("he_normal", 0, 0.3), Member("zeros", 0, 0.3))


def test_data_without_labels_are_refused() -> None:
    with pytest.raises(BadInput, match="gaussian"):
        Recording(SMALL.replace(dataset="gaussian"), TrainKnobs())


@pytest.mark.parametrize(("step", "found"), [(0, 0), (3, 1), (4, 2), (5, 2), (99, 3)])
def test_the_nearest_recorded_step(step: int, found: int) -> None:
    assert nearest((0, 2, 5, 10), step) == found


@pytest.mark.parametrize(("count", "most", "chosen"), [(3, 5, [0, 1, 2]), (10, 4, [0, 3, 6, 9]), (1, 4, [0])])
def test_layers_are_chosen_evenly(count: int, most: int, chosen: list[int]) -> None:
    assert evenly(count, most) == chosen


def test_no_further_frame_is_begun_where_it_is_enough() -> None:
    asked = 0

    def after_two() -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    recording = Recording(Spec(depth=2, width=8, steps=20, dataset="moons"), TrainKnobs(seeds=1))
    assert len(recording.advance(10, 60, after_two)) == 2
    assert len(recording.advance(10, 60, lambda: True)) == 1
    assert recording.made == 3
