"""Neurons of one layer side by side: their weights and what the loss asks of them at the first step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from winit import datasets
from winit.layers import linears
from winit.network import Member, Workspace, initialize
from winit.signal import pull_back
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


@torch.inference_mode()
def side_by_side(spec: Spec, layer: int) -> Neurons:
    """Return the neurons of a hidden layer (1 to depth) of the network of the spec's seed, on its first batch.

    On data without labels the gradient is that of a N(0, 1) cotangent. Raises `BadInput` as `network.initialize` does.
    """
    x = datasets.batch(spec.dataset, spec.inputs, spec.batch_size, spec.seed)
    ensemble = initialize(spec, [Member(spec.initializer, spec.seed, 0.0)], torch.float64)
    workspace = Workspace(ensemble, len(x))
    outputs = workspace.forward(torch.tensor(x, dtype=torch.float64).T.unsqueeze(0))
    pull_back(workspace, outputs, spec, len(x), [spec.seed])
    linear = next(islice(linears(workspace.layers), layer - 1, None))
    gradients = linear.gradients[0][0].numpy().copy() / len(x)
    return Neurons(layer, ensemble.weights[layer - 1][0].numpy().copy(), gradients)
