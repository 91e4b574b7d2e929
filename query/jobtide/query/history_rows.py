"""What the columns of the history's answers mean: rows of `sql/*.sql` to the values of `readers`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from jobtide.query.answers import Completeness, optional_text
from jobtide.query.fleet_answers import EpochRow, PartitionRow, WorkerRow
from jobtide.query.job_answers import ErrorOut, EventRow, JobRow
from jobtide.query.measures import Totals
from jobtide.query.ranges import SECOND_US
from jobtide.query.readers import Attempt, JobEvent, Progress
from jobtide.streams.events import time_text

Row = tuple[Any, ...]

ALIVE_FOR_US = 60 * SECOND_US  # a worker that names no interval is taken for gone after this


def totals(columns: Row) -> Totals:
    """Nine counts, three histograms and three sums, in the order of `counted.sql`."""
    return Totals(*columns[:9], *map(dict, columns[9:12]), *columns[12:15])


def progress(rows: Sequence[Row]) -> Progress:
    """The rows of progress.sql. An idle partition is caught up and holds nobody back, unless its last minutes are
    still to be rolled up."""
    if not rows:
        return Progress()
    holding = [rolled for _, watermark, rolled, state, _ in rows if state != "idle" or rolled < watermark]
    watermark_us = max(row[1] for row in rows)
    partitions = [PartitionRow(partition=p, watermark=time_text(w), state=state) for p, w, _, state, _ in rows]
    return Progress(watermark_us or None, min(holding, default=watermark_us) or None, partitions)


def seen_attempts(rows: Sequence[Row], events: int, attempts: int, from_us: int) -> dict[str, Any]:
    """The rows of jobs_seen.sql as parameters of jobs_newest.sql: the attempts, and the newest time at which something may have been left out,
    because there were more than so many events or attempts.

    >>> rows = [("acme", "default", "rq", "mail", "b", 1, 70, 3, 50), ("acme", "default", "rq", "mail", "a", 2, 60, 3, 50)]
    >>> [seen_attempts(rows, events, attempts, 10)["bound_us"] for events, attempts in ((9, 9), (3, 9), (9, 2))]
    [9, 50, 60]
    """
    bound_us = from_us - 1
    if rows and rows[0][7] >= events:
        bound_us = rows[0][8]
    if len(rows) >= attempts:
        bound_us = max(bound_us, rows[-1][6])
    names = ("tenants", "environments", "systems", "queues", "job_ids", "attempts")
    return {"bound_us": bound_us, **{name: [row[n] for row in rows] for n, name in enumerate(names)}}


def completeness(received: int | None, missing: int | None) -> Completeness:
    """The row of completeness.sql."""
    r, m = int(received or 0), int(missing or 0)
    return Completeness(received=r, duplicates=None, missing=m, lost=None, unclean_epochs=None, ratio=ratio(r, m))


def milliseconds(us: int | None) -> float | None:
    return None if us is None else us / 1000


def attempt(row: Row) -> Attempt:
    """A row of jobs.sql or timeline_attempts.sql."""
    tenant, environment, system, queue, job_id, number, at_us, job_class, state, dead, retried, worker_id = row[:12]
    enqueued_us, eligible_us, started_us, finished_us, wait_us, run_us = row[12:18]
    out = JobRow(
        tenant=tenant,
        environment=environment,
        system=system,
        queue=queue,
        job_class=job_class,
        job_id=job_id,
        attempt=number,
        state=state,
        dead=bool(dead),
        retried=bool(retried),
        worker_id=worker_id or None,
        at=time_text(at_us),
        enqueued_at=optional_text(enqueued_us),
        eligible_at=optional_text(eligible_us),
        started_at=optional_text(started_us),
        finished_at=optional_text(finished_us),
        wait_ms=milliseconds(wait_us),
        run_ms=milliseconds(run_us),
        error=_error(*row[18:21]),
    )
    key = (tenant, environment, system, queue, job_id, number)
    return Attempt(out, key, at_us, enqueued_us, eligible_us, started_us, finished_us)


def _error(class_: str, message: str, fingerprint: str = "") -> ErrorOut | None:
    if not class_ and not message:
        return None
    return ErrorOut.model_validate({"class": class_, "message": message, "fingerprint": fingerprint or None})


def event(row: Row) -> JobEvent:
    """A row of timeline_events.sql."""
    tenant, environment, system, queue, job_class, number, at_us, type_, event_id, worker_id = row[:10]
    error_class, error_message, backfill, source, data = row[10:]
    out = EventRow(
        tenant=tenant,
        environment=environment,
        system=system,
        queue=queue,
        job_class=job_class,
        attempt=number,
        at=time_text(at_us),
        type=type_,
        event_id=event_id,
        worker_id=worker_id or None,
        since_previous_ms=None,
        error=_error(error_class, error_message),
        backfill=bool(backfill),
        source=source,
        data=_object(data),
    )
    return JobEvent(out, at_us)


def _object(text: str) -> dict[str, Any]:
    """An event's data as stored. It was valid JSON when it was taken in; text that is not (a store edited by hand) is
    shown as it is.
    """
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {"unreadable": text}
    return found if isinstance(found, dict) else {"unreadable": text}


def epoch(row: Row) -> EpochRow:
    """A row of epochs.sql."""
    tenant, system, name, source, received, missing, last_us = row
    return EpochRow(
        tenant=tenant,
        system=system,
        epoch=name,
        source=source,
        received=received,
        duplicates=None,
        missing=missing,
        lost=None,
        expected=None,
        clean=None,
        last_at=time_text(last_us),
        ratio=ratio(received, missing),
    )


def ratio(received: int, missing: int) -> float | None:
    """The received part of all that is known to have been numbered; None if nothing was."""
    return received / (received + missing) if received + missing else None


def worker(row: Row, now_us: int) -> WorkerRow:
    """A row of workers.sql, as it looked at `now_us`."""
    tenant, environment, system, worker_id, last_us, status, type_, hostname, pid, tag, version, queues = row[:12]
    concurrency, busy, processed, failed, rss_bytes, cpu_percent = row[12:]
    status = (
        "offline" if type_ == "worker.offline" else status or ("stopping" if type_ == "worker.stopping" else "idle")
    )
    age_us = now_us - last_us
    return WorkerRow(
        tenant=tenant,
        environment=environment,
        system=system,
        worker_id=worker_id,
        status=status,
        alive=status != "offline" and age_us < ALIVE_FOR_US,
        last_seen_at=time_text(last_us),
        heartbeat_age_ms=age_us / 1000,
        hostname=hostname or None,
        pid=pid,
        tag=tag or None,
        version=version or None,
        queues=list(queues),
        concurrency=concurrency,
        busy=busy,
        processed=processed,
        failed=failed,
        rss_bytes=rss_bytes,
        cpu_percent=cpu_percent,
        running=[],
    )
