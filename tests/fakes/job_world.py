"""A small world of jobs whose every number can be counted by hand: what happened, the events of it, and what a range
must show.

Deterministic by its seed. The counting here knows nothing of the code under test: exact values, ranks, sums over
lists. Events are valid and complete; some sequence numbers are never sent, so that there is a loss of known size.
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.proof.job_events import MINUTE, SECOND, job_event, lane_of

EPOCHS = ("epoch-aaaaaaaa", "epoch-bbbbbbbb", "epoch-cccccccc")
EPOCHS_OF = {"acme": EPOCHS[:2], "globex": EPOCHS[2:]}  # a process speaks for one tenant
SERIES = [
    ("acme", "celery", "mail", "Welcome", 0.05),
    ("acme", "celery", "mail", "Digest", 2.0),
    ("acme", "celery", "bulk", "Import", 20.0),
    ("acme", "sidekiq", "mail", "Welcome", 0.3),
    ("globex", "rq", "reports", "Monthly", 7.0),
    ("globex", "rq", "reports", "Übersicht/✓", 0.01),
]


@dataclass
class Fact:
    """What happened to one attempt; times µs, None = not (yet)."""

    tenant: str
    system: str
    queue: str
    job_class: str
    job_id: str
    attempt: int
    worker_id: str
    enqueued_us: int
    eligible_us: int | None
    started_us: int | None = None
    ended_us: int | None = None
    outcome: str | None = None
    dead_us: int | None = None
    retried_us: int | None = None

    @property
    def key(self) -> tuple[str, ...]:
        return (self.tenant, "default", self.system, self.queue, self.job_class)

    @property
    def wait_us(self) -> int:
        assert self.started_us is not None
        return self.started_us - max(self.enqueued_us, self.eligible_us or 0)

    @property
    def state(self) -> str:
        return self.outcome or ("running" if self.started_us is not None else "waiting")

    @property
    def at_us(self) -> int:
        return self.ended_us or self.started_us or self.enqueued_us


class World:
    """`jobs` jobs enqueued over `minutes` from `start_us`; nothing of them is known at or after `until_us`."""

    def __init__(self, start_us: int, minutes: int, jobs: int, seed: int = 7) -> None:
        self.start_us, self.until_us = start_us, start_us + minutes * MINUTE
        self.facts: list[Fact] = []
        self.events: list[dict[str, Any]] = []
        self.skipped = 0
        self._random = random.Random(seed)
        self._next: dict[tuple[str, int], int] = defaultdict(int)
        self._said: list[tuple[int, str, Fact, dict[str, Any]]] = []
        for number in range(jobs):
            self._job(f"job/{number}")
        self._said.sort(key=lambda said: said[0])
        for at_us, kind, fact, data in self._said:
            self.events.append(self._numbered(at_us, kind, fact, data))

    def _job(self, job_id: str) -> None:
        r = self._random
        tenant, system, queue, job_class, typical_s = r.choice(SERIES)
        at_us = self.start_us + r.randrange(self.until_us - self.start_us)
        eligible_us = at_us + r.randrange(1, 3 * MINUTE) if r.random() < 0.1 else None
        for attempt in (1, 2, 3):
            fact = Fact(tenant, system, queue, job_class, job_id, attempt, f"host-{r.randrange(3)}:1", at_us, eligible_us)
            start_us = max(at_us, eligible_us or 0) + round(r.lognormvariate(0, 1.5) * SECOND)
            end_us = start_us + round(r.lognormvariate(0, 1) * typical_s * SECOND) + 1
            failed = r.random() < 0.25
            if at_us >= self.until_us:
                return
            self.facts.append(fact)
            if attempt == 1:
                self._say(at_us, "scheduled" if eligible_us else "enqueued", fact, run_at=eligible_us)
            if start_us >= self.until_us:
                return
            fact.started_us = start_us
            self._say(start_us, "started", fact, enqueued_at=at_us, run_at=eligible_us)
            if end_us >= self.until_us:
                return
            fact.ended_us, fact.outcome = end_us, "failed" if failed else "finished"
            error = {"error": {"class": f"E{attempt}", "message": f"no. {job_id}"}} if failed else {}
            self._say(end_us, fact.outcome, fact, started_at=start_us, duration_ms=(end_us - start_us) / 1000, **error)
            if not failed or end_us + 1000 >= self.until_us:
                return
            if attempt == 3:
                fact.dead_us = end_us + 1000
                self._say(fact.dead_us, "dead", fact)
                return
            fact.retried_us = at_us = end_us + 1000
            eligible_us = at_us + 5 * SECOND
            self._say(at_us, "retry_scheduled", fact, run_at=eligible_us)

    def _say(self, at_us: int, kind: str, fact: Fact, **data: Any) -> None:
        self._said.append((at_us, kind, fact, data))

    def _numbered(self, at_us: int, kind: str, f: Fact, data: dict[str, Any]) -> dict[str, Any]:
        epoch = self._random.choice(EPOCHS_OF[f.tenant])
        lane = lane_of(f"{f.tenant}/{f.system}/{f.job_id}")
        if self._next[epoch, lane] and self._random.random() < 0.02:  # never the first of a lane: nobody could notice
            self._next[epoch, lane] += 1
            self.skipped += 1
        number = self._next[epoch, lane]
        self._next[epoch, lane] += 1
        worker_id = f.worker_id if kind in ("started", "finished", "failed") else None
        return job_event(
            kind, at_us, job_id=f.job_id, attempt=f.attempt, queue=f.queue, job_class=f.job_class, worker_id=worker_id,
            tenant=f.tenant, system=f.system, numbered=(epoch, number), event_id=f"{kind}-{f.job_id}-{f.attempt}".ljust(20, "-"),
            **data,
        )  # fmt: skip

    def chosen(self, **wanted: str | None) -> list[Fact]:
        """The attempts whose fields have these values."""
        return [f for f in self.facts if all(v is None or getattr(f, name) == v for name, v in wanted.items())]

    def keys(self) -> list[tuple[str, ...]]:
        return sorted({f.key for f in self.facts})


def counted(facts: Iterable[Fact], from_us: int, to_us: int) -> dict[str, Any]:
    """Exactly what a row about [from_us, to_us) must say: counts, and the sorted values (µs) behind its
    distributions.
    """

    def inside(us: int | None) -> bool:
        return us is not None and from_us <= us < to_us

    rows: dict[str, Any] = dict.fromkeys(("enqueued", "started", "finished", "failed", "dead", "retried", "discarded", "cancelled"), 0)
    rows |= {"wait": [], "run_ok": [], "run_failed": []}
    for f in facts:
        rows["enqueued"] += inside(f.enqueued_us)
        rows["dead"] += inside(f.dead_us)
        rows["retried"] += inside(f.retried_us)
        if inside(f.started_us):
            rows["started"] += 1
            rows["wait"].append(f.wait_us)
        if inside(f.ended_us):
            assert f.outcome is not None
            assert f.started_us is not None
            assert f.ended_us is not None
            rows[f.outcome] += 1
            rows["run_ok" if f.outcome == "finished" else "run_failed"].append(f.ended_us - f.started_us)
    rows["run"] = sorted(rows["run_ok"] + rows["run_failed"])
    for name in ("wait", "run_ok", "run_failed"):
        rows[name].sort()
    return rows


def grouped(facts: Iterable[Fact], depth: int) -> Iterator[tuple[tuple[str, ...], list[Fact]]]:
    """The attempts by the first `depth` parts of their series, in order."""
    found: dict[tuple[str, ...], list[Fact]] = defaultdict(list)
    for f in facts:
        found[f.key[:depth]].append(f)
    yield from sorted(found.items())


def exact_quantile(values: list[int], q: float) -> int:
    """The value of 1-based rank ceil(q·n) of sorted values."""
    return values[max(1, math.ceil(round(q * len(values), 9))) - 1]


def assert_row(row: dict[str, Any], facts: Iterable[Fact], from_us: int, to_us: int) -> None:
    """The row's counts are exact, its distributions within 1 %."""
    wanted = counted(facts, from_us, to_us)
    for name in ("enqueued", "started", "finished", "failed", "dead", "retried", "discarded", "cancelled"):
        assert row[name] == wanted[name], (name, row)
    for name in ("wait", "run", "run_ok", "run_failed"):
        assert_stats(row[f"{name}_ms"], wanted[name])


def assert_stats(stats: dict[str, Any], values: list[int]) -> None:
    assert stats["count"] == len(values)
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        if not values:
            assert stats[name] is None
            continue
        wanted_ms = exact_quantile(values, q) / 1000
        assert abs(stats[name] - wanted_ms) <= 0.01 * wanted_ms, (name, stats[name], wanted_ms)


Clock = Callable[[], int]
