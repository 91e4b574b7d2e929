"""An attempt as history keeps it: its facts, with the error of its outcome and the bounds of what is known.

Pure. The facts and their join are those of the live stream (`jobtide.streams.folds.attempts`); this adds what only history keeps. The
table `job_executions` merges its rows by the same join, column by column: what one batch knows of an attempt is one row there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from jobtide.sinks.fingerprints import fingerprint
from jobtide.sinks.inserts import Row
from jobtide.streams.events import JobEvent, Kind
from jobtide.streams.events.data import Error as ToldError
from jobtide.streams.folds.attempts import OUTCOME_OF_KIND, AttemptFacts, greatest, join, least

Key = tuple[str, str, str, str, str, int]  # tenant, environment, system, queue, job_id, attempt: an AttemptKey without its cost
Error = tuple[str, str, str]  # class, message, fingerprint
NO_ERROR: Error = ("", "", "")
NO_DURATION_US = -(1 << 62)  # in the place of minus the duration: loses against any

_ENQUEUED, _SCHEDULED, _STARTED = int(Kind.ENQUEUED), int(Kind.SCHEDULED), int(Kind.STARTED)
_RETRY_SCHEDULED, _DEAD = int(Kind.RETRY_SCHEDULED), int(Kind.DEAD)
_UNCOUNTED = frozenset({int(Kind.HEARTBEAT), int(Kind.PROGRESS)})  # they tell of a running attempt nothing that counts
FINISHED = int(OUTCOME_OF_KIND[Kind.FINISHED])
FAILED = _RAN = int(OUTCOME_OF_KIND[Kind.FAILED])  # outcomes from this rank on mean that it started


class Execution(msgspec.Struct, array_like=True, gc=False):
    """`first_us`..`last_us` holds every time at which the attempt may count, an implied start included. `append_us`: newest append.

    `failed`: a failure was told of it, whatever counts in the end. `batch_id`: the greatest that was told, "" for none.
    `hashed`: 64 bits of the key, once `moves.unknown` has needed them (they cost more than all else that it does).
    """

    facts: AttemptFacts
    first_us: int
    last_us: int
    append_us: int
    error: Error = NO_ERROR
    hashed: int = 0
    batch_id: str = ""
    failed: bool = False


COLUMNS = (
    "tenant", "environment", "system", "queue", "job_id", "attempt", "job_class", "worker_id", "enqueued_at", "queued_at", "eligible_at",
    "started_at", "implied_at", "outcome", "dead_at", "retried_at", "first_at", "last_at", "ingested_at", "batch_id",
)  # fmt: skip


def key_of(event: JobEvent) -> Key:
    d = event.data
    return (d.tenant, d.environment, d.system, d.queue, d.job_id, d.attempt)


def absorb(attempts: dict[Key, Execution], key: Key, event: JobEvent, at_us: int, append_us: int) -> None:
    """Join what an event says into `attempts`; `at_us` is its clamped time. Equal to `facts_of` and `join`, without a struct for each
    event: this is the hot path of the history writer, and a property test holds the two together."""
    kind, d = event.kind, event.data
    if kind in _UNCOUNTED:
        return
    e = attempts.get(key)
    if e is None:
        e = attempts[key] = Execution(AttemptFacts(d.job_class), at_us, at_us, append_us)
    else:
        _sight(e, d.job_class, at_us, append_us)
    f = e.facts
    if d.batch_id and d.batch_id > e.batch_id:
        e.batch_id = d.batch_id
    worker_id, queued_us, run_us = d.worker_id, d.enqueued_us, d.run_us
    if worker_id and (not f.worker_id or worker_id < f.worker_id):
        f.worker_id = worker_id
    if queued_us is not None and (f.queued_us is None or queued_us < f.queued_us):
        f.queued_us = queued_us
    if kind == _RETRY_SCHEDULED:
        if f.retried_us is None or at_us < f.retried_us:
            f.retried_us = at_us
        _follow(attempts, (*key[:5], key[5] + 1), d.job_class, run_us, at_us, append_us, d.batch_id or "")
        return
    if run_us is not None and (f.eligible_us is None or run_us > f.eligible_us):
        f.eligible_us = run_us
    if kind == _STARTED:
        if f.started_us is None or at_us < f.started_us:
            f.started_us = at_us
    elif kind == _ENQUEUED or kind == _SCHEDULED:
        if f.enqueued_us is None or at_us < f.enqueued_us:
            f.enqueued_us = at_us
    elif kind == _DEAD:
        if f.dead_us is None or at_us < f.dead_us:
            f.dead_us = at_us
    else:
        _end(e, event, at_us)


def _sight(e: Execution, job_class: str, at_us: int, append_us: int) -> None:
    if at_us < e.first_us:
        e.first_us = at_us
    elif at_us > e.last_us:
        e.last_us = at_us
    if append_us > e.append_us:
        e.append_us = append_us
    if job_class < e.facts.job_class:
        e.facts.job_class = job_class


def _follow(attempts: dict[Key, Execution], key: Key, job_class: str, run_us: int | None, at_us: int, append_us: int, batch_id: str) -> None:
    """A retry was scheduled: the next attempt is enqueued then, and may not start before `run_us`."""
    e = attempts.get(key)
    if e is None:
        attempts[key] = Execution(AttemptFacts(job_class, enqueued_us=at_us, eligible_us=run_us), at_us, at_us, append_us, batch_id=batch_id)
        return
    _sight(e, job_class, at_us, append_us)
    e.batch_id = max(e.batch_id, batch_id)
    e.facts.enqueued_us = least(e.facts.enqueued_us, at_us)
    e.facts.eligible_us = greatest(e.facts.eligible_us, run_us)


def _end(e: Execution, event: JobEvent, at_us: int) -> None:
    f, d = e.facts, event.data
    outcome = OUTCOME_OF_KIND[event.kind]
    duration_us = round(d.duration_ms * 1000) if d.duration_ms is not None else None
    implied_us = d.started_us
    if implied_us is None:
        if duration_us is not None:
            implied_us = max(at_us - duration_us, 0)  # before 1970 a minute is no 32-bit number
        elif outcome >= _RAN:
            implied_us = at_us
    if implied_us is not None:
        implied_us = min(implied_us, at_us)
        if f.implied_us is None or implied_us < f.implied_us:
            f.implied_us = implied_us
        if implied_us < e.first_us:
            e.first_us = implied_us
    if outcome == FAILED:
        e.failed = True
    found = d.error
    error = NO_ERROR if found is None else _error(found)
    if not f.outcome or (outcome, -at_us, NO_DURATION_US if duration_us is None else -duration_us, *error) > outcome_of(e):
        f.outcome, f.outcome_us, f.duration_us, e.error = outcome, at_us, duration_us, error


def _error(found: ToldError) -> Error:
    message = found.message or ""
    return (found.class_, message, found.fingerprint or fingerprint(found.class_, message))


def outcome_of(e: Execution) -> tuple[int, int, int, str, str, str]:
    """The outcome as the table keeps it: the greatest wins, whole."""
    f = e.facts
    return (f.outcome, -(f.outcome_us or 0), NO_DURATION_US if f.duration_us is None else -f.duration_us, *e.error)


def merge(a: Execution, b: Execution) -> Execution:
    """Everything both know of one attempt: associative, commutative, idempotent."""
    error = max(outcome_of(a), outcome_of(b))[3:] if a.facts.outcome or b.facts.outcome else NO_ERROR
    times = (min(a.first_us, b.first_us), max(a.last_us, b.last_us), max(a.append_us, b.append_us))
    return Execution(join(a.facts, b.facts), *times, error, batch_id=max(a.batch_id, b.batch_id), failed=a.failed or b.failed)


def row(key: Key, e: Execution) -> Row:
    """One row of `job_executions`, in the order of COLUMNS."""
    f = e.facts
    return (
        *key, f.job_class, f.worker_id or None, f.enqueued_us, f.queued_us, f.eligible_us, f.started_us, f.implied_us, outcome_of(e),
        f.dead_us, f.retried_us, e.first_us, e.last_us, e.append_us // 1_000_000, e.batch_id,
    )  # fmt: skip


LIST_COLUMNS = ("list", "batch", *COLUMNS, "recovered")
MAX_RECOVERED = 100  # attempts before a finished one that are told of it


def list_rows(key: Key, e: Execution, row_: Row) -> list[Row]:
    """Its rows of `execution_lists`: copies of `row_`, its row of `job_executions`, for each list it is in. A finished attempt also
    tells those before it that the job recovered."""
    out: list[Row] = []
    if e.failed or key[5] > 1:
        out.append(("trouble", "", *row_, 0))
    if e.batch_id:
        out.append(("batch", e.batch_id, *row_, 0))
    if key[5] > 1 and e.facts.outcome == FINISHED:
        nothing = row((*key[:5], 0), Execution(AttemptFacts(e.facts.job_class), e.first_us, e.last_us, e.append_us))
        out += [("trouble", "", *key[:5], before, *nothing[6:], 1) for before in range(1, min(key[5], MAX_RECOVERED + 1))]
    return out


# What is known of the attempts of given jobs, in the order `stored_from` reads. By job and queue rather than by whole keys: ClickHouse
# parses a list of strings many times faster than one of tuples, and the few further attempts of these jobs cost nothing.
STORED = """
SELECT tenant, environment, system, queue, job_id, attempt, min(job_class), min(enqueued_at), min(queued_at), max(eligible_at),
  min(started_at), min(implied_at), min(dead_at), min(retried_at), max(outcome).1, max(outcome).2, max(outcome).3,
  min(first_at), max(last_at), max(batch_id)
FROM job_executions
WHERE (tenant, environment, system, queue) IN %(queues)s AND job_id IN %(job_ids)s
GROUP BY tenant, environment, system, queue, job_id, attempt"""


def stored_from(row: Sequence[Any]) -> tuple[Key, Execution]:
    """The key and the execution in a row of `STORED`, as far as they decide what the attempt counts for: no error, no worker."""
    rank, minus_time_us, minus_duration_us, first_us, last_us, batch_id = row[14:20]
    facts = AttemptFacts(
        job_class=row[6], enqueued_us=row[7], queued_us=row[8], eligible_us=row[9], started_us=row[10], implied_us=row[11],
        dead_us=row[12], retried_us=row[13], outcome=rank, outcome_us=-minus_time_us if rank else None,
        duration_us=None if minus_duration_us == NO_DURATION_US else -minus_duration_us,
    )  # fmt: skip
    return (row[0], row[1], row[2], row[3], row[4], row[5]), Execution(facts, first_us, last_us, 0, batch_id=batch_id, failed=rank == FAILED)
