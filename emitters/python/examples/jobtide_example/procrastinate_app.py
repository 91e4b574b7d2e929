"""The shop on procrastinate: `procrastinate --app jobtide_example.procrastinate_app.app worker`.
JOBTIDE_EXAMPLE_POSTGRES says where its PostgreSQL is (a libpq connection string)."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import jobtide_emitter.procrastinate
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision, SyncPsycopgConnector

from jobtide_example import oracle, shop
from jobtide_example.plan import CLASSES, Plan

BACKEND = "procrastinate"
QUEUE = "shop"

dsn = os.environ.get("JOBTIDE_EXAMPLE_POSTGRES", "dbname=shop")
jobtide_emitter.procrastinate.install()
app = App(connector=PsycopgConnector(conninfo=dsn), worker_defaults={"fetch_job_polling_interval": 0.1})


class AsPlanned(BaseRetryStrategy):
    """As often and as late as the job's argument says."""

    def get_retry_decision(self, *, exception: BaseException, job: Any) -> RetryDecision | None:
        """None: no other attempt."""
        argument = job.task_kwargs["argument"]
        if job.attempts >= argument["retries"]:
            return None
        return RetryDecision(retry_in={"milliseconds": argument["retry_ms"]})


def _task(name: str) -> Any:
    def attempt(context: JobContext, argument: dict[str, Any]) -> None:
        job = context.job
        shop.work(BACKEND, name, str(job.id), job.attempts + 1, argument)

    return app.task(name=name, queue=QUEUE, pass_context=True, retry=AsPlanned())(attempt)


tasks = {name: _task(f"shop.{name}") for name in CLASSES}


def enqueue(plan: Plan) -> str:
    """Hands a job to procrastinate; returns its id."""
    return _enqueue(plan, None)


def enqueue_later(plan: Plan, delay_s: float) -> str:
    """The same, to run not before `delay_s` from now."""
    return _enqueue(plan, oracle.now_us() + int(delay_s * 1e6))


def _enqueue(plan: Plan, run_at: int | None) -> str:
    """PostgreSQL gives the id, so the oracle hears of it after the hand-over, at the time of before."""
    name, at_us = f"shop.{plan.job_class}", oracle.now_us()
    when = None if run_at is None else datetime.fromtimestamp(run_at / 1e6, UTC)
    connector = SyncPsycopgConnector(conninfo=dsn)
    with app.replace_connector(connector) as client, client.open():
        job_id = str(client.configure_task(name, schedule_at=when).defer(argument=plan.as_argument()))
    shop.enqueueing(BACKEND, QUEUE, name, job_id, plan, run_at=run_at, at_us=at_us)
    return job_id
