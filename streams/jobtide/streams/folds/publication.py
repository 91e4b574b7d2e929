"""What a source partition has to tell stage 2 now: closed or revised panes, gauges, notices, ledgers, its watermark.

Everything is absolute and carries the offset up to which it is true, so sending it twice, or again after a crash, changes nothing.
The order matters for one thing only: the tick comes after the panes it covers, on every partition.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from jobtide.streams.folds import sequences
from jobtide.streams.folds.records import Gauge, LedgerRecord, Record, Tick, encode, panes_partition
from jobtide.streams.folds.source import SourceFold
from jobtide.streams.folds.sums import Sums
from jobtide.streams.folds.watch import Watch

State = Literal["active", "idle", "lagging"]
GAUGE_EVERY_US = 60 * 1_000_000
LEDGER_EVERY_US = 10 * 1_000_000
TICK_EVERY_US = 5 * 1_000_000  # at least so often by a source that lags: how long ago is news, too


class Publisher:
    """Remembers what of one source partition was published; the rest is read from its fold."""

    def __init__(self, fold: SourceFold) -> None:
        self.fold = fold
        self._watch = Watch(fold.partitions)
        self._sums = Sums(fold.partition)
        self._last_tick: tuple[int, str, int, int] | None = None
        self._gauges_at_us = 0
        self._ledgers_at_us = 0
        self._ledgers_told: dict[str, tuple[int, int, int, int, bool, int]] = {}

    def collect(self, state: State, now_us: int = 0) -> list[list[Record]]:
        """Records for each partition of job.panes, in the order to send them. Empty lists where there is nothing new.

        `now_us`: the clock, only to say by how much the watermark is behind it.
        """
        fold = self.fold
        out: list[list[Record]] = [[] for _ in range(fold.partitions)]
        watermark_us = fold.watermark_us
        self._panes(out, watermark_us)
        self._gauges(out, watermark_us)
        self._notices(out)
        self._ledgers(out)
        self._watched(out, watermark_us)
        tick = (watermark_us, state, fold.counters.rejected, now_us // TICK_EVERY_US if state == "lagging" else 0)
        if tick != self._last_tick:
            self._last_tick = tick
            value = encode(Tick(fold.partition, fold.version, watermark_us, state, fold.counters.late_dropped, fold.counters.rejected, now_us))
            for records in out:
                records.append((b"t\x1f%d" % fold.partition, value))
        fold.published_us = max(fold.published_us, watermark_us)
        return out

    def _panes(self, out: list[list[Record]], watermark_us: int) -> None:
        fold = self.fold
        for cell in fold.lifecycles.table.due(watermark_us):
            series = cell.series
            series.told = (series.running, series.waiting)
            # A PaneRecord, of bytes that are kept: encoded once for publication and checkpoint.
            value = encode((fold.version, series.running, series.waiting, msgspec.Raw(cell.freeze())))
            out[panes_partition(series.name, fold.partitions)].append((cell.key, value))
            if cell.size_s != 1:
                self._sums.note(cell.start_s)
        now_us = max(fold.append_us, fold.idle_us)
        for name, record in self._sums.take(fold.lifecycles.table, fold.version, now_us, watermark_us):
            out[panes_partition(name, fold.partitions)].append(record)

    def _gauges(self, out: list[list[Record]], watermark_us: int) -> None:
        """Once a minute: series that hold jobs but had no pane lately would otherwise be forgotten downstream."""
        fold = self.fold
        if watermark_us < self._gauges_at_us + GAUGE_EVERY_US:
            return
        self._gauges_at_us = watermark_us
        for series in list(fold.lifecycles.table.by_key.values()):
            gauge = (series.running, series.waiting)
            if any(gauge) or series.told != gauge:
                series.told = gauge
                fold.lifecycles.table.drop_if_idle(series)
                key = b"g\x1f%d\x1f%b" % (fold.partition, series.name)
                out[panes_partition(series.name, fold.partitions)].append((key, encode(Gauge(fold.version, *gauge))))

    def _notices(self, out: list[list[Record]]) -> None:
        fold = self.fold
        for key, notice in fold.notices.take_unpublished():
            kind, rest = key.split(b"\x1f", 1)
            to = panes_partition(rest.removesuffix(b"\x1fsize").removesuffix(b"\x1fpause"), fold.partitions)
            out[to].append((b"%b\x1f%d\x1f%b" % (kind, fold.partition, rest), encode((fold.version, notice))))

    def _watched(self, out: list[list[Record]], watermark_us: int) -> None:
        fold, lifecycles = self.fold, self.fold.lifecycles
        for to, record in self._watch.look(fold.partition, fold.version, watermark_us, lifecycles.memory, fold.notices, lifecycles.remarks):
            out[to].append(record)

    def _ledgers(self, out: list[list[Record]]) -> None:
        fold = self.fold
        now_us = max(fold.append_us, fold.idle_us)
        if now_us < self._ledgers_at_us + LEDGER_EVERY_US:
            return
        self._ledgers_at_us = now_us
        for name, epoch in fold.epochs.items():
            missing, lately = sequences.missing(epoch), 0
            if missing:
                lately = sequences.lost_lately(epoch, now_us)
            told = (epoch.received, epoch.duplicates, missing, sequences.lost(epoch, now_us), epoch.clean, lately)
            if self._ledgers_told.get(name) != told:
                self._ledgers_told[name] = told
                last_us = fold.append_us if name in fold.unsaved_epochs else epoch.last_us
                about = LedgerRecord(
                    fold.version, name, epoch.source, epoch.tenant, epoch.system, *told[:5], last_us, sequences.expected(epoch), lately
                )
                value = encode(about)
                to = panes_partition(epoch.tenant.encode(), fold.partitions)  # so that a rule can look at all of a tenant's
                out[to].append((b"l\x1f%d\x1f%b" % (fold.partition, name.encode()), value))
        for name in [name for name in self._ledgers_told if name not in fold.epochs]:
            del self._ledgers_told[name]
