"""Jobs on their way into a queue: enqueued, or scheduled for later, however they get there; and taken out of it again.

RQ always pushes through `Queue._enqueue_job` and `Queue.schedule_job`: enqueue, enqueue_many, enqueue_in, repeats,
dependents that become ready, `rq requeue`. Two pushes are no enqueues: the scheduler's promotion of a job whose time
has come, and the retry of the job whose failure is being handled (that is `outcomes`' to tell).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobtide_emitter.guard import guarded
from jobtide_emitter.moments import now_us, us_of
from jobtide_emitter.process import emitter
from jobtide_emitter.rq.attempts import job_of, next_attempt, outcome, state_of


@guarded("rq.before_enqueue")
def before_enqueue(queue: Any, job: Any, *_: Any, **__: Any) -> int | None:
    """Before Queue._enqueue_job: stamps the job. Returns the attempt, None if there is nothing to tell."""
    if not emitter().enabled or not queue.is_async:
        return None
    state = state_of(job)
    if state.run_at_us is not None and job.get_status(refresh=False) == "scheduled":
        return None  # promoted: it was enqueued when it was scheduled
    state.enqueued_us = now_us()
    state.run_at_us = None
    if outcome.job_id == job.id:
        outcome.retry_at_us = state.enqueued_us
        return None
    return next_attempt(job)


@guarded("rq.after_enqueue")
def after_enqueue(attempt: int | None, _result: Any, _queue: Any, job: Any, *_: Any, **__: Any) -> None:
    """After Queue._enqueue_job: Redis has it (or the caller's pipeline has, and sends it)."""
    if attempt is not None:
        emitter().job_enqueued(job_of(job, attempt), at_us=state_of(job).enqueued_us)


@guarded("rq.before_schedule")
def before_schedule(_queue: Any, job: Any, datetime: datetime, *_: Any, **__: Any) -> int | None:
    """Before Queue.schedule_job. RQ keeps whole seconds and may start the job within that second."""
    if not emitter().enabled:
        return None
    state = state_of(job)
    state.enqueued_us = now_us()
    state.run_at_us = us_of(datetime) // 1_000_000 * 1_000_000
    if outcome.job_id == job.id:
        outcome.retry_at_us = state.run_at_us
        return None
    return next_attempt(job)


@guarded("rq.after_schedule")
def after_schedule(attempt: int | None, _result: Any, _queue: Any, job: Any, *_: Any, **__: Any) -> None:
    """After Queue.schedule_job."""
    state = state_of(job)
    if attempt is not None and state.run_at_us is not None:
        emitter().job_scheduled(job_of(job, attempt), state.run_at_us, at_us=state.enqueued_us)


_WAITING = ("queued", "scheduled", "deferred")


@guarded("rq.before_removal")
def before_removal(job: Any, *_: Any, **__: Any) -> int | None:
    """Before Job.cancel or Job.delete. Returns the attempt that waits and will never start, if there is one."""
    if not emitter().enabled or job.get_status(refresh=False) not in _WAITING:
        return None
    return next_attempt(job)


@guarded("rq.cancelled")
def cancelled(attempt: int | None, _result: Any, job: Any, *_: Any, **__: Any) -> None:
    """After Job.cancel."""
    if attempt is not None:
        emitter().job_cancelled(job_of(job, attempt), "cancelled")


@guarded("rq.deleted")
def deleted(attempt: int | None, _result: Any, job: Any, *_: Any, **__: Any) -> None:
    """After Job.delete."""
    if attempt is not None:
        emitter().job_discarded(job_of(job, attempt), "deleted")
