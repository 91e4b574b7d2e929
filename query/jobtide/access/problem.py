"""A refusal as RFC 9457 problem+json, sent from outside the application."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.types import Send


async def send_problem(send: Send, path: str, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
    """The whole answer."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "instance": path}
    content = orjson.dumps(body)
    shown = {"content-type": "application/problem+json", "content-length": str(len(content)), **(headers or {})}
    raw = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in shown.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})
