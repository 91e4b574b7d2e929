"""arq: a sorted set per queue, by the time a job may run. A job stays in it while it runs."""

from __future__ import annotations

import time
from typing import Any

import redis
from arq.constants import in_progress_key_prefix

from jobtide_emitter.queues.watch import Snapshot

_LOOKED_AT = 1_000  # ready jobs that are asked for whether they run: no worker runs more


class ArqCounts:
    """Through a connection of its own: the worker's belongs to its event loop."""

    system = "arq"

    def __init__(self, settings: Any) -> None:
        self.redis: Any = redis.Redis(
            host=settings.host if isinstance(settings.host, str) else settings.host[0][0], port=settings.port, db=settings.database,
            username=settings.username, password=settings.password, ssl=settings.ssl, unix_socket_path=settings.unix_socket_path,
            socket_timeout=5, socket_connect_timeout=5,
        )  # fmt: skip

    def snapshot(self, queue: str) -> Snapshot:
        """Of one queue."""
        now_ms = int(time.time() * 1000)
        due = self.redis.zrangebyscore(queue, "-inf", now_ms, start=0, num=_LOOKED_AT, withscores=True)
        pipe = self.redis.pipeline(transaction=False)
        for job_id, _ in due:
            pipe.exists(in_progress_key_prefix.encode() + job_id)
        runs = [bool(found) for found in pipe.execute()] if due else []
        waiting = [score for (_, score), running in zip(due, runs, strict=True) if not running]
        ready = self.redis.zcount(queue, "-inf", now_ms) - sum(runs)
        oldest_us = int(waiting[0]) * 1000 if waiting else None
        return Snapshot(max(0, ready), scheduled=self.redis.zcount(queue, f"({now_ms}", "+inf"), running=sum(runs), oldest_us=oldest_us)
