"""The shop's Celery half: `celery -A jobtide.cli.demo.celery_app worker`. DEMO_REDIS_URL is its broker."""

from __future__ import annotations

import os

import jobtide_emitter.celery
from celery import Celery, Task
from jobtide.cli.demo import work

QUEUE = "shop"
app = Celery("shop", broker=os.environ["DEMO_REDIS_URL"])
app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    worker_prefetch_multiplier=2,
    broker_connection_retry_on_startup=True,
    task_soft_time_limit=work.HANG_S - 5,
)
jobtide_emitter.celery.install(app)


def _attempt(task: Task, profile: work.Profile) -> None:
    try:
        work.perform(profile)
    except work.GatewayTimeoutError as error:
        raise task.retry(exc=error, countdown=1 + task.request.retries, max_retries=work.RETRIES) from error


def _register(name: str, profile: work.Profile) -> None:
    @app.task(bind=True, name=name)  # type: ignore[untyped-decorator]
    def run(task: Task) -> None:
        _attempt(task, profile)


for _name, _profile in work.CELERY.items():
    _register(_name, _profile)


def enqueue(name: str) -> None:
    """Hand one task to Celery."""
    app.send_task(name)
