"""A visitor without a browser: speaks the websocket protocol of Streamlit's pages, with Streamlit's own messages.

For load and for hostile input: everything that a browser can send, and what none would.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates

ROOT = Path(__file__).parent.parent


@dataclass
class Run:
    """What a page answered to one message."""

    seconds: float
    """From the message to the last line of the answer."""
    messages: int
    bytes: int
    exceptions: list[str]
    texts: list[str]
    """What the page says: titles, paragraphs, errors."""
    status: str
    """success, or how else the script ended."""


@dataclass
class Visitor:
    """An open page. Make one with `visit`."""

    socket: Any
    page: str
    query: str = ""
    script_hash: str = ""
    session: str = ""
    """The id of its session."""
    widgets: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """Id of each widget that is on the page, by its key: kind of element, and the element."""
    states: dict[str, WidgetState] = field(default_factory=dict)
    """What the browser holds of its widgets, by id."""
    sent: list[WidgetState] = field(default_factory=list)
    """What it held when it last ran the page."""
    fragments: dict[str, str] = field(default_factory=dict)
    """The fragment that each component or widget was drawn by, by key."""
    ticking: dict[str, float] = field(default_factory=dict)
    """Seconds between two runs of each fragment that runs by itself."""

    async def run(self, *, fragment: str = "", timeout: float = 60.0, is_auto: bool = False) -> Run:
        """Send what the browser holds, and return what the page answers."""
        if not fragment:
            self.ticking.clear()
        await self.send(self.rerun(fragment, is_auto=is_auto))
        return await self.answer(timeout)

    def rerun(self, fragment: str = "", *, is_auto: bool = False) -> BackMsg:
        """Return the message that runs the page, or one fragment of it."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string = self.query
        state.page_script_hash = self.script_hash
        state.page_name = "" if self.script_hash else self.page
        state.fragment_id = fragment
        state.is_auto_rerun = is_auto
        state.widget_states.CopyFrom(WidgetStates(widgets=list(self.states.values())))
        self.sent = list(self.states.values())
        # A trigger is said once.
        self.states = {key: held for key, held in self.states.items() if held.WhichOneof("value") not in _TRIGGERS}
        return message

    async def send(self, message: BackMsg) -> None:
        """Send a message."""
        await self.socket.send(message.SerializeToString())

    def set(self, key: str, **value: Any) -> None:
        """Change a widget: `set("depth", double_array_value=[20])`, named as the field of the message."""
        name = self.widgets[key][0]
        state = WidgetState(id=name)
        ((kind, content),) = value.items()
        target = getattr(state, kind)
        if kind == "string_trigger_value":
            target.data = content
        elif hasattr(target, "data"):
            target.data.extend(content)
        else:
            setattr(state, kind, content)
        self.states[name] = state

    def trigger(self, key: str, event: str, value: object) -> str:
        """Let a component say that something happened; return the fragment that it runs."""
        name = f"$$STREAMLIT_INTERNAL_KEY_{self.widgets[key][0]}__events"
        text = value if isinstance(value, str) else json.dumps([{"event": event, "value": value}])
        self.states[name] = WidgetState(id=name, json_trigger_value=text)
        return self.fragments[key]

    async def download(self, key: str, timeout: float = 60.0) -> str:
        """Press a download button; return the path of the file that was made, empty where none was."""
        wanted = {"file_id": self.widgets[key][1].deferred_file_id}
        request = {"request_id": key, "session_id": self.session, "deferred_file": wanted}
        await self.send(BackMsg(backend_operation_request=request))
        async with asyncio.timeout(timeout):
            while True:
                message = ForwardMsg.FromString(await self.socket.recv())
                if message.WhichOneof("type") == "backend_operation_response":
                    return str(message.backend_operation_response.deferred_file.url)

    async def answer(self, timeout: float = 60.0) -> Run:
        """Return what comes until the script has finished."""
        begun = time.perf_counter()
        exceptions: list[str] = []
        texts: list[str] = []
        count = size = 0
        async with asyncio.timeout(timeout):
            while True:
                data = await self.socket.recv()
                count, size = count + 1, size + len(data)
                message = ForwardMsg.FromString(data)
                kind = message.WhichOneof("type")
                if kind == "new_session":
                    self.script_hash = message.new_session.page_script_hash
                    self.session = message.new_session.initialize.session_id
                elif kind == "navigation":  # says which page an address without one means
                    self.script_hash = message.navigation.page_script_hash or self.script_hash
                elif kind == "stop_auto_rerun":
                    self.ticking.pop(message.stop_auto_rerun.fragment_id, None)
                elif kind == "page_info_changed":
                    self.query = message.page_info_changed.query_string
                elif kind == "auto_rerun":
                    self.ticking[message.auto_rerun.fragment_id] = message.auto_rerun.interval
                elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                    self._see(message.delta, exceptions, texts)
                elif kind == "script_finished":
                    status = ForwardMsg.ScriptFinishedStatus.Name(message.script_finished)
                    if status == "FINISHED_EARLY_FOR_RERUN":
                        self.ticking.clear()  # the whole page comes next
                    else:
                        return Run(time.perf_counter() - begun, count, size, exceptions, texts, status)

    def _see(self, delta: Any, exceptions: list[str], texts: list[str]) -> None:
        element = delta.new_element
        kind = element.WhichOneof("type")
        content = getattr(element, kind)
        if kind == "exception":
            exceptions.append(f"{content.type}: {content.message}")
        elif kind in ("markdown", "heading", "alert", "text"):
            texts.append(content.body)
        name = getattr(content, "id", "")
        if isinstance(name, str) and name.startswith("$$"):
            # $$ID-<hash>-<key of the page>
            key = name.split("-", 2)[2]
            self.widgets[key] = (name, content)
            self.fragments[key] = delta.fragment_id


_TRIGGERS = ("trigger_value", "string_trigger_value", "chat_input_value", "json_trigger_value")


@asynccontextmanager
async def visit(
    port: int,
    page: str = "",
    query: Mapping[str, str] | str = "",
    *,
    run: bool = True,
    cookie: str = "",
    session: str = "",
) -> AsyncIterator[Visitor]:
    """Open a page of the server on this machine; `run` waits until it is there.

    With the id of a `session` it comes back to that, as a page does after a blip of the network.
    """
    query = query if isinstance(query, str) else urlencode(query)
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    protocols = ["streamlit", "none", session] if session else ["streamlit"]
    async with websockets.connect(
        address,
        subprotocols=[websockets.Subprotocol(one) for one in protocols],
        additional_headers={"Cookie": cookie} if cookie else None,
        max_size=None,
        compression=None,
    ) as socket:
        visitor = Visitor(socket, page, query)
        if run:
            await visitor.run()
        yield visitor


@dataclass(frozen=True)
class Server:
    """A server that runs on this machine."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        """Return what it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[int]:
        """Return its process and those that it has begun, by their ids."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        found = [self.process.pid]
        for one in found:  # which grows
            found += [child for child, parent in parents.items() if parent == one]
        return found

    def memory(self) -> float:
        """Return the memory of all its processes in bytes; what several share counts once."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{process}/smaps_rollup").read_text()
                total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return 1024.0 * total

    def processor_seconds(self) -> float:
        """Return the processor time that all its processes have taken."""
        ticks = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(port: int, log: Path, *, stock: bool = False, **settings: str) -> Iterator[Server]:
    """Serve the app until the block ends, with WINIT_* settings; `stock` is Streamlit as it comes."""
    arguments = [sys.executable, "-m", "winit.server"]
    environment = {**os.environ, "WINIT_PORT": str(port), "WINIT_ADDRESS": "127.0.0.1", **settings}
    if stock:
        options = {"port": port, "address": "127.0.0.1", "headless": "true", "disconnectedSessionTTL": 120}
        arguments = [sys.executable, "-m", "streamlit", "run", "app.py", "--runner.fastReruns=true"]
        arguments += [f"--server.{name}={value}" for name, value in options.items()]
    with log.open("wb") as file:
        process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        server = Server(port, process, log)
        end = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{server.said()}")
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
