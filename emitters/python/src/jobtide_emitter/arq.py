"""arq: `install()` once per process, in the app that enqueues and in the module of the worker's settings.

arq's own hooks know neither a job's name nor its end, so methods are wrapped: `enqueue_job` tells what enters a queue, the
job's coroutine when it runs and what it raises, `finish_job` what follows from that. A job whose worker was stopped is
run again by arq: its attempt is cancelled, not failed.
"""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

import arq
from arq import connections, jobs, worker
from arq.utils import to_ms, to_unix_ms

from jobtide_emitter.broadcasts import Held
from jobtide_emitter.guard import guarded
from jobtide_emitter.moments import now_us, text_of, us_of
from jobtide_emitter.patching import Patches
from jobtide_emitter.process import emitter, prepare
from jobtide_emitter.queues import watched
from jobtide_emitter.queues.of_arq import ArqCounts
from jobtide_emitter.runs import Run
from jobtide_emitter.workers import Worker

SYSTEM = "arq"
_TOO_OFTEN = "retries exceeded"

_patches = Patches("arq")
_current: list[Worker] = []
_open: dict[str, _Attempt] = {}


def install() -> None:
    """Puts the hooks on arq's classes; twice is the same as once."""
    if _patches.installed(worker.Worker):
        return
    prepare()
    _patches.around(connections.ArqRedis, "enqueue_job", before=before_enqueue, after=enqueued)
    _patches.around(worker.Worker, "__init__", after=observe)
    _patches.around(worker.Worker, "main", before=online)
    _patches.around(worker.Worker, "finish_job", after=settled)
    _patches.around(worker.Worker, "finish_failed_job", after=refused)
    for handler in ("handle_sig", "handle_sig_wait_for_completion"):
        _patches.around(worker.Worker, handler, before=stopping)
    _patches.around(worker.Worker, "close", after=offline)


def uninstall() -> None:
    """Takes the hooks off again."""
    _patches.restore()


# Into a queue.


@guarded("arq.before_enqueue")
def before_enqueue(*_: Any, **__: Any) -> int:
    """Before ArqRedis.enqueue_job."""
    return now_us()


@guarded("arq.enqueued")
def enqueued(
    at_us: int | None, made: Any, redis: Any, function: str, *_: Any, _queue_name: str | None = None,
    _defer_until: datetime | None = None, _defer_by: float | timedelta | None = None, _job_try: int | None = None, **__: Any,
) -> None:  # fmt: skip
    """After ArqRedis.enqueue_job; `made` is None where a job of that id exists already."""
    if made is None or at_us is None or not emitter().enabled:
        return
    job = emitter().job(SYSTEM, _queue_name or redis.default_queue_name, function, made.job_id, _job_try or 1)
    if _defer_until is not None:
        emitter().job_scheduled(job, to_unix_ms(_defer_until) * 1000, at_us=at_us)
    elif _defer_by:
        emitter().job_scheduled(job, at_us + (to_ms(_defer_by) or 0) * 1000, at_us=at_us)
    else:
        emitter().job_enqueued(job, at_us=at_us)


# In a worker.


class _Attempt:
    """A job whose coroutine has begun in this process."""

    def __init__(self, run: Run, score_ms: int, max_tries: int) -> None:
        self.run = run
        self.score_ms = score_ms
        self.max_tries = max_tries
        self.error: dict[str, str] | None = None
        self.stopped = ""


@guarded("arq.observe")
def observe(_token: None, _result: None, of: Any, *_: Any, **__: Any) -> None:
    """After Worker.__init__: every function, cron jobs too, tells when it runs."""
    for name, function in of.functions.items():
        function.coroutine = _observed(of, name, function, function.coroutine)


def _observed(of: Any, name: str, function: Any, coroutine: Any) -> Any:
    if hasattr(coroutine, "jobtide"):
        coroutine = coroutine.jobtide

    @wraps(coroutine)
    async def observed(ctx: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        attempt = begun(of, name, function, ctx, args, kwargs)
        try:
            result = await coroutine(ctx, *args, **kwargs)
        except BaseException as error:
            raised(attempt, of, error)
            raise
        returned(attempt)
        return result

    observed.jobtide = coroutine  # type: ignore[attr-defined]  # not wrapped twice by a second worker of the process
    return observed


@guarded("arq.begun")
def begun(of: Any, name: str, function: Any, ctx: dict[str, Any], args: Any, kwargs: Any) -> _Attempt | None:
    """The coroutine comes next."""
    if not emitter().enabled:
        return None
    limit = of.max_tries if function.max_tries is None else function.max_tries
    job = emitter().job(SYSTEM, of.queue_name, name, ctx["job_id"], ctx["job_try"], max_attempts=limit)
    first = ctx["job_try"] == 1  # later tries: arq keeps the first enqueue only, and the retry said when it may run
    run = emitter().job_started(
        job,
        _worker_id(),
        enqueued_at_us=us_of(ctx["enqueue_time"]) if first else None,
        run_at_us=_run_at_us(ctx, first),
        args_preview=emitter().preview(job, args, kwargs),
    )
    attempt = _open[job.id] = _Attempt(run, ctx["score"], limit)
    return attempt


def _run_at_us(ctx: dict[str, Any], first: bool) -> int | None:
    eligible_us: int = ctx["score"] * 1000
    return eligible_us if not first or eligible_us > us_of(ctx["enqueue_time"]) else None


@guarded("arq.returned")
def returned(attempt: _Attempt | None) -> None:
    """The coroutine returned."""
    if attempt is not None:
        attempt.run.body_returned()


@guarded("arq.raised")
def raised(attempt: _Attempt | None, of: Any, error: BaseException) -> None:
    """The coroutine raised, or was cancelled: by its time limit, an abort, or the worker's end."""
    if attempt is None:
        return
    attempt.run.body_returned()
    attempt.error = emitter().error(error)
    if isinstance(error, asyncio.CancelledError):
        attempt.stopped = "aborted" if attempt.run.job.id in of.aborting_tasks else "cancelled"


@guarded("arq.settled")
def settled(
    _token: None, _result: None, _of: Any, job_id: str, finish: bool, _data: Any, _timeout: Any, _forever: Any,
    incr_score: int | None, *_: Any, **__: Any,
) -> None:  # fmt: skip
    """After Worker.finish_job: it is decided and stored what becomes of the job."""
    attempt = _open.pop(job_id, None)
    if attempt is None:
        return
    run = attempt.run
    if attempt.error is None:
        run.finished()
    elif attempt.stopped == "aborted" or (attempt.stopped and not finish):
        run.cancelled(attempt.stopped if finish else "worker stopped")
    else:
        error = {"class": "TimeoutError"} if attempt.stopped else attempt.error
        run.failed(error)
        if finish or run.job.attempt >= attempt.max_tries:
            emitter().job_dead(run.job, error, at_us=run.ended_us, worker_id=run.worker_id)
            return
    if not finish:
        run_at_us = now_us() if not incr_score else (attempt.score_ms + incr_score) * 1000
        emitter().job_retry_scheduled(run.job, run_at_us, at_us=run.ended_us, worker_id=run.worker_id)


@guarded("arq.refused")
def refused(_token: None, _result: None, of: Any, job_id: str, data: bytes | None, *_: Any, **__: Any) -> None:
    """After Worker.finish_failed_job: the job ended without running: expired, unknown, aborted, tried too often."""
    if not emitter().enabled:
        return
    known = jobs.deserialize_result(data, deserializer=of.job_deserializer) if data else None
    if known is None:
        emitter().job_discarded(emitter().job(SYSTEM, of.queue_name, "unknown", job_id), "unreadable")
        return
    name = "unknown" if known.function == "<unknown>" else known.function
    too_often = _TOO_OFTEN in str(known.result)
    job = emitter().job(SYSTEM, of.queue_name, name, job_id, known.job_try - too_often)
    if too_often:
        emitter().job_dead(job, emitter().error(known.result), worker_id=_worker_id())
    elif isinstance(known.result, asyncio.CancelledError):
        emitter().job_cancelled(job, "aborted")
    else:
        emitter().job_discarded(job, str(known.result))


# The worker itself.


@guarded("arq.online")
def online(of: Any, *_: Any, **__: Any) -> None:
    """Before Worker.main."""
    _open.clear()
    _current[:] = [emitter().worker(SYSTEM, _worker_id(), [of.queue_name], of.max_jobs, held, arq.VERSION)]
    if of.redis_settings is not None and not of.redis_settings.sentinel:
        watched(emitter(), lambda: ArqCounts(of.redis_settings), [of.queue_name])


def held() -> list[Held]:
    """The jobs whose coroutines run. Called in another thread."""
    runs = [attempt.run for attempt in list(_open.values())]
    return [Held(run.job.facts["queue"], run.job.id, run.job.attempt, text_of(run.started_us)) for run in runs]


@guarded("arq.stopping")
def stopping(*_: Any, **__: Any) -> None:
    """Before a worker's signal handler."""
    for current in _current:
        current.stopping()


@guarded("arq.offline")
def offline(*_: Any, **__: Any) -> None:
    """After Worker.close."""
    _current.clear()
    emitter().end_worker()


def _worker_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
