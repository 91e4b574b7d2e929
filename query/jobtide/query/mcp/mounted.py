"""The MCP server on the API's own port: streamable HTTP at `/mcp`, without sessions.

A tool asks the application it is mounted on, as the caller: the request goes through the guard again with the caller's own
key, so tenants, roles and limits are those of that key and of no other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlencode

import orjson
from fastapi import FastAPI
from jobtide.query.mcp.tools import Refused, server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message, Scope

PATH = "/mcp"
MAX_REQUEST_BYTES = 1 << 20
_PASSED_ON = ("authorization", "x-api-key")


def mount(app: FastAPI, version: str) -> None:
    """Add the route to an application, and the server to its life."""

    async def ask(path: str, params: Mapping[str, Any], headers: Mapping[str, str] | None) -> dict[str, Any]:
        return await get(app, path, params, headers or {})

    made = server(ask, version)
    outside = made.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        max_request_body_size=MAX_REQUEST_BYTES,
        # Who may come in is the guard's to say, or without keys the fence's around the whole port.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    app.router.routes.extend(outside.routes)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def with_sessions(app: FastAPI) -> AsyncIterator[Any]:
        async with made.session_manager.run(), inner(app) as state:
            yield state

    app.router.lifespan_context = with_sessions


async def get(app: ASGIApp, path: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """The JSON of a GET of an application in this process. Raises Refused for anything but 200."""
    status, content = 0, bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            content.extend(message.get("body", b""))

    passed_on = [(name.encode(), headers[name].encode("latin-1")) for name in _PASSED_ON if name in headers]
    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
        "path": unquote(path), "raw_path": path.encode(), "query_string": urlencode(params, doseq=True).encode(),
        "headers": [(b"host", b"localhost"), *passed_on], "client": ("mcp", 0), "server": ("localhost", 0),
    }  # fmt: skip
    await app(scope, receive, send)
    answer = orjson.loads(bytes(content)) if content else {}
    if status != 200:
        raise Refused(str(answer.get("detail", f"the API answered {status}"))[:500])
    return dict(answer)
