"""Tasks in a pool process: started, and how they ended.

The run lives on the task's request, so every pool (processes, threads, greenlets) finds its own. Run time ends when the
outcome's signal comes, which is after Celery stored the result: the same span as in Celery's own "succeeded in 0.2s".
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobtide_emitter.celery import lost
from jobtide_emitter.celery.messages import enqueued_us_of, job_of_request, us_or_none
from jobtide_emitter.celery.publishing import retry_of, running_here, say
from jobtide_emitter.guard import guarded
from jobtide_emitter.moments import now_us, us_of
from jobtide_emitter.process import emitter
from jobtide_emitter.runs import Run

_RUN = "jobtide_run"
_LEFT_OPEN = {"IGNORED": "ignored", "REJECTED": "rejected"}


def run_of(request: Any) -> Run | None:
    """The run of a request that began in this process."""
    return getattr(request, _RUN, None)


@guarded("celery.prerun")
def prerun(task: Any, args: Any = None, kwargs: Any = None, **_: Any) -> None:
    """The body comes next."""
    if not emitter().enabled:
        return
    request = task.request
    job = job_of_request(task, request)
    worker_id = request.hostname or lost.this_worker()
    running_here.add(job.id)
    setattr(
        request,
        _RUN,
        emitter().job_started(
            job,
            worker_id,
            enqueued_at_us=enqueued_us_of(request),
            run_at_us=us_or_none(request.eta),
            args_preview=emitter().preview(job, args, kwargs),
        ),
    )


@guarded("celery.success")
def success(sender: Any, **_: Any) -> None:
    """The body returned and the result is stored."""
    run = run_of(sender.request)
    if run is not None:
        run.finished()


@guarded("celery.failure")
def failure(sender: Any, task_id: str, exception: BaseException, einfo: Any = None, **_: Any) -> None:
    """The body raised, for good: retries come as another signal. In the main process: a pool process was lost."""
    run = run_of(sender.request)
    if run is None or run.job.id != task_id:
        run = lost.run_of(sender, task_id)
    if run is None or run.ended:
        return
    run.body_returned()
    error = emitter().error(exception, backtrace=getattr(einfo, "traceback", None))
    run.failed(error)
    emitter().job_dead(run.job, error, at_us=run.ended_us, worker_id=run.worker_id)


@guarded("celery.retry")
def retry(sender: Any, request: Any, reason: Any = None, einfo: Any = None, **_: Any) -> None:
    """The attempt failed and the next one is published."""
    run = run_of(request) or lost.run_of(sender, request.id)
    if run is None or run.ended:
        return
    run.body_returned()
    cause = getattr(reason, "exc", None) or reason
    run.failed(emitter().error(cause, backtrace=getattr(einfo, "traceback", None)))
    published = retry_of(run.job)
    run_at_us = _when(reason) if published is None else published.eligible_us
    emitter().job_retry_scheduled(run.job, run_at_us, at_us=run.ended_us, worker_id=run.worker_id)


@guarded("celery.postrun")
def postrun(task: Any, state: str | None = None, retval: Any = None, **_: Any) -> None:
    """The end of every task. What no other signal ended: the task asked to be ignored or rejected its message; a
    process that is about to die says nothing, the main process will."""
    run = run_of(task.request)
    if run is None:
        return
    running_here.discard(run.job.id)
    unsaid = retry_of(run.job)  # retry(throw=False): published, and the task went on
    if unsaid is not None:
        say(unsaid)
    reason = _LEFT_OPEN.get(state or "")
    if reason is not None and not getattr(retval, "requeue", False):
        run.discarded(reason)


def _when(reason: Any) -> int:
    """When a Retry may run, as far as it says: seconds from now or a date."""
    when = getattr(reason, "when", None)
    if isinstance(when, datetime):
        return us_of(when)
    return now_us() + int((when or 0) * 1_000_000)
