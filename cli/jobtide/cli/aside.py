"""Runs a process that serves nobody (worker, history writer), with `/healthz` and `/metrics` on a loopback port if asked.

The answer comes from the process's own event loop, so a loop that stands still is not healthy.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from jobtide.streams.settings import Settings

Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


def run(main: Main, settings: Settings) -> None:
    """Block until `main`, whose event is set on SIGINT or SIGTERM, has ended. Its errors are raised."""
    if not settings.metrics_port:
        asyncio.run(_until_signalled(main, settings))
        return
    from jobtide.cli.serving import serve

    # Loopback and without keys, whatever the API asks for: the fence of `serving` keeps web pages out.
    local = replace(settings, http_host="127.0.0.1", http_port=settings.metrics_port, keys_file="", oidc_issuer="")
    serve(_app(), local, beside=main)


async def _until_signalled(main: Main, settings: Settings) -> None:
    from jobtide.cli.otlp.sending import exporting
    from prometheus_client import REGISTRY

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with exporting(settings, [REGISTRY]):
        await main(stop)


def _app() -> Any:
    from fastapi import FastAPI, Response
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    app = FastAPI(openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app
