"""The `data` member of each event family, as bounded structs.

Not the envelope (see `types`) and not meaning (see the folds). `*_us` members are no part of the contract: decode
computes them from the text members, so that nobody parses a time twice. Optional members take null as absent.
"""

from __future__ import annotations

from typing import Annotated

from jobtide.streams.events import fields as f
from msgspec import Meta, Struct, field


class Error(Struct, gc=False):
    """What went wrong in a job; `fingerprint` groups errors whose messages differ only in masked parts."""

    class_: f.Name = field(name="class")
    message: f.Message | None = None
    backtrace: f.Backtrace | None = None
    fingerprint: Annotated[str, Meta(max_length=64)] | None = None


class JobData(Struct, gc=False, kw_only=True):
    """One attempt of one job. `attempt` counts from 1; `run_at` is when it becomes eligible."""

    tenant: f.Tenant
    environment: f.Environment = "default"
    system: f.System
    queue: f.Name
    job_class: f.Name
    job_id: f.Name
    attempt: f.Attempt
    worker_id: f.Name | None = None
    enqueued_at: f.Timestamp | None = None
    run_at: f.Timestamp | None = None
    started_at: f.Timestamp | None = None
    duration_ms: f.Milliseconds | None = None
    wait_ms: f.Milliseconds | None = None
    expected_ms: f.Milliseconds | None = None
    error: Error | None = None
    max_attempts: f.Attempts | None = None
    priority: f.Priority | None = None
    progress: f.Ratio | None = None
    step: f.Text | None = None
    reason: f.Text | None = None
    parent_job_id: f.Name | None = None
    batch_id: f.Name | None = None
    args_preview: f.Preview | None = None
    payload_bytes: f.Count | None = None
    labels: f.Labels | None = None
    truncated: bool | None = None
    enqueued_us: f.MaybeMicroseconds = None
    started_us: f.MaybeMicroseconds = None
    run_us: f.MaybeMicroseconds = None


class RunData(JobData, gc=False, kw_only=True):
    """An attempt that a worker holds or held."""

    worker_id: f.Name


class FailedData(RunData, gc=False, kw_only=True):
    """An attempt that raised."""

    error: Error


class DeadData(JobData, gc=False, kw_only=True):
    """A job with no tries left; the worker may be unknown (reaped by a timeout)."""

    error: Error


class RetryData(JobData, gc=False, kw_only=True):
    """A next attempt was put off to `run_at`."""

    run_at: f.Timestamp


class RunningJob(Struct, gc=False):
    """One attempt a worker holds now; tenant, environment and system are the worker's."""

    queue: f.Name
    job_id: f.Name
    attempt: f.Attempt
    started_at: f.Timestamp | None = None
    started_us: f.MaybeMicroseconds = None


class WorkerData(Struct, gc=False, kw_only=True):
    """A worker process (or thread, where a backend counts threads).

    `running` is this partition's slice of what it holds; only a `complete` slice may say that an attempt is gone.
    """

    tenant: f.Tenant
    system: f.System
    worker_id: f.Name
    environment: f.Environment = "default"
    hostname: f.Text | None = None
    pid: f.Count | None = None
    tag: f.Text | None = None
    status: Annotated[str, Meta(max_length=32)] | None = None
    queues: Annotated[list[f.Name], Meta(max_length=64)] | None = None
    concurrency: f.Count | None = None
    busy: f.Count | None = None
    running: Annotated[list[RunningJob], Meta(max_length=256)] | None = None
    complete: bool | None = None
    processed: f.Count | None = None
    failed: f.Count | None = None
    rss_bytes: f.Count | None = None
    cpu_percent: f.Percent | None = None
    interval_ms: f.Milliseconds | None = None
    version: f.Short | None = None
    reason: f.Text | None = None


class QueueData(Struct, gc=False, kw_only=True):
    """A queue that was paused or resumed, by whom and why."""

    tenant: f.Tenant
    system: f.System
    queue: f.Name
    environment: f.Environment = "default"
    actor: f.Text | None = None
    reason: f.Text | None = None


class QueueSnapshotData(Struct, gc=False, kw_only=True):
    """A queue's own counters, as the backend reports them, from one elected emitter."""

    tenant: f.Tenant
    system: f.System
    queue: f.Name
    ready: f.Count
    environment: f.Environment = "default"
    scheduled: f.Count | None = None
    retry: f.Count | None = None
    dead: f.Count | None = None
    running: f.Count | None = None
    oldest_ready_at: f.Timestamp | None = None
    paused: bool | None = None
    oldest_ready_us: f.MaybeMicroseconds = None


class DeployData(Struct, gc=False, kw_only=True):
    """A release went out; `system` and `queue` narrow it where only a part of the tenant's workers changed."""

    tenant: f.Tenant
    release: f.Name
    environment: f.Environment = "default"
    system: f.System | None = None
    queue: f.Name | None = None
    actor: f.Text | None = None
    url: Annotated[str, Meta(max_length=2048)] | None = None
    note: f.Preview | None = None


class StatsData(Struct, gc=False, kw_only=True):
    """What one emitter process has sent so far: `next` is lane ("0".."63") -> the next seq it will use there.

    `clean` marks the last one of a process that ended in order. `epoch` names the process where the event itself is not
    numbered (HTTP emitters, which let the gateway place it).
    """

    tenant: f.Tenant
    next: Annotated[dict[Annotated[str, Meta(min_length=1, max_length=2)], f.Seq], Meta(max_length=64)]
    emitted: f.Count
    dropped: f.Count
    spooled: f.Count
    environment: f.Environment = "default"
    system: f.System | None = None
    truncated: f.Count | None = None
    clean: bool | None = None
    epoch: f.Epoch | None = None
    interval_ms: f.Milliseconds | None = None


Data = JobData | WorkerData | QueueData | QueueSnapshotData | DeployData | StatsData
