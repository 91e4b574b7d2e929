"""Headers that keep browsers from doing with an answer what it is not for. An ASGI layer outside of everything else."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}
# What is not a page needs nothing; a page says its own policy, and at least nobody may put it into a frame.
NO_PAGE = "default-src 'none'; frame-ancestors 'none'"
PAGE = "frame-ancestors 'none'"


class SecurityHeaders:
    """Adds what the application did not say itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
                page = headers.get("content-type", "").startswith("text/html")
                headers.setdefault("content-security-policy", PAGE if page else NO_PAGE)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, adding if scope["type"] == "http" else send)
