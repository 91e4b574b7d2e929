"""Rules over given panes, second by second: the same fold and the same evaluator that run live. For backtests and tests.

What is given is final: nothing comes late. So the transitions are those of the live evaluation but for what late events changed there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from jobtide.streams.alerts.evaluator import Evaluator
from jobtide.streams.alerts.model import SCOPES, RuleBase
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.folds.panes import SECOND_US, Pane, merge
from jobtide.streams.folds.records import TICK, PaneRecord, Record, Tick, encode, pane_key, scopes_of, series_from, sum_key
from jobtide.streams.folds.sums import wider
from jobtide.streams.windows.fold import WindowFold

MINUTE_S = 60


class Replay:
    """Feed it seconds in order; `transitions` grows."""

    def __init__(self, rules: Sequence[RuleBase]) -> None:
        self.fold = WindowFold(0)
        self.evaluator = Evaluator(rules, self.fold)
        self.fold.watched_by(self.evaluator)
        self._by_scope = any(compiled.level in SCOPES for compiled in self.evaluator.rules)
        self._minutes: dict[int, dict[bytes, Pane]] = {}
        self._offset = 0

    @property
    def transitions(self) -> list[Transition]:
        return self.evaluator.transitions

    def second(self, start_s: int, panes: Mapping[bytes, Pane], also: Iterable[Record] = ()) -> None:
        """What ended up in the second [start_s, start_s + 1), and other records of that moment."""
        self.until(start_s)
        records: list[Record] = list(also)
        minute = self._minutes.setdefault(start_s - start_s % MINUTE_S, {})
        for name, pane in panes.items():
            records.append((pane_key(1, start_s, 0, name), encode(PaneRecord(self._offset, 0, 0, pane))))
            merge(minute.setdefault(name, Pane()), pane)
        self._fold(records, start_s + 1)

    def until(self, second: int) -> None:
        """Nothing more happens before `second`."""
        self._close_before(second)
        self._fold([], second)

    def _close_before(self, start_s: int) -> None:
        """Publish the minutes that are whole now, each when its last second has passed."""
        for minute in sorted(minute for minute in self._minutes if minute + MINUTE_S <= start_s):
            self._fold([], minute + MINUTE_S)

    def _fold(self, records: Sequence[Record], until_s: int) -> None:
        whole = [minute for minute in self._minutes if minute + MINUTE_S <= until_s]
        closed: list[tuple[bytes, Pane]] = []
        for minute in whole:
            series = self._minutes.pop(minute)
            closed += [(pane_key(MINUTE_S, minute, 0, name), pane) for name, pane in series.items()]
            closed += [(sum_key(minute, 0, name), pane) for name, pane in totals(series).items()] if self._by_scope else []
        panes = [(key, encode(PaneRecord(self._offset, 0, 0, pane))) for key, pane in closed]
        tick = (TICK + b"\x1f0", encode(Tick(0, self._offset, until_s * SECOND_US, "active")))
        all_ = [*records, *panes, tick]
        offsets = range(self._offset, self._offset + len(all_))
        self._offset += len(all_)
        self.fold.fold([key for key, _ in all_], [value for _, value in all_], offsets)
        self.fold.take_changes()


def totals(series: Mapping[bytes, Pane]) -> dict[bytes, Pane]:
    """Of panes by series: their sums by system, environment and tenant."""
    systems: dict[bytes, Pane] = {}
    for name, pane in series.items():
        merge(systems.setdefault(scopes_of(series_from(name))[0], Pane()), pane)
    return wider(systems)
