"""Explicit randomness: a seed, a purpose and an index give a generator, and nothing else does.

Streams for different purposes or indices are independent, so the weights of one layer do not depend
on what else was drawn, and a member of an ensemble draws the same alone or in company.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import torch


def generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """Return a fresh generator for `purpose` ("weights", "batches", ...) and `index` (a layer, an epoch)."""
    return torch.Generator().manual_seed(_word(seed, purpose, index))


@lru_cache(maxsize=2**14)
def _word(seed: int, purpose: str, index: int) -> int:
    words = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), index]).generate_state(1, np.uint32)
    return int(words[0])
