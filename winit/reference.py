"""The catalogue as a page of Markdown: `python -m winit.reference > docs/initializers.md`."""

from __future__ import annotations

from collections.abc import Sequence

from winit import theory
from winit.activations import ACTIVATIONS, activation
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


def markdown() -> str:
    """Return the whole page."""
    biases = [[f"`{b.name}`", _parameters(b.parameters), b.purpose, b.source] for b in BIASES.values()]
    laws = [[f"`{t.written}` ({t.label})", f"`{t.initializer}`", t.bias, t.trap] for t in TRANSLATIONS.values()]
    parts = [
        "# Initializers, activations and biases",
        "Made from the catalogue by `python -m winit.reference > docs/initializers.md`, to which a test holds it.",
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


if __name__ == "__main__":
    print(markdown(), end="")
