"""Second moments through a network of given layers, forward and backward, with the error of a finite width."""

from __future__ import annotations

from dataclasses import dataclass

from winit.theory.gaussian import Array

BAND = 0.8
"""The share of networks that lie between `low` and `high`: as between the quantiles 0.1 and 0.9 over seeds."""


@dataclass(frozen=True)
class Course:
    """A second moment by hidden layer, 1 to depth, as base-10 logarithms; -inf where it is 0."""

    log10: Array
    """(depth,) of infinite width: the thin line."""
    median_log10: Array
    """(depth,) of the typical network of this width: the thick line. Networks are log-normal around it."""
    low_log10: Array
    """(depth,) the tenth of networks that are smallest lie below."""
    high_log10: Array
    """(depth,) the tenth of networks that are largest lie above."""
    deviation: Array
    """(depth,) standard deviation over networks of the natural logarithm."""


@dataclass(frozen=True)
class Prediction:
    """What theory expects of a network, hidden layers 1 to depth."""

    forward: Course
    """Second moment of the pre-activations over units and samples."""
    backward: Course
    """Second moment of the gradient by the pre-activations; 1 (log10 0) in the last hidden layer, or as anchored."""
    correlation: Array
    """(depth,) between the pre-activations of two inputs, from the mean correlation of the inputs."""
    activation_mean: Array
    """(depth,) E phi(z) over units."""
