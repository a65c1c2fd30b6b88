"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _keep_denormals() -> Iterator[None]:
    """Undo what training sets for its thread: other tests look at the smallest numbers."""
    yield
    torch.set_flush_denormal(False)
