"""The shop on taskiq: `taskiq worker jobtide_example.taskiq_app:broker`. JOBTIDE_EXAMPLE_REDIS says where its Redis is.

The broker is a Redis list of our own, twenty lines, so that the example needs no broker package.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from jobtide_emitter.taskiq import JobtideMiddleware
from redis.asyncio import Redis
from taskiq import AsyncBroker, BrokerMessage, Context, SimpleRetryMiddleware, TaskiqDepends

from jobtide_example import shop
from jobtide_example.plan import CLASSES, Plan

BACKEND = "taskiq"
QUEUE = "shop"


class ListBroker(AsyncBroker):
    """Sends with RPUSH, listens with LPOP."""

    queue_name = QUEUE

    def _redis(self) -> Redis:
        return Redis.from_url(os.environ.get("JOBTIDE_EXAMPLE_REDIS", "redis://127.0.0.1:6379/0"))

    async def kick(self, message: BrokerMessage) -> None:
        """Sends a task."""
        redis = self._redis()
        await redis.rpush(QUEUE, message.message)
        await redis.aclose()

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """Receives tasks. redis-py 8 may swallow a cancellation while it waits for Redis, so it is not waited for inside."""
        redis = self._redis()
        while True:
            message = await asyncio.shield(redis.lpop(QUEUE))
            if message is None:
                await asyncio.sleep(0.02)
            else:
                yield message


broker = ListBroker().with_middlewares(SimpleRetryMiddleware(), JobtideMiddleware(concurrency=4))


def _task(name: str) -> Any:
    async def attempt(argument: dict[str, Any], context: Context = TaskiqDepends()) -> None:  # noqa: B008  taskiq's way
        message = context.message
        number = int(message.labels.get("_retries", 0)) + 1
        await asyncio.to_thread(shop.work, BACKEND, name, message.task_id, number, argument)

    return broker.task(task_name=name)(attempt)


tasks = {name: _task(f"shop.{name}") for name in CLASSES}


def enqueue(plan: Plan) -> str:
    """Hands a job to taskiq; returns its id."""
    job_id = str(uuid.uuid4())
    name = f"shop.{plan.job_class}"
    kicker = tasks[plan.job_class].kicker().with_task_id(job_id)
    kicker = kicker.with_labels(retry_on_error=plan.retries > 0, max_retries=plan.retries + 1)
    shop.enqueueing(BACKEND, QUEUE, name, job_id, plan)
    asyncio.run(kicker.kiq(plan.as_argument()))
    return job_id
