"""What Celery's messages and requests say about an attempt, in our words. Reads; changes nothing."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from celery import current_app

from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import us_of_text
from jobtide_emitter.process import emitter

SYSTEM = "celery"
ENQUEUED_AT = "jobtide_enqueued_at"  # header of a message: when this attempt was published


def queue_of(exchange: Any, routing_key: str | None) -> str:
    """The queue a message goes to or came from, the same on both sides: Celery names it only for direct exchanges."""
    return _queue_name(getattr(exchange, "name", exchange) or "", routing_key or "")


@lru_cache(maxsize=1024)
def _queue_name(exchange: str, routing_key: str) -> str:
    if exchange:
        for name, queue in dict(current_app.amqp.queues).items():
            if getattr(queue.exchange, "name", None) == exchange and queue.routing_key == routing_key:
                return str(name)
    return routing_key or exchange or "celery"


def us_or_none(text: Any) -> int | None:
    """Microseconds of the ISO text in a header, None if there is none or it is something else."""
    try:
        return us_of_text(text) if isinstance(text, str) else None
    except ValueError:
        return None


def job_of(headers: dict[str, Any], delivery: dict[str, Any], max_retries: int | None = None) -> Job:
    """The attempt a message stands for. `headers` are those of protocol 2, or the body of protocol 1."""
    return emitter().job(
        SYSTEM,
        queue_of(delivery.get("exchange"), delivery.get("routing_key")),
        headers.get("shadow") or headers["task"],
        headers["id"],
        (headers.get("retries") or 0) + 1,
        max_attempts=None if max_retries is None else max_retries + 1,
        parent_job_id=headers.get("parent_id"),
        batch_id=headers.get("group"),
        traceparent=headers.get("traceparent"),  # OpenTelemetry's propagation
    )


def job_of_request(task: Any, request: Any) -> Job:
    """The attempt of a `task.request`."""
    delivery, max_retries = request.delivery_info or {}, task.max_retries
    return emitter().job(
        SYSTEM,
        queue_of(delivery.get("exchange"), delivery.get("routing_key")),
        request.shadow or task.name,
        request.id,
        request.retries + 1,
        max_attempts=None if max_retries is None else max_retries + 1,
        parent_job_id=request.parent_id,
        batch_id=request.group,
        traceparent=getattr(request, "traceparent", None) or (request.headers or {}).get("traceparent"),
    )


def enqueued_us_of(request: Any) -> int | None:
    """When the attempt was published, if the publisher has our hook too."""
    return us_or_none(getattr(request, ENQUEUED_AT, None) or (request.headers or {}).get(ENQUEUED_AT))
