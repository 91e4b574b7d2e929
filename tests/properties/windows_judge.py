"""What stage 2 should tell, computed the slow way: every record kept, every window summed up from all panes, each time.

Shares nothing with `streams.windows` but the form of the records. Also the records themselves, as stage 1 would send
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from jobtide.streams.folds.attempts import FIELDS
from jobtide.streams.folds.panes import Pane, merge
from jobtide.streams.folds.records import Gauge, PaneRecord, Record, Tick, encode, pane_key
from jobtide.streams.snapshots import HistogramSnapshot, HotWrite, SeriesSnapshot, WindowSnapshot

WINDOWS = {"5m": 5, "15m": 15, "1h": 60}  # in whole minutes; 1m is by the second
_read = msgspec.json.Decoder(SeriesSnapshot).decode


def series_name(number: int) -> bytes:
    return b"acme\x1fdefault\x1fcelery\x1femails\x1fClass%d" % number


def field_of(name: bytes) -> str:
    return name.decode().split("\x1f", 1)[1]


class Put(NamedTuple):
    """One pane as published."""

    size_s: int
    start_s: int
    source: int
    series: bytes
    version: int
    pane: Pane
    running: int = 0
    waiting: int = 0

    def record(self) -> Record:
        value = encode(PaneRecord(self.version, self.running, self.waiting, self.pane))
        return (pane_key(self.size_s, self.start_s, self.source, self.series), value)


class Count(NamedTuple):
    """The gauges of one source partition, told without a pane."""

    source: int
    series: bytes
    version: int
    running: int
    waiting: int

    def record(self) -> Record:
        return (b"g\x1f%d\x1f%b" % (self.source, self.series), encode(Gauge(self.version, self.running, self.waiting)))


class Passed(NamedTuple):
    """A tick: the source partition has published everything before `watermark_us`."""

    source: int
    watermark_us: int
    version: int = 0

    def record(self) -> Record:
        return (b"t\x1f%d" % self.source, encode(Tick(self.source, self.version, self.watermark_us, "active")))


Told = Put | Count | Passed


class Judge:
    """Every record ever sent, and the windows that follow from them."""

    def __init__(self, sources: int = 0) -> None:
        self.sources = sources
        self.panes: dict[tuple[int, int, int, bytes], Put] = {}
        self.gauges: dict[tuple[bytes, int], tuple[int, int, int]] = {}
        self.watermarks: dict[int, int] = {}
        self.at_us = 0

    def take(self, batch: Iterable[Told]) -> None:
        for told in batch:
            if isinstance(told, Passed):
                self.watermarks[told.source] = max(told.watermark_us, self.watermarks.get(told.source, 0))
                continue
            if isinstance(told, Put):
                key = (told.size_s, told.start_s, told.source, told.series)
                if key not in self.panes or self.panes[key].version <= told.version:
                    self.panes[key] = told
            place = (told.series, told.source)
            if place not in self.gauges or self.gauges[place][0] <= told.version:
                self.gauges[place] = (told.version, told.running, told.waiting)
        if len(self.watermarks) >= max(1, self.sources):
            self.at_us = max(self.at_us, min(self.watermarks.values()))

    def forget(self, series: bytes) -> None:
        """What was removed is known no more: the next word on its gauges counts, whatever its version."""
        for place in [place for place in self.gauges if place[0] == series]:
            del self.gauges[place]

    @property
    def second(self) -> int:
        return self.at_us // 1_000_000

    def names(self) -> set[bytes]:
        return {name for name, _ in self.gauges} | {put.series for put in self.panes.values()}

    def gauge(self, series: bytes) -> tuple[int, int]:
        known = [gauge for (name, _), gauge in self.gauges.items() if name == series]
        return sum(gauge[1] for gauge in known), sum(gauge[2] for gauge in known)

    def window(self, series: bytes, name: str) -> Pane:
        second, minute = self.second, self.second // 60 * 60
        total = Pane()
        for put in self.panes.values():
            if put.series != series:
                continue
            if name == "1m":
                inside = put.size_s == 1 and second - 60 <= put.start_s < second
            elif put.size_s == 1:
                inside = minute <= put.start_s < second
            else:
                inside = minute - 60 * WINDOWS[name] <= put.start_s < minute
            if inside:
                merge(total, put.pane)
        return total

    def per_second(self, series: bytes) -> list[tuple[int, int, int]]:
        ended: Counter[int] = Counter()
        failed: Counter[int] = Counter()
        for put in self.panes.values():
            if put.series == series and put.size_s == 1 and self.second - 60 <= put.start_s < self.second:
                counts = dict(zip(FIELDS, put.pane.counts, strict=True))
                ended[put.start_s] += sum(counts[name] for name in ("finished", "failed", "cancelled", "discarded"))
                failed[put.start_s] += counts["failed"]
        return [(second, n, failed[second]) for second, n in sorted(ended.items()) if n]

    def content(self, series: bytes) -> object:
        """All that is told of a series, but for where its windows lie."""
        windows = {name: _numbers(self.window(series, name)) for name in ("1m", *WINDOWS)}
        return windows, self.gauge(series), self.per_second(series)

    def bounds(self) -> dict[str, tuple[int, int]]:
        second, minute = self.second, self.second // 60 * 60
        starts = {"1m": second - 60} | {name: minute - 60 * minutes for name, minutes in WINDOWS.items()}
        return {name: (start * 1_000_000, second * 1_000_000) for name, start in starts.items()}


def _numbers(pane: Pane) -> object:
    return (
        dict(zip(FIELDS, pane.counts, strict=True)),
        pane.negative_waits,
        *[
            (sum(buckets.values()), sum_us, buckets)
            for buckets, sum_us in (
                (pane.wait, pane.wait_sum_us),
                (pane.run_ok, pane.ok_sum_us),
                (pane.run_failed, pane.failed_sum_us),
            )
        ],
    )


def _histogram(told: HistogramSnapshot) -> object:
    buckets = dict(told.b)
    assert len(buckets) == len(told.b), "a bucket told twice"
    return told.n, told.sum, buckets


def _told(window: WindowSnapshot) -> object:
    counts = {name: getattr(window, name) for name in FIELDS}
    histograms = (_histogram(h) for h in (window.wait, window.run_ok, window.run_failed))
    return counts, window.negative_waits, *histograms


def content_of(snapshot: SeriesSnapshot) -> object:
    windows = {name: _told(window) for name, window in snapshot.windows.items()}
    return windows, (snapshot.in_flight, snapshot.waiting), snapshot.per_second


NOTHING = Judge().content(b"")


class Board:
    """The hot state as a reader sees it: the newest of every field, from what the fold says has changed."""

    def __init__(self) -> None:
        self.series: dict[str, SeriesSnapshot] = {}

    def take(self, writes: Iterable[HotWrite]) -> tuple[dict[str, SeriesSnapshot], list[str]]:
        """(what was told, what was removed) of the series; a field comes once at most."""
        told: dict[str, SeriesSnapshot] = {}
        removed: list[str] = []
        for write in writes:
            if write.kind != "series":
                continue
            assert write.field not in told and write.field not in removed
            if write.value is None:
                removed.append(write.field)
                self.series.pop(write.field, None)
            else:
                told[write.field] = self.series[write.field] = _read(write.value)
        return told, removed
