"""A partition of job.panes with its rules: a windows' fold, an evaluator that watches it, and how both take up where an owner left off.

After a take-over the log is read again from before what was saved. Up to the saved offset only the windows are rebuilt; from the next
record on the rules look again. So what was decided is not decided twice, and what was not is decided from the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobtide.streams.alerts.evaluator import Evaluator
from jobtide.streams.alerts.model import RuleBase
from jobtide.streams.alerts.saved import Restorer, save
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.folds.records import Record
from jobtide.streams.windows.fold import WindowFold


class RuledPartition:
    """`fold` is the windows, for whoever publishes them. Without `saved` nothing is watched before `watch_from_here`."""

    def __init__(self, partition: int, sources: int, rules: Sequence[RuleBase], saved: Restorer | None = None, partitions: int = 0) -> None:
        self.fold = WindowFold(partition, sources, partitions)
        self.evaluator = Evaluator(rules, self.fold)
        self._watched = False
        self._saved_offset = -1
        self._from_offset = -1  # where the evaluation stood when it was last saved
        if saved is not None and saved.applied is not None:
            saved.finish(self.evaluator)
            self.fold.begin_at(saved.applied.ticks)
            self._saved_offset = saved.applied.offset

    @property
    def resumes_at_us(self) -> int | None:
        """The watermark at which the evaluation was left, to read the log from well before it; None if it never began."""
        return self.evaluator.second * 1_000_000 if self._saved_offset >= 0 else None

    def fold_records(self, keys: Sequence[bytes], values: Sequence[bytes | None], offsets: Sequence[int]) -> None:
        if self._watched or self._saved_offset < 0 or not offsets or offsets[-1] <= self._saved_offset:
            self.fold.fold(keys, values, offsets)
            return
        known = next((n for n, offset in enumerate(offsets) if offset > self._saved_offset), len(offsets))
        if known:
            self.fold.fold(keys[:known], values[:known], offsets[:known])
        self.watch_from_here()
        self.fold.fold(keys[known:], values[known:], offsets[known:])

    def watch_from_here(self) -> None:
        if not self._watched:
            self._watched = True
            self.evaluator.start()
            self.fold.watched_by(self.evaluator)

    def take(self, whole: bool = True) -> tuple[list[Transition], list[Record]]:
        """The transitions since the last call and, if there is anything to save, the records to save after they are sent.

        `whole` False: save only together with transitions.
        """
        evaluator = self.evaluator
        if not self._watched:
            return [], []
        transitions, evaluator.transitions = evaluator.transitions, []
        if not transitions and (not whole or evaluator.offset == self._from_offset):
            return [], []
        self._from_offset = evaluator.offset
        return transitions, save(evaluator, self.fold.ticks())

    def firing(self) -> int:
        return sum(1 for compiled in self.evaluator.rules for each in compiled.instances.values() if each.state == "firing")
