"""Tasks on their way out: enqueued, or scheduled when they have an eta.

The time is taken and put into the message before it leaves, the event is made after the broker took it: a broker that
is down enqueues nothing, and a worker cannot start before the enqueue. A retry publishes the running task again, under
its id; that is no enqueue of its own, `running` and `lost` tell it as a retry.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from jobtide_emitter.celery.messages import ENQUEUED_AT, job_of, us_or_none
from jobtide_emitter.guard import guarded
from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import now_us, text_of
from jobtide_emitter.process import emitter

_MAX_REMEMBERED = 1000


class Published(NamedTuple):
    """A task the broker took."""

    job: Job
    at_us: int
    run_at_us: int | None

    @property
    def eligible_us(self) -> int:
        """Not before this can it start."""
        return self.at_us if self.run_at_us is None else self.run_at_us


running_here: set[str] = set()  # ids of the tasks whose bodies run in this process
_retries: OrderedDict[tuple[str, int], Published] = OrderedDict()  # by id and the attempt that is retried


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
    published = Published(job, at_us, us_or_none(facts.get("eta")))
    if job.attempt > 1 and job.id in running_here:
        _remember(published)
    else:
        say(published)


def say(published: Published) -> None:
    """The event of a task that was published."""
    job, at_us, run_at_us = published
    if run_at_us is None:
        emitter().job_enqueued(job, at_us=at_us)
    else:
        emitter().job_scheduled(job, run_at_us, at_us=at_us)


def retry_of(job: Job) -> Published | None:
    """The retry that was published for an attempt; asked once."""
    return _retries.pop((job.id, job.attempt), None)


def _remember(published: Published) -> None:
    _retries[published.job.id, published.job.attempt - 1] = published
    while len(_retries) > _MAX_REMEMBERED:
        say(_retries.popitem(last=False)[1])
