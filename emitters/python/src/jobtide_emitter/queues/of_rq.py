"""RQ: lists and sorted sets of its Redis, read only (RQ's own counts clean registries up as they count)."""

from __future__ import annotations

from typing import Any

from redis import Redis
from rq.registry import FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.suspension import WORKERS_SUSPENDED

from jobtide_emitter.moments import us_of_text
from jobtide_emitter.queues.watch import Snapshot


class RqCounts:
    """Through a connection of its own: RQ forks for each job, and a fork must not meet this thread inside the worker's pool."""

    system = "rq"

    def __init__(self, worker: Any) -> None:
        pool = worker.connection.connection_pool
        self.redis: Any = Redis(connection_pool=type(pool)(connection_class=pool.connection_class, **pool.connection_kwargs))
        self._queues = {queue.name: queue for queue in worker.queues}

    def snapshot(self, queue: str) -> Snapshot:
        """Of one of the worker's queues."""
        found = self._queues[queue]
        dead, scheduled, running = (
            self.redis.zcard(registry(queue=found).key) for registry in (FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry)
        )
        return Snapshot(
            self.redis.llen(found.key), scheduled=scheduled, running=running, dead=dead,
            oldest_us=self._oldest_us(found), paused=bool(self.redis.exists(WORKERS_SUSPENDED)),
        )  # fmt: skip

    def _oldest_us(self, queue: Any) -> int | None:
        job_id = self.redis.lindex(queue.key, 0)
        if job_id is None:
            return None
        job_id = job_id.decode() if isinstance(job_id, bytes) else job_id
        at = self.redis.hget(queue.job_class.key_for(job_id), "enqueued_at")
        return us_of_text(at.decode()) if at else None
