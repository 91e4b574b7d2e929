"""Where the next page of a list begins: a signed text that only the same question can use.

Pure; the key is an argument (JOBTIDE_CURSOR_KEY, or random per start: `app` chooses). A cursor holds the sort key of
the last row that was shown, and the range the first page resolved `last=…` to, so that all pages are about the same
stretch of time. The signature also covers the scope, which is the question's name with its filters: a cursor of
another question is refused, not misread.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

import msgspec

_TAG_BYTES = 16  # 128 bits of SHA-256: nobody guesses that against a web server
_MAX_CHARS = 8192

Part = str | int


class CursorError(ValueError):
    """Not a cursor of this question under this key."""


class _Payload(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    after: list[Part]
    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True)
class Position:
    """After which sort key to go on, and in which range (µs)."""

    after: tuple[Part, ...]
    from_us: int
    to_us: int


def write(position: Position, scope: str, key: bytes) -> str:
    """The cursor for `position` in the question `scope`; letters, digits, - and _ only."""
    body = msgspec.json.encode(_Payload(list(position.after), position.from_us, position.to_us))
    return base64.urlsafe_b64encode(_tag(body, scope, key) + body).rstrip(b"=").decode()


def read(text: str, scope: str, key: bytes) -> Position:
    """The position `write` was given. Raises CursorError for anything else."""
    if len(text) > _MAX_CHARS or not text.isascii():
        raise CursorError
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise CursorError from error
    tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
    # A second spelling of the same bytes (padding bits) would be harmless, but one cursor is one text.
    if (
        not hmac.compare_digest(tag, _tag(body, scope, key))
        or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text
    ):
        raise CursorError
    payload = msgspec.json.decode(body, type=_Payload)  # signed: it is what `write` wrote
    return Position(tuple(payload.after), payload.from_us, payload.to_us)


def _tag(body: bytes, scope: str, key: bytes) -> bytes:
    scoped = scope.encode("utf-8", "surrogatepass")
    return hmac.digest(key, len(scoped).to_bytes(4, "big") + scoped + body, "sha256")[:_TAG_BYTES]
