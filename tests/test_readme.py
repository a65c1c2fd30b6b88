"""The README tells the truth: its examples run, and the files it names exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from winit.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = _blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    verdict, statuses = capsys.readouterr().out.splitlines()
    assert "per layer" in verdict
    assert statuses == "('stalled', 'stalled')"


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "example", [line for block in _blocks("bash") for line in block.strip().splitlines() if "-m winit" in line]
)
def test_terminal_examples(example: str, tmp_path: Path) -> None:
    arguments = shlex.split(example)[1:]
    short = [*arguments, "--steps", "4", "--width", "8"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *short], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(result.stdout)
    assert found.get("ranking") or found.get("initializers") or found.get("layers") or found.get("code")
    if "--figure" in arguments:
        assert (tmp_path / arguments[arguments.index("--figure") + 1]).stat().st_size > 1_000_000


def test_every_lens_of_the_terminal_is_named() -> None:
    assert all(f"`{name}`" in README for name in [*COMMANDS, "link"])


def test_the_commands_install_what_they_say() -> None:
    run, test = (block for block in _blocks("bash") if "python3 -m venv" in block)
    assert "requirements.txt" in run
    assert "streamlit run app.py" in run
    assert test.strip().endswith('pytest -n 2 --dist loadfile -m "not slow"')
    assert test.split("&&")[-1].strip() in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", re.findall(r"\]\((docs/[^)]+)\)|`((?:winit|deploy|\.ci)/[\w./]+)`", README))
def test_files_it_names_exist(path: tuple[str, str]) -> None:
    assert (ROOT / (path[0] or path[1])).exists()
