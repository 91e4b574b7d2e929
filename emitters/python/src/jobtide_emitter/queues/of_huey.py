"""Huey on Redis: by the storage's own sizes."""

from __future__ import annotations

from typing import Any

from jobtide_emitter.huey import stamps
from jobtide_emitter.queues.watch import Snapshot


class HueyCounts:
    """Through the storage. Raises AttributeError for a storage that is not Redis."""

    system = "huey"

    def __init__(self, huey: Any) -> None:
        self.redis = huey.storage.conn
        self.redis.llen  # noqa: B018  a storage of another kind has a `conn` too
        self._huey = huey

    def snapshot(self, queue: str) -> Snapshot:
        """Of the instance's queue. The oldest is known where its message carries a stamp."""
        storage = self._huey.storage
        return Snapshot(storage.queue_size(), scheduled=storage.schedule_size(), oldest_us=self._oldest_us(storage))

    def _oldest_us(self, storage: Any) -> int | None:
        key = getattr(storage, "queue_key", None)
        data = self.redis.lindex(key, -1) if key is not None and self.redis.type(key) in (b"list", "list") else None
        stamp = stamps.read(data)
        return stamp.enqueued_us or None
