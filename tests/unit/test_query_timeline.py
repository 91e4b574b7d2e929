"""The story a timeline tells: gaps and back-off within a queue, what was never seen, turnaround."""

from typing import Any

from jobtide.query.job_answers import EventRow, JobRow
from jobtide.query.readers import Attempt, JobEvent
from jobtide.query.timeline import attempt_rows, event_rows, summary, unseen
from jobtide.streams.events import time_text


def attempt(
    number: int, enqueued: int | None, started: int | None, ended: int | None, eligible: int | None = None, queue: str = "q", **more: Any
) -> Attempt:
    state = "finished" if ended is not None else "running" if started is not None else "waiting"
    at_us = next((us for us in (ended, started, enqueued) if us is not None), 0)
    row = JobRow(
        tenant="t", environment="e", system="s", queue=queue, job_class="C", job_id="j", attempt=number, worker_id=None, at=time_text(at_us),
        enqueued_at=None, eligible_at=None, started_at=None, finished_at=None, error=None,
        **{"state": state, "dead": False, "retried": False, "wait_ms": None, "run_ms": None, **more},
    )  # fmt: skip
    return Attempt(row, ("t", "e", "s", queue, "j", number), at_us, enqueued, eligible, started, ended)


def test_gap_and_backoff_are_between_attempts_of_one_queue() -> None:
    rows = attempt_rows(
        [attempt(1, 0, 10_000, 20_000), attempt(2, 20_000, 95_000, 99_000, eligible=70_000), attempt(2, 20_000, 30_000, None, queue="other")], {}
    )
    assert [(r.gap_before_ms, r.backoff_ms) for r in rows] == [(None, None), (75.0, 50.0), (None, None)]


def test_a_start_before_it_was_eligible_has_no_more_backoff_than_gap() -> None:
    rows = attempt_rows([attempt(1, 0, 10_000, 20_000), attempt(2, 20_000, 30_000, None, eligible=70_000), attempt(3, 30_000, None, None)], {})
    assert (rows[1].gap_before_ms, rows[1].backoff_ms) == (10.0, 10.0)
    assert rows[2].gap_before_ms is None


def test_what_must_have_happened_and_was_not_seen_is_named() -> None:
    first = ("t", "e", "s", "q", 1)
    a1, a2 = attempt(1, 0, 1, 2), attempt(2, 3, 4, None)
    assert unseen(a1, {first: frozenset({"job.enqueued", "job.started", "job.finished"})}) == []
    assert unseen(a1, {first: frozenset({"job.scheduled", "job.finished"})}) == ["job.started"]
    assert unseen(a1, {first: frozenset({"job.finished"})}) == ["job.enqueued", "job.started"]
    assert unseen(a2, {first: frozenset({"job.retry_scheduled"}), ("t", "e", "s", "q", 2): frozenset({"job.started"})}) == []
    assert unseen(attempt(1, 0, 1, None, dead=True), {first: frozenset({"job.enqueued", "job.started", "job.dead"})}) == ["job.failed"]


def test_turnaround_ends_with_the_latest_attempt() -> None:
    done = [attempt(1, 1000, 2000, 3000, wait_ms=1.0, run_ms=1.0), attempt(2, 3000, 5000, 9000, wait_ms=2.0, run_ms=4.0)]
    assert summary(done) == {"state": "finished", "dead": False, "turnaround_ms": 8.0, "wait_ms": 3.0, "run_ms": 5.0}
    assert summary([*done, attempt(3, 9500, None, None)])["turnaround_ms"] is None
    assert summary([attempt(1, None, 1, 2)])["turnaround_ms"] is None
    assert summary([])["state"] is None


def test_events_tell_the_time_since_the_one_before() -> None:
    row = EventRow(
        tenant="t", environment="e", system="s", queue="q", at="", type="job.started", event_id="i", job_class="C", attempt=1, worker_id=None,
        since_previous_ms=None, error=None, backfill=False, source="", data={},
    )  # fmt: skip
    assert [r.since_previous_ms for r in event_rows([JobEvent(row, 1000), JobEvent(row, 4500), JobEvent(row, 4500)])] == [None, 3.5, 0.0]
