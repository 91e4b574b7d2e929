"""How far the source partitions have come, by their ticks: the only clock of stage 2.

Each source's watermark only grows, whatever is replayed. Not here: what moves when it does (`rolling`).
"""

from __future__ import annotations

from typing import Literal, cast

from jobtide.streams.folds.records import Tick
from jobtide.streams.snapshots import ProgressSnapshot, SourceProgress
from msgspec import structs

_State = Literal["active", "idle", "lagging"]


class Watermarks:
    """The newest tick of each source partition seen so far; nothing is complete before `expected` of them have been."""

    def __init__(self, partition: int, expected: int = 0) -> None:
        self.partition, self.expected = partition, expected
        self._ticks: dict[int, Tick] = {}
        self.changed = False

    def fold(self, tick: Tick) -> None:
        known = self._ticks.get(tick.partition)
        if known is not None:
            newer = tick if tick.version >= known.version else known
            tick = structs.replace(newer, watermark_us=max(tick.watermark_us, known.watermark_us), told_us=max(tick.told_us, known.told_us))
            if tick == known:
                return
        self._ticks[tick.partition] = tick
        self.changed = True

    @property
    def complete_until_us(self) -> int:
        """Everything before this has been published by every source partition; 0 if that is not known."""
        if not self._ticks or len(self._ticks) < self.expected:
            return 0
        return min(tick.watermark_us for tick in self._ticks.values())

    @property
    def clock_us(self) -> int:
        """The newest clock that a tick told; 0 if none did (in a replay of history)."""
        return max((tick.told_us for tick in self._ticks.values()), default=0)

    def ticks(self) -> list[Tick]:
        return list(self._ticks.values())

    def snapshot(self) -> ProgressSnapshot:
        ticks = dict(sorted(self._ticks.items()))
        return ProgressSnapshot(
            partition=self.partition,
            complete_until=self.complete_until_us,
            sources={str(source): SourceProgress(t.watermark_us, cast(_State, t.state)) for source, t in ticks.items()},
            live_late_dropped=sum(tick.late_dropped for tick in ticks.values()),
            rejected=sum(tick.rejected for tick in ticks.values()),
        )
