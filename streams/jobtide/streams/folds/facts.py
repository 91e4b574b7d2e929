"""The words in which attempts are spoken of: names, outcomes, facts, contributions. Plain data; the rules are in `attempts`."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from mypy_extensions import mypyc_attr


class AttemptKey(NamedTuple):
    """Names one attempt. BullMQ repeats job ids across queues, so the queue belongs to it."""

    tenant: str
    environment: str
    system: str
    queue: str
    job_id: str
    attempt: int


class Outcome(IntEnum):
    """How an attempt ended; a higher one wins when emitters disagree. NONE: it has not."""

    NONE = 0
    DISCARDED = 1
    CANCELLED = 2
    FAILED = 3
    FINISHED = 4


FactsRecord = tuple[
    str, str, int | None, int | None, int | None, int | None, int | None, int, int | None, int | None, int | None, int | None
]  # fmt: skip


@mypyc_attr(acyclic=True)
class AttemptFacts:
    """The joined facts of an attempt. Times in µs since the epoch, None = not known. `record` is what a checkpoint holds of it."""

    __slots__ = (
        "dead_us", "duration_us", "eligible_us", "enqueued_us", "implied_us", "job_class", "outcome", "outcome_us", "queued_us", "retried_us",
        "started_us", "worker_id",
    )  # fmt: skip

    def __init__(
        self, job_class: str = "", worker_id: str = "", enqueued_us: int | None = None, queued_us: int | None = None,
        eligible_us: int | None = None, started_us: int | None = None, implied_us: int | None = None, outcome: int = 0,
        outcome_us: int | None = None, duration_us: int | None = None, dead_us: int | None = None, retried_us: int | None = None,
    ) -> None:  # fmt: skip
        self.job_class, self.worker_id = job_class, worker_id
        self.enqueued_us = enqueued_us  # counted as enqueued at this time
        self.queued_us = queued_us  # what events say of the enqueue time: basis of the wait, not counted
        self.eligible_us = eligible_us  # not before this (delay, back-off)
        self.started_us = started_us  # from started events
        self.implied_us = implied_us  # from outcomes whose started event has not come
        self.outcome, self.outcome_us, self.duration_us = outcome, outcome_us, duration_us
        self.dead_us, self.retried_us = dead_us, retried_us

    def record(self) -> FactsRecord:
        return (
            self.job_class, self.worker_id, self.enqueued_us, self.queued_us, self.eligible_us, self.started_us, self.implied_us, self.outcome,
            self.outcome_us, self.duration_us, self.dead_us, self.retried_us,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AttemptFacts) and self.record() == other.record()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"AttemptFacts{self.record()!r}"


class Contribution(NamedTuple):
    """One transition of an attempt: counts once for `field` at `time_us`; `sample_us` is the wait (of STARTED) or run time with it."""

    field: int
    time_us: int
    sample_us: int | None = None
