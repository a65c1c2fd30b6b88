"""Several processes behind one port, for one interpreter keeps no more than one core busy.

The front door imports everything, copies itself for each worker (what it has imported they share), accepts
connections and hands each to a worker, by its file descriptor: the bytes and the visitor's address pass nobody.
It looks at the head of a connection's first request without taking it. A page that comes back after a blip names the
process where its session lives, by a cookie; others go where fewest pages are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import re
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import uvicorn
from streamlit.web.server.server_util import get_cookie_secret
from uvicorn.config import STARTUP_FAILURE

from winit import host
from winit.server.settings import Settings
from winit.server.shared import Seat, Tally, process_of

_BASE, _EACH = 500e6, 200e6
"""Bytes that the app takes, and that each further process adds."""
_HEAD = 16_384
"""Bytes in which the head of a request must end; uvicorn's own limit."""
_PATIENCE = 5.0
"""Seconds in which it must arrive."""
_MOST_GUESTS = 512
"""Connections whose request has not arrived: above this the oldest goes."""
_AT_ONCE = 64
"""Connections that are accepted, or taken over, before anything else is looked at."""
_TICK = 0.25
"""Seconds between two looks at the clock."""
_PROMISE = 5.0
"""Seconds in which a page that was asked for opens its connection: until then it counts as one."""
_LEAN = 4
"""Pages that a process may have more than another before a new page goes to that one, whatever its cookie."""
_PAUSE = 1.0
"""Seconds between two beginnings of a worker, at least."""
FAREWELL = 5
"""Seconds in which requests may be finished, at the end."""
_BEAT = 1.0
"""Seconds between two signs of life of a worker."""
_READY, _LEAVING, _TAKEN, _ALIVE = b"+", b"-", b"c", b"."

_LOG = logging.getLogger(__name__)


def count(settings: Settings) -> int:
    """Return how many processes serve on this host. A copy of a process is safe to work in on Linux only."""
    if sys.platform != "linux":
        return 1
    return settings.processes or max(1, min(host.cores(), 1 + int((host.memory() - _BASE) // _EACH)))


@dataclass(frozen=True)
class Wish:
    """What the head of a request says about where it wants to go."""

    process: int | None
    """The one that the cookie names."""
    is_resuming: bool
    """Whether it is a page that asks for its session."""


def read_head(data: bytes) -> Wish | None:
    r"""Return what the beginning of a connection says; None while the head has not ended.

    >>> read_head(b"GET / HTTP/1.1\r\nCookie: winit_process=1\r\n\r\n")
    Wish(process=1, is_resuming=False)
    >>> read_head(b"GET / HTTP/1.1\r\nCoo")
    """
    end = re.search(rb"\n\r?\n", data)
    if end is None:
        return None
    process, is_resuming = None, False
    for line in data[: end.start()].decode("latin-1").split("\n")[1:]:
        name, _, value = line.partition(":")
        match name.strip().lower():
            case "cookie":
                found = process_of(value.strip())
                process = process if found is None else found
            case "sec-websocket-protocol":  # Streamlit's pages: protocol, token, session
                is_resuming = bool("".join(value.split(",")[2:]).strip())
    return Wish(process, is_resuming)


@dataclass(frozen=True)
class Load:
    """What a worker that is ready has to do."""

    process: int
    pages: int
    """That are open, or about to be."""
    last: float = 0.0
    """When it was last given something, as seconds of any clock."""


def choose(loads: Sequence[Load], wish: Wish) -> int | None:
    """Return the process that a connection goes to: None where there is none.

    >>> choose([Load(0, 3), Load(1, 2)], Wish(None, False)), choose([Load(0, 3), Load(1, 2)], Wish(0, False))
    (1, 0)
    """
    idle = min(loads, key=lambda load: (load.pages, load.last), default=None)
    if idle is None:
        return None
    for load in loads:
        if load.process == wish.process and (wish.is_resuming or load.pages <= idle.pages + _LEAN):
            return load.process
    return idle.process


@dataclass(eq=False)
class _Worker:
    """A process that serves, as the front door knows it."""

    number: int
    process: BaseProcess
    line: socket.socket
    """Over it go connections one way, and the other way whether it takes any, that it has taken one, that it lives."""
    begun: float
    heard: float
    """When it last said something."""
    is_ready: bool = False
    under_way: deque[socket.socket] = field(default_factory=deque)
    """Connections that it has not taken yet."""
    promised: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    """When pages were asked for that may not have opened yet."""
    last: float = 0.0


@dataclass(frozen=True)
class _Guest:
    """A connection whose request has not arrived."""

    connection: socket.socket
    until: float


class FrontDoor:
    """Accepts connections at an address and hands them to `processes` workers, until it is told to stop.

    `configure` is called in each worker, and returns what it serves. Everything that a worker needs should be
    imported before, and no thread should run. One that has been ready and then says nothing for `silence` seconds
    is ended, and another begins in its place.
    """

    def __init__(
        self, address: str, port: int, processes: int, configure: Callable[[Seat], uvicorn.Config], silence: float
    ) -> None:
        self._count, self._configure, self._silence = processes, configure, silence
        self._listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setblocking(False)
        self._listener.bind((address, port))
        self._tally = Tally(processes)
        self._folder = Path()
        self._events = select.epoll()
        self._workers: list[_Worker] = []
        self._missing = dict.fromkeys(range(processes), 0.0)  # numbers, and when each may begin
        self._guests: dict[int, _Guest] = {}  # by descriptor; the oldest first
        self._looked = time.monotonic()
        self._is_over = False

    def serve(self) -> int:
        """Serve; return the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        with tempfile.TemporaryDirectory(prefix="winit-") as folder:
            self._folder = Path(folder)
            gc.collect()
            gc.freeze()  # or the collector would write to, and so copy, what all share
            try:
                return self._serve()
            finally:
                self._end()

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._is_over = True

    def _serve(self) -> int:
        is_open = False
        while not self._is_over:
            self._begin()
            for descriptor, _ in self._events.poll(_TICK):
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._guests:
                    self._decide(self._guests[descriptor].connection)
                else:
                    self._listen_to(descriptor)
            self._close_late()
            self._end_silent()
            if not is_open and self._missing:
                _LOG.error("a process ended before it was ready")
                return STARTUP_FAILURE
            if not is_open and all(worker.is_ready for worker in self._workers):
                try:
                    self._listener.listen(2048)
                except OSError as problem:  # another began to listen there meanwhile
                    _LOG.error("%s", problem)
                    return STARTUP_FAILURE
                self._events.register(self._listener, select.EPOLLIN)
                is_open = True
                _LOG.info("ready with %d processes", len(self._workers))
        return 0

    # Workers

    def _begin(self) -> None:
        """Begin the workers that are missing, once each may."""
        now = time.monotonic()
        for number in [number for number, may in self._missing.items() if now >= may]:
            del self._missing[number]
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            context = multiprocessing.get_context("fork")
            process = context.Process(target=self._work, args=(number, ours, theirs), daemon=True)
            process.start()
            theirs.close()
            self._events.register(ours, select.EPOLLIN)
            self._workers.append(_Worker(number, process, ours, now, now))

    def _work(self, number: int, ours: socket.socket, theirs: socket.socket) -> None:
        """Serve as a worker, in a process of its own."""
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        # What the front door holds is open here too. A connection ends, and a lost line is noticed, only without.
        self._listener.close()
        self._events.close()
        lines = [ours, *(worker.line for worker in self._workers)]
        under_way = [connection for worker in self._workers for connection in worker.under_way]
        for held in [*lines, *under_way, *(guest.connection for guest in self._guests.values())]:
            held.close()
        seat = Seat(number, self._count, self._tally, self._folder)
        threading.Thread(target=_end_with, args=(theirs, self._folder), name="winit-line", daemon=True).start()
        seat.take()
        _Server(self._configure(seat), theirs).run(sockets=[])

    def _listen_to(self, descriptor: int) -> None:
        """Hear whether a worker takes connections, or that it has ended."""
        worker = next((worker for worker in self._workers if worker.line.fileno() == descriptor), None)
        if worker is None:
            return
        try:
            said = worker.line.recv(_AT_ONCE)
        except OSError:
            said = b""
        worker.heard = time.monotonic()
        for _ in range(said.count(_TAKEN)):
            worker.under_way.popleft().close()
        if turns := said.translate(None, _TAKEN + _ALIVE):
            worker.is_ready = turns.endswith(_READY)
        if not (said and worker.is_ready):
            while worker.under_way:  # it will not take them: another may
                self._welcome(worker.under_way.popleft())
        if not said:
            self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        """Put away what is left of a worker, and see to it that another begins."""
        self._workers.remove(worker)
        self._events.unregister(worker.line)
        worker.line.close()
        worker.process.join(1)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        self._tally.clear(worker.number)
        self._missing[worker.number] = worker.begun + _PAUSE
        _LOG.warning("process %d ended (%s): another begins", worker.number, worker.process.exitcode)

    def _end_silent(self) -> None:
        """End the workers whose event loop stands still; that its line closes then says the rest."""
        now = time.monotonic()
        was_away, self._looked = now - self._looked > self._silence / 4, now
        for worker in self._workers:
            if was_away:  # this process stood still itself, as all do on a host that was paused
                worker.heard = now
            if worker.is_ready and now - worker.heard > self._silence:
                _LOG.warning("process %d has said nothing for %.0f s", worker.number, now - worker.heard)
                worker.process.kill()
                worker.heard = now

    def _end(self) -> None:
        """Close, and let the workers finish."""
        self._listener.close()
        for guest in self._guests.values():
            guest.connection.close()
        for worker in self._workers:
            worker.process.terminate()
        end = time.monotonic() + FAREWELL + 3
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))
            worker.process.kill()
            worker.process.join()

    # Connections

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left, or the visitor has gone
                self._close_oldest()
                return
            connection.setblocking(False)
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        """Wait for the request of a connection."""
        if len(self._guests) >= _MOST_GUESTS:
            self._close_oldest()
        self._guests[connection.fileno()] = _Guest(connection, time.monotonic() + _PATIENCE)
        # Edges: what was seen and left where it is does not wake again.
        self._events.register(connection, select.EPOLLIN | select.EPOLLET)

    def _decide(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_HEAD, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        wish = read_head(data)
        if wish is None and data and len(data) < _HEAD:
            return
        worker = None if wish is None else self._hand_over(connection, wish)
        self._let_go(connection)
        if worker is None:
            connection.close()
        else:  # open until it is taken: should the worker end before, another has it
            worker.under_way.append(connection)

    def _hand_over(self, connection: socket.socket, wish: Wish) -> _Worker | None:
        """Send a connection to a worker, and return which; None where none takes it."""
        now = time.monotonic()
        able = [worker for worker in self._workers if worker.is_ready]
        while able:
            for worker in able:
                while worker.promised and worker.promised[0] < now - _PROMISE:
                    worker.promised.popleft()
            chosen = choose([self._load(worker) for worker in able], wish)
            worker = next(worker for worker in able if worker.number == chosen)
            try:
                socket.send_fds(worker.line, [_TAKEN], [connection.fileno()])
            except OSError:  # it takes none at the moment, or has gone
                able.remove(worker)
                continue
            worker.last = now
            if wish.process != worker.number:
                worker.promised.append(now)
            return worker
        return None

    def _load(self, worker: _Worker) -> Load:
        pages = self._tally.by_process(worker.number) + len(worker.promised)
        return Load(worker.number, pages, worker.last)

    def _let_go(self, connection: socket.socket) -> None:
        """Wait for the request of a connection no longer."""
        del self._guests[connection.fileno()]
        self._events.unregister(connection)

    def _close_oldest(self) -> None:
        for guest in list(self._guests.values())[:1]:
            self._let_go(guest.connection)
            guest.connection.close()

    def _close_late(self) -> None:
        now = time.monotonic()
        while self._guests and next(iter(self._guests.values())).until < now:
            self._close_oldest()


def _end_with(line: socket.socket, folder: Path) -> None:
    """End this process where the front door is gone, whatever its other threads do."""
    watch = select.poll()
    watch.register(line, 0)  # of what may happen, only that the other end has closed
    watch.poll()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


class _Server(uvicorn.Server):
    """uvicorn, for connections that come over a line."""

    def __init__(self, config: uvicorn.Config, line: socket.socket) -> None:
        super().__init__(config)
        self._line = line
        self._arriving: set[asyncio.Task[None]] = set()
        self._beats: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, and take connections."""
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._line, self._take)
        self._line.send(_READY)
        self._beats = asyncio.create_task(self._beat())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, and end as uvicorn does."""
        with contextlib.suppress(OSError):
            self._line.send(_LEAVING)
        asyncio.get_running_loop().remove_reader(self._line)
        await super().shutdown(sockets)

    async def _beat(self) -> None:
        """Say that this event loop turns, as long as it does."""
        while True:
            with contextlib.suppress(OSError):  # the front door does not read at the moment, or is gone
                self._line.send(_ALIVE)
            await asyncio.sleep(_BEAT)

    def _take(self) -> None:
        try:
            _, descriptors, _, _ = socket.recv_fds(self._line, _AT_ONCE, _AT_ONCE)
        except BlockingIOError:
            return
        if not descriptors:  # the front door is gone
            asyncio.get_running_loop().remove_reader(self._line)
            return
        with contextlib.suppress(OSError):
            self._line.send(_TAKEN * len(descriptors))
        for descriptor in descriptors:
            task = asyncio.create_task(self._welcome(socket.socket(fileno=descriptor)))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def serve(settings: Settings, configure: Callable[[Seat], uvicorn.Config]) -> int:
    """Serve in several processes; return the exit status."""
    try:
        door = FrontDoor(settings.address, settings.port, count(settings), configure, settings.silence)
    except OSError as problem:  # the port is taken, or the address is not of this machine
        _LOG.error("%s", problem)
        return STARTUP_FAILURE
    from winit.ui import warm

    _ = warm  # imported for its effect
    get_cookie_secret()  # drawn once: what one process signs the others accept
    return door.serve()
