"""A TCP proxy before a Kafka broker that cuts connections at the worst moments of a produce request.

In the middle of the request, or after the broker has it but before its reply arrives. It reads Kafka's frames (a length of four bytes, then
the request, which begins with its API key) and changes nothing it lets through.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random

PRODUCE = b"\x00\x00"  # API key 0


class CuttingProxy:
    """`port` leads to `target` while it is open. `cuts` counts what was cut, by where. `share`: of produce requests that are cut."""

    def __init__(self, target: tuple[str, int], random: Random, share: float = 0.1) -> None:
        self._target, self._random, self.share = target, random, share
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.cuts: Counter[str] = Counter()
        self.port = 0

    async def __aenter__(self) -> CuttingProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        broker_reader, broker_writer = await asyncio.open_connection(*self._target, limit=1 << 20)
        replies = asyncio.create_task(_copy(broker_reader, writer))
        try:
            # Cancelled only by the end of the proxy, and asyncio's server would report that as a fault.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._pass_on(reader, broker_writer, broker_reader, replies):
                    pass
        finally:
            replies.cancel()
            for each in (writer, broker_writer):
                each.transport.abort()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        to: asyncio.StreamWriter,
        replies_from: asyncio.StreamReader,
        replies: asyncio.Task[None],
    ) -> bool:
        """One request; False if that was the end of the connection."""
        length = await reader.readexactly(4)
        request = await reader.readexactly(int.from_bytes(length, "big"))
        if request[:2] != PRODUCE or self._random.random() >= self.share:
            to.write(length + request)
            await to.drain()
            return True
        if self._random.random() < 0.5:
            self.cuts["in the request"] += 1
            to.write((length + request)[: self._random.randrange(4, len(request))])
            await to.drain()
            to.close()  # what was written still arrives
            await to.wait_closed()
            return False
        self.cuts["before the reply"] += 1
        replies.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await replies
        to.write(length + request)
        await to.drain()
        await replies_from.read(1)  # the broker has appended it
        return False


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(1 << 20):
            writer.write(chunk)
            await writer.drain()
