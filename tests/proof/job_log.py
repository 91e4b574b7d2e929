"""A random but realistic log of job events, and the orders in which a broker may hand it over.

Everything follows from the seed. `life` tells what can happen to a job: retries, dead ones, delays, events that are missing, doubled, late or
contradict each other, clocks that disagree. The arrangements (`in_order`, `shuffled`, `duplicated`) say when each event reaches Kafka; they
never change an event. Not here: folding (`d2_convergence`), counting (`counting_oracle`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

from tests.proof.job_events import MINUTE, SECOND, START_US, job_event, lane_of, value_of

PARTITIONS = 8
DISORDER_US = 30 * MINUTE  # how late an event may come in `shuffled` and `duplicated`
SPAN_US = 150 * MINUTE  # enqueue times

_CLASSES = [("mail", "Welcome", 0.08), ("mail", "Digest", 2.5), ("bulk", "Import", 90.0), ("bulk", "Export", 240.0), ("fast", "Ping", 0.004)]
_WORKERS = [f"host{n % 3}:{100 + n}" for n in range(6)]
_SKEW_US = {worker: skew for worker, skew in zip(_WORKERS, (0, 0, 0, -900_000, 1_300_000, -4_000_000), strict=True)}


class Sent(NamedTuple):
    """An event as its emitter sent it, at `time_us` of that emitter's clock."""

    time_us: int
    partition: int
    event: dict[str, Any]


class Message(NamedTuple):
    """A Kafka record of one source partition (its offset is its place in the list)."""

    append_us: int
    value: bytes


class _Job:
    """Collects the events of one job."""

    def __init__(self, random: Random, number: int) -> None:
        self.random, self.job_id = random, f"j{number}"
        self.queue, self.job_class, self.typical_s = random.choice(_CLASSES)
        self.events: list[tuple[int, str, str, int, dict[str, Any]]] = []

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def say(self, kind: str, at_us: int, attempt: int, worker_id: str | None = None, **data: Any) -> None:
        at_us += _SKEW_US.get(worker_id or "", 0)
        self.events.append((at_us, kind, worker_id or "web", attempt, {"worker_id": worker_id, **data}))


def life(job: _Job, at_us: int) -> None:
    """All that happens to one job, from its first enqueue at `at_us`."""
    if job.chance(0.1):  # a delayed job, which may start a little early: two clocks
        ready_us = at_us + job.random.randrange(5 * MINUTE)
        job.say("scheduled", at_us, 1, run_at=ready_us)
    else:
        ready_us = at_us
        if not job.chance(0.05):
            job.say("enqueued", at_us, 1)
        if job.chance(0.05):  # a backend that fires its enqueue hook twice
            job.say("enqueued", at_us + job.random.randrange(2 * SECOND), 1)
    for attempt in (1, 2, 3):
        if job.chance(0.03):
            return  # never started
        start_us = ready_us + job.random.randrange(-20_000, 20 * SECOND)
        ready_us = _attempt(job, attempt, at_us, ready_us, start_us)
        if not ready_us:
            return


def _attempt(job: _Job, attempt: int, enqueued_us: int, ready_us: int, start_us: int) -> int:
    """One run of a job; returns when the next attempt may start, 0 if there is none."""
    worker_id = job.random.choice(_WORKERS)
    run_us = min(round(job.random.lognormvariate(0, 1) * job.typical_s * SECOND), 15 * MINUTE)
    end_us = start_us + run_us
    said: dict[str, Any] = {"enqueued_at": enqueued_us} if attempt == 1 and job.chance(0.6) else {}
    if attempt > 1 and job.chance(0.5):
        said["run_at"] = ready_us
    started_seen = not job.chance(0.06)
    if started_seen:
        job.say("started", start_us, attempt, worker_id, **said)
        if job.chance(0.03):
            job.say("started", start_us + job.random.randrange(-SECOND, 3 * SECOND), attempt, job.random.choice(_WORKERS))
    if run_us > MINUTE and job.chance(0.5):
        job.say(job.random.choice(["heartbeat", "progress"]), start_us + run_us // 2, attempt, worker_id, enqueued_at=enqueued_us - 7)
    if job.chance(0.02):
        return 0  # still running, or lost
    return _end(job, attempt, worker_id, start_us, end_us, started_seen)


def _end(job: _Job, attempt: int, worker_id: str, start_us: int, end_us: int, started_seen: bool) -> int:
    measured: dict[str, Any] = {"duration_ms": (end_us - start_us) / 1000} if job.chance(0.8) else {}
    if job.chance(0.7) or (not started_seen and job.chance(0.8)):
        measured["started_at"] = start_us + _SKEW_US[worker_id]
    kind = job.random.choices(["finished", "failed", "cancelled", "discarded"], [76, 19, 2, 3])[0]
    job.say(kind, end_us, attempt, worker_id, **measured)
    if measured and job.chance(0.03):  # somebody else saw it end otherwise
        job.say(job.random.choice(["finished", "failed", "discarded"]), end_us + job.random.randrange(30 * SECOND), attempt, worker_id, **measured)
    if kind != "failed":
        return 0
    if attempt == 3 or job.chance(0.1):
        job.say("dead", end_us + 3_000, attempt)
        return 0
    ready_us = end_us + job.random.randrange(2 * MINUTE)
    job.say("retry_scheduled", end_us + 2_000, attempt, worker_id, run_at=ready_us)
    if job.chance(0.2):  # and its enqueue hook fires again
        job.say("enqueued", end_us + 9_000, attempt + 1)
    return ready_us


def job_log(seed: int, jobs: int) -> list[Sent]:
    """All events of `jobs` jobs in the order they were sent, ~3.2 a job: nine in ten numbered per emitter and lane, the rest only by id."""
    random = Random(seed)
    told: list[tuple[int, str, str, int, dict[str, Any], _Job]] = []
    for number in range(jobs):
        job = _Job(random, number)
        life(job, START_US + random.randrange(SPAN_US))
        told.extend((*event, job) for event in job.events)
    told.sort(key=lambda t: (t[0], t[5].job_id, t[1]))
    following: dict[tuple[str, int], int] = {}
    sent: list[Sent] = []
    for number, (at_us, kind, emitter, attempt, data, job) in enumerate(told):
        job_class = f"Wrapped{job.job_class}" if kind == "enqueued" and random.random() < 0.02 else job.job_class
        event = job_event(
            kind, at_us, job_id=job.job_id, attempt=attempt, queue=job.queue, job_class=job_class, event_id=f"event-{number:012d}", **data
        )
        lane = lane_of(event["partitionkey"])
        if random.random() < 0.9:
            seq = following.get((emitter, lane), 0)
            following[emitter, lane] = seq + 1
            event |= {"epoch": f"epoch-{emitter}", "lane": lane, "seq": seq}
        sent.append(Sent(at_us, lane % PARTITIONS, event))
    return sent


Arrangement = Callable[[Random, list[Sent]], list[list[Message]]]


def in_order(random: Random, sent: list[Sent]) -> list[list[Message]]:
    """Each event reaches Kafka within 50 ms of being sent, alone."""
    return _appended(((s.time_us + random.randrange(50_000), s) for s in sent), None)


def shuffled(random: Random, sent: list[Sent]) -> list[list[Message]]:
    """Each event reaches Kafka up to 30 minutes late; neighbours sometimes share a message."""
    return _appended(((s.time_us + random.randrange(DISORDER_US), s) for s in sent), random)


def duplicated(random: Random, sent: list[Sent]) -> list[list[Message]]:
    """In order, and 30 % of the events once more, up to 30 minutes later."""
    once = [(s.time_us + random.randrange(50_000), s) for s in sent]
    again = [(s.time_us + random.randrange(DISORDER_US), s) for s in sent if random.random() < 0.3]
    return _appended(once + again, random)


def shuffled_and_duplicated(random: Random, sent: list[Sent]) -> list[list[Message]]:
    twice = sent + [s for s in sent if random.random() < 0.3]
    return _appended(((s.time_us + random.randrange(DISORDER_US), s) for s in twice), random)


def _appended(arrivals: Iterable[tuple[int, Sent]], packing: Random | None) -> list[list[Message]]:
    """The log of each partition in append order; with `packing`, up to five events that come within 20 s may share a message."""
    logs: list[list[Message]] = [[] for _ in range(PARTITIONS)]
    packs: list[list[tuple[int, dict[str, Any]]]] = [[] for _ in range(PARTITIONS)]

    def append(partition: int) -> None:
        pack = packs[partition]
        if pack:
            logs[partition].append(Message(pack[-1][0], value_of(*(event for _, event in pack))))
            pack.clear()

    for append_us, s in sorted(arrivals, key=lambda arrival: arrival[0]):
        pack = packs[s.partition]
        if packing is None or len(pack) == 5 or (pack and append_us - pack[0][0] > 20 * SECOND) or packing.random() < 0.5:
            append(s.partition)
        pack.append((append_us, s.event))
    for partition in range(PARTITIONS):
        append(partition)
    return logs
