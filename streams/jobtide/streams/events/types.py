"""The event as typed structs: one class per CloudEvents `type`, a union tagged by it.

Not validation of meaning and no behaviour: `decode` fills these, folds dispatch on `kind` and read. Unknown members are
ignored at every level, as CloudEvents asks of consumers; additive changes therefore keep the version.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Literal

from msgspec import Struct

from jobtide.streams.events import data as d
from jobtide.streams.events import fields as f


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

    `time_us` is `time` in microseconds since the epoch, computed by decode.
    """

    kind: ClassVar[int]

    specversion: Literal["1.0"]
    id: f.EventId
    source: f.Source
    subject: f.Subject
    time: f.Timestamp
    partitionkey: f.Key
    epoch: f.Epoch | None = None
    lane: f.Lane | None = None
    seq: f.Seq | None = None
    backfill: bool | None = False
    traceparent: f.Short | None = None
    tracestate: f.TraceState | None = None
    datacontenttype: Literal["application/json"] | None = None
    dataschema: f.Text | None = None
    time_us: f.Microseconds = 0


class JobEnqueued(Envelope, gc=False, kw_only=True, tag="job.enqueued.v1"):
    kind: ClassVar[int] = int(Kind.ENQUEUED)
    data: d.JobData


class JobScheduled(Envelope, gc=False, kw_only=True, tag="job.scheduled.v1"):
    kind: ClassVar[int] = int(Kind.SCHEDULED)
    data: d.JobData


class JobStarted(Envelope, gc=False, kw_only=True, tag="job.started.v1"):
    kind: ClassVar[int] = int(Kind.STARTED)
    data: d.RunData


class JobHeartbeat(Envelope, gc=False, kw_only=True, tag="job.heartbeat.v1"):
    kind: ClassVar[int] = int(Kind.HEARTBEAT)
    data: d.RunData


class JobProgress(Envelope, gc=False, kw_only=True, tag="job.progress.v1"):
    kind: ClassVar[int] = int(Kind.PROGRESS)
    data: d.RunData


class JobFinished(Envelope, gc=False, kw_only=True, tag="job.finished.v1"):
    kind: ClassVar[int] = int(Kind.FINISHED)
    data: d.RunData


class JobFailed(Envelope, gc=False, kw_only=True, tag="job.failed.v1"):
    kind: ClassVar[int] = int(Kind.FAILED)
    data: d.FailedData


class JobRetryScheduled(Envelope, gc=False, kw_only=True, tag="job.retry_scheduled.v1"):
    kind: ClassVar[int] = int(Kind.RETRY_SCHEDULED)
    data: d.RetryData


class JobDead(Envelope, gc=False, kw_only=True, tag="job.dead.v1"):
    kind: ClassVar[int] = int(Kind.DEAD)
    data: d.DeadData


class JobDiscarded(Envelope, gc=False, kw_only=True, tag="job.discarded.v1"):
    kind: ClassVar[int] = int(Kind.DISCARDED)
    data: d.JobData


class JobCancelled(Envelope, gc=False, kw_only=True, tag="job.cancelled.v1"):
    kind: ClassVar[int] = int(Kind.CANCELLED)
    data: d.JobData


class WorkerOnline(Envelope, gc=False, kw_only=True, tag="worker.online.v1"):
    kind: ClassVar[int] = int(Kind.WORKER_ONLINE)
    data: d.WorkerData


class WorkerHeartbeat(Envelope, gc=False, kw_only=True, tag="worker.heartbeat.v1"):
    kind: ClassVar[int] = int(Kind.WORKER_HEARTBEAT)
    data: d.WorkerData


class WorkerStopping(Envelope, gc=False, kw_only=True, tag="worker.stopping.v1"):
    kind: ClassVar[int] = int(Kind.WORKER_STOPPING)
    data: d.WorkerData


class WorkerOffline(Envelope, gc=False, kw_only=True, tag="worker.offline.v1"):
    kind: ClassVar[int] = int(Kind.WORKER_OFFLINE)
    data: d.WorkerData


class QueueSnapshot(Envelope, gc=False, kw_only=True, tag="queue.snapshot.v1"):
    kind: ClassVar[int] = int(Kind.QUEUE_SNAPSHOT)
    data: d.QueueSnapshotData


class QueuePaused(Envelope, gc=False, kw_only=True, tag="queue.paused.v1"):
    kind: ClassVar[int] = int(Kind.QUEUE_PAUSED)
    data: d.QueueData


class QueueResumed(Envelope, gc=False, kw_only=True, tag="queue.resumed.v1"):
    kind: ClassVar[int] = int(Kind.QUEUE_RESUMED)
    data: d.QueueData


class DeployMarked(Envelope, gc=False, kw_only=True, tag="deploy.marked.v1"):
    kind: ClassVar[int] = int(Kind.DEPLOY_MARKED)
    data: d.DeployData


class EmitterStats(Envelope, gc=False, kw_only=True, tag="emitter.stats.v1"):
    kind: ClassVar[int] = int(Kind.EMITTER_STATS)
    data: d.StatsData


JobEvent = (
    JobEnqueued | JobScheduled | JobStarted | JobHeartbeat | JobProgress | JobFinished
    | JobFailed | JobRetryScheduled | JobDead | JobDiscarded | JobCancelled
)
WorkerEvent = WorkerOnline | WorkerHeartbeat | WorkerStopping | WorkerOffline
QueueEvent = QueueSnapshot | QueuePaused | QueueResumed
Event = JobEvent | WorkerEvent | QueueEvent | DeployMarked | EmitterStats
