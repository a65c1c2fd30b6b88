"""The results store: what is kept and found again, by many at once, bounded, and whatever is wrong with the file."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from winit import store
from winit.fields import BadInput, fields_of
from winit.lenses import CompareKnobs
from winit.network import Member
from winit.spec import Spec
from winit.store import Run, Store, key
from winit.sweep import Curves, Progress, Sweep, joined, split
from winit.training import Training, train

ROOT = Path(__file__).parent.parent
SPEC = Spec(depth=2, width=8, dataset="moons", batch_size=16, steps=12)
KNOBS = CompareKnobs(initializers=("zeros", "random_normal(stddev=1e18)"), seeds=3, learning_rates=(0.1, 0.5))
ANY = st.floats(allow_nan=True, allow_infinity=True)


def _run(number: float = 1.0, recorded: int = 4) -> Run:
    return Run(*(np.full(recorded, number + part) for part in (0.0, 0.1, 0.2)), None, number, 0.5, 0.25)


def _is_same(one: Run | None, other: Run | None) -> bool:
    """Whether two runs are the same to the last bit."""
    return one is not None and other is not None and one.to_bytes() == other.to_bytes()


def _swept(**options: object) -> Sweep:
    sweep = Sweep(SPEC, KNOBS, **options)  # type: ignore[arg-type]
    for _ in sweep:
        pass
    return sweep


def _numbers(sweep: Sweep) -> bytes:
    """Return every number of a sweep, to the last bit."""
    return b"".join(run.to_bytes() for run in split(sweep.history()).values())


def test_a_sweep_that_was_let_go_ends_with_the_same_numbers() -> None:
    sweep = Sweep(SPEC, KNOBS)
    sweep.advance(0.0)
    assert sweep.is_in_memory
    sweep.let_go()
    assert not sweep.is_in_memory
    for _ in sweep:
        pass
    assert _numbers(sweep) == _numbers(_swept())


# Records and keys


@given(
    curves=st.integers(1, 9).flatmap(lambda n: hnp.arrays(np.float64, (3, n), elements=ANY)),
    finals=st.tuples(ANY, ANY, ANY),
    left=st.none() | st.integers(0, 100_000),
)
def test_a_run_comes_back_from_its_bytes_to_the_last_bit(
    curves: np.ndarray, finals: tuple[float, float, float], left: int | None
) -> None:
    run = Run(curves[0], curves[1], curves[2], left, *finals)
    again = Run.from_bytes(run.to_bytes(), curves.shape[1])
    assert again is not None
    assert again.diverged_at == left
    assert np.array_equal(again.loss, run.loss, equal_nan=True)
    assert np.array_equal(again.test_accuracy, run.test_accuracy, equal_nan=True)
    assert np.array_equal((again.final_loss, again.final_test_accuracy), (finals[0], finals[2]), equal_nan=True)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_record_with_a_flipped_byte_is_no_run(place: int, flip: int) -> None:
    record = bytearray(_run().to_bytes())
    record[place % len(record)] ^= flip
    assert Run.from_bytes(bytes(record), 4) is None


@pytest.mark.parametrize("record", [b"", b"x", None, "text", 7, _run().to_bytes()[:-1], _run(recorded=5).to_bytes()])
def test_what_is_no_record_is_no_run(record: object) -> None:
    assert Run.from_bytes(record, 4) is None


def test_a_key_names_everything_that_the_numbers_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member("zeros", 3, 0.5)
    base = key(SPEC, member)
    others = {
        "depth": 3,
        "width": 9,
        "activation": "tanh",
        "bias": "zeros",
        "output": "zeros",
        "normalization": "layer",
        "residual": "plain",
        "dataset": "digits",
        "batch_size": 17,
        "optimizer": "adam",
        "schedule": "cosine",
        "weight_decay": 0.5,
        "clip": 1.0,
        "steps": 13,
    }
    found = {key(SPEC.replace(**{name: value}), member) for name, value in others.items()}
    found |= {key(SPEC, replace(member, initializer="ones")), key(SPEC, replace(member, seed=4))}
    found |= {key(SPEC, replace(member, learning_rate=0.25)), key(SPEC, member, 5)}
    assert {*others, "initializer", "seed", "learning_rate"} == {field.name for field in fields_of(Spec)}
    assert len(found | {base}) == len(others) + 5
    # What the network would start from is the member's own.
    assert key(SPEC.replace(initializer="orthogonal", seed=9, learning_rate=3.0), member) == base
    monkeypatch.setattr(store, "NUMERICS", store.NUMERICS + 1)
    assert key(SPEC, member) != base


@pytest.mark.parametrize("name", ["he_normal", "orthogonal"])
def test_who_changes_the_numbers_raises_the_version(name: str) -> None:
    """These were computed at version 1. Where they change beyond rounding, raise `store.NUMERICS`, and then these."""
    assert store.NUMERICS == 1
    spec = Spec(depth=2, width=16, initializer=name, activation="tanh", steps=20, dataset="diabetes")
    run = train(spec)
    for _ in run:
        pass
    assert run.history().final_loss[0] == pytest.approx(GOLDEN[name], rel=1e-3)


GOLDEN = {"he_normal": 0.548507, "orthogonal": 0.481732}


# Kept and found again


def test_what_was_written_is_read_by_another(tmp_path: Path) -> None:
    path = tmp_path / "below" / "runs.sqlite"
    one = Store(path)
    assert one.read(["a"], 4) == {}
    one.write({"a": _run(1.0), "b": _run(np.nan)})
    for other in (one, Store(path)):
        found = other.read(["a", "b", "c"], 4)
        assert set(found) == {"a", "b"}
        assert _is_same(found["a"], _run(1.0))
        assert _is_same(found["b"], _run(np.nan))
        assert other.read(["a"], 5) == {}  # recorded otherwise
        assert other.problem is None
    one.write({"a": _run(2.0)})
    assert _is_same(Store(path).read(["a"], 4)["a"], _run(2.0))


def test_thousands_are_read_at_once(tmp_path: Path) -> None:
    kept = Store(tmp_path / "runs.sqlite")
    kept.write({str(number): _run(number) for number in range(2500)})
    found = kept.read([str(number) for number in range(3000)], 4)
    assert len(found) == 2500
    assert _is_same(found["2499"], _run(2499))


def test_without_a_place_nothing_is_kept() -> None:
    none = Store(None)
    none.write({"a": _run()})
    assert none.read(["a"], 4) == {}
    assert none.problem is None


def test_the_file_is_bounded_and_the_unused_go_first(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    kept = Store(path, megabytes=1)
    for number in range(200):
        kept.write({f"{number}-{part}": _run(number, 100) for part in range(5)})
        kept.read(["0-0", "0-1"], 100)
    kept.close()
    assert path.stat().st_size <= 1.1e6
    assert not path.with_name("runs.sqlite-wal").exists()
    found = Store(path).read([f"{number}-0" for number in range(200)], 100)
    numbers = sorted(int(name.split("-")[0]) for name in found)
    assert 30 < len(numbers) < 60
    # What was used all the time, and then the newest without a gap.
    assert numbers[0] == 0
    assert numbers[1:] == list(range(numbers[1], 200))


def test_a_run_beyond_the_whole_limit_leaves_the_store_usable(tmp_path: Path) -> None:
    kept = Store(tmp_path / "runs.sqlite", megabytes=0.2)
    kept.write({"huge": _run(1.0, 50_000)})
    assert kept.read(["huge"], 50_000) == {}
    kept.write({"small": _run()})
    assert set(kept.read(["small"], 4)) == {"small"}
    kept.close()
    assert (tmp_path / "runs.sqlite").stat().st_size < 1e6


WRITERS = """
import os, sys
from pathlib import Path
from tests.test_store import _run
from winit.store import Store
children = []
for writer in range(4):
    children.append(os.fork())
    if children[-1] == 0:
        store = Store(Path(sys.argv[1]))
        for number in range(40):
            name = f"{writer}-{number}"
            store.write({name: _run(number)})
            if store.problem or name not in store.read([name], 4):
                os._exit(1)
        store.close()
        os._exit(0)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """From the first moment, when none of them finds a file."""
    path = tmp_path / "runs.sqlite"
    done = subprocess.run([sys.executable, "-c", WRITERS, str(path)], cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0
    whole = Store(path)
    assert len(whole.read([f"{writer}-{number}" for writer in range(4) for number in range(40)], 4)) == 160
    whole.close()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["runs.sqlite"]


# Whatever is wrong with the file


def _works(path: Path, caplog: pytest.LogCaptureFixture, says: str, *, keeps: bool) -> Store:
    """Assert that a store says what is wrong, that a sweep ends with the right numbers, and whether it is kept."""
    with caplog.at_level(logging.WARNING, "winit.store"):
        kept = Store(path)
        assert _numbers(_swept(store=kept)) == _numbers(_swept())
    assert kept.problem is not None
    assert says in kept.problem
    assert [record.message for record in caplog.records if says in record.message and str(path) in record.message]
    assert len(caplog.records) == 1  # said once, not at every use
    again = Sweep(SPEC, KNOBS, store=Store(path))
    assert again.is_finished is keeps
    kept.close()
    return kept


def _bad(path: Path, kind: str) -> None:
    """Put a damaged file at the path."""
    if kind == "text":
        path.write_text("not a database at all" * 100)
        return
    good = Store(path)
    good.write({str(number): _run(number, 40) for number in range(50)})
    good.close()
    content = bytearray(path.read_bytes())
    if kind == "cut":
        content = content[: len(content) // 2 + 100]
    elif kind == "header":
        content[:100] = os.urandom(100)
    elif kind == "pages":
        content[4096:] = b"\x5a" * (len(content) - 4096)
    elif kind == "first page":
        content[100:4096] = b"\xa5" * 3996
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("kind", ["text", "header", "pages", "first page", "cut"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = tmp_path / "runs.sqlite"
    _bad(path, kind)
    before = path.read_bytes()
    _works(path, caplog, "was damaged: it is set aside", keeps=True)
    assert (tmp_path / "runs.sqlite.damaged").read_bytes() == before


def test_a_file_without_its_table_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "runs.sqlite"
    Store(path).write({"a": _run()})
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE runs")
        other.execute("CREATE TABLE walks (key TEXT)")
    _works(path, caplog, "was damaged: it is set aside", keeps=True)


def test_a_damaged_record_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    first = _swept(store=Store(path))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE runs SET record = zeroblob(length(record)) WHERE key LIKE '%seed=1%'")
        other.execute("UPDATE runs SET record = 'text' WHERE key LIKE '%seed=2%'")
    second = Sweep(SPEC, KNOBS, store=Store(path))
    assert second.progress.restored == 6
    for _ in second:
        pass
    assert _numbers(second) == _numbers(first)
    assert Sweep(SPEC, KNOBS, store=Store(path)).is_finished


@pytest.mark.parametrize("kind", ["other", "version"])
def test_a_foreign_database_is_left_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    path = tmp_path / "recipes.sqlite"
    if kind == "version":
        ours = Store(path)
        ours.write({"a": _run()})
        ours.close()
    with sqlite3.connect(path) as other:
        if kind == "other":
            other.execute("CREATE TABLE runs (key TEXT, record BLOB, used INTEGER)")
        other.execute("PRAGMA user_version = 99")
    other.close()
    before = path.read_bytes()
    _works(path, caplog, "is of another program or version", keeps=False)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["recipes.sqlite"]


@pytest.mark.parametrize("place", ["folder", "file/runs.sqlite", "/proc/winit/runs.sqlite", "/dev/null"])
def test_where_nothing_can_be_opened_nothing_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    _works(tmp_path / place, caplog, "", keeps=False)


def test_a_file_that_goes_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    kept = Store(path)
    kept.write({"a": _run()})
    for item in tmp_path.iterdir():
        item.unlink()
    assert kept.read(["a"], 4) == {}
    kept.write({"b": _run()})
    assert set(Store(path).read(["a", "b"], 4)) == {"b"}
    assert kept.problem is None


def test_a_locked_file_is_done_without_for_now(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_WAIT", 0.1)
    path = tmp_path / "runs.sqlite"
    kept = Store(path)
    kept.write({"a": _run()})
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    kept.write({"b": _run()})
    assert "just now" in (kept.problem or "")
    assert set(kept.read(["a", "b"], 4)) == {"a"}  # reading goes on beside a writer
    other.execute("COMMIT")
    kept.write({"c": _run()})
    assert kept.problem is None
    assert set(kept.read(["a", "b", "c"], 4)) == {"a", "c"}


READER = """
import json, logging, os, sys
from pathlib import Path
logging.basicConfig(level=logging.WARNING)
from tests.test_store import KNOBS, SPEC, _finished, _numbers
from winit.store import Store
from winit.sweep import Sweep
_finished(Sweep(SPEC, KNOBS))  # all that is imported late is there
if len(sys.argv) > 2 and os.geteuid() == 0:
    os.setuid(int(sys.argv[2]))
store = Store(Path(sys.argv[1]))
sweep = Sweep(SPEC, KNOBS, store=store)
restored = sweep.progress.restored
print(json.dumps([restored, _numbers(_finished(sweep)).hex(), store.problem]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs another user")
def test_a_read_only_file_is_read_and_left() -> None:
    nobody = "65534"  # root may write anything, and so reads as nobody
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.sqlite"
        whole = Store(path)
        expected = _numbers(_swept(store=whole))
        whole.close()
        other = sqlite3.connect(path)
        with other:
            other.execute("DELETE FROM runs WHERE key LIKE '%seed=2%'")
        other.close()
        path.chmod(0o444)
        path.parent.chmod(0o555)
        before = path.read_bytes()
        done = subprocess.run(
            [sys.executable, "-c", READER, str(path), nobody], cwd=ROOT, capture_output=True, timeout=120, check=False
        )
        assert path.read_bytes() == before
        path.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr.decode()
    restored, numbers, problem = json.loads(done.stdout)
    assert restored == 12
    assert bytes.fromhex(numbers) == expected
    assert "is read-only: runs are read from it, new ones are not kept" in problem
    assert b"is read-only" in done.stderr


FULL = (
    """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000))
"""
    + READER
)


def test_a_full_disk_is_done_without(tmp_path: Path) -> None:
    """A real one: the process may write no file beyond 24 kB."""
    path = tmp_path / "runs.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    _, numbers, problem = json.loads(done.stdout)
    assert bytes.fromhex(numbers) == _numbers(_swept())
    assert "is full or out of reach just now" in problem
    # Whoever has room goes on with the same file.
    _swept(store=Store(path))
    assert Sweep(SPEC, KNOBS, store=Store(path)).is_finished


# The host's store


def test_the_place_and_size_come_from_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINIT_STORE", str(tmp_path / "here.sqlite"))
    monkeypatch.setenv("WINIT_STORE_MEGABYTES", "7.5")
    found = store.of_host()
    assert (found.path, found.limit) == (tmp_path / "here.sqlite", 7_500_000)
    assert store.of_host() is found
    monkeypatch.setenv("WINIT_STORE", "off")
    assert store.of_host().path is None
    monkeypatch.delenv("WINIT_STORE")
    monkeypatch.delenv("WINIT_STORE_MEGABYTES")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert (store.of_host().path, store.of_host().limit) == (tmp_path / "winit" / "runs.sqlite", 200_000_000)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "much", ""])
def test_a_bad_size_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WINIT_STORE_MEGABYTES", value)
    with pytest.raises(BadInput, match="WINIT_STORE_MEGABYTES"):
        store.of_host()


# Sweeps


@pytest.mark.parametrize("at_once", [1, 4, 7, 100])
def test_no_number_depends_on_the_groups(at_once: int) -> None:
    sweep = _swept(at_once=at_once)
    whole = Training(SPEC, sweep.members)
    for _ in whole:
        pass
    assert _numbers(sweep) == b"".join(run.to_bytes() for run in split(whole.history()).values())
    assert sweep.history().statuses == whole.history().statuses
    assert sweep.history().diverged_at == whole.history().diverged_at
    assert sweep.history().members == whole.members


def test_a_history_is_taken_apart_and_put_together() -> None:
    history = _swept().history()
    again = joined(history.spec, history.steps, split(history))
    for name, value in vars(history).items():
        np.testing.assert_array_equal(getattr(again, name), value)


def test_a_finished_sweep_opens_from_the_store_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.sqlite"
    first = _swept(store=Store(path))
    assert first.progress.restored == 0
    monkeypatch.setattr("winit.sweep.Training", None)
    second = Sweep(SPEC, KNOBS, store=Store(path))
    assert second.is_finished
    assert second.progress == Progress(18, 18, 18, 1.0, None, None)
    assert list(second) == []
    assert _numbers(second) == _numbers(first)
    assert second.conclude().ranking == first.conclude().ranking


def test_only_what_is_missing_is_trained(tmp_path: Path) -> None:
    kept = Store(tmp_path / "runs.sqlite")
    fewer = Sweep(SPEC, KNOBS.replace(seeds=2, learning_rates=(0.1, 0.5)), store=kept)
    for _ in fewer:
        pass
    more = Sweep(SPEC.replace(initializer="zeros"), KNOBS.replace(initializers=("he_normal", "ones")), store=kept)
    assert more.progress.restored == 2 * 2 * 2  # he_normal and zeros
    for _ in more:
        pass
    assert _numbers(more) == _numbers(
        _finished(Sweep(SPEC.replace(initializer="zeros"), KNOBS.replace(initializers=("he_normal", "ones"))))
    )


def _finished(sweep: Sweep) -> Sweep:
    for _ in sweep:
        pass
    return sweep


def test_two_sweeps_side_by_side_share_what_each_has_finished(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    one, other = (Sweep(SPEC, KNOBS, store=Store(path), at_once=3) for _ in range(2))
    one.advance(0.0)
    while one.progress.runs < 9:
        one.advance(0.0)
    for _ in other:
        pass
    assert other.progress.restored >= 9
    for _ in one:
        pass
    assert one.progress.restored > 0
    assert _numbers(one) == _numbers(other)


def test_a_sweep_left_early_keeps_and_concludes_what_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    sweep = Sweep(SPEC, KNOBS, store=Store(path), at_once=6)
    while sweep.progress.runs < 12:
        sweep.advance(0.0)
    found = sweep.conclude()
    assert not found.is_complete
    assert found.planned == 18
    # Seed after seed over the whole grid: two whole seeds of everybody.
    assert {tuple(found.history.members[run].seed for run in rank.runs) for rank in found.ranking} == {(0, 1)}
    assert len(found.ranking) == 3
    assert Sweep(SPEC, KNOBS, store=Store(path)).progress.restored == 12


def test_before_anything_is_finished_the_running_ones_are_concluded() -> None:
    sweep = Sweep(SPEC.replace(steps=100_000), KNOBS)
    sweep.advance(0.05)
    found = sweep.conclude()
    assert not found.is_complete
    assert not found.history.is_complete
    assert len(found.ranking) == 3


def test_curves_grow_and_end_as_the_history() -> None:
    sweep = Sweep(SPEC, KNOBS, at_once=6)
    seen = [sweep.curves().recorded]
    while not sweep.is_finished:
        sweep.advance(0.0)
        curves = sweep.curves()
        seen.append(curves.recorded)
        for row, recorded in zip(curves.test_accuracy, curves.recorded, strict=True):
            assert np.isnan(row[recorded:]).all()
    assert seen[0] == ()
    totals = [sum(recorded) for recorded in seen]
    assert totals == sorted(totals)
    assert len(set(totals)) > 20
    whole, last = Curves.of(sweep.history()), sweep.curves()
    assert last.recorded == whole.recorded
    np.testing.assert_array_equal(last.loss, whole.loss)


def test_progress_counts_and_ends_at_one() -> None:
    sweep = Sweep(SPEC, KNOBS, at_once=5)
    assert sweep.progress == Progress(0, 18, 0, 0.0, None, None)
    shares = []
    while not sweep.is_finished:
        progress = sweep.advance(0.0)
        shares.append(progress.share)
    assert shares == sorted(shares)
    assert progress.runs == progress.total == 18
    assert progress.share == 1
    assert progress.steps_per_second is not None
    assert progress.steps_per_second > 0
    assert progress.seconds_left == 0
    assert progress.sentence.startswith("18 of 18 runs, ")


def test_no_further_piece_is_begun_where_it_is_enough() -> None:
    sweep = Sweep(Spec(depth=2, width=16, steps=2000, dataset="moons"), CompareKnobs(initializers=(), seeds=2))
    begin = time.monotonic()
    first = sweep.advance(60, lambda: True)
    second = sweep.advance(60, lambda: True)
    assert time.monotonic() - begin < 30
    assert first.share < second.share < 1


def test_a_slice_is_short_where_recorded_steps_are_far_apart() -> None:
    """The first group of a deep network needs seconds to its second recorded step after the early ones."""
    spec = Spec(depth=20, width=128, steps=20_000)
    sweep = Sweep(spec, CompareKnobs(initializers=("orthogonal",), seeds=4))
    sweep.advance(0.0)
    steps, longest = set(), 0.0
    for _ in range(8):
        begin = time.monotonic()
        sweep.advance(0.1)
        longest = max(longest, time.monotonic() - begin)
        training = sweep._training
        assert training is not None
        steps.add(training.step)
    assert len(steps) == 8
    assert not steps <= set(sweep.steps)
    assert longest < 20  # no slice is as long as the 500 steps between two recorded ones


# Killed in the middle


SWEEPER = """
import sys
from pathlib import Path
from tests.test_store import KNOBS, LONG
from winit.store import Store
from winit.sweep import Sweep
sweep = Sweep(LONG, KNOBS, store=Store(Path(sys.argv[1])), at_once=3)
while not sweep.is_finished:
    sweep.advance(0.0)
    print(sweep.progress.runs, flush=True)
"""
LONG = SPEC.replace(steps=60)


def _killed_after(path: Path, lines: int, delay: float) -> None:
    """Start a sweep in another process and kill it after so many looks at it and a little while."""
    process = subprocess.Popen([sys.executable, "-c", SWEEPER, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) in (-signal.SIGKILL, 0)
    process.stdout.close()


def test_a_killed_sweep_goes_on_and_ends_with_the_same_numbers(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path / "runs.sqlite", [150])


@pytest.mark.slow
def test_a_sweep_killed_at_many_moments_ends_with_the_same_numbers(tmp_path: Path) -> None:
    """Also while it opens the file and while it writes."""
    moments = np.random.default_rng(0).integers(0, 160, 8).tolist()
    _kill_and_resume(tmp_path / "runs.sqlite", moments)


def _kill_and_resume(path: Path, moments: list[int]) -> None:
    restored = [0]
    for number, lines in enumerate(moments):
        _killed_after(path, lines, 0.001 * number)
        kept = Store(path)
        restored.append(Sweep(LONG, KNOBS, store=kept).progress.restored)
        assert kept.problem is None
        kept.close()
    assert restored == sorted(restored)  # nothing is lost
    assert restored[-1] > 0
    resumed = _finished(Sweep(LONG, KNOBS, store=Store(path)))
    assert resumed.progress.restored == restored[-1]
    assert _numbers(resumed) == _numbers(_finished(Sweep(LONG, KNOBS)))


def test_memory_is_that_of_a_group_not_of_the_grid() -> None:
    """Ten times the runs in as many more groups: hardly more memory than the first groups took."""
    spec = Spec(depth=2, width=256, steps=2)
    peaks = []
    for seeds in (4, 40):
        sweep = Sweep(spec, CompareKnobs(initializers=("zeros",), seeds=seeds), at_once=4)
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in sweep:
            pass
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin)
    assert peaks[1] < 60_000  # kilobytes; all at once they would take over 200,000


@given(st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=5)
def test_members_come_in_the_order_of_the_comparison(seeds: int, at_once: int) -> None:
    knobs = CompareKnobs(initializers=("zeros",), seeds=seeds)
    sweep = _finished(Sweep(SPEC.replace(steps=1), knobs, at_once=at_once))
    assert sweep.history().members == sweep.members == sweep.curves().members
