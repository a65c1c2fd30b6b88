"""Neurons of one layer side by side: their weights and what the loss asks of them at the first step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from winit import datasets
from winit.layers import Branch, Layer, Linear
from winit.losses import loss_of
from winit.network import Member, Workspace, initialize
from winit.seeds import generator
from winit.spec import Spec

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Neurons:
    """The units of one hidden layer of one network."""

    layer: int
    """1 to depth."""
    weights: Array
    """(units, inputs)"""
    gradients: Array
    """(units, inputs) of the mean loss of the first batch by the weights."""


def _linears(layers: list[Layer]) -> list[Linear]:
    """Return the linear layers of a pass in order."""
    found = []
    for layer in layers:
        if isinstance(layer, Branch):
            found += _linears(list(layer.layers))
        elif isinstance(layer, Linear):
            found.append(layer)
    return found


@torch.inference_mode()
def side_by_side(spec: Spec, layer: int) -> Neurons:
    """Return the neurons of a hidden layer (1 to depth) of the network of the spec's seed, on its first batch.

    On data without labels the gradient is that of a N(0, 1) cotangent. Raises `BadInput` as `network.initialize` does.
    """
    x = datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed)
    ensemble = initialize(spec, [Member(spec.initializer, spec.seed, 0.0)], torch.float64)
    workspace = Workspace(ensemble, len(x))
    outputs = workspace.forward(torch.tensor(x, dtype=torch.float64).T.unsqueeze(0))
    if datasets.DATASETS[spec.dataset].has_labels:
        data = datasets.load(spec.dataset)
        loss = loss_of(data)
        _, cotangent = loss.value_and_gradient(outputs, loss.targets(data.train_y[: len(x)], outputs.dtype))
    else:
        source = generator(spec.seed, "cotangent")
        cotangent = torch.empty(outputs.shape, dtype=outputs.dtype).normal_(generator=source)
    workspace.backward(cotangent)
    linear = _linears(workspace.layers)[layer - 1]
    gradients = linear.gradients[0][0].numpy().copy() / len(x)
    return Neurons(layer, ensemble.weights[layer - 1][0].numpy().copy(), gradients)
