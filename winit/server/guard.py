"""The guard: an ASGI middleware between strangers and Streamlit.

Streamlit takes any number of connections, any rate of messages, uploads without an uploader, and a
message that clears everybody's caches. The guard counts, slows and refuses, and adds the headers that
tell browsers what this app needs and nothing more.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit
from google.protobuf.message import DecodeError
from streamlit.proto.BackMsg_pb2 import BackMsg

from winit.server.settings import Settings
from winit.server.shared import COOKIE, Seat, process_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ALLOWED_MESSAGES = frozenset({"rerun_script", "stop_script", "app_heartbeat", "backend_operation_request"})
"""What a visitor's page needs to say. Left out: clear_cache, which empties the caches of all; uploads; development.

Of the operations only one is let through, too: to make the file of a download button.
"""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CLOSED_PATHS = ("/_stcore/upload_file", "/_stcore/metrics", "/_stcore/agent")
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})  # health checks, which come from inside
_POLICY_VIOLATION, _TOO_BIG, _TRY_LATER = 1008, 1009, 1013
_MOST_WAITING = 512  # messages of one page


@dataclass
class Bucket:
    """Tokens that come at a steady rate up to a limit: who finds none waits or is refused."""

    rate: float
    """Tokens per second."""
    size: float
    tokens: float = field(init=False)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens, self._since = self.size, time.monotonic()

    def take(self) -> float:
        """Take a token and return 0.0, or return the seconds until there is one."""
        now = time.monotonic()
        self.tokens = min(self.size, self.tokens + (now - self._since) * self.rate)
        self._since = now
        if self.tokens < 1:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0

    @property
    def is_full(self) -> bool:
        """Whether forgetting this bucket would change nothing."""
        return self.tokens + (time.monotonic() - self._since) * self.rate >= self.size


class Guard:
    """The middleware: `app` is what it protects, `seat` its process among others. Its counts are for the metrics."""

    def __init__(self, app: App, settings: Settings, seat: Seat | None = None) -> None:
        self._app = app
        self._settings = settings
        self._seat = seat or Seat()
        self._openings: dict[str, Bucket] = {}
        self._headers = [
            (name.encode(), value.encode("latin-1")) for name, value in security_headers(settings.embed_from).items()
        ]
        self.refused: Counter[str] = Counter()
        """How often something was refused, by reason."""

    @property
    def connections(self) -> int:
        """How many pages of this process are open."""
        return self._seat.tally.by_process(self._seat.number)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is allowed."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in self._headers}
                kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in ours]
                # With pages, not with files: what a proxy keeps for all must not lead all to one process.
                if any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in kept):
                    kept += self._cookie(scope, range(self._seat.count))
                message = {**message, "headers": [*kept, *self._headers]}
            await send(message)

        # Slashes in a row are one to the routes.
        path = re.sub("/+", "/", scope["path"])
        if not is_host_allowed(header(scope, "host"), self._settings.hosts):
            await self._refuse(send_with_headers, 421, "host")
        elif scope["method"] not in _READING:
            await self._refuse(send_with_headers, 405, "upload" if "upload_file" in path else "method")
        elif any(closed in path for closed in _CLOSED_PATHS):
            await self._refuse(send_with_headers, 404, "path")
        else:
            await self._app(scope, receive, send_with_headers)

    def _cookie(self, scope: Scope, good: range) -> list[tuple[bytes, bytes]]:
        """Return the header that names this process, unless the request names one of the `good`."""
        if self._seat.count == 1 or process_of(header(scope, "cookie")) in good:
            return []
        # A page in a frame of another site has cookies of its own there, if any.
        crossing = "SameSite=None; Secure; Partitioned" if self._settings.embed_from else "SameSite=Lax"
        return [(b"set-cookie", f"{COOKIE}={self._seat.number}; Path=/; HttpOnly; {crossing}".encode())]

    async def _refuse(self, send: Send, status: int, reason: str) -> None:
        self.refused[reason] += 1
        text = f"Refused: {reason}.\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = client(scope, self._settings)
        reason = self._why_not(scope, address)
        if reason:
            self.refused[reason] += 1
            await receive()  # the connect event: only then may it be closed
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION if reason == "host" else _TRY_LATER})
            return
        here = range(self._seat.number, self._seat.number + 1)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "websocket.accept":  # from now on its session lives here
                message = {**message, "headers": [*message.get("headers", ()), *self._cookie(scope, here)]}
            await send(message)

        self._seat.tally.add(self._seat.number, address, 1)
        line = Line(receive, send_with_cookie, self._settings, self.refused)
        try:
            await self._app(scope, line.receive, line.send)
        finally:
            line.end()
            self._seat.tally.add(self._seat.number, address, -1)

    def _why_not(self, scope: Scope, address: str) -> str:
        """Return why a connection is refused, or nothing."""
        settings, tally = self._settings, self._seat.tally
        if not is_host_allowed(header(scope, "host"), settings.hosts):
            return "host"
        if tally.total >= settings.connections:
            return "connections"
        if tally.by_address(address) >= settings.connections_per_address:
            return "connections_per_address"
        if len(self._openings) > 2 * settings.connections:
            self._openings = {name: bucket for name, bucket in self._openings.items() if not bucket.is_full}
        # Of the rate each process grants its share: together they keep it.
        rate = settings.openings_per_second / self._seat.count
        bucket = self._openings.setdefault(address, Bucket(rate, settings.connections_per_address))
        return "openings" if bucket.take() else ""


class Line:
    """The messages of one connection: those that come too fast wait, those that no page sends are dropped.

    They are read while they wait, so that a closed tab is noticed at once and its messages go with it.
    """

    def __init__(self, receive: Receive, send: Send, settings: Settings, refused: Counter[str]) -> None:
        self._receive, self._send = receive, send
        self._largest = settings.frame_bytes
        self._bucket = Bucket(settings.frames_per_second, settings.frame_burst)
        self._refused = refused
        self._waiting: deque[bytes] = deque()
        self._arrived, self._ended = asyncio.Event(), asyncio.Event()
        self._last: Message | None = None
        self._hung_up = False
        self._reader: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """Return the next message, as Streamlit asks for it."""
        if self._reader is None:
            message = await self._receive()  # that of connecting
            self._reader = asyncio.create_task(self._read(), name="winit-guard")
            return message
        while self._last is None:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            elif wait := self._bucket.take():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), wait)
            else:
                frame = self._waiting.popleft()
                kind = kind_of(frame)
                if kind is None:
                    await self._hang_up("garbage", _POLICY_VIOLATION)
                elif kind in ALLOWED_MESSAGES and (kind != "backend_operation_request" or is_download(frame)):
                    return {"type": "websocket.receive", "bytes": frame}
                else:
                    self._refused["message"] += 1
        return self._last

    async def send(self, message: Message) -> None:
        """Pass on what Streamlit sends, unless nobody is there any more.

        A line that was closed in the middle (by uvicorn at a frame too large, or by the guard while the
        message waited for its turn) is to ASGI an `OSError`, which ends Streamlit's sender quietly; uvicorn
        calls it a `RuntimeError`, of which Streamlit writes a traceback.
        """
        if self._hung_up:
            return
        try:
            await self._send(message)
        except RuntimeError as error:
            if message["type"] not in ("websocket.send", "websocket.close"):
                raise
            raise OSError("the line was closed") from error

    def end(self) -> None:
        """Read no more."""
        if self._reader is not None:
            self._reader.cancel()

    async def _read(self) -> None:
        while self._last is None:
            message = await self._receive()
            frame = message.get("bytes")
            if message["type"] != "websocket.receive":
                self._close(message)
            elif frame is None:  # text, at which Streamlit would raise
                await self._hang_up("text", _POLICY_VIOLATION)
            elif len(frame) > self._largest:
                await self._hang_up("frame", _TOO_BIG)
            elif len(self._waiting) >= _MOST_WAITING:
                await self._hang_up("flood", _POLICY_VIOLATION)
            else:
                self._waiting.append(frame)
                self._arrived.set()

    async def _hang_up(self, reason: str, code: int) -> None:
        self._refused[reason] += 1
        if not self._hung_up:
            self._hung_up = True
            await self._send({"type": "websocket.close", "code": code})
        self._close({"type": "websocket.disconnect", "code": code})

    def _close(self, message: Message) -> None:
        self._last = message
        self._waiting.clear()
        self._arrived.set()
        self._ended.set()


def kind_of(frame: bytes) -> str | None:
    """Return the name of a browser's message; "" for one that says nothing, None for bytes that are no message."""
    message = BackMsg()
    try:
        message.ParseFromString(frame)
    except DecodeError:
        return None
    return message.WhichOneof("type") or ""


def is_download(frame: bytes) -> bool:
    """Whether a browser's message asks for the file of a download button, by a name that Streamlit may have given."""
    request = BackMsg.FromString(frame).backend_operation_request
    return bool(re.fullmatch(r"[0-9a-f]{32}", request.deferred_file.file_id, re.ASCII))


def header(scope: Scope, name: str) -> str:
    """Return the values of a request's header, joined; empty where it is missing."""
    wanted = name.lower().encode()
    return ", ".join(value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == wanted)


def client(scope: Scope, settings: Settings) -> str:
    """Return whose connection it is: an address, or the network of 64 bits that an IPv6 address lies in.

    Behind proxies it is the entry of the trusted header that the outermost trusted proxy wrote: what
    stands before it came from the visitor and may be anything.
    """
    found = (scope.get("client") or ("",))[0]
    if settings.client_header:
        entries = [entry.strip() for entry in header(scope, settings.client_header).split(",")]
        if len(entries) >= settings.client_hops:
            found = entries[-settings.client_hops] or found
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


def is_host_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a request's Host is one of the allowed names, with any port; all are where none is given."""
    if not allowed:
        return True
    found = re.fullmatch(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", host, re.ASCII)
    if not found:
        return False
    name = found[1].lower().rstrip(".")
    if name in _LOCAL_HOSTS:
        return True
    return any(
        name.endswith(want[1:].lower()) if want.startswith("*.") else name == want.lower().rstrip(".")
        for want in allowed
    )


def security_headers(embed_from: tuple[str, ...]) -> dict[str, str]:
    """Return the headers of every answer; `embed_from` are the sites that may show the app in a frame."""
    index = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    inline = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in re.findall(r"<script>(.*?)</script>", index, re.DOTALL)
    ]
    policy = {
        "default-src": ["'self'"],
        "script-src": ["'self'", "blob:", *inline],  # blob: is the live player's module
        "style-src": ["'self'", "'unsafe-inline'"],  # Streamlit writes its styles while it runs
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'", "data:"],
        "worker-src": ["'self'", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'self'", *embed_from],
    }
    return {
        "content-security-policy": "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items()),
        "x-content-type-options": "nosniff",
        # An address carries a visitor's network: other sites see the host's name only.
        "referrer-policy": "strict-origin-when-cross-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
