"""The ledger: what really happened, written to a file before anything of it is sent, and added up from that file.

The judge of the fault runs. It shares no code with jobtide: minutes and sums are taken from the facts one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.proof.traffic import ENVIRONMENT, SYSTEM, TENANT, Fact

MINUTE_US = 60_000_000
Series = tuple[str, str, str, str, str]  # tenant, environment, system, queue, job class
KINDS = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "dead", "retried")


@dataclass
class Counted:
    """Counts, and the sums in µs of the samples with them (a negative wait adds 0 and is counted)."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sums_us: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, other: Counted) -> None:
        for mine, more in ((self.counts, other.counts), (self.sums_us, other.sums_us)):
            for name, n in more.items():
                mine[name] += n

    def differs(self, other: Counted) -> list[str]:
        """`name: mine, other` wherever they are not equal."""
        return [
            f"{name}: {mine.get(name, 0)}, {theirs.get(name, 0)}"
            for mine, theirs in ((self.counts, other.counts), (self.sums_us, other.sums_us))
            for name in sorted({*mine, *theirs})
            if mine.get(name, 0) != theirs.get(name, 0)
        ]


ByMinute = dict[tuple[Series, int], Counted]  # (series, start of the minute in µs)


class Ledger:
    """Appends facts to a file; `truth` adds them up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab")

    def write(self, facts: Iterable[Fact]) -> None:
        """Returns when the facts are in the file."""
        self._file.writelines(orjson.dumps(tuple(fact)) + b"\n" for fact in facts)
        self._file.flush()

    def truth(self) -> ByMinute:
        """What every series counted in every minute."""
        minutes: ByMinute = defaultdict(Counted)
        with self._path.open("rb") as lines:
            for line in lines:
                queue, job_class, kind, at_us, sample_us = orjson.loads(line)
                counted = minutes[(TENANT, ENVIRONMENT, SYSTEM, queue, job_class), at_us // MINUTE_US * MINUTE_US]
                counted.counts[kind] += 1
                if sample_us is not None:
                    _sample(counted, kind, sample_us)
        return dict(minutes)


def _sample(counted: Counted, kind: str, sample_us: int) -> None:
    name = {"started": "wait", "finished": "run_ok", "failed": "run_failed"}[kind]
    counted.counts[name] += 1
    counted.sums_us[name] += max(0, sample_us)
    if sample_us < 0:
        counted.counts["negative_waits"] += 1


def by_series(minutes: Mapping[tuple[Series, int], Counted]) -> dict[Series, Counted]:
    """The same over all minutes."""
    totals: dict[Series, Counted] = defaultdict(Counted)
    for (series, _), counted in minutes.items():
        totals[series].add(counted)
    return dict(totals)


def total(minutes: Mapping[tuple[Series, int], Counted], kind: str) -> int:
    return sum(counted.counts.get(kind, 0) for counted in minutes.values())
