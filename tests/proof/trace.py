"""The real trace (a Czech computing grid, first quarter of 2013): found, read, moved in time, and told as events.

Not part of the repository: it lies in `../shared/traces` beside the checkout, or where JOBTIDE_TEST_TRACE says. Two rows have no end
(it is 0, so their run time is hugely negative); they are kept as they are.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

from tests.proof.recount import Attempt

VARIABLE = "JOBTIDE_TEST_TRACE"
BESIDE = Path(__file__).parents[3] / "shared" / "traces" / "wagap-2013.csv.gz"
SYSTEM = "grid"
LANES = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def find() -> Path | None:
    """Where the trace is; None if it is nowhere."""
    path = Path(os.environ.get(VARIABLE) or BESIDE)
    return path if path.exists() else None


def why_not() -> str:
    return f"no trace at {os.environ.get(VARIABLE) or BESIDE}: put it there, or name it in {VARIABLE}"


def read(path: Path) -> list[Attempt]:
    """Every row as an attempt that finished; series are (grid, queue, user)."""
    with gzip.open(path, "rt", newline="") as file:
        return [_attempt(row) for row in csv.DictReader(file)]


def _attempt(row: dict[str, str]) -> Attempt:
    submit, wait, run = (int(row[name]) * 1_000_000 for name in ("submit_epoch_s", "wait_s", "run_s"))
    started = submit + wait
    return Attempt(
        (SYSTEM, row["queue"], f"user-{row['user']}"), row["job_id"], 1, submit,
        started_us=started, ended_us=started + run, run_us=run, outcome="finished",
    )  # fmt: skip


def moved(attempts: Iterable[Attempt], until_us: int, lasting_us: int) -> list[Attempt]:
    """The same jobs faster and later: everything from the first submit to the last lies in `lasting_us` before `until_us`, and what
    happens from then on has not happened yet. Rows whose end is missing never end."""
    rows = list(attempts)
    first = min(row.enqueued_us for row in rows)
    last = max(row.enqueued_us for row in rows)

    def at(us: int) -> int:
        return until_us - lasting_us + (us - first) * lasting_us // (last - first + 1)

    return [_as_of(row, at, until_us) for row in rows]


def _as_of(row: Attempt, at: Any, until_us: int) -> Attempt:
    assert row.started_us is not None and row.ended_us is not None
    started, ended = at(row.started_us), at(row.ended_us)
    out = replace(row, enqueued_us=at(row.enqueued_us), started_us=started, ended_us=ended, run_us=ended - started)
    if row.ended_us < row.started_us or ended >= until_us:
        out = replace(out, ended_us=None, run_us=None, outcome=None)
    return replace(out, started_us=None) if started >= until_us else out


def events(attempts: Iterable[Attempt], tenant: str, epoch: str) -> list[dict[str, Any]]:
    """The attempts as CloudEvents in the order of their times, numbered as an emitter would."""
    found = sorted((event for attempt in attempts for event in _events(attempt, tenant)), key=lambda e: (e[0], e[1]["id"]))
    upcoming = [0] * LANES
    for _, event in found:
        lane = crc32(event["partitionkey"].encode()) & (LANES - 1)
        event |= {"epoch": epoch, "lane": lane, "seq": upcoming[lane]}
        upcoming[lane] += 1
    return [event for _, event in found]


def _events(attempt: Attempt, tenant: str) -> Iterator[tuple[int, dict[str, Any]]]:
    system, queue, job_class = attempt.series
    data: dict[str, Any] = {"tenant": tenant, "system": system, "queue": queue, "job_class": job_class, "job_id": attempt.job_id, "attempt": 1}

    def event(kind: str, at_us: int, **more: Any) -> tuple[int, dict[str, Any]]:
        return at_us, {
            "specversion": "1.0", "type": f"job.{kind}.v1", "id": f"{tenant}-{attempt.job_id}-{kind}", "source": "/grid/trace",
            "subject": attempt.job_id, "time": text(at_us), "partitionkey": f"{tenant}/{system}/{attempt.job_id}", "data": data | more,
        }  # fmt: skip

    yield event("enqueued", attempt.enqueued_us)
    if attempt.started_us is not None:
        yield event("started", attempt.started_us, worker_id="grid")
    if attempt.ended_us is not None and attempt.run_us is not None:
        measured = {"duration_ms": attempt.run_us / 1000} if attempt.run_us >= 0 else {}
        yield event("finished", attempt.ended_us, worker_id="grid", **measured)


def text(us: int) -> str:
    """RFC 3339 with microseconds."""
    return (_EPOCH + timedelta(microseconds=us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
