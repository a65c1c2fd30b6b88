"""Averages of an activation over Gaussian pre-activations, by quadrature that splits at kinks.

>>> from winit.activations import activation
>>> round(second_moment(activation("tanh")), 6)
0.394294
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from winit.activations import Activation

Array = NDArray[np.float64]

_CUT = 10.0  # the Gaussian density is 8e-23 there
# Pieces shrink by the factor 4 towards 0, down to 6e-13. However steep a function is at 0 (tanh at large q, CELU of
# small alpha), its poles then lie a third of a piece's length away or farther, and 16 nodes are off by 3^-32.
_GRADED = _CUT * 4.0 ** -np.arange(23)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_TOLERANCE = 1e-13
_HALVINGS = 20


def gaussian_mean(f: Callable[[Array], Array], kinks: Sequence[float] = (), q: float = 1.0) -> float:
    """Return E f(sqrt(q) z) for z ~ N(0, 1), with a relative error near 1e-13 of E |f|.

    Gauss-Legendre quadrature on pieces that end at the kinks; a piece that disagrees with its two halves is
    replaced by them, which resolves oscillation. `f` works elementwise on arrays of shape (pieces, nodes); it is
    smooth between `kinks`, the arguments where it or a derivative jumps, and steep, if anywhere, at 0.
    Raises `ValueError` for q < 0.
    """
    scale = math.sqrt(q)
    inner = [kink / scale for kink in kinks if abs(kink) < _CUT * scale]
    edges = np.unique(np.concatenate([-_GRADED, [0.0], _GRADED, inner]))

    def integrals(low: Array, high: Array) -> Array:
        half = (high - low) / 2
        z = (low + half)[:, None] + half[:, None] * _NODES
        values: Array = half * ((f(scale * z) * np.exp(-z * z / 2)) @ _WEIGHTS)
        return values

    low, high = edges[:-1], edges[1:]
    whole = integrals(low, high)
    tolerance = _TOLERANCE * np.abs(whole).sum()
    total = 0.0
    for _ in range(_HALVINGS):
        if not low.size:
            break
        middle = (low + high) / 2
        left, right = integrals(low, middle), integrals(middle, high)
        rough = np.abs(left + right - whole) > tolerance
        total += float((left + right)[~rough].sum())
        low, high = np.concatenate([low[rough], middle[rough]]), np.concatenate([middle[rough], high[rough]])
        whole = np.concatenate([left[rough], right[rough]])
    return (total + float(whole.sum())) / math.sqrt(2 * math.pi)


@lru_cache(maxsize=4096)
def second_moment(activation: Activation, q: float = 1.0) -> float:
    """Return E phi(sqrt(q) z)^2, z ~ N(0, 1): the second moment of the activations."""
    return gaussian_mean(lambda x: activation.values(x) ** 2, activation.kinks, q)


@lru_cache(maxsize=4096)
def second_moment_of_slope(activation: Activation, q: float = 1.0) -> float:
    """Return E phi'(sqrt(q) z)^2, z ~ N(0, 1), chi_1 / sigma_w^2: by how much a layer shrinks gradients."""
    return gaussian_mean(lambda x: activation.slopes(x) ** 2, activation.kinks, q)
