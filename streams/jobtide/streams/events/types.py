"""The event as typed structs: one class per CloudEvents `type`, a union tagged by it.

Not validation of meaning and no behaviour: `decode` fills these, folds dispatch on `kind` and read. Unknown members are
ignored at every level, as CloudEvents asks of consumers; additive changes therefore keep the version.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Literal, TypeGuard

from jobtide.streams.events import data as d
from jobtide.streams.events import fields as f
from msgspec import Struct


class Kind(IntEnum):
    """Small integers to dispatch on. `kind <= LAST_JOB_KIND` is a job event. Stored in checkpoints: never renumber."""

    ENQUEUED = 1
    SCHEDULED = 2
    STARTED = 3
    HEARTBEAT = 4
    PROGRESS = 5
    FINISHED = 6
    FAILED = 7
    RETRY_SCHEDULED = 8
    DEAD = 9
    DISCARDED = 10
    CANCELLED = 11
    WORKER_ONLINE = 21
    WORKER_HEARTBEAT = 22
    WORKER_STOPPING = 23
    WORKER_OFFLINE = 24
    QUEUE_SNAPSHOT = 31
    QUEUE_PAUSED = 32
    QUEUE_RESUMED = 33
    DEPLOY_MARKED = 41
    EMITTER_STATS = 51


LAST_JOB_KIND = int(Kind.CANCELLED)


class Envelope(Struct, gc=False, kw_only=True, tag_field="type"):
    """The CloudEvents attributes of every event. `epoch`, `lane`, `seq` are all there or all None.

    The members stand in the order in which emitters write them (`type` first): msgspec looks for the next one first.
    `time_us` is `time` in microseconds since the epoch, computed by decode.
    """

    name: ClassVar[str]  # the type without its version: "job.started"
    kind: ClassVar[Kind]

    specversion: Literal["1.0"]
    id: f.EventId
    source: f.Source
    subject: f.Subject
    time: f.Timestamp
    datacontenttype: Literal["application/json"] | None = None
    partitionkey: f.Key
    epoch: f.Epoch | None = None
    lane: f.Lane | None = None
    seq: f.Seq | None = None
    backfill: bool | None = False
    traceparent: f.Traceparent | None = None
    tracestate: str | None = None
    dataschema: str | None = None
    time_us: f.Microseconds = 0


class JobEnqueued(Envelope, gc=False, kw_only=True, tag="job.enqueued.v1"):
    name: ClassVar[str] = "job.enqueued"
    kind: ClassVar[Kind] = Kind.ENQUEUED
    data: d.JobData


class JobScheduled(Envelope, gc=False, kw_only=True, tag="job.scheduled.v1"):
    name: ClassVar[str] = "job.scheduled"
    kind: ClassVar[Kind] = Kind.SCHEDULED
    data: d.JobData


class JobStarted(Envelope, gc=False, kw_only=True, tag="job.started.v1"):
    name: ClassVar[str] = "job.started"
    kind: ClassVar[Kind] = Kind.STARTED
    data: d.RunData


class JobHeartbeat(Envelope, gc=False, kw_only=True, tag="job.heartbeat.v1"):
    name: ClassVar[str] = "job.heartbeat"
    kind: ClassVar[Kind] = Kind.HEARTBEAT
    data: d.RunData


class JobProgress(Envelope, gc=False, kw_only=True, tag="job.progress.v1"):
    name: ClassVar[str] = "job.progress"
    kind: ClassVar[Kind] = Kind.PROGRESS
    data: d.RunData


class JobFinished(Envelope, gc=False, kw_only=True, tag="job.finished.v1"):
    name: ClassVar[str] = "job.finished"
    kind: ClassVar[Kind] = Kind.FINISHED
    data: d.RunData


class JobFailed(Envelope, gc=False, kw_only=True, tag="job.failed.v1"):
    name: ClassVar[str] = "job.failed"
    kind: ClassVar[Kind] = Kind.FAILED
    data: d.FailedData


class JobRetryScheduled(Envelope, gc=False, kw_only=True, tag="job.retry_scheduled.v1"):
    name: ClassVar[str] = "job.retry_scheduled"
    kind: ClassVar[Kind] = Kind.RETRY_SCHEDULED
    data: d.RetryData


class JobDead(Envelope, gc=False, kw_only=True, tag="job.dead.v1"):
    name: ClassVar[str] = "job.dead"
    kind: ClassVar[Kind] = Kind.DEAD
    data: d.DeadData


class JobDiscarded(Envelope, gc=False, kw_only=True, tag="job.discarded.v1"):
    name: ClassVar[str] = "job.discarded"
    kind: ClassVar[Kind] = Kind.DISCARDED
    data: d.JobData


class JobCancelled(Envelope, gc=False, kw_only=True, tag="job.cancelled.v1"):
    name: ClassVar[str] = "job.cancelled"
    kind: ClassVar[Kind] = Kind.CANCELLED
    data: d.JobData


class WorkerOnline(Envelope, gc=False, kw_only=True, tag="worker.online.v1"):
    name: ClassVar[str] = "worker.online"
    kind: ClassVar[Kind] = Kind.WORKER_ONLINE
    data: d.WorkerData


class WorkerHeartbeat(Envelope, gc=False, kw_only=True, tag="worker.heartbeat.v1"):
    name: ClassVar[str] = "worker.heartbeat"
    kind: ClassVar[Kind] = Kind.WORKER_HEARTBEAT
    data: d.WorkerData


class WorkerStopping(Envelope, gc=False, kw_only=True, tag="worker.stopping.v1"):
    name: ClassVar[str] = "worker.stopping"
    kind: ClassVar[Kind] = Kind.WORKER_STOPPING
    data: d.WorkerData


class WorkerOffline(Envelope, gc=False, kw_only=True, tag="worker.offline.v1"):
    name: ClassVar[str] = "worker.offline"
    kind: ClassVar[Kind] = Kind.WORKER_OFFLINE
    data: d.WorkerData


class QueueSnapshot(Envelope, gc=False, kw_only=True, tag="queue.snapshot.v1"):
    name: ClassVar[str] = "queue.snapshot"
    kind: ClassVar[Kind] = Kind.QUEUE_SNAPSHOT
    data: d.QueueSnapshotData


class QueuePaused(Envelope, gc=False, kw_only=True, tag="queue.paused.v1"):
    name: ClassVar[str] = "queue.paused"
    kind: ClassVar[Kind] = Kind.QUEUE_PAUSED
    data: d.QueueData


class QueueResumed(Envelope, gc=False, kw_only=True, tag="queue.resumed.v1"):
    name: ClassVar[str] = "queue.resumed"
    kind: ClassVar[Kind] = Kind.QUEUE_RESUMED
    data: d.QueueData


class DeployMarked(Envelope, gc=False, kw_only=True, tag="deploy.marked.v1"):
    name: ClassVar[str] = "deploy.marked"
    kind: ClassVar[Kind] = Kind.DEPLOY_MARKED
    data: d.DeployData


class EmitterStats(Envelope, gc=False, kw_only=True, tag="emitter.stats.v1"):
    name: ClassVar[str] = "emitter.stats"
    kind: ClassVar[Kind] = Kind.EMITTER_STATS
    data: d.StatsData


JobEvent = (
    JobEnqueued | JobScheduled | JobStarted | JobHeartbeat | JobProgress | JobFinished
    | JobFailed | JobRetryScheduled | JobDead | JobDiscarded | JobCancelled
)
WorkerEvent = WorkerOnline | WorkerHeartbeat | WorkerStopping | WorkerOffline
QueueEvent = QueueSnapshot | QueuePaused | QueueResumed
Event = JobEvent | WorkerEvent | QueueEvent | DeployMarked | EmitterStats


def is_job(event: Event) -> TypeGuard[JobEvent]:
    """Whether the event is about a job: its data is a `JobData`."""
    return event.kind <= LAST_JOB_KIND
