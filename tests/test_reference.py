"""The pages in docs/ are what the program makes, and say all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from winit import reference
from winit.activations import ACTIVATIONS
from winit.initializers import INITIALIZERS, LEFT_OUT
from winit.initializers.biases import BIASES
from winit.translator import TRANSLATIONS

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_what_the_program_makes(name: str) -> None:
    made = reference.PAGES[name]()
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert page == made, f"run: python -m winit.reference {name} > docs/{name}.md"


def _row(page: str, first: str) -> list[str]:
    """Return the cells of the row of a table that begins with `first`."""
    (line,) = [line for line in page.split("\n") if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_of_the_theory_has_the_numbers_of_the_papers() -> None:
    page = reference.theories()
    # E phi^2, E phi'^2, both gains: closed forms for ReLU, Klambauer et al. 2017 for SELU, Monte Carlo elsewhere.
    assert _row(page, "`relu`")[1:] == ["0.500000", "0.500000", "1.414214", "1.414214", "1.41421", "none"]
    assert _row(page, "`selu`")[1] == "1.000000"
    assert float(_row(page, "`tanh`")[3]) == pytest.approx(1.59254, abs=5e-6)
    assert float(_row(page, "`tanh`")[5]) == 1.0
    z = np.random.default_rng(0).standard_normal(1_000_000)
    for name, phi in (("tanh", np.tanh(z)), ("sigmoid", 1 / (1 + np.exp(-z)))):
        assert float(_row(page, f"`{name}`")[1]) == pytest.approx(np.mean(phi**2), abs=2e-3)


@pytest.mark.parametrize("name", [*INITIALIZERS, *INITIALIZERS.aliases, *ACTIVATIONS, *BIASES])
def test_the_page_names_everything(name: str) -> None:
    assert f"`{name}`" in reference.initializers()


@pytest.mark.parametrize("text", [*LEFT_OUT, *(t.trap for t in TRANSLATIONS.values())])
def test_the_page_gives_reasons_and_traps(text: str) -> None:
    assert text.replace("|", r"\|") in reference.initializers()


def test_tables_have_as_many_cells_as_heads() -> None:
    widths = {
        line.replace(r"\|", "").count("|") for line in reference.initializers().split("\n") if line.startswith("| rule")
    }
    assert widths == {5}
    for block in reference.initializers().split("\n\n"):
        rows = [line.replace(r"\|", "").count("|") for line in block.split("\n") if line.startswith("|")]
        assert len(set(rows)) <= 1
