"""The results store: finished runs on disk, so that nothing is computed twice and nothing is lost.

One SQLite file, written by any number of processes at once, each run as soon as it is finished. A run is
found again by everything that its numbers depend on: the whole network, initializer, seed and learning
rate, how densely it was recorded, and the version of the numerics. The file is bounded; the runs unused for
longest go first. Whatever is wrong with it (damaged, somebody else's, read-only, full), the work goes on
without what cannot be read or kept, and the log says so.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from winit.budget import setting
from winit.fields import fields_of
from winit.network import Member
from winit.spec import Spec

Array = NDArray[np.float64]
T = TypeVar("T")

NUMERICS = 1
"""Version of the numbers: to be raised by whoever changes any number of a run, so that stored ones are made again."""

_LOG = logging.getLogger(__name__)
_MARK = 0x77696E69  # "wini", in the header of our files
_SCHEMA = 1
_TABLE = "CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, record BLOB NOT NULL, used INTEGER NOT NULL)"
_MEGABYTES = 200.0
_WAIT = 5.0  # seconds for another process's turn
_MANY = 500  # keys of one statement
_FINALS = 4  # numbers of a record that are not by step


@dataclass(frozen=True)
class Run:
    """A finished run, as it was recorded at T steps."""

    loss: Array
    """(T,) on the evaluation subset."""
    train_accuracy: Array
    """(T,)"""
    test_accuracy: Array
    """(T,)"""
    diverged_at: int | None
    final_loss: float
    """On the whole training part."""
    final_train_accuracy: float
    final_test_accuracy: float

    def to_bytes(self) -> bytes:
        """Return the run as bytes: a checksum, and its numbers in double precision."""
        left = np.nan if self.diverged_at is None else self.diverged_at
        finals = (left, self.final_loss, self.final_train_accuracy, self.final_test_accuracy)
        numbers = np.concatenate((finals, self.loss, self.train_accuracy, self.test_accuracy)).astype("<f8").tobytes()
        return zlib.crc32(numbers).to_bytes(4, "little") + numbers

    @classmethod
    def from_bytes(cls, record: object, recorded: int) -> Run | None:
        """Return the run of `recorded` steps that the bytes stand for; None where they stand for none."""
        if not isinstance(record, bytes) or len(record) != 4 + 8 * (_FINALS + 3 * recorded):
            return None
        numbers = record[4:]
        if zlib.crc32(numbers).to_bytes(4, "little") != record[:4]:
            return None
        values = np.frombuffer(numbers, "<f8").astype(np.float64)
        left, loss, train_accuracy, test_accuracy = values[:_FINALS].tolist()
        curves = values[_FINALS:].reshape(3, recorded)
        at = None if np.isnan(left) else int(left)
        return cls(curves[0], curves[1], curves[2], at, loss, train_accuracy, test_accuracy)


def key(spec: Spec, member: Member, every: int | None = None) -> str:
    """Return the text under which a member's run is kept: all that its numbers depend on.

    `every` is that of `recorded_steps`. The version of torch is part of it: another one rounds otherwise.
    """
    own = spec.replace(initializer=member.initializer, seed=member.seed, learning_rate=member.learning_rate)
    parts = {field.name: field.write(getattr(own, field.name)) for field in fields_of(Spec)}
    parts |= {"every": str(every or ""), "numerics": str(NUMERICS), "torch": torch.__version__}
    return "&".join(f"{name}={text}" for name, text in parts.items())


class Store:
    """Finished runs in one file of at most so many megabytes; `path` None keeps nothing. Safe to share by threads."""

    def __init__(self, path: Path | None, megabytes: float = _MEGABYTES) -> None:
        self.path = path
        self.limit = int(megabytes * 1e6)
        self.problem: str | None = None
        """What is wrong with the file, for a reader; None while all is well."""
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._is_read_only = False
        self._is_given_up = False

    def read(self, keys: Sequence[str], recorded: int) -> dict[str, Run]:
        """Return the runs of `recorded` steps that are kept under some of the keys, and note that they were used."""

        def work(connection: sqlite3.Connection) -> dict[str, Run]:
            kept: dict[str, Run] = {}
            for first in range(0, len(keys), _MANY):
                some = keys[first : first + _MANY]
                marks = ",".join("?" * len(some))
                for name, record in connection.execute(f"SELECT key, record FROM runs WHERE key IN ({marks})", some):
                    run = Run.from_bytes(record, recorded)
                    if run is not None:
                        kept[name] = run
            return kept

        def use(connection: sqlite3.Connection) -> None:
            now = time.time_ns()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("UPDATE runs SET used = ? WHERE key = ?", [(now, name) for name in found])
            connection.execute("COMMIT")

        found: dict[str, Run] = self._with(work, {})
        if found and not self._is_read_only:
            self._with(use, None)
        return found

    def write(self, runs: Mapping[str, Run]) -> None:
        """Keep finished runs under their keys, all or none of them, and drop those unused for longest."""
        rows = [(name, run.to_bytes(), time.time_ns()) for name, run in runs.items()]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", rows)
            self._trim(connection)
            connection.execute("COMMIT")
            connection.executescript("PRAGMA incremental_vacuum")  # execute would take one page's step of it
            self.problem = None if self.problem == f"The results store {_FOR_NOW}." else self.problem

        if rows and not self._is_read_only:
            self._with(work, None)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._disconnect()

    def _trim(self, connection: sqlite3.Connection) -> None:
        """Drop the runs unused for longest where the file is beyond its limit: to nine tenths of it."""
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        taken = (pages - free) * size
        if taken > self.limit:
            weight = "SUM(LENGTH(key) + LENGTH(record)) OVER"
            newer = f"SELECT key, {weight} (ORDER BY used DESC, key) AS newer, {weight} () AS whole FROM runs"
            connection.execute(
                f"DELETE FROM runs WHERE key IN (SELECT key FROM ({newer}) WHERE newer > whole * ?)",
                (0.9 * self.limit / taken,),
            )

    def _with(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Return what `work` makes of the open file, or `otherwise` where there is no way."""
        with self._lock:
            end = time.monotonic() + _WAIT
            while self.path is not None and not self._is_given_up:
                try:
                    return work(self._connected(self.path))
                except (sqlite3.Error, OSError) as error:
                    self._disconnect()
                    if not self._is_worth_another_try(self.path, error, end):
                        break
            return otherwise

    def _connected(self, path: Path) -> sqlite3.Connection:
        """Return the connection to the file at the path, made anew where another file lies there now."""
        if self._connection is not None and self._inode != _inode(path):
            self._disconnect()
        if self._connection is None:
            if self._is_read_only:  # as it is: even a reader would write its locks beside it
                place = f"{path.absolute().as_uri()}?immutable=1"
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                place = path.absolute().as_uri()
            # Without transactions of its own: ours are explicit.
            self._connection = sqlite3.connect(
                place, uri=True, timeout=_WAIT, check_same_thread=False, isolation_level=None
            )
            self._inode = _inode(path)
            self._prepare(self._connection)
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the table in an empty file; raise `_Foreign` for a file that is not ours."""
        # In this order: another process may make the table, with its mark, between the two.
        is_empty = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        mark, schema = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if not is_empty and (mark, schema) != (_MARK, _SCHEMA):
            raise _Foreign
        if self._is_read_only:
            return
        connection.execute("PRAGMA synchronous = NORMAL")
        if is_empty:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA application_id = {_MARK}")
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")
            connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA journal_size_limit = 1000000").fetchall()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()  # rolls back what was not committed
            self._connection = None

    def _is_worth_another_try(self, path: Path, error: Exception, end: float) -> bool:
        """Do what can be done about an error before `end`, say what it means, and return whether to try again."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension
        if isinstance(error, _Foreign):
            self._is_given_up = True
            self._say(error, "is of another program or version: nothing is read from it, nothing is kept")
            return False
        if code in _DAMAGED:
            return self._set_aside(path, error)
        if code in _REFUSED or isinstance(error, OSError):
            if self._is_read_only or not path.is_file():
                self._is_given_up = True
                self._say(error, "cannot be opened: nothing is kept")
                return False
            self._is_read_only = True
            self._say(error, "is read-only: runs are read from it, new ones are not kept")
            return True
        if code == sqlite3.SQLITE_BUSY and time.monotonic() < end:
            time.sleep(0.02)
            return True
        self._say(error, _FOR_NOW)
        return False

    def _set_aside(self, path: Path, error: Exception) -> bool:
        """Rename a damaged file, unless another process has done so; return whether that was possible."""
        if self._is_read_only:
            self._is_given_up = True
            self._say(error, "is damaged and read-only: nothing is read from it, nothing is kept")
            return False
        try:
            if self._inode == _inode(path):
                for ending in ("", "-wal", "-shm"):
                    here = path.with_name(path.name + ending)
                    if here.exists():
                        here.replace(path.with_name(path.name + ".damaged" + ending))
        except OSError:
            self._is_given_up = True
            self._say(error, "is damaged and cannot be set aside: nothing is kept")
            return False
        self._say(error, "was damaged: it is set aside, and a new one is begun")
        return True

    def _say(self, error: Exception, what: str) -> None:
        """Keep what is wrong for the reader, and write it to the log once."""
        problem = f"The results store {what}."
        if problem != self.problem:
            _LOG.warning("%s %s: %s", problem, self.path, error)
        self.problem = problem


class _Foreign(sqlite3.Error):
    """Raised for a database that is not ours."""


_DAMAGED = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_NOTADB)
_REFUSED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_FOR_NOW = "is full or out of reach just now: what was finished then is not kept"


def _inode(path: Path) -> int:
    """Return the number of the file at a path, 0 where there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def default_path() -> Path:
    """Return where the store is unless WINIT_STORE says otherwise: in the user's cache folder."""
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "winit" / "runs.sqlite"


def of_host() -> Store:
    """Return this process's store: at WINIT_STORE (off: none), of at most WINIT_STORE_MEGABYTES (default 200).

    Raises `BadInput` for a size that is not a number above 0.
    """
    return _shared(os.environ.get("WINIT_STORE", ""), setting("WINIT_STORE_MEGABYTES", _MEGABYTES))


@lru_cache(maxsize=8)
def _shared(place: str, megabytes: float) -> Store:
    if place == "off":
        return Store(None)
    try:
        return Store(Path(place) if place else default_path(), megabytes)
    except RuntimeError as error:  # a user without a home
        _LOG.warning("The results store has no place, nothing is kept: %s", error)
        return Store(None)
