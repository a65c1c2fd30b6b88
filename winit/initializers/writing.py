"""Pieces of code that several records share."""

from __future__ import annotations

from fractions import Fraction

from winit.fields import number_text
from winit.laws import TRUNCATED_STDDEV


def torch_truncated(variance: str) -> str:
    """Return PyTorch's lines for a normal of this variance cut at two standard deviations."""
    return torch_cut(f"({variance}) ** 0.5")


def torch_cut(stddev: str) -> str:
    """Return PyTorch's lines for a normal cut at two standard deviations, `stddev` the real one.

    `trunc_normal_` takes absolute bounds and does not correct the standard deviation.
    """
    return (
        f"std = {stddev} / {TRUNCATED_STDDEV!r}\n"
        "torch.nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)"
    )


def torch_scaled(variance: str, distribution: str) -> str:
    """Return PyTorch's lines for a variance and a distribution of `variance_scaling`."""
    return {
        "truncated_normal": torch_truncated(variance),
        "untruncated_normal": f"std = ({variance}) ** 0.5\ntorch.nn.init.normal_(layer.weight, std=std)",
        "uniform": f"bound = (3 * {variance}) ** 0.5\ntorch.nn.init.uniform_(layer.weight, -bound, bound)",
    }[distribution]


ORTHOGONAL = """def orthogonal(rows, columns):
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T
"""
"""A NumPy function that draws a Haar orthogonal matrix."""

TORCH_FUNCTION = "layer.weight.data.copy_(torch.from_numpy({name}({{fan_in}}, {{fan_out}}){{part}}))"
KERAS_FUNCTION = "lambda shape, dtype: {name}(*shape){{part}}.T"
JAX_FUNCTION = "lambda key, shape, dtype: jnp.asarray({name}(*shape){{part}}.T, dtype)"


def function(name: str) -> tuple[str, str, str]:
    """Return the texts with which PyTorch, Keras and JAX call a NumPy function of (fan_in, fan_out).

    They leave {part} open: which part of what it returns are the weights, where it returns more.
    """
    return TORCH_FUNCTION.format(name=name), KERAS_FUNCTION.format(name=name), JAX_FUNCTION.format(name=name)


def jax_uniform(low: str, high: str) -> str:
    """Return JAX's initializer for an interval."""
    return f"lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, minval={low}, maxval={high})"


def options(**stated: tuple[float | str, float | str]) -> str:
    """Return ", name=value" for each (value, default of the library) that differ."""
    return "".join(f", {name}={_literal(value)}" for name, (value, default) in stated.items() if value != default)


def _literal(value: float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else number_text(value)


def factor(value: float) -> str:
    """Return "value * ", empty where that is 1."""
    return "" if value == 1 else f"{number_text(value)} * "


def plain_number(value: float) -> float:
    """Return a number without the last digits, in which 0.1 + 0.2 is not 0.3."""
    return float(f"{value:.12g}")


def scale_text(value: float) -> str:
    """Return a scale as code, without the last digits, in which 2 ** 0.5 squared is not 2; a third as 1 / 3."""
    text = number_text(plain_number(value))
    ratio = Fraction(value).limit_denominator(12)
    is_ratio = len(text) > 8 and abs(ratio - Fraction(value)) < 1e-12 * value
    return f"{ratio.numerator} / {ratio.denominator}" if is_ratio else text
