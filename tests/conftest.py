"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Busy machines are slow now and then: a deadline would fail tests that are right.
settings.register_profile("winit", deadline=None)
settings.load_profile("winit")

# Not the developer's own store: what was made by yesterday's code would be taken for today's.
_FOLDER = tempfile.TemporaryDirectory(prefix="winit-store-")
os.environ["WINIT_STORE"] = str(Path(_FOLDER.name) / "runs.sqlite")


@pytest.fixture(autouse=True)
def _keep_denormals() -> Iterator[None]:
    """Undo what training sets for its thread: other tests look at the smallest numbers."""
    yield
    torch.set_flush_denormal(False)
