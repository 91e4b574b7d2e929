"""Huey's consumer as workers of the stream: one with all its threads or greenlets, or one for each worker process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import huey as package  # type: ignore[import-untyped, unused-ignore]
from huey.storage import RedisStorage  # type: ignore[import-untyped, unused-ignore]

from jobtide_emitter.guard import guarded
from jobtide_emitter.huey.tasks import SYSTEM, held, worker_id
from jobtide_emitter.process import emitter
from jobtide_emitter.queues import watched
from jobtide_emitter.queues.of_huey import HueyCounts
from jobtide_emitter.workers import Worker

_current: dict[int, Worker] = {}  # by pid: a fork begins without
_concurrency = 1
_lock = threading.Lock()


@guarded("huey.made")
def made(_token: None, consumer: Any, *_: Any, **__: Any) -> None:
    """After Huey.create_consumer."""
    global _concurrency
    _concurrency = 1 if consumer.worker_type == "process" else consumer.workers


def online(huey: Any) -> Callable[[], None]:
    """The startup hook: Huey calls it in each thread, greenlet or process; the first of a process counts."""
    return lambda: _online(huey) or None


@guarded("huey.online")
def _online(huey: Any) -> None:
    pid = os.getpid()
    with _lock:
        if pid in _current:
            return
        _current.clear()
        _current[pid] = emitter().worker(SYSTEM, worker_id(), [huey.name], _concurrency, held, package.__version__)
    if isinstance(huey.storage, RedisStorage):
        watched(emitter(), lambda: HueyCounts(huey), [huey.name])


@guarded("huey.stopping")
def stopping(*_: Any, **__: Any) -> None:
    """Before Consumer.stop."""
    worker = _current.get(os.getpid())
    if worker is not None:
        worker.stopping()
