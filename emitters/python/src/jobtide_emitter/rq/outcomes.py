"""Jobs in a worker: started, and how they ended; also for work horses that were killed and workers that vanished.

RQ decides success or failure in the work horse, and in the parent for a horse that died. An event is made after RQ has
committed that decision, with the time at which the body returned.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

from rq.exceptions import DeserializationError

from jobtide_emitter import bounds
from jobtide_emitter.guard import guarded
from jobtide_emitter.moments import us_of
from jobtide_emitter.process import emitter
from jobtide_emitter.rq.attempts import enqueued_us_of, job_of, outcome, state_of
from jobtide_emitter.runs import Run

_ABANDONED = {"class": "rq.exceptions.AbandonedJobError"}
_LAST_LINE = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?$", re.DOTALL)


@guarded("rq.started")
def started(job: Any) -> None:
    """Before Job.perform, in the work horse, under the job's time limit: the body comes next.

    The function is imported first, as `perform` would do: a fresh work horse has loaded nothing of the app, and that
    is neither the job's run time nor ours. What this raises, `perform` raises again, to the worker.
    """
    state = state_of(job)
    if not emitter().enabled or not state.attempts:  # a queue that is not async has no worker
        return
    with contextlib.suppress(DeserializationError, ImportError, AttributeError, ValueError):
        job.func  # noqa: B018  it is a property that imports
    named = job_of(job, state.attempts)
    state.run = emitter().job_started(
        named,
        job.worker_name or "unknown",
        enqueued_at_us=enqueued_us_of(job),
        run_at_us=state.run_at_us,
        args_preview=None if emitter().arguments.off else emitter().preview(named, job.args, job.kwargs),
    )


@guarded("rq.body_returned")
def body_returned(_worker: Any, job: Any, *_: Any, **__: Any) -> None:
    """Before handle_execution_ended: callbacks and Redis come after."""
    run = state_of(job).run
    if run is not None:
        run.body_returned()


@guarded("rq.exception")
def raised(_worker: Any, job: Any, *exc_info: Any, **__: Any) -> None:
    """Before handle_exception: the last place that has the exception itself."""
    state_of(job).error = emitter().error(exc_info[1])


@guarded("rq.succeeded")
def succeeded(_token: None, _result: Any, _worker: Any, job: Any, *_: Any, **__: Any) -> None:
    """After handle_job_success."""
    run = state_of(job).run
    if run is not None:
        run.finished()


@guarded("rq.before_failure")
def before_failure(worker: Any, job: Any, *_: Any, **__: Any) -> bool:
    """Before handle_job_failure or handle_job_retry: pushes of this job are retries now. Returns whether somebody
    stopped the job."""
    outcome.job_id, outcome.retry_at_us = job.id, None
    return bool(worker._stopped_job_id == job.id)


@guarded("rq.after_failure")
def after_failure(stopped: bool | None, _result: Any, worker: Any, job: Any, *_: Any, exc_string: str = "", **__: Any) -> None:
    """After handle_job_failure or handle_job_retry."""
    if emitter().enabled:
        run = state_of(job).run or _run_of_killed(worker, job)
        if stopped:
            run.cancelled("stopped")
        else:
            _failed(job, run, state_of(job).error or _error_of(exc_string), outcome.retry_at_us)


@guarded("rq.outcome_done")
def outcome_done(_worker: Any) -> None:
    """Always after handle_job_failure and handle_job_retry."""
    outcome.job_id = None


@guarded("rq.before_retry")
def before_retry(job: Any, *_: Any, **__: Any) -> bool:
    """Before Job.retry. Outside a worker's own handling it is maintenance, which found a job whose worker is gone."""
    if outcome.job_id is not None:
        return False
    outcome.job_id, outcome.retry_at_us, outcome.abandoned = job.id, None, True
    return True


@guarded("rq.abandoned_retry")
def abandoned_retry(abandoned: bool | None, _result: Any, job: Any, *_: Any, **__: Any) -> None:
    """After Job.retry."""
    if abandoned and emitter().enabled and state_of(job).attempts:
        _failed(job, _run_of_abandoned(job), dict(_ABANDONED), outcome.retry_at_us)


@guarded("rq.retry_done")
def retry_done(_job: Any) -> None:
    """Always after Job.retry; `retry_at_us` stays for what follows."""
    if outcome.abandoned:
        outcome.job_id, outcome.abandoned = None, False


@guarded("rq.abandoned_failure")
def abandoned_failure(_token: None, _result: Any, _registry: Any, job: Any, *_: Any, **__: Any) -> None:
    """After FailedJobRegistry.add outside a worker's own handling: the same, with no retry left."""
    if emitter().enabled and outcome.job_id != job.id and state_of(job).attempts:
        _failed(job, _run_of_abandoned(job), dict(_ABANDONED), None)


def _failed(job: Any, run: Run, error: dict[str, str], retry_at_us: int | None) -> None:
    if run.ended:
        return
    run.failed(error)
    if retry_at_us is None:
        emitter().job_dead(run.job, error, at_us=run.ended_us, worker_id=run.worker_id)
    else:
        emitter().job_retry_scheduled(run.job, retry_at_us, at_us=run.ended_us, worker_id=run.worker_id)


def _run_of_killed(worker: Any, job: Any) -> Run:
    """In the parent: the work horse did not come to the end."""
    started_us = None if job.started_at is None else us_of(job.started_at)
    return emitter().run_of(job_of(job, max(1, state_of(job).attempts)), worker.name, started_us)


def _run_of_abandoned(job: Any) -> Run:
    started_us = None if job.started_at is None else us_of(job.started_at)
    return emitter().run_of(job_of(job, state_of(job).attempts), job.worker_name or "unknown", started_us)


def _error_of(text: str) -> dict[str, str]:
    """An error of which only RQ's text is left: a killed work horse, or a Retry that the job returned."""
    detail = emitter().settings.error_detail
    if text.startswith("Work-horse terminated"):
        return {"class": "WorkHorseTerminated", **({"message": text} if detail != "class" else {})}
    if not text:
        return {"class": "rq.job.Retry"}
    found = _LAST_LINE.match(text.strip().rpartition("\n")[2])
    facts = {"class": bounds.name(found.group(1)) if found else "Unknown"}
    if detail != "class" and found and found.group(2):
        facts.update(bounds.message_of(facts["class"], found.group(2), emitter().settings.error_masking))
    return facts
