"""Stage 2: the fold of one partition of job.panes, from Kafka records to what the hot state should hold.

A function of the records alone: each is absolute and replaces an older version of its key, so that replays, duplicates
and old versions change nothing. Time is the ticks'. Where the changes go is the agent's business
(`snapshots.HotStateSink`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from jobtide.streams.folds.notices import Notice
from jobtide.streams.folds.panes import MINUTE_US, SECOND_US
from jobtide.streams.folds.records import (
    GAUGE,
    LEDGER,
    PANE,
    QUEUE,
    SEPARATOR,
    SUM,
    TICK,
    WATCH,
    WORKER,
    LedgerRecord,
    SeriesKey,
    Tick,
    panes_partition,
)
from jobtide.streams.folds.watch import WatchRecord
from jobtide.streams.snapshots import HotWrite, QueueSnapshot, SnapshotKind, StuckAttempt, WorkerSnapshot
from jobtide.streams.triage import Triage
from jobtide.streams.windows.boards import encode
from jobtide.streams.windows.ledgers import Ledgers
from jobtide.streams.windows.queues import Queues
from jobtide.streams.windows.rolling import Rolling
from jobtide.streams.windows.series import LONGEST_S, MINUTE_S, LiveSeries, Share
from jobtide.streams.windows.shelves import Head, decode_head
from jobtide.streams.windows.tallies import Tally
from jobtide.streams.windows.watch import Watch
from jobtide.streams.windows.watermarks import Watermarks
from jobtide.streams.windows.workers import Workers

_SEPARATOR = SEPARATOR.encode()
_PANE_START = PANE + _SEPARATOR
MOST_STEPS_S = 2 * LONGEST_S  # a watermark that jumps further is watched only at the end of the jump
_decode_tick = msgspec.msgpack.Decoder(Tick).decode
_decode_notice = msgspec.msgpack.Decoder(tuple[int, Notice]).decode
_decode_watch = msgspec.msgpack.Decoder(WatchRecord).decode
_decode_ledger = msgspec.msgpack.Decoder(LedgerRecord).decode


class WindowFold:
    """All state of one partition of job.panes.

    `sources`: how many source partitions there are. Until each has ticked, no window is told: one that is far behind
    must not be overlooked because its tick comes last. 0: believe the ticks seen so far.
    `partitions`: how many partitions of job.panes there are. What belongs to another one is ignored: it lies here from the time of an older
    rule of `panes_partition`, and its own partition tells it. 0: whatever comes belongs here.
    """

    def __init__(self, partition: int, sources: int = 0, partitions: int = 0) -> None:
        self.partition, self._partitions = partition, partitions
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
        self.triage = Triage()
        self._rolling.on_minute = self._learn
        self._boards = {board.kind: board for board in (self._workers, self._queues, self._ledgers)}
        self._watch: Watch | None = None
        self._seen: dict[LiveSeries, None] = {}  # changed and shown to the watch, but not taken yet
        self._taken: dict[LiveSeries, None] = {}  # changed and taken, but not shown to the watch yet

    @property
    def version(self) -> int:
        """The newest offset of job.panes folded; -1 before the first."""
        return self._version

    def fold(self, keys: Sequence[bytes], values: Sequence[bytes | None], offsets: Sequence[int]) -> None:
        """Fold records in the order of the log. The windows move once, at the end of the call."""
        for key, value, offset in zip(keys, values, offsets, strict=True):
            if value is None:  # compaction's business: what is over leaves the windows by the watermark
                continue
            if key.startswith(_PANE_START):
                self._pane(key, value)
            else:
                self._other(key, value)
                if self._watch is not None and key[:1] == TICK:
                    self._show_seconds(self._watch, offset)
        if offsets:
            self._version = max(self._version, offsets[-1])
        self._rolling.settle()
        self._advance(self._watermarks.complete_until_us)

    def _pane(self, key: bytes, value: bytes) -> None:
        _, size, start, source, name = key.split(_SEPARATOR, 4)
        series = self._series.get(name) or self._open(name)
        if series is None:
            return
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

    def _open(self, name: bytes) -> LiveSeries | None:
        if not self._belongs(name):
            return None
        series = self._series[name] = LiveSeries(name)
        return series

    def _belongs(self, name: bytes) -> bool:
        """Whether a series, worker, queue or ledger is one of this partition. Asked once for a series that is kept."""
        return not self._partitions or name in self._series or panes_partition(name, self._partitions) == self.partition

    def _other(self, key: bytes, value: bytes) -> None:
        kind = key[:1]
        if kind == TICK:
            self._watermarks.fold(_decode_tick(value))
        elif kind == SUM:
            self._pane(key, value)
        elif kind == GAUGE:
            _, name_of_source, name = key.split(_SEPARATOR, 2)
            series = self._series.get(name) or self._open(name)
            if series is None:
                return
            share, head = series.share(name_of_source), decode_head(value)
            if head.version >= share.version:
                self._gauge(share, head)
        elif kind == WATCH:
            self.triage.fold(int(key.split(_SEPARATOR, 1)[1]), self._own(_decode_watch(value)))
        elif kind == LEDGER:
            self._ledger(int(key.split(_SEPARATOR, 2)[1]), _decode_ledger(value))
        elif kind in (WORKER, QUEUE) and self._belongs(key.split(_SEPARATOR, 2)[2]):
            self._board(kind, key, value)

    def _board(self, kind: bytes, key: bytes, value: bytes) -> None:
        if kind == WORKER:
            _, source, *parts = key.decode().split(SEPARATOR)
            self._workers.fold(int(source), tuple(parts), *_decode_notice(value))
            if self._watch is not None:
                self._watch.heard("workers", tuple(parts))
        else:
            _, source, *parts, about = key.decode().split(SEPARATOR)
            self._queues.fold(int(source), tuple(parts), about, *_decode_notice(value))
            if self._watch is not None:
                self._watch.heard("queues", tuple(parts))

    def _ledger(self, source: int, record: LedgerRecord) -> None:
        if self._partitions and panes_partition(record.tenant.encode(), self._partitions) != self.partition:
            return
        self._ledgers.fold(source, record, self._watermarks.complete_until_us)
        if self._watch is not None:
            self._watch.heard("emitters", (record.tenant, record.system, record.source))

    def _own(self, record: WatchRecord) -> WatchRecord:
        """Without the attempts of other partitions' series."""
        names = {watched.series for watched in record.watched} | record.left_out.keys()
        others = {name for name in names if not self._belongs(name)}
        if not others:
            return record
        watched = [each for each in record.watched if each.series not in others]
        return WatchRecord(record.version, watched, {name: n for name, n in record.left_out.items() if name not in others})

    def _learn(self, series: LiveSeries, start_s: int, tally: Tally) -> None:
        if not series.sums_up:
            self.triage.learn(series.name, start_s, tally.run_ok, tally.wait)

    def _advance(self, to_us: int) -> None:
        before_us, self._at_us = self._at_us, max(self._at_us, to_us)
        self._rolling.advance(self._at_us // SECOND_US)
        self.triage.advance(self._at_us)
        if self._at_us // MINUTE_US > before_us // MINUTE_US:
            self._forget()

    def _show_seconds(self, watch: Watch, offset: int) -> None:
        """Move the windows second by second to where the ticks have come, and let the watch look at each."""
        watermark_us = self._watermarks.complete_until_us
        if self.partition == 0 and watermark_us:
            watch.at_tick(self._watermarks.clock_us, watermark_us)
        second, before = watermark_us // SECOND_US, self._rolling.second
        if second <= before:
            return
        self._rolling.settle()
        first = before + 1 if before and second - before <= MOST_STEPS_S else second
        for at_s in range(first, second + 1):
            self._advance(at_s * SECOND_US)
            changed = self._rolling.changed
            self._rolling.changed = {}
            self._seen.update(changed)
            if self._taken:
                changed.update(self._taken)
                self._taken = {}
            watch.at_second(at_s, offset, changed)

    def watched_by(self, watch: Watch | None) -> None:
        """From the next record on, show every second to the watch. What changed before is not new to it."""
        self._rolling.settle()
        self._seen.update(self._rolling.changed)
        self._rolling.changed = {}
        self._watch = self._rolling.watch = watch

    def ticks(self) -> list[Tick]:
        """The newest of each source partition."""
        return self._watermarks.ticks()

    def begin_at(self, ticks: Iterable[Tick]) -> None:
        """Before the first record: it is known how far the source partitions had come when the log was left."""
        for tick in ticks:
            self._watermarks.fold(tick)

    # -- what rules ask for

    def all_series(self) -> Iterable[LiveSeries]:
        return list(self._series.values())

    def queue(self, key: tuple[str, ...]) -> QueueSnapshot | None:
        return self._queues.find(key)

    def worker(self, key: tuple[str, ...]) -> WorkerSnapshot | None:
        return self._workers.find(key)

    def noticed(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """The queues, workers and emitters known, as `Watch.heard` is told them."""
        boards = (("queues", self._queues.keys()), ("workers", self._workers.keys()), ("emitters", self._ledgers.sources()))
        return [(kind, key) for kind, keys in boards for key in keys]

    def emitters(self, key: tuple[str, ...]) -> list[LedgerRecord]:
        """What each source partition received of each epoch of a (tenant, system) or a (tenant, system, source)."""
        return self._ledgers.of(key)

    def stuck_attempts(self) -> Iterable[tuple[SeriesKey, StuckAttempt]]:
        """Every attempt that is late, slow, lost or runs twice at the watermark, with its series."""
        return ((series, attempt) for series, attempts in self.triage.stuck() for attempt in attempts)

    def _forget(self) -> None:
        """Once a minute: drop what is over. A series told its zeros when its last pane left the hour, a minute ago."""
        oldest_s = self._rolling.minute - LONGEST_S
        for series in list(self._series.values()):
            if series.ends_s + MINUTE_S <= oldest_s and not (series.running or series.waiting):
                del self._series[series.name]
                self._removed[series.name] = series
                if self._watch is not None:
                    self._watch.forgotten(series)
        for board in self._boards.values():
            board.forget_before(self._at_us)

    def take_changes(self) -> list[HotWrite]:
        """What is new since the last call. The progress comes last, after what it promises."""
        version = self._version
        out: list[HotWrite] = []
        if self._at_us:
            out = self._series_changes(version) + self.triage.take_changes(version)
        for board in self._boards.values():
            out += board.take_changes(version)
        if self._watermarks.changed:
            self._watermarks.changed = False
            value = encode(self._watermarks.snapshot())
            out.append(HotWrite("progress", "", str(self.partition), version, value))
        return out

    def _series_changes(self, version: int) -> list[HotWrite]:
        removed, self._removed = self._removed, {}
        changed, self._seen = self._seen, {}
        changed.update(self._rolling.changed)
        if self._watch is not None:
            self._taken.update(self._rolling.changed)
        self._rolling.changed = {}
        gone = [series for name, series in removed.items() if name not in self._series and not series.sums_up]
        out = [HotWrite("series", series.key.tenant, series.field, version, None) for series in gone]
        at_us, second = self._at_us, self._rolling.second
        for series in changed:
            if self._series.get(series.name) is series and not series.sums_up:
                value = encode(series.snapshot(at_us, second))
                out.append(HotWrite("series", series.key.tenant, series.field, version, value))
        return out

    def holds(self, kind: SnapshotKind, tenant: str, field: str) -> bool:
        """Whether this is something the fold knows, and so takes out of the hot state itself when it is over."""
        if kind == "series":
            return f"{tenant}{SEPARATOR}{field}".encode() in self._series
        if kind == "stuck":
            return self.triage.holds(f"{tenant}{SEPARATOR}{field}".encode())
        return kind in self._boards and self._boards[kind].holds((tenant, *field.split(SEPARATOR)))

    def touch_all(self) -> None:
        """The hot state lost everything: tell all of it again."""
        self._seen.update(dict.fromkeys(self._series.values()))  # news for the store, not for the watch
        for board in self._boards.values():
            board.touch_all()
        self.triage.touch_all()
        self._watermarks.changed = True
