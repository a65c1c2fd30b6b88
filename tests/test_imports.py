"""The direction of imports, read from the source: who may know whom, and what nobody does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "winit"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]
LAYERS: dict[str, int] = {
    "seeds": 0,
    "activations": 0,
    "initializers": 0,
    "datasets": 0,
    "spec": 1,
    "network": 2,
    "signal": 3,
    "training": 3,
    "comparison": 4,
}
"""Who knows whom: a module imports from rows below its own, or from its own row, never from above."""
FORBIDDEN_NAMES = ("utils.py", "helpers.py", "common.py", "types.py")


def _name(path: Path) -> str:
    """Return the dotted name of a module of the package, or the stem of a script."""
    if PACKAGE not in path.parents:
        return path.stem
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(source: str, name: str, *, is_package: bool = False) -> set[str]:
    """Return the dotted names of all that a module imports, anywhere in it, `from x import y` as both x and x.y."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")
                kept = parents[: len(parents) - node.level + is_package]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def _imports_of(path: Path) -> set[str]:
    return _imports(path.read_text(encoding="utf-8"), _name(path), is_package=path.name == "__init__.py")


def _roots(imports: set[str]) -> set[str]:
    return {name.split(".")[0] for name in imports}


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` for an attribute chain or a name, and the empty string for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _global_seeding(source: str) -> list[str]:
    """Return the calls that seed a generator shared by the process.

    A method of a generator of one's own, such as `torch.Generator().manual_seed(0)`, is none.
    """
    tree = ast.parse(source)
    alias: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            alias.update({entry.asname: entry.name for entry in node.names if entry.asname})
        elif isinstance(node, ast.ImportFrom) and node.module:
            alias.update({entry.asname or entry.name: f"{node.module}.{entry.name}" for entry in node.names})
    forbidden = {
        "torch.manual_seed",
        "torch.seed",
        "torch.random.manual_seed",
        "torch.random.seed",
        "torch.cuda.manual_seed",
        "torch.cuda.manual_seed_all",
        "torch.set_rng_state",
        "torch.random.set_rng_state",
        "numpy.random.seed",
        "numpy.random.set_state",
        "random.seed",
        "random.setstate",
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = _dotted(node.func).partition(".")
            called = ".".join(filter(None, [alias.get(first, first), rest]))
            if called in forbidden:
                found.append(f"line {node.lineno}: {called}")
    return found


EACH_MODULE = pytest.mark.parametrize("path", MODULES, ids=_name)
EACH_CORE_MODULE = pytest.mark.parametrize(
    "path", [path for path in MODULES if PACKAGE / "ui" not in path.parents], ids=_name
)
EACH_FIGURE = pytest.mark.parametrize("path", sorted((PACKAGE / "figures").rglob("*.py")), ids=_name)


def test_the_package_is_where_it_is_looked_for() -> None:
    names = {_name(path) for path in MODULES}
    assert {f"winit.{name}" for name in LAYERS} <= names
    assert {"winit", "winit.figures", "winit.ui", "winit.ui.frame", "winit.__main__"} <= names
    assert len(SCRIPTS) >= 4


def test_the_reader_sees_every_kind_of_import() -> None:
    source = """
import torch.nn as nn
from winit import spec, training as run
if True:
    from ..figures import palette
def late():
    import streamlit
"""
    assert _imports(source, "winit.ui.live") == {
        "torch.nn",
        "winit",
        "winit.spec",
        "winit.training",
        "winit.figures",
        "winit.figures.palette",
        "streamlit",
    }
    assert _imports("from . import live", "winit.ui", is_package=True) == {"winit.ui", "winit.ui.live"}


def test_the_reader_tells_global_seeding_from_a_generator_of_ones_own() -> None:
    source = """
import numpy as np, torch, random
from torch import manual_seed as fix
torch.manual_seed(0)
np.random.seed(0)
fix(0)
random.seed(1)
torch.Generator().manual_seed(0)
generator.manual_seed(0)
np.random.default_rng(0)
"torch.manual_seed(0)"
"""
    assert [entry.split(": ")[1] for entry in _global_seeding(source)] == [
        "torch.manual_seed",
        "numpy.random.seed",
        "torch.manual_seed",
        "random.seed",
    ]


@EACH_CORE_MODULE
def test_only_the_ui_imports_streamlit(path: Path) -> None:
    assert "streamlit" not in _roots(_imports_of(path))


@EACH_CORE_MODULE
def test_the_core_does_not_know_the_ui(path: Path) -> None:
    assert not {name for name in _imports_of(path) if name.startswith("winit.ui")}


@EACH_FIGURE
def test_figures_import_neither_streamlit_nor_torch(path: Path) -> None:
    assert not _roots(_imports_of(path)) & {"streamlit", "torch"}


@pytest.mark.parametrize("name", list(LAYERS))
def test_a_layer_knows_only_what_lies_below(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    above = {f"winit.{other}" for other, row in LAYERS.items() if row > LAYERS[name]}
    assert not _imports_of(path) & above


@pytest.mark.parametrize("name", list(LAYERS))
def test_the_core_does_not_know_its_users(name: str) -> None:
    """Neither figures nor the terminal: results flow upwards only."""
    used = _imports_of(PACKAGE / f"{name}.py")
    assert not {other for other in used if other.startswith(("winit.figures", "winit.__main__", "winit.ui"))}
    assert "plotly" not in _roots(used)


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=_name)
def test_nobody_imports_a_page(path: Path) -> None:
    assert not _roots(_imports_of(path)) & {"app", "pages"}


def test_imports_within_the_package_run_in_no_circle() -> None:
    names = {_name(path) for path in MODULES}
    knows = {_name(path): _imports_of(path) & names - {_name(path), "winit"} for path in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in sorted(knows[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(names):
        visit(name, ())


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    assert not [str(path) for path in [*MODULES, *SCRIPTS] if path.name in FORBIDDEN_NAMES]


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=_name)
def test_nothing_seeds_the_whole_process(path: Path) -> None:
    assert _global_seeding(path.read_text(encoding="utf-8")) == []
