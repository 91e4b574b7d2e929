"""Reads a request body within limits: bytes on the wire, bytes after gunzip, time. Knows nothing of events.

Chunks come from the server as the client sends them; the plain body goes to `intake`. A decompression bomb costs at
most the limit, because a chunk is never inflated further than what is left of it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable

READ_S = 30.0
_GZIP = 16 + zlib.MAX_WBITS


class BodyTooLarge(Exception):
    """More bytes than the limit, before or after gunzip."""


class BodyBroken(Exception):
    """Not the encoding it says it is, or cut off."""


class BodyTooSlow(Exception):
    """It did not arrive in time."""


async def read(chunks: AsyncIterator[bytes], encoding: str, limit: int, took: Callable[[int], None]) -> bytes:
    """The plain body, at most `limit` bytes. `took` hears of every byte kept, as it comes. Raises the three above."""
    inflate = _Inflater() if encoding == "gzip" else None
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(READ_S):
            async for chunk in chunks:
                received += len(chunk)
                if received > limit:
                    raise BodyTooLarge
                plain = chunk if inflate is None else inflate.feed(chunk, limit - len(body))
                body += plain
                if len(body) > limit:
                    raise BodyTooLarge
                took(len(plain))
    except TimeoutError:
        raise BodyTooSlow from None
    if inflate is not None and not inflate.complete:
        raise BodyBroken("the gzip stream ends early")
    return bytes(body)


class _Inflater:
    """Gunzips chunk by chunk, several members in a row included."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._started = False

    @property
    def complete(self) -> bool:
        return self._member.eof or not self._started

    def feed(self, chunk: bytes, room: int) -> bytes:
        plain = bytearray()
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._started = True
            try:
                plain += self._member.decompress(chunk, room - len(plain) + 1)
            except zlib.error as error:
                raise BodyBroken(f"not gzip: {error}") from None
            if len(plain) > room:
                raise BodyTooLarge
            chunk = self._member.unused_data
        return bytes(plain)
