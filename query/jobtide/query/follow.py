"""Keeps the mirror equal to the hot state in Redis: reads everything once, then follows the published changes.

Not what the values mean (`mirror`, `live_rows`). Changes are subscribed to before everything is read, so none falls
between. Whatever breaks the subscription leads to reading everything again; so does another boot id, which says that
Redis came up empty and stage 2 is writing everything anew. While Redis is away the mirror says so and keeps what it
has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from jobtide.query.mirror import Entry, Mirror
from jobtide.sinks.keys import KINDS, PROGRESS, Keys, parse
from jobtide.sinks.redis.connection import connect
from jobtide.streams.settings import Settings
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
CHECK_S = 1.0  # between two looks at the boot id
RETRY_S = 0.5
# Stage 2 sets the boot id and then writes everything again, in one publish interval: read after that, or half of it
# would be missing.
REWRITTEN_AFTER_S = 2.0
# A store without boot id is empty and nobody has written since. For so long the memory is still worth more than
# nothing.
EMPTY_FOR_S = 10.0
SCAN_COUNT = 500

UNWRITTEN = "no stream worker has written to it"

_Message = list[tuple[str, str, msgspec.Raw]]
_message = msgspec.json.Decoder(_Message)


class _Gap(Exception):
    """Changes may have been missed: begin again."""


class Follower:
    """`run` until cancelled. Use it from one event loop."""

    def __init__(self, settings: Settings, mirror: Mirror) -> None:
        self._keys = Keys(settings.redis_prefix)
        self._mirror = mirror
        self._redis = connect(settings, TIMEOUT_S)  # it repeats nothing: a silent reconnect would hide that changes were missed
        self._boot: bytes | None = None
        self._unwritten_since: float | None = None

    async def run(self) -> None:
        """Follow; after any trouble with Redis begin again."""
        while True:
            try:
                await self._follow()
            except _Gap:
                log.info("reading hot state again")
            except (RedisError, OSError) as error:
                if not self._mirror.unavailable:
                    log.warning("hot state is out of reach", extra={"reason": str(error)})
                self._mirror.unavailable = str(error) or type(error).__name__
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        await self._redis.aclose()

    async def ping(self) -> str | None:
        """None if Redis answers, else why not."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            return str(error) or type(error).__name__
        return None

    async def _follow(self) -> None:
        pubsub: Any = self._redis.pubsub()
        try:
            await pubsub.psubscribe(_escaped(self._keys.updates()) + "*")
            if await pubsub.get_message(timeout=TIMEOUT_S) is None:
                raise _Gap
            self._boot = await self._read_boot()
            self._mirror.replace([entry async for entry in self._everything()])
            self._judge()
            await self._pump(pubsub)
        finally:
            await pubsub.aclose()

    async def _pump(self, pubsub: Any) -> None:
        check_at = time.monotonic() + CHECK_S
        reread_at: float | None = None
        while True:
            message = await pubsub.get_message(timeout=max(0.0, check_at - time.monotonic()))
            if message is not None:
                self._take(message)
                await asyncio.sleep(0)  # reading what has arrived already gives nobody else a turn
            now = time.monotonic()
            if reread_at is not None and now >= reread_at:
                raise _Gap
            if now < check_at:
                continue
            check_at = now + CHECK_S
            boot = await self._read_boot()
            if boot != self._boot:
                reread_at = now + REWRITTEN_AFTER_S if boot is not None else None
                self._boot = boot
            self._judge()

    def _judge(self) -> None:
        """Is what the mirror holds worth answering from?"""
        now = time.monotonic()
        if self._boot is not None:
            self._unwritten_since = self._mirror.unavailable = None
            return
        first = self._unwritten_since is None and self._mirror.unavailable is not None
        self._unwritten_since = self._unwritten_since or (now - EMPTY_FOR_S if first else now)
        if now - self._unwritten_since >= EMPTY_FOR_S:
            self._mirror.unavailable = UNWRITTEN

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] != "pmessage":
            raise _Gap  # subscribed a second time: the connection was lost in between
        channel = message["channel"].decode()
        tenant = channel.removeprefix(self._keys.updates()).removeprefix(":")
        try:
            changes = _message.decode(message["data"])
        except msgspec.DecodeError as error:
            log.warning("a published change was not understood", extra={"channel": channel, "reason": str(error)})
            return
        for kind, field, raw in changes:
            value = bytes(raw)
            self._mirror.apply(Entry(kind, tenant, field, None if value == b"null" else value))  # type: ignore[arg-type]  # it checks the kind

    async def _read_boot(self) -> bytes | None:
        boot: Any = await self._redis.get(self._keys.boot)
        return None if boot is None else bytes(boot)

    async def _everything(self) -> AsyncIterator[Entry]:
        names: Any = await self._redis.smembers(self._keys.tenants)
        tenants = sorted(name.decode() for name in names)
        hashes = [(kind, tenant) for tenant in tenants for kind in KINDS]
        for kind, tenant in [*hashes, (PROGRESS, "")]:
            async for field, text in self._redis.hscan_iter(self._keys.hash(kind, tenant), count=SCAN_COUNT):
                yield Entry(kind, tenant, field.decode(), parse(text)[1])


def _escaped(name: str) -> str:
    """A channel name as a pattern that matches only itself."""
    return "".join(f"\\{c}" if c in "*?[]\\^-" else c for c in name)
