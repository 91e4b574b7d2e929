"""What the history writer reads and writes in ClickHouse besides the batches themselves. Blocking; no decisions.

Its state lives in two tables: `dirty_minutes` (see `sinks.dirty`) and `writer_progress` (see `sinks.watermarks`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.executions import STORED, Execution, Key, stored_from
from jobtide.sinks.inserts import Insert, Values, insert
from jobtide.sinks.known import BITS_EACH, EVERYTHING, LOAD, Known, bits_for
from jobtide.sinks.moves import Minute

LOOKUP_JOBS = 5_000  # jobs asked for in one query
_MARK_COLUMNS = ("kafka_partition", "tenant", "minute", "marked", "done")
_PROGRESS_COLUMNS = (
    "kafka_partition", "next_offset", "watermark", "rollup_watermark", "appended_at", "state", "updated_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Left:
    """What an earlier owner of some partitions left: `version` is above all its marks, `pending` minutes are not recomputed yet."""

    version: int
    pending: dict[int, set[Minute]]
    known: Known


class HistoryStore:
    def __init__(self, db: ClickHouse) -> None:
        self._db = db

    def left(self, partitions: Collection[int]) -> Left:
        """The state of newly assigned partitions. Raises TransientError."""
        [(version,)] = self._db.rows("SELECT greatest(max(marked), max(done)) FROM dirty_minutes")
        pending: dict[int, set[Minute]] = {partition: set() for partition in partitions}
        found = self._db.rows(
            "SELECT kafka_partition, tenant, toUnixTimestamp(minute) FROM dirty_minutes WHERE kafka_partition IN %(partitions)s"
            " GROUP BY kafka_partition, tenant, minute HAVING max(marked) > max(done)",
            {"partitions": list(partitions)},
        )
        for partition, tenant, minute in found:
            pending[partition].add((tenant, minute))
        return Left(int(version), pending, self.known())

    def known(self) -> Known:
        """A filter of the attempts written so far, or of the newest if they are too many for it."""
        [(rows,)] = self._db.rows("SELECT count() FROM job_executions")
        if not rows:
            return Known()
        bits = bits_for(rows)
        capacity = bits // BITS_EACH
        since_us = 0 if rows <= capacity else self._since_us(capacity)
        return Known(self._db.binary(LOAD, {"since": since_us, "bits": bits}), min(rows, capacity), since_us or EVERYTHING)

    def _since_us(self, rows: int) -> int:
        """The hour since when about so many rows were written."""
        hours = self._db.rows("SELECT toUnixTimestamp(toStartOfHour(last_at)) AS hour, count() FROM job_executions GROUP BY hour ORDER BY hour DESC")
        total = 0
        for hour_s, count in hours:
            total += count
            if total > rows:
                return (int(hour_s) + 3600) * 1_000_000
        return 0

    def executions(self, keys: Sequence[Key]) -> dict[Key, Execution]:
        """What was written so far of those of the attempts that are known at all; no errors, no workers."""
        found: dict[Key, Execution] = {}
        for start in range(0, len(keys), LOOKUP_JOBS):
            wanted = set(keys[start : start + LOOKUP_JOBS])
            parameters = {"queues": sorted({key[:4] for key in wanted}), "job_ids": sorted({key[4] for key in wanted})}
            for row in zip(*self._db.columns(STORED, parameters), strict=True):
                key, execution = stored_from(row)
                if key in wanted:
                    found[key] = execution
        return found

    def write(self, marks: Mapping[int, tuple[int, Collection[Minute]]], inserts: Sequence[Insert]) -> None:
        """A batch: first the minutes it makes dirty (partition → version, minutes), so that a crash cannot lose them, then its rows."""
        self._mark([v for p, (version, minutes) in marks.items() for minute in minutes for v in (p, *minute, version, 0)])
        for each in inserts:
            self._db.insert(each)

    def finished(self, done: Mapping[int, tuple[int, Collection[Minute]]]) -> None:
        """Minutes recomputed: partition → version up to which, minutes."""
        self._mark([v for p, (version, minutes) in done.items() for minute in minutes for v in (p, *minute, 0, version)])

    def _mark(self, values: Values) -> None:
        self._db.insert(insert("dirty_minutes", _MARK_COLUMNS, values))

    def progress(self, rows: Sequence[tuple[int, int, int, int, int, str, int]]) -> None:
        """Rows in the order of `_PROGRESS_COLUMNS`; times in µs."""
        self._db.insert(insert("writer_progress", _PROGRESS_COLUMNS, [v for r in rows for v in (*r[:4], r[4] // 1000, *r[5:])]))
