"""Decoded events to rows of `job_events`, `worker_snapshots`, `deploys` and `queue_states`. Pure.

Not attempts (`executions`) and no decision which events are taken (`batch`). A row depends on nothing but the Kafka record, so a
redelivered record gives the same row. DateTime64 values are integers in the column's unit (µs, `ingested_at` ms).
"""

from __future__ import annotations

from jobtide.sinks.inserts import Row
from jobtide.streams.events import JobEvent, QueueEvent, WorkerEvent
from jobtide.streams.events.data import QueueSnapshotData
from jobtide.streams.events.types import DeployMarked, EmitterStats

PAUSED = "queue.paused"

OtherEvent = QueueEvent | DeployMarked | EmitterStats

EVENT_COLUMNS = (
    "tenant", "environment", "system", "queue", "job_class", "job_id", "attempt", "type", "time", "reported_at", "event_id", "epoch",
    "lane", "seq", "worker_id", "enqueued_at", "started_at", "run_at", "duration_us", "error_class", "error_message", "error_backtrace",
    "backfill", "data", "source", "kafka_partition", "kafka_offset", "ingested_at",
)  # fmt: skip

WORKER_COLUMNS = (
    "tenant", "environment", "system", "worker_id", "time", "type", "kafka_partition", "status", "hostname", "pid", "tag", "version",
    "queues", "concurrency", "busy", "running", "processed", "failed", "rss_bytes", "cpu_percent", "epoch", "lane", "seq", "event_id",
    "ingested_at",
)  # fmt: skip

DEPLOY_COLUMNS = ("tenant", "environment", "system", "queue", "release", "time", "actor", "url", "note", "event_id", "ingested_at")
QUEUE_COLUMNS = (
    "tenant", "environment", "system", "queue", "time", "type", "ready", "scheduled", "retry", "dead", "running", "oldest_ready_at", "paused",
    "actor", "event_id", "ingested_at",
)  # fmt: skip


def job_row(event: JobEvent, raw: bytes, at_us: int, partition: int, offset: int, append_us: int) -> Row:
    """`raw` is the JSON of `data`; `at_us` the event's time, clamped. The claimed time is kept if it was."""
    d = event.data
    error = d.error
    return (
        d.tenant, d.environment, d.system, d.queue, d.job_class, d.job_id, d.attempt, event.name, at_us,
        None if at_us == event.time_us else event.time_us, event.id, event.epoch or "", event.lane, event.seq, d.worker_id or "",
        d.enqueued_us, d.started_us, d.run_us, None if d.duration_ms is None else round(d.duration_ms * 1000),
        "" if error is None else error.class_,
        "" if error is None else error.message or "",
        "" if error is None else error.backtrace or "",
        1 if event.backfill else 0, raw, event.source, partition, offset, append_us // 1000,
    )  # fmt: skip


def other_row(event: OtherEvent, raw: bytes, at_us: int, partition: int, offset: int, append_us: int) -> Row:
    """The same for an event that is of a queue, a release or an emitter: the columns of jobs are empty."""
    d = event.data
    return (
        d.tenant, d.environment, d.system or "", getattr(d, "queue", None) or "", "", "", 0, event.name, at_us,
        None if at_us == event.time_us else event.time_us, event.id, event.epoch or "", event.lane, event.seq, "", None, None, None, None,
        "", "", "", 1 if event.backfill else 0, raw, event.source, partition, offset, append_us // 1000,
    )  # fmt: skip


def worker_row(event: WorkerEvent, at_us: int, partition: int, append_us: int) -> Row:
    d = event.data
    return (
        d.tenant, d.environment, d.system, d.worker_id, at_us, event.name, partition, d.status or "", d.hostname or "", d.pid, d.tag or "",
        d.version or "", d.queues or [], d.concurrency, d.busy, len(d.running or ()), d.processed, d.failed, d.rss_bytes, d.cpu_percent,
        event.epoch or "", event.lane, event.seq, event.id, append_us // 1000,
    )  # fmt: skip


def deploy_row(event: DeployMarked, at_us: int, append_us: int) -> Row:
    d = event.data
    return (
        d.tenant, d.environment, d.system or "", d.queue or "", d.release, at_us, d.actor or "", d.url or "", d.note or "", event.id,
        append_us // 1000,
    )  # fmt: skip


def queue_row(event: QueueEvent, at_us: int, append_us: int) -> Row:
    """A snapshot with all it says, or a pause or a resumption."""
    d = event.data
    name = (d.tenant, d.environment, d.system, d.queue, at_us, event.name)
    if isinstance(d, QueueSnapshotData):
        paused = None if d.paused is None else int(d.paused)
        return (*name, d.ready, d.scheduled, d.retry, d.dead, d.running, d.oldest_ready_us, paused, "", event.id, append_us // 1000)
    return (*name, None, None, None, None, None, None, int(event.name == PAUSED), d.actor or "", event.id, append_us // 1000)
