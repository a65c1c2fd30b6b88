"""Pages of Markdown made from the program: `python -m winit.reference initializers > docs/initializers.md`.

The other page is `theory`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence

from winit import theory
from winit.activations import ACTIVATIONS, Activation, activation
from winit.fields import Field, Refused
from winit.initializers import INITIALIZERS, LEFT_OUT, Initializer, LayerShape, scheme
from winit.initializers.biases import BIASES
from winit.translator import TRANSLATIONS

_LAYER = LayerShape(fan_in=64, fan_out=64, layer=2, depth=10, activation="relu")
_OTHER = LayerShape(fan_in=64, fan_out=64, layer=2, depth=10, activation="tanh")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join([_row(heads), _row(["---"] * len(heads)), *(_row(row) for row in rows)])


def _parameters(fields: Sequence[Field]) -> str:
    return "; ".join(f"`{f.name}={f.write(f.default)}`: {f.help} {f.kind.allowed}" for f in fields)


def _initializer(record: Initializer) -> str:
    bound = scheme(record.name)
    try:
        formula = f"{bound.formula(_LAYER).text} (64 x 64, ReLU)"
    except Refused:
        formula = f"{bound.formula(_OTHER).text} (64 x 64, tanh)"
    names = [name for name in INITIALIZERS.aliases if INITIALIZERS.read(name).record is record]
    lines = [
        f"### `{record.name}`",
        record.purpose,
        f"- Law: {formula}.",
        *([f"- Parameters: {_parameters(record.parameters)}."] if record.parameters else []),
        *([f"- Also understood: {', '.join(f'`{name}`' for name in names)}."] if names else []),
        *(f"- Nearest by name in {framework}: {note}" for framework, note in record.code.notes.items()),
        f"- Source: {record.source}.",
    ]
    return lines[0] + "\n\n" + lines[1] + "\n\n" + "\n".join(lines[2:])


def _gain(name: str) -> list[str]:
    phi = activation(name)
    torch_gain = theory.torch_gain(phi)
    gains = [f"{theory.gain(phi, 'forward'):.5f}", f"{theory.gain(phi, 'backward'):.5f}"]
    record = ACTIVATIONS[name]
    said = "refuses" if torch_gain is None else f"{torch_gain:.5g}"
    return [f"`{name}`", _parameters(record.parameters), *gains, said, record.purpose, record.source]


def initializers() -> str:
    """Return the page of initializers, activations and biases."""
    biases = [[f"`{b.name}`", _parameters(b.parameters), b.purpose, b.source] for b in BIASES.values()]
    laws = [[f"`{t.written}` ({t.label})", f"`{t.initializer}`", t.bias, t.trap] for t in TRANSLATIONS.values()]
    parts = [
        "# Initializers, activations and biases",
        "Made by `python -m winit.reference initializers > docs/initializers.md`, to which a test holds it.",
        "## Initializers",
        *(_initializer(record) for record in INITIALIZERS.values()),
        "## What biases start at",
        _table(["rule", "parameters", "what it does", "source"], biases),
        "## Activations and their gains",
        "The gain is sigma_w: 1 / sqrt(E phi(z)^2) keeps the second moment of the signal, 1 / sqrt(E phi'(z)^2) "
        "that of the gradients, where pre-activations are standard normal.",
        _table(
            ["activation", "parameters", "signal", "gradients", "calculate_gain", "what it is for", "source"],
            [_gain(name) for name in ACTIVATIONS],
        ),
        "## Which law does a framework really draw?",
        _table(["written", "the same law here", "biases", "what people get wrong"], laws),
        "## Left out",
        _table(["scheme", "why it is not drawn here"], list(LEFT_OUT.items())),
    ]
    return "\n\n".join(parts) + "\n"


_FORMULAS = (
    ("length map", "q' = σ_w² E φ(√q z)² + σ_b²", "Poole et al. 2016 (arXiv:1606.05340), eq. 3"),
    (
        "correlation map",
        "c' = (σ_w² E φ(u) φ(v) + σ_b²) / q*, u and v of correlation c",
        "Poole et al. 2016, eq. 4",
    ),
    ("growth of gradients", "χ_1 = σ_w² E φ'(√q* z)²", "Schoenholz et al. 2017 (arXiv:1611.01232), eq. 5 to 7"),
    ("depth scales", "1 / ξ_q = -ln χ_∥ for lengths, 1 / ξ_c = -ln of the slope at c* for correlations",
     "Schoenholz et al. 2017, eq. 5 to 9"),
    ("edge of chaos", "χ_1 = 1 at the fixed point q*", "Hayou et al. 2019 (arXiv:1902.06853), algorithm 1"),
    ("gains", "1 / √(E φ(z)²) forward, 1 / √(E φ'(z)²) backward", "He et al. 2015 (arXiv:1502.01852), eq. 10, 14"),
    ("Glorot's compromise", "Var w = 2 / (fan_in + fan_out)", "Glorot & Bengio 2010, eq. 12"),
    ("Jacobian", "mean squared singular value χ_1 to the power of the depth",
     "Pennington et al. 2017 (arXiv:1711.04735), eq. 19"),
)  # fmt: skip


def _differences() -> list[list[str]]:
    """Return where numbers that are in use differ from these, and why: quantity, theirs, ours, reason."""
    relu, tanh, sigmoid, selu, silu = (activation(name) for name in ("relu", "tanh", "sigmoid", "selu", "silu"))

    def forward(phi: Activation) -> str:
        return f"{theory.gain(phi, 'forward'):.5f}"

    def point(phi: Activation, squared: float) -> tuple[str, str]:
        """Return sigma_w^2 of our edge at sigma_b^2 = 0.04, and chi_1 at another sigma_w^2."""
        chi = theory.mean_field(phi, math.sqrt(squared), 0.2).chi_1
        return f"{theory.edge_of_chaos(phi, 0.2) ** 2:.4f}", f"{chi:.4f}"

    tanh_edge, tanh_chi = point(tanh, 1.722)
    silu_edge, silu_chi = point(silu, 2.952)
    return [
        ["gain of tanh", "5 / 3 (`torch.nn.init.calculate_gain`)", forward(tanh),
         "A rounded compromise. At 5 / 3 a standard normal signal grows by "
         f"{(5 / 3) ** 2 * theory.second_moment(tanh):.4f} in the first layer."],
        ["gain of sigmoid", "1 (`calculate_gain`)", forward(sigmoid),
         "PyTorch leaves sigmoid as it is. Ours keeps the second moment, most of which is the mean, 1/2: "
         "the variance over samples is lost all the same."],
        ["gain of SELU", "3 / 4 (`calculate_gain`)", forward(selu),
         "SELU is made so that 1 keeps mean 0 and variance 1 (Klambauer et al. 2017, eq. 2); PyTorch's 3 / 4 "
         "gives that up, its documentation says, for steadier gradients in rectangular layers."],
        ["gain of ReLU", "√2 (`calculate_gain`)", forward(relu), "The same: He et al. 2015, eq. 10."],
        ["σ_w of sigmoid at the edge of chaos, σ_b = 0", "4 (a common rule: \"four times Glorot's for sigmoid\")",
         f"{theory.edge_of_chaos(sigmoid, 0.0):.4f}",
         "4 = 1 / φ'(0) keeps gradients where pre-activations are near 0. Sigmoid's are not: its outputs of about 1/2 "
         "add up, q* is large, and slopes there are small."],
        ["σ_w² of tanh at the edge, σ_b² = 0.04", "1.722 (public Keras initializers that cite Hayou et al.)",
         tanh_edge, f"At 1.722 chi_1 is {tanh_chi}: slightly chaotic."],
        ["σ_w² of SiLU at the edge, σ_b² = 0.04", "2.952 (likewise)", silu_edge,
         f"At 2.952 chi_1 is {silu_chi} where lengths settle. Ours is the point where it is 1; lengths near it "
         "move away from the fixed point."],
    ]  # fmt: skip


def _moments(name: str) -> list[str]:
    phi = activation(name)
    numbers = (
        theory.second_moment(phi),
        theory.second_moment_of_slope(phi),
        theory.gain(phi, "forward"),
        theory.gain(phi, "backward"),
    )
    return [f"`{name}`", *(f"{number:.6f}" for number in numbers), *_edge(phi)]


def _edge(phi: Activation) -> list[str]:
    """Return sigma_w of the edge of chaos at sigma_b 0 and 0.2."""
    found = []
    for sigma_b in (0.0, 0.2):
        try:
            found.append(f"{theory.edge_of_chaos(phi, sigma_b):.5f}")
        except Refused:
            found.append("none")
    return found


def theories() -> str:
    """Return the page of the theory: formulas, numbers, what is left out, and where public numbers differ."""
    parts = [
        "# Theory, and how far to trust it",
        "Made from the program by `python -m winit.reference theory > docs/theory.md`, to which a test holds it.",
        "In a wide network the pre-activations of a layer are Gaussian with mean 0; q is their second moment, z is"
        " N(0, 1), σ_w² is fan_in times the variance of the weights, σ_b² the variance of the biases.",
        "## Formulas",
        _table(["what", "formula", "source"], _FORMULAS),
        "## Finite width",
        "A layer of n units replaces E φ² by an average of n independent terms, so ln q strays: with"
        " κ = E φ⁴ / (E φ²)² - 1 (5 for ReLU, 2 for a linear layer) its variance grows by κ / n per layer, carried"
        " through the slope of the length map, and the typical network lies below the mean by half the variance."
        " Backward κ' = 3 E φ'⁴ / (E φ'²)² - 1. The band in the figures holds 80 in 100 networks of the width."
        " The derivation stands in `winit/theory/propagation.py`.",
        "A test measures every activation from zeros, N(0, 0.01²), Glorot, He, LeCun, orthogonal, N(0, 1) and PyTorch's"
        " default at 2, 10 and 50 layers of 256 units, forward and backward: at most 1 in 100 of 20,832 layers may lie"
        " more than three deviations from the formula. Gradients of deep softplus networks, and of ReLU with"
        " plain residual branches, are larger than predicted: forward and backward share their weights, which the"
        " theory takes to be new.",
        "## Numbers",
        "At q = 1. The edge of chaos is given by its σ_w; for ReLU and its like it is one point, at σ_b = 0.",
        _table(
            ["activation", "E φ²", "E φ'²", "gain, signal", "gain, gradients", "edge, σ_b = 0", "edge, σ_b = 0.2"],
            [_moments(name) for name in ACTIVATIONS],
        ),
        "## Where numbers in use differ",
        _table(["what", "theirs", "ours", "why"], _differences()),
    ]
    return "\n\n".join(parts) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {"initializers": initializers, "theory": theories}
"""What makes each page, by the name of its file in docs/."""


if __name__ == "__main__":
    print(PAGES[sys.argv[1]](), end="")
