"""What the table `failures` keeps of an attempt: that it failed and why, that it is dead, that a later attempt finished. Pure.

Beside `execution_lists`, which has everything of these attempts: this is what questions about causes count, by one number an attempt. Rows
replace each other by (fact, tenant, hash of the attempt); the greatest outcome wins, as everywhere, so they may come in any order and again.
"""

from __future__ import annotations

from jobtide.sinks.executions import FAILED, FINISHED, MAX_RECOVERED, NO_ERROR, Error, Execution, Key
from jobtide.sinks.inserts import Row
from jobtide.sinks.known import hash_of

COLUMNS = (
    "fact", "tenant", "attempt_hash", "version", "rank", "at", "environment", "system", "queue", "job_class", "job_id", "attempt", "host",
    "error_class", "error_message", "error_fingerprint", "ingested_at",
)  # fmt: skip


def rows(key: Key, e: Execution) -> list[Row]:
    """Nothing for most attempts. While it counts as failed only what knows the error is written: memory forgets errors (`moves`), but the row
    of the event that told it is there, and says all the same."""
    f, out = e.facts, list[Row]()
    if e.failed and f.outcome_us is not None and (f.outcome != FAILED or e.error != NO_ERROR):
        out.append(_row("failed", key, e, f.outcome, f.outcome_us, f.worker_id.partition(":")[0], e.error))
    if f.dead_us is not None:
        out.append(_row("dead", key, e, 0, f.dead_us))
    if key[5] > 1 and f.outcome == FINISHED:
        out += [_row("recovered", (*key[:5], before), e, 0, e.last_us) for before in range(1, min(key[5], MAX_RECOVERED + 1))]
    return out


def version_of(rank: int, at_us: int) -> int:
    """Orders outcomes: the higher rank, then the earlier time.

    >>> version_of(4, 9) > version_of(3, 1) > version_of(3, 2)
    True
    """
    return (rank << 56) + (1 << 55) - at_us


def _row(fact: str, key: Key, e: Execution, rank: int, at_us: int, host: str = "", error: Error = NO_ERROR) -> Row:
    tenant, environment, system, queue, job_id, attempt = key
    version = version_of(rank, at_us) if rank else 0
    return (
        fact, tenant, hash_of(key), version, rank, at_us, environment, system, queue, e.facts.job_class, job_id, attempt, host, *error,
        e.append_us // 1_000_000,
    )  # fmt: skip
