"""The shop on Celery: `celery -A jobtide_example.celery_app worker`. JOBTIDE_EXAMPLE_REDIS says where its broker is."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from typing import Any

import jobtide_emitter.celery
from celery import Celery, Task

from jobtide_example import oracle, shop
from jobtide_example.plan import CLASSES, Plan

BACKEND = "celery"
QUEUE = "shop"

app = Celery("shop", broker=os.environ.get("JOBTIDE_EXAMPLE_REDIS", "redis://127.0.0.1:6379/0"))
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)
jobtide_emitter.celery.install(app)


def _attempt(task: Task, argument: dict[str, Any]) -> None:
    def retry(error: Exception) -> Exception:
        seconds = argument["retry_ms"] / 1000
        return task.retry(exc=error, countdown=seconds, max_retries=argument["retries"], throw=False)  # type: ignore[no-any-return]

    shop.work(BACKEND, str(task.name), task.request.id, task.request.retries + 1, argument, retry)


for _name in CLASSES:
    app.task(bind=True, name=f"shop.{_name}")(_attempt)


def enqueue(plan: Plan) -> str:
    """Hands a job to Celery; returns its id."""
    job_id = str(uuid.uuid4())
    task = f"shop.{plan.job_class}"
    shop.enqueueing(BACKEND, QUEUE, task, job_id, plan)
    app.send_task(task, (plan.as_argument(),), task_id=job_id)
    return job_id


def enqueue_later(plan: Plan, delay_s: float) -> str:
    """The same, to run not before `delay_s` from now."""
    job_id = str(uuid.uuid4())
    task = f"shop.{plan.job_class}"
    run_at = oracle.now_us() + int(delay_s * 1e6)
    shop.enqueueing(BACKEND, QUEUE, task, job_id, plan, run_at=run_at)
    app.send_task(task, (plan.as_argument(),), task_id=job_id, eta=datetime.fromtimestamp(run_at / 1e6, UTC))
    return job_id
