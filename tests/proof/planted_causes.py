"""Queues that become slow for a known reason: small simulations of workers and queues, as events. For `why_slow`.

Each scenario is a tenant of its own: an hour as usual, then twenty minutes with the cause. Workers with slots take the oldest job of the
queues they serve. Seeds are fixed.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.proof.job_events import MINUTE, SECOND, job_event

USUAL_S, PLANTED_S = 3600, 1200
HEARTBEAT_S = 15


@dataclass
class Line:
    """One class of jobs: arrivals per second and seconds of run time, as functions of the second; `fails` likewise."""

    queue: str
    job_class: str
    rate: Callable[[float], float]
    run_s: Callable[[float], float]
    fails: Callable[[float], float] = lambda t: 0.0
    retry_after_s: float = 5.0


@dataclass
class Scenario:
    """`workers`: slots by worker, with the second at which it dies (or never). `paused`: seconds in which the queue "mail" is not served;
    `tells`: how that is said."""

    name: str
    reason: str
    lines: list[Line]
    workers: list[tuple[int, float | None]]
    paused: tuple[float, float] | None = None
    tells: str = "paused"
    heartbeats: bool = True
    serves: list[list[str]] = field(default_factory=lambda: [["mail", "export"]])


def since(t0: float, before: float, after: float) -> Callable[[float], float]:
    return lambda t: after if t >= t0 else before


def steady(value: float) -> Callable[[float], float]:
    return lambda t: value


T0 = float(USUAL_S)
MAIL = Line("mail", "Mail", steady(0.5), steady(3))
EXPORT = Line("export", "ExportJob", steady(0.02), steady(10))
OTHERS = [Line("mail", "Digest", steady(0.1), steady(4))]


def scenarios() -> list[Scenario]:
    """Twelve causes, and two times none."""
    return [
        Scenario("all workers lost", "no_workers", [MAIL, EXPORT], [(2, T0 + 60), (2, T0 + 90)]),
        Scenario("most workers lost", "no_workers", [MAIL, EXPORT], [(1, None), (1, T0 + 30), (1, T0 + 40), (1, T0 + 50)]),
        Scenario(
            "hog of another queue", "slots_held", [MAIL, Line("export", "ExportJob", since(T0, 0.005, 0.1), steady(200))], [(2, None), (2, None)],
        ),
        Scenario(
            "long jobs of another queue come all at once", "slots_held",
            [MAIL, Line("export", "ExportJob", lambda t: 3.0 if T0 <= t < T0 + 20 else 0.0, steady(900))], [(10, None), (10, None)],
        ),
        Scenario("paused and said so", "paused", [MAIL, EXPORT], [(2, None), (2, None)], paused=(T0 + 60, T0 + 1100)),
        Scenario("paused, known from snapshots only", "paused", [MAIL], [(4, None)], (T0 + 120, T0 + 1150), "snapshot"),
        Scenario("burst", "burst", [Line("mail", "Mail", since(T0, 0.5, 2.5), steady(3)), EXPORT], [(2, None), (2, None)]),
        Scenario("short burst", "burst", [Line("mail", "Mail", lambda t: 20.0 if T0 + 60 <= t < T0 + 120 else 0.5, steady(3))], [(4, None)]),
        Scenario("one class slow", "slow_runs", [Line("mail", "Mail", steady(0.5), since(T0, 3, 12)), *OTHERS, EXPORT], [(2, None), (2, None)]),
        Scenario(
            "a dependency of all classes slow", "slow_dependency",
            [Line("mail", "Mail", steady(0.5), since(T0, 3, 10)), Line("mail", "Digest", steady(0.1), since(T0, 4, 15)),
             Line("export", "ExportJob", steady(0.05), since(T0, 5, 20))], [(2, None), (2, None)],
        ),
        Scenario(
            "retry storm", "retry_storm", [Line("mail", "Mail", steady(0.7), steady(3), since(T0, 0.02, 0.85))], [(2, None), (2, None)],
        ),
        Scenario(
            "a class of the same queue takes the slots", "slots_held",
            [MAIL, Line("mail", "ReportJob", since(T0, 0.002, 0.04), steady(240))], [(2, None), (2, None)],
        ),
        Scenario("nothing", "not_slow", [MAIL, *OTHERS, EXPORT], [(2, None), (2, None)]),
        Scenario("more work but enough slots", "not_slow", [Line("mail", "Mail", since(T0, 0.3, 0.8), steady(3)), EXPORT], [(10, None), (10, None)]),
    ]  # fmt: skip


def events(s: Scenario, tenant: str, start_us: int, seed: int) -> Iterator[dict[str, Any]]:
    """What its emitters said until the end of the planted time."""
    r = random.Random(seed)
    end = USUAL_S + PLANTED_S
    ready: list[tuple[float, int, Line, str, int]] = []  # (eligible, order, line, job id, attempt)
    order = 0

    def us(t: float) -> int:
        return start_us + round(t * SECOND)

    for n, line in enumerate(s.lines):
        t, most = 0.0, max(line.rate(second) for second in range(end))
        while (t := t + r.expovariate(most)) < end:
            if r.random() < line.rate(t) / most:
                order += 1
                heapq.heappush(ready, (t, order, line, f"{tenant}-{n}-{order}", 1))
                yield _job("enqueued", us(t), tenant, line, f"{tenant}-{n}-{order}", 1)
    slots = [(0.0, w, k) for w, (size, _) in enumerate(s.workers) for k in range(size)]
    heapq.heapify(slots)
    dead = {w: t for w, (_, t) in enumerate(s.workers) if t is not None}
    waiting: list[tuple[float, int, Line, str, int]] = []
    while slots:
        free, w, k = heapq.heappop(slots)
        while ready and ready[0][0] <= free:
            heapq.heappush(waiting, heapq.heappop(ready))
        job = _next(waiting, free, s)
        if job is None:
            later = min((each[0] for each in ready), default=end)
            if s.paused is not None and s.paused[0] <= free < s.paused[1]:
                later = min(later, s.paused[1])
            if later < end:
                heapq.heappush(slots, (max(later, free + 0.05), w, k))
            continue
        if free >= dead.get(w, end) or free >= end:
            heapq.heappush(waiting, job)
            continue
        _, number, line, job_id, attempt = job
        run = r.lognormvariate(0, 0.25) * line.run_s(free)
        done, worker_id = free + run, f"host-{w}:{w}"
        yield _job("started", us(free), tenant, line, job_id, attempt, worker_id=worker_id)
        if done >= min(end, dead.get(w, end)):
            continue  # it goes on beyond the end, or dies with its worker
        failed = r.random() < line.fails(free)
        yield _job("failed" if failed else "finished", us(done), tenant, line, job_id, attempt, worker_id=worker_id, duration_ms=run * 1000)
        if failed and attempt < 8:
            again = done + line.retry_after_s
            yield _job("retry_scheduled", us(done) + 1000, tenant, line, job_id, attempt, run_at=us(again))
            heapq.heappush(ready, (again, number, line, job_id, attempt + 1))
        heapq.heappush(slots, (done, w, k))
    yield from _beside(s, tenant, us)


def _next(waiting: list[Any], at: float, s: Scenario) -> Any:
    paused = s.paused is not None and s.paused[0] <= at < s.paused[1]
    held = []
    found = None
    while waiting and found is None:
        job = heapq.heappop(waiting)
        if paused and job[2].queue == "mail":
            held.append(job)
        else:
            found = job
    for job in held:
        heapq.heappush(waiting, job)
    return found


def _job(kind: str, at_us: int, tenant: str, line: Line, job_id: str, attempt: int, **data: Any) -> dict[str, Any]:
    return job_event(kind, at_us, tenant=tenant, queue=line.queue, job_class=line.job_class, job_id=job_id, attempt=attempt, **data)


def _beside(s: Scenario, tenant: str, us: Callable[[float], int]) -> Iterator[dict[str, Any]]:
    """Heartbeats, and what is said of the pause."""
    end = USUAL_S + PLANTED_S
    queues = sorted({line.queue for line in s.lines})
    for w, (size, dies) in enumerate(s.workers):
        t = float(w)
        while s.heartbeats and t < (end if dies is None else dies):
            data = {"worker_id": f"host-{w}:{w}", "concurrency": size, "queues": queues}
            yield _other("worker.heartbeat", us(t), tenant, f"w/host-{w}:{w}", data)
            t += HEARTBEAT_S
    if s.paused is not None and s.tells == "paused":
        yield _other("queue.paused", us(s.paused[0]), tenant, "q/mail", {"queue": "mail"})
        yield _other("queue.resumed", us(s.paused[1]), tenant, "q/mail", {"queue": "mail"})
    if s.tells == "snapshot":
        for t in range(0, end, 20):
            paused = s.paused is not None and s.paused[0] <= t < s.paused[1]
            yield _other("queue.snapshot", us(t), tenant, "q/mail", {"queue": "mail", "ready": 0, "paused": paused})


def _other(kind: str, at_us: int, tenant: str, key: str, data: dict[str, Any]) -> dict[str, Any]:
    made = job_event("enqueued", at_us, tenant=tenant)
    event_id = f"{kind}-{tenant}-{key}-{at_us}".ljust(16, "-")[-64:]
    whole = {"tenant": tenant, "system": "celery", **data}
    return {**made, "type": f"{kind}.v1", "id": event_id, "subject": "x", "partitionkey": f"{tenant}/celery/{key}", "data": whole}


__all__ = ["MINUTE", "PLANTED_S", "USUAL_S", "Scenario", "events", "scenarios"]
