"""ETags for questions about closed ranges: `from` and `to` given, and everything before `to` in the numbers.

Weak tags over the answer without what moves on by itself (watermark, complete_until): a client that asks again with If-None-Match gets 304
and no body while the numbers are the same; late events change them, and the tag. Answers about open ranges have none. A thin ASGI layer.
"""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import parse_qs

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOVING = ("watermark", "complete_until")
MAX_BYTES = 8 << 20  # larger answers pass untagged


class ETags:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _closed(scope):
            await self._app(scope, receive, send)
            return
        held: list[Message] = []
        size, passing = 0, False

        async def holding(message: Message) -> None:
            nonlocal size, passing
            if passing:
                await send(message)
                return
            held.append(message)
            size += len(message.get("body", b""))
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not whole and size <= MAX_BYTES and not (message["type"] == "http.response.start" and not _json(message)):
                return
            passing = True
            for each in answered(held, Headers(scope=scope).get("if-none-match", "")) if whole else held:
                await send(each)

        await self._app(scope, receive, holding)


def _closed(scope: Scope) -> bool:
    """A GET of an API path about a range with two ends."""
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/v1/"):
        return False
    given = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return "from" in given and "to" in given


def _json(start: Message) -> bool:
    return bool(start["status"] == 200 and dict(start["headers"]).get(b"content-type", b"").startswith(b"application/json"))


def answered(held: list[Message], asked: str) -> list[Message]:
    """The messages of an answer with its tag; those of a 304 if `asked` (If-None-Match) names it."""
    start, body = held[0], b"".join(message.get("body", b"") for message in held[1:])
    tag = tag_of(body)
    if tag is None:
        return held
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["etag"] = tag
    headers["cache-control"] = "private, no-cache"
    if not names(asked, tag):
        return [{**start, "headers": headers.raw}, *held[1:]]
    for name in ("content-length", "content-type"):
        if name in headers:
            del headers[name]
    return [{"type": "http.response.start", "status": 304, "headers": headers.raw}, {"type": "http.response.body", "body": b""}]


def tag_of(body: bytes) -> str | None:
    """The tag of an answer; None if its range is still open, or if it is no such answer."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, dict) or answer.get("source") != "history" or answer.get("degraded"):
        return None
    until, end = answer.get("complete_until"), (answer.get("range") or {}).get("to")
    if until is None or end is None or until < end:  # RFC 3339 with six digits and Z: their order is that of the texts
        return None
    for name in MOVING:
        answer.pop(name, None)
    return f'W/"{sha256(orjson.dumps(answer, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]}"'


def names(asked: str, tag: str) -> bool:
    """Whether an If-None-Match header names the tag, by weak comparison.

    >>> names('"a", W/"b"', 'W/"b"'), names("*", 'W/"b"'), names('"c"', 'W/"b"')
    (True, True, False)
    """
    wanted = [each.strip().removeprefix("W/") for each in asked.split(",")]
    return "*" in wanted or tag.removeprefix("W/") in wanted
