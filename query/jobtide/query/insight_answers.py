"""The shape of answers about causes and courses: errors, failures, trends, peaks, latency, costs, deploys, batches, reruns, counters.

Models only. Filled by `insight` from rows of `sql/*.sql`.
"""

from __future__ import annotations

from typing import Literal

from jobtide.query.answers import Answer, QueueKey, RangeOut
from jobtide.query.job_answers import JobRow
from jobtide.query.series_answers import Point
from pydantic import BaseModel, Field

Category = Literal["network", "validation", "resource", "unknown"]


class Share(BaseModel):
    """How many of a group's failures have this in common."""

    name: str = Field(description="Empty where it is not known.", examples=["host-1"])
    failures: int = Field(examples=[12])


class ErrorGroup(BaseModel):
    """Failed attempts of one cause, as far as class and message tell causes apart."""

    tenant: str = Field(examples=["acme"])
    error_class: str = Field(examples=["Net::ReadTimeout"])
    fingerprint: str = Field(description="Of class and masked message.", examples=["06ad14e7a63bd001"])
    category: Category = Field(description="By words in class and message.")
    failures: int = Field(description="Attempts that failed with it in the range.", examples=[52])
    recovered: int = Field(description="Of these, attempts of jobs that a later attempt finished, until now.", examples=[40])
    recovered_share: float = Field(examples=[0.77])
    dead: int = Field(description="Of these, attempts after which the job was given up.", examples=[3])
    first_at: str = Field(description="First and last failure in the range.")
    last_at: str
    example_message: str = Field(description="Of the last failure.")
    example_job_id: str
    classes: list[Share] = Field(description="By job class, most first; at most 20.")
    queues: list[Share]
    hosts: list[Share] = Field(description="The part of the worker's id before its first colon.")
    releases: list[Share] = Field(description="The release that had been deployed when it failed.")


class FailureRow(JobRow):
    """One failed attempt."""

    category: Category
    release: str = Field(description="Deployed when it failed; empty if no deploy is known.")
    recovered: bool = Field(description="A later attempt of the job finished.")
    batch_id: str | None


class PeriodNumbers(BaseModel):
    range: RangeOut
    enqueued: int
    finished: int
    failed: int
    dead: int
    failure_rate: float | None
    throughput_per_s: float | None
    wait_p95_ms: float | None
    run_p95_ms: float | None


class Trend(BaseModel):
    """A period, the one of the same length before it, and the changes between them (0.1 = a tenth more; null where there is nothing to
    compare with)."""

    period: str = Field(examples=["24h"])
    now: PeriodNumbers
    before: PeriodNumbers
    finished_change: float | None
    failure_rate_change: float | None = Field(description="In parts of one: 0.02 = two percentage points more.")
    wait_p95_change: float | None
    run_p95_change: float | None


class Trends(Answer):
    """`range` is the longest period."""

    items: list[Trend]


class PeakRow(BaseModel):
    """The busiest whole minute of a key. Parts of the key that are summed over are left out."""

    tenant: str | None = None
    environment: str | None = None
    system: str | None = None
    queue: str | None = None
    job_class: str | None = None
    at: str
    ended: int = Field(description="Attempts that ended in that minute.")
    started: int
    per_s: float
    ended_in_range: int


class LatencyLine(BaseModel):
    name: Literal["wait_p50", "wait_p95", "run_p50", "run_p95"]
    direction: Literal["rising", "falling", "flat", "unknown"] = Field(
        description="By the median of all pairs' slopes; unknown with fewer than six steps that have values."
    )
    change: float | None = Field(description="Over the whole range, relative to the median of the steps: 0.5 = half more.")
    points: list[Point]


class Latency(Answer):
    """How wait and run times went, of everything that is selected."""

    step_s: int
    lines: list[LatencyLine]


class SlowRow(QueueKey):
    """A class by how slow it is."""

    job_class: str
    value_ms: float = Field(description="The asked measure in the range.")
    before_ms: float | None = Field(description="And in the range of the same length before it.")
    ratio: float | None = Field(description="value / before.")
    count: int = Field(description="Attempts behind the value.")


class CostRow(QueueKey):
    """What a class cost in worker time."""

    job_class: str
    busy_s: float = Field(description="Run time of attempts that ended in the range.")
    wasted_s: float = Field(description="Of this, of attempts that failed.")
    share: float | None = Field(description="Of all that is selected.")
    finished: int
    failed: int
    waited_s: float


class DeployRow(BaseModel):
    tenant: str
    environment: str
    system: str | None = Field(description="null: for all.")
    queue: str | None
    release: str = Field(examples=["v42"])
    at: str
    actor: str | None
    url: str | None
    note: str | None


class ChangeOut(BaseModel):
    """One measure before and after."""

    before: float | None
    after: float | None
    p: float | None = Field(description="Chance of such a difference without a cause, corrected for the number of tests; null if too few.")
    verdict: Literal["better", "worse", "same", "too_few"]


class ComparedRow(QueueKey):
    job_class: str
    attempts_before: int
    attempts_after: int
    failure_rate: ChangeOut = Field(description="Fisher's exact test.")
    run_p50_ms: ChangeOut = Field(description="Of finished attempts; Mann-Whitney test of the whole distributions.")
    slower_chance: float | None = Field(description="How often a run after is longer than a run before; 0.5 = as before.")


class Compared(Answer):
    """Each class before and after a deploy; those that got worse first. `range` is both sides together."""

    deploy: DeployRow
    min_sample: int = Field(description="Attempts needed on each side for a verdict.")
    worse: int
    better: int
    items: list[ComparedRow]


class BatchRow(BaseModel):
    """How far a batch is. A job counts once, whatever it took."""

    tenant: str
    environment: str
    batch_id: str
    total: int = Field(description="Jobs of the batch that are known so far.")
    completed: int = Field(description="Jobs of which an attempt finished.")
    failed: int = Field(description="Jobs that ended otherwise, with no attempt to come.")
    pending: int
    percent: float = Field(description="(completed + failed) / total, in percent.")
    success_rate: float | None = Field(description="completed / (completed + failed); null while nothing has ended.")
    complete: bool = Field(description="Nothing is pending.")
    attempts: int
    failed_attempts: int
    begun_at: str
    active_at: str = Field(description="When anything last happened; the completion, if complete.")
    run_s: float
    systems: list[str]
    queues: list[str] = Field(description="At most five.")
    classes: list[str] = Field(description="At most twenty.")


class RunOut(BaseModel):
    worker_id: str
    started_at: str
    ended_at: str | None = Field(description="As this worker said; null if it never did.")


class RerunRow(QueueKey):
    """One attempt that was started more than once."""

    job_class: str
    job_id: str
    attempt: int
    verdict: Literal["overlap", "again", "replaced"] = Field(
        description="overlap: two runs at once; again: one after the other had ended; replaced: after one whose end nobody told."
    )
    double_s: float = Field(description="How long more than one run went on, as far as ends are known.")
    runs: list[RunOut]


class WorkerCounters(BaseModel):
    """A worker's own counters between two heartbeats, and history's for the same time."""

    tenant: str
    environment: str
    system: str
    worker_id: str
    from_at: str
    to_at: str
    processed: int = Field(description="By the worker's own count, failures included.")
    processed_known: int = Field(description="Attempts of it that history knows to have ended then.")
    failed: int | None
    failed_known: int
    drift: int = Field(description="processed_known - processed.")


class QueueCounters(QueueKey):
    """A backend's last snapshot of a queue, and history's for that moment."""

    at: str
    ready: int | None = Field(description="As the backend said.")
    waiting_known: int
    running: int | None
    running_known: int
    drift: int | None = Field(description="waiting_known - ready.")


class CompletenessStep(BaseModel):
    at: str
    received: int
    missing: int
    ratio: float | None


class CompletenessSteps(Answer):
    """How much of what emitters numbered arrived, step by step; a missing number is told in the step of the one after it."""

    step_s: int
    items: list[CompletenessStep]
