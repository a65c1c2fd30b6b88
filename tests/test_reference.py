"""docs/initializers.md is made from the catalogue, and says all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from winit import reference
from winit.activations import ACTIVATIONS
from winit.initializers import INITIALIZERS, LEFT_OUT
from winit.initializers.biases import BIASES
from winit.translator import TRANSLATIONS

PAGE = Path(__file__).parent.parent / "docs" / "initializers.md"


def test_the_page_is_what_the_catalogue_makes() -> None:
    made = reference.markdown()
    assert PAGE.read_text(encoding="utf-8") == made, "run: python -m winit.reference > docs/initializers.md"


@pytest.mark.parametrize("name", [*INITIALIZERS, *INITIALIZERS.aliases, *ACTIVATIONS, *BIASES])
def test_the_page_names_everything(name: str) -> None:
    assert f"`{name}`" in reference.markdown()


@pytest.mark.parametrize("text", [*LEFT_OUT, *(t.trap for t in TRANSLATIONS.values())])
def test_the_page_gives_reasons_and_traps(text: str) -> None:
    assert text.replace("|", r"\|") in reference.markdown()


def test_tables_have_as_many_cells_as_heads() -> None:
    widths = {
        line.replace(r"\|", "").count("|") for line in reference.markdown().split("\n") if line.startswith("| rule")
    }
    assert widths == {5}
    for block in reference.markdown().split("\n\n"):
        rows = [line.replace(r"\|", "").count("|") for line in block.split("\n") if line.startswith("|")]
        assert len(set(rows)) <= 1
