"""What a host counts, for Prometheus: visitors, queue, computations, errors, memory; nothing of a visitor."""

from __future__ import annotations

import hmac
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from winit import queueing
from winit.lenses import LENSES
from winit.server.guard import Guard

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


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


def answer(metrics: Metrics, token: str, request: Request) -> Response:
    """Answer a request for the metrics: to whoever brings the token; to others there is no such page."""
    given = request.headers.get("authorization", "").encode()
    if not (token and hmac.compare_digest(given, f"Bearer {token}".encode())):
        return PlainTextResponse("Not found.\n", 404)
    return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")
