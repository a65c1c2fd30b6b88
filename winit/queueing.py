"""One fair turn per process for heavy work.

Small tensor operations of many threads fight for the interpreter lock and all get slower; one at a
time, first come, first served, they finish sooner. Work is done in slices of a fraction of a second.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

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
