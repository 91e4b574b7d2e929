"""What the snapshots of hot state mean: `streams.snapshots` to the values of `readers`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from jobtide.query.answers import Completeness, Depth, Now
from jobtide.query.fleet_answers import EpochRow, PartitionRow, RunningRow, WorkerRow
from jobtide.query.history_rows import ALIVE_FOR_US, ratio
from jobtide.query.hot_series import Series
from jobtide.query.ranges import SECOND_US
from jobtide.query.readers import Progress
from jobtide.query.selection import Key
from jobtide.streams.events import time_text
from jobtide.streams.snapshots import (
    LedgerSnapshot,
    ProgressSnapshot,
    QueueSnapshot,
    WorkerSnapshot,
)

# Emitters speak every 10 s. One that has been silent for a minute without goodbye may have lost what nobody will ever
# know.
SILENT_AFTER_US = 60 * SECOND_US


def now(series: Series) -> Now:
    return Now(in_flight=series.in_flight, waiting=series.waiting, oldest_waiting_us=series.oldest_waiting_us)


def depth(queue: QueueSnapshot) -> Depth:
    return Depth(
        at=time_text(queue.at_us),
        ready=queue.ready,
        scheduled=queue.scheduled,
        retry=queue.retry,
        dead=queue.dead,
        running=queue.running,
        oldest_ready_at=queue.oldest_ready_at,
    )


def worker(w: WorkerSnapshot, now_us: int) -> WorkerRow:
    """As it looks at `now_us`: alive if it was heard of within three of its heartbeats."""
    age_us = now_us - w.last_seen_us
    patience_us = ALIVE_FOR_US if w.interval_ms is None else 3 * round(w.interval_ms * 1000)
    return WorkerRow(
        tenant=w.tenant,
        environment=w.environment,
        system=w.system,
        worker_id=w.worker_id,
        status=w.status,
        alive=w.status != "offline" and age_us <= patience_us,
        last_seen_at=time_text(w.last_seen_us),
        heartbeat_age_ms=age_us / 1000,
        hostname=w.hostname,
        pid=w.pid,
        tag=w.tag,
        version=w.version,
        queues=w.queues,
        concurrency=w.concurrency,
        busy=w.busy,
        processed=w.processed,
        failed=w.failed,
        rss_bytes=w.rss_bytes,
        cpu_percent=w.cpu_percent,
        clock_lag_ms=None if w.clock_lag_us is None else w.clock_lag_us / 1000,
        running=[_running(entry) for entry in w.running],
    )


def _running(entry: dict[str, str | int]) -> RunningRow:
    started_at = entry.get("started_at")
    return RunningRow(
        queue=str(entry.get("queue", "")),
        job_id=str(entry.get("job_id", "")),
        attempt=int(entry.get("attempt", 1)),
        started_at=None if started_at is None else str(started_at),
    )


def epochs(entries: Iterable[LedgerSnapshot]) -> list[tuple[Key, EpochRow]]:
    """One row per emitter epoch: its parts in all source partitions together, in the order of (tenant, system,
    epoch).
    """
    parts: dict[Key, list[LedgerSnapshot]] = {}
    for entry in entries:
        parts.setdefault((entry.tenant, entry.system, entry.epoch), []).append(entry)
    return [(key, _epoch(key, found)) for key, found in sorted(parts.items())]


def _epoch(key: Key, parts: list[LedgerSnapshot]) -> EpochRow:
    received, missing = sum(p.received for p in parts), sum(p.missing for p in parts)
    # The emitter broadcasts its count to all partitions: as long as one has not heard it, the sum would be too small.
    counts = [p.expected for p in parts if p.expected is not None]
    return EpochRow(
        tenant=key[0],
        system=key[1],
        epoch=key[2],
        source=max(p.source for p in parts),
        received=received,
        duplicates=sum(p.duplicates for p in parts),
        missing=missing,
        lost=sum(p.lost for p in parts),
        expected=sum(counts) if len(counts) == len(parts) else None,
        clean=all(p.clean for p in parts),
        last_at=time_text(max(p.last_us for p in parts)),
        ratio=ratio(received, missing),
    )


def completeness(rows: Iterable[tuple[Key, EpochRow]], watermark: int | None) -> Completeness:
    received = duplicates = missing = lost = unclean = 0
    silent_before = time_text(max(0, watermark - SILENT_AFTER_US)) if watermark is not None else ""
    for _, row in rows:
        received += row.received
        duplicates += row.duplicates or 0
        missing += row.missing
        lost += row.lost or 0
        unclean += not row.clean and row.last_at < silent_before  # texts of one form: they sort like the times
    return Completeness(
        received=received,
        duplicates=duplicates,
        missing=missing,
        lost=lost,
        unclean_epochs=unclean,
        ratio=ratio(received, missing),
    )


def complete_until_us(entries: Iterable[ProgressSnapshot]) -> int | None:
    """Everything before this is in the windows of all series; None while one partition does not know (it says 0)."""
    return min((entry.complete_until for entry in entries), default=0) or None


def watermark_us(entries: Iterable[ProgressSnapshot]) -> int | None:
    """How far event time has come in any source partition."""
    return max((source.watermark for entry in entries for source in entry.sources.values()), default=0) or None


def progress(entries: Iterable[ProgressSnapshot]) -> Progress:
    found = list(entries)
    # Every source partition tells every partition of job.panes the same; the one that heard it last is right.
    sources = {
        name: max(
            (entry.sources[name] for entry in found if name in entry.sources), key=lambda source: source.watermark
        )
        for name in sorted({name for entry in found for name in entry.sources}, key=int)
    }
    partitions = [
        PartitionRow(partition=int(n), watermark=time_text(s.watermark), state=s.state) for n, s in sources.items()
    ]
    return Progress(
        watermark_us(found),
        complete_until_us(found),
        partitions,
        rejected=max((entry.rejected for entry in found), default=None),
        late_dropped=max((entry.live_late_dropped for entry in found), default=None),
    )
