"""The words in which attempts are spoken of: names, outcomes, facts, contributions. Plain data; the rules are in `attempts`."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec


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


class AttemptFacts(msgspec.Struct, array_like=True, gc=False):
    """The joined facts of an attempt. Times in µs since the epoch, None = not known."""

    job_class: str = ""
    worker_id: str = ""
    enqueued_us: int | None = None  # counted as enqueued at this time
    queued_us: int | None = None  # what events say of the enqueue time: basis of the wait, not counted
    eligible_us: int | None = None  # not before this (delay, back-off)
    started_us: int | None = None  # from started events
    implied_us: int | None = None  # from outcomes whose started event has not come
    outcome: int = 0
    outcome_us: int | None = None
    duration_us: int | None = None
    dead_us: int | None = None
    retried_us: int | None = None


class Contribution(NamedTuple):
    """One transition of an attempt: counts once for `field` at `time_us`; `sample_us` is the wait (of STARTED) or run time with it."""

    field: int
    time_us: int
    sample_us: int | None = None
