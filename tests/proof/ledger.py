"""The ledger: what really happened, written to a file before anything of it is sent, and added up from that file.

The judge of the fault runs. It shares no code with jobtide: minutes and sums are taken from the facts one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.proof.traffic import ENVIRONMENT, REFUSED, SYSTEM, TENANT, Fact

Series = tuple[str, str, str, str, str]  # tenant, environment, system, queue, job class


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


BySpan = dict[tuple[Series, int], Counted]  # (series, start of the second or minute in s)


class Ledger:
    """Appends facts to a file; `truth` adds them up again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab")

    def write(self, facts: Iterable[Fact]) -> None:
        """Returns when the facts are in the file."""
        self._file.writelines(orjson.dumps(tuple(fact)) + b"\n" for fact in facts)
        self._file.flush()

    def truth(self, size_s: int) -> BySpan:
        """What every series counted in every span of `size_s`."""
        spans: BySpan = defaultdict(Counted)
        for fact in self._facts():
            if fact.kind != REFUSED:
                start_s = fact.at_us // 1_000_000 // size_s * size_s
                counted = spans[(TENANT, ENVIRONMENT, SYSTEM, fact.queue, fact.job_class), start_s]
                counted.counts[fact.kind] += 1
                if fact.sample_us is not None:
                    _sample(counted, fact.kind, fact.sample_us)
        return dict(spans)

    def refused(self) -> set[str]:
        """The ids of events that break the contract."""
        return {fact.job_class for fact in self._facts() if fact.kind == REFUSED}

    def _facts(self) -> Iterator[Fact]:
        with self._path.open("rb") as lines:
            for line in lines:
                yield Fact(*orjson.loads(line))


def _sample(counted: Counted, kind: str, sample_us: int) -> None:
    name = {"started": "wait", "finished": "run_ok", "failed": "run_failed"}[kind]
    counted.counts[name] += 1
    counted.sums_us[name] += max(0, sample_us)
    if sample_us < 0:
        counted.counts["negative_waits"] += 1


def by_series(spans: BySpan) -> dict[Series, Counted]:
    """The same over all time."""
    totals: dict[Series, Counted] = defaultdict(Counted)
    for (series, _), counted in spans.items():
        totals[series].add(counted)
    return dict(totals)
