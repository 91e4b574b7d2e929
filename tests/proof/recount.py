"""What a list of job attempts counts for, recomputed in plain Python: the oracle side of D1.

It imports nothing of jobtide and knows no histogram: percentiles are values of the sorted list, at 1-based rank ceil(q·n).
What the attempts were comes from a file that jobtide did not write (`trace`, or the log that job bodies write themselves).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Series = tuple[str, str, str]  # system, queue, job class

COUNTED = ("enqueued", "started", "finished", "failed", "retried", "dead")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class Attempt:
    """One attempt as the oracle knows it; µs since the epoch. None: it did not happen."""

    series: Series
    job_id: str
    number: int
    enqueued_us: int
    eligible_us: int | None = None  # not before this
    started_us: int | None = None
    ended_us: int | None = None
    run_us: int | None = None
    outcome: str | None = None  # finished or failed
    retried: bool = False
    dead: bool = False

    @property
    def wait_us(self) -> int | None:
        if self.started_us is None:
            return None
        return self.started_us - max(self.enqueued_us, self.eligible_us or self.enqueued_us)

    def moments(self) -> Iterator[tuple[str, int]]:
        """(what, when) for everything it counts for."""
        yield "enqueued", self.enqueued_us
        if self.started_us is not None:
            yield "started", self.started_us
        if self.outcome is not None and self.ended_us is not None:
            yield self.outcome, self.ended_us
            if self.retried:
                yield "retried", self.ended_us
            if self.dead:
                yield "dead", self.ended_us


@dataclass
class Total:
    """Counts, and the waits and run times in µs as they are (negative ones too)."""

    counts: Counter[str] = field(default_factory=Counter)
    waits: list[int] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)

    @property
    def negative_waits(self) -> int:
        return sum(wait < 0 for wait in self.waits)


def totals(attempts: Iterable[Attempt], from_us: int, to_us: int) -> dict[Series, Total]:
    """What happened in [from, to), by series; series without anything are left out."""
    out: dict[Series, Total] = defaultdict(Total)
    for attempt in attempts:
        for what, at_us in attempt.moments():
            if from_us <= at_us < to_us:
                total = out[attempt.series]
                total.counts[what] += 1
                if what == "started" and attempt.wait_us is not None:
                    total.waits.append(attempt.wait_us)
                elif what == attempt.outcome and attempt.run_us is not None:
                    total.runs.append(attempt.run_us)
    return dict(out)


def together(parts: Iterable[Total]) -> Total:
    """Several series as one."""
    whole = Total()
    for part in parts:
        whole.counts.update(part.counts)
        whole.waits += part.waits
        whole.runs += part.runs
    return whole


def quantile(ordered: list[int], q: float) -> int:
    """The value of 1-based rank ceil(q·n) of a sorted list."""
    return ordered[max(1, math.ceil(q * len(ordered))) - 1]


def percentiles(values: list[int]) -> dict[str, int]:
    """p50 … max of the values, negative ones as 0; empty without values."""
    ordered = sorted(max(0, value) for value in values)
    return {name: quantile(ordered, q) for name, q in QUANTILES.items()} if ordered else {}


def per_step(attempts: Iterable[Attempt], what: tuple[str, ...], from_us: int, step_us: int, steps: int) -> list[int]:
    """How often any of `what` happened in each step."""
    out = [0] * steps
    for attempt in attempts:
        for name, at_us in attempt.moments():
            if name in what and 0 <= (step := (at_us - from_us) // step_us) < steps:
                out[step] += 1
    return out


def levels(attempts: Iterable[Attempt]) -> tuple[Counter[Series], Counter[Series]]:
    """(in flight, waiting) by series, of attempts that have come no further."""
    in_flight: Counter[Series] = Counter()
    waiting: Counter[Series] = Counter()
    for attempt in attempts:
        if attempt.started_us is None:
            waiting[attempt.series] += 1
        elif attempt.ended_us is None:
            in_flight[attempt.series] += 1
    return in_flight, waiting
