"""The shape of answers about single jobs: rows of `/v1/jobs` and the timeline of one job.

Models only. The timeline is put together in `timeline`.
"""

from __future__ import annotations

from typing import Any, Literal

from jobtide.query.answers import Answer, QueueKey
from pydantic import BaseModel, ConfigDict, Field

State = Literal["waiting", "running", "finished", "failed", "cancelled", "discarded"]


class ErrorOut(BaseModel):
    """Why an attempt failed, as the worker said."""

    model_config = ConfigDict(populate_by_name=True)
    class_: str = Field(alias="class", examples=["Timeout::Error"])
    message: str = Field(examples=["execution expired"])
    fingerprint: str | None = Field(None, description="The same for errors of one cause, if the emitter says so.")


class JobRow(QueueKey):
    """One attempt of one job."""

    job_class: str = Field(examples=["SendInvoice"])
    job_id: str = Field(examples=["6f9b0c"])
    attempt: int = Field(description="1-based.", examples=[2])
    state: State
    dead: bool = Field(description="The backend has given the job up.")
    retried: bool = Field(description="A further attempt was scheduled.")
    worker_id: str | None
    at: str = Field(
        description="When it came into its state; lists are ordered by it, newest first, and the range is about it."
    )
    enqueued_at: str | None
    eligible_at: str | None = Field(description="Not before this: a delay or a back-off.")
    started_at: str | None
    finished_at: str | None = Field(description="When it ended, however it ended.")
    wait_ms: float | None = Field(
        description="started − max(enqueued, eligible), as found: below zero where clocks disagree."
    )
    run_ms: float | None
    error: ErrorOut | None


class AttemptRow(JobRow):
    """One attempt in a timeline: its facts, and what is between it and the attempt before."""

    gap_before_ms: float | None = Field(
        description="From the end of the attempt before to this one's start, in the same queue."
    )
    backoff_ms: float | None = Field(description="Of this gap, waiting on purpose: from that end until eligible.")
    unseen: list[str] = Field(
        description="Events that must have happened and never arrived.", examples=[["job.started"]]
    )


class EventRow(QueueKey):
    """One event as it arrived."""

    at: str
    type: str = Field(examples=["job.started"])
    event_id: str
    job_class: str
    attempt: int
    worker_id: str | None
    since_previous_ms: float | None = Field(
        description="Time since the event before in this list; null on the first of a page."
    )
    error: ErrorOut | None
    backfill: bool = Field(description="Sent later for history only: not in live numbers.")
    source: str
    data: dict[str, Any] = Field(description="The event's own data, whole.")


class Timeline(Answer):
    """All that is known of a job id: its attempts, in all queues and backends that used it, and their events in
    order.
    """

    job_id: str
    state: State | None = Field(description="Of the latest attempt; null if only signs of life are known.")
    dead: bool
    attempts: list[AttemptRow]
    events: list[EventRow]
    next_cursor: str | None = Field(description="For the next page of events; every page has all attempts.")
    turnaround_ms: float | None = Field(
        description="First enqueue to the end of the latest attempt; null while it has not ended."
    )
    wait_ms: float | None = Field(description="All attempts' waits.")
    run_ms: float | None = Field(description="All attempts' run times.")
