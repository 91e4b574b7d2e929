"""The rolling windows of all series of one partition, at one watermark.

1m is [w-60 s, w) from 1 s panes. The longer ones begin at a whole minute: whole minutes from 60 s panes and the open
minute from 1 s panes, so that a minute that closes is taken over by its 60 s pane, which late events still revise.
Nothing is computed per series and second: what enters is added, what leaves is taken out, so a move costs as much as
there are panes at both ends, however far it is.
"""

from __future__ import annotations

from jobtide.streams.folds.panes import Pane
from jobtide.streams.windows.series import LAST_MINUTE_S, LONG_WINDOWS, LONGEST_S, MINUTE_S, LiveSeries, Share
from jobtide.streams.windows.shelves import Shelf
from jobtide.streams.windows.tallies import add, remove, terminal


class Rolling:
    """`second` is where the windows end, `minute` where their open minute begins; 0 before the first watermark."""

    def __init__(self) -> None:
        self.second = 0
        self.minute = 0
        self.seconds = Shelf()
        self.minutes = Shelf()
        self.changed: dict[LiveSeries, None] = {}
        self._opened: dict[LiveSeries, None] = {}  # those with anything in the open minute
        self._revised: dict[tuple[int, int, LiveSeries], None] = {}  # (size, start, series) in a window already

    def put(self, size_s: int, start_s: int, share: Share, value: bytes, version: int) -> None:
        """Take a published pane. One that no window can ever hold again is ignored."""
        series = share.series
        if size_s == 1:
            if start_s < self.second - LAST_MINUTE_S or not self.seconds.put(start_s, share, value, version):
                return
            revised = start_s < self.second
            ends_s = start_s - start_s % MINUTE_S + MINUTE_S
        else:
            if start_s < self.minute - LONGEST_S or not self.minutes.put(start_s, share, value, version):
                return
            revised = start_s < self.minute
            ends_s = start_s + MINUTE_S
        if revised:
            self._revised[size_s, start_s, series] = None
        if ends_s > series.ends_s:
            series.ends_s = ends_s

    def settle(self) -> None:
        """Bring late revisions into the windows that hold their pane."""
        revised, self._revised = self._revised, {}
        for size_s, start_s, series in revised:
            before, now = (self.seconds if size_s == 1 else self.minutes).resum(start_s, series)
            self.changed[series] = None
            panes = self._holding(size_s, start_s, series)
            for pane in panes:
                if before is not None:
                    remove(pane, before)
                add(pane, now)
            if size_s == 1:
                self._tell_second(series, start_s, now)

    def _holding(self, size_s: int, start_s: int, series: LiveSeries) -> list[Pane]:
        """The sums that the pane of a start is part of."""
        if size_s == MINUTE_S:
            return self._long(series, start_s)
        if start_s < self.minute:
            return [series.last_minute]
        self._opened[series] = None
        return [series.last_minute, series.open, *series.long]

    def _long(self, series: LiveSeries, start_s: int) -> list[Pane]:
        windows = zip(LONG_WINDOWS, series.long, strict=True)
        return [pane for (_, length_s), pane in windows if start_s >= self.minute - length_s]

    def _tell_second(self, series: LiveSeries, start_s: int, pane: Pane) -> None:
        ended, failed = terminal(pane)
        if ended or failed:
            series.recent[start_s] = (start_s, ended, failed)
        else:
            series.recent.pop(start_s, None)

    def advance(self, second: int) -> None:
        """Move all windows forward so that they end at `second`."""
        if second <= self.second:
            return
        self.settle()
        before_s, self.second = self.second, second
        self._leave_last_minute(before_s - LAST_MINUTE_S, min(before_s, second - LAST_MINUTE_S))
        minute = second - second % MINUTE_S
        if minute > self.minute:
            self._close_minute(minute)
        for start_s in self.seconds.between(max(before_s, second - LAST_MINUTE_S), second):
            self._enter_second(start_s)
        self.seconds.drop_before(second - LAST_MINUTE_S)

    def _leave_last_minute(self, from_s: int, to_s: int) -> None:
        for start_s in self.seconds.between(from_s, to_s):
            for series, pane in self.seconds.entered(start_s):
                remove(series.last_minute, pane)
                series.recent.pop(start_s, None)
                self.changed[series] = None

    def _enter_second(self, start_s: int) -> None:
        in_open_minute = start_s >= self.minute
        changed, opened = self.changed, self._opened
        for series, pane in self.seconds.enter(start_s).items():
            add(series.last_minute, pane)
            if in_open_minute:
                add(series.open, pane)
                for long in series.long:
                    add(long, pane)
                opened[series] = None
            self._tell_second(series, start_s, pane)
            changed[series] = None

    def _close_minute(self, minute: int) -> None:
        """The open minute, and those skipped, become whole ones; old ones leave."""
        for series in self._opened:
            for long in series.long:
                remove(long, series.open)
            series.open = Pane()
            self.changed[series] = None
        self._opened = {}
        before_s, self.minute = self.minute, minute
        for index, (_, length_s) in enumerate(LONG_WINDOWS):
            for start_s in self.minutes.between(before_s - length_s, min(before_s, minute - length_s)):
                for series, pane in self.minutes.entered(start_s):
                    remove(series.long[index], pane)
                    self.changed[series] = None
        for start_s in self.minutes.between(max(before_s, minute - LONGEST_S), minute):
            for series, pane in self.minutes.enter(start_s).items():
                for long in self._long(series, start_s):
                    add(long, pane)
                self.changed[series] = None
        self.minutes.drop_before(minute - LONGEST_S)
