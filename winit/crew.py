"""A sweep in several processes, for the terminal.

Threads that train small networks wait for each other's turn in the interpreter; processes do not. Each helper
trains a share of the runs and sends what it has finished; the store, and all that is kept, belong to this process.
Whoever is lost on the way leaves their runs to it. No number depends on who trained what.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from winit import budget, datasets
from winit.lenses import CompareKnobs
from winit.network import Member
from winit.queueing import WORKERS
from winit.spec import Spec
from winit.sweep import SLICE, Progress, Sweep, split
from winit.training import Training, group_size

_WORTH = 1.0
"""Expected seconds of a sweep, above which helpers are worth it."""


def crewed(spec: Spec, knobs: CompareKnobs, **options: Any) -> Sweep:
    """Return the sweep of these options (see `Sweep`), by helpers where they are worth it and the system has them.

    A process with threads has none: what its other threads hold at that moment, a copy of it would hold for ever.
    Nor have systems other than Linux: the libraries that multiply there do not bear to be copied.
    """
    can_fork = sys.platform == "linux" and threading.active_count() == 1
    is_worth_it = budget.comparison_price(spec, knobs).seconds > _WORTH
    return Crew(spec, knobs, **options) if WORKERS > 1 and can_fork and is_worth_it else Sweep(spec, knobs, **options)


@dataclass(eq=False)
class _Helper:
    process: BaseProcess
    line: Connection
    """Where it is heard."""
    steps: int = 0
    """Of all its runs that are in training."""


class Crew(Sweep):
    """A sweep whose runs are trained by `helpers` processes; see `Sweep` for the rest."""

    def __init__(self, spec: Spec, knobs: CompareKnobs, *, helpers: int = WORKERS, **options: Any) -> None:
        super().__init__(spec, knobs, **options)
        self._count = helpers
        self._helpers: list[_Helper] = []

    @property
    def _running(self) -> int:
        return super()._running + sum(helper.steps for helper in self._helpers)

    def advance(self, seconds: float, is_enough: Callable[[], bool] = lambda: False) -> Progress:
        """Listen to the helpers for about `seconds`; where none is left, train what is missing."""
        end = time.monotonic() + seconds
        if self._begun is None:
            self._begun = time.monotonic()
            self._hire()
        while self._helpers and not self.is_finished and time.monotonic() < end:
            heard = wait([helper.line for helper in self._helpers], max(0.0, end - time.monotonic()))
            for helper in [helper for helper in self._helpers if helper.line in heard]:
                self._hear(helper)
        if self._helpers or self.is_finished:
            return self.progress
        return super().advance(end - time.monotonic(), is_enough)

    def _hire(self) -> None:
        datasets.load(self.spec.dataset)  # once, not in each helper
        missing = [member for member in self._order if member not in self._found]
        context = multiprocessing.get_context("fork")
        shares = [missing[first :: self._count] for first in range(min(self._count, len(missing)))]
        lines = [context.Pipe(duplex=False) for _ in shares]
        ears = [ear for ear, _ in lines]
        for share, (ear, mouth) in zip(shares, lines, strict=True):
            work = (self.spec, share, self._every, self._at_once, mouth, ears)
            process = context.Process(target=_train, args=work, daemon=True)
            process.start()
            mouth.close()
            self._helpers.append(_Helper(process, ear))

    def _hear(self, helper: _Helper) -> None:
        try:
            said = helper.line.recv()
        except EOFError:  # done, or lost
            helper.process.join()
            self._helpers.remove(helper)
            return
        if isinstance(said, int):
            helper.steps = said
            return
        helper.steps = 0
        self._keep(said)


def _train(
    spec: Spec,
    members: Sequence[Member],
    every: int | None,
    at_once: int | None,
    line: Connection,
    ears: Sequence[Connection],
) -> None:
    """Train members, group after group; say how far it is, and what is finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the process that hears us
    for ear in ears:
        ear.close()  # or nobody would notice that it is gone
    size = at_once or group_size(spec, len(members), workers=1)
    try:
        for first in range(0, len(members), size):
            training = Training(spec, members[first : first + size], every=every, workers=1)
            next(training)
            while not training.is_finished:
                if training.reach(time.monotonic() + SLICE):
                    next(training)
                line.send(training.step * len(training.members))
            line.send(split(training.history()))
    except BrokenPipeError:
        pass  # nobody hears us any more
