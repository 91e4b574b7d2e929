"""How many requests a caller may make in a minute: counted in Redis, so that all processes count together, and here
while Redis is away.

A window is a minute of the clock: at most twice the limit in any sixty seconds, which is enough to keep one caller from
taking all of a server. Redis is asked once per request with a short patience; after a failure this process counts alone
for RETRY_S.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

MINUTE_US = 60_000_000
RETRY_US = 5_000_000
PATIENCE_S = 0.25
MAX_REMEMBERED = 50_000


class Counter(Protocol):
    async def add(self, name: str, window: int) -> int:
        """One more of `name` in this window; how many there are now."""
        ...


class LocalCounter:
    """Counts of this process; only the newest window is remembered."""

    def __init__(self) -> None:
        self._window = -1
        self._counts: dict[str, int] = {}

    async def add(self, name: str, window: int) -> int:
        if window != self._window or len(self._counts) > MAX_REMEMBERED:
            self._window, self._counts = window, {}
        self._counts[name] = count = self._counts.get(name, 0) + 1
        return count


class RedisCounter:
    """Counts of all processes. Raises RedisError or OSError."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    async def add(self, name: str, window: int) -> int:
        key = f"{self._prefix}rate:{name}:{window}"
        pipeline = self._client.pipeline(transaction=False)
        pipeline.incr(key)
        pipeline.expire(key, 120)
        count, _ = await pipeline.execute()
        return int(count)


class Limiter:
    """`seconds_to_wait` per request. `now_us`: the clock."""

    def __init__(self, shared: Counter, now_us: Callable[[], int]) -> None:
        self._shared, self._local = shared, LocalCounter()
        self._now_us = now_us
        self._alone_until_us = 0

    async def seconds_to_wait(self, name: str, limit: int) -> int:
        """0 if this request is within the limit (which counts it); else when the next window begins."""
        now_us = self._now_us()
        window = now_us // MINUTE_US
        if await self._count(name, window, now_us) <= limit:
            return 0
        return max(1, -(-((window + 1) * MINUTE_US - now_us) // 1_000_000))

    async def _count(self, name: str, window: int, now_us: int) -> int:
        here = await self._local.add(name, window)
        if now_us < self._alone_until_us:
            return here
        try:
            return await self._shared.add(name, window)
        except (RedisError, OSError) as error:
            self._alone_until_us = now_us + RETRY_US
            log.warning("rate limits are counted by this process alone", extra={"reason": str(error) or type(error).__name__})
            return here
