"""What the API needs to be told, and by whom: the Protocols of the two readers and the values they return.

Live (hot state in memory) and history (ClickHouse) answer the same question about totals in the same form, so that
one can stand in for the other; tests put a fake in either place. No I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jobtide.query.answers import Completeness, Depth, Now
from jobtide.query.fleet_answers import EpochRow, PartitionRow, WorkerRow
from jobtide.query.job_answers import EventRow, JobRow
from jobtide.query.measures import Totals
from jobtide.query.ranges import Range
from jobtide.query.selection import Key, Selection
from jobtide.query.steps import Steps
from jobtide.streams.snapshots import SeriesStuck, WorkerSnapshot


class Unavailable(Exception):
    """A store that the answer needs is out of reach: `store` is its name for people, the message what it said."""

    def __init__(self, store: str, detail: str) -> None:
        super().__init__(detail)
        self.store = store
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reader's numbers reach, µs; None while nothing is known. `stale` says why they may not be growing."""

    watermark_us: int | None = None
    complete_until_us: int | None = None
    partitions: Sequence[PartitionRow] = ()
    rejected: int | None = None
    late_dropped: int | None = None
    stale: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The totals of one key, and how many queues and classes they are of."""

    key: Key
    totals: Totals
    queues: int
    classes: int


@dataclass(frozen=True, slots=True)
class TotalsQuestion:
    """One page of totals per key of `depth`, after the key `after`; or the ones with most failures first (then one
    page only).
    """

    selection: Selection
    range: Range
    depth: int
    limit: int
    after: Key = ()
    failed_first: bool = False


@dataclass(frozen=True, slots=True)
class TotalsReading:
    """`range` is what was really counted; `more` if there are groups after the last."""

    range: Range
    groups: Sequence[Group]
    more: bool


class TotalsReader(Protocol):
    """Raises Unavailable."""

    async def totals(self, question: TotalsQuestion) -> TotalsReading: ...

    async def progress(self) -> Progress: ...

    async def completeness(self, selection: Selection, range_: Range) -> Completeness | None:
        """None if it cannot be known for this range."""
        ...


@dataclass(frozen=True, slots=True)
class JobsQuestion:
    """One page of attempts, newest first, after a sort key. `states` may hold `dead` and `retried` beside states;
    empty is all.
    """

    selection: Selection
    range: Range
    limit: int
    states: Sequence[str] = ()
    job_id: str | None = None
    worker_id: str | None = None
    error_class: str | None = None
    after: tuple[int | str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as history knows it; times µs. Its sort key is what a cursor holds."""

    row: JobRow
    key: tuple[str, str, str, str, str, int]
    at_us: int
    enqueued_us: int | None
    eligible_us: int | None
    started_us: int | None
    finished_us: int | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    row: EventRow
    at_us: int


AttemptId = tuple[str, str, str, str, int]  # tenant, environment, system, queue, attempt
Seen = Mapping[AttemptId, frozenset[str]]  # types of events


@dataclass(slots=True)
class SeriesPoints:
    """The totals of one key by start of step (µs); steps without anything are missing."""

    key: Key
    steps: dict[int, Totals] = field(default_factory=dict)


class HistoryReader(TotalsReader, Protocol):
    """What only history can tell. Raises Unavailable."""

    async def series(
        self, selection: Selection, steps: Steps, depth: int, samples: str, after: Key, limit: int
    ) -> tuple[list[SeriesPoints], bool]:
        """One page of keys with their steps, and whether there are more; `samples` is wait, run or none: which
        histograms are wanted.
        """
        ...

    async def jobs(self, question: JobsQuestion) -> tuple[list[Attempt], bool]: ...

    async def attempts(self, job_id: str, selection: Selection, limit: int) -> list[Attempt]: ...

    async def events(
        self, job_id: str, selection: Selection, after: tuple[int, str, str], limit: int
    ) -> tuple[list[JobEvent], bool]: ...

    async def seen(self, job_id: str, selection: Selection) -> Seen:
        """The types of the events that came, per attempt."""
        ...

    async def workers(
        self, selection: Selection, range_: Range, after: Key, limit: int
    ) -> tuple[list[WorkerRow], bool]: ...

    async def worker_ids(self, selection: Selection, range_: Range) -> set[Key]:
        """(tenant, environment, system, worker_id) of those that ran the selection's job class in the range."""
        ...

    async def epochs(
        self, selection: Selection, range_: Range, after: Key, limit: int
    ) -> tuple[list[EpochRow], bool]: ...

    async def ready(self) -> str | None:
        """None if it can answer, else what is missing."""
        ...


class LiveReader(TotalsReader, Protocol):
    """What only hot state can tell; all of it from memory. Raises Unavailable while there is nothing to tell from."""

    def now(self, selection: Selection, depth: int, keys: Sequence[Key]) -> Mapping[Key, Now] | None:
        """What is true now for these keys; None while hot state is out of reach."""
        ...

    def depth(self, key: Key) -> Depth | None: ...

    def paused(self, key: Key) -> bool | None: ...

    def workers(self, selection: Selection, now_us: int) -> list[tuple[Key, WorkerRow]]:
        """All selected, in the order of their keys."""
        ...

    def stuck(self, selection: Selection) -> tuple[list[SeriesStuck], Mapping[Key, WorkerSnapshot]]:
        """What is stuck in each selected series, and the workers by (tenant, environment, system, worker_id)."""
        ...

    def watermark_us(self) -> int | None:
        """How far event time has come."""
        ...

    def epochs(self, selection: Selection) -> list[tuple[Key, EpochRow]]:
        """All of the selected tenant and system, in the order of (tenant, system, epoch)."""
        ...

    def seconds(self, selection: Selection, depth: int) -> Mapping[Key, Mapping[int, tuple[int, int]]]:
        """Per key and second since the epoch of the last minute: attempts that ended, of them failed."""
        ...

    def range(self, asked: Range) -> Range:
        """What stretch of time the live window of `asked` is now."""
        ...
