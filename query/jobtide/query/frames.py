"""What a subscriber of `/v1/live` is told: rows of the mirror as JSON, each made once per change however many want it.

No clients here (`feed`), no wire format (`sse`). A row is made again only after its series changed; a snapshot of
many rows gives way to others while it is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from jobtide.query import live_rows, stuck_rows
from jobtide.query.answers import Completeness, Now, optional_text, range_out
from jobtide.query.hot_series import Series
from jobtide.query.live import MirrorLive
from jobtide.query.live_answers import LiveHead, Removed
from jobtide.query.measures import Totals
from jobtide.query.mirror import Mirror
from jobtide.query.ranges import SECOND_US, Range
from jobtide.query.readers import Group
from jobtide.query.rows import class_rows, queue_rows
from jobtide.query.selection import QUEUE_DEPTH, Key, Selection
from jobtide.streams.snapshots import WINDOWS_S, SnapshotKind

# So much work at once, about 10 ms; then others get their turn. A queue may have many classes.
CLASSES_AT_ONCE = 50
QUEUES_AT_ONCE = 2

Change = tuple[SnapshotKind, Key]


@dataclass(frozen=True, slots=True)
class Topic:
    """What a subscriber wants: rows of a selection over a live window."""

    selection: Selection
    window: str


@dataclass(slots=True)
class Changes:
    """The rows to tell of: those that are, and the keys of those that are not any more."""

    classes: list[Key] = field(default_factory=list)
    queues: list[Key] = field(default_factory=list)
    workers: list[Key] = field(default_factory=list)
    stuck: list[Key] = field(default_factory=list)
    removed: Removed = field(default_factory=Removed)
    progress: bool = False

    def __bool__(self) -> bool:
        gone = self.removed
        told = self.classes or self.queues or self.workers or self.stuck or self.progress
        return bool(told or gone.classes or gone.queues or gone.workers or gone.stuck)


class Frames:
    """See the module. `now_us`: the clock, for how long ago a worker was heard of."""

    def __init__(self, mirror: Mirror, live: MirrorLive) -> None:
        self._mirror = mirror
        self._live = live
        self._rows: dict[str, dict[Key, bytes]] = {}  # by window; class and queue keys differ in length
        mirror.listeners.append(self._stale)

    def _stale(self, kind: SnapshotKind, key: Key) -> None:
        if kind in ("series", "queues"):
            for rows in self._rows.values():
                rows.pop(key, None)
                rows.pop(key[:QUEUE_DEPTH], None)

    def keep(self, windows: Iterable[str]) -> None:
        """Rows of other windows than these are wanted by nobody."""
        for window in self._rows.keys() - set(windows):
            del self._rows[window]

    def changes(self, topic: Topic, changed: Iterable[Change]) -> Changes:
        """Which of these changes a topic is about."""
        out, queues, mirror = Changes(), set[Key](), self._mirror
        for kind, key in changed:
            if kind == "signals":
                continue
            if kind in ("progress", "ledger"):
                out.progress = True
            elif kind == "workers":
                _put(key, mirror.workers, out.workers, out.removed.workers, self._worker_wanted(topic, key))
            elif kind == "stuck":
                _put(key, mirror.stuck, out.stuck, out.removed.stuck, topic.selection.matches(key))
            elif topic.selection.matches(key):
                if kind == "series":
                    _put(key, mirror.series, out.classes, out.removed.classes)
                if kind == "series" or self._queue_wanted(topic, key):
                    queues.add(key[:QUEUE_DEPTH])
        for key in sorted(queues):
            _put(key, mirror.classes if key in mirror.classes else mirror.queues, out.queues, out.removed.queues)
        return out

    def everything(self, topic: Topic) -> Changes:
        """All rows of a topic."""
        selection, mirror = topic.selection, self._mirror
        queues = {*mirror.classes, *(mirror.queues if selection.job_class is None else ())}
        return Changes(
            sorted(key for key in mirror.series if selection.matches(key)),
            sorted(key for key in queues if selection.matches(key) and self._queue_wanted(topic, key)),
            sorted(key for key in mirror.workers if self._worker_wanted(topic, key)),
            sorted(key for key in mirror.stuck if selection.matches(key)),
        )

    def _queue_wanted(self, topic: Topic, key: Key) -> bool:
        return topic.selection.job_class is None or any(
            topic.selection.matches(c) for c in self._mirror.classes.get(key, ())
        )

    def _worker_wanted(self, topic: Topic, key: Key) -> bool:
        wanted = topic.selection
        worker = self._mirror.workers.get(key)
        on_queue = wanted.queue is None or worker is None or wanted.queue in worker.queues
        return Selection(wanted.tenant, wanted.environment, wanted.system).matches(key[:3]) and on_queue

    async def body(self, topic: Topic, changes: Changes, now_us: int, degraded: Sequence[str]) -> bytes:
        """The JSON of a LiveEvent. Rows that disappear while it is made are left out: their removal is told next."""
        head = self._head(topic, changes.removed, degraded).model_dump_json(by_alias=True).encode()
        classes = await self._each(changes.classes, topic, CLASSES_AT_ONCE)
        queues = await self._each(changes.queues, topic, QUEUES_AT_ONCE)
        workers = [
            live_rows.worker(found, now_us).model_dump_json().encode()
            for key in changes.workers
            if (found := self._mirror.workers.get(key)) is not None
        ]
        watermark_us = live_rows.watermark_us(self._mirror.progress.values()) or now_us
        stuck = [
            stuck_rows.series_row(series, self._mirror.workers, now_us, watermark_us).model_dump_json().encode()
            for key in changes.stuck
            if (series := self._mirror.stuck.get(key)) is not None
        ]
        parts = (
            head[:-1],
            b',"classes":[',
            b",".join(classes),
            b'],"queues":[',
            b",".join(queues),
            b'],"workers":[',
            b",".join(workers),
            b'],"stuck":[',
            b",".join(stuck),
            b"]}",
        )
        return b"".join(parts)

    async def _each(self, keys: Sequence[Key], topic: Topic, at_once: int) -> list[bytes]:
        out = []
        for number, key in enumerate(keys, 1):
            row = self._row(key, topic)
            if row is not None:
                out.append(row)
            if number % at_once == 0:
                await asyncio.sleep(0)
        return out

    def _row(self, key: Key, topic: Topic) -> bytes | None:
        # A queue row of one class is not the row of the queue: it is not kept.
        narrow = len(key) == QUEUE_DEPTH and topic.selection.job_class is not None
        rows = {} if narrow else self._rows.setdefault(topic.window, {})
        row = rows.get(key)
        if row is None:
            row = self._made(key, topic)
            if row is not None:
                rows[key] = row
        return row

    def _made(self, key: Key, topic: Topic) -> bytes | None:
        mirror, window = self._mirror, topic.window
        seconds = self._range(topic).seconds
        if len(key) != QUEUE_DEPTH:
            series = mirror.series.get(key)
            if series is None:
                return None
            group, now = _group(key, [series], window), {key: live_rows.now(series)}
            return class_rows([group], now, seconds)[0].model_dump_json().encode()
        members = [mirror.series[c] for c in mirror.classes.get(key, ()) if topic.selection.matches(c)]
        if not members and key not in mirror.queues:
            return None
        total = Now()
        for series in members:
            total.add(live_rows.now(series))
        [row] = queue_rows([_group(key, members, window)], {key: total}, seconds, self._live)
        return row.model_dump_json().encode()

    def _range(self, topic: Topic) -> Range:
        return self._live.range(Range(0, WINDOWS_S[topic.window] * SECOND_US, topic.window, topic.window))

    def _head(self, topic: Topic, removed: Removed, degraded: Sequence[str]) -> LiveHead:
        mirror = self._mirror
        watermark = live_rows.watermark_us(mirror.progress.values())
        return LiveHead(
            range=range_out(self._range(topic)),
            watermark=optional_text(watermark),
            complete_until=optional_text(live_rows.complete_until_us(mirror.progress.values())),
            completeness=self._completeness(topic.selection, watermark),
            source="live",
            degraded=list(degraded),
            removed=removed,
        )

    def _completeness(self, selection: Selection, watermark: int | None) -> Completeness | None:
        return None if self._mirror.unavailable else live_rows.completeness(self._live.epochs(selection), watermark)


def _put(key: Key, table: Container[Key], present: list[Key], gone: list[list[str]], wanted: bool = True) -> None:
    """A key that is in the table is told as a row, one that is not as removed."""
    if not wanted:
        return
    if key in table:
        present.append(key)
    else:
        gone.append(list(key))


def _group(key: Key, members: Sequence[Series], window: str) -> Group:
    totals = Totals()
    for series in members:
        if window in series.windows:
            totals.add(series.windows[window].totals())
    return Group(key, totals, 1, len(members))
