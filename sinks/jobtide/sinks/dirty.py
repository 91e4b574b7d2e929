"""Minutes to recompute, of one Kafka partition: marked before rows are written, done after a recomputation has seen those rows. Pure.

A recomputation may only call a minute done for batches that were completely written when it started. Hence versions: `mark` gives a
batch the next one, `settle` says that its rows are in, and a recomputation finishes everything up to the version settled at its start.
The shell stores marks before it writes the batch, and what `finish` returns afterwards; both survive a crash in the table
`dirty_minutes`. Marks found there when the partition was assigned are *inherited*: their batch may be only half written, so they stay
pending until the log that existed at the assignment has been written again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobtide.sinks.moves import Minute


@dataclass(slots=True)
class DirtyMinutes:
    """`version` must start above everything stored for the partition."""

    version: int
    settled: int = 0
    inherited: set[Minute] = field(default_factory=set)
    _marked: dict[Minute, int] = field(default_factory=dict)

    def mark(self, minutes: Iterable[Minute]) -> int:
        """The version under which to store these marks, before the batch that causes them is written."""
        self.version += 1
        for minute in minutes:
            self._marked[minute] = self.version
        return self.version

    def settle(self, version: int) -> None:
        """The batch marked with `version`, and all before it, is written."""
        self.settled = max(self.settled, version)

    def release(self) -> None:
        """Everything that was in the log at the assignment is written: inherited minutes may now be finished."""
        self.settle(self.mark(self.inherited))
        self.inherited = set()

    def pending(self) -> set[Minute]:
        """What a recomputation should cover: also what it will not be allowed to finish yet."""
        return set(self._marked)

    def finish(self, recomputed: Iterable[Minute], settled: int) -> list[Minute]:
        """The recomputed minutes that are done as of version `settled` (read before the recomputation started)."""
        done = [minute for minute in recomputed if self._marked.get(minute, settled + 1) <= settled]
        for minute in done:
            del self._marked[minute]
        return done
