"""The share of a machine that a container gets, from files as Linux writes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from winit import host


def _write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="ascii")
    return folder


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000"}, 4),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "7800 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, 4),
        ({"cpu.max": "rubbish"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu.max": "200000 0"}, 4),
    ],
)
def test_cores_of_a_container(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert host.cores(_write(tmp_path, files)) == cores


def test_a_process_bound_to_one_core_has_one() -> None:
    os.sched_setaffinity(0, {min(before := os.sched_getaffinity(0))})
    try:
        assert host.cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    "files", [{"memory.max": "268435456"}, {"memory/memory.limit_in_bytes": "268435456"}]
)  # of either version
def test_memory_of_a_container(files: dict[str, str], tmp_path: Path) -> None:
    assert host.memory(_write(tmp_path, files)) == 2**28


@pytest.mark.parametrize("text", ["max", "9223372036854771712", "", "1 2"])
def test_memory_without_a_limit_is_that_of_the_machine(text: str, tmp_path: Path) -> None:
    # What the system says it has, by another way than the one that is tested.
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if "MemTotal" in line)
    assert host.memory(_write(tmp_path, {"memory.max": text})) == pytest.approx(1024 * kilobytes, rel=0.01)


_FREE_MUCH = """
from winit import host
def resident():
    return int(open("/proc/self/statm").read().split()[1])
blocks = [bytes(1000) for _ in range(200_000)]
last = bytes(1000)
before = resident()
del blocks
kept = resident()
print(before, kept, host.give_back(), resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what was freed")
def test_freed_memory_is_given_back() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    said = subprocess.run(
        [sys.executable, "-c", _FREE_MUCH], env=environment, capture_output=True, text=True, check=True
    )
    before, _, given, after = said.stdout.split()
    assert given == "True"
    assert int(after) < int(before) - 40_000  # pages: of 200 MB, at least 160


_EIGHT_THREADS = """
import sys, threading
from winit import host
if sys.argv[1:]:
    print(host.share_arenas(int(sys.argv[1])))
def work():
    blocks = [bytes(1000) for _ in range(1000)]
    begun.wait()
begun = threading.Barrier(8)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(line.startswith("<heap ") for line in _info().splitlines()))
"""
_INFO = """
import ctypes, os
def _info():
    libc = ctypes.CDLL(None)
    reading, writing = os.pipe()
    libc.fdopen.restype = ctypes.c_void_p
    stream = libc.fdopen(writing, b"w")
    libc.malloc_info(0, ctypes.c_void_p(stream))
    libc.fclose(ctypes.c_void_p(stream))
    with open(reading) as file:
        return file.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has arenas")
@pytest.mark.parametrize("count", [1, 2])
def test_threads_share_arenas(count: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    environment.pop("MALLOC_ARENA_MAX", None)
    command = [sys.executable, "-c", _INFO + _EIGHT_THREADS]
    alone, shared = (
        subprocess.run([*command, *more], env=environment, capture_output=True, text=True, check=True).stdout.split()
        for more in ([], [str(count)])
    )
    assert int(alone[0]) > 2
    assert shared[0] == "True"
    assert int(shared[1]) <= count
