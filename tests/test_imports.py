"""The rules of DESIGN.md, section 2, read from the sources: who may import whom, and what nobody may do."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "winit").rglob("*.py"))
PAGES = sorted((ROOT / "pages").glob("*.py"))
SCRIPTS = [*PAGES, *(path for path in [ROOT / "app.py"] if path.exists())]
FORBIDDEN_NAMES = {"utils", "helpers", "common", "types", "util", "helper", "misc"}
ROOMS = ("winit", "pages", "tests", "benchmarks", "deploy")

RANKS = {
    "winit.fields": 0,
    "winit.host": 0,
    "winit.seeds": 0,
    "winit.datasets": 0,
    "winit.losses": 1,
    "winit.textform": 1,
    "winit.laws": 1,
    "winit.activations": 2,
    "winit.layers": 3,
    "winit.theory": 3,
    "winit.theory.gaussian": 3,
    "winit.theory.propagation": 3,
    "winit.optimizers": 4,
    "winit.initializers": 4,
    "winit.initializers.biases": 4,
    "winit.export": 5,
    "winit.spec": 5,
    "winit.translator": 6,
    "winit.network": 6,
    "winit.lenses": 7,
    "winit.distributions": 7,
    "winit.signal": 7,
    "winit.small": 7,
    "winit.statistics": 7,
    "winit.training": 7,
    "winit.budget": 8,
    "winit.comparison": 8,
    "winit.permalink": 8,
    "winit.spectrum": 8,
    "winit.recording": 8,
    "winit.sharing": 9,
    "winit.store": 9,
    "winit.sweep": 10,
}
"""From the bottom up: a module never needs, directly or through others, one of a higher rank."""

DRAWS = {
    *(
        "rand",
        "randn",
        "randint",
        "randperm",
        "normal",
        "bernoulli",
        "multinomial",
        "poisson",
        "rand_like",
        "randn_like",
    ),
    *("normal_", "uniform_", "trunc_normal_", "bernoulli_", "random_", "exponential_", "cauchy_", "log_normal_"),
}
SEEDERS = {
    *("torch.manual_seed", "torch.seed", "torch.random.manual_seed", "torch.set_rng_state", "torch.random.seed"),
    *("numpy.random.seed", "numpy.random.set_state", "random.seed", "random.setstate"),
}


def _module(path: Path) -> str:
    """Return the dotted name of a file: winit.ui.frame, pages.signal, app."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(source: str, module: str = "", *, package: bool = False) -> set[str]:
    """Return the dotted names of everything a source imports, wherever it does so.

    `from a import b` counts as a and as a.b: b may be a module. Relative imports are resolved
    against `module`, calls of `import_module` and `__import__` with a plain name count too.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: len(module.split(".")) - node.level + package]
                base = ".".join([*parents, *([base] if base else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                names.add(node.args[0].value)
    return names


def _imports_of(path: Path) -> set[str]:
    return _imports(path.read_text(encoding="utf-8"), _module(path), package=path.name == "__init__.py")


def _imports_any(names: set[str], *wanted: str) -> bool:
    return any(name == want or name.startswith(f"{want}.") for name in names for want in wanted)


def _graph() -> dict[str, set[str]]:
    """Return, for every module of the package, the modules of the package that it imports."""
    modules = {_module(path) for path in PACKAGE}
    return {_module(path): (_imports_of(path) & modules) - {"winit", _module(path)} for path in PACKAGE}


def _reach(module: str, graph: dict[str, set[str]]) -> set[str]:
    """Return everything a module needs, directly or through others."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for name in graph[waiting.pop()] - found:
            found.add(name)
            waiting.append(name)
    return found


def _is_in(path: Path, *rooms: str) -> bool:
    return any((ROOT / "winit" / room) in path.parents for room in rooms)


def _dotted(node: ast.expr) -> str:
    """Return a.b.c for an attribute of a plain name, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with its full name: `np.random.seed(0)` is numpy.random.seed, whatever it was imported as."""
    tree = ast.parse(source)
    full: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _dotted(node.func)
            head, _, tail = name.partition(".")
            if name:
                yield (f"{full.get(head, head)}.{tail}" if tail else full.get(head, head)), node
            elif isinstance(node.func, ast.Attribute):
                yield f"?.{node.func.attr}", node


def _global_seeding(source: str) -> list[str]:
    return [name for name, _ in _calls(source) if name in SEEDERS]


def _draws_without_generator(source: str) -> list[str]:
    """Return the draws from a global generator: torch's without `generator=`, and numpy's functions.

    A generator that is made without a seed counts as one.
    """
    found = []
    for name, call in _calls(source):
        last = name.rsplit(".", 1)[-1]
        from_torch = last in DRAWS and (name.startswith("torch.") or last.endswith("_"))
        if from_torch and not any(keyword.arg == "generator" for keyword in call.keywords):
            found.append(name)
        own = last in ("default_rng", "SeedSequence", "Generator", "PCG64", "RandomState") and call.args
        if name.startswith("numpy.random.") and not own:
            found.append(name)
    return found


EACH_MODULE = pytest.mark.parametrize("path", PACKAGE, ids=_module)
EACH_FILE = pytest.mark.parametrize("path", [*PACKAGE, *SCRIPTS], ids=_module)


# The rules


def test_the_sources_are_found() -> None:
    assert {_module(path) for path in PACKAGE} >= set(RANKS) | {"winit", "winit.__main__"}


def test_every_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {_module(path) for path in PACKAGE if path.name == "__init__.py"}
    assert set(project["tool"]["setuptools"]["packages"]) == packages


@EACH_MODULE
def test_only_ui_and_server_import_streamlit(path: Path) -> None:
    if not _is_in(path, "ui", "server"):
        assert not _imports_any(_imports_of(path), "streamlit")


@EACH_MODULE
def test_figures_know_results_only(path: Path) -> None:
    if _is_in(path, "figures"):
        assert not _imports_any(_imports_of(path), "streamlit", "torch", "winit.ui")


@EACH_MODULE
def test_nothing_below_knows_ui_or_figures(path: Path) -> None:
    if not _is_in(path, "ui", "figures", "server"):
        assert not _imports_any(_imports_of(path), "winit.ui")
        # The terminal, which stands above them all, writes figures to files.
        if _module(path) != "winit.__main__":
            assert not _imports_any(_imports_of(path), "winit.figures", "plotly")


@EACH_FILE
def test_pages_and_home_are_imported_by_nobody(path: Path) -> None:
    assert not _imports_any(_imports_of(path), "pages", "app", "winit.__main__")


@pytest.mark.sampled(5)
@pytest.mark.parametrize("module", list(RANKS))
def test_modules_need_none_above_them(module: str) -> None:
    above = {name for name in _reach(module, _graph()) if RANKS.get(name, -1) > RANKS[module]}
    assert not above


def test_nothing_goes_in_circles() -> None:
    graph = _graph()
    assert not [module for module in graph if module in _reach(module, graph)]


def test_the_address_does_not_know_the_page() -> None:
    needed = _reach("winit.permalink", _graph())
    assert "winit.spec" in needed
    assert not [name for name in needed if name.startswith(("winit.ui", "winit.figures"))]
    assert not _imports_any(_imports_of(ROOT / "winit" / "permalink.py"), "streamlit", "torch")


def test_no_file_is_a_drawer_for_everything() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")] + list(ROOT.glob("*.py"))
    assert len(files) > len(PACKAGE)
    drawers = [path for path in files if {path.stem, path.parent.name} & FORBIDDEN_NAMES]
    assert not drawers


@EACH_FILE
def test_nothing_seeds_globally(path: Path) -> None:
    assert not _global_seeding(path.read_text(encoding="utf-8"))


@EACH_FILE
def test_every_draw_names_its_generator(path: Path) -> None:
    assert not _draws_without_generator(path.read_text(encoding="utf-8"))


# The reader itself: each rule would notice


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import streamlit", {"streamlit"}),
        ("import streamlit.components.v2 as v2", {"streamlit.components.v2"}),
        ("from streamlit import cache_data", {"streamlit", "streamlit.cache_data"}),
        ("def f():\n    import streamlit as st", {"streamlit"}),
        ("if TYPE_CHECKING:\n    from torch import Tensor", {"torch", "torch.Tensor"}),
        ("import importlib\nimportlib.import_module('streamlit')", {"importlib", "streamlit"}),
        ("__import__('torch')", {"torch"}),
        ("from . import frame", {"winit.ui", "winit.ui.frame"}),
        ("from .. import spec", {"winit", "winit.spec"}),
        ("from ..figures.curves import loss", {"winit.figures.curves", "winit.figures.curves.loss"}),
        ("text = 'import streamlit'", set()),
    ],
)
def test_imports_are_read(source: str, expected: set[str]) -> None:
    assert _imports(source, "winit.ui.knobs") == expected


def test_relative_imports_of_a_package_are_its_own() -> None:
    assert _imports("from .frame import open_frame", "winit.ui", package=True) >= {"winit.ui.frame"}


def test_a_name_that_only_begins_alike_is_another() -> None:
    assert not _imports_any({"streamlit_extras", "apple"}, "streamlit", "app")
    assert _imports_any({"streamlit.runtime"}, "streamlit")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch\ntorch.manual_seed(0)", True),
        ("import torch as t\nt.manual_seed(0)", True),
        ("from torch import manual_seed\nmanual_seed(0)", True),
        ("import numpy as np\nnp.random.seed(1)", True),
        ("import random\nrandom.seed(1)", True),
        ("import torch\ntorch.Generator().manual_seed(0)", False),
        ("snippet = 'torch.manual_seed(0)'", False),
        ("source.manual_seed(0)", False),
    ],
)
def test_global_seeding_is_noticed(source: str, found: bool) -> None:
    assert bool(_global_seeding(source)) is found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch\ntorch.randn(3)", True),
        ("import torch\ntorch.empty(3).normal_()", True),
        ("x.uniform_(-1, 1)", True),
        ("from torch import randperm\nrandperm(5)", True),
        ("import numpy as np\nnp.random.normal(size=3)", True),
        ("import torch\ntorch.randn(3, generator=source)", False),
        ("import torch\ntorch.empty(3).normal_(generator=source)", False),
        ("import numpy as np\nnp.random.default_rng(0).normal(size=3)", False),
        ("import numpy as np\nnp.random.default_rng().normal(size=3)", True),
        ("import numpy as np\nnp.random.RandomState(0).normal(size=3)", False),
        ("rng.normal(size=3)", False),
        ("code = 'torch.nn.init.normal_(layer.weight)'", False),
    ],
)
def test_a_draw_without_generator_is_noticed(source: str, found: bool) -> None:
    assert bool(_draws_without_generator(source)) is found
