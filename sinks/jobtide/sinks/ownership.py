"""What the history writer holds of each Kafka partition it owns, from the assignment until the partition is revoked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobtide.sinks.clickhouse.history_store import Left
from jobtide.sinks.dirty import DirtyMinutes
from jobtide.sinks.known import Known
from jobtide.sinks.moves import Minute, Remembered
from jobtide.sinks.watermarks import Progress


@dataclass(slots=True)
class Owned:
    """`release_at`: end of the log at the assignment, where inherited minutes may be finished; None once they are.

    `prepared_to`: next offset after the newest prepared batch. `memory` and `known` (one for all
    partitions) are used by the preparing thread only, everything else on the event loop.
    """

    dirty: DirtyMinutes
    progress: Progress
    memory: Remembered
    known: Known
    release_at: int | None
    prepared_to: int

    def wrote(self, version: int, next_offset: int, high_us: int, append_us: int, now_us: int) -> None:
        """A batch is in ClickHouse."""
        self.dirty.settle(version)
        self.progress.advance(next_offset, high_us, append_us, now_us)
        self.release()

    def release(self) -> None:
        """Inherited minutes are anyone's once everything that was in the log at the assignment is written."""
        if self.release_at is not None and self.progress.next_offset >= self.release_at:
            self.dirty.release()
            self.release_at = None


def pending(owned: Mapping[int, Owned]) -> set[Minute]:
    """All minutes that are marked and not finished."""
    return set().union(*(o.dirty.pending() for o in owned.values()))


def adopt(left: Left, positions: Mapping[int, tuple[int, int]], remembered: int, disorder_us: int, now_us: int) -> dict[int, Owned]:
    """New partitions, with what an earlier owner left. `positions`: (next offset, end of the log); `remembered`: attempts in each."""
    owned: dict[int, Owned] = {}
    for partition, (next_offset, end) in positions.items():
        # Versions are clock readings only so that they grow over restarts; the stored ones win where a clock was ahead.
        dirty = DirtyMinutes(max(left.version, now_us), inherited=left.pending[partition])
        progress = Progress(partition, disorder_us, next_offset, now_us)
        owned[partition] = Owned(dirty, progress, Remembered(max(remembered // 2, 1)), left.known, end, next_offset)
        owned[partition].release()
    return owned
