"""The shape of answers about stuck work. Models only."""

from __future__ import annotations

from typing import Literal

from jobtide.query.answers import Page
from jobtide.streams.snapshots import LimitSource, Severity, Verdict
from pydantic import BaseModel, Field


class StuckRow(BaseModel):
    """One attempt that is late, slow, lost or runs twice, with the evidence."""

    tenant: str
    environment: str
    system: str
    queue: str
    job_class: str
    job_id: str
    attempt: int
    verdict: Verdict = Field(
        description="late: nobody has started it; slow: over its limit, its worker alive; lost: its worker is gone; "
        "duplicate: more than one worker runs it now."
    )
    severity: Severity = Field(
        description="By age: low under 30 min, medium under 1 h, high under 2 h, critical from there."
    )
    since: str = Field(description="When it started, or (late) could have started.")
    age_ms: float = Field(description="How long ago that is, at the stream's watermark.")
    limit_ms: float = Field(description="How long it may take before it is stuck.")
    limit_source: LimitSource = Field(
        description="expected: the emitter's `expected_ms`; baseline: max(60 s, 3 × p99, 2 × max) of the class; ladder: "
        "10 min, the class has taught nothing yet; heartbeat: how long silence of its worker is waited for."
    )
    p99_ms: float | None = Field(
        description="Of the class in the last 30 to 60 days: successful runs, or (late) waits; null if there are none."
    )
    expected_ms: float | None
    worker_id: str | None
    other_workers: list[str] = Field(description="duplicate: the further workers that run it now.")
    heartbeat_age_ms: float | None = Field(description="Since its worker was last heard of; null if it never was.")
    lost_because: Literal["offline", "silent", "dropped"] | None = Field(
        description="offline: its worker said goodbye; silent: no heartbeats any more; dropped: two complete heartbeats "
        "of its worker did not name it."
    )
    last_event_at: str = Field(description="The last that was heard of the attempt itself.")
    next: str = Field(description="What to do next.")


class StuckCounts(BaseModel):
    """Stuck attempts now, by verdict."""

    late: int = 0
    slow: int = 0
    lost: int = 0
    duplicate: int = 0
    unjudged: int = Field(
        0, description="Further old attempts that were not looked at one by one: at most 200 a class and partition are."
    )


class StuckPage(Page[StuckRow]):
    """Stuck attempts, the longest first; `counts` is of all selected ones, whatever the other filters."""

    counts: StuckCounts


class StuckSeriesRow(StuckCounts):
    """One class in the live stream: how many are stuck, and the longest of them."""

    tenant: str
    environment: str
    system: str
    queue: str
    job_class: str
    longest: list[StuckRow] = Field(description="At most ten.")
