"""The Celery worker as one worker of the stream: its node name, its queues, its pool; and the end of pool processes."""

from __future__ import annotations

from typing import Any

import celery

from jobtide_emitter.celery import lost
from jobtide_emitter.celery.messages import ENQUEUED_AT, SYSTEM
from jobtide_emitter.guard import guarded
from jobtide_emitter.process import emitter
from jobtide_emitter.queues import watched
from jobtide_emitter.queues.of_celery import CeleryCounts
from jobtide_emitter.workers import Worker

_current: list[Worker] = []


@guarded("celery.ready")
def ready(sender: Any, **_: Any) -> None:
    """The consumer has connected. `sender` is the consumer."""
    name = lost.this_worker(sender.hostname)
    queues = list(sender.app.amqp.queues.consume_from)
    concurrency = getattr(sender.pool, "limit", None) or 1
    _current[:] = [emitter().worker(SYSTEM, name, queues, concurrency, lost.held, celery.__version__)]
    if sender.app.connection_for_read().transport.driver_type == "redis":
        watched(emitter(), lambda: CeleryCounts(sender.app, ENQUEUED_AT), queues)


@guarded("celery.shutting_down")
def shutting_down(**_: Any) -> None:
    """A signal asked the worker to stop. Runs in the signal handler."""
    for worker in _current:
        worker.stopping()


@guarded("celery.shutdown")
def shutdown(**_: Any) -> None:
    """The worker has stopped."""
    _current.clear()
    emitter().end_worker()


@guarded("celery.process_shutdown")
def process_shutdown(**_: Any) -> None:
    """A pool process ends, by os._exit: what it still holds has to go now."""
    emitter().close()
