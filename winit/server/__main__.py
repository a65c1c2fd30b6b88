"""Serve the app on a public host: `python -m winit.server`. All settings come from the environment: see settings.py."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import uvicorn

from winit import host
from winit.fields import BadInput
from winit.server import app, processes
from winit.server.settings import Settings

_PING_SECONDS = 8.0
"""A frozen page is noticed after two of these at most."""
_OTHER_REQUESTS = 400
"""Files and checks that may be answered at a time, besides the open pages."""


def main() -> int:
    """Serve until told to stop; 2 where a setting is not allowed."""
    try:
        settings = Settings.of_host(os.environ)
    except BadInput as problem:
        print(f"winit.server: {problem}", file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # These lines hold visitors' addresses. Streamlit sets the levels of both while it starts; filters stay.
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.levelno >= logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
    # app.py logs what went wrong in a page, without the words of the error: they may repeat what a visitor typed.
    logging.getLogger("streamlit.error_util").disabled = True
    host.share_arenas()
    if processes.count(settings) > 1:
        return processes.serve(settings, lambda seat: uvicorn.Config(app.make(settings, seat), **_options(settings)))
    uvicorn.run(app.make(settings), host=settings.address, port=settings.port, **_options(settings))
    return 0


def _options(settings: Settings) -> dict[str, Any]:
    """Return what uvicorn is told in every process."""
    return {
        "ws": "websockets-sansio",
        "ws_max_size": settings.frame_bytes,
        "ws_ping_interval": _PING_SECONDS,
        "ws_ping_timeout": _PING_SECONDS,
        # Saves 9 KB per run of a page and costs time on the cores that everybody shares.
        "ws_per_message_deflate": False,
        "limit_concurrency": settings.connections + _OTHER_REQUESTS,
        # The guard reads the trusted header itself.
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "timeout_graceful_shutdown": processes.FAREWELL,
    }


if __name__ == "__main__":
    sys.exit(main())
