"""A layer as an initializer sees it: its fans, its place in the network and the activation around it."""

from __future__ import annotations

from dataclasses import dataclass

from winit.activations import Activation, activation
from winit.fields import BadInput


@dataclass(frozen=True)
class LayerShape:
    """A layer: weights (fan_out, fan_in), and its place, 1 to depth for hidden layers, depth + 1 for the output.

    `activation` is the text form of the network's activation. Raises `BadInput` for a side below 1.
    """

    fan_in: int
    fan_out: int
    layer: int = 1
    depth: int = 1
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.fan_in < 1 or self.fan_out < 1:
            raise BadInput("shape", f"({self.fan_out}, {self.fan_in})", "(fan_out, fan_in) of at least 1 x 1")

    @property
    def phi(self) -> Activation:
        """The activation between the layers."""
        return activation(self.activation)

    @property
    def is_first(self) -> bool:
        return self.layer == 1

    @property
    def is_output(self) -> bool:
        return self.layer > self.depth
