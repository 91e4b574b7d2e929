"""Celery on Redis: a list per queue and priority, counted by kombu."""

from __future__ import annotations

from typing import Any

import orjson

from jobtide_emitter.moments import us_of_text
from jobtide_emitter.queues.watch import Snapshot


class CeleryCounts:
    """Through a connection of its own. Raises AttributeError for a broker that is not Redis: there is no place to elect."""

    system = "celery"

    def __init__(self, app: Any, stamp: str) -> None:
        self._channel = app.connection_for_read().default_channel
        self.redis = self._channel.client
        self._stamp = stamp

    def snapshot(self, queue: str) -> Snapshot:
        """Of one queue. Tasks with an eta wait in the workers and are in no list."""
        return Snapshot(self._channel._size(queue), oldest_us=self._oldest_us(queue))

    def _oldest_us(self, queue: str) -> int | None:
        data = self.redis.lindex(queue, -1)
        at = None if data is None else orjson.loads(data).get("headers", {}).get(self._stamp)
        return us_of_text(at) if isinstance(at, str) else None
