"""The shop on arq: `arq jobtide_example.arq_app.WorkerSettings`. JOBTIDE_EXAMPLE_REDIS says where its Redis is."""

from __future__ import annotations

import asyncio
import os
import uuid
from datetime import UTC, datetime
from typing import Any, ClassVar

import jobtide_emitter.arq
from arq import Retry, create_pool, func
from arq.connections import RedisSettings

from jobtide_example import oracle, shop
from jobtide_example.plan import CLASSES, Plan

BACKEND = "arq"
QUEUE = "shop"

jobtide_emitter.arq.install()
redis = RedisSettings.from_dsn(os.environ.get("JOBTIDE_EXAMPLE_REDIS", "redis://127.0.0.1:6379/0"))


def _function(name: str) -> Any:
    def retry(argument: dict[str, Any]) -> shop.Retry:
        return lambda _error: Retry(defer=argument["retry_ms"] / 1000)

    async def attempt(ctx: dict[str, Any], argument: dict[str, Any]) -> None:
        await asyncio.to_thread(shop.work, BACKEND, name, ctx["job_id"], ctx["job_try"], argument, retry(argument))

    return func(attempt, name=name)


class WorkerSettings:
    """What `arq` reads."""

    functions: ClassVar = [_function(f"shop.{name}") for name in CLASSES]
    queue_name = QUEUE
    redis_settings = redis
    max_jobs = 4
    poll_delay = 0.05
    keep_result = 60


def enqueue(plan: Plan) -> str:
    """Hands a job to arq; returns its id."""
    return asyncio.run(_enqueue(plan, None))


def enqueue_later(plan: Plan, delay_s: float) -> str:
    """The same, to run not before `delay_s` from now."""
    run_at = (oracle.now_us() + int(delay_s * 1e6)) // 1000 * 1000
    return asyncio.run(_enqueue(plan, run_at))


async def _enqueue(plan: Plan, run_at: int | None) -> str:
    job_id = str(uuid.uuid4())
    name = f"shop.{plan.job_class}"
    when = None if run_at is None else datetime.fromtimestamp(run_at / 1e6, UTC)
    pool = await create_pool(redis, default_queue_name=QUEUE)
    shop.enqueueing(BACKEND, QUEUE, name, job_id, plan, run_at=run_at)
    await pool.enqueue_job(name, plan.as_argument(), _job_id=job_id, _defer_until=when)
    await pool.aclose()
    return job_id
