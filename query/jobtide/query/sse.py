"""Server-sent events on the wire: frames as bytes, and a response that notices when a client has gone or does not read.

Not what is sent (`frames`) nor to whom (`feed`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE_BYTES = 64 << 10  # so that a large frame does not lie in the socket's buffer as a whole
SEND_TIMEOUT_S = 30.0  # a client that takes nothing for so long is gone, whatever its socket says
END_TIMEOUT_S = 0.5
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def frame(event: str, event_id: str, data: bytes) -> bytes:
    """One event; `data` is one line.

    >>> frame("delta", "b:1", b"{}")
    b'event: delta\\nid: b:1\\ndata: {}\\n\\n'
    """
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event.encode(), event_id.encode(), data)


def heartbeat(event_id: str) -> bytes:
    """Keeps proxies from closing a quiet stream. The id without data only moves a client's Last-Event-ID."""
    return b": heartbeat\nid: %b\n\n" % event_id.encode()


class EventStream(Response):
    """Sends frames until they end, the client leaves, or it stops reading."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes, None], status_code: int = 200) -> None:
        super().__init__(None, status_code, HEADERS)
        self._frames = frames
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async with anyio.create_task_group() as tasks:

                async def leave_with_client() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                tasks.start_soon(leave_with_client)
                await self._send_all(send)
                tasks.cancel_scope.cancel()
        except asyncio.CancelledError:
            pass  # the server stops and has waited long enough: a stream has no better end than this
        with anyio.move_on_after(END_TIMEOUT_S, shield=True):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send) -> None:
        """Until the frames end, or the client stops reading."""
        async with aclosing(self._frames) as frames:
            async for frame in frames:
                for start in range(0, len(frame), PIECE_BYTES):
                    piece = frame[start : start + PIECE_BYTES]
                    with anyio.move_on_after(SEND_TIMEOUT_S) as patience:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                    if patience.cancelled_caught:
                        return
