"""The rolling windows of all series of one partition, at one watermark.

1m is [w-60 s, w) from 1 s panes. The longer ones begin at a whole minute: whole minutes from 60 s panes and the open
minute from 1 s panes, so that a minute that closes is taken over by its 60 s pane, which late events still revise.
Nothing is computed per series and second: what enters is added, what leaves is taken out, so a move costs as much as
there are panes at both ends, however far it is.
"""

from __future__ import annotations

from collections.abc import Callable

from jobtide.streams.folds.attempts import FAILED
from jobtide.streams.windows.series import LAST_MINUTE_S, LONG_WINDOWS, LONGEST_S, MINUTE_S, LiveSeries
from jobtide.streams.windows.shelves import Shelf
from jobtide.streams.windows.tallies import Tally, add, ended, remove
from jobtide.streams.windows.watch import Watch


class Rolling:
    """`second` is where the windows end, `minute` where their open minute begins; 0 before the first watermark."""

    def __init__(self) -> None:
        self.second = 0
        self.minute = 0
        self.seconds = Shelf()
        self.minutes = Shelf()
        self.changed: dict[LiveSeries, None] = {}
        self.on_minute: Callable[[LiveSeries, int, Tally], None] | None = None  # told of each whole minute, once
        self._opened: dict[LiveSeries, None] = {}  # those with anything in the open minute
        self.watch: Watch | None = None

    def settle(self) -> None:
        """Bring late revisions into the windows that hold their pane."""
        for start_s, series, before, now in self.minutes.take_revised():
            self.changed[series] = None
            if self.on_minute is not None and not any(before.counts):  # it never entered: after a restart, most come behind the watermark
                self.on_minute(series, start_s, now)
            if self.watch is not None:
                self.watch.minute(start_s, series, before, now)
            for tally in self._long(series, start_s):
                remove(tally, before)
                add(tally, now)
        for start_s, series, before, now in self.seconds.take_revised():
            self.changed[series] = None
            remove(series.last_minute, before)
            add(series.last_minute, now)
            self._tell_second(series, start_s, now)
            if start_s >= self.minute:
                self._opened[series] = None
                for tally in series.long:
                    remove(tally, before)
                    add(tally, now)

    def advance(self, second: int) -> None:
        """Move all windows forward so that they end at `second`; revisions must be settled."""
        minute = second - second % MINUTE_S
        if minute > self.minute:
            self._roll(self.minute + MINUTE_S)  # the last minute is now the open one, whole: that is what is taken over
            self._close_minute(minute)
        self._roll(second)

    def _roll(self, second: int) -> None:
        """Move the last minute, and with it the open one, to end at `second`."""
        before_s, self.second = self.second, max(self.second, second)
        self._leave_last_minute(before_s - LAST_MINUTE_S, min(before_s, self.second - LAST_MINUTE_S))
        for start_s in self.seconds.between(max(before_s, self.second - LAST_MINUTE_S), self.second):
            self._enter_second(start_s)
        self.seconds.edge_s = self.second
        self.seconds.drop_before(self.second - LAST_MINUTE_S)

    def _long(self, series: LiveSeries, start_s: int) -> list[Tally]:
        """The long windows that the minute at `start_s` is in."""
        windows = zip(LONG_WINDOWS, series.long, strict=True)
        return [tally for (_, length_s), tally in windows if start_s >= self.minute - length_s]

    def _tell_second(self, series: LiveSeries, start_s: int, tally: Tally) -> None:
        if ended(tally):
            series.recent[start_s] = (start_s, ended(tally), tally.counts[FAILED])
        else:
            series.recent.pop(start_s, None)

    def _leave_last_minute(self, from_s: int, to_s: int) -> None:
        for start_s in self.seconds.between(from_s, to_s):
            for series, tally in self.seconds.entered(start_s):
                remove(series.last_minute, tally)
                series.recent.pop(start_s, None)
                self.changed[series] = None

    def _enter_second(self, start_s: int) -> None:
        in_open_minute = start_s >= self.minute
        changed, opened = self.changed, self._opened
        for series, tally in self.seconds.enter(start_s):
            changed[series] = None
            self._tell_second(series, start_s, tally)
            add(series.last_minute, tally)
            if in_open_minute:
                opened[series] = None
                for long in series.long:
                    add(long, tally)

    def _close_minute(self, minute: int) -> None:
        """The open minute, and those skipped, become whole ones; old ones leave. `second` is the end of the open one."""
        for series in self._opened:
            self.changed[series] = None
            for long in series.long:
                remove(long, series.last_minute)
        self._opened = {}
        before_s, self.minute = self.minute, minute
        for index, (_, length_s) in enumerate(LONG_WINDOWS):
            for start_s in self.minutes.between(before_s - length_s, min(before_s, minute - length_s)):
                for series, tally in self.minutes.entered(start_s):
                    self.changed[series] = None
                    remove(series.long[index], tally)
        for start_s in self.minutes.between(max(before_s, minute - LONGEST_S), minute):
            for series, tally in self.minutes.enter(start_s):
                self.changed[series] = None
                if self.on_minute is not None:
                    self.on_minute(series, start_s, tally)
                if self.watch is not None:
                    self.watch.minute(start_s, series, None, tally)
                for long in self._long(series, start_s):
                    add(long, tally)
        self.minutes.edge_s = minute
        self.minutes.drop_before(minute - LONGEST_S)
