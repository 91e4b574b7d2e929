"""Outcomes of each series over up to three days, for burn rates: sums per five minutes, and running sums of the long windows.

Fed with differences of minute sums (a minute that closed, or a late revision), so that revisions find their place. A window begins at a
whole bucket. Saved by hour: only the hours that changed are written.
"""

from __future__ import annotations

from collections.abc import Iterable

BUCKET_S = 300
HOUR_S = 3600
LENGTHS_S = (1800, 7200, 21_600, 86_400, 259_200)  # the windows that the fold's own do not cover
LONGEST_S = LENGTHS_S[-1]

Counts = tuple[int, int, int]  # finished, failed, dead
NOTHING: Counts = (0, 0, 0)


class LongTotals:
    """One series."""

    __slots__ = ("buckets", "edge_s", "sums")

    def __init__(self) -> None:
        self.buckets: dict[int, Counts] = {}  # by start, s
        self.sums: list[list[int]] = [[0, 0, 0] for _ in LENGTHS_S]
        self.edge_s = 0  # the windows begin at edge_s − length

    def add(self, minute_s: int, finished: int, failed: int, dead: int) -> None:
        start = minute_s - minute_s % BUCKET_S
        if start < self.edge_s - LONGEST_S:
            return
        known = self.buckets.get(start, NOTHING)
        self.buckets[start] = (known[0] + finished, known[1] + failed, known[2] + dead)
        for sums, length_s in zip(self.sums, LENGTHS_S, strict=True):
            if start >= self.edge_s - length_s:
                sums[0] += finished
                sums[1] += failed
                sums[2] += dead

    def roll(self, second: int) -> bool:
        """Let the windows end at `second`. True if a bucket left one of them."""
        edge_s = second - second % BUCKET_S
        if edge_s <= self.edge_s:
            return False
        before_s, self.edge_s = self.edge_s, edge_s
        left = False
        for sums, length_s in zip(self.sums, LENGTHS_S, strict=True):
            for start in self._starts(before_s - length_s, edge_s - length_s):
                counts = self.buckets[start]
                left = True
                for place in range(3):
                    sums[place] -= counts[place]
        for start in self._starts(before_s - LONGEST_S, edge_s - LONGEST_S):
            del self.buckets[start]
        return left

    def _starts(self, from_s: int, to_s: int) -> list[int]:
        if to_s - from_s > BUCKET_S * max(8, len(self.buckets)):
            return [start for start in self.buckets if from_s <= start < to_s]
        return [start for start in range(from_s - from_s % BUCKET_S, to_s, BUCKET_S) if start >= from_s and start in self.buckets]

    def counts(self, length_s: int) -> list[int]:
        return self.sums[LENGTHS_S.index(length_s)]

    def hour(self, hour: int) -> list[tuple[int, int, int, int]]:
        """The buckets of one hour, to be saved."""
        return [(start, *self.buckets[start]) for start in range(hour * HOUR_S, (hour + 1) * HOUR_S, BUCKET_S) if start in self.buckets]

    def load(self, buckets: Iterable[tuple[int, int, int, int]]) -> None:
        """Buckets that were saved; `settle` when all are there."""
        self.buckets.update({start: (finished, failed, dead) for start, finished, failed, dead in buckets})

    def settle(self, second: int) -> None:
        self.edge_s = second - second % BUCKET_S
        self.buckets = {start: counts for start, counts in self.buckets.items() if start >= self.edge_s - LONGEST_S}
        self.sums = [
            [sum(counts[place] for start, counts in self.buckets.items() if start >= self.edge_s - length_s) for place in range(3)]
            for length_s in LENGTHS_S
        ]
