"""The hot state in Redis or Valkey: stage 2's snapshots, written by one Lua script per batch.

Implements `jobtide.streams.snapshots.HotStateSink`. Nothing that matters is lost with Redis: every value can be written again, and
`lost_everything` says when it must be. Whatever fails, the caller keeps its entries and calls again; a write that comes twice is the
same write.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any

from jobtide.sinks.keys import STREAM_KINDS, Keys
from jobtide.sinks.redis.connection import connect
from jobtide.streams.errors import StoreRejected, TransientError
from jobtide.streams.settings import Settings
from jobtide.streams.snapshots import Field, HotWrite
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

ENTRIES_AT_ONCE = 1_000  # one script call blocks Redis: a few milliseconds at these bounds
BYTES_AT_ONCE = 4 << 20


class RedisHotState:
    """See the module. Use it from one event loop."""

    def __init__(self, settings: Settings) -> None:
        """Connects on first use."""
        self._keys = Keys(settings.redis_prefix)
        self._redis = connect(settings)
        self._script = resources.files("jobtide.sinks").joinpath("redis/accept_newer.lua").read_text("utf-8")
        self._sha: str | None = None
        self._boot: bytes | None = None

    async def write(self, entries: list[HotWrite]) -> None:
        """Write and publish what is not older than what is stored.

        Raises TransientError while Redis is away, starting or full (some entries may have been written: repeat them all), StoreRejected
        if it refuses for good.
        """
        if not entries:
            return
        try:
            try:
                await self._call(entries)
            except NoScriptError:  # a Redis that restarted or was flushed has forgotten it
                self._sha = None
                await self._call(entries)
        except (RedisError, OSError) as error:
            raise _translated(error) from error

    async def lost_everything(self) -> bool:
        """True once after Redis came up empty, and on the first call, since what happened before is not known."""
        mine = uuid.uuid4().hex
        try:
            found = await self._redis.set(self._keys.boot, mine, nx=True, get=True)
        except (RedisError, OSError) as error:
            raise _translated(error) from error
        boot = found if isinstance(found, bytes) else mine.encode()
        lost = boot != self._boot
        self._boot = boot
        return lost

    async def fields(self) -> list[Field]:
        """The names of everything stored but progress. Raises TransientError."""
        found: list[Field] = []
        try:
            tenants: Any = await self._redis.smembers(self._keys.tenants)
            for tenant in sorted(name.decode() for name in tenants):
                for kind in STREAM_KINDS:
                    names: Any = await self._redis.hkeys(self._keys.hash(kind, tenant))
                    found += [(kind, tenant, name.decode()) for name in names]
        except (RedisError, OSError) as error:
            raise _translated(error) from error
        return found

    async def close(self) -> None:
        await self._redis.aclose()

    async def _call(self, entries: Sequence[HotWrite]) -> None:
        if self._sha is None:
            self._sha = await self._redis.script_load(self._script)
        pipeline = self._redis.pipeline(transaction=False)
        for chunk in chunks(entries):
            keys, arguments = call_of(self._keys, chunk)
            pipeline.evalsha(self._sha, len(keys), *keys, *arguments)
        await pipeline.execute()


def hot_state(settings: Settings) -> RedisHotState:
    """The hot state of these settings; connects on first use."""
    return RedisHotState(settings)


def chunks(entries: Sequence[HotWrite]) -> Iterator[Sequence[HotWrite]]:
    """The entries in order, cut so that one script call stays short."""
    start = size = 0
    for index, entry in enumerate(entries):
        size += len(entry.value or b"") + len(entry.field)
        if index > start and (index - start >= ENTRIES_AT_ONCE or size > BYTES_AT_ONCE):
            yield entries[start:index]
            start, size = index, len(entry.value or b"") + len(entry.field)
    if start < len(entries):
        yield entries[start:]


def call_of(keys: Keys, entries: Sequence[HotWrite]) -> tuple[list[str], list[Any]]:
    """KEYS and ARGV of the script for some entries."""
    hashes: dict[str, int] = {}
    channels: dict[str, int] = {}
    writes: list[Any] = []
    for e in entries:
        key = hashes.setdefault(keys.hash(e.kind, e.tenant), len(hashes) + 2)  # KEYS counts from 1, and the first is the tenants
        channel = channels.setdefault(keys.updates(e.tenant), len(channels) + 1)
        writes += [key, channel, e.kind, e.field, e.version, e.value or b""]
    tenants = sorted({e.tenant for e in entries if e.tenant})
    return [keys.tenants, *hashes], [len(channels), *channels, len(tenants), *tenants, *writes]


def _translated(error: Exception) -> Exception:
    refused = isinstance(error, AuthenticationError | NoPermissionError) or (
        isinstance(error, ResponseError) and not isinstance(error, ReadOnlyError | OutOfMemoryError)
    )
    return StoreRejected(f"Redis refused: {error}") if refused else TransientError(f"Redis: {error}")


async def forget(settings: Settings) -> int:
    """Remove every live answer, so that a rebuilt stream may start its versions anew. Returns the number of keys."""
    client = connect(settings)
    try:
        keys = [key async for key in client.scan_iter(match=settings.redis_prefix + "*", count=1000)]
        return sum([await client.unlink(key) for key in keys])
    except RedisError as error:
        raise _translated(error) from error
    finally:
        await client.aclose()
