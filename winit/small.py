"""Steps of small networks: few calls for all members together, of NumPy, which take a third of the time of torch's.

A step of a network of some units is forty operations on some hundred numbers: what counts is how long a call takes.
So biases are a column of the weights, whose input is always 1; the weights of all layers are one array, and so are
the activations, that an update and all slopes take two calls each. Which networks step so is decided by their shape
and never by how many they are: a member's numbers do not depend on its company, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from winit.activations import activation
from winit.layers import quiet
from winit.losses import Loss
from winit.network import Ensemble
from winit.spec import Spec

Array = NDArray[Any]

_MOST = 512
"""Units of the widest layer, or features, times samples of a batch: above, the work takes longer than the calls."""


def are_small(spec: Spec, batch_size: int) -> bool:
    """Return whether networks of a spec make their steps here: plain ones, by gradient descent as it stands."""
    is_plain = spec.normalization == "none" and spec.residual == "off"
    is_descent = spec.optimizer == "sgd" and not spec.weight_decay and not spec.clip
    is_known = activation(spec.activation).in_arrays is not None
    return is_plain and is_descent and is_known and max(spec.inputs, *spec.widths, spec.outputs) * batch_size <= _MOST


class SmallSteps:
    """Steps of an ensemble of small networks, whose parameters are taken before and given back after each `run`."""

    def __init__(
        self,
        ensemble: Ensemble,
        loss: Loss,
        batches: Iterable[tuple[Array, Array]],
        samples: int,
        rates: Sequence[float],
    ) -> None:
        """Prepare steps on batches of so many samples, at a learning rate for each member.

        `batches` are those of many steps at once: inputs (steps, members, samples, features) and targets
        (steps, members, samples, 1 or outputs).
        """
        form = ensemble.activation.in_arrays
        if form is None:
            raise ValueError(f"{ensemble.activation.text} has no form for arrays")
        self._ensemble, self._form = ensemble, form
        self._downhill = -np.array(rates, dtype=np.float64)[:, None, None] / samples
        members, dtype = ensemble.members, ensemble.weights[0].numpy().dtype
        sides = [ensemble.weights[0].shape[2], *(weight.shape[1] for weight in ensemble.weights)]
        shapes = [(members, above, below + 1) for below, above in pairwise(sides)]

        def parts(flat: Array) -> list[Array]:
            """Return the places of the layers' weights, with a column for the biases, in an array of all."""
            cuts = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
            return [part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True)]

        self._flat, self._gradient, self._change = np.zeros((3, sum(map(int, map(np.prod, shapes)))), dtype=dtype)
        self._weights, gradients, self._changes = parts(self._flat), parts(self._gradient), parts(self._change)
        self._factor = float("nan")
        """Of the last step; `_change` is what a gradient is multiplied with, by the rate and this."""
        # The activations of all layers, after each the 1 that biases are multiplied with.
        ends = np.cumsum([units + 1 for units in sides[1:-1]]).tolist()
        hidden = [slice(end - 1 - units, end - 1) for end, units in zip(ends, sides[1:], strict=False)]
        self._activations = np.ones((members, ends[-1], samples), dtype=dtype)
        self._slopes = np.empty_like(self._activations)
        inputs = np.ones((members, sides[0] + 1, samples), dtype=dtype)
        self._inputs = inputs[:, :-1]
        below = [inputs, *(self._activations[:, here.start : here.stop + 1] for here in hidden)]
        outputs = np.empty((members, sides[-1], samples), dtype=dtype)
        deltas = [*(np.empty((members, units, samples), dtype=dtype) for units in sides[1:-1]), outputs]
        self._forward = [
            (weights, given, self._activations[:, here])
            for weights, given, here in zip(self._weights, below, hidden, strict=False)
        ]
        self._last = self._weights[-1], below[-1], outputs
        turned = [given.swapaxes(1, 2) for given in below]
        self._backward = [
            (
                (deltas[number], turned[number], gradients[number]),
                (self._weights[number][:, :, :-1].swapaxes(1, 2), deltas[number], deltas[number - 1]),
                (deltas[number - 1], self._slopes[:, hidden[number - 1]], deltas[number - 1]),
            )
            for number in range(len(hidden), 0, -1)
        ]
        self._first = deltas[0], turned[0], gradients[0]
        self._loss = (_SquaredError if loss.is_by_output else _CrossEntropy)(outputs)
        self._batches = self._prepared(batches)

    def _prepared(self, batches: Iterable[tuple[Array, Array]]) -> Iterator[tuple[Array, Any]]:
        """Yield the inputs of each step, and its targets as the loss takes them."""
        for inputs, targets in batches:
            yield from zip(inputs, self._loss.prepared(targets), strict=True)

    def run(self, factors: Iterable[float], table: Array) -> None:
        """Make a step for each of the schedule's factors; write the losses on its batch to the table, as `Loss.each`.

        The table is (steps, members, rows, samples).
        """
        parts = list(zip(self._weights, self._ensemble.weights, self._ensemble.biases, strict=True))
        for own, weight, bias in parts:
            own[:, :, :-1], own[:, :, -1:] = weight.numpy(), bias.numpy()
        with quiet():
            for factor, losses in zip(factors, table, strict=True):
                self._step(factor, losses)
        for own, weight, bias in parts:
            weight.numpy()[:], bias.numpy()[:] = own[:, :, :-1], own[:, :, -1:]

    def _step(self, factor: float, losses: Array) -> None:
        inputs, targets = next(self._batches)
        self._inputs[:] = inputs.swapaxes(1, 2)
        matmul, multiply, activate = np.matmul, np.multiply, self._form.forward
        for weights, below, above in self._forward:
            matmul(weights, below, above)
            activate(above)
        matmul(*self._last)
        self._loss(targets, losses)
        self._form.slope(self._activations, self._slopes)
        for of_weights, of_inputs, through in self._backward:
            matmul(*of_weights)
            matmul(*of_inputs)
            multiply(*through)
        matmul(*self._first)
        if factor != self._factor:
            self._factor = factor
            for change in self._changes:
                change[:] = factor * self._downhill
        multiply(self._gradient, self._change, self._gradient)
        np.add(self._flat, self._gradient, self._flat)


class _CrossEntropy:
    """Writes the log-likelihoods of the classes, and leaves the gradient in place of the outputs."""

    def __init__(self, outputs: Array) -> None:
        members, classes, samples = outputs.shape
        self._outputs = outputs
        self._classes = np.arange(classes)[:, None]
        self._rows = [outputs[:, number : number + 1] for number in range(classes)]
        self._places = np.arange(members)[:, None, None] * (classes * samples) + np.arange(samples)
        self._most, self._sum = np.empty((2, members, 1, samples), dtype=outputs.dtype)

    def prepared(self, targets: Array) -> Iterator[tuple[Array, Array]]:
        """Yield, for each step, where the outputs of the classes (steps, members, samples, 1) lie, and 1 for them."""
        targets = targets.swapaxes(2, 3)
        ones = (targets == self._classes).astype(self._outputs.dtype)
        return zip(self._places + targets * self._outputs.shape[2], ones, strict=True)

    def __call__(self, targets: tuple[Array, Array], losses: Array) -> None:
        outputs, most, total, (places, ones) = self._outputs, self._most, self._sum, targets
        self._over_classes(np.maximum, most)
        np.subtract(outputs, most, outputs)
        outputs.take(places, None, losses, "clip")
        np.exp(outputs, outputs)
        self._over_classes(np.add, total)
        np.divide(outputs, total, outputs)
        np.subtract(outputs, ones, outputs)
        np.log(total, total)
        np.subtract(losses, total, losses)

    def _over_classes(self, function: np.ufunc, out: Array) -> None:
        """Write what a function of two makes of the outputs of all classes."""
        first, second, *others = self._rows
        if len(others) > 1:
            function.reduce(self._outputs, axis=1, out=out, keepdims=True)
            return
        function(first, second, out=out)  # a reduction takes as long as three of these
        for other in others:
            function(out, other, out=out)


class _SquaredError:
    """Writes the squared errors, and leaves the gradient in place of the outputs."""

    def __init__(self, outputs: Array) -> None:
        self._outputs = outputs

    def prepared(self, targets: Array) -> Iterator[Array]:
        """Yield the targets of each step, (steps, members, samples, outputs) in all."""
        return iter(targets.swapaxes(2, 3))

    def __call__(self, targets: Array, losses: Array) -> None:
        outputs = self._outputs
        np.subtract(outputs, targets, outputs)
        np.multiply(outputs, outputs, losses)
        np.multiply(outputs, 2 / outputs.shape[1], outputs)
