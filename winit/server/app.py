"""The app as a public host serves it: Streamlit's, behind the guard, with metrics, ready when it is warm."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit.runtime import Runtime

from winit import budget, host, queueing
from winit.server import metrics as counted
from winit.server.guard import Guard
from winit.server.metrics import Metrics
from winit.server.settings import Settings
from winit.server.shared import Media, Seat

SCRIPT = Path(__file__).parents[2] / "app.py"
"""Home; the other pages lie beside it. They are not part of the package: a host serves a checkout."""

_LOG = logging.getLogger(__name__)
_TIDY_SECONDS = 20.0


def _warm() -> None:
    """Import what the pages need and measure this host, once, so that no visitor waits for it."""
    from winit.ui import warm

    _ = warm  # imported for its effect
    budget.speed()


class _Shared(st.App):
    """Streamlit's app as one process of several."""

    def __init__(self, seat: Seat, **options: Any) -> None:
        self._seat = seat
        super().__init__(SCRIPT, **options)

    def _create_runtime(self) -> Runtime:
        # Streamlit offers no other way to say where files are kept.
        runtime = super()._create_runtime()
        runtime.media_file_mgr._storage = Media("/media", self._seat)
        return runtime


def _tidy() -> None:
    """Collect garbage, which no run of a page waits for (see .streamlit/config.toml), and give its memory back."""
    gc.collect()
    host.give_back()


async def _keep_tidy() -> None:
    while True:
        await asyncio.sleep(_TIDY_SECONDS)
        await asyncio.to_thread(_tidy)


def make(settings: Settings, seat: Seat | None = None) -> Guard:
    """Return the app of this process, to be served by an ASGI server; `seat` is its place among others, if any."""
    seat = seat or Seat()

    @asynccontextmanager
    async def while_served(_: st.App) -> AsyncIterator[None]:
        # The server listens only after this: who gets an answer gets it from a warm process.
        await asyncio.to_thread(_warm)
        _LOG.info("ready")
        keeping = asyncio.create_task(_keep_tidy())
        async with AsyncExitStack() as stack:
            if seat.count > 1:
                await stack.enter_async_context(counted.told(metrics, seat))
            yield
        keeping.cancel()

    async def show_metrics(request: Request) -> Response:
        return await counted.answer(metrics, seat, settings.metrics_token, request)

    def report(error: Exception) -> bool:
        metrics.record_error()
        _LOG.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
        st.error("This page could not be computed, and the fault is ours. Your network is in the address: reload.")
        return True

    options: dict[str, Any] = {
        "lifespan": while_served,
        "routes": [Route("/metrics", show_metrics)],
        "on_script_error": report,
    }
    streamlit = st.App(SCRIPT, **options) if seat.count == 1 else _Shared(seat, **options)
    guard = Guard(streamlit, settings, seat)
    metrics = Metrics(guard)
    queueing.watch(metrics.record)
    return guard
