"""The queue: one at a time, slices round robin over visitors, jobs after them, nobody held up by who has left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from winit import queueing
from winit.queueing import Caller, Place, Work, crowd, spread, turn

_HERE = threading.local()


def _caller() -> Caller:
    return Caller(getattr(_HERE, "visitor", "nobody"), "live", getattr(_HERE, "checkpoint", lambda: None))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Let threads say who they are; leave the queue as it was found."""
    before = queueing._identify
    queueing.identify_by(_caller)
    yield
    queueing.identify_by(before)
    assert crowd().slices == 0
    queueing._places.clear()
    queueing._last_turn.clear()


@pytest.fixture
def works() -> Iterator[list[Work]]:
    """What the queue says of the turns that end."""
    seen: list[Work] = []
    queueing.watch(seen.append)
    yield seen
    queueing._watchers.remove(seen.append)


class _Crowd:
    """Threads that each work for a visitor, started one after the other while this thread holds the turn."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self._threads: list[threading.Thread] = []

    def comes(self, visitor: str, work: Callable[[Callable[[], None]], None]) -> None:
        """Let a visitor's thread queue up, and wait until it stands in the line."""
        before = len(queueing._waiting)

        def run() -> None:
            _HERE.visitor = visitor
            work(lambda: self.served.append(visitor))

        thread = threading.Thread(target=run)
        self._threads.append(thread)
        thread.start()
        until(lambda: len(queueing._waiting) == before + 1)

    def goes(self) -> list[str]:
        """Return who was served, in order, after all have been."""
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        return self.served


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail after some seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def a_slice(serve: Callable[[], None]) -> None:
    """Do a slice."""
    with turn():
        serve()


def a_job(place: Place) -> Callable[[Callable[[], None]], None]:
    """Return a slice of a job."""

    def work(serve: Callable[[], None]) -> None:
        with place.turn():
            serve()

    return work


def _joined(visitor: str) -> Place:
    _HERE.visitor = visitor
    return Place()


def test_who_had_their_piece_should_stop_where_a_slice_waits() -> None:
    assert not queueing.is_long_enough()
    crowd_of_jobs, crowd_of_slices = _Crowd(), _Crowd()
    _HERE.visitor = "host"
    with turn():
        until_piece = time.monotonic() + 1.5 * queueing.PIECE
        crowd_of_jobs.comes("job", a_job(_joined("job")))
        until(lambda: time.monotonic() > until_piece)
        assert not queueing.is_long_enough()  # a job has time
        crowd_of_slices.comes("a", a_slice)
        assert queueing.is_long_enough()
    assert crowd_of_slices.goes() == ["a"]
    assert crowd_of_jobs.goes() == ["job"]
    with turn():
        crowd_of_slices.comes("b", a_slice)
        assert queueing._at_work is not None
        begun = queueing._at_work.began or 0.0
        assert queueing.is_long_enough() == (time.monotonic() >= begun + queueing.PIECE)
        until(queueing.is_long_enough)
        assert time.monotonic() >= begun + queueing.PIECE
    crowd_of_slices.goes()


def test_a_trifle_waits_for_nobody_and_is_told(works: list[Work]) -> None:
    _HERE.visitor = "host"
    with turn():
        _HERE.visitor = "other"
        with turn(queueing.TRIFLE / 2):
            assert crowd().slices == 0
        with pytest.raises(ZeroDivisionError), turn(0.0):
            _ = 1 / 0
    assert [(work.kind, work.cost, work.waited) for work in works[-3:-1]] == [
        ("slice", queueing.TRIFLE / 2, 0.0),
        ("slice", 0.0, 0.0),
    ]
    assert [work.outcome for work in works[-3:]] == ["done", "failed", "done"]
    waiting = _Crowd()
    with turn():
        waiting.comes("a", lambda serve: _with_turn(queueing.TRIFLE, serve))  # no trifle any more
        assert crowd().slices == 1
    assert waiting.goes() == ["a"]


def _with_turn(cost: float, serve: Callable[[], None]) -> None:
    with turn(cost):
        serve()


def test_one_at_a_time() -> None:
    inside, most, total = 0, 0, 0

    def work(visitor: int) -> None:
        nonlocal inside, most, total
        _HERE.visitor = visitor % 3
        place = Place() if visitor % 2 else None
        for _ in range(20):
            with place.turn() if place else turn():
                inside += 1
                most = max(most, inside)
                total += 1
                time.sleep(0.0005)
                inside -= 1
        if place:
            place.leave()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, total) == (1, 120)


def test_whoever_asks_for_much_waits_for_whoever_asks_for_little() -> None:
    many = _Crowd()
    with turn():
        for _ in range(5):
            many.comes("greedy", a_slice)
        many.comes("modest", a_slice)
        many.comes("other", a_slice)
    assert many.goes() == ["greedy", "modest", "other", "greedy", "greedy", "greedy", "greedy"]


def test_who_had_a_turn_longest_ago_goes_first() -> None:
    many = _Crowd()
    for visitor in ("first", "second", "third"):
        _HERE.visitor = visitor
        with turn():
            pass
    _HERE.visitor = "nobody"
    with turn():
        for visitor in ("third", "second", "first"):
            many.comes(visitor, a_slice)
    assert many.goes() == ["first", "second", "third"]


def test_slices_go_before_jobs() -> None:
    many, place = _Crowd(), _joined("sweeper")
    _HERE.visitor = "nobody"
    with turn():
        many.comes("sweeper", a_job(place))
        many.comes("player", a_slice)
        many.comes("mover", a_slice)
    assert many.goes() == ["player", "mover", "sweeper"]


def test_a_crowd_does_not_stop_a_job_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "_JOB_PATIENCE", 0.05)
    many, place = _Crowd(), _joined("sweeper")
    _HERE.visitor = "nobody"
    with turn():
        many.comes("sweeper", a_job(place))
        for _ in range(3):
            many.comes("player", a_slice)
        time.sleep(0.1)
    assert many.goes() == ["sweeper", "player", "player", "player"]


def test_jobs_have_places() -> None:
    first, second, third = (_joined(visitor) for visitor in ("a", "b", "c"))
    assert [place.position for place in (first, second, third)] == [0, 1, 2]
    assert crowd().jobs == 3
    first.leave()
    assert [place.position for place in (second, third)] == [0, 1]
    again = _joined("b")  # one place for a visitor: the new one is at the end
    assert [place.position for place in (third, again)] == [0, 1]
    second.leave()  # not in the queue any more: changes nothing
    assert crowd().jobs == 2


def test_only_the_first_job_works() -> None:
    many, first, second = _Crowd(), _joined("a"), _joined("b")
    many.comes("b", a_job(second))
    with first.turn():
        pass
    time.sleep(0.05)
    assert many.served == []
    first.leave()
    assert many.goes() == ["b"]


def test_silence_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "_SILENCE", 0.05)
    first, second = _joined("a"), _joined("b")
    assert second.position == 1
    time.sleep(0.1)
    assert second.position == 0
    assert (first.position, second.position) == (0, 1)  # asked again, and stands where it stood


def test_a_visitor_who_leaves_gives_up_the_place_and_may_come_back() -> None:
    first, second = _joined("a"), _joined("b")
    queueing.leave("a")
    assert second.position == 0
    assert first.position == 1
    assert crowd().jobs == 2
    queueing.leave("never seen")


class _Gone(BaseException):
    pass


@pytest.mark.parametrize("kind", ["slice", "job"])
def test_who_leaves_while_waiting_waits_no_more(kind: str, works: list[Work]) -> None:
    gone, stopped = threading.Event(), threading.Event()

    def checkpoint() -> None:
        if gone.is_set():
            raise _Gone

    def work() -> None:
        _HERE.visitor, _HERE.checkpoint = "leaver", checkpoint
        place = Place() if kind == "job" else None
        try:
            with place.turn() if place else turn():
                pass
        except _Gone:
            stopped.set()

    thread = threading.Thread(target=work)
    with turn():
        thread.start()
        until(lambda: len(queueing._waiting) == 1)
        gone.set()
        assert stopped.wait(1.0)  # while another is still at work
        thread.join(10)
    assert [(work.kind, work.outcome, work.held) for work in works[:1]] == [(kind, "stopped", 0.0)]


def test_an_error_frees_the_turn(works: list[Work]) -> None:
    with pytest.raises(ZeroDivisionError), turn():
        _ = 1 / 0
    with pytest.raises(_Gone), turn():
        raise _Gone
    with turn():
        pass
    assert [work.outcome for work in works] == ["failed", "stopped", "done"]


def test_a_turn_is_told_in_one_line(works: list[Work], caplog: pytest.LogCaptureFixture) -> None:
    _HERE.visitor = "a secret"
    with caplog.at_level("INFO", logger="winit.queueing"):
        with turn(cost=2.5):
            time.sleep(0.01)
        with turn():
            pass
    assert works[0].cost == 2.5
    assert works[0].held >= 0.01
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [work.sentence for work in works]
    assert lines[0].startswith("lens=live kind=slice cost=2.5 waited=0.000 held=0.0")
    assert lines[1].endswith("outcome=done")
    assert "cost=unknown" in lines[1]
    assert not any("secret" in line for line in lines)


def test_what_is_remembered_of_visitors_is_bounded() -> None:
    for number in range(queueing._REMEMBERED + 50):
        _HERE.visitor = number
        with turn():
            pass
    assert len(queueing._last_turn) == queueing._REMEMBERED
    assert 0 not in queueing._last_turn


def test_spread_keeps_the_order() -> None:
    assert spread(lambda item: item * item, range(50)) == [item * item for item in range(50)]
