"""Depth without end: fixed points of length and correlation, depth scales, regimes, the phase diagram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from winit.theory.gaussian import Array

Regime = Literal["ordered", "critical", "chaotic", "unstable length"]


@dataclass(frozen=True)
class FixedPoint:
    """A second moment of the pre-activations that layers keep."""

    q: float
    chi_1: float
    """sigma_w^2 E phi'^2 there: the factor on the second moment of gradients, per layer."""
    chi_parallel: float
    """dq'/dq there: the factor on a small change of q, per layer."""

    @property
    def is_stable(self) -> bool:
        """Whether layers move towards it."""
        return abs(self.chi_parallel) < 1


@dataclass(frozen=True)
class MeanField:
    """What layer upon layer of weights sigma_w and biases sigma_b ends in, from q = 1; infinite width.

    Numbers that do not exist are NaN, and `reasons` says why.
    """

    sigma_w: float
    sigma_b: float
    q_star: float
    """The second moment in which q = 1 ends; infinity where it grows without end."""
    chi_1: float
    """sigma_w^2 E phi'^2 at q_star: the factor on the second moment of gradients, per layer."""
    chi_parallel: float
    """dq'/dq at q_star: the factor on a small change of q, per layer."""
    xi_q: float
    """Layers in which a small distance from q_star falls by e; infinity where chi_parallel is 1."""
    xi_c: float
    """Layers in which a small distance from c_star falls by e; infinity at the edge of chaos."""
    c_star: float
    """The correlation in which that of two inputs ends, 0 to 1."""
    regime: Regime
    """ordered (chi_1 < 1), critical, chaotic (chi_1 > 1), or unstable length (q_star is infinite)."""
    edge_of_chaos: float
    """The sigma_w of the edge of chaos at this sigma_b; NaN where there is none."""
    fixed_points: tuple[FixedPoint, ...]
    """All of the second moment, from the smallest; empty where every q is one, or none."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """By field: why it is not a number."""


@dataclass(frozen=True)
class EdgeCurve:
    """The edge of chaos as a curve."""

    sigma_b: Array
    """(P,) ascending; a single 0 where the edge is a point (ReLU), empty where there is none."""
    sigma_w: Array
    """(P,)"""


@dataclass(frozen=True)
class PhaseDiagram:
    """Where signals of an activation go, over a grid of B values of sigma_b and W of sigma_w."""

    sigma_w: Array
    """(W,)"""
    sigma_b: Array
    """(B,)"""
    q_star: Array
    """(B, W) the second moment in which q = 1 ends; infinity where it grows without end."""
    chi_1: Array
    """(B, W) at q_star; ordered below 1, chaotic above."""
    depth_scale: Array
    """(B, W) layers in which gradients change by e, 1 / |ln chi_1|; infinity on the edge."""
    edge: EdgeCurve
