"""The shape of answers about what sends the events: workers, emitters' epochs, and the overview of all.

Models only.
"""

from __future__ import annotations

from jobtide.query.answers import Answer, ClassRow, Numbers, Page, QueueRow
from jobtide.query.stuck_answers import StuckCounts
from pydantic import BaseModel, Field


class RunningRow(BaseModel):
    """One attempt a worker says it holds."""

    queue: str
    job_id: str
    attempt: int
    started_at: str | None


class WorkerRow(BaseModel):
    """The last that a worker said of itself."""

    tenant: str
    environment: str
    system: str
    worker_id: str = Field(examples=["host-1:4711:1"])
    status: str = Field(description="busy, idle, quiet, stopping or offline, as it said.", examples=["busy"])
    alive: bool = Field(
        description="Not offline, and heard of within three of its heartbeats (60 s if it names no interval)."
    )
    last_seen_at: str
    heartbeat_age_ms: float
    hostname: str | None
    pid: int | None
    tag: str | None
    version: str | None
    queues: list[str]
    concurrency: int | None
    busy: int | None
    processed: int | None
    failed: int | None
    rss_bytes: int | None
    cpu_percent: float | None
    clock_lag_ms: float | None = Field(
        default=None, description="How far its clock is behind the broker's, the way included; below zero it is ahead. Not kept in history."
    )
    running: list[RunningRow]


class EpochRow(BaseModel):
    """One start of one emitter process, and what arrived of the events it numbered."""

    tenant: str
    system: str
    epoch: str
    source: str
    received: int
    duplicates: int | None
    missing: int
    lost: int | None
    expected: int | None = Field(description="Events it says it made; null if it did not say.")
    clean: bool | None = Field(description="It said goodbye: nothing after that is unknown. null in history.")
    last_at: str
    ratio: float | None


class PartitionRow(BaseModel):
    """How far one source partition has come."""

    partition: int
    watermark: str
    state: str = Field(description="active, idle (nothing new: holds nobody back) or lagging.")


class CompletenessPage(Page[EpochRow]):
    """The ledger: per emitter epoch what arrived and what did not, worst first in no order but by name; sums in
    `completeness`.
    """

    rejected: int | None = Field(description="Events that broke the contract and are in the dead letters; null for one tenant.")
    live_late_dropped: int | None = Field(description="Events too late for live numbers; history has them. null for one tenant.")
    partitions: list[PartitionRow]


class WorkerCounts(BaseModel):
    total: int
    alive: int
    busy: int = Field(description="Alive and working on something.")


class Overview(Answer):
    """The installation, or the selected part of it, at a glance."""

    totals: Numbers
    queues: int
    classes: int
    workers: WorkerCounts | None = Field(description="null if hot state is out of reach.")
    stuck: StuckCounts | None = Field(description="Attempts stuck now; null if hot state is out of reach.")
    slowest_queues: list[QueueRow] = Field(description="By p95 of wait time, at most five.")
    failing_classes: list[ClassRow] = Field(
        description="By number of failures, at most five; only classes that failed."
    )
