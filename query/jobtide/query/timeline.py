"""One job's attempts and events, as history has them, to the story they tell: gaps, back-off, what was never seen,
turnaround.

Pure. A job id may be used in several queues and backends; attempts follow each other only within one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobtide.query.job_answers import AttemptRow, EventRow
from jobtide.query.readers import Attempt, AttemptId, JobEvent, Seen


def attempt_rows(attempts: Sequence[Attempt], seen: Seen) -> list[AttemptRow]:
    """In the given order, which is that of their first events."""
    known = {_id(a): a for a in attempts}
    out = []
    for a in attempts:
        before = known.get((*a.key[:4], a.key[5] - 1))
        gap_us, backoff_us = _gap(before, a)
        row = AttemptRow(
            **a.row.model_dump(by_alias=True),
            gap_before_ms=_ms(gap_us),
            backoff_ms=_ms(backoff_us),
            unseen=unseen(a, seen),
        )
        out.append(row)
    return out


def _id(a: Attempt) -> AttemptId:
    return (*a.key[:4], a.key[5])


def _gap(before: Attempt | None, a: Attempt) -> tuple[int | None, int | None]:
    """From the end of the attempt before to this one's start, and how much of it was back-off."""
    if before is None or before.finished_us is None or a.started_us is None:
        return None, None
    gap_us = a.started_us - before.finished_us
    eligible_us = a.eligible_us if a.eligible_us is not None else before.finished_us
    return gap_us, max(0, min(eligible_us, a.started_us) - before.finished_us)


def unseen(a: Attempt, seen: Seen) -> list[str]:
    """The events that must have happened, because of what did, and did not arrive."""
    types = seen.get(_id(a), frozenset())
    before = seen.get((*a.key[:4], a.key[5] - 1), frozenset())
    out = []
    if not types & {"job.enqueued", "job.scheduled"} and "job.retry_scheduled" not in before:
        out.append("job.enqueued")
    if a.started_us is not None and "job.started" not in types:
        out.append("job.started")
    if (a.row.dead or a.row.retried) and a.finished_us is None:
        out.append("job.failed")
    return out


def event_rows(events: Sequence[JobEvent]) -> list[EventRow]:
    """With the time since the one before; the first of a page has none."""
    out: list[EventRow] = []
    previous_us: int | None = None
    for event in events:
        since_us = None if previous_us is None else event.at_us - previous_us
        out.append(event.row.model_copy(update={"since_previous_ms": _ms(since_us)}))
        previous_us = event.at_us
    return out


def summary(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """State, turnaround and sums over all attempts; the latest attempt is the one that came into its state last."""
    if not attempts:
        return {"state": None, "dead": False, "turnaround_ms": None, "wait_ms": None, "run_ms": None}
    latest = max(attempts, key=lambda a: (a.at_us, a.key))
    enqueued = [a.enqueued_us for a in attempts if a.enqueued_us is not None]
    ended_us = latest.finished_us
    return {
        "state": latest.row.state,
        "dead": any(a.row.dead for a in attempts),
        "turnaround_ms": _ms(ended_us - min(enqueued)) if ended_us is not None and enqueued else None,
        "wait_ms": _sum([a.row.wait_ms for a in attempts]),
        "run_ms": _sum([a.row.run_ms for a in attempts]),
    }


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000
