"""What a host counts, for Prometheus: visitors, queue, computations, errors, memory; nothing of a visitor."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from winit import queueing
from winit.lenses import LENSES
from winit.server.guard import Guard
from winit.server.shared import Seat

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PATIENCE = 2.0  # seconds after which the metrics of a process are left out


class _Refusals(Collector):
    """What the guard refused, by reason."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily("winit_refused", "What the guard refused, by reason.", labels=["reason"])
        for reason, count in sorted(self._guard.refused.items()):
            family.add_metric([reason], count)
        yield family


class Metrics:
    """What is counted in this process. `guard` knows the visitors."""

    def __init__(self, guard: Guard) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Refusals(guard))
        visitors = Gauge("winit_visitors", "Open pages.", registry=self.registry)
        visitors.set_function(lambda: guard.connections)
        waiting = Gauge(
            "winit_waiting", "Slices that wait, and places in the queue of jobs.", ["kind"], registry=self.registry
        )
        waiting.labels("slice").set_function(lambda: queueing.crowd().slices)
        waiting.labels("job").set_function(lambda: queueing.crowd().jobs)
        self._turns = Counter(
            "winit_computations", "Turns of computing that ended.", ["lens", "kind", "outcome"], registry=self.registry
        )
        self._held = Histogram(
            "winit_computing_seconds", "How long turns took.", ["kind"], buckets=_SECONDS, registry=self.registry
        )
        self._waited = Histogram(
            "winit_waiting_seconds",
            "How long turns were waited for.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._errors = Counter("winit_errors", "Runs of a page that ended in an error.", registry=self.registry)

    def record(self, work: queueing.Work) -> None:
        """Count a turn that ended."""
        lens = (work.lens or "home") if work.lens in LENSES else "other"
        self._turns.labels(lens, work.kind, work.outcome).inc()
        self._held.labels(work.kind).observe(work.held)
        self._waited.labels(work.kind).observe(work.waited)

    def record_error(self) -> None:
        """Count a page that ended in an error."""
        self._errors.inc()

    def text(self) -> str:
        """Return all metrics as text."""
        return generate_latest(self.registry).decode()


class _Sum(Collector):
    """The metrics of several processes, as texts, by their numbers."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        found: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
        for number, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    labels = dict(sample.labels)
                    if family.name.startswith("process_"):
                        labels["process"] = str(number)
                    key = family.name, sample.name, tuple(labels.items())
                    before = found.get(key)
                    if before is not None and family.name.endswith("_created"):
                        found[key] = min(before, sample.value)
                    else:
                        found[key] = (before or 0.0) + sample.value
        for (family_name, name, pairs), value in found.items():
            families[family_name].add_sample(name, dict(pairs), value)
        yield from families.values()


def together(texts: Mapping[int, str]) -> str:
    """Return the metrics of several processes as one text: what is about a process by its number, all else added up."""
    registry = CollectorRegistry()
    registry.register(_Sum(texts))
    return generate_latest(registry).decode()


@asynccontextmanager
async def told(metrics: Metrics, seat: Seat) -> AsyncIterator[None]:
    """Tell the metrics of this process to the others, until the block ends."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(metrics.text().encode())
        writer.close()

    server = await asyncio.start_unix_server(tell, seat.metrics_of(seat.number))
    yield
    server.close()


async def of_all(metrics: Metrics, seat: Seat) -> str:
    """Return the metrics of all processes as text; those of one that does not answer are missing."""

    async def ask(number: int) -> str:
        if number == seat.number:
            return metrics.text()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_unix_connection(seat.metrics_of(number))
                with contextlib.closing(writer):
                    return (await reader.read()).decode()
        return ""

    texts = await asyncio.gather(*map(ask, range(seat.count)))
    return texts[0] if seat.count == 1 else together(dict(enumerate(texts)))


async def answer(metrics: Metrics, seat: Seat, token: str, request: Request) -> Response:
    """Answer a request for the metrics: to whoever brings the token; to others there is no such page."""
    given = request.headers.get("authorization", "").encode()
    if not (token and hmac.compare_digest(given, f"Bearer {token}".encode())):
        return PlainTextResponse("Not found.\n", 404)
    return PlainTextResponse(await of_all(metrics, seat), media_type="text/plain; version=0.0.4")
