"""The settings of a public host: each is a declared field, read from an environment variable WINIT_<NAME>.

>>> Settings.of_host({"WINIT_PORT": "8080", "WINIT_HOSTS": "winit.example;*.example.org"}).hosts
('winit.example', '*.example.org')
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from winit.fields import Choice, Declared, Integer, Real, Refused, Several, Text, declare, fields_of

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9.-]{1,200}|\[[0-9A-Fa-f:.]{2,45}\]", re.ASCII)
_SOURCE = re.compile(r"(https?://)?(\*\.)?[A-Za-z0-9.-]{1,200}(:[0-9]{1,5})?|\*", re.ASCII)
_HEADER = re.compile(r"([A-Za-z0-9-]{1,64})?", re.ASCII)
_TOKEN = re.compile(r"([A-Za-z0-9._~+/=-]{16,200})?", re.ASCII)


def _like(pattern: re.Pattern[str], words: str) -> Text:
    """Return the kind of a text that a pattern matches."""

    def validate(text: str) -> None:
        if not pattern.fullmatch(text):
            raise Refused(words)

    return Text(words, validate)


def _address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise Refused("a numeric address of this machine") from None


@dataclass(frozen=True)
class Settings(Declared):
    """What a host sets. Raises `BadInput`, naming the variable, for a value that is not allowed."""

    address: str = declare(
        "0.0.0.0",
        Text("a numeric address of this machine", _address),
        label="Address",
        help="The address to listen on.",
    )
    port: int = declare(8501, Integer(1, 65_535), label="Port", help="The port to listen on.")
    processes: int = declare(
        0,
        Integer(0, 64),
        label="Processes",
        help="Processes that serve. 0: one for each core, as far as the memory reaches; 1 on systems other than Linux.",
    )
    silence: float = declare(
        30.0,
        Real(2, 3600),
        label="Silence",
        help="Seconds after which a process that gives no sign of life is ended, and another begins in its place.",
    )
    hosts: tuple[str, ...] = declare(
        (),
        Several(_like(_HOST, "a host name, or *.name for all below it"), 20),
        label="Hosts",
        help="The host names that are answered to. None given: all.",
    )
    embed_from: tuple[str, ...] = declare(
        (),
        Several(_like(_SOURCE, "an origin such as https://example.org, or *"), 20),
        label="Embedding",
        help="The sites that may show the app in a frame. None given: only its own.",
    )
    client_header: str = declare(
        "",
        _like(_HEADER, "the name of a header"),
        label="Client header",
        help="The header in which a trusted proxy names the visitor's address. Not given: the connection's own.",
    )
    client_hops: int = declare(
        1,
        Integer(1, 8),
        label="Client hops",
        help="How many trusted proxies add to that header: the address that counts is so many from its end.",
    )
    connections: int = declare(
        200, Integer(1, 100_000), label="Connections", help="Open pages at a time, of all visitors together."
    )
    connections_per_address: int = declare(
        100,
        Integer(1, 100_000),
        label="Connections per address",
        help="Open pages at a time from one address. A lecture hall has one address.",
    )
    openings_per_second: float = declare(
        5.0,
        Real(0.01, 10_000),
        label="Openings",
        help="Pages that one address may open in a second, on the long run; at once, as many as it may hold open.",
    )
    frame_bytes: int = declare(
        262_144, Integer(1024, 20_000_000), label="Frame", help="The largest message of a browser, in bytes."
    )
    frames_per_second: float = declare(
        15.0,
        Real(0.01, 10_000),
        label="Frames",
        help="Messages of one page per second, on the long run; more wait for their turn.",
    )
    frame_burst: int = declare(
        40, Integer(1, 10_000), label="Burst", help="Messages of one page that may come at once."
    )
    metrics_token: str = declare(
        "",
        _like(_TOKEN, "at least 16 letters and digits"),
        label="Metrics token",
        help="The bearer token that opens /metrics. Not given: there is no such page.",
    )
    log: str = declare(
        "info",
        Choice(("info", "warning")),
        label="Log",
        help="info writes a line for each computation, warning does not.",
    )

    @classmethod
    def of_host(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings that the environment gives; an empty variable counts as not given."""
        given = {field: environment.get(variable(field.name), "") for field in fields_of(cls)}
        return cls(**{field.name: field.read(text) for field, text in given.items() if text})


def variable(name: str) -> str:
    """Return the environment variable of a setting.

    >>> variable("client_hops")
    'WINIT_CLIENT_HOPS'
    """
    return f"WINIT_{name.upper()}"
