"""The shape of every answer: the envelope with range, watermark and completeness, and the rows of series, queues and
classes.

Models only; no reading, no choosing. Times are RFC 3339 UTC texts, durations `*_ms` floats. Rows of jobs are in
`job_answers`, of workers and emitters in `fleet_answers`. The models are the OpenAPI document, so the descriptions
here are what clients read.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from jobtide.query.measures import COUNTS, Totals, percentiles_ms
from jobtide.query.ranges import Range
from jobtide.query.selection import SERIES_PARTS, Key
from jobtide.streams.events import time_text
from jobtide.streams.sketches import histogram
from jobtide.streams.sketches.histogram import Histogram
from pydantic import BaseModel, ConfigDict, Field

Row = TypeVar("Row")
Source = Literal["live", "history"]

RATIO_EXAMPLE = 0.9998


class RangeOut(BaseModel):
    """The half-open stretch of event time that was answered: from ≤ t < to."""

    model_config = ConfigDict(populate_by_name=True)
    from_: str = Field(alias="from", examples=["2026-11-22T04:00:00.000000Z"])
    to: str = Field(examples=["2026-11-22T04:15:00.000000Z"])
    last: str | None = Field(None, description="The asked `last`, if it was one.", examples=["15m"])


class Completeness(BaseModel):
    """How much of what emitters numbered has arrived. An event that never came cannot say its queue, so this is per
    tenant and system.
    """

    received: int = Field(description="Numbered events that arrived, each once.", examples=[149_997])
    duplicates: int | None = Field(
        description="Further copies of them; null in history, which keeps none.", examples=[12]
    )
    missing: int = Field(description="Sequence numbers not seen, now; they may still come.", examples=[3])
    lost: int | None = Field(
        description="Of these, missing for more than 15 minutes; null if history is asked.", examples=[3]
    )
    unclean_epochs: int | None = Field(
        description="Emitter processes that did not say goodbye and are silent: their last loss is unknown.",
        examples=[0],
    )
    ratio: float | None = Field(
        description="received / (received + missing); null if nothing was numbered.", examples=[RATIO_EXAMPLE]
    )


class Answer(BaseModel):
    """What every answer says about itself."""

    range: RangeOut
    watermark: str | None = Field(description="How far event time has come.", examples=["2026-11-22T04:14:58.000000Z"])
    complete_until: str | None = Field(
        description="Everything before this is in the numbers, as far as it arrived.",
        examples=["2026-11-22T04:14:58.000000Z"],
    )
    completeness: Completeness | None = Field(description="null if it cannot be known now; see `degraded`.")
    source: Source = Field(
        description="`live`: hot state, for last=1m|5m|15m|1h; `history`: ClickHouse, for everything else."
    )
    degraded: list[str] = Field(
        default_factory=list, description="What is out of reach and how the answer differs for it."
    )


class Page(Answer, Generic[Row]):
    """A list: at most `limit` items; the rest is behind `next_cursor`."""

    items: list[Row]
    next_cursor: str | None = Field(
        description="Give it back as `cursor` with the same parameters; null on the last page."
    )


class Stats(BaseModel):
    """A distribution in milliseconds. Quantile q of n values is the value of rank ceil(q·n), within 1 %; null without
    values.
    """

    count: int = Field(examples=[1200])
    p50: float | None = Field(examples=[12.1])
    p90: float | None = Field(examples=[40.0])
    p95: float | None = Field(examples=[55.2])
    p99: float | None = Field(examples=[130.9])
    max: float | None = Field(examples=[180.4])


class Numbers(BaseModel):
    """What was counted in the range: transitions of attempts, each once."""

    enqueued: int
    started: int
    finished: int
    failed: int
    retried: int
    dead: int
    discarded: int
    cancelled: int
    in_flight: int | None = Field(
        description="Attempts running now, whatever the range; null if hot state is out of reach."
    )
    waiting: int | None = Field(
        description="Attempts waiting now, whatever the range; null if hot state is out of reach."
    )
    oldest_waiting_at: str | None = Field(
        description="Since when the longest waiting attempt waits; null if none does."
    )
    wait_ms: Stats = Field(description="started − max(enqueued, eligible) of attempts started in the range.")
    run_ms: Stats = Field(description="Run time of attempts that finished or failed in the range.")
    run_ok_ms: Stats = Field(description="The finished ones of `run_ms`.")
    run_failed_ms: Stats = Field(description="The failed ones of `run_ms`.")
    negative_waits: int = Field(description="Waits below zero because clocks disagree: 0 in `wait_ms`, counted here.")
    failure_rate: float | None = Field(
        description="failed / (finished + failed); null if there were none.", examples=[0.02]
    )
    throughput_per_s: float | None = Field(
        description="Attempts that ended per second of the range that has passed.", examples=[20.5]
    )


class QueueKey(BaseModel):
    tenant: str = Field(examples=["acme"])
    environment: str = Field(examples=["default"])
    system: str = Field(examples=["celery"])
    queue: str = Field(examples=["mail"])


class ClassRow(Numbers, QueueKey):
    """One job class of one queue."""

    job_class: str = Field(examples=["SendInvoice"])


class Depth(BaseModel):
    """What the backend itself said of the queue, and when."""

    at: str
    ready: int | None
    scheduled: int | None
    retry: int | None
    dead: int | None
    running: int | None
    oldest_ready_at: str | None


class QueueRow(Numbers, QueueKey):
    """One queue: its classes added up, and the backend's own numbers if an emitter takes snapshots."""

    classes: int = Field(description="Job classes with something in the range.")
    paused: bool | None = Field(description="null if nothing said so.")
    depth: Depth | None = Field(description="The last queue.snapshot; null if there was none.")


class Now(BaseModel):
    """What is true now, for a series or several: not a sum over the range."""

    in_flight: int = 0
    waiting: int = 0
    oldest_waiting_us: int | None = None

    def add(self, other: Now) -> None:
        self.in_flight += other.in_flight
        self.waiting += other.waiting
        oldest = [us for us in (self.oldest_waiting_us, other.oldest_waiting_us) if us is not None]
        self.oldest_waiting_us = min(oldest) if oldest else None


def stats(values: Histogram) -> Stats:
    return Stats(count=histogram.count(values), **percentiles_ms(values))


def numbers(totals: Totals, now: Now | None, seconds: float) -> dict[str, Any]:
    """The fields of Numbers; `seconds` is the length of the range that has passed."""
    return {
        **{name: getattr(totals, name) for name in COUNTS},
        "in_flight": now.in_flight if now else None,
        "waiting": now.waiting if now else None,
        "oldest_waiting_at": optional_text(now.oldest_waiting_us) if now else None,
        "wait_ms": stats(totals.wait),
        "run_ms": stats(totals.run),
        "run_ok_ms": stats(totals.run_ok),
        "run_failed_ms": stats(totals.run_failed),
        "failure_rate": totals.failure_rate,
        "throughput_per_s": round(totals.terminal / seconds, 6) if seconds > 0 else None,
    }


def named(key: Key) -> dict[str, Any]:
    """The parts of a key by their names."""
    return dict(zip(SERIES_PARTS, key, strict=False))


def range_out(range_: Range) -> RangeOut:
    return RangeOut.model_validate(
        {"from": time_text(range_.from_us), "to": time_text(range_.to_us), "last": range_.last}
    )


def optional_text(us: int | None) -> str | None:
    return None if us is None else time_text(us)
