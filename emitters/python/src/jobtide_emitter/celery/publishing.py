"""Tasks on their way out: enqueued, or scheduled when they have an eta. Also for retries, which publish again.

The time is taken and put into the message before it leaves, the event is made after the broker took it: a broker that
is down enqueues nothing, and a worker cannot start before the enqueue.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from jobtide_emitter.celery.messages import ENQUEUED_AT, job_of, us_or_none
from jobtide_emitter.guard import guarded
from jobtide_emitter.moments import now_us, text_of
from jobtide_emitter.process import emitter

_MAX_RETRIES_REMEMBERED = 1000

# (task id, retries) -> run_at of retries this process published: the retry signal does not say when exactly.
_retries: OrderedDict[tuple[str, int], int] = OrderedDict()


@guarded("celery.before_publish")
def before_publish(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Stamps the message."""
    if headers is not None and emitter().enabled:
        headers[ENQUEUED_AT] = text_of(now_us())


@guarded("celery.after_publish")
def after_publish(
    headers: dict[str, Any] | None = None,
    body: Any = None,
    exchange: Any = None,
    routing_key: str | None = None,
    **_: Any,
) -> None:
    """The broker has it."""
    if headers is None or not emitter().enabled:
        return
    facts = headers if "id" in headers else body
    job = job_of(facts, {"exchange": exchange, "routing_key": routing_key})
    at_us = us_or_none(headers.get(ENQUEUED_AT)) or now_us()
    run_at_us = us_or_none(facts.get("eta"))
    if job.attempt > 1:
        _remember_retry(job.id, job.attempt - 1, at_us if run_at_us is None else run_at_us)
    if run_at_us is None:
        emitter().job_enqueued(job, at_us=at_us)
    else:
        emitter().job_scheduled(job, run_at_us, at_us=at_us)


def _remember_retry(job_id: str, retries: int, run_at_us: int) -> None:
    _retries[job_id, retries] = run_at_us
    while len(_retries) > _MAX_RETRIES_REMEMBERED:
        _retries.popitem(last=False)


def retry_run_at_us(job_id: str, retries: int) -> int:
    """When the retry that was just published for this task may run; now, if it was published elsewhere."""
    return _retries.pop((job_id, retries), None) or now_us()
