"""Stage 2: the fold of one partition of job.panes, from Kafka records to what the hot state should hold.

A function of the records alone: each is absolute and replaces an older version of its key, so that replays, duplicates
and old versions change nothing. Time is the ticks'. Where the changes go is the agent's business
(`snapshots.HotStateSink`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from jobtide.streams.folds.notices import Notice
from jobtide.streams.folds.panes import MINUTE_US, SECOND_US
from jobtide.streams.folds.records import GAUGE, LEDGER, PANE, QUEUE, SEPARATOR, TICK, WORKER, LedgerRecord, Tick
from jobtide.streams.snapshots import HotWrite, SnapshotKind
from jobtide.streams.windows.boards import encode
from jobtide.streams.windows.ledgers import Ledgers
from jobtide.streams.windows.queues import Queues
from jobtide.streams.windows.rolling import Rolling
from jobtide.streams.windows.series import LONGEST_S, MINUTE_S, LiveSeries, Share
from jobtide.streams.windows.shelves import Head, decode_head
from jobtide.streams.windows.watermarks import Watermarks
from jobtide.streams.windows.workers import Workers

_SEPARATOR = SEPARATOR.encode()
_PANE_START = PANE + _SEPARATOR
_decode_tick = msgspec.msgpack.Decoder(Tick).decode
_decode_notice = msgspec.msgpack.Decoder(tuple[int, Notice]).decode
_decode_ledger = msgspec.msgpack.Decoder(LedgerRecord).decode


class WindowFold:
    """All state of one partition of job.panes.

    `sources`: how many source partitions there are. Until each has ticked, no window is told: one that is far behind
    must not be overlooked because its tick comes last. 0: believe the ticks seen so far.
    """

    def __init__(self, partition: int, sources: int = 0) -> None:
        self.partition = partition
        self._version = -1
        self._watermarks = Watermarks(partition, sources)
        self._at_us = 0  # the watermark of the windows: never goes back, whatever a source that turns up late says
        self._rolling = Rolling()
        self._seconds, self._minutes = self._rolling.seconds, self._rolling.minutes
        self._series: dict[bytes, LiveSeries] = {}
        self._removed: dict[bytes, LiveSeries] = {}
        self._workers = Workers()
        self._queues = Queues()
        self._ledgers = Ledgers()
        self._boards = {board.kind: board for board in (self._workers, self._queues, self._ledgers)}

    @property
    def version(self) -> int:
        """The newest offset of job.panes folded; -1 before the first."""
        return self._version

    def fold(self, keys: Sequence[bytes], values: Sequence[bytes | None], offsets: Sequence[int]) -> None:
        """Fold records in the order of the log. The windows move once, at the end of the call."""
        for key, value in zip(keys, values, strict=True):
            if value is None:  # compaction's business: what is over leaves the windows by the watermark
                continue
            if key.startswith(_PANE_START):
                self._pane(key, value)
            else:
                self._other(key, value)
        if offsets:
            self._version = max(self._version, offsets[-1])
        self._rolling.settle()
        self._advance()

    def _pane(self, key: bytes, value: bytes) -> None:
        _, size, start, source, name = key.split(_SEPARATOR, 4)
        series = self._series.get(name) or self._open(name)
        share = series.shares.get(source) or series.share(source)
        head = decode_head(value)
        if head.version >= share.version:
            self._gauge(share, head)
        shelf = self._seconds if size == b"1" else self._minutes
        shelf.put(int(start), share, value, head.version)

    def _gauge(self, share: Share, head: Head) -> None:
        """Take the newest gauges of one source partition."""
        share.version = head.version
        if head.running != share.running or head.waiting != share.waiting:
            series = share.series
            series.running += head.running - share.running
            series.waiting += head.waiting - share.waiting
            share.running, share.waiting = head.running, head.waiting
            series.ends_s = max(series.ends_s, self._rolling.second)  # kept an hour: older words must not be believed
            self._rolling.changed[series] = None

    def _open(self, name: bytes) -> LiveSeries:
        series = self._series[name] = LiveSeries(name)
        return series

    def _other(self, key: bytes, value: bytes) -> None:
        kind = key[:1]
        if kind == TICK:
            self._watermarks.fold(_decode_tick(value))
        elif kind == GAUGE:
            _, name_of_source, name = key.split(_SEPARATOR, 2)
            share, head = (self._series.get(name) or self._open(name)).share(name_of_source), decode_head(value)
            if head.version >= share.version:
                self._gauge(share, head)
        elif kind == WORKER:
            _, source, *parts = key.decode().split(SEPARATOR)
            self._workers.fold(int(source), tuple(parts), *_decode_notice(value))
        elif kind == QUEUE:
            _, source, *parts, about = key.decode().split(SEPARATOR)
            self._queues.fold(int(source), tuple(parts), about, *_decode_notice(value))
        elif kind == LEDGER:
            now_us = self._watermarks.complete_until_us
            self._ledgers.fold(int(key.split(_SEPARATOR, 2)[1]), _decode_ledger(value), now_us)

    def _advance(self) -> None:
        before_us, self._at_us = self._at_us, max(self._at_us, self._watermarks.complete_until_us)
        self._rolling.advance(self._at_us // SECOND_US)
        if self._at_us // MINUTE_US > before_us // MINUTE_US:
            self._forget()

    def _forget(self) -> None:
        """Once a minute: drop what is over. A series told its zeros when its last pane left the hour, a minute ago."""
        oldest_s = self._rolling.minute - LONGEST_S
        for series in list(self._series.values()):
            if series.ends_s + MINUTE_S <= oldest_s and not (series.running or series.waiting):
                del self._series[series.name]
                self._removed[series.name] = series
        for board in self._boards.values():
            board.forget_before(self._at_us)

    def take_changes(self) -> list[HotWrite]:
        """What is new since the last call. The progress comes last, after what it promises."""
        version = self._version
        out: list[HotWrite] = []
        if self._at_us:
            out = self._series_changes(version)
        for board in self._boards.values():
            out += board.take_changes(version)
        if self._watermarks.changed:
            self._watermarks.changed = False
            value = encode(self._watermarks.snapshot())
            out.append(HotWrite("progress", "", str(self.partition), version, value))
        return out

    def _series_changes(self, version: int) -> list[HotWrite]:
        removed, self._removed = self._removed, {}
        changed, self._rolling.changed = self._rolling.changed, {}
        gone = [series for name, series in removed.items() if name not in self._series]
        out = [HotWrite("series", series.key.tenant, series.field, version, None) for series in gone]
        at_us, second = self._at_us, self._rolling.second
        for series in changed:
            if self._series.get(series.name) is series:
                value = encode(series.snapshot(at_us, second))
                out.append(HotWrite("series", series.key.tenant, series.field, version, value))
        return out

    def holds(self, kind: SnapshotKind, tenant: str, field: str) -> bool:
        """Whether this is something the fold knows, and so takes out of the hot state itself when it is over."""
        if kind == "series":
            return f"{tenant}{SEPARATOR}{field}".encode() in self._series
        return kind in self._boards and self._boards[kind].holds((tenant, *field.split(SEPARATOR)))

    def touch_all(self) -> None:
        """The hot state lost everything: tell all of it again."""
        self._rolling.changed.update(dict.fromkeys(self._series.values()))
        for board in self._boards.values():
            board.touch_all()
        self._watermarks.changed = True
