"""One fair turn per process for heavy work.

Small tensor operations of many threads fight for the interpreter lock and all get slower; one at a
time, first come, first served, they finish sooner. Work is done in slices of a fraction of a second.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

WORKERS = max(1, os.cpu_count() or 1)
POOL = ThreadPoolExecutor(WORKERS, thread_name_prefix="winit")
"""Threads for the parts of one turn's work. torch's own threads win alone, but collapse beside any busy process."""

T = TypeVar("T")
R = TypeVar("R")


def spread(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return what `work` makes of each item, in order, on this thread and on those of the pool that are idle.

    This thread waits for no item that nobody has begun, so work may itself be spread, on a thread of the pool too.
    """
    lock = threading.Lock()
    waiting = iter(range(len(items)))
    found: dict[int, R] = {}

    def help_out() -> None:
        while True:
            with lock:
                number = next(waiting, None)
            if number is None:
                return
            found[number] = work(items[number])

    helpers = [POOL.submit(help_out) for _ in range(min(WORKERS, len(items)) - 1)]
    try:
        help_out()
    finally:
        with lock:
            waiting = iter(())
        begun = [helper for helper in helpers if not helper.cancel()]
    for helper in begun:
        helper.result()
    return [found[number] for number in range(len(items))]


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
