"""The query parameters, each described once: what FastAPI checks, OpenAPI shows, and every list takes.

Unknown parameters are refused: a mistyped filter that is ignored answers another question than the one asked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from jobtide.query.selection import Selection
from jobtide.query.signals.health import Status
from jobtide.streams.snapshots import Severity, Verdict
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
StateFilter = Literal["waiting", "running", "finished", "failed", "cancelled", "discarded", "dead", "retried"]
Metric = Literal[
    "enqueued", "started", "finished", "failed", "cancelled", "discarded", "retried", "dead",
    "throughput", "failure_rate",
    "wait_p50", "wait_p90", "wait_p95", "wait_p99", "wait_max", "run_p50", "run_p90", "run_p95", "run_p99", "run_max",
]  # fmt: skip
By = Literal["total", "tenant", "environment", "system", "queue", "job_class"]
CategoryFilter = Literal["network", "validation", "resource", "unknown"]
Slowness = Literal["run_p50", "run_p95", "run_p99", "wait_p50", "wait_p95", "wait_p99"]
FileFormat = Literal["csv", "ndjson", "parquet", "arrow"]
AlertState = Literal["pending", "firing", "resolved", "inactive"]
AlertSeverity = Literal["info", "warning", "critical"]
LiveWindow = Literal["1m", "5m", "15m", "1h"]

MAX_LIMIT = 1000


class SelectionParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tenant: Name | None = Field(None, description="Only this tenant.")
    environment: Name | None = Field(None, description="Only this environment.")
    system: Name | None = Field(None, description="Only this backend, such as celery or sidekiq.")
    queue: Name | None = Field(None, description="Only this queue.")
    job_class: Name | None = Field(None, description="Only this job class.")

    def selection(self) -> Selection:
        return Selection(self.tenant, self.environment, self.system, self.queue, self.job_class)


class RangeParams(SelectionParams):
    last: str | None = Field(
        None, description="A duration back from now: 90s, 15m, 36h, 7d, 2w. 1m, 5m, 15m and 1h are live."
    )
    from_: str | None = Field(None, alias="from", description="First moment, RFC 3339; instead of `last`.")
    to: str | None = Field(
        None, description="First moment that does not belong to it any more, RFC 3339; now if left out."
    )


class ListParams(RangeParams):
    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Most items on a page.")
    cursor: str | None = Field(
        None, max_length=8192, description="`next_cursor` of the page before, with the same other parameters."
    )


class JobsParams(ListParams):
    state: list[StateFilter] = Field(
        [], description="Only these; `dead` and `retried` are marks beside the state. May be repeated."
    )
    job_id: Name | None = Field(None, description="Only this job: all its attempts.")
    worker_id: Name | None = Field(None, description="Only what this worker ran.")
    error_class: Name | None = Field(None, description="Only what failed with this class of error.")


class NowParams(SelectionParams):
    limit: int = Field(50, ge=1, le=MAX_LIMIT, description="Most items on a page.")
    cursor: str | None = Field(
        None, max_length=8192, description="`next_cursor` of the page before, with the same other parameters."
    )


class HealthParams(NowParams):
    status: list[Status] = Field([], description="Only queues in these states. May be repeated.")


class StuckParams(ListParams):
    verdict: list[Verdict] = Field([], description="Only these. May be repeated.")
    severity: list[Severity] = Field([], description="Only these. May be repeated.")


class ErrorsParams(ListParams):
    error_class: Name | None = Field(None, description="Only errors of this class.")
    category: CategoryFilter | None = Field(None, description="Only errors of this kind of cause.")


class FailuresParams(ErrorsParams):
    fingerprint: Name | None = Field(None, description="Only errors with this fingerprint.")
    host: Name | None = Field(None, description="Only what failed on this host: the worker's id before its first colon.")
    dead: bool | None = Field(None, description="Only failures after which the job was, or was not, given up.")
    recovered: bool | None = Field(None, description="Only failures of jobs that a later attempt finished, or did not.")


class RankedParams(ListParams):
    by: By = Field("queue", description="What the rows are: everything together, or one per tenant, …, queue or job class.")


class SlowestParams(ListParams):
    measure: Slowness = Field("run_p95", description="What is slow: run or wait times, by which quantile.")


class PastAlertsParams(ListParams):
    rule: Name | None = Field(None, description="Only of this rule.")
    fingerprint: Name | None = Field(None, description="Only of this alert: all its episodes.")
    state: list[AlertState] = Field([], description="Only changes into these states. May be repeated.")
    severity: list[AlertSeverity] = Field([], description="Only of these severities. May be repeated.")


class DeploysParams(ListParams):
    release: Name | None = Field(None, description="Only this release.")


class BatchesParams(ListParams):
    batch_id: Name | None = Field(None, description="Only this batch.")


class SteppedParams(RangeParams):
    step: str = Field("auto", description="Length of a step: auto, or a duration of whole minutes. At most 1 000 steps.")


class SlowParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    queue: Name = Field(description="The queue.")
    tenant: Name | None = Field(None, description="Its tenant.")
    environment: Name | None = Field(None, description="Its environment.")
    system: Name | None = Field(None, description="Its backend.")
    last: str | None = Field(None, description="A duration back from now, at most 24h.")
    from_: str | None = Field(None, alias="from", description="First moment, RFC 3339; instead of `last`.")
    to: str | None = Field(None, description="First moment that does not belong to it any more, RFC 3339; now if left out.")
    worker_memory_mb: int | None = Field(None, ge=1, le=10_000_000, description="What a worker may use: with it the memory limit can be judged.")


class ExportParams(RangeParams):
    format: FileFormat = Field("csv", description="csv with names, ndjson (a JSON object per line), parquet or arrow.")


class ComparedParams(SelectionParams):
    release: Name = Field(description="The release; its latest deploy that the other parameters select.")
    window: str = Field("1h", description="How long to look before and after the deploy: a duration, at most 7d.")


class SeriesParams(ListParams):
    metric: Metric = Field(description="What to draw. Rates are per second, `wait_*` and `run_*` in ms.")
    step: str = Field("auto", description="Length of a step: auto, or a duration. At most 1 000 steps.")
    limit: int = Field(20, ge=1, le=100, description="Most lines on a page.")
    by: By = Field("total", description="One line in all, or one per tenant, environment, system, queue or job class.")


class TimelineParams(SelectionParams):
    limit: int = Field(500, ge=1, le=MAX_LIMIT, description="Most events on a page.")
    cursor: str | None = Field(
        None, max_length=8192, description="`next_cursor` of the page before, with the same other parameters."
    )


class LiveParams(SelectionParams):
    last: LiveWindow = Field("5m", description="The window of the rows.")


Selected = Annotated[SelectionParams, Query()]
Ranged = Annotated[RangeParams, Query()]
Listed = Annotated[ListParams, Query()]
Charted = Annotated[SeriesParams, Query()]
NowListed = Annotated[NowParams, Query()]
HealthListed = Annotated[HealthParams, Query()]
StuckListed = Annotated[StuckParams, Query()]
JobsListed = Annotated[JobsParams, Query()]
ErrorsListed = Annotated[ErrorsParams, Query()]
FailuresListed = Annotated[FailuresParams, Query()]
Ranked = Annotated[RankedParams, Query()]
SlowestListed = Annotated[SlowestParams, Query()]
PastAlertsListed = Annotated[PastAlertsParams, Query()]
DeploysListed = Annotated[DeploysParams, Query()]
BatchesListed = Annotated[BatchesParams, Query()]
Stepped = Annotated[SteppedParams, Query()]
Exported = Annotated[ExportParams, Query()]
SlowAsked = Annotated[SlowParams, Query()]
ComparedAsked = Annotated[ComparedParams, Query()]
Traced = Annotated[TimelineParams, Query()]
Followed = Annotated[LiveParams, Query()]
