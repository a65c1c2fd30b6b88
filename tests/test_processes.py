"""Several processes behind one port: what is decided, what is shared; and all of it on real processes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from streamlit.runtime.media_file_storage import MediaFileKind, MediaFileStorageError

from benchmarks.visitor import Server, Visitor, serving, visit
from winit import host
from winit.server import processes
from winit.server.guard import Guard
from winit.server.metrics import Metrics, together
from winit.server.processes import Load, Wish, choose, read_head
from winit.server.settings import Settings
from winit.server.shared import Media, Seat, Tally, process_of

PORT = 8659
TOKEN = "0123456789abcdef"
NOBODY = Wish(None, False)
PATIENCE = 30.0  # seconds, where something is waited for


# What is decided


@pytest.mark.parametrize(
    ("head", "wish"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", NOBODY),
        (b"GET / HTTP/1.1\nCookie: winit_process=1\n\nbody", Wish(1, False)),
        (b"GET / HTTP/1.1\r\ncOOKIE:a=b; winit_process=12 ;c=d\r\n\r\n", Wish(12, False)),
        (b"GET / HTTP/1.1\r\nCookie: not_winit_process=1; winit_process=x\r\n\r\n", NOBODY),
        (b"GET / HTTP/1.1\r\nCookie: winit_process=-1\r\nCookie: winit_process=1234\r\n\r\n", NOBODY),
        (b"GET /?Cookie: winit_process=1 HTTP/1.1\r\nX: Cookie: winit_process=1\r\n\r\n", NOBODY),
        (b"GET / HTTP/1.1\r\nSec-WebSocket-Protocol: streamlit, token\r\n\r\n", NOBODY),
        (b"GET / HTTP/1.1\nSec-WebSocket-Protocol: streamlit, , id\nCookie: winit_process=0\n\n", Wish(0, True)),
        (b"GET / HTTP/1.1\r\nCookie: winit_process=1\r\n", None),
        (b"\xff\x00\x16\x03", None), (b"", None),
    ],
)  # fmt: skip
def test_what_a_head_says(head: bytes, wish: Wish | None) -> None:
    assert read_head(head) == wish


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    assert read_head(data + b"\r\n\r\n") is not None


@pytest.mark.parametrize(
    ("pages", "wish", "chosen"),
    [
        ([3, 2, 2], NOBODY, 1),
        ([3, 2, 2], Wish(0, False), 0),
        ([9, 2, 2], Wish(0, False), 1),  # too full for a new page
        ([9, 2, 2], Wish(0, True), 0),  # its session is there
        ([3, 2, 2], Wish(7, True), 1),  # no such process
    ],
)
def test_who_gets_a_connection(pages: list[int], wish: Wish, chosen: int) -> None:
    assert choose([Load(number, count) for number, count in enumerate(pages)], wish) == chosen


def test_of_equals_the_one_that_waited_longest_is_chosen() -> None:
    assert choose([Load(0, 1, last=5.0), Load(1, 1, last=4.0)], NOBODY) == 1
    assert choose([], NOBODY) is None


@pytest.mark.parametrize(
    ("cores", "gigabytes", "asked", "count"),
    [(2, 1.0, 0, 2), (8, 1.0, 0, 3), (2, 0.5, 0, 1), (4, 16.0, 0, 4), (4, 0.25, 0, 1), (2, 1.0, 1, 1), (1, 1.0, 3, 3)],
)
def test_how_many_processes(
    cores: int, gigabytes: float, asked: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "cores", lambda: cores)
    monkeypatch.setattr(host, "memory", lambda: gigabytes * 1e9)
    assert processes.count(Settings(processes=asked)) == count
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    assert processes.count(Settings(processes=asked)) == 1


# What is shared


def _seats(folder: Path, count: int = 2) -> list[Seat]:
    tally = Tally(count)
    seats = [Seat(number, count, tally, folder) for number in range(count)]
    for seat in seats:
        seat.take()
    return seats


def test_a_tally_is_seen_by_all_and_forgets_one() -> None:
    tally = Tally(3)
    if not (child := os.fork()):
        tally.add(2, "a", 2)
        os._exit(0)
    os.waitpid(child, 0)
    tally.add(0, "a", 1)
    tally.add(0, "b", 1)
    assert (tally.total, tally.by_address("a"), tally.by_address("b"), tally.by_process(2)) == (4, 3, 1, 2)
    tally.clear(2)
    assert (tally.total, tally.by_address("a"), tally.by_process(2)) == (2, 1, 0)


def test_files_are_found_by_all(tmp_path: Path) -> None:
    seats = _seats(tmp_path)
    mine, yours = (Media("/media", seat) for seat in seats)
    name = mine.load_and_get_id(b"a,b\n1,2\n", "text/csv", MediaFileKind.DOWNLOADABLE, "runs \u00e9.csv")
    assert yours.get_file(f"{name}.csv") == mine.get_file(f"{name}.csv")
    assert mine.get_url(name) == f"/media/{name}.csv"
    for bad in ("../0/metrics", f"../0/{name}", name[:-1], f"{name}x.csv", ""):
        with pytest.raises(MediaFileStorageError):
            yours.get_file(bad)
    # Whoever has it keeps it, as long as it is theirs.
    assert yours.load_and_get_id(b"a,b\n1,2\n", "text/csv", MediaFileKind.DOWNLOADABLE, "runs \u00e9.csv") == name
    mine.delete_file(name)
    assert mine.get_file(name).content == b"a,b\n1,2\n"
    yours.delete_file(name)
    with pytest.raises(MediaFileStorageError):
        mine.get_file(name)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_seat_begins_clean(tmp_path: Path) -> None:
    seat = _seats(tmp_path)[0]
    Media("/media", seat).load_and_get_id(b"x", "text/csv", MediaFileKind.DOWNLOADABLE)
    seat.take()
    assert list(seat.own.iterdir()) == []


def test_metrics_are_added_up_and_those_of_a_process_are_told_apart(tmp_path: Path) -> None:
    texts = {}
    for seat in _seats(tmp_path):
        metrics = Metrics(guard := Guard(_page, Settings(), seat))
        guard.refused["upload"] += 1 + seat.number
        metrics.record_error()
        seat.tally.add(seat.number, "a", 2)
        texts[seat.number] = metrics.text()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(together(texts))
        for sample in family.samples
    }
    assert found["winit_errors_total",] == 2
    assert found["winit_visitors",] == 4
    assert found["winit_refused_total", "upload"] == 3
    assert found["process_resident_memory_bytes", "1"] > 1e6
    assert time.time() - 60 < found["winit_errors_created",] <= time.time()
    # One that does not answer is left out.
    assert "winit_visitors 2.0" in together({**texts, 1: ""})


async def _page(scope: Any, receive: Any, send: Any) -> None:
    """Answer as a page, or as a file where the path says so."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    kind = b"text/html; charset=utf-8" if scope["path"] == "/" else b"text/javascript"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b""})


async def _cookie(guard: Guard, path: str = "/", cookie: str = "", kind: str = "http") -> str | None:
    """Return the cookie that a guard sets."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"} if len(sent) == 0 else {"type": "websocket.disconnect", "code": 1000}

    headers = [(b"cookie", cookie.encode())] if cookie else []
    scope = {"type": kind, "path": path, "method": "GET", "headers": headers, "client": ("9.9.9.9", 1)}
    await guard(scope, receive, send)
    return dict(sent[0].get("headers", ())).get(b"set-cookie", b"").decode() or None


def test_a_cookie_names_the_process(tmp_path: Path) -> None:
    async def work() -> None:
        seat = _seats(tmp_path)[1]
        guard = Guard(_page, Settings(), seat)
        expected = "winit_process=1; Path=/; HttpOnly; SameSite=Lax"
        assert await _cookie(guard) == await _cookie(guard, cookie="winit_process=9") == expected
        # A connection that a proxy uses for several visitors says nothing about where their sessions live.
        assert await _cookie(guard, cookie="winit_process=0") is None
        assert await _cookie(guard, "/static/index.js") is None
        assert await _cookie(guard, kind="websocket", cookie="winit_process=0") == expected
        assert await _cookie(guard, kind="websocket", cookie="winit_process=1") is None
        framed = Guard(_page, Settings(embed_from=("https://a.example",)), seat)
        assert str(await _cookie(framed)).endswith("; HttpOnly; SameSite=None; Secure; Partitioned")
        assert await _cookie(Guard(_page, Settings())) is None

    asyncio.run(work())


def test_caps_hold_for_all_together(tmp_path: Path) -> None:
    limits = Settings(connections=3, connections_per_address=2)
    first, second = (Guard(_page, limits, seat) for seat in _seats(tmp_path))
    scope = {"type": "websocket", "headers": []}
    tally = first._seat.tally
    assert second._why_not(scope, "a") == ""
    tally.add(0, "a", 1)
    tally.add(1, "a", 1)
    assert first._why_not(scope, "a") == second._why_not(scope, "a") == "connections_per_address"
    assert second._why_not(scope, "b") == ""
    tally.add(0, "b", 1)
    assert first._why_not(scope, "c") == second._why_not(scope, "c") == "connections"


# Real processes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app in two processes."""
    with _serving(tmp_path_factory.mktemp("processes")) as found:
        yield found


def _serving(folder: Path) -> contextlib.AbstractContextManager[Server]:
    settings = {"PROCESSES": "2", "METRICS_TOKEN": TOKEN, "STORE": str(folder / "runs"), "HOSTS": "127.0.0.1"}
    settings |= {"CONNECTIONS_PER_ADDRESS": "6", "OPENINGS_PER_SECOND": "1000"}
    return serving(PORT, folder / "log", **{f"WINIT_{name}": value for name, value in settings.items()})


def _get(path: str, process: int | None = None, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, headers and body of an answer, over a connection of its own; `process` as the cookie says it."""
    if process is not None:
        headers["Cookie"] = f"winit_process={process}"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def _home_of(visitor: Visitor, named: int | None = None) -> int | None:
    """Return the process that a page landed in; `named` is what it asked for."""
    found = visitor.socket.response.headers.get("set-cookie")
    return named if found is None else process_of(found.partition(";")[0])


def _at(process: int, **options: Any) -> contextlib.AbstractAsyncContextManager[Visitor]:
    return visit(PORT, cookie=f"winit_process={process}", **options)


def _metrics(process: int) -> dict[str, float]:
    text = _get("/metrics", process, Authorization=f"Bearer {TOKEN}")[2].decode()
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


async def _wait_for(what: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.1)


def _is_alive(process: int) -> bool:
    """Whether a process is there, and not only because nobody has asked how it ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_pages_spread_evenly_and_caps_hold(server: Server) -> None:
    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            found = [_home_of(await stack.enter_async_context(visit(PORT, run=False))) for _ in range(6)]
            assert Counter(found) == {0: 3, 1: 3}
            with pytest.raises(websockets.InvalidStatus):
                await stack.enter_async_context(visit(PORT, run=False))

    asyncio.run(work())


@pytest.mark.parametrize("process", [0, 1])
def test_a_page_that_comes_back_finds_its_session(process: int, server: Server) -> None:
    async def work() -> None:
        async with _at(process) as visitor:
            assert _home_of(visitor, process) == process
            session = visitor.session
        async with _at(process, session=session) as visitor:
            assert _home_of(visitor, process) == process
            assert visitor.session == session
        # In the other process nobody knows it; the page is served all the same.
        async with _at(1 - process, session=session) as visitor:
            assert visitor.session != session

    assert process_of(_get("/")[1]["set-cookie"].partition(";")[0]) in (0, 1)
    assert _get("/", process)[1]["set-cookie"] is None
    asyncio.run(work())


def test_a_download_is_served_by_all(server: Server) -> None:
    async def work() -> None:
        async with _at(0, page="distributions", query="v=1&depth=3") as visitor:
            url = await visitor.download("spec-json")
            here, there = [await asyncio.to_thread(_get, url, process) for process in (0, 1)]
            assert here[0] == there[0] == 200
            assert here[2] == there[2] != b""
            assert here[1]["content-disposition"] == there[1]["content-disposition"] is not None

    asyncio.run(work())
    assert _get("/media/00000000000000000000000000000000.csv")[0] == 404


def test_metrics_speak_for_all_whoever_answers(server: Server) -> None:
    async def work() -> None:
        async with _at(0), _at(1):
            for process in (0, 1):
                found = await asyncio.to_thread(_metrics, process)
                assert found["winit_visitors"] == 2
                assert found["winit_computations_total"] > 0
        await _wait_for(lambda: _metrics(1)["winit_visitors"] == 0)

    asyncio.run(work())
    text = _get("/metrics", 1, Authorization=f"Bearer {TOKEN}")[2].decode()
    assert 'process_resident_memory_bytes{process="0"}' in text
    assert _get("/metrics")[0] == 404


def test_a_client_that_says_nothing_delays_nobody_and_is_closed(server: Server) -> None:
    def connect(said: bytes) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE)
        one.sendall(said)
        return one

    with contextlib.ExitStack() as stack:
        half = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCook"
        idle = [stack.enter_context(connect(said)) for said in [b"", half, b"\x16\x03\x01"] * 100]
        slow = stack.enter_context(connect(b"GET /_stcore/health HTTP/1.1\r\n"))
        for _ in range(20):
            assert _get("/_stcore/health")[0] == 200
        slow.sendall(b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n")  # late, and in time
        assert slow.recv(15) == b"HTTP/1.1 200 OK"
        large = stack.enter_context(connect(b"GET / HTTP/1.1\r\nX: "))
        with contextlib.suppress(OSError):
            large.sendall(b"x" * 100_000)
        dribbling = stack.enter_context(connect(b"GET / HTTP/1.1\r\nX: "))
        with contextlib.suppress(OSError):
            for _ in range(100):
                dribbling.sendall(b"x")
                time.sleep(0.1)
        for one in [*idle, large, dribbling]:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
    # More of them than wait at a time: the oldest go.
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(b"")) for _ in range(600)]
        assert _get("/_stcore/health")[0] == 200
        assert idle[0].recv(1) == b""


def test_a_lost_process_is_replaced_and_disturbs_no_other(server: Server) -> None:
    async def work() -> None:
        async with _at(0) as other, _at(1) as lost:
            session = lost.session
            os.kill(server.processes()[2], signal.SIGKILL)
            with pytest.raises(websockets.ConnectionClosed):
                await lost.run()
            # It comes back, wherever that is, and the port answers all the time.
            async with _at(1, session=session) as again:
                assert again.session != session
            assert (await other.run()).status == "FINISHED_SUCCESSFULLY"

            async def is_replaced() -> bool:
                assert (await asyncio.to_thread(_get, "/_stcore/health"))[0] == 200
                async with _at(1, run=False) as visitor:
                    return _home_of(visitor, 1) == 1

            async with asyncio.timeout(PATIENCE):
                while not await is_replaced():
                    await asyncio.sleep(0.2)
            assert (await other.run()).status == "FINISHED_SUCCESSFULLY"
            async with _at(1) as new:
                assert new.session
                assert (await asyncio.to_thread(_metrics, 1))["winit_visitors"] == 2

    asyncio.run(work())
    assert len(server.processes()) == 3
    assert "process 1 ended (-9): another begins" in server.said()
    assert "Traceback" not in server.said()


def test_a_port_that_is_taken_is_said(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(address="127.0.0.1", port=PORT, processes=2)
    assert processes.serve(settings, lambda _: pytest.fail("no process begins")) == 3
    assert "already in use" in caplog.text


_SMALL = """
import logging, os, sys, uvicorn
from winit.server.processes import FrontDoor

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

logging.basicConfig()
configure = lambda seat: uvicorn.Config(app, lifespan="off", log_level="warning")
sys.exit(FrontDoor("127.0.0.1", int(sys.argv[1]), 2, configure, silence=2.0).serve())
"""


def test_a_process_that_stands_still_is_replaced(tmp_path: Path) -> None:
    port = PORT + 2

    def ask(process: int) -> int:
        headers = {"Cookie": f"winit_process={process}", "Connection": "close"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            connection.request("GET", "/", headers=headers)
            return int(connection.getresponse().read())

    async def answers() -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(ask, 0)
                    return
                await asyncio.sleep(0.1)

    with (tmp_path / "log").open("w") as log:
        small = subprocess.Popen([sys.executable, "-c", _SMALL, str(port)], stderr=log)
    try:
        asyncio.run(answers())
        first, second = ask(0), ask(1)
        assert first != second
        time.sleep(3)  # longer than the silence: who lives is not silent
        assert (ask(0), ask(1)) == (first, second)
        os.kill(second, signal.SIGSTOP)
        assert ask(1) == first  # it held the question, which goes to another once it is given up
        assert not _is_alive(second)
        asyncio.run(_wait_for(lambda: ask(1) not in (first, second)))
    finally:
        small.terminate()
        assert small.wait(PATIENCE) == 0
    said = (tmp_path / "log").read_text()
    assert "process 1 has said nothing for" in said
    assert "process 1 ended (-9): another begins" in said


@pytest.mark.sampled(2)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_front_door(number: signal.Signals, server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        with serving(PORT + 1, tmp_path / "log", WINIT_PROCESSES="2", TMPDIR=str(tmp_path)) as other:
            async with visit(PORT + 1):
                started = other.processes()
                assert len(started) == 3
                assert list(tmp_path.glob("winit-*/[01]/*"))
                other.process.send_signal(number)
                await _wait_for(lambda: other.process.poll() is not None)
                await _wait_for(lambda: not any(map(_is_alive, started)))
                await _wait_for(lambda: not list(tmp_path.glob("winit-*")))
            assert other.process.returncode == (0 if number == signal.SIGTERM else -9)
            assert "Traceback" not in other.said()

    asyncio.run(work())
