"""Dramatiq on Redis: a list for a queue, one for its delayed messages, a sorted set for its dead ones."""

from __future__ import annotations

from typing import Any

import orjson

from jobtide_emitter.moments import us_of_text
from jobtide_emitter.queues.watch import Snapshot


class DramatiqCounts:
    """Through the broker's client. Raises AttributeError for a broker that is not Redis."""

    system = "dramatiq"

    def __init__(self, broker: Any, stamp: str) -> None:
        self.redis = broker.client
        self._namespace = broker.namespace
        self._stamp = stamp

    def snapshot(self, queue: str) -> Snapshot:
        """Of one queue. What waits for its time in a worker's memory is in no list."""
        key = f"{self._namespace}:{queue}"
        ready, delayed, dead = self.redis.llen(key), self.redis.llen(f"{key}.DQ"), self.redis.zcard(f"{key}.XQ")
        return Snapshot(ready, scheduled=delayed, dead=dead, oldest_us=self._oldest_us(key))

    def _oldest_us(self, key: str) -> int | None:
        message_id = self.redis.lindex(key, 0)
        data = None if message_id is None else self.redis.hget(f"{key}.msgs", message_id)
        if data is None:
            return None
        message = orjson.loads(data)
        at = message["options"].get(self._stamp)
        return us_of_text(at) if isinstance(at, str) else message["message_timestamp"] * 1000
