"""What a rule looks at: one series, or all of one queue's together, as sums over the fold's windows.

A sum of several series is made once per evaluated second and window, however many rules ask for it.
"""

from __future__ import annotations

from jobtide.streams.windows.series import LiveSeries
from jobtide.streams.windows.tallies import Tally, add

WINDOW_INDEX = {"1m": 0, "5m": 1, "15m": 2, "1h": 3}


class Group:
    """`key` has five parts for a class of a queue, four for a queue, and for a whole system, environment or tenant five with empty ones at the end.

    `second`: the second being evaluated; what sums up whole minutes is as of the last whole one.
    """

    __slots__ = ("_summed_at", "_sums", "_whole", "key", "second", "series")

    def __init__(self, key: tuple[str, ...]) -> None:
        self.key = key
        self._whole = not key[3]
        self.series: list[LiveSeries] = []
        self.second = 0
        self._sums: dict[int, Tally] = {}
        self._summed_at = -1

    def at(self, second: int) -> None:
        self.second = second - second % 60 if self._whole else second

    def tally(self, index: int) -> Tally:
        """The sum over window `index` of WINDOW_INDEX."""
        members = self.series
        if len(members) == 1:
            return members[0].long[index - 1] if index else members[0].last_minute
        if self._summed_at != self.second:
            self._sums, self._summed_at = {}, self.second
        found = self._sums.get(index)
        if found is None:
            found = self._sums[index] = Tally()
            for series in members:
                add(found, series.long[index - 1] if index else series.last_minute)
        return found

    @property
    def waiting(self) -> int:
        return sum(series.waiting for series in self.series)

    @property
    def running(self) -> int:
        return sum(series.running for series in self.series)
