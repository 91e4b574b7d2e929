"""procrastinate: `install()` once per process, in the app that defers jobs and in its workers.

Methods are wrapped: the job manager's defer calls tell what enters a queue, the worker's `_process_job` when a job begins,
`_log_job_outcome` with what and whether it is retried. PostgreSQL keeps no attempt's enqueue time with the job, so
`started` says none; the enqueue's own event does.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import procrastinate
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from procrastinate.worker import Worker as TheirWorker

from jobtide_emitter.broadcasts import Held
from jobtide_emitter.guard import guarded
from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import now_us, text_of, us_of
from jobtide_emitter.patching import Patches
from jobtide_emitter.process import emitter, prepare
from jobtide_emitter.runs import Run
from jobtide_emitter.workers import Worker

SYSTEM = "procrastinate"

_patches = Patches("procrastinate")
_current: list[Worker] = []
_open: dict[str, Run] = {}
_run: ContextVar[Run | None] = ContextVar("jobtide_procrastinate_run", default=None)


def install() -> None:
    """Puts the hooks on procrastinate's classes; twice is the same as once."""
    if _patches.installed(TheirWorker):
        return
    prepare()
    for name in ("batch_defer_jobs_async", "batch_defer_jobs"):
        _patches.around(JobManager, name, before=before_defer, after=deferred)
    _patches.around(JobManager, "defer_periodic_job", before=before_defer, after=deferred_periodic)
    _patches.around(TheirWorker, "_process_job", before=begun, always=left)
    _patches.around(TheirWorker, "_log_job_outcome", before=ended)
    _patches.around(TheirWorker, "run", before=online, always=offline)
    _patches.around(TheirWorker, "stop", before=stopping)


def uninstall() -> None:
    """Takes the hooks off again."""
    _patches.restore()


# Into a queue.


@guarded("procrastinate.before_defer")
def before_defer(*_: Any, **__: Any) -> int:
    """Before a job manager's defer."""
    return now_us()


@guarded("procrastinate.deferred")
def deferred(at_us: int | None, made: Sequence[Any], *_: Any, **__: Any) -> None:
    """After it: PostgreSQL has the jobs (or the caller's transaction has, and commits them)."""
    if at_us is None or not emitter().enabled:
        return
    for record in made:
        _enqueued(record, str(record.id), at_us)


@guarded("procrastinate.deferred_periodic")
def deferred_periodic(at_us: int | None, job_id: int | None, _manager: Any, job: Any, *_: Any, **__: Any) -> None:
    """After the defer of a periodic task; `job_id` is None where another worker was faster."""
    if job_id is not None and at_us is not None and emitter().enabled:
        _enqueued(job, str(job_id), at_us)


def _enqueued(record: Any, job_id: str, at_us: int) -> None:
    job = _job(record, job_id)
    if record.scheduled_at is not None and us_of(record.scheduled_at) > at_us:
        emitter().job_scheduled(job, us_of(record.scheduled_at), at_us=at_us)
    else:
        emitter().job_enqueued(job, at_us=at_us)


# In a worker.


@guarded("procrastinate.begun")
def begun(_worker: Any, context: Any) -> Run | None:
    """Before Worker._process_job: the task comes next."""
    if not emitter().enabled:
        return None
    record = context.job
    run_at_us = None if record.scheduled_at is None else us_of(record.scheduled_at)
    job = _job(record, str(record.id))
    run = emitter().job_started(job, _worker_id(), run_at_us=run_at_us, args_preview=emitter().preview(job, (), record.task_kwargs))
    _open[run.job.id] = run
    _run.set(run)
    return run


@guarded("procrastinate.ended")
def ended(_worker: Any, status: Any = None, job_retry: Any = None, exc_info: Any = None, **_: Any) -> None:
    """Before Worker._log_job_outcome, called in the job's own context: the task has ended, the database hears of it next."""
    run = _run.get()
    if run is None or run.ended:
        return
    error = exc_info if isinstance(exc_info, BaseException) else None
    if status == Status.SUCCEEDED:
        run.finished()
    elif status == Status.ABORTED:
        run.cancelled("aborted")
    else:
        run.failed(emitter().error(error))
    if job_retry is not None:
        retry_at = job_retry.retry_decision.retry_at
        run_at_us = now_us() if retry_at is None else us_of(retry_at)
        emitter().job_retry_scheduled(run.job, run_at_us, at_us=run.ended_us, worker_id=run.worker_id)
    elif status == Status.FAILED:
        emitter().job_dead(run.job, emitter().error(error), at_us=run.ended_us, worker_id=run.worker_id)


@guarded("procrastinate.left")
def left(run: Run | None, *_: Any) -> None:
    """Always after Worker._process_job."""
    if run is not None:
        _open.pop(run.job.id, None)


# The worker itself.


@guarded("procrastinate.online")
def online(worker: Any, *_: Any, **__: Any) -> None:
    """Before Worker.run."""
    queues = list(worker.queues or ())
    version = getattr(procrastinate, "__version__", "")
    _current[:] = [emitter().worker(SYSTEM, _worker_id(), queues, worker.concurrency, held, version)]


@guarded("procrastinate.stopping")
def stopping(*_: Any, **__: Any) -> None:
    """Before Worker.stop; may be the signal handler."""
    for current in _current:
        current.stopping()


@guarded("procrastinate.offline")
def offline(*_: Any) -> None:
    """Always after Worker.run."""
    _current.clear()
    emitter().end_worker()


def held() -> list[Held]:
    """The jobs that run in this process. Called in another thread."""
    runs = list(_open.values())
    return [Held(run.job.facts["queue"], run.job.id, run.job.attempt, text_of(run.started_us)) for run in runs]


def _job(record: Any, job_id: str) -> Job:
    """The attempt of a job's record, which counts the tries that are over."""
    return emitter().job(SYSTEM, record.queue, record.task_name, job_id, record.attempts + 1, priority=record.priority)


def _worker_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
