"""What the benchmarks compare with: a network as anybody would write it in PyTorch."""

from __future__ import annotations

import torch
from torch import nn

from winit.network import Ensemble

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def sequential(ensemble: Ensemble, member: int, activation: str) -> nn.Sequential:
    """Return one member of an ensemble without blocks as an nn.Sequential, with the same weights and biases."""
    layers: list[nn.Module] = []
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        linear = nn.Linear(weight.shape[2], weight.shape[1], dtype=ensemble.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight[member])
            linear.bias.copy_(bias[member, :, 0])
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])
