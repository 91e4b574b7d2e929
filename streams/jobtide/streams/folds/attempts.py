"""What is known of one attempt of one job, and what it therefore counts for.

The facts of an attempt are a join-semilattice: `join` is associative, commutative and idempotent, so the order in which events arrive,
and how often, does not matter. `contributions` is a function of the facts alone. The live stream and the history both use exactly these
two, which is why their numbers agree. Not here: which attempts are remembered for how long (`partition`), panes (`panes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jobtide.streams.events import Kind
from jobtide.streams.events.data import JobData
from jobtide.streams.folds.facts import AttemptFacts as AttemptFacts
from jobtide.streams.folds.facts import AttemptKey as AttemptKey
from jobtide.streams.folds.facts import Contribution as Contribution
from jobtide.streams.folds.facts import Outcome as Outcome

# What an attempt can count for in a pane: an index into Pane.counts. Plain integers, since enum members cost 3× on the hot path.
ENQUEUED: Final = 0
STARTED: Final = 1
FINISHED: Final = 2
FAILED: Final = 3
CANCELLED: Final = 4
DISCARDED: Final = 5
DEAD: Final = 6
RETRIED: Final = 7
FIELDS: Final = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "dead", "retried")

# The field of an outcome, by its rank (Outcome.NONE counts for nothing).
OUTCOME_FIELD: Final = (-1, DISCARDED, CANCELLED, FAILED, FINISHED)


def least(a: int | None, b: int | None) -> int | None:
    """The smaller of two optional numbers; None is unknown, not small."""
    if a is None:
        return b
    return a if b is None or a <= b else b


def greatest(a: int | None, b: int | None) -> int | None:
    if a is None:
        return b
    return a if b is None or a >= b else b


def _better_outcome(a: AttemptFacts, b: AttemptFacts) -> AttemptFacts:
    """The facts whose outcome wins: the higher rank, then the earlier time, then the shorter known duration."""

    def order(f: AttemptFacts) -> tuple[int, int, int]:
        return (-f.outcome, f.outcome_us or 0, f.duration_us if f.duration_us is not None else 1 << 62)

    return a if order(a) <= order(b) else b


def least_name(a: str, b: str) -> str:
    """The smaller of two names; an empty one is unknown. (Two workers that ran one attempt: either choice is right, but it must be one.)"""
    return min(a, b) if a and b else a or b


def join(a: AttemptFacts, b: AttemptFacts) -> AttemptFacts:
    """Everything that both know of one attempt."""
    winner = _better_outcome(a, b)
    return AttemptFacts(
        job_class=least_name(a.job_class, b.job_class),
        worker_id=least_name(a.worker_id, b.worker_id),
        enqueued_us=least(a.enqueued_us, b.enqueued_us),
        queued_us=least(a.queued_us, b.queued_us),
        eligible_us=greatest(a.eligible_us, b.eligible_us),
        started_us=least(a.started_us, b.started_us),
        implied_us=least(a.implied_us, b.implied_us),
        outcome=winner.outcome,
        outcome_us=winner.outcome_us,
        duration_us=winner.duration_us,
        dead_us=least(a.dead_us, b.dead_us),
        retried_us=least(a.retried_us, b.retried_us),
    )


def facts_of(kind: int, d: JobData, at_us: int) -> Iterator[tuple[AttemptKey, AttemptFacts]]:
    """The attempts a job event speaks of, with what it says of each. `kind` and `d` are the event's; `at_us` its time, already clamped.

    One pair, or two for `job.retry_scheduled`: retrying attempt n enqueues attempt n+1, which may not start before `run_at`.
    """
    key = AttemptKey(d.tenant, d.environment, d.system, d.queue, d.job_id, d.attempt)
    facts = AttemptFacts(
        job_class=d.job_class,
        worker_id=d.worker_id or "",
        queued_us=d.enqueued_us,
    )
    if kind == Kind.RETRY_SCHEDULED:
        facts.retried_us = at_us
        yield key, facts
        follower = AttemptFacts(job_class=d.job_class, enqueued_us=at_us, eligible_us=d.run_us)
        yield key._replace(attempt=d.attempt + 1), follower
        return
    facts.eligible_us = d.run_us
    if kind in (Kind.ENQUEUED, Kind.SCHEDULED):
        facts.enqueued_us = at_us
    elif kind == Kind.STARTED:
        facts.started_us = at_us
    elif kind == Kind.DEAD:
        facts.dead_us = at_us
    elif kind in OUTCOME_OF_KIND:
        _set_outcome(facts, OUTCOME_OF_KIND[kind], at_us, d.started_us, d.duration_ms)
    yield key, facts


OUTCOME_OF_KIND: Final[dict[int, int]] = {
    int(Kind.FINISHED): int(Outcome.FINISHED),
    int(Kind.FAILED): int(Outcome.FAILED),
    int(Kind.CANCELLED): int(Outcome.CANCELLED),
    int(Kind.DISCARDED): int(Outcome.DISCARDED),
}


def _set_outcome(facts: AttemptFacts, outcome: int, at_us: int, started_us: int | None, duration_ms: float | None) -> None:
    facts.outcome, facts.outcome_us = outcome, at_us
    facts.duration_us = round(duration_ms * 1000) if duration_ms is not None else None
    if started_us is not None:
        facts.implied_us = min(started_us, at_us)  # it did not start after it ended, whatever the clock did
    elif facts.duration_us is not None:
        facts.implied_us = at_us - facts.duration_us
    elif outcome >= Outcome.FAILED:  # it ran, or it could not have failed or finished: then it started no later than this
        facts.implied_us = at_us


def start_us(f: AttemptFacts) -> int | None:
    """When the attempt started: as its started event says, else as its outcome implies."""
    return f.started_us if f.started_us is not None else f.implied_us


def measured_start_us(f: AttemptFacts) -> int | None:
    """The start if anything measured it: an outcome that carries neither start nor duration only says "no later than this"."""
    start = start_us(f)
    return None if f.started_us is None and start == f.outcome_us else start


def wait_us(f: AttemptFacts) -> int | None:
    """start - max(enqueued, eligible), as found: negative where clocks disagree. None if either end is not known."""
    basis, start = least(f.enqueued_us, f.queued_us), measured_start_us(f)
    if basis is None or start is None:
        return None
    return start - (basis if f.eligible_us is None or f.eligible_us < basis else f.eligible_us)


def run_us(f: AttemptFacts) -> int | None:
    """Run time of an attempt that finished or failed: what the worker measured, else outcome - start, else None."""
    if f.outcome < Outcome.FAILED or f.outcome_us is None:
        return None
    if f.duration_us is not None:
        return f.duration_us
    start = measured_start_us(f)
    return None if start is None else f.outcome_us - start


def contributions(f: AttemptFacts) -> list[Contribution]:
    """All that the attempt counts for now. The order is fixed; two equal facts give equal lists."""
    out: list[Contribution] = []
    if f.enqueued_us is not None:
        out.append(Contribution(ENQUEUED, f.enqueued_us))
    start = start_us(f)
    if start is not None:
        out.append(Contribution(STARTED, start, wait_us(f)))
    if f.outcome and f.outcome_us is not None:
        out.append(Contribution(OUTCOME_FIELD[f.outcome], f.outcome_us, run_us(f)))
    if f.dead_us is not None:
        out.append(Contribution(DEAD, f.dead_us))
    if f.retried_us is not None:
        out.append(Contribution(RETRIED, f.retried_us))
    return out
