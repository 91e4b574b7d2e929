"""The series of one source partition with their open panes, and which of these must be saved, published or dropped.

Applies contributions to panes. Not here: what an attempt contributes (`attempts`), when anything is sent (`source`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from jobtide.streams.folds.attempts import FINISHED, STARTED
from jobtide.streams.folds.panes import MINUTE_PANES_KEPT_US, SECOND_PANES_KEPT_US, SECOND_US, Pane
from jobtide.streams.folds.records import SeriesKey, join_key, pane_key
from jobtide.streams.sketches.histogram import ZERO, bucket

OTHER = "__other__"


class Cell:
    """A pane in its place, with what has still to be done about it."""

    __slots__ = ("end_us", "key", "pane", "pending", "series", "size_s", "start_s", "unpublished", "unsaved")

    def __init__(self, series: Series, size_s: int, start_s: int, key: bytes, pane: Pane) -> None:
        self.series, self.size_s, self.start_s, self.key, self.pane = series, size_s, start_s, key, pane
        self.end_us = (start_s + size_s) * SECOND_US
        self.unsaved = self.unpublished = False
        self.pending = False  # both of these are set: one check on the hot path instead of two


class Series:
    """One series in one source partition: its open panes by start, and how many attempts run or wait now."""

    __slots__ = ("key", "minutes", "name", "running", "seconds", "told", "waiting")

    def __init__(self, key: SeriesKey) -> None:
        self.key, self.name = key, join_key(key)
        self.seconds: dict[int, Cell] = {}
        self.minutes: dict[int, Cell] = {}
        self.running = self.waiting = 0
        self.told = (0, 0)  # (running, waiting) as last published

    @property
    def idle(self) -> bool:
        return not (self.seconds or self.minutes or self.running or self.waiting or self.told != (0, 0))


class SeriesTable:
    """All live series of one source partition, at most `limit`; classes beyond it are counted as `__other__` of their queue."""

    def __init__(self, partition: int, limit: int) -> None:
        self.partition, self.limit = partition, limit
        self.by_key: dict[SeriesKey, Series] = {}
        self.unsaved: list[Cell] = []
        self.unpublished: defaultdict[int, list[Cell]] = defaultdict(list)  # by end of the pane, µs
        self._expiring: defaultdict[int, list[Cell]] = defaultdict(list)  # by the watermark, in s, at which it goes
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
        """Count one contribution (sign 1), or take it out (-1), in the second and the minute of `time_us`; False if even that has gone."""
        late_us = watermark_us - time_us
        if late_us > MINUTE_PANES_KEPT_US:
            return False
        second = time_us // SECOND_US
        minute = second - second % 60
        cell = series.minutes.get(minute)
        if cell is None:
            cell = self._open(series, series.minutes, 60, minute)
        cells: tuple[Cell, ...] = (cell,)
        if late_us <= SECOND_PANES_KEPT_US:
            of_second = series.seconds.get(second)
            if of_second is None:
                of_second = self._open(series, series.seconds, 1, second)
            cells = (cell, of_second)
        if sample_us is None:
            for cell in cells:
                pane = cell.pane
                pane.counts[field] += sign
                if not cell.pending:
                    self._touch(cell)
        else:
            self._count_sample(cells, field, sample_us, sign)
        return True

    def _count_sample(self, cells: tuple[Cell, ...], field: int, sample_us: int, sign: int) -> None:
        index, added_us, negative = (bucket(sample_us), sample_us * sign, False) if sample_us > 0 else (ZERO, 0, sample_us < 0)
        for cell in cells:
            pane = cell.pane
            pane.counts[field] += sign
            if field == STARTED:
                pane.wait_sum_us += added_us
                samples = pane.wait
                if negative:  # clocks disagree: kept raw in history, 0 in the histogram, counted here
                    pane.negative_waits += sign
            elif field == FINISHED:
                pane.ok_sum_us += added_us
                samples = pane.run_ok
            else:
                pane.failed_sum_us += added_us
                samples = pane.run_failed
            total = samples.get(index, 0) + sign
            if total:
                samples[index] = total
            else:
                del samples[index]
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

    def _open(self, series: Series, cells: dict[int, Cell], size_s: int, start_s: int, pane: Pane | None = None) -> Cell:
        key = pane_key(size_s, start_s, self.partition, series.name)
        cell = cells[start_s] = Cell(series, size_s, start_s, key, pane or Pane())
        kept_us = SECOND_PANES_KEPT_US if size_s == 1 else MINUTE_PANES_KEPT_US
        # A whole pane goes at once, so it stays until its last moment is too late to be counted.
        self._expiring[max(start_s + size_s + kept_us // SECOND_US, self._expired_s) + 1].append(cell)
        return cell

    def restore(self, key: SeriesKey, size_s: int, start_s: int, pane: Pane, published_us: int) -> None:
        """Put a pane back from the checkpoint; one that ends after `published_us` has not been published for sure."""
        series = self.by_key.get(key)
        if series is None:  # a saved series keeps its place, whatever the limit is now
            series = self.by_key[key] = Series(key)
        cell = self._open(series, series.seconds if size_s == 1 else series.minutes, size_s, start_s, pane)
        if cell.end_us > published_us:
            cell.unpublished = True
            self.unpublished[cell.end_us].append(cell)

    def due(self, watermark_us: int) -> Iterator[Cell]:
        """Panes that have ended and are new or revised: each once, marked as published."""
        for end_us in [end for end in self.unpublished if end <= watermark_us]:
            for cell in self.unpublished.pop(end_us):
                cell.unpublished = cell.pending = False
                yield cell

    def take_unsaved(self) -> list[Cell]:
        cells, self.unsaved = self.unsaved, []
        for cell in cells:
            cell.unsaved = cell.pending = False
        return cells

    def expire(self, watermark_us: int, most: int) -> Iterator[Cell]:
        """Drop panes that no event can touch any more, and series without any: about `most` a call, since each is a checkpoint record."""
        until = self._expired_s = max(self._expired_s, watermark_us // SECOND_US)
        dropped = 0
        for at in sorted(at for at in self._expiring if at <= until):
            if dropped >= most:
                return
            for cell in self._expiring.pop(at):
                series = cell.series
                (series.seconds if cell.size_s == 1 else series.minutes).pop(cell.start_s, None)
                self.drop_if_idle(series)
                dropped += 1
                yield cell

    def drop_if_idle(self, series: Series) -> None:
        if series.idle:
            self.by_key.pop(series.key, None)

