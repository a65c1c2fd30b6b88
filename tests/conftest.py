"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# Busy machines are slow now and then: a deadline would fail tests that are right.
settings.register_profile("winit", deadline=None)
settings.load_profile("winit")


@pytest.fixture(autouse=True)
def _keep_denormals() -> Iterator[None]:
    """Undo what training sets for its thread: other tests look at the smallest numbers."""
    yield
    torch.set_flush_denormal(False)
