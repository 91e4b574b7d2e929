"""The shape of answers about the health of queues, the workers they want and when their backlog is gone. Models only."""

from __future__ import annotations

from typing import Literal

from jobtide.query.answers import Page, QueueKey
from jobtide.query.signals.health import Status, What
from pydantic import BaseModel, Field


class HealthReason(BaseModel):
    """A number that is over a threshold."""

    what: What
    status: Status
    value: float
    threshold: float


class QueueHealthRow(QueueKey):
    """One queue, by the last five minutes."""

    status: Status
    reasons: list[HealthReason] = Field(description="Everything that is not well, the worst first; empty if all is.")
    waiting: int
    wait_p95_ms: float | None
    failure_rate: float | None


class QueueHealthPage(Page[QueueHealthRow]):
    """The queues and, over all selected ones, the worst of their states."""

    status: Status
    healthy: int
    warning: int
    critical: int
    pipeline: list[str] = Field(description="What is wrong with the numbers themselves; empty if nothing is.")


class AdviceRow(BaseModel):
    at: str
    workers: int = Field(description="Alive then.")
    desired: int
    reason: str


class ScalingRow(QueueKey):
    """How many workers a queue wants. A signal: nothing is started or stopped."""

    advice: int = Field(description="Workers more (+2, +1) or fewer (-1) than there are; 0: as many.", examples=[2])
    desired: int | None = Field(description="Workers wanted; stands for 300 s after it changed.")
    reason: str
    since: str | None = Field(description="When the advice last changed.")
    cooldown_until: str | None = Field(description="Until then it does not change.")
    workers: int = Field(description="Alive and serving the queue; some may serve others, too.")
    busy: int
    slots: int = Field(description="Jobs they can run at once.")
    utilisation: float | None
    waiting: int
    incoming_per_s: float
    processed_per_s: float
    history: list[AdviceRow] = Field(description="The last 50 changes, oldest first.")


class ScoreRow(BaseModel):
    """A forecast, and how it turned out."""

    made_at: str
    waiting: int
    expected_at: str
    cleared_at: str
    inside: bool = Field(description="It was gone within the interval.")
    error: float = Field(description="How far off the expected time was, as a share of how long it took.")


class ForecastRow(QueueKey):
    """When a queue's backlog is gone."""

    waiting: int
    state: Literal["none", "shrinking", "growing"] = Field(description="none: fewer than ten jobs wait.")
    drain_per_s: float = Field(description="How fast it shrinks: started less enqueued, over five minutes.")
    earliest_at: str | None
    expected_at: str | None
    latest_at: str | None = Field(description="null while shrinking: it may also not shrink at all.")
    clear_s: float | None = Field(description="Seconds from the watermark to `expected_at`.")
    scored: int = Field(description="Forecasts of this queue whose backlog is gone by now.")
    inside: int = Field(description="Of these, those within their interval; nine in ten are meant to be.")
    scores: list[ScoreRow] = Field(description="The last ten.")
