"""Random job traffic in the order in which it reaches Kafka, and beside it what each job counts for.

Everything follows from the seed and the start time. A job's life is drawn first; what it counts for is written down
from that life, never from the events. The events are then made of the same life: by emitters with epochs and
sequence numbers, some late by up to `DISORDER_S`, some twice, some without numbers, some never (an implied start, a
start without an enqueue). No clock, no network, none of jobtide's code.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

import orjson

S = 1_000_000  # µs
DISORDER_S = 60
EPOCH_S = 20  # an emitter process lives this long; the next has another epoch
TENANT, ENVIRONMENT, SYSTEM = "acme", "production", "celery"
QUEUES = ("mail", "bulk", "fast", "reports")
#          class, typical run in s, share of attempts that fail
CLASSES = (
    ("Welcome", 0.08, 0.05),
    ("Digest", 0.5, 0.2),
    ("Import", 3.0, 0.1),
    ("Export", 6.0, 0.3),
    ("Ping", 0.004, 0.0),
)
REFUSED = "refused"  # kind of a fact: an event, named by its id, that breaks the contract
EVENTS_PER_JOB = 3.9  # with duplicates; measured


class Fact(NamedTuple):
    """One thing that happened: counts once for `kind` at `at_us`; `sample_us` is the wait of a start, or a run time."""

    queue: str
    job_class: str
    kind: str
    at_us: int
    sample_us: int | None = None


class Arrival(NamedTuple):
    """A serialised event, `after_us` after the start of the load. `lane`: its Kafka partition is lane % partitions."""

    after_us: int
    at_us: int
    lane: int
    value: bytes


@dataclass(order=True)
class _Said:
    """An event before it has a number: by time, since an emitter numbers events in the order in which they happen."""

    at_us: int
    order: int
    arrives_us: int = field(compare=False)
    emitter: str = field(compare=False)
    event: dict[str, Any] = field(compare=False)


@cache
def _second(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(at_us: int) -> str:
    return f"{_second(at_us // S)}.{at_us % S:06d}Z"


class Traffic:
    """Traffic without end at about `events_per_s`; event times are from `start_us` - DISORDER_S on."""

    def __init__(self, seed: int, start_us: int, events_per_s: float) -> None:
        self.random = Random(seed)
        self.seed, self.start_us = seed, start_us
        self.every_us = S * EVENTS_PER_JOB / events_per_s
        self.made = 0  # different events that keep the contract
        self._numbers: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._said: list[_Said] = []
        self._arriving: list[tuple[int, int, Arrival]] = []
        self._order = 0

    def __iter__(self) -> Iterator[tuple[list[Fact], list[Arrival]]]:
        """(what a new job counts for, what arrives next). A job's facts always come before its first arrival."""
        after_us = -float(DISORDER_S * S)
        while True:
            after_us += self.random.expovariate(1 / self.every_us)
            job = _Job(self.random, self.start_us + round(after_us))
            lag_us = self._rarely_late_us()  # its host drains a spool
            arrivals = [self._arrival_us(event_us, lag_us) for event_us, _, _ in job.said]
            if min(arrivals) >= 0:
                for (event_us, emitter, event), arrival in zip(job.said, arrivals, strict=True):
                    self._order += 1
                    heapq.heappush(self._said, _Said(event_us, self._order, arrival, emitter, event))
                if self.random.random() < 0.01:
                    job.facts.append(self._break_contract(job, round(after_us)))
                yield job.facts, self._until(round(after_us))

    def rest(self) -> list[Arrival]:
        """What the jobs so far have still to say, in the order in which it would arrive."""
        return self._until(1 << 62)

    def _break_contract(self, job: _Job, after_us: int) -> Fact:
        """An event that must be found among the dead letters, among good ones in a pack or on its own."""
        event_us, _, event = job.said[0]
        broken = {**event, "id": f"broken-{job.job_id}", "source": "/broken", "data": {**event["data"], "attempt": 0}}
        lane = crc32(event["partitionkey"].encode()) % 64
        self._arrive(Arrival(max(0, after_us), event_us, lane, orjson.dumps(broken)))
        return Fact("", broken["id"], REFUSED, event_us)

    def _arrival_us(self, event_us: int, lag_us: int) -> int:
        late_us = self._rarely_late_us() or self.random.randrange(S // 5)
        return event_us - self.start_us + min(late_us + lag_us, DISORDER_S * S)

    def _rarely_late_us(self) -> int:
        return self.random.randrange(DISORDER_S * S) if self.random.random() < 0.1 else 0

    def _until(self, after_us: int) -> list[Arrival]:
        """Number what was said before `after_us`, and take what has arrived by then: no later job can add to either."""
        while self._said and self._said[0].at_us < self.start_us + after_us:
            said = heapq.heappop(self._said)
            lane, value = self._serialised(said)
            self.made += 1
            self._arrive(Arrival(said.arrives_us, said.at_us, lane, value))
            if self.random.random() < 0.2:
                again_us = said.arrives_us + round(self.random.expovariate(0.5) * S)
                self._arrive(Arrival(again_us, said.at_us, lane, value))
        out = []
        while self._arriving and self._arriving[0][0] < after_us:
            out.append(heapq.heappop(self._arriving)[2])
        return out

    def _arrive(self, arrival: Arrival) -> None:
        self._order += 1
        heapq.heappush(self._arriving, (arrival.after_us, self._order, arrival))

    def _serialised(self, said: _Said) -> tuple[int, bytes]:
        event = said.event
        lane = crc32(event["partitionkey"].encode()) % 64
        event["id"] = f"{self.seed:08x}-{self._order:012x}-{said.order:08x}"
        event["source"] = f"/{SYSTEM}/{said.emitter}"
        if said.emitter != "curl":
            epoch = f"{said.emitter}.{self.seed}.{said.at_us // (EPOCH_S * S)}"
            event["epoch"], event["lane"], event["seq"] = epoch, lane, self._numbers[epoch, lane]
            self._numbers[epoch, lane] += 1
        return lane, orjson.dumps(event)


class _Job:
    """One job's life from its enqueue at `at_us`: `facts` and `said` = [(time, emitter, event)]."""

    def __init__(self, random: Random, at_us: int) -> None:
        self.random = random
        self.queue = random.choice(QUEUES)
        self.job_class, self.typical_s, self.failing = random.choice(CLASSES)
        self.job_id = f"{random.getrandbits(64):016x}"
        self.numbered = random.random() > 0.1
        self.facts: list[Fact] = []
        self.said: list[tuple[int, str, dict[str, Any]]] = []
        if random.random() > 0.02:  # else enqueued by a program that says nothing
            self._fact("enqueued", at_us)
            self._say("enqueued", at_us, 1, f"web{random.randrange(4)}")
        self._attempt(1, at_us, at_us)

    def _attempt(self, attempt: int, queued_us: int, ready_us: int) -> None:
        """`ready_us`: when it could start, which for a retry is after it was put off."""
        random, worker = self.random, f"worker{self.random.randrange(8)}"
        wait_us = round(random.expovariate(2) * S)
        if random.random() < 0.01:
            wait_us = -random.randrange(1, S // 2)  # two clocks
        run_us = max(1, round(random.lognormvariate(0, 0.5) * self.typical_s * S))
        start_us, end_us = ready_us + wait_us, ready_us + wait_us + run_us
        self._fact("started", start_us, wait_us)
        times = {"enqueued_at": rfc3339(queued_us)} | ({"run_at": rfc3339(ready_us)} if ready_us > queued_us else {})
        if random.random() > 0.02:  # else the outcome implies it
            self._say("started", start_us, attempt, worker, worker_id=worker, **times)
        ended = {"worker_id": worker, "started_at": rfc3339(start_us), "duration_ms": run_us / 1000, **times}
        if random.random() >= self.failing:
            self._fact("finished", end_us, run_us)
            self._say("finished", end_us, attempt, worker, **ended)
            return
        error = {"class": "Boom", "message": f"attempt {attempt} of {self.job_id}"}
        self._fact("failed", end_us, run_us)
        self._say("failed", end_us, attempt, worker, error=error, **ended)
        if attempt < 3 and random.random() < 0.7:
            again_us = end_us + random.randrange(S // 2, 3 * S)
            self._fact("retried", end_us)
            self._fact("enqueued", end_us)  # of the next attempt
            self._say("retry_scheduled", end_us, attempt, worker, worker_id=worker, run_at=rfc3339(again_us))
            self._attempt(attempt + 1, end_us, again_us)
        else:
            self._fact("dead", end_us)
            self._say("dead", end_us, attempt, worker, worker_id=worker, error=error)

    def _fact(self, kind: str, at_us: int, sample_us: int | None = None) -> None:
        self.facts.append(Fact(self.queue, self.job_class, kind, at_us, sample_us))

    def _say(self, kind: str, at_us: int, attempt: int, emitter: str, **data: Any) -> None:
        owner = {"tenant": TENANT, "environment": ENVIRONMENT, "system": SYSTEM, "queue": self.queue}
        event = {
            "specversion": "1.0",
            "type": f"job.{kind}.v1",
            "subject": self.job_id,
            "time": rfc3339(at_us),
            "partitionkey": f"{TENANT}/{SYSTEM}/{self.job_id}",
            "data": {**owner, "job_class": self.job_class, "job_id": self.job_id, "attempt": attempt, **data},
        }
        self.said.append((at_us, emitter if self.numbered else "curl", event))
