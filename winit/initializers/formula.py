"""Formulas in plain text and in LaTeX, symbols first, then the layer's numbers, then the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from winit.initializers.layer import LayerShape


@dataclass(frozen=True)
class Formula:
    """What a scheme asks for in a given layer: in plain text, and in LaTeX with the numbers put in."""

    text: str
    latex: str


def fraction(value: float) -> tuple[float, int]:
    """Return (1, k) for a value of 1/k with k from 2 to 12, and (value, 1) for all others."""
    inverse = round(1 / value) if value > 0.05 else 1
    return (1.0, inverse) if 2 <= inverse <= 12 and abs(value * inverse - 1) < 1e-12 else (value, 1)


def grouped(latex: str, factor: int) -> str:
    """Return a sum in parentheses where a factor stands before it."""
    return f"({latex})" if factor > 1 and "+" in latex else latex


def constant(text: str, latex: str) -> Callable[[LayerShape], Formula]:
    """Return a formula that is the same for every layer."""
    return lambda shape: Formula(text, latex)
