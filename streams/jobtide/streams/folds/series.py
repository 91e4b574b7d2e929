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

from jobtide.streams.folds.attempts import FINISHED, STARTED
from jobtide.streams.folds.panes import MINUTE_PANES_KEPT_US, SECOND_PANES_KEPT_US, SECOND_US, Pane, merge
from jobtide.streams.folds.records import SeriesKey, decode_pane, encode, join_key, pane_key
from jobtide.streams.sketches.histogram import ZERO, bucket
from mypy_extensions import mypyc_attr

OTHER: Final = "__other__"


@mypyc_attr(acyclic=True)
class Cell:
    """A pane that is not at rest, in its place, with what has still to be done about it. `stored`: the pane, or its bytes once it is closed.

    Not known to the garbage collector, which would find nothing in millions of them: `SeriesTable.clear` takes the cycle with `series` apart.
    """

    __slots__ = ("closed", "end_us", "key", "pending", "series", "size_s", "start_s", "stored", "unpublished", "unsaved")

    def __init__(self, series: Series, size_s: int, start_s: int, key: bytes, stored: Pane | bytes, end_us: int, closed: bool) -> None:
        self.series, self.size_s, self.start_s, self.key, self.stored, self.end_us = series, size_s, start_s, key, stored, end_us
        self.closed = closed  # a second: added to its minute
        self.unsaved = self.unpublished = False
        self.pending = False  # both of these are set: one check on the hot path instead of two

    @property
    def pane(self) -> Pane:
        """The pane, to read or to change."""
        if isinstance(self.stored, bytes):
            self.stored = decode_pane(self.stored)
        return self.stored

    def freeze(self) -> bytes:
        """The pane's bytes, encoded once for publication and checkpoint; kept instead of it once its second is over."""
        value = self.stored if isinstance(self.stored, bytes) else encode(self.stored)
        if self.closed:
            self.stored = value
        return value


class Series:
    """One series in one source partition: its open panes by start, and how many attempts run or wait now."""

    __slots__ = ("key", "minutes", "name", "running", "seconds", "told", "waiting")

    def __init__(self, key: SeriesKey) -> None:
        self.key, self.name = key, join_key(key)
        self.seconds: dict[int, Cell | bytes] = {}  # bytes: a pane at rest
        self.minutes: dict[int, Cell | bytes] = {}
        self.running = self.waiting = 0
        self.told = (0, 0)  # (running, waiting) as last published

    @property
    def idle(self) -> bool:
        return not (self.seconds or self.minutes or self.running or self.waiting or self.told != (0, 0))

    def sums(self) -> dict[int, Pane]:
        """What its minutes hold by now, seconds that are still open included."""
        sums: dict[int, Pane] = {}
        for start_s, held in self.minutes.items():
            merge(sums.setdefault(start_s, Pane()), decode_pane(held) if isinstance(held, bytes) else held.pane)
        for start_s, held in self.seconds.items():
            if isinstance(held, Cell) and not held.closed:
                merge(sums.setdefault(start_s - start_s % 60, Pane()), held.pane)
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
        self._expired_s = 0  # watermark up to which panes were dropped

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
        cell = series.seconds.get(second)
        if type(cell) is not Cell:  # isinstance costs more, and this is the hot path
            cell = self._second(series, second)
        if cell.closed:
            self._count(self._minute(series, second - second % 60), field, sample_us, sign)
        self._count(cell, field, sample_us, sign)
        return True

    def _count(self, cell: Cell, field: int, sample_us: int | None, sign: int) -> None:
        stored = cell.stored
        pane = cell.pane if isinstance(stored, bytes) else stored
        pane.counts[field] += sign
        if not cell.pending:
            self._touch(cell)
        if sample_us is None:
            return
        if field == STARTED:
            samples = pane.wait
            if sample_us > 0:
                pane.wait_sum_us += sample_us * sign
            elif sample_us < 0:  # clocks disagree: kept raw in history, 0 in the histogram, counted here
                pane.negative_waits += sign
        elif field == FINISHED:
            samples = pane.run_ok
            if sample_us > 0:
                pane.ok_sum_us += sample_us * sign
        else:
            samples = pane.run_failed
            if sample_us > 0:
                pane.failed_sum_us += sample_us * sign
        index = bucket(sample_us) if sample_us > 0 else ZERO
        total = samples.get(index, 0) + sign
        if total:
            samples[index] = total
        else:
            del samples[index]

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
        cell, is_new = self._cell(series, series.seconds, 1, start_s)
        if is_new:
            self._unclosed[cell.end_us].append(cell)
        return cell

    def _minute(self, series: Series, start_s: int) -> Cell:
        return self._cell(series, series.minutes, 60, start_s)[0]

    def _cell(self, series: Series, cells: dict[int, Cell | bytes], size_s: int, start_s: int) -> tuple[Cell, bool]:
        """The cell of a pane, woken if it rests, and whether it is a new one."""
        held = cells.get(start_s)
        if isinstance(held, Cell):
            return held, False
        if held is not None:
            return self._place(series, cells, size_s, start_s, held, True), False
        self._keep(series, size_s, start_s)
        return self._place(series, cells, size_s, start_s, Pane([0, 0, 0, 0, 0, 0, 0, 0]), size_s != 1), True

    def _place(self, series: Series, cells: dict[int, Cell | bytes], size_s: int, start_s: int, stored: Pane | bytes, closed: bool) -> Cell:
        key, end_us = self.key(series, size_s, start_s), (start_s + size_s) * SECOND_US
        cell = cells[start_s] = Cell(series, size_s, start_s, key, stored, end_us, closed)
        return cell

    def _keep(self, series: Series, size_s: int, start_s: int) -> None:
        kept_us = SECOND_PANES_KEPT_US if size_s == 1 else MINUTE_PANES_KEPT_US
        # A whole pane goes at once, so it stays until its last moment is too late to be counted.
        self._expiring[max(start_s + size_s + kept_us // SECOND_US, self._expired_s) + 1, size_s, start_s].append(series)

    def key(self, series: Series, size_s: int, start_s: int) -> bytes:
        return pane_key(size_s, start_s, self.partition, series.name)

    def _rest(self, cell: Cell) -> None:
        """Keep only the bytes of a pane about which nothing has to be done."""
        if cell.closed and not cell.unsaved and not cell.unpublished:
            (cell.series.seconds if cell.size_s == 1 else cell.series.minutes)[cell.start_s] = cell.freeze()

    def close(self, watermark_us: int) -> None:
        """Add the seconds that have ended to their minutes."""
        for end_us in [end for end in self._unclosed if end <= watermark_us]:
            for cell in self._unclosed.pop(end_us):
                cell.closed = True
                minute = self._minute(cell.series, cell.start_s - cell.start_s % 60)
                merge(minute.pane, cell.pane)
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
        cells = series.seconds if size_s == 1 else series.minutes
        cell = self._place(series, cells, size_s, start_s, stored, size_s != 1)
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
                (series.seconds if size_s == 1 else series.minutes).pop(start_s, None)
                self.drop_if_idle(series)
                dropped += 1
                yield self.key(series, size_s, start_s)

    def clear(self) -> None:
        """Forget all panes, before the table itself is forgotten."""
        for series in self.by_key.values():
            series.seconds.clear()
            series.minutes.clear()

    def drop_if_idle(self, series: Series) -> None:
        if series.idle:
            self.by_key.pop(series.key, None)


def own_record(minute_start_s: int, watermark_us: int) -> bool:
    """True once the seconds of a minute begin to be dropped: from then on it is saved itself."""
    return minute_start_s * SECOND_US + SECOND_PANES_KEPT_US <= watermark_us
