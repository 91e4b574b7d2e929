"""Serves an ASGI application on a port until SIGINT or SIGTERM: uvicorn with the limits jobtide wants.

Not an application. Without API keys it refuses to bind anything but loopback, and it refuses requests that a web page of
another origin made a browser send; with keys the application's guard (`jobtide.access`) decides.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI
from jobtide.access.headers import SecurityHeaders
from jobtide.cli.otlp.sending import exporting
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings, is_loopback
from prometheus_client import REGISTRY, CollectorRegistry

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Beside = Callable[[asyncio.Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_FORBIDDEN = b'{"type":"about:blank","title":"Forbidden","status":403,"detail":"for local programs only"}'


class LocalOnly:
    """Keeps web pages out of a port without keys. Without it any page could read the API by DNS rebinding, or post events
    with a form.

    Host must be an address or a name without a dot (localhost, a container's name), which no page can be served under;
    a browser must come from the same origin.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or allowed(dict(scope["headers"])):
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/problem+json")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": _FORBIDDEN})


def allowed(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request may come in, by its Host and Origin.

    >>> [allowed({b"host": host}) for host in (b"127.0.0.1:8321", b"localhost:1", b"[::1]:8321", b"gateway", b"")]
    [True, True, True, True, False]
    >>> allowed({b"host": b"rebound.example:8321"}), allowed({b"host": b"localhost:1", b"origin": b"http://a.example"})
    (False, False)
    """
    host = headers.get(b"host", b"").decode("latin-1").lower()
    name = urlsplit(f"//{host}").hostname or ""
    if not name or ("." in name and not _is_address(name)):
        return False
    origin = headers.get(b"origin")
    return origin is None or origin.decode("latin-1").lower() == f"http://{host}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def require_loopback_or_keys(settings: Settings) -> None:
    """ConfigError for an address that others reach while nobody has to prove anything."""
    if not settings.guarded and not is_loopback(settings.http_host):
        raise ConfigError(
            f"refusing to listen on {settings.http_host} without API keys: set JOBTIDE_KEYS_FILE to a file and make a key with"
            " `jobtide keys create --role admin --name NAME`, or set JOBTIDE_HTTP_HOST to a loopback address"
        )


def listener(host: str, port: int) -> socket.socket:
    """A bound socket. ConfigError, one sentence, for a port that is taken."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}): set JOBTIDE_HTTP_PORT or --port") from None
    return bound


def serve(app: FastAPI, settings: Settings, beside: Beside | None = None) -> None:
    """Serve until SIGINT or SIGTERM; open streams are cut after 3 s.

    `beside` runs in the same process until its event is set; when it ends on its own, everything ends. Errors of it and
    of the application's start are raised.
    """
    require_loopback_or_keys(settings)
    bound = listener(settings.http_host, settings.http_port)
    asyncio.run(_serve(app, _Server(_config(fenced(app, settings))), bound, beside or _until, settings))


def fenced(app: FastAPI, settings: Settings) -> App:
    """What is served: with security headers, and without keys for this machine's programs only."""
    return SecurityHeaders(app if settings.guarded else LocalOnly(app))


async def _serve(app: FastAPI, server: uvicorn.Server, bound: socket.socket, beside: Beside, settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with exporting(settings, _registries(app)), app.router.lifespan_context(app):
        companion = asyncio.ensure_future(beside(stop))
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        await asyncio.wait([companion, serving], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        server.should_exit = True
        ends = await asyncio.gather(companion, serving, return_exceptions=True)
    for end in ends:  # raised only now: the application must have its orderly end whatever went wrong beside it
        if isinstance(end, BaseException):
            raise end


def _registries(app: FastAPI) -> list[CollectorRegistry]:
    """What the process's /metrics shows: the application's own, if it has one, and everybody's."""
    own = getattr(app.state, "registry", None)
    return [REGISTRY] if own is None else [own, REGISTRY]


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are `_serve`'s: uvicorn would end the process before the application's own end."""
        yield


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
        timeout_keep_alive=30,
        server_header=False,
        h11_max_incomplete_event_size=64 << 10,
    )
