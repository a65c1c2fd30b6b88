"""The guard against a plain ASGI application, the settings, the metrics; and all of it on the real server."""

from __future__ import annotations

import asyncio
import http.client
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
import websockets
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg

from benchmarks.visitor import Server, Visitor, serving, visit
from winit import queueing
from winit.fields import BadInput, fields_of
from winit.queueing import Work
from winit.recording import unpack
from winit.server.guard import ALLOWED_MESSAGES, Bucket, Guard, Line, client, is_host_allowed, kind_of, security_headers
from winit.server.metrics import Metrics
from winit.server.settings import Settings, variable
from winit.spec import Spec
from winit.training import train

PORT = 8655
TOKEN = "0123456789abcdef"
ROOT = Path(__file__).parent.parent
RERUN = BackMsg(rerun_script={"query_string": "v=1"}).SerializeToString()
CLEAR = BackMsg(clear_cache=True).SerializeToString()


# Settings


def test_settings_come_from_the_environment() -> None:
    given = {
        "WINIT_PORT": "7860",
        "WINIT_HOSTS": "a.example;*.b.example",
        "WINIT_FRAMES_PER_SECOND": "2.5",
        "WINIT_LOG": "",
    }
    found = Settings.of_host(given)
    assert (found.port, found.hosts, found.frames_per_second) == (7860, ("a.example", "*.b.example"), 2.5)
    assert found.replace(port=8501, hosts=(), frames_per_second=15.0) == Settings() == Settings.of_host({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"), ("PORT", "http"), ("ADDRESS", "everywhere"), ("HOSTS", "a b"), ("HOSTS", "a.example;*"),
        ("EMBED_FROM", "'unsafe-inline'"), ("EMBED_FROM", "https://x y"), ("CLIENT_HEADER", "X Y"),
        ("CONNECTIONS", "-1"), ("FRAMES_PER_SECOND", "inf"), ("METRICS_TOKEN", "short"), ("LOG", "loud"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadInput) as caught:
        Settings.of_host({f"WINIT_{name}": value})
    assert variable(caught.value.field) == f"WINIT_{name}"


def test_every_setting_is_documented() -> None:
    text = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    for field in fields_of(Settings):
        row = next(line for line in text.splitlines() if f"`{variable(field.name)}`" in line)
        assert field.help in row
        assert (field.write(field.default) or "none") in row


# The guard, alone


class _Inside:
    """An application that notes what the guard lets through."""

    def __init__(self) -> None:
        self.scopes: list[Mapping[str, Any]] = []
        self.messages: list[Mapping[str, Any]] = []
        self.release = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Content-Type-Options", b"x")]})
            await send({"type": "http.response.body", "body": b"inside"})
            return
        while True:
            message = await receive()
            self.messages.append(message)
            if message["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
            if message["type"] == "websocket.disconnect":
                return


def _scope(kind: str, path: str = "/", method: str = "GET", peer: str = "9.9.9.9", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": kind, "path": path, "method": method, "headers": pairs, "client": (peer, 1)}


async def _ask(guard: Guard, scope: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the guard reads no body")

    await guard(scope, receive, send)
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    assert len(headers) == len(sent[0]["headers"])
    return sent[0]["status"], headers, sent[1]["body"]


class _Socket:
    """A connection through a guard."""

    def __init__(self, guard: Guard, **scope: Any) -> None:
        self.sent: list[Any] = []
        self._coming: asyncio.Queue[Any] = asyncio.Queue()
        self._coming.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(guard(_scope("websocket", **scope), self._coming.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def say(self, *frames: bytes | str) -> None:
        """Send frames."""
        for frame in frames:
            name = "text" if isinstance(frame, str) else "bytes"
            self._coming.put_nowait({"type": "websocket.receive", name: frame})

    async def close(self) -> None:
        """Close the tab, and wait until the guard has noticed."""
        self._coming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(self.task, 1)

    async def settle(self) -> Any:
        """Return the last message sent, after all that can happen has happened."""
        for _ in range(50):
            await asyncio.sleep(0)
        return self.sent[-1] if self.sent else None


def _frames(inside: _Inside) -> list[bytes]:
    return [message["bytes"] for message in inside.messages if message["type"] == "websocket.receive"]


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/", 200, None), ("HEAD", "/distributions", 200, None), ("GET", "/_stcore/health", 200, None),
        ("PUT", "/_stcore/upload_file/a/b", 405, "upload"), ("DELETE", "/_stcore/upload_file/a/b", 405, "upload"),
        ("GET", "/_stcore/upload_file/a/b", 404, "path"), ("GET", "//_stcore//metrics", 404, "path"),
        ("POST", "/anything", 405, "method"), ("GET", "/base/_stcore/agent/openapi.json", 404, "path"),
    ],
)  # fmt: skip
def test_what_is_asked_for_over_http(method: str, path: str, status: int, reason: str | None) -> None:
    guard = Guard(inside := _Inside(), Settings())
    found, headers, body = asyncio.run(_ask(guard, _scope("http", path, method)))
    assert found == status
    assert (body == b"inside") == (reason is None) == bool(inside.scopes)
    assert dict(guard.refused) == ({reason: 1} if reason else {})
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"]


def test_embedding_is_for_the_configured() -> None:
    policy = security_headers(("https://a.example",))["content-security-policy"]
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts["frame-ancestors"] == "'self' https://a.example"
    assert "blob:" in parts["script-src"]
    assert "unsafe" not in parts["script-src"]
    assert re.search(r"'sha256-[A-Za-z0-9+/]{43}='", parts["script-src"])


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("a.example", True), ("A.Example:8501", True), ("a.example.", True), ("x.b.example", True),
        ("localhost:1", True),
        ("b.example", False), ("evil.example", False), ("a.example.evil.example", False), ("", False),
        ("a.example@evil", False), ("a.example/", False), ("xb.example", False), ("a.example:port", False),
    ],
)  # fmt: skip
def test_hosts(host: str, allowed: bool) -> None:
    assert is_host_allowed(host, ("a.example", "*.b.example")) == allowed
    assert is_host_allowed(host, ())


def test_a_foreign_host_is_refused() -> None:
    guard = Guard(_Inside(), Settings(hosts=("a.example",)))
    assert asyncio.run(_ask(guard, _scope("http", host="evil.example")))[0] == 421
    assert asyncio.run(_ask(guard, _scope("http", host="a.example")))[0] == 200


@pytest.mark.parametrize(
    ("peer", "header", "hops", "who"),
    [
        ("9.9.9.9", "", 1, "9.9.9.9"),
        ("9.9.9.9", "1.1.1.1, 2.2.2.2", 1, "2.2.2.2"),  # what a visitor wrote stands before
        ("9.9.9.9", "1.1.1.1, 2.2.2.2, 3.3.3.3", 2, "2.2.2.2"),
        ("9.9.9.9", "2.2.2.2", 2, "9.9.9.9"),
        ("2001:db8::1", "", 1, "2001:db8::/64"),
        ("::ffff:1.2.3.4", "", 1, "1.2.3.4"),
        ("9.9.9.9", "rubbish\\u00e9", 1, "unknown"),
    ],
)
def test_whose_connection_it_is(peer: str, header: str, hops: int, who: str) -> None:
    scope = _scope("websocket", peer=peer, **({"x_forwarded_for": header} if header else {}))
    settings = Settings(client_header="X-Forwarded-For", client_hops=hops)
    assert client(scope, settings) == who
    if "." in peer and ":" not in peer:
        assert client(scope, Settings()) == peer  # nobody believes a header that is not configured


def test_connections_are_capped_in_total_and_by_address() -> None:
    async def work() -> None:
        guard = Guard(_Inside(), Settings(connections=3, connections_per_address=2))
        sockets = [_Socket(guard, peer=peer) for peer in ("1.1.1.1", "1.1.1.1", "1.1.1.1", "2.2.2.2", "3.3.3.3")]
        ends = [await socket.settle() for socket in sockets]
        assert [end["type"].split(".")[1] for end in ends] == ["accept", "accept", "close", "accept", "close"]
        assert guard.connections == 3
        assert dict(guard.refused) == {"connections_per_address": 1, "connections": 1}
        await sockets[0].close()
        assert (await _Socket(guard, peer="3.3.3.3").settle())["type"] == "websocket.accept"

    asyncio.run(work())


def test_openings_are_limited_by_address() -> None:
    async def work() -> None:
        guard = Guard(_Inside(), Settings(connections_per_address=3, openings_per_second=0.01))
        for _ in range(3):
            socket = _Socket(guard)
            await socket.settle()
            await socket.close()
        assert (await _Socket(guard).settle())["type"] == "websocket.close"
        assert (await _Socket(guard, peer="2.2.2.2").settle())["type"] == "websocket.accept"

    asyncio.run(work())


def test_only_what_pages_say_comes_through() -> None:
    async def work() -> None:
        guard = Guard(inside := _Inside(), Settings())
        socket = _Socket(guard)
        heartbeat = BackMsg(app_heartbeat=True).SerializeToString()
        # In one frame the last kind counts, as it does for Streamlit.
        socket.say(
            RERUN, CLEAR, RERUN + CLEAR, BackMsg(load_git_info=True).SerializeToString(), heartbeat, CLEAR + RERUN
        )
        await socket.settle()
        assert [kind_of(frame) for frame in _frames(inside)] == ["rerun_script", "app_heartbeat", "rerun_script"]
        assert guard.refused["message"] == 3
        await socket.close()
        assert guard.connections == 0

    asyncio.run(work())


def test_of_operations_only_downloads_come_through() -> None:
    def operation(**payload: Any) -> bytes:
        return BackMsg(backend_operation_request={"request_id": "1", **payload}).SerializeToString()

    async def work() -> None:
        guard = Guard(inside := _Inside(), Settings())
        socket = _Socket(guard)
        wanted = operation(deferred_file={"file_id": "0123456789abcdef" * 2})
        others = [{"file_id": "x" * 32}, {"file_id": "0123456789abcdef" * 2 + "\n"}, {}]
        socket.say(wanted, *[operation(deferred_file=other) for other in others])
        socket.say(operation(), operation(install_skills={}), operation(dismiss_skills_nudge={}))
        socket.say(operation(dataframe_chunk={}))
        await socket.settle()
        assert _frames(inside) == [wanted]
        assert guard.refused["message"] == 7
        await socket.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("frame", "reason"), [("text", "text"), (b"\xff\xff\xff", "garbage"), (b"\x00" * 2000, "frame")]
)
def test_what_is_hung_up_on(frame: bytes | str, reason: str) -> None:
    async def work() -> None:
        guard = Guard(inside := _Inside(), Settings(frame_bytes=1024))
        socket = _Socket(guard)
        socket.say(frame, RERUN)
        await asyncio.wait_for(socket.task, 1)
        assert socket.sent[-1]["type"] == "websocket.close"
        assert dict(guard.refused) == {reason: 1}
        assert _frames(inside) == []
        assert guard.connections == 0

    asyncio.run(work())


def test_a_message_that_waited_while_the_guard_hung_up_finds_nobody() -> None:
    async def work() -> None:
        gone = asyncio.Event()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.send":
                await gone.wait()
                raise RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.")
            if message["type"] == "websocket.accept":
                raise RuntimeError("Expected ASGI message 'websocket.send' or 'websocket.close'.")

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return {"type": "websocket.receive", "bytes": b"\x00" * 2000}

        line = Line(receive, send, Settings(frame_bytes=1024), Counter())
        with pytest.raises(RuntimeError):  # this would be a fault of the program
            await line.send({"type": "websocket.accept"})
        waiting = asyncio.create_task(line.send({"type": "websocket.send", "bytes": b""}))
        await line.receive()  # that of connecting
        assert (await line.receive())["type"] == "websocket.disconnect"
        gone.set()
        with pytest.raises(OSError, match="closed"):  # to Starlette the sign of a visitor who left
            await waiting
        await line.send({"type": "websocket.send", "bytes": b""})  # from now on it goes nowhere
        line.end()

    asyncio.run(work())


def test_a_line_that_uvicorn_closes_ends_who_is_sending_as_a_visitor_who_left() -> None:
    ended: list[BaseException] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:  # it never looks whether anybody is there
                await send({"type": "websocket.send", "bytes": b"0"})
                await asyncio.sleep(0)
        except BaseException as error:
            ended.append(error)

    async def work() -> None:
        guard = Guard(inside, Settings(connections_per_address=10))
        server = uvicorn.Server(
            uvicorn.Config(guard, port=0, host="127.0.0.1", ws="websockets-sansio", ws_max_size=1024, lifespan="off")
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        for _ in range(5):
            async with websockets.connect(f"ws://127.0.0.1:{port}/_stcore/stream") as visitor:
                await visitor.send(b"0" * 2000)
                async with asyncio.timeout(5):
                    await visitor.wait_closed()
        server.should_exit = True
        await serving

    asyncio.run(work())
    assert len(ended) == 5
    assert all(isinstance(error, OSError) for error in ended), ended


def test_a_burst_is_slowed_loses_nothing_and_delays_nobody_else() -> None:
    async def work() -> None:
        guard = Guard(inside := _Inside(), Settings(frame_burst=5, frames_per_second=50.0))
        socket, begun = _Socket(guard), time.monotonic()
        socket.say(*[RERUN] * 20)
        await socket.settle()
        assert len(_frames(inside)) == 5
        while len(_frames(inside)) < 20:
            await asyncio.sleep(0.01)
        assert time.monotonic() - begun > 0.25  # 15 more at 50 a second take 0.3 s
        await socket.close()

    asyncio.run(work())


def test_a_closed_tab_takes_its_waiting_messages_with_it() -> None:
    async def work() -> None:
        guard = Guard(inside := _Inside(), Settings(frame_burst=1, frames_per_second=0.01))
        socket = _Socket(guard)
        socket.say(*[RERUN] * 10)
        await socket.settle()
        await socket.close()  # waits one second at most
        assert len(_frames(inside)) == 1
        assert inside.messages[-1]["type"] == "websocket.disconnect"

    asyncio.run(work())


def test_a_flood_is_hung_up_on() -> None:
    async def work() -> None:
        guard = Guard(_Inside(), Settings(frame_burst=1, frames_per_second=0.01))
        socket = _Socket(guard)
        socket.say(*[RERUN] * 600)
        await asyncio.wait_for(socket.task, 1)
        assert guard.refused["flood"] == 1

    asyncio.run(work())


@given(st.binary(max_size=200))
def test_any_bytes_have_a_kind_or_none(frame: bytes) -> None:
    kind = kind_of(frame)
    assert kind in {None, "", *(one.name for one in BackMsg.DESCRIPTOR.fields)}


def test_what_pages_say_is_what_streamlit_knows() -> None:
    assert {field.name for field in BackMsg.DESCRIPTOR.fields} > ALLOWED_MESSAGES


def test_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("winit.server.guard.time.monotonic", lambda: now)
    bucket = Bucket(rate=2.0, size=3.0)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]
    now = 0.5
    assert (bucket.take(), bucket.take()) == (0, 0.5)
    assert not bucket.is_full
    now = 10.0
    assert bucket.is_full
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]


def test_metrics_count_and_know_only_our_own_names() -> None:
    guard = Guard(_Inside(), Settings())
    metrics = Metrics(guard)
    metrics.record(Work("compare", "job", 2.0, 0.1, 0.2, "done"))
    metrics.record(Work("<script>", "slice", None, 0.0, 0.01, "failed"))
    metrics.record_error()
    guard.refused["upload"] += 2
    text = metrics.text()
    assert 'winit_computations_total{kind="job",lens="compare",outcome="done"} 1.0' in text
    assert 'lens="other"' in text
    assert "<script>" not in text
    assert "winit_errors_total 1.0" in text
    assert 'winit_refused_total{reason="upload"} 2.0' in text
    assert "process_resident_memory_bytes" in text
    assert queueing.crowd().slices == 0


# The real server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app behind its guard."""
    folder = tmp_path_factory.mktemp("server")
    limits = {"WINIT_CONNECTIONS_PER_ADDRESS": "3", "WINIT_OPENINGS_PER_SECOND": "100", "WINIT_HOSTS": "127.0.0.1"}
    limits["WINIT_PROCESSES"] = "1"
    with serving(PORT, folder / "log", WINIT_METRICS_TOKEN=TOKEN, WINIT_STORE=str(folder / "runs"), **limits) as found:
        yield found


def _get(path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read().decode()
    connection.close()
    return found


def test_the_server_serves_its_pages_and_counts(server: Server) -> None:
    async def work() -> None:
        async with visit(PORT, "", "v=1&depth=3", run=False) as visitor:
            answer = await visitor.run()
            assert answer.status == "FINISHED_SUCCESSFULLY"
            assert answer.exceptions == []
            # A second page clears the caches of nobody.
            async with visit(PORT, "", "v=1&depth=3") as other:
                await other.send(BackMsg(clear_cache=True))
                text = _get("/metrics", Authorization=f"Bearer {TOKEN}")[2]
                assert "winit_visitors 2.0" in text
                assert (await other.run()).status == "FINISHED_SUCCESSFULLY"

    asyncio.run(work())
    text = _get("/metrics", Authorization=f"Bearer {TOKEN}")[2]
    assert 'winit_refused_total{reason="message"} 1.0' in text
    assert re.search(r'winit_computations_total\{kind="slice",lens="home",outcome="done"\} [1-9]', text)
    said = server.said()
    assert "ready" in said
    assert re.search(r"lens=home kind=slice cost=\S+ waited=\S+ held=\S+ outcome=done", said)
    assert "127.0.0.1" not in said  # nobody's address
    assert "Traceback" not in said


def test_the_server_makes_a_file_when_it_is_asked_for(server: Server) -> None:
    async def work() -> None:
        async with visit(PORT, "distributions", "v=1&depth=3") as visitor:
            status, headers, text = await asyncio.to_thread(_get, await visitor.download("spec-json"))
            assert status == 200
            assert headers["content-disposition"] == 'attachment; filename="winit-spec.json"'
            assert '"depth"' in text

    asyncio.run(work())


@pytest.mark.parametrize("have", [1, 12, 40], ids=["next", "ahead", "far ahead"])
def test_a_player_gets_the_frames_after_those_it_has(server: Server, have: int) -> None:
    """Also from a server that knows nothing of those: the line was lost, and the process is another one."""
    spec = Spec(depth=2, width=8, dataset="moons", steps=60)
    wanted = [snapshot.loss for snapshot in train(spec, 2, every=1)][have : have + 3]

    async def work() -> None:
        async with visit(PORT, "live", "v=1&depth=2&width=8&dataset=moons&steps=60&seeds=2") as visitor:
            run = unpack(visitor.widgets["player"][1].bytes)[0]["run"]
            for _ in range(2):  # said again where the answer was lost
                fragment = visitor.trigger("player", "want", {"run": run, "have": have, "n": 3})
                answer = await visitor.run(fragment=fragment)
                assert answer.exceptions == []
                header, arrays = unpack(visitor.widgets["player"][1].bytes)
                assert (header["run"], header["first"], header["count"]) == (run, have, 3)
                np.testing.assert_array_equal(arrays["loss"], wanted)

    asyncio.run(work())


def test_a_widget_whose_change_came_with_the_players_question_is_heard(server: Server) -> None:
    """The browser sends in one message, for the player alone, what changed in the moment in which the player asked."""

    async def work() -> None:
        async with visit(PORT, "live", "v=1&depth=2&width=16&dataset=moons&seeds=1") as visitor:
            visitor.set("width", string_value="8")
            fragment = visitor.trigger("player", "want", {"run": "", "have": 1, "n": 8})
            answer = await visitor.run(fragment=fragment)
            assert answer.exceptions == []
            assert "width=8" in visitor.query.split("&")
            assert (await visitor.run(fragment=visitor.fragments["player"])).status == (
                "FINISHED_FRAGMENT_RUN_SUCCESSFULLY"
            )

    asyncio.run(work())


def test_the_server_refuses(server: Server) -> None:
    assert _get("/_stcore/upload_file/a/b", "PUT")[0] == 405
    assert _get("/_stcore/metrics")[0] == 404
    assert _get("/metrics")[0] == 404
    assert _get("/metrics", Authorization=f"Bearer {TOKEN}x")[0] == 404
    assert _get("/", Host="evil.example")[0] == 421
    status, headers, _ = _get("/")
    assert status == 200
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert "server" not in headers
    # One process alone: no cookie, no front door.
    assert headers["set-cookie"] is None
    assert len(server.processes()) == 1


def test_the_server_caps_connections(server: Server) -> None:
    async def work() -> None:
        async with visit(PORT, run=False), visit(PORT, run=False), visit(PORT, run=False):
            with pytest.raises(websockets.InvalidStatus):
                async with visit(PORT, run=False):
                    pass
        await asyncio.sleep(0.2)
        async with visit(PORT, run=False):
            pass

    asyncio.run(work())


async def _sweep(visitor: Visitor) -> None:
    """Press run, where the comparison does not start by itself on this host."""
    if "run" in visitor.widgets:
        visitor.set("run", trigger_value=True)
        await visitor.run()


async def _tick(visitor: Visitor) -> str:
    """Run the fragment that runs by itself, and return what it says."""
    ((fragment, _),) = visitor.ticking.items()
    answer = await visitor.run(fragment=fragment, is_auto=True)
    assert answer.exceptions == []
    return " ".join(answer.texts)


def test_sweeps_wait_for_each_other_and_a_closed_tab_gives_up_its_place(server: Server) -> None:
    """A job's place in the queue is gone within a second of its tab, and the next one trains."""

    def jobs() -> float:
        text = _get("/metrics", Authorization=f"Bearer {TOKEN}")[2]
        return float(re.search(r'winit_waiting\{kind="job"\} (\S+)', text)[1])  # type: ignore[index]

    async def work() -> None:
        query = "v=1&depth=30&width=64&steps=3000&dataset=moons&seeds=5"
        async with visit(PORT, "compare", query + "&seed=9") as second:
            async with visit(PORT, "compare", query) as first:
                await _sweep(first)
                await _sweep(second)
                assert jobs() == 2
                assert "per second" in await _tick(first)
                said = await _tick(second)
                assert "1 ahead of you" in said
                assert "per second" not in said
            await asyncio.sleep(1.0)
            assert jobs() == 1
            said = await _tick(second)
            assert "ahead of you" not in said
            assert "per second" in said
        await asyncio.sleep(1.0)
        assert jobs() == 0

    asyncio.run(work())
    assert re.search(r"lens=compare kind=job cost=[0-9.]+ waited=", server.said())
