"""The series of one source partition with their open panes, and which of these must be saved, published or dropped.

Contributions are counted in the pane of their second. When the watermark passes a second's end it is *closed*: added to its minute, which
later revisions then touch too. So a minute is the sum of its closed seconds, and need not be saved while all of them are.
A closed pane that is saved and published *rests*: only its bytes are kept, in case a late event comes. Nearly all panes rest.
Not here: what an attempt contributes (`attempts`), when anything is sent (`source`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from jobtide.streams.folds.cells import Cell
from jobtide.streams.folds.panes import MINUTE_PANES_KEPT_US, SECOND_PANES_KEPT_US, SECOND_US, Pane, merge
from jobtide.streams.folds.records import SeriesKey, decode_pane, join_key, pane_key

OTHER: Final = "__other__"
_ENTRY_HEADS: Final = [bytes([second]) for second in range(60)]


class Series:
    """One series in one source partition: its panes by start, and how many attempts run or wait now.

    Seconds at rest lie packed in one value per minute, (second of the minute, length, pane) after another: an object for each would be
    most of the memory of stage 1.
    """

    __slots__ = ("dropped", "key", "minutes", "name", "newest", "resting", "running", "seconds", "told", "waiting")

    def __init__(self, key: SeriesKey) -> None:
        self.key, self.name = key, join_key(key)
        self.seconds: dict[int, Cell] = {}
        self.newest: Cell | None = None  # the second last counted in, if it does not rest: most events are of the same
        self.resting: dict[int, bytes] = {}  # by start of the minute
        self.minutes: dict[int, Cell | bytes] = {}  # bytes: a pane at rest
        self.running = self.waiting = 0
        self.told = (0, 0)  # (running, waiting) as last published
        self.dropped = False

    @property
    def idle(self) -> bool:
        return not (self.seconds or self.resting or self.minutes or self.running or self.waiting or self.told != (0, 0))

    def rest(self, start_s: int, stored: bytes) -> bool:
        """Pack a second; True if it is the first of its minute."""
        second = start_s % 60
        packed = self.resting.get(start_s - second)
        entry = _ENTRY_HEADS[second] + len(stored).to_bytes(4, "big") + stored
        self.resting[start_s - second] = entry if packed is None else packed + entry
        return packed is None

    def wake(self, start_s: int) -> bytes | None:
        """Take a second out of its pack, if it rests there."""
        second = start_s % 60
        packed = self.resting.get(start_s - second)
        if packed is None:
            return None
        at = 0
        while at < len(packed):
            end = at + 5 + int.from_bytes(packed[at + 1 : at + 5], "big")
            if packed[at] == second:
                self.resting[start_s - second] = packed[:at] + packed[end:]
                return packed[at + 5 : end]
            at = end
        return None

    def at_rest(self) -> dict[int, bytes]:
        """The seconds at rest, by start."""
        found: dict[int, bytes] = {}
        for minute_s, packed in self.resting.items():
            at = 0
            while at < len(packed):
                end = at + 5 + int.from_bytes(packed[at + 1 : at + 5], "big")
                found[minute_s + packed[at]] = packed[at + 5 : end]
                at = end
        return found

    def sums(self) -> dict[int, Pane]:
        """What its minutes hold by now, seconds that are still open included."""
        sums: dict[int, Pane] = {}
        for start_s, held in self.minutes.items():
            merge(sums.setdefault(start_s, Pane()), decode_pane(held if isinstance(held, bytes) else held.freeze()))
        for start_s, cell in self.seconds.items():
            if not cell.closed:
                merge(sums.setdefault(start_s - start_s % 60, Pane()), decode_pane(cell.freeze()))
        return sums


class SeriesTable:
    """All live series of one source partition, at most `limit`; classes beyond it are counted as `__other__` of their queue."""

    def __init__(self, partition: int, limit: int) -> None:
        self.partition, self.limit = partition, limit
        self.by_key: dict[SeriesKey, Series] = {}
        self.unsaved: list[Cell] = []
        self.unpublished: defaultdict[int, list[Cell]] = defaultdict(list)  # by end of the pane, µs
        self._unclosed: defaultdict[int, list[Cell]] = defaultdict(list)  # seconds, by their end
        self._derived: defaultdict[int, list[Cell]] = defaultdict(list)  # unsaved minutes that their seconds still hold, by start
        self._expiring: defaultdict[tuple[int, int, int], list[Series]] = defaultdict(list)  # by watermark in s at which it goes, size, start
        self._packs: defaultdict[int, list[Series]] = defaultdict(list)  # that hold seconds at rest, by start of the minute
        self._expired_s = 0  # watermark up to which panes were dropped
        self._key_start, self._key_head = (0, 0), b""  # (size, start) of the pane whose key was made last, and its first part

    def series(self, key: SeriesKey) -> Series:
        """The series to count `key` in."""
        found = self.by_key.get(key)
        if found is None:
            if len(self.by_key) >= self.limit and key.job_class != OTHER:
                return self.series(key._replace(job_class=OTHER))
            found = self.by_key[key] = Series(key)
        return found

    def apply(self, series: Series, field: int, time_us: int, sample_us: int | None, sign: int, watermark_us: int) -> bool:
        """Count one contribution (sign 1), or take it out (-1), at `time_us`; False if even the minute has gone."""
        second = time_us // SECOND_US
        if watermark_us - time_us > SECOND_PANES_KEPT_US:
            if watermark_us - time_us > MINUTE_PANES_KEPT_US:
                return False
            self._count(self._minute(series, second - second % 60), field, sample_us, sign)
            return True
        newest = series.newest
        cell = newest if newest is not None and newest.start_s == second else self._second(series, second)
        if cell.closed:
            self._count(self._minute(series, second - second % 60), field, sample_us, sign)
        self._count(cell, field, sample_us, sign)
        return True

    def _count(self, cell: Cell, field: int, sample_us: int | None, sign: int) -> None:
        cell.count(field, sample_us, sign)
        if not cell.pending:
            self._touch(cell)

    def _touch(self, cell: Cell) -> None:
        """Note that a pane has changed since it was last saved or published."""
        cell.pending = True
        if not cell.unsaved:
            cell.unsaved = True
            self.unsaved.append(cell)
        if not cell.unpublished:
            cell.unpublished = True
            self.unpublished[cell.end_us].append(cell)

    def _second(self, series: Series, start_s: int) -> Cell:
        """The cell of a second: at hand, woken, or new."""
        cell = series.seconds.get(start_s)
        if cell is None:
            stored = series.wake(start_s)
            if stored is None:
                cell = self._cell(series, 1, start_s, False)
                self._keep(series, 1, start_s)
                self._unclosed[cell.end_us].append(cell)
            else:
                cell = self._cell(series, 1, start_s, True)
                cell.thaw(stored)
            series.seconds[start_s] = cell
        series.newest = cell
        return cell

    def _minute(self, series: Series, start_s: int) -> Cell:
        """The cell of a minute: at hand, woken, or new."""
        held = series.minutes.get(start_s)
        if isinstance(held, Cell):
            return held
        cell = series.minutes[start_s] = self._cell(series, 60, start_s, True)
        if held is None:
            self._keep(series, 60, start_s)
        else:
            cell.thaw(held)
        return cell

    def _cell(self, series: Series, size_s: int, start_s: int, closed: bool) -> Cell:
        return Cell(series, size_s, start_s, self.key(series, size_s, start_s), (start_s + size_s) * SECOND_US, closed)

    def _keep(self, series: Series, size_s: int, start_s: int) -> None:
        kept_us = SECOND_PANES_KEPT_US if size_s == 1 else MINUTE_PANES_KEPT_US
        # A whole pane goes at once, so it stays until its last moment is too late to be counted.
        self._expiring[max(start_s + size_s + kept_us // SECOND_US, self._expired_s) + 1, size_s, start_s].append(series)

    def key(self, series: Series, size_s: int, start_s: int) -> bytes:
        """`pane_key`; panes come second by second, so that most keys begin like the one before."""
        if self._key_start != (size_s, start_s):
            self._key_start, self._key_head = (size_s, start_s), pane_key(size_s, start_s, self.partition, b"")
        return self._key_head + series.name

    def _rest(self, cell: Cell) -> None:
        """Keep only the bytes of a pane about which nothing has to be done, or only something that needs no more than them."""
        if not cell.closed or cell.unpublished:
            return
        if cell.unsaved:
            cell.sleep()
            return
        series, start_s = cell.series, cell.start_s
        if cell.size_s != 1:
            series.minutes[start_s] = cell.freeze()
            return
        series.seconds.pop(start_s, None)
        if series.newest is cell:
            series.newest = None
        if series.rest(start_s, cell.freeze()):
            self._packs[start_s - start_s % 60].append(series)

    def close(self, watermark_us: int) -> None:
        """Add the seconds that have ended to their minutes."""
        for end_us in [end for end in self._unclosed if end <= watermark_us]:
            for cell in self._unclosed.pop(end_us):
                cell.closed = True
                minute = self._minute(cell.series, cell.start_s - cell.start_s % 60)
                minute.merge(cell)
                if not minute.pending:
                    self._touch(minute)

    def due(self, watermark_us: int) -> Iterator[Cell]:
        """Panes that have ended and are new or revised: each once, marked as published."""
        self.close(watermark_us)
        for end_us in [end for end in self.unpublished if end <= watermark_us]:
            for cell in self.unpublished.pop(end_us):
                cell.unpublished = cell.pending = False
                yield cell
                self._rest(cell)

    def take_unsaved(self, watermark_us: int) -> Iterator[Cell]:
        """Panes to save. Minutes whose seconds are all kept are the sum of these and wait until the first of them is about to go."""
        self.close(watermark_us)
        cells, self.unsaved = self.unsaved, []
        for cell in cells:
            if cell.size_s == 1 or own_record(cell.start_s, watermark_us):
                cell.unsaved = cell.pending = False
                yield cell
                self._rest(cell)
            else:
                self._derived[cell.start_s].append(cell)
        for start_s in [start for start in self._derived if own_record(start, watermark_us)]:
            for cell in self._derived.pop(start_s):
                cell.unsaved = cell.pending = False
                yield cell
                self._rest(cell)

    def kept(self, key: SeriesKey) -> Series:
        """The series of something saved: it keeps its place, however many have been restored before it."""
        series = self.by_key.get(key)
        if series is None:
            series = self.by_key[key] = Series(key)
        return series

    def restore(self, key: SeriesKey, size_s: int, start_s: int, stored: bytes, watermark_us: int, published_us: int) -> None:
        """Put a saved pane back, as it was at `watermark_us`; one that ends after `published_us` has not been published for sure."""
        if size_s != 1 and not own_record(start_s, watermark_us):
            return  # an older record: its seconds know better
        series = self.kept(key)
        cell = self._cell(series, size_s, start_s, size_s != 1)
        cell.thaw(stored)
        if size_s == 1:
            series.seconds[start_s] = cell
        else:
            series.minutes[start_s] = cell
        self._keep(series, size_s, start_s)
        if cell.end_us > published_us:
            cell.unpublished = True
            self.unpublished[cell.end_us].append(cell)
        if size_s == 1:
            if cell.end_us > watermark_us or not own_record(start_s - start_s % 60, watermark_us):
                self._unclosed[cell.end_us].append(cell)
            else:
                cell.closed = True
        self._rest(cell)

    def expire(self, watermark_us: int, most: int) -> Iterator[bytes]:
        """Drop panes that no event can touch any more, and series without any; their keys. About `most` a call: each is a checkpoint record."""
        until = self._expired_s = max(self._expired_s, watermark_us // SECOND_US)
        dropped = 0
        for at in sorted(at for at in self._expiring if at[0] <= until):
            if dropped >= most:
                return
            _, size_s, start_s = at
            for series in self._expiring.pop(at):
                if size_s == 1:
                    series.seconds.pop(start_s, None)
                    series.newest = None
                else:
                    series.minutes.pop(start_s, None)
                    self.drop_if_idle(series)
                dropped += 1
                yield self.key(series, size_s, start_s)
        for minute_s in [minute_s for minute_s in self._packs if minute_s + 60 + SECOND_PANES_KEPT_US // SECOND_US < until]:
            for series in self._packs.pop(minute_s):
                series.resting.pop(minute_s, None)
                self.drop_if_idle(series)

    def clear(self) -> None:
        """Forget all panes, before the table itself is forgotten."""
        for series in self.by_key.values():
            series.seconds.clear()
            series.minutes.clear()
            series.newest = None

    def drop_if_idle(self, series: Series) -> None:
        if series.idle:
            series.dropped = True
            self.by_key.pop(series.key, None)


def own_record(minute_start_s: int, watermark_us: int) -> bool:
    """True once the seconds of a minute begin to be dropped: from then on it is saved itself."""
    return minute_start_s * SECOND_US + SECOND_PANES_KEPT_US <= watermark_us
