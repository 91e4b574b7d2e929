"""The reader over hot state: what happened in the last 1m, 5m, 15m or 1h of event time, and what is true now.

Reads only the `mirror` in memory, so it never waits. Windows end at the stream's watermark, not at the clock: the
range in an answer is the window's own. Raises Unavailable while the mirror is not fresh, so that the caller can ask
history instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from jobtide.query import live_rows
from jobtide.query.answers import Completeness, Depth, Now
from jobtide.query.fleet_answers import EpochRow, WorkerRow
from jobtide.query.hot_series import Series
from jobtide.query.measures import Totals
from jobtide.query.mirror import Mirror
from jobtide.query.ranges import MINUTE_US, SECOND_US, Range, floor
from jobtide.query.readers import Group, Progress, TotalsQuestion, TotalsReading, Unavailable
from jobtide.query.selection import CLASS_DEPTH, QUEUE_DEPTH, Key, Selection
from jobtide.streams.snapshots import WINDOWS_S, SeriesStuck, WorkerSnapshot

STORE = "Redis"


class MirrorLive:
    """See the module."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._sorted: list[Key] = []
        self._sorted_shape = -1

    async def totals(self, question: TotalsQuestion) -> TotalsReading:
        self._require()
        window = question.range.window
        if window is None:
            raise Unavailable(STORE, "hot state has only the windows 1m, 5m, 15m and 1h")
        members = self._members(question.selection, question.depth, window)
        if question.failed_first:
            failures = {key: sum(s.windows[window].failed for s in found if window in s.windows) for key, found in members.items()}
            worst = sorted((key for key in members if failures[key]), key=lambda key: (-failures[key], key))[: question.limit]
            return TotalsReading(self.range(question.range), list(self._groups({key: members[key] for key in worst}, window)), False)
        keys = sorted(key for key in members if not question.after or key > question.after)
        page = {key: members[key] for key in keys[: question.limit]}
        return TotalsReading(self.range(question.range), list(self._groups(page, window)), len(keys) > len(page))

    def _members(self, selection: Selection, depth: int, window: str) -> dict[Key, list[Series]]:
        """The selected series by their key of `depth`, those without anything now or in the window left out."""
        members: dict[Key, list[Series]] = {} if depth else {(): []}
        for key in self._keys():
            if selection.matches(key):
                series = self._mirror.series[key]
                counted = series.windows.get(window)
                if series.in_flight or series.waiting or (counted is not None and counted.busy):
                    members.setdefault(key[:depth], []).append(series)
        if depth == QUEUE_DEPTH and selection.job_class is None:
            for key in self._mirror.queues:
                if selection.matches(key):
                    members.setdefault(key, [])
        return members

    def _groups(self, members: Mapping[Key, Sequence[Series]], window: str) -> Iterator[Group]:
        for key, found in members.items():
            totals, queues = Totals(), set()
            for series in found:
                queues.add((series.tenant, series.environment, series.system, series.queue))
                if window in series.windows:
                    totals.add(series.windows[window].totals())
            yield Group(key, totals, len(queues), len(found))

    def _keys(self) -> list[Key]:
        if self._sorted_shape != self._mirror.shape:
            self._sorted, self._sorted_shape = sorted(self._mirror.series), self._mirror.shape
        return self._sorted

    def range(self, asked: Range) -> Range:
        """The window of `asked` as it is now. A series is told again only when something enters or leaves its windows:
        its snapshot may be older, and what it counts is still true of this range."""
        window, until = asked.window, live_rows.complete_until_us(self._mirror.progress.values())
        to_us = max(self._mirror.ends_us, floor(until or 0, SECOND_US))
        if window is None or not to_us:
            return asked
        # The last minute rolls by the second; the longer ones begin at a whole minute.
        start_us = to_us if window == "1m" else floor(to_us, MINUTE_US)
        return Range(max(0, start_us - WINDOWS_S[window] * SECOND_US), to_us, asked.last, window)

    async def progress(self) -> Progress:
        self._require()
        return live_rows.progress(self._mirror.progress.values())

    async def completeness(self, selection: Selection, range_: Range) -> Completeness | None:
        """Of the epochs the stream remembers: all that were heard of in the last hour."""
        self._require()
        return live_rows.completeness(self.epochs(selection), live_rows.watermark_us(self._mirror.progress.values()))

    def now(self, selection: Selection, depth: int, keys: Sequence[Key]) -> Mapping[Key, Now] | None:
        if self._mirror.unavailable:
            return None
        out = {key: Now() for key in keys}
        whole = depth == CLASS_DEPTH
        candidates = [key for key in keys if key in self._mirror.series] if whole else self._keys()
        for key in candidates:
            entry = out.get(key[:depth])
            if entry is not None and selection.matches(key):
                entry.add(live_rows.now(self._mirror.series[key]))
        return out

    def depth(self, key: Key) -> Depth | None:
        found = self._mirror.queues.get(key)
        return None if found is None or self._mirror.unavailable else live_rows.depth(found)

    def paused(self, key: Key) -> bool | None:
        found = self._mirror.queues.get(key)
        return None if found is None or self._mirror.unavailable else found.paused

    def workers(self, selection: Selection, now_us: int) -> list[tuple[Key, WorkerRow]]:
        self._require()
        wanted = Selection(selection.tenant, selection.environment, selection.system)
        return [
            (key, live_rows.worker(worker, now_us))
            for key, worker in sorted(self._mirror.workers.items())
            if wanted.matches(key[:3]) and (selection.queue is None or selection.queue in worker.queues)
        ]

    def stuck(self, selection: Selection) -> tuple[list[SeriesStuck], Mapping[Key, WorkerSnapshot]]:
        self._require()
        return [found for key, found in sorted(self._mirror.stuck.items()) if selection.matches(key)], self._mirror.workers

    def watermark_us(self) -> int | None:
        return live_rows.watermark_us(self._mirror.progress.values())

    def epochs(self, selection: Selection) -> list[tuple[Key, EpochRow]]:
        self._require()
        return live_rows.epochs(
            entry for entry in self._mirror.ledger.values()
            if selection.tenant in (None, entry.tenant) and selection.system in (None, entry.system)
        )  # fmt: skip

    def seconds(self, selection: Selection, depth: int) -> Mapping[Key, Mapping[int, tuple[int, int]]]:
        self._require()
        out: dict[Key, dict[int, tuple[int, int]]] = {}
        for key in self._keys():
            if selection.matches(key):
                into = out.setdefault(key[:depth], {})
                for second, terminal, failed in self._mirror.series[key].seconds():
                    ended, of_them_failed = into.get(second, (0, 0))
                    into[second] = (ended + terminal, of_them_failed + failed)
        return out

    def _require(self) -> None:
        if self._mirror.unavailable:
            raise Unavailable(STORE, self._mirror.unavailable)
