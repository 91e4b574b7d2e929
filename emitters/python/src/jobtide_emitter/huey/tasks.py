"""Tasks on their way into a queue, and what becomes of them in a worker.

A task with an eta goes through the queue twice: the consumer puts it aside, the scheduler enqueues it again when its time
has come; only the first is an enqueue. A retry goes through `_requeue_task`, whatever it was caused by.
"""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime
from typing import Any

from huey.api import Task  # type: ignore[import-untyped, unused-ignore]
from huey.exceptions import CancelExecution  # type: ignore[import-untyped, unused-ignore]

from jobtide_emitter.broadcasts import Held
from jobtide_emitter.guard import guarded
from jobtide_emitter.huey import stamps
from jobtide_emitter.huey.stamps import Stamp
from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import now_us, text_of, us_of
from jobtide_emitter.process import emitter
from jobtide_emitter.runs import Run

SYSTEM = "huey"


class _Current(threading.local):
    """What this thread is doing."""

    run: Run | None = None
    error: BaseException | None = None


_current = _Current()
_held: dict[str, Held] = {}


@guarded("huey.before_enqueue")
def before_enqueue(_huey: Any, task: Any) -> Stamp | None:
    """Before Huey.enqueue: stamps a task that is new. Groups and chords come back with their members."""
    if not isinstance(task, Task) or not emitter().enabled or stamps.of(task) is not None:
        return None
    stamp = Stamp(1, now_us())
    stamps.put(task, stamp)
    return stamp


@guarded("huey.enqueued")
def enqueued(stamp: Stamp | None, _result: Any, huey: Any, task: Any) -> None:
    """After Huey.enqueue: the storage has it."""
    if stamp is None:
        return
    run_at_us = _eta_us(huey, task)
    if run_at_us is not None and run_at_us > stamp.enqueued_us:
        emitter().job_scheduled(_job(huey, task, stamp), run_at_us, at_us=stamp.enqueued_us)
    else:
        emitter().job_enqueued(_job(huey, task, stamp), at_us=stamp.enqueued_us)


@guarded("huey.begun")
def begun(huey: Any, task: Any, *_: Any) -> Any:
    """Before Huey._execute: the body comes next. Returns what this thread did before (immediate mode nests)."""
    before = (_current.run, _current.error)
    _current.run, _current.error = None, None
    if not emitter().enabled:
        return before
    stamp = stamps.of(task) or stamps.NONE
    job = _job(huey, task, stamp)
    run_at_us, preview = _eta_us(huey, task), emitter().preview(job, task.args, task.kwargs)
    run = emitter().job_started(job, worker_id(), enqueued_at_us=stamp.enqueued_us or None, run_at_us=run_at_us, args_preview=preview)
    _current.run = run
    _held[task.id] = Held(huey.name, run.job.id, run.job.attempt, text_of(run.started_us))
    return before


@guarded("huey.returned")
def returned(_huey: Any, _task: Any, _value: Any, exception: BaseException | None) -> None:
    """Before Huey._run_post_execute: the result is stored, or the exception."""
    run = _current.run
    if run is None:
        return
    run.body_returned()
    _current.error = exception
    if exception is None:
        run.finished()


@guarded("huey.before_requeue")
def before_requeue(_huey: Any, task: Any, *_: Any, **__: Any) -> None:
    """Before Huey._requeue_task: this attempt failed, the task becomes the next one."""
    run = _current.run
    if run is not None:
        run.failed(emitter().error(_current.error))
        stamps.put(task, Stamp(run.job.attempt + 1, now_us()))


@guarded("huey.requeued")
def requeued(_token: None, _result: Any, huey: Any, task: Any, *_: Any, **__: Any) -> None:
    """After Huey._requeue_task."""
    stamp, run = stamps.of(task), _current.run
    if stamp is not None and run is not None:
        run_at_us = max(stamp.enqueued_us, _eta_us(huey, task) or 0)
        emitter().job_retry_scheduled(run.job, run_at_us, at_us=run.ended_us, worker_id=run.worker_id)


@guarded("huey.ended")
def ended(before: Any, _huey: Any, task: Any, *_: Any) -> None:
    """Always after Huey._execute: what has not ended the run by now is final, or an interrupt that Huey swallowed."""
    run, error = _current.run, _current.error
    _current.run, _current.error = before if isinstance(before, tuple) else (None, None)
    _held.pop(task.id, None)
    if run is None or run.ended:
        return
    if isinstance(error, CancelExecution):
        run.cancelled("cancelled")
    elif error is None:
        run.cancelled("interrupted")
    else:
        described = emitter().error(error)
        run.failed(described)
        emitter().job_dead(run.job, described, at_us=run.ended_us, worker_id=run.worker_id)


@guarded("huey.revoked")
def revoked(huey: Any, task: Any) -> None:
    """Somebody took it back before it ran."""
    if emitter().enabled:
        emitter().job_cancelled(_job(huey, task, stamps.of(task) or stamps.NONE), "revoked")


@guarded("huey.expired")
def expired(huey: Any, task: Any) -> None:
    """It came too late to run."""
    if emitter().enabled:
        emitter().job_discarded(_job(huey, task, stamps.of(task) or stamps.NONE), "expired")


def held() -> list[Held]:
    """The tasks that run in this process. Called in another thread."""
    return list(_held.values())


def worker_id() -> str:
    """A consumer process is one worker, with all its threads."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _job(huey: Any, task: Any, stamp: Stamp) -> Job:
    kind = type(task)
    attempt = stamp.attempt or max(1, kind.default_retries - task.retries + 1)
    return emitter().job(SYSTEM, huey.name, f"{kind.__module__}.{kind.__name__}", task.id, attempt, priority=task.priority)


def _eta_us(huey: Any, task: Any) -> int | None:
    """Huey keeps etas naive: in UTC, or local where it was told so."""
    eta = task.eta
    if not isinstance(eta, datetime):
        return None
    return us_of(eta.replace(tzinfo=UTC) if huey.utc and eta.tzinfo is None else eta)
