"""One fair turn per process for heavy work.

Small tensor operations of many threads fight for the interpreter lock and all get slower; one at a
time they finish sooner. There are two classes of work. Slices, of at most `SLICE` seconds, are what
somebody waits for: round robin over visitors, however many each asks for. Jobs take many slices: a
visitor has one place in their queue, only the first works, and each slice that waits goes before it.

All of this lives in a module: what lies in Streamlit's caches can be cleared by any visitor.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from winit import host

WORKERS = host.cores()
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


SLICE = 0.15
"""Seconds that a slice may take; a job lets waiting slices pass after each."""

PIECE = 0.05
"""Seconds after which a slice that can stop should, where another waits."""

TRIFLE = 0.02
"""Expected seconds of a whole computation below which it waits for nobody: no more than drawing what it makes."""

_LOOK = 0.1  # seconds between two looks at whether a waiting visitor has left
_JOB_PATIENCE = 1.0  # seconds after which a job's slice goes before others: a crowd must not stop it for good
_SILENCE = 3.0  # seconds without a question after which a place in the queue holds up nobody
_REMEMBERED = 1024  # visitors whose last turn is remembered
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """Whose work it is."""

    visitor: Hashable
    lens: str = ""
    checkpoint: Callable[[], object] = lambda: None
    """Called now and then while the work waits; raises where nobody waits for it any more."""


@dataclass(frozen=True)
class Work:
    """A turn that ended. Nothing of it says who the visitor was."""

    lens: str
    kind: str
    """slice or job."""
    cost: float | None
    """Expected seconds of the whole computation, where they were said."""
    waited: float
    """Seconds."""
    held: float
    """Seconds."""
    outcome: str
    """done, failed (an error), or stopped (the visitor left, or asked for something else)."""

    @property
    def sentence(self) -> str:
        """The turn as one line of a log."""
        cost = "unknown" if self.cost is None else f"{self.cost:.3g}"
        times = f"waited={self.waited:.3f} held={self.held:.3f}"
        return f"lens={self.lens or 'home'} kind={self.kind} cost={cost} {times} outcome={self.outcome}"


@dataclass(frozen=True)
class Crowd:
    """How many wait."""

    slices: int
    jobs: int
    """Places in the queue of jobs, those at work included."""


@dataclass(eq=False)
class _Ticket:
    caller: Caller
    arrived: float
    place: Place | None = None
    began: float | None = None
    """When it got the turn."""


def _this_thread() -> Caller:
    return Caller(threading.get_ident())


_condition = threading.Condition()
_waiting: list[_Ticket] = []
_at_work: _Ticket | None = None
_last_turn: OrderedDict[Hashable, int] = OrderedDict()
_numbers = itertools.count(1)
_places: dict[Hashable, Place] = {}
_identify: Callable[[], Caller] = _this_thread
_watchers: list[Callable[[Work], object]] = []


def identify_by(function: Callable[[], Caller]) -> None:
    """Say how it is found out for whom the present thread works; without it each thread is a visitor."""
    global _identify
    _identify = function


def watch(function: Callable[[Work], object]) -> None:
    """Have a function called with every turn that ends."""
    _watchers.append(function)


def crowd() -> Crowd:
    """Return how many wait."""
    with _condition:
        return Crowd(sum(ticket.place is None for ticket in _waiting), len(_places))


def is_long_enough() -> bool:
    """Return whether who holds the turn should stop if they can: another slice waits, and they had their piece."""
    held = _at_work
    is_waited_for = any(ticket.place is None for ticket in list(_waiting))
    return is_waited_for and held is not None and time.monotonic() >= (held.began or 0.0) + PIECE


@contextmanager
def turn(cost: float | None = None) -> Iterator[None]:
    """Wait for the turn of a slice, and hold it for the duration of the block.

    `cost` is the price in seconds of the computation that it belongs to; a trifle waits for nobody. Raises what
    the caller's checkpoint raises where the visitor leaves meanwhile.
    """
    with _trifle(_identify(), cost) if cost is not None and cost < TRIFLE else _turn(_identify(), None, cost):
        yield


class Place:
    """A visitor's place in the queue of jobs; a visitor who joins again begins at the end.

    A page that shows a job asks for `position` in each of its runs: whoever has not asked for some
    seconds (a closed, frozen or hidden tab) holds up nobody, and stands where they stood when they ask again.

    >>> place = Place()
    >>> place.position
    0
    >>> with place.turn(cost=2.0):
    ...     pass
    >>> place.leave()
    """

    def __init__(self) -> None:
        self._visitor = _identify().visitor
        self._asked = time.monotonic()
        with _condition:
            _places.pop(self._visitor, None)
            _places[self._visitor] = self

    @property
    def position(self) -> int:
        """How many are ahead; 0 may work."""
        with _condition:
            return self._position()

    def _position(self) -> int:
        self._asked = now = time.monotonic()
        if self._visitor not in _places:  # after a blip of the network
            _places[self._visitor] = self
        ahead = 0
        for place in _places.values():
            if place is self:
                return ahead
            ahead += now - place._asked < _SILENCE
        return ahead  # another page of this visitor has the place: at the end

    @contextmanager
    def turn(self, cost: float | None = None) -> Iterator[None]:
        """Wait until nobody is ahead and no slice waits, and hold the turn for a slice of the job."""
        with _turn(_identify(), self, cost):
            yield

    def leave(self) -> None:
        """Give the place up: the job ended or was cancelled."""
        with _condition:
            if _places.get(self._visitor) is self:
                del _places[self._visitor]
            _condition.notify_all()


def leave(visitor: Hashable) -> None:
    """Give up the place of a visitor who left."""
    with _condition:
        _places.pop(visitor, None)
        _condition.notify_all()


@contextmanager
def _trifle(caller: Caller, cost: float) -> Iterator[None]:
    began = time.monotonic()
    with _told(caller, "slice", cost, lambda: (began, began)):
        yield


@contextmanager
def _turn(caller: Caller, place: Place | None, cost: float | None) -> Iterator[None]:
    global _at_work
    ticket = _Ticket(caller, time.monotonic(), place)
    with _told(caller, "slice" if place is None else "job", cost, lambda: (ticket.arrived, ticket.began)):
        with _condition:
            _waiting.append(ticket)
        try:
            while ticket.began is None:
                with _condition:
                    if _condition.wait_for(lambda: _next() is ticket, _LOOK):
                        _at_work, ticket.began = ticket, time.monotonic()
                        _waiting.remove(ticket)
                if ticket.began is None:
                    caller.checkpoint()
            yield
        finally:
            with _condition:
                if _at_work is ticket:
                    _at_work = None
                    _last_turn[caller.visitor] = next(_numbers)
                    _last_turn.move_to_end(caller.visitor)
                    while len(_last_turn) > _REMEMBERED:
                        _last_turn.popitem(last=False)
                else:
                    _waiting.remove(ticket)
                _condition.notify_all()


@contextmanager
def _told(
    caller: Caller, kind: str, cost: float | None, times: Callable[[], tuple[float, float | None]]
) -> Iterator[None]:
    """Tell the log and the watchers of a turn when it ends; `times` are those of its arrival and of its beginning."""
    outcome = "stopped"
    try:
        yield
        outcome = "done"
    except Exception:
        outcome = "failed"
        raise
    finally:
        ended = time.monotonic()
        arrived, began = times()
        start = ended if began is None else began
        work = Work(caller.lens, kind, cost, start - arrived, ended - start, outcome)
        _LOG.info("%s", work.sentence)
        for watcher in _watchers:
            watcher(work)


def _next() -> _Ticket | None:
    """Return who goes next; None while somebody is at work or nobody may."""
    if _at_work is not None:
        return None
    slices = [ticket for ticket in _waiting if ticket.place is None]
    jobs = [ticket for ticket in _waiting if ticket.place is not None and ticket.place._position() == 0]
    if jobs and (not slices or time.monotonic() - jobs[0].arrived > _JOB_PATIENCE):
        return jobs[0]
    # Who had a turn longest ago; of those, who came first.
    return min(slices, key=lambda ticket: _last_turn.get(ticket.caller.visitor, 0), default=None)
