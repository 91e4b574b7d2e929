"""The shop on Huey: `huey_consumer jobtide_example.huey_app.huey`. JOBTIDE_EXAMPLE_REDIS says where its Redis is."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import jobtide_emitter.huey
from huey import RedisHuey

from jobtide_example import oracle, shop
from jobtide_example.plan import CLASSES, Plan

BACKEND = "huey"
QUEUE = "shop"

huey = RedisHuey(QUEUE, url=os.environ.get("JOBTIDE_EXAMPLE_REDIS", "redis://127.0.0.1:6379/0"), results=False)
jobtide_emitter.huey.install(huey)


def _task(name: str) -> Any:
    def attempt(argument: dict[str, Any], task: Any = None) -> None:
        number = argument["retries"] - task.retries + 1
        shop.work(BACKEND, f"{__name__}.{name}", task.id, number, argument)

    return huey.task(name=name, context=True)(attempt)


tasks = {name: _task(name) for name in CLASSES}


def enqueue(plan: Plan) -> str:
    """Hands a job to Huey; returns its id."""
    return _enqueue(plan, None)


def enqueue_later(plan: Plan, delay_s: float) -> str:
    """The same, to run not before `delay_s` from now."""
    return _enqueue(plan, oracle.now_us() + int(delay_s * 1e6))


def _enqueue(plan: Plan, run_at: int | None) -> str:
    when: dict[str, Any] = {} if run_at is None else {"eta": datetime.fromtimestamp(run_at / 1e6, UTC)}
    task = tasks[plan.job_class].s(plan.as_argument(), retries=plan.retries, retry_delay=plan.retry_ms / 1000, **when)
    shop.enqueueing(BACKEND, QUEUE, f"{__name__}.{plan.job_class}", task.id, plan, run_at=run_at)
    huey.enqueue(task)
    return str(task.id)
