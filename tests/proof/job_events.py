"""Job events as an emitter would send them: the smallest valid form plus what a caller sets, as plain mappings and as bytes.

Not a validator and not a log: `job_log` puts many of them together. Members that are None are left out, times are given in µs.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import orjson
from jobtide.streams.events import time_text

START_US = 1_790_000_040_000_000  # a whole minute in September 2026
SECOND = 1_000_000
MINUTE = 60 * SECOND

_TIMES = ("enqueued_at", "run_at", "started_at")
_OWN = {"failed": {"error": {"class": "Boom"}}, "dead": {"error": {"class": "Boom"}}}
_HELD = {"started", "heartbeat", "progress", "finished", "failed"}  # a worker has it, so the contract wants to know which


def job_event(
    kind: str,
    at_us: int,
    *,
    job_id: str = "job-1",
    attempt: int = 1,
    queue: str = "mail",
    job_class: str = "Welcome",
    worker_id: str | None = None,
    tenant: str = "acme",
    system: str = "celery",
    event_id: str = "",
    numbered: tuple[str, int] | None = None,
    **data: Any,
) -> dict[str, Any]:
    """One CloudEvent `job.<kind>.v1`; `numbered` is (epoch, seq) in the lane its key gives. enqueued_at, run_at and started_at are in µs."""
    partitionkey = f"{tenant}/{system}/{job_id}"
    if worker_id is None and kind in _HELD:
        worker_id = "w-1"
    members = {"worker_id": worker_id, **_OWN.get(kind, {}), **data}
    for name in _TIMES:
        if members.get(name) is not None:
            members[name] = time_text(members[name])
    event: dict[str, Any] = {
        "specversion": "1.0",
        "type": f"job.{kind}.v1",
        "id": event_id or f"{kind}-{job_id}-{attempt}-{at_us}".ljust(16, "-")[-64:],
        "source": "/tests",
        "subject": job_id,
        "time": time_text(at_us),
        "partitionkey": partitionkey,
        "data": {
            "tenant": tenant, "system": system, "queue": queue, "job_class": job_class, "job_id": job_id, "attempt": attempt,
            **{name: value for name, value in members.items() if value is not None},
        },
    }  # fmt: skip
    if numbered is not None:
        event["epoch"], event["lane"], event["seq"] = numbered[0], lane_of(partitionkey), numbered[1]
    return event


def lane_of(partitionkey: str) -> int:
    return crc32(partitionkey.encode()) % 64


def value_of(*events: dict[str, Any]) -> bytes:
    """A Kafka value: one event, or a pack of several."""
    return orjson.dumps(events[0] if len(events) == 1 else events)
