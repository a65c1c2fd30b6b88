"""Schemes whose weights are not independent: orthogonal, identity-like, mirrored and sparse matrices.

Their law is that of an entry chosen at random.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from winit import laws
from winit.fields import Refused, number_text, tex
from winit.initializers.formula import Formula
from winit.initializers.layer import LayerShape
from winit.initializers.record import Code, Initializer, Rule, number, whole
from winit.initializers.writing import ORTHOGONAL, factor, function, options
from winit.laws import Law


def _orthogonal(gain: float) -> Rule:
    def formula(s: LayerShape) -> Formula:
        side = max(s.fan_in, s.fan_out)
        return Formula(
            f"{number_text(gain)} times a Haar orthogonal matrix; an entry has variance "
            f"{number_text(gain)}^2 / max({s.fan_in}, {s.fan_out}) = {gain**2 / side:.5g}",
            rf"W = g\,Q,\ Q \text{{ Haar orthogonal}}, \qquad \sigma^2 = \frac{{g^2}}{{\max(n_\text{{in}},"
            rf" n_\text{{out}})}} = \frac{{{tex(gain)}^2}}{{{side}}} = {tex(gain**2 / side)}",
        )

    return Rule(lambda s: laws.Orthogonal(gain, max(s.fan_in, s.fan_out)), formula)


def _identity(gain: float) -> Rule:
    def law(s: LayerShape) -> Law:
        return laws.Sparse(laws.Constant(gain), 1 - 1 / max(s.fan_in, s.fan_out))

    def formula(s: LayerShape) -> Formula:
        return Formula(
            f"{number_text(gain)} on the diagonal, 0 elsewhere: {min(s.fan_in, s.fan_out)} of {s.fan_in * s.fan_out}"
            " weights",
            rf"W_{{ij}} = g\,\delta_{{ij}}, \qquad g = {tex(gain)}",
        )

    def matrices(s: LayerShape, count: int, generator: Generator) -> Tensor:
        weights = torch.zeros(count, s.fan_out, s.fan_in)
        weights.diagonal(dim1=1, dim2=2).fill_(gain)
        return weights

    return Rule(law, formula, matrices=matrices)


@lru_cache(maxsize=32)
def _zero_o_matrix(fan_in: int, fan_out: int) -> NDArray[np.float64]:
    """Return ZerO's matrix (fan_out, fan_in): a partial identity, or a part of a Hadamard matrix where it widens."""
    if fan_out <= fan_in:
        return np.eye(fan_out, fan_in)
    side = 1 << (fan_out - 1).bit_length()
    index = np.arange(side)
    odd = np.bitwise_count(index[:fan_out, None] & index[:fan_in]) % 2
    return np.where(odd, -1.0, 1.0) / math.sqrt(side)


def _zero_o() -> Rule:
    @lru_cache(maxsize=32)
    def law_of(fan_in: int, fan_out: int) -> Law:
        return laws.Atoms.of(_zero_o_matrix(fan_in, fan_out))

    def formula(s: LayerShape) -> Formula:
        if s.fan_out <= s.fan_in:
            return Formula(
                "fan_out <= fan_in: 1 on the diagonal, 0 elsewhere, no randomness",
                r"n_\text{out} \le n_\text{in}: \quad W_{ij} = \delta_{ij}",
            )
        power = (s.fan_out - 1).bit_length()
        return Formula(
            f"fan_out > fan_in: the first {s.fan_out} rows and {s.fan_in} columns of a Hadamard matrix of side "
            f"{2**power}, over its square root: every weight is -/+ {2 ** (-power / 2):.5g}, no randomness",
            rf"n_\text{{out}} > n_\text{{in}}: \quad W = 2^{{-m/2}} H_m[:n_\text{{out}}, :n_\text{{in}}], \quad"
            rf" m = \lceil \log_2 {s.fan_out} \rceil = {power}, \quad 2^{{-m/2}} = {tex(2 ** (-power / 2))}",
        )

    def matrices(s: LayerShape, count: int, generator: Generator) -> Tensor:
        return torch.from_numpy(_zero_o_matrix(s.fan_in, s.fan_out)).float().repeat(count, 1, 1)

    return Rule(lambda s: law_of(s.fan_in, s.fan_out), formula, matrices=matrices)


def _idinit(epsilon: float) -> Rule:
    def pattern(s: LayerShape) -> NDArray[np.float64]:
        side = min(s.fan_in, s.fan_out)
        return np.where(np.arange(s.fan_out)[:, None] % side == np.arange(s.fan_in) % side, 1.0, 0.0)

    def law(s: LayerShape) -> Law:
        return laws.Sparse(laws.Normal(1.0, epsilon), 1 - 1 / min(s.fan_in, s.fan_out))

    def formula(s: LayerShape) -> Formula:
        side = min(s.fan_in, s.fan_out)
        return Formula(
            f"1 + N(0, {number_text(epsilon)}^2) where row and column agree modulo {side}, 0 elsewhere",
            rf"W_{{ij}} = \begin{{cases}} 1 + \mathcal{{N}}(0, \varepsilon^2) & i \equiv j \pmod{{{side}}} \\ 0 &"
            rf" \text{{else}} \end{{cases}}, \qquad \varepsilon = {tex(epsilon)}",
        )

    def matrices(s: LayerShape, count: int, generator: Generator) -> Tensor:
        noise = torch.empty(count, s.fan_out, s.fan_in).normal_(1.0, epsilon, generator=generator)
        return noise.mul_(torch.from_numpy(pattern(s)).float())

    return Rule(law, formula, matrices=matrices)


def _halves(s: LayerShape) -> tuple[int, int]:
    """Return the shape of A in a mirrored layer. Raises `Refused` where a side that is mirrored is odd."""
    rows, columns = not s.is_output, not s.is_first
    for side, is_mirrored, name in ((s.fan_out, rows, "fan_out"), (s.fan_in, columns, "fan_in")):
        if is_mirrored and side % 2:
            raise Refused(f"it an even width, since it mirrors each unit in another: {name} is {side} here")
    return s.fan_out // (1 + rows), s.fan_in // (1 + columns)


_MIRRORED = {
    (True, False): ("[A; -A]", r"\begin{bmatrix} A \\ -A \end{bmatrix}"),
    (True, True): ("[[A, -A], [-A, A]]", r"\begin{bmatrix} A & -A \\ -A & A \end{bmatrix}"),
    (False, True): ("[A, -A]", r"\begin{bmatrix} A & -A \end{bmatrix}"),
    (False, False): ("A", "A"),
}


def _looks_linear(gain: float) -> Rule:
    def law(s: LayerShape) -> Law:
        return laws.Orthogonal(gain, max(_halves(s)))

    def formula(s: LayerShape) -> Formula:
        rows, columns = _halves(s)
        text, latex = _MIRRORED[not s.is_output, not s.is_first]
        value = gain**2 / max(rows, columns)
        return Formula(
            f"{text} with A = {number_text(gain)} times a Haar orthogonal matrix, {rows} x {columns}; an entry has "
            f"variance {number_text(gain)}^2 / max({columns}, {rows}) = {value:.5g}",
            rf"W = {latex},\ A = g\,Q,\ Q \in \mathbb{{R}}^{{{rows} \times {columns}}} \text{{ Haar orthogonal}},"
            rf" \qquad \sigma^2 = \frac{{{tex(gain)}^2}}{{{max(rows, columns)}}} = {tex(value)}",
        )

    def matrices(s: LayerShape, count: int, generator: Generator) -> Tensor:
        rows, columns = _halves(s)
        a = law(s).sample((count, rows, columns), generator)
        if not s.is_output:
            a = torch.cat((a, -a), dim=1)
        return a if s.is_first else torch.cat((a, -a), dim=2)

    return Rule(law, formula, matrices=matrices)


def _with_zeros(size: tuple[int, ...], std: float, dim: int, zeros: int, generator: Generator) -> Tensor:
    """Draw normal weights of which just so many along `dim`, chosen at random, are 0."""
    weights = torch.empty(size).normal_(0.0, std, generator=generator)
    order = torch.empty(size).uniform_(generator=generator).argsort(dim=dim)
    return weights.scatter_(dim, order.narrow(dim, 0, zeros), 0.0)


def _sparse(sparsity: float, std: float) -> Rule:
    def zeros(s: LayerShape) -> int:
        return math.ceil(sparsity * s.fan_out)

    def formula(s: LayerShape) -> Formula:
        return Formula(
            f"normal, standard deviation {number_text(std)}; in each column {zeros(s)} of {s.fan_out} weights, "
            f"ceil({number_text(sparsity)} * fan_out), are 0",
            rf"w \sim \mathcal{{N}}(0, {tex(std)}^2), \quad \lceil {tex(sparsity)} \times {s.fan_out} \rceil ="
            rf" {zeros(s)} \text{{ of each column are }} 0",
        )

    def matrices(s: LayerShape, count: int, generator: Generator) -> Tensor:
        return _with_zeros((count, s.fan_out, s.fan_in), std, 1, zeros(s), generator)

    return Rule(lambda s: laws.Sparse(laws.Normal(0.0, std), zeros(s) / s.fan_out), formula, matrices=matrices)


def _sparse_martens(connections: int) -> Rule:
    def kept(s: LayerShape) -> int:
        return min(connections, s.fan_in)

    def formula(s: LayerShape) -> Formula:
        return Formula(
            f"{kept(s)} incoming weights of each unit are standard normal, the other {s.fan_in - kept(s)} are 0; "
            f"variance {kept(s)} / {s.fan_in} = {kept(s) / s.fan_in:.5g}",
            rf"{kept(s)} \text{{ weights of each unit}} \sim \mathcal{{N}}(0, 1),\ \text{{the others }} 0, \qquad"
            rf" \sigma^2 = \frac{{{kept(s)}}}{{{s.fan_in}}} = {tex(kept(s) / s.fan_in)}",
        )

    def matrices(s: LayerShape, count: int, generator: Generator) -> Tensor:
        return _with_zeros((count, s.fan_out, s.fan_in), 1.0, 2, s.fan_in - kept(s), generator)

    return Rule(lambda s: laws.Sparse(laws.Normal(0.0, 1.0), 1 - kept(s) / s.fan_in), formula, matrices=matrices)


def _gain_code(shape: LayerShape, gain: float) -> dict[str, str]:
    number = "" if gain == 1 else number_text(gain)
    return {"options": options(gain=(gain, 1.0)), "number": number, "factor": factor(gain)}


def _identity_code(shape: LayerShape, gain: float) -> dict[str, str]:
    scaled = f"layer.weight.data.copy_({factor(gain)}torch.eye({shape.fan_out}, {shape.fan_in}))"
    return {"torch": "torch.nn.init.eye_(layer.weight)" if gain == 1 else scaled, **_gain_code(shape, gain)}


def _looks_linear_code(shape: LayerShape, gain: float) -> dict[str, str]:
    rows = "fan_out" if shape.is_output else "fan_out // 2"
    columns = "fan_in" if shape.is_first else "fan_in // 2"
    a = f"{factor(gain)}orthogonal({rows}, {columns})"
    if shape.is_output and shape.is_first:
        return {"body": f"    return {a}"}
    mirrored = "vstack([a, -a])" if shape.is_first else "hstack([a, -a])"
    if not (shape.is_output or shape.is_first):
        mirrored = "block([[a, -a], [-a, a]])"
    return {"body": f"    a = {a}\n    return np.{mirrored}"}


RECORDS = (
    Initializer(
        "orthogonal",
        "orthogonal",
        _orthogonal,
        "Every singular value is the gain: no direction is stretched or lost, at the price of a QR decomposition.",
        "Saxe et al. 2014, Exact solutions to the nonlinear dynamics of learning, section 3 (arXiv:1312.6120)",
        Code(
            "torch.nn.init.orthogonal_(layer.weight{options})",
            "keras.initializers.Orthogonal({number})",
            "jax.nn.initializers.orthogonal({number})",
        ),
        (number("gain", 1.0, 0.0, 1e15, "Every singular value."),),
        derived=_gain_code,
    ),
    Initializer(
        "identity",
        "orthogonal",
        _identity,
        "Passes its inputs on unchanged, where a layer widens to a part of its units only; no randomness at all.",
        "torch.nn.init.eye_; keras.initializers.Identity",
        Code(
            "{torch}",
            "keras.initializers.Identity({number})",
            "lambda key, shape, dtype: {factor}jnp.eye(*shape, dtype=dtype)",
            notes={"torch": "eye_ has no gain.", "jax": "JAX has no initializer of this kind."},
        ),
        (number("gain", 1.0, -1e15, 1e15, "The value on the diagonal."),),
        derived=_identity_code,
    ),
    Initializer(
        "zero_o",
        "orthogonal",
        _zero_o,
        "Identity where the width stays or shrinks, Hadamard where it grows: deep networks train with no randomness, "
        "but plain ones without residual branches hardly break the symmetry.",
        "Zhao et al. 2022, ZerO Initialization, algorithm 1 (arXiv:2110.12661)",
        Code(
            *function("zero_o"),
            function="""def zero_o(fan_in, fan_out):
    if fan_out <= fan_in:
        return np.eye(fan_out, fan_in)
    side = 2 ** (fan_out - 1).bit_length()
    return scipy.linalg.hadamard(side)[:fan_out, :fan_in] / side**0.5
""",
        ),
    ),
    Initializer(
        "idinit",
        "orthogonal",
        _idinit,
        "An identity repeated along the longer side, so that no unit starts dead; a little noise tells the copies "
        "apart, without it they stay equal.",
        "Pan et al. 2025, IDInit, section 3 (arXiv:2503.04626)",
        Code(
            *function("idinit"),
            function="""def idinit(fan_in, fan_out):
    side = min(fan_in, fan_out)
    ones = np.arange(fan_out)[:, None] % side == np.arange(fan_in) % side
    return ones * rng.normal(1.0, {epsilon}, (fan_out, fan_in))
""",
        ),
        (number("epsilon", 1e-6, 0.0, 1.0, "Standard deviation of the noise on the ones."),),
    ),
    Initializer(
        "looks_linear",
        "orthogonal",
        _looks_linear,
        "Mirrored units make a ReLU network linear at the start, and so trainable at any depth; it needs even widths "
        "and an activation with phi(z) - phi(-z) proportional to z.",
        "Balduzzi et al. 2017, The Shattered Gradients Problem, section 4 (arXiv:1702.08591)",
        Code(
            *function("looks_linear"),
            function=ORTHOGONAL
            + """

def looks_linear(fan_in, fan_out):
{body}
""",
        ),
        (number("gain", 1.0, 0.0, 1e15, "Every singular value of A."),),
        derived=_looks_linear_code,
    ),
    Initializer(
        "sparse",
        "plain",
        _sparse,
        "A small normal in which a share of each input's weights is 0; one scale for every layer, so it vanishes "
        "with depth.",
        "torch.nn.init.sparse_; Martens 2010, Deep learning via Hessian-free optimization, section 5",
        Code(
            "torch.nn.init.sparse_(layer.weight, sparsity={sparsity}{options})",
            *function("sparse")[1:],
            function="""def sparse(fan_in, fan_out):
    weights = rng.normal(0.0, {std}, (fan_out, fan_in))
    zeros = int(np.ceil({sparsity} * fan_out))
    order = rng.random((fan_out, fan_in)).argsort(axis=0)
    np.put_along_axis(weights, order[:zeros], 0.0, axis=0)
    return weights
""",
            notes={"torch": "The zeros of sparse_ do not follow the generator that is passed to it."},
        ),
        (
            number("sparsity", 0.1, 0.0, 1.0, "Share of each column that is 0, rounded up to whole weights."),
            number("std", 0.01, 0.0, 1e30, "Standard deviation of the others."),
        ),
        derived=lambda shape, sparsity, std: {"options": options(std=(std, 0.01))},
    ),
    Initializer(
        "sparse_martens",
        "plain",
        _sparse_martens,
        "Each unit listens to 15 others only, whatever the width, so its input neither saturates nor averages out; "
        "in deep ReLU networks 15 is too many for the variance.",
        "Martens 2010, Deep learning via Hessian-free optimization, section 5",
        Code(
            *function("sparse_martens"),
            function="""def sparse_martens(fan_in, fan_out):
    weights = rng.standard_normal((fan_out, fan_in))
    order = rng.random((fan_out, fan_in)).argsort(axis=1)
    np.put_along_axis(weights, order[:, {connections}:], 0.0, axis=1)
    return weights
""",
            notes={"torch": "sparse_ zeroes a share of each input's weights, not all but a number of each unit's."},
        ),
        (whole("connections", 15, 1, 1024, "Incoming weights of a unit that are not 0."),),
    ),
)
