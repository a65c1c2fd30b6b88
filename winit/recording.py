"""A training as a film: what one to three initializers do on the same seeds and batches, frame by frame.

A frame is small and packed: the exact losses and scores, and the rest as fine as an eye can tell. A
network of the usual size takes about 2 KB a frame, the largest one `FRAME_BYTES` at most; a run has at
most about `FRAMES` frames however long it is, so 1 MB usually and never more than 50. Whoever plays
the film keeps the frames; here only the training at its newest frame stays.

No number depends on how a run is cut into slices, nor on where a recording begins: one that begins
at a later frame trains up to it without looking.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from winit import __version__
from winit.datasets import DATASETS, Data
from winit.lenses import TrainKnobs, together
from winit.network import Member, Workspace, seeds_of
from winit.spec import Spec
from winit.statistics import BINS, LayerStatistics
from winit.training import STATUSES, Snapshot, Training, dense_steps, status

Array = NDArray[Any]

FRAMES = 600
"""At most about so many frames of a run: every step early, sparser later."""
FRAME_BYTES = 80_000
"""No frame is larger, whatever the network."""
SURFACE_POINTS = 32
"""Points along each side of the plane over which predictions are shown."""
CURVE_POINTS = 128
BOARD = 48
"""Test digits whose pixels are shown."""
HISTOGRAM_LAYERS = 24
"""At most so many layers, evenly spread, have their histograms recorded."""
NEURON_LAYERS = 6
"""At most so many layers, evenly spread, have their neurons recorded."""
NEURON_WIDTH = 16
"""Neurons are recorded where no layer has more of them, and the data have two features."""
QUANTITIES = ("weights", "activations", "gradients")

_TINY = 1e-300
_UNKNOWN = 255  # a class that is no class


@dataclass(frozen=True)
class Frame:
    """What is recorded at one step, of K = L x seeds members from L initializers.

    What concerns layers and predictions is that of the first seed of each initializer, or for
    predictions the mean of its seeds.
    """

    loss: Array
    """(K,) float64, as in `Snapshot`."""
    train_accuracy: Array
    """(K,) float64"""
    test_accuracy: Array
    """(K,) float64"""
    statuses: Array
    """(K,) uint8, of `STATUSES`, judged by the loss at this step."""
    deviation_log10: Array
    """(L, 3, depth) float32, of weights, activations, gradients; -inf where all are equal."""
    shares: Array
    """(L, 2, depth) uint8: 255 times the share of dead units, and of saturated units and samples."""
    update_ratio_log10: Array
    """(L, depth) float32, as in `LayerStatistics`."""
    ends: Array
    """(L, 3, histogram layers, 2) float32, ends of the histograms."""
    counts: Array
    """(L, 3, histogram layers, BINS) uint8, the fullest bin is 255."""
    predictions: Array
    """Regions: (L, classes - 1, points) uint8, 255 times the probability of classes 1 and up, over the plane. Heat map:
    (L, 1, points) uint8, from minus to plus the largest target. Board, confusion: (L, test samples) uint8, the class,
    255 for none. Curves: (L, CURVE_POINTS) float32. Scatter: (L, test samples) float32."""
    known: Array
    """(L,) uint8, 1 where all predictions are finite."""
    neurons: Array
    """(L, neuron layers, units, points) uint8 over every third point of the plane: 128 is 0, 255 the layer's largest
    size. Empty where neurons are not recorded."""


def pack(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """Return a header and arrays as one buffer.

    Four bytes with the length of the header; the header as JSON, with `arrays`: name to type, shape and place;
    the arrays, each at a multiple of 8 bytes, little-endian.
    """
    places, start = {}, 0
    for name, array in arrays.items():
        places[name] = [array.dtype.name, list(array.shape), start]
        start += -(-array.nbytes // 8) * 8
    text = json.dumps({**header, "arrays": places}, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(4 + len(text)) % 8)
    parts = [len(text).to_bytes(4, "little"), text]
    for array in arrays.values():
        parts += [np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()]
        parts += [b"\0" * (-array.nbytes % 8)]
    return b"".join(parts)


def unpack(packed: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the header and the arrays of a buffer made by `pack`."""
    size = int.from_bytes(packed[:4], "little")
    header = json.loads(packed[4 : 4 + size])
    arrays = {}
    for name, (kind, shape, start) in header.pop("arrays").items():
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(packed, np.dtype(kind), count, 4 + size + start).reshape(shape)
    return header, arrays


def plane(data: Data, points: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Return the two axes (points,) of the plane of two features, and its points (points ** 2, 2), row by row."""
    both = np.concatenate((data.train_x, data.test_x)).astype(np.float64)
    low, high = both.min(axis=0) - 0.3, both.max(axis=0) + 0.3
    first, second = (np.linspace(low[axis], high[axis], points) for axis in (0, 1))
    grid = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    return first, second, grid.astype(np.float32)


def line(data: Data, points: int) -> NDArray[np.float32]:
    """Return inputs (points, 1) of a curve over the one feature, evenly spaced."""
    both = np.concatenate((data.train_x, data.test_x)).astype(np.float64)
    low, high = both.min(), both.max()
    margin = 0.02 * (high - low)
    return np.linspace(low - margin, high + margin, points, dtype=np.float32).reshape(-1, 1)


def nearest(steps: Sequence[int], step: int) -> int:
    """Return the index of the recorded step nearest to a step, the earlier one of two."""
    return min(range(len(steps)), key=lambda index: abs(steps[index] - step))


def evenly(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` indices, evenly spread, both ends included."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


class Recording:
    """A training that makes frames; see the module's first lines.

    `first` is the frame it begins with. Raises `BadInput` where nothing can be trained.
    """

    def __init__(self, spec: Spec, knobs: TrainKnobs, first: int = 0) -> None:
        self.spec = spec
        self.initializers = together(spec.initializer, knobs.beside)
        self.seeds = seeds_of(spec, knobs.seeds)
        self.takes_mean = knobs.shown == "mean"
        self.steps = dense_steps(spec.steps, FRAMES)
        self.made = first
        """Frames before the next one."""
        members = [Member(name, seed, spec.learning_rate) for name in self.initializers for seed in self.seeds]
        self.training = Training(spec, members, every=self.steps[first:], keeps_answers=self._is_of_test_part)
        self.data: Data = self.training.data
        self._heads = [number * len(self.seeds) for number in range(len(self.initializers))]
        self._histogram_layers = evenly(spec.depth, HISTOGRAM_LAYERS)
        has_neurons = max(spec.widths) <= NEURON_WIDTH and self.data.features == 2
        self._neuron_layers = evenly(spec.depth, NEURON_LAYERS) if has_neurons else []
        self._points = self._inputs()
        if first > 0:
            next(self.training)  # every training looks at its start

    @property
    def run(self) -> str:
        """A name that two recordings share where all their numbers are the same."""
        all_that_matters = (__version__, self.spec, self.initializers, self.seeds, self.takes_mean)
        return hashlib.blake2s(repr(all_that_matters).encode(), digest_size=8).hexdigest()

    @property
    def is_finished(self) -> bool:
        return self.made == len(self.steps)

    @property
    def progress(self) -> float:
        """Share of the way to the next frame's step, from the start, 0 to 1."""
        target = self.steps[min(self.made, len(self.steps) - 1)]
        return self.training.step / target if target else 1.0

    def advance(self, most: int, seconds: float, is_enough: Callable[[], bool] = lambda: False) -> list[Frame]:
        """Return the next frames: those of about `seconds` of training, at most `most`; none where one takes longer.

        No further one is begun where it `is_enough`.
        """
        end = time.monotonic() + seconds
        frames: list[Frame] = []
        while len(frames) < most and not self.is_finished:
            if frames and (time.monotonic() >= end or is_enough()):
                break
            if not self.training.reach(end, keep_before=True):
                break
            frames.append(self._frame(next(self.training)))
            self.made += 1
        return frames

    def reach(self, seconds: float) -> bool:
        """Train for about `seconds` towards the next frame's step; return whether it is reached."""
        return self.training.reach(time.monotonic() + seconds, keep_before=True)

    def rest(self) -> None:
        """Let go of memory that is needed only while frames are made: many wait for long, paused or forgotten."""
        self.training.rest()

    def layers(self) -> LayerStatistics:
        """Return what flows through the hidden layers of the first seed of each initializer now."""
        return self.training.measure_layers(self._heads)

    def outputs(self, x: NDArray[np.float32]) -> Tensor:
        """Return what is shown of the predictions for inputs (samples, features): (L, outputs, samples).

        Class probabilities, or predictions of a regression, of the first seed or the mean over seeds.
        """
        ensemble = self.training.ensemble if self.takes_mean else self.training.picked(self._heads)
        return self._answers(ensemble.outputs(torch.tensor(x, dtype=ensemble.dtype).T))

    def _answers(self, outputs: Tensor) -> Tensor:
        answers = torch.softmax(outputs, dim=1) if self.data.is_classification else outputs
        of_each: Tensor = answers.reshape(len(self.initializers), -1, *answers.shape[1:]).nanmean(dim=1)
        return of_each

    def _inputs(self) -> NDArray[np.float32]:
        """Return the inputs (samples, features) for which predictions are recorded."""
        if self._is_of_test_part:
            return self.data.test_x
        return line(self.data, CURVE_POINTS) if self.view == "curves" else plane(self.data, SURFACE_POINTS)[2]

    @property
    def _is_of_test_part(self) -> bool:
        """Whether predictions are recorded for the samples of the test part."""
        return self.view in ("board", "confusion", "scatter")

    @property
    def view(self) -> str:
        """How predictions are shown."""
        return DATASETS[self.spec.dataset].view or ""

    def _frame(self, snapshot: Snapshot) -> Frame:
        layers = self.layers()
        chosen = self._histogram_layers
        spreads = [getattr(layers, name) for name in QUANTITIES]
        counts = np.stack([spread.counts[:, chosen] for spread in spreads], axis=1).astype(np.float64)
        predictions, known, neurons = self._predictions()
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            deviations = np.log10(np.stack([spread.deviation for spread in spreads], axis=1))
            ends = np.stack([np.stack((s.low[:, chosen], s.high[:, chosen]), axis=-1) for s in spreads], axis=1)
            ends = ends.astype(np.float32)
        constant = self.data.constant_loss
        judged = [
            status(*pair[:1], constant, pair[1]) for pair in zip(snapshot.loss, snapshot.diverged_at, strict=True)
        ]
        return Frame(
            snapshot.loss,
            snapshot.train_accuracy,
            snapshot.test_accuracy,
            np.array([STATUSES.index(name) for name in judged], np.uint8),
            deviations.astype(np.float32),
            _bytes(np.stack((layers.dead_fraction, layers.saturated_fraction), axis=1)),
            layers.update_ratio_log10.astype(np.float32),
            ends,
            _bytes(counts / np.maximum(counts.max(axis=-1, keepdims=True), 1)),
            predictions,
            known,
            neurons,
        )

    @torch.inference_mode()
    def _predictions(self) -> tuple[Array, Array, Array]:
        """Return predictions, whether they are known, and neurons, as in `Frame`."""
        lanes = len(self.initializers)
        neurons = np.zeros((lanes, 0, 0, 0), np.uint8)
        if self._neuron_layers:
            heads = self.training.picked(self._heads)
            inputs = torch.tensor(self._points, dtype=heads.dtype).T.expand(lanes, -1, -1)
            workspace = Workspace(heads, inputs.shape[2], is_training=False)
            outputs = workspace.forward(inputs)
            neurons = self._neurons([workspace.activations[layer] for layer in self._neuron_layers])
            answers = self.outputs(self._points) if self.takes_mean else self._answers(outputs)
        elif self._is_of_test_part:  # which was just evaluated
            outputs = self.training.test_outputs()
            answers = self._answers(outputs if self.takes_mean else outputs[self._heads])
        else:
            answers = self.outputs(self._points)
        finite = torch.isfinite(answers).all(dim=2).all(dim=1)
        values = answers.double().numpy()
        known = finite.numpy().astype(np.uint8)
        if self.view == "regions":
            return _bytes(values[:, 1:]), known, neurons
        if self.view == "heat_map":
            return _bytes((values / self._reach_of_targets + 1) / 2), known, neurons
        if self.data.is_classification:
            return np.where(known[:, None], values.argmax(axis=1), _UNKNOWN).astype(np.uint8), known, neurons
        with np.errstate(over="ignore"):
            return values[:, 0].astype(np.float32), known, neurons

    @property
    def _reach_of_targets(self) -> float:
        both = np.concatenate((self.data.train_y, self.data.test_y))
        return float(np.abs(both).max()) or 1.0

    def _neurons(self, activations: Sequence[Tensor]) -> Array:
        """Return activations (L, units, points) of some layers as in `Frame`; layers of fewer units are filled up."""
        lanes, units = len(self.initializers), max(self.spec.widths)
        thinned = range(1, SURFACE_POINTS, 3)
        result = np.full((lanes, len(activations), units, len(thinned) ** 2), 128, np.uint8)
        for number, layer in enumerate(activations):
            plane_of = layer.double().numpy().reshape(lanes, -1, SURFACE_POINTS, SURFACE_POINTS)
            maps = plane_of[:, :, 1::3, 1::3].reshape(lanes, -1, len(thinned) ** 2)
            maps = np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0)
            largest = np.abs(maps).max(axis=(1, 2), keepdims=True)
            result[:, number, : maps.shape[1]] = np.rint(128 + 127 * maps / np.maximum(largest, _TINY))
        return result

    def scene(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what is the same in all frames: a header, and arrays by name."""
        data, spec = self.data, self.spec
        about = {
            "steps": self.steps,
            "initializers": self.initializers,
            "seeds": self.seeds,
            "mean": self.takes_mean,
            "statuses": STATUSES,
            "constant_loss": data.constant_loss,
            "constant_score": data.chance,
            "depth": spec.depth,
            "widths": spec.widths,
            "bins": BINS,
            "histogram_layers": self._histogram_layers,
            "neuron_layers": self._neuron_layers,
            "view": self.view,
            "classes": data.outputs,
            "points": SURFACE_POINTS,
            "targets": 0.0 if data.is_classification else self._reach_of_targets,
        }
        few = slice(data.evaluation_samples)
        targets = np.uint8 if data.is_classification else np.float32
        arrays: dict[str, Array] = {"test_y": data.test_y.astype(targets)}
        if data.features <= 2:
            arrays |= {"train_x": data.train_x[few], "train_y": data.train_y[few].astype(targets)}
            arrays |= {"test_x": data.test_x, "axis": self._points[[0, -1]]}
        if self.view == "board":
            arrays["pixels"] = data.original(data.test_x[:BOARD]).round().astype(np.uint8)
        return about, arrays

    def packet(self, frames: Sequence[Frame]) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the newest frames as a header and arrays for `pack`, with the scene where they begin at the start."""
        first = self.made - len(frames)
        header: dict[str, Any] = {
            "run": self.run,
            "first": first,
            "count": len(frames),
            "total": len(self.steps),
            "at": self.training.step,
            "diverged_at": [-1 if at is None else at for at in self._diverged_at],
        }
        arrays: dict[str, Array] = {}
        if first == 0:
            header["scene"], arrays = self.scene()
        if frames:
            arrays |= {f.name: np.stack([getattr(frame, f.name) for frame in frames]) for f in fields(Frame)}
        return header, arrays

    @property
    def _diverged_at(self) -> tuple[int | None, ...]:
        snapshots = self.training.snapshots
        return snapshots[-1].diverged_at if snapshots else (None,) * len(self.training.members)


def _bytes(shares: Array) -> Array:
    """Return shares, 0 to 1, as whole numbers from 0 to 255; 0 for what is not finite."""
    whole: Array = np.rint(255 * np.clip(np.nan_to_num(shares, nan=0.0, posinf=1.0, neginf=0.0), 0, 1))
    return whole.astype(np.uint8)
