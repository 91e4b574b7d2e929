"""The shop on Dramatiq: `dramatiq jobtide_example.dramatiq_app`. JOBTIDE_EXAMPLE_REDIS says where its broker is."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import CurrentMessage
from jobtide_emitter.dramatiq import JobtideMiddleware

from jobtide_example import oracle, shop
from jobtide_example.plan import CLASSES, Plan

BACKEND = "dramatiq"
QUEUE = "shop"

broker = RedisBroker(url=os.environ.get("JOBTIDE_EXAMPLE_REDIS", "redis://127.0.0.1:6379/0"))
broker.add_middleware(CurrentMessage())
broker.add_middleware(JobtideMiddleware())
dramatiq.set_broker(broker)


def _actor(name: str) -> Any:
    def attempt(argument: dict[str, Any]) -> None:
        message: Any = CurrentMessage.get_current_message()
        attempt = message.options.get("retries", 0) + 1
        shop.work(BACKEND, name, message.message_id, attempt, argument, retry(argument))

    def retry(argument: dict[str, Any]) -> shop.Retry:
        return lambda error: dramatiq.errors.Retry(str(error), delay=argument["retry_ms"])

    return dramatiq.actor(actor_name=name, queue_name=QUEUE)(attempt)


actors = {name: _actor(f"shop.{name}") for name in CLASSES}


def enqueue(plan: Plan) -> str:
    """Hands a job to Dramatiq; returns its id."""
    message = _message(plan)
    shop.enqueueing(BACKEND, QUEUE, message.actor_name, message.message_id, plan)
    broker.enqueue(message)
    return str(message.message_id)


def enqueue_later(plan: Plan, delay_s: float) -> str:
    """The same, to run not before `delay_s` from now."""
    message = _message(plan)
    run_at = oracle.now_us() + int(delay_s * 1e6)
    shop.enqueueing(BACKEND, QUEUE, message.actor_name, message.message_id, plan, run_at=run_at)
    broker.enqueue(message, delay=int(delay_s * 1000))
    return str(message.message_id)


def _message(plan: Plan) -> Any:
    return actors[plan.job_class].message_with_options(args=(plan.as_argument(),), max_retries=plan.retries)
