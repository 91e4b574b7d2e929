"""What stage 2 tells the rest of the world: absolute, versioned snapshots, and the sink that takes them.

The public contract between `streams` and the layers above it. Not here: where snapshots are kept (`sinks.redis`), how they are
computed (`windows`). Times are µs since the epoch.
"""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

SEPARATOR = "\x1f"  # between the parts of a field name: cannot be typed by accident
WINDOWS_S = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}

SnapshotKind = Literal["series", "workers", "queues", "ledger", "stuck", "signals", "progress"]
Verdict = Literal["late", "slow", "lost", "duplicate"]
Severity = Literal["low", "medium", "high", "critical"]
LimitSource = Literal["expected", "baseline", "ladder", "heartbeat"]


class HistogramSnapshot(msgspec.Struct):
    """n values in µs: their sum and log buckets [[index, count], …] (see sketches.histogram)."""

    n: int
    sum: int
    b: list[tuple[int, int]]


class WindowSnapshot(msgspec.Struct, rename={"from_us": "from", "to_us": "to"}):
    """The counts of one series in [from, to)."""

    from_us: int
    to_us: int
    enqueued: int
    started: int
    finished: int
    failed: int
    cancelled: int
    discarded: int
    retried: int
    dead: int
    negative_waits: int
    wait: HistogramSnapshot
    run_ok: HistogramSnapshot
    run_failed: HistogramSnapshot


class SeriesSnapshot(msgspec.Struct):
    """One class of one queue, now: `at` is the watermark that all windows end at (to the second)."""

    tenant: str
    environment: str
    system: str
    queue: str
    job_class: str
    at: int
    in_flight: int
    waiting: int
    oldest_waiting_us: int | None
    windows: dict[str, WindowSnapshot]
    per_second: list[tuple[int, int, int]]  # (second, terminal attempts, failed attempts), oldest first, at most 60


class WorkerSnapshot(msgspec.Struct, omit_defaults=True):
    """The last that a worker said of itself; status is busy, idle, quiet, stopping or offline."""

    tenant: str
    environment: str
    system: str
    worker_id: str
    status: str
    last_seen_us: int
    hostname: str | None = None
    pid: int | None = None
    tag: str | None = None
    queues: list[str] = []
    concurrency: int | None = None
    busy: int | None = None
    rss_bytes: int | None = None
    cpu_percent: float | None = None
    processed: int | None = None
    failed: int | None = None
    version: str | None = None
    interval_ms: float | None = None
    running: list[dict[str, str | int]] = []  # {queue, job_id, attempt, started_at}
    clock_lag_us: int | None = None  # its clock behind the broker's, the way included; below zero it is ahead


class QueueSnapshot(msgspec.Struct, omit_defaults=True):
    """The last queue.snapshot of a queue, and whether it is paused."""

    tenant: str
    environment: str
    system: str
    queue: str
    at_us: int
    ready: int | None = None
    scheduled: int | None = None
    retry: int | None = None
    dead: int | None = None
    running: int | None = None
    oldest_ready_at: str | None = None
    paused: bool | None = None


class LedgerSnapshot(msgspec.Struct):
    """What arrived of one emitter epoch in one source partition, and what is known not to have."""

    partition: int
    epoch: str
    source: str
    tenant: str
    system: str
    received: int
    duplicates: int
    missing: int  # sequence numbers not seen, now
    lost: int  # of these, missing for more than 15 minutes: reported; revised if they still come
    last_us: int
    clean: bool  # the emitter said goodbye: nothing after `expected` is unknown
    expected: int | None  # events the emitter says it made in this partition's lanes


class StuckAttempt(msgspec.Struct, omit_defaults=True):
    """One attempt that is late, slow, lost or runs twice, with the evidence. Its series is said beside it.

    `since_us`: when it started, or (late) could have. It is stuck since `since_us + limit_us`, by what `limit_source` says: `heartbeat`
    means that its worker is gone (`reason`), heard of for the last time at `heartbeat_us`.
    """

    job_id: str
    attempt: int
    worker_id: str  # "" if it has not started
    verdict: Verdict
    since_us: int
    limit_us: int
    limit_source: LimitSource
    severity: Severity
    last_event_us: int  # the last that is known of the attempt itself
    p99_us: int | None = None  # of the class: of its successful runs, or (late) of its waits
    expected_us: int | None = None
    heartbeat_us: int | None = None
    reason: Literal["", "offline", "silent", "dropped"] = ""  # why lost
    others: list[str] = []  # duplicate: the further workers that run it now


class SeriesStuck(msgspec.Struct):
    """All stuck attempts of one series: how many by verdict, and the longest, at most 200."""

    tenant: str
    environment: str
    system: str
    queue: str
    job_class: str
    counts: dict[Verdict, int]
    unjudged: int  # further old attempts that were not looked at one by one: the bound of folds.watch
    attempts: list[StuckAttempt]


class SourceProgress(msgspec.Struct):
    watermark: int
    state: Literal["active", "idle", "lagging"]


class ProgressSnapshot(msgspec.Struct):
    """How far one partition of job.panes has come: everything before `complete_until` is in the numbers."""

    partition: int
    complete_until: int
    sources: dict[str, SourceProgress]
    live_late_dropped: int
    rejected: int = 0


Field = tuple[SnapshotKind, str, str]  # kind, tenant, field: where one value is kept


class HotWrite(msgspec.Struct):
    """One absolute value: kept only if `version` is not older than what is stored. `value` is JSON; None removes the field."""

    kind: SnapshotKind
    tenant: str  # "" for kind progress
    field: str
    version: int
    value: bytes | None


class HotStateSink(Protocol):
    """Where stage 2 puts its snapshots. Raises TransientError while the store is out of reach: the caller keeps and repeats."""

    async def write(self, entries: list[HotWrite]) -> None: ...

    async def lost_everything(self) -> bool:
        """True, once, after the store came up empty: everything has to be written again."""
        ...

    async def fields(self) -> list[Field]:
        """The names of everything stored but progress. For once after a take-over: it looks at all of it."""
        ...

    async def close(self) -> None: ...
