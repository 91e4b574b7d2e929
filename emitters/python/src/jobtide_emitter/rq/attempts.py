"""What RQ does not keep of a job: how many attempts have begun, when this one was enqueued, when it may run.

Kept in fields of the job's own Redis hash, beside RQ's: `jobtide_attempts` is counted up by the worker (HINCRBY), the
others ride on the saves RQ makes anyway. Not in `job.meta`: apps replace that as a whole.
"""

from __future__ import annotations

import re
import threading
from typing import Any

from rq.exceptions import DeserializationError

from jobtide_emitter.guard import guarded
from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import us_of
from jobtide_emitter.process import emitter
from jobtide_emitter.runs import Run

SYSTEM = "rq"
ATTEMPTS = "jobtide_attempts"
ENQUEUED_US = "jobtide_enqueued_us"
RUN_AT_US = "jobtide_run_at_us"
_RANDOM_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class State:
    """Hangs on RQ's job object as `_jobtide`."""

    __slots__ = ("attempts", "enqueued_us", "error", "fetched", "run", "run_at_us")

    def __init__(self) -> None:
        self.attempts = 0  # begun so far
        self.enqueued_us: int | None = None
        self.run_at_us: int | None = None
        self.fetched = False  # from Redis: `attempts` is what is stored
        self.run: Run | None = None
        self.error: dict[str, str] | None = None


def state_of(job: Any) -> State:
    """The state of a job object; a new one knows nothing."""
    state: State | None = getattr(job, "_jobtide", None)
    if state is None:
        state = job._jobtide = State()
    return state


def job_of(job: Any, attempt: int) -> Job:
    """One attempt of an RQ job, in our words."""
    retries = job.retries_left
    state = state_of(job)
    return emitter().job(
        SYSTEM,
        job.origin or "default",
        _class_of(job),
        job.id,
        attempt,
        max_attempts=None if retries is None or state.attempts > 1 else retries + 1,
        batch_id=getattr(job, "group_id", None),
    )


def _class_of(job: Any) -> str:
    """The function's name. Only asked where RQ has it or is about to need it: it may have to unpickle the job."""
    try:
        return job.func_name or "unknown"
    except DeserializationError:
        return "unknown"


def next_attempt(job: Any) -> int:
    """The number of the attempt that an enqueue makes. A job made here with an id of the app's own may have run under
    that id before: then Redis knows, and is asked; ids that RQ made up are new."""
    state = state_of(job)
    if not state.fetched and state.attempts == 0 and not _RANDOM_ID.fullmatch(job.id):
        state.attempts = int(job.connection.hget(job.key, ATTEMPTS) or 0)
    return state.attempts + 1


@guarded("rq.to_dict")
def save_state(_token: None, fields: dict[str, Any], job: Any, *_: Any, **__: Any) -> None:
    """After Job.to_dict: our fields go along. Empty means none, so that an earlier life of the hash is cleared."""
    state = getattr(job, "_jobtide", None)
    if state is not None and emitter().enabled:
        fields[ENQUEUED_US] = state.enqueued_us or ""
        fields[RUN_AT_US] = state.run_at_us or ""


@guarded("rq.restore")
def load_state(_token: None, _result: Any, job: Any, raw: dict[Any, Any], *_: Any, **__: Any) -> None:
    """After Job.restore: our fields from the hash."""
    state = state_of(job)
    state.fetched = True
    state.attempts = _number(raw, ATTEMPTS) or 0
    state.enqueued_us = _number(raw, ENQUEUED_US)
    state.run_at_us = _number(raw, RUN_AT_US)


def _number(raw: dict[Any, Any], field: str) -> int | None:
    value = raw.get(field.encode(), raw.get(field))
    return int(value) if value else None


@guarded("rq.prepare_execution")
def count_attempt(_token: None, _result: Any, worker: Any, job: Any, *_: Any, **__: Any) -> None:
    """After the worker (not the work horse) took a job: another attempt begins."""
    if not emitter().enabled:
        return
    state = state_of(job)
    state.run = state.error = None
    state.attempts += 1  # should Redis fail
    state.attempts = int(worker.connection.hincrby(job.key, ATTEMPTS, 1))


def enqueued_us_of(job: Any) -> int | None:
    """When this attempt was enqueued: by our own stamp, else RQ's, which a scheduled job gets when it is promoted."""
    state = state_of(job)
    if state.enqueued_us is not None:
        return state.enqueued_us
    return None if job.enqueued_at is None else us_of(job.enqueued_at)


class _Outcome(threading.local):
    """The job whose outcome a worker method is handling in this thread, and what it did with it."""

    job_id: str | None = None
    retry_at_us: int | None = None
    abandoned = False  # maintenance does it, not a worker that ran the job


outcome = _Outcome()
