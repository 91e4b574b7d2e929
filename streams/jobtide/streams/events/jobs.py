"""A job event as the folds read it: what they need of envelope and data side by side, in an object that can be compiled.

Not another contract: the event is decoded and judged by the same structs (`decode`). Reading a member of a struct costs compiled code ten times
what reading one of its own objects does, and the folds read some of them five times.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from jobtide.streams.errors import ContractError
from jobtide.streams.events.data import DeadData, FailedData, JobData, RetryData, RunData
from jobtide.streams.events.decode import MAX_EVENT_BYTES, decode_one
from jobtide.streams.events.names import check_owner, known
from jobtide.streams.events.time import time_us
from jobtide.streams.events.types import LAST_JOB_KIND, JobEnqueued, JobEvent
from msgspec.structs import astuple
from mypy_extensions import mypyc_attr

_EVENT: Final = JobEnqueued.__struct_fields__
_TIME: Final = _EVENT.index("time")
_EPOCH: Final = _EVENT.index("epoch")
_LANE: Final = _EVENT.index("lane")
_SEQ: Final = _EVENT.index("seq")
_BACKFILL: Final = _EVENT.index("backfill")
_DATA: Final = _EVENT.index("data")

_JOB: Final = JobData.__struct_fields__
assert all(data.__struct_fields__ == _JOB for data in (RunData, FailedData, DeadData, RetryData))
_TENANT: Final = _JOB.index("tenant")
_ENVIRONMENT: Final = _JOB.index("environment")
_SYSTEM: Final = _JOB.index("system")
_QUEUE: Final = _JOB.index("queue")
_CLASS: Final = _JOB.index("job_class")
_ID: Final = _JOB.index("job_id")
_ATTEMPT: Final = _JOB.index("attempt")
_WORKER: Final = _JOB.index("worker_id")
_ENQUEUED: Final = _JOB.index("enqueued_at")
_STARTED: Final = _JOB.index("started_at")
_RUN: Final = _JOB.index("run_at")
_DURATION: Final = _JOB.index("duration_ms")
_EXPECTED: Final = _JOB.index("expected_ms")

_BACKSLASH: Final = 92


@mypyc_attr(acyclic=True, free_list_len=1)
class Job:
    """One job event. `event` is all of it; the other members are copies."""

    __slots__ = (
        "attempt", "backfill", "duration_ms", "enqueued_us", "environment", "epoch", "event", "expected_ms", "job_class", "job_id", "kind", "lane",
        "queue", "run_us", "seq", "started_us", "system", "tenant", "time_us", "worker_id",
    )  # fmt: skip

    def __init__(self, event: JobEvent, judged: bool) -> None:
        """Of an event from `decode` (judged), or as msgspec made it: then ContractError is raised for what that could not judge."""
        envelope: tuple[Any, ...] = astuple(event)
        data: tuple[Any, ...] = astuple(envelope[_DATA])
        environment = data[_ENVIRONMENT]
        if not judged and (environment is None or (data[_TENANT], environment, data[_SYSTEM]) not in known):
            check_owner(event.data)
            environment = event.data.environment
        self.event, self.kind = event, int(event.kind)
        self.epoch: str | None = envelope[_EPOCH]
        self.lane: int | None = envelope[_LANE]
        self.seq: int | None = envelope[_SEQ]
        self.backfill: bool | None = envelope[_BACKFILL]
        self.tenant: str = data[_TENANT]
        self.environment: str = environment
        self.system: str = data[_SYSTEM]
        self.queue: str = data[_QUEUE]
        self.job_class: str = data[_CLASS]
        self.job_id: str = data[_ID]
        self.attempt: int = data[_ATTEMPT]
        self.worker_id: str | None = data[_WORKER]
        self.duration_ms: float | None = data[_DURATION]
        self.expected_ms: float | None = data[_EXPECTED]
        if judged:
            self.time_us: int = event.time_us
            self.enqueued_us: int | None = event.data.enqueued_us
            self.started_us: int | None = event.data.started_us
            self.run_us: int | None = event.data.run_us
            return
        self.time_us = time_us(envelope[_TIME])
        enqueued, started, run = data[_ENQUEUED], data[_STARTED], data[_RUN]
        self.enqueued_us = None if enqueued is None else time_us(enqueued)
        self.started_us = None if started is None else time_us(started)
        self.run_us = None if run is None else time_us(run)

    def data(self) -> JobData:
        """The event's data, computed members filled in."""
        data = self.event.data
        data.enqueued_us, data.started_us, data.run_us = self.enqueued_us, self.started_us, self.run_us
        return data


def decode_job(value: bytes) -> Job | None:
    """The job event of a value that is one small event in ASCII without escapes, or None: for anything else, good or bad, there is `decode`.

    Most values are that, and it takes a third less.
    """
    if value[:1] != b"{" or len(value) > MAX_EVENT_BYTES or _BACKSLASH in value or not value.isascii():
        return None
    try:
        event: Any = decode_one(value)
        if event.kind > LAST_JOB_KIND:
            return None
        job = Job(event, False)
    except (msgspec.MsgspecError, ContractError, RecursionError):
        return None
    if (job.seq is None or job.lane is None or job.epoch is None) and not (job.seq is None and job.lane is None and job.epoch is None):
        return None
    return job
