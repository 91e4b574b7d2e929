"""What the snapshots of stuck attempts mean: `streams.snapshots` to rows, in the order in which people want to see them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jobtide.query.selection import Key
from jobtide.query.stuck_answers import StuckCounts, StuckRow, StuckSeriesRow
from jobtide.streams.events import time_text
from jobtide.streams.snapshots import SeriesStuck, StuckAttempt, WorkerSnapshot

LONGEST = 10
NEXT = {
    "late": "Look for workers of this queue: are any alive, is it paused, are others ahead of it?",
    "slow": "Look at its worker: is the job making progress? If this is its normal time, it is learned after five successes; "
    "or send expected_ms.",
    "offline": "Its worker ended without finishing it. Run it again, unless the backend has put it back already.",
    "silent": "Look at its worker's host: the process was killed, stands still, or cannot reach the broker. Run it again if it is dead.",
    "dropped": "Its worker lives and does not hold it any more: it ended without saying so, or was thrown away. Look at its logs.",
    "duplicate": "Stop one of the two. Is the backend's visibility timeout shorter than the job?",
}

Workers = Mapping[Key, WorkerSnapshot]


def counts(found: Iterable[SeriesStuck]) -> StuckCounts:
    """The sum over series."""
    total = StuckCounts(unjudged=0)
    for series in found:
        for verdict, n in series.counts.items():
            setattr(total, verdict, getattr(total, verdict) + n)
        total.unjudged += series.unjudged
    return total


def ordered(found: Iterable[SeriesStuck]) -> list[tuple[tuple[int, str, str, int], SeriesStuck, StuckAttempt]]:
    """Every told attempt with its sort key, the longest first: (since, series, job_id, attempt)."""
    out = [
        ((a.since_us, "\x1f".join((s.tenant, s.environment, s.system, s.queue, s.job_class)), a.job_id, a.attempt), s, a)
        for s in found for a in s.attempts
    ]  # fmt: skip
    out.sort(key=lambda entry: entry[0])
    return out


def row(s: SeriesStuck, a: StuckAttempt, workers: Workers, now_us: int, watermark_us: int) -> StuckRow:
    """`now_us`: the clock, for how long ago the worker was heard of."""
    worker = workers.get((s.tenant, s.environment, s.system, a.worker_id))
    heard_us = max(worker.last_seen_us if worker is not None else 0, a.heartbeat_us or 0)
    return StuckRow(
        tenant=s.tenant,
        environment=s.environment,
        system=s.system,
        queue=s.queue,
        job_class=s.job_class,
        job_id=a.job_id,
        attempt=a.attempt,
        verdict=a.verdict,
        severity=a.severity,
        since=time_text(a.since_us),
        age_ms=max(0, watermark_us - a.since_us) / 1000,
        limit_ms=a.limit_us / 1000,
        limit_source=a.limit_source,
        p99_ms=None if a.p99_us is None else a.p99_us / 1000,
        expected_ms=None if a.expected_us is None else a.expected_us / 1000,
        worker_id=a.worker_id or None,
        other_workers=a.others,
        heartbeat_age_ms=max(0, now_us - heard_us) / 1000 if heard_us else None,
        lost_because=a.reason or None,
        last_event_at=time_text(a.last_event_us),
        next=NEXT[a.reason or a.verdict],
    )


def series_row(s: SeriesStuck, workers: Workers, now_us: int, watermark_us: int) -> StuckSeriesRow:
    return StuckSeriesRow(
        tenant=s.tenant,
        environment=s.environment,
        system=s.system,
        queue=s.queue,
        job_class=s.job_class,
        **counts([s]).model_dump(),
        longest=[row(s, attempt, workers, now_us, watermark_us) for attempt in s.attempts[:LONGEST]],
    )
