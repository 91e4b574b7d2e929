"""A job.events log in memory and a history writer that reads it in whatever steps a test wants, without Kafka and without asyncio.

The writer takes the very steps of `jobtide.sinks.history`, in its order, one call at a time, so that a test can stop between any two of
them as a SIGKILL would: `crash` forgets all that was only in memory and goes back to the committed offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobtide.sinks import batch as batches
from jobtide.sinks import ownership
from jobtide.sinks.batch import Record
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.clickhouse.history_store import HistoryStore
from jobtide.sinks.clickhouse.rollups import Rollups
from jobtide.sinks.history import lookups, plan
from jobtide.sinks.ownership import Owned
from jobtide.streams.settings import Settings

from tests.proof.job_events import lane_of, value_of


def log_of(appended: Sequence[tuple[int, dict[str, Any]]], partitions: int) -> list[Record]:
    """(append time in µs, event) in order of appending → records of a topic, one event each."""
    offsets = [0] * partitions
    records = []
    for append_us, event in appended:
        partition = lane_of(event["partitionkey"]) % partitions
        records.append(Record(partition, offsets[partition], append_us, value_of(event)))
        offsets[partition] += 1
    return records


class SteppedWriter:
    """All partitions of a log in one writer. `remembered` attempts per partition, few, so that most have to be looked up."""

    def __init__(self, settings: Settings, log: Sequence[Record], remembered: int) -> None:
        self._settings, self._log, self._remembered = settings, log, remembered
        self.db = ClickHouse(settings)
        self._store = HistoryStore(self.db)
        self._rollups = Rollups(self.db, settings.retention_executions_days)
        self.committed = 0  # position in the log, all partitions together
        self.crash()

    def crash(self) -> None:
        """Killed and started again."""
        self._position = self.committed
        partitions = set(range(self._settings.partitions))
        left = self._store.left(partitions)
        positions = {p: (self._offset(p, self.committed), self._offset(p, len(self._log))) for p in partitions}
        now_us = max((r.append_us for r in self._log), default=0)
        self.owned: dict[int, Owned] = ownership.adopt(left, positions, self._remembered, 0, now_us)

    def _offset(self, partition: int, position: int) -> int:
        return sum(r.partition == partition for r in self._log[:position])

    @property
    def done(self) -> bool:
        return self._position >= len(self._log)

    def step(self, size: int, stop_after: str = "commit") -> None:
        """Handle the next `size` records, as far as `stop_after`: mark, lists, executions (of the inserts only those), rows, or commit."""
        records = self._log[self._position : self._position + size]
        batch = batches.prepare(records, self._settings.partitions)
        assert not batch.refused
        minutes, inserts = plan(self.owned, batch, self._store.executions(lookups(self.owned, batch)))
        versions = {p: self.owned[p].dirty.mark(found) for p, found in minutes.items()}
        lists = sum(insert.table in ("execution_lists", "failures") for insert in inserts)
        parts = {"mark": 0, "lists": lists, "executions": lists + 1}.get(stop_after, len(inserts))
        self._store.write({p: (versions[p], minutes[p]) for p in minutes}, inserts[:parts])
        if parts < len(inserts):
            return
        self._position += len(records)
        for p, reach in batch.reach.items():
            self.owned[p].wrote(versions[p], reach.next_offset, reach.high_us, reach.append_us, 0)
        if stop_after == "commit":
            self.committed = self._position

    def recompute(self, *, finish: bool = True) -> None:
        settled = {p: o.dirty.settled for p, o in self.owned.items()}
        done = self._rollups.recompute(set().union(*(o.dirty.pending() for o in self.owned.values())), 60.0)
        if finish:
            self._store.finished({p: (settled[p], o.dirty.finish(done, settled[p])) for p, o in self.owned.items()})

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.db.rows(sql)

    def merge_parts(self) -> None:
        """What ClickHouse does in its own time: merge rows of the same key."""
        for table in ("job_events", "job_executions", "execution_lists", "failures", "rollup_1m", "rollup_1h"):
            self.db.command(f"OPTIMIZE TABLE {table} FINAL")

    def forget_all(self) -> None:
        """Empty the tables and disconnect."""
        tables = ("job_events", "job_executions", "execution_lists", "rollup_1m", "dirty_minutes", "writer_progress", "worker_snapshots")
        for table in (*tables, "failures", "deploys", "queue_states", "rollup_1h"):
            self.db.command(f"TRUNCATE TABLE {table}")
        self.db.close()
