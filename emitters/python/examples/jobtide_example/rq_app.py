"""The shop on RQ: `rq worker -w jobtide_emitter.rq.Worker --with-scheduler shop`. JOBTIDE_EXAMPLE_REDIS says where."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from typing import Any

import jobtide_emitter.rq
from redis import Redis
from rq import Queue, Retry, get_current_job

from jobtide_example import oracle, shop
from jobtide_example.plan import Plan

BACKEND = "rq"
QUEUE = "shop"

jobtide_emitter.rq.install()
queue = Queue(QUEUE, connection=Redis.from_url(os.environ.get("JOBTIDE_EXAMPLE_REDIS", "redis://127.0.0.1:6379/0")))


def mail(argument: dict[str, Any]) -> None:
    """A job class."""
    _attempt("mail", argument)


def charge(argument: dict[str, Any]) -> None:
    """A job class."""
    _attempt("charge", argument)


def report(argument: dict[str, Any]) -> None:
    """A job class."""
    _attempt("report", argument)


def _attempt(name: str, argument: dict[str, Any]) -> None:
    job = get_current_job()
    assert job is not None
    # RQ counts no attempts, only the retries that are left.
    attempt = argument["retries"] - (job.retries_left or 0) + 1
    shop.work(BACKEND, f"{__name__}.{name}", job.id, attempt, argument)


def enqueue(plan: Plan) -> str:
    """Hands a job to RQ; returns its id."""
    job_id, function = _announce(plan, None)
    queue.enqueue(function, plan.as_argument(), job_id=job_id, retry=_retry(plan), result_ttl=60, failure_ttl=600)
    return job_id


def enqueue_later(plan: Plan, delay_s: float) -> str:
    """The same, to run not before `delay_s` from now (RQ keeps whole seconds)."""
    run_at = (oracle.now_us() + int(delay_s * 1e6)) // 1_000_000 * 1_000_000
    job_id, function = _announce(plan, run_at)
    moment = datetime.fromtimestamp(run_at / 1e6, UTC)
    queue.enqueue_at(moment, function, plan.as_argument(), job_id=job_id, retry=_retry(plan), result_ttl=60)
    return job_id


def _announce(plan: Plan, run_at: int | None) -> tuple[str, Any]:
    job_id = str(uuid.uuid4())
    function = {"mail": mail, "charge": charge, "report": report}[plan.job_class]
    shop.enqueueing(BACKEND, QUEUE, f"{__name__}.{plan.job_class}", job_id, plan, run_at=run_at)
    return job_id, function


def _retry(plan: Plan) -> Retry | None:
    return Retry(max=plan.retries, interval=plan.retry_ms // 1000) if plan.retries else None
