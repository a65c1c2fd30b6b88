"""What the processes of a server share: a count of open pages, files, and the way to each other's metrics.

Each has its seat: a number, and a folder of its own in one that is private to them all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from streamlit.runtime.media_file_storage import MediaFileKind, MediaFileStorageError
from streamlit.runtime.memory_media_file_storage import MemoryFile, MemoryMediaFileStorage

COOKIE = "winit_process"
"""Holds the number of the process that a page's session lives in, and nothing of the visitor."""

_CELLS = 16_384  # of addresses: two that fall into one share a cap
_BYTES = 4  # of one count


class Tally:
    """How many pages are open, by process and by address, in memory that all processes see.

    Each writes its own row only, so no lock is needed. Two who ask at the same moment may admit one too many.

    >>> tally = Tally(2)
    >>> tally.add(0, "192.0.2.1", 1)
    >>> tally.add(1, "192.0.2.1", 1)
    >>> tally.total, tally.by_address("192.0.2.1"), tally.by_process(1)
    (2, 2, 1)
    """

    def __init__(self, processes: int) -> None:
        self._rows = range(processes)
        self._memory = mmap.mmap(-1, _BYTES * (1 + _CELLS) * processes)
        self._counts = memoryview(self._memory).cast("I")
        self._key = os.urandom(16)  # nobody can choose whose cell to fill

    def add(self, process: int, address: str, change: int) -> None:
        """Count pages of an address that opened (1) or closed (-1)."""
        for cell in (0, self._cell(address)):
            self._counts[process * (1 + _CELLS) + cell] += change

    def clear(self, process: int) -> None:
        """Forget the pages of a process that has ended."""
        size = _BYTES * (1 + _CELLS)
        self._memory[process * size : (process + 1) * size] = bytes(size)

    @property
    def total(self) -> int:
        """How many pages are open."""
        return sum(map(self.by_process, self._rows))

    def by_process(self, process: int) -> int:
        """Return how many pages of a process are open."""
        return self._counts[process * (1 + _CELLS)]

    def by_address(self, address: str) -> int:
        """Return how many pages of an address are open, in all processes."""
        cell = self._cell(address)
        return sum(self._counts[process * (1 + _CELLS) + cell] for process in self._rows)

    def _cell(self, address: str) -> int:
        found = hashlib.blake2b(address.encode(), digest_size=8, key=self._key).digest()
        return 1 + int.from_bytes(found) % _CELLS


@dataclass(frozen=True)
class Seat:
    """The place of one process among `count` that serve together; a process that serves alone has number 0 of 1."""

    number: int = 0
    count: int = 1
    tally: Tally = field(default_factory=lambda: Tally(1))
    folder: Path = Path()
    """Private to the processes; not used by one that serves alone."""

    @property
    def own(self) -> Path:
        """The folder of this process."""
        return self.folder / str(self.number)

    def metrics_of(self, number: int) -> Path:
        """Return the Unix socket at which a process tells its metrics."""
        return self.folder / str(number) / "metrics"

    def take(self) -> None:
        """Make the folder of this process; what one before it left there goes."""
        shutil.rmtree(self.own, ignore_errors=True)
        self.own.mkdir()


class Media(MemoryMediaFileStorage):
    """Files of pages, such as downloads, for which a browser may ask any process.

    Each process keeps those of its own pages, in memory as Streamlit does and a copy in its folder, as long as
    Streamlit keeps them. What a process does not have it looks for in the folders of all.
    """

    def __init__(self, endpoint: str, seat: Seat) -> None:
        super().__init__(endpoint)
        self._seat = seat

    def load_and_get_id(
        self, path_or_data: str | bytes, mimetype: str, kind: MediaFileKind, filename: str | None = None
    ) -> str:
        """Keep a file, and return its name."""
        name = super().load_and_get_id(path_or_data, mimetype, kind, filename)
        place = self._seat.own / name
        if not place.exists():
            file = self.get_file(name)
            head = json.dumps([file.mimetype, file.kind.value, file.filename]).encode()
            unfinished = place.with_suffix(".part")
            unfinished.write_bytes(head + b"\n" + file.content)
            unfinished.rename(place)
        return name

    def get_file(self, filename: str) -> MemoryFile:
        """Return a file of this process or of another. Raises `MediaFileStorageError` where none has it."""
        try:
            return super().get_file(filename)
        except MediaFileStorageError:
            found = self._look_around(filename)
            if found is None:
                raise
            return found

    def delete_file(self, file_id: str) -> None:
        """Forget a file of this process."""
        super().delete_file(file_id)
        with contextlib.suppress(OSError):
            (self._seat.own / file_id).unlink()

    def _look_around(self, filename: str) -> MemoryFile | None:
        name = filename.partition(".")[0]
        if not re.fullmatch(r"[0-9a-f]{32}", name, re.ASCII):
            return None
        for number in range(self._seat.count):
            with contextlib.suppress(OSError):
                head, _, content = (self._seat.folder / str(number) / name).read_bytes().partition(b"\n")
                mimetype, kind, shown_name = json.loads(head)
                return MemoryFile(content, mimetype, MediaFileKind(kind), shown_name)
        return None


def process_of(cookies: str) -> int | None:
    """Return the number of the process that a Cookie header names, whether there is such a process or not.

    >>> process_of("theme=dark; winit_process=3")
    3
    """
    found = re.search(rf"(?:^|;)\s*{COOKIE}=([0-9]{{1,3}})\s*(?:;|$)", cookies, re.ASCII)
    return int(found[1]) if found else None
