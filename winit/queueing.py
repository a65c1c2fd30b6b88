"""One fair turn per process for heavy work.

Small tensor operations of many threads fight for the interpreter lock and all get slower; one at a
time, first come, first served, they finish sooner. Work is done in slices of a fraction of a second.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

WORKERS = max(1, os.cpu_count() or 1)
POOL = ThreadPoolExecutor(WORKERS, thread_name_prefix="winit")
"""Threads for the parts of one turn's work. torch's own threads win alone, but collapse beside any busy process."""

_condition = threading.Condition()
_waiting: deque[object] = deque()


@contextmanager
def turn() -> Iterator[None]:
    """Wait for this thread's turn, in order of arrival, and hold it for the duration of the block."""
    ticket = object()
    with _condition:
        _waiting.append(ticket)
        _condition.wait_for(lambda: _waiting[0] is ticket)
    try:
        yield
    finally:
        with _condition:
            _waiting.popleft()
            _condition.notify_all()
