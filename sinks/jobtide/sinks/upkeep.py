"""What the history writer does beside writing: recompute dirty minutes, and report how far it has come.

Both run for ever and decide little: which minutes are pending is `dirty`, what a watermark is `watermarks`. Once an hour the owner of
partition 0 recomputes the last hours wholesale, whatever is marked: nothing should need it, and if something did it is repaired.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from jobtide.sinks import ownership
from jobtide.sinks.clickhouse.history_store import HistoryStore
from jobtide.sinks.clickhouse.rollups import Rollups
from jobtide.sinks.history_metrics import HistoryMetrics
from jobtide.sinks.moves import Minute
from jobtide.sinks.ownership import Owned
from jobtide.sinks.patience import Patience, Stopped, pause

SWEEP_EVERY_S, FIRST_SWEEP_S = 3_600.0, 300.0
SHARE = 3  # recomputing rests this many times as long as it took, however short the interval
LATE_S = 65 * 60  # minutes older than this below the watermark are revisions: they do not hold the rollups' watermark back
REPORT_EVERY_S, HEARTBEAT_EVERY_S = 1.0, 5.0
_TICK_S = 0.25

OwnedNow = Callable[[], Mapping[int, Owned]]


class Recomputing:
    """`every_s`: shortest time between two recomputations."""

    def __init__(self, owned: OwnedNow, store: HistoryStore, rollups: Rollups, patience: Patience, metrics: HistoryMetrics, every_s: float) -> None:
        self._owned, self._store, self._rollups = owned, store, rollups
        self._patience, self._metrics, self._every_s = patience, metrics, every_s

    async def run(self, stop: asyncio.Event) -> None:
        next_at, next_sweep = 0.0, time.monotonic() + FIRST_SWEEP_S
        while not stop.is_set():
            await pause(stop, min(_TICK_S, self._every_s))
            owned = dict(self._owned())
            started = time.monotonic()
            try:
                if 0 in owned and started >= next_sweep:
                    await self._patience.call("rollups", lambda: True, self._rollups.sweep)
                    next_sweep = started + SWEEP_EVERY_S
                    self._metrics.sweeps += 1
                if started >= next_at and await self.recompute(owned):
                    took_s = time.monotonic() - started
                    next_at = started + max(self._every_s, (SHARE + 1) * took_s)
            except Stopped:
                return

    async def recompute(self, owned: Mapping[int, Owned]) -> bool:
        """Recompute what is pending now; False if there was nothing to do. Raises Stopped."""
        settled = {p: o.dirty.settled for p, o in owned.items()}
        watermarks = {p: o.progress.watermark_us for p, o in owned.items()}
        pending = ownership.pending(owned)
        done: list[Minute] = []
        if pending:
            started = time.monotonic()
            done = await self._patience.call("rollups", lambda: True, self._rollups.recompute, pending, self._every_s)
            finished = {p: (settled[p], o.dirty.finish(done, settled[p])) for p, o in owned.items()}
            if any(minutes for _, minutes in finished.values()):
                await self._patience.call("rollups", lambda: True, self._store.finished, finished)
            self._metrics.pending_minutes = len(ownership.pending(owned))
            self._metrics.recomputed_minutes += len(done)
            self._metrics.recompute_seconds += time.monotonic() - started
        newest_left_s = max((minute for _, minute in pending.difference(done)), default=0)
        for p, o in owned.items():
            if newest_left_s < watermarks[p] // 1_000_000 - LATE_S:
                o.progress.rolled_us = max(o.progress.rolled_us, watermarks[p])
        return bool(pending)


class Reporting:
    """Keeps `writer_progress` at most a second behind, and alive while nothing happens."""

    def __init__(
        self,
        owned: OwnedNow,
        end: Callable[[int], int | None],
        store: HistoryStore,
        patience: Patience,
        metrics: HistoryMetrics,
    ) -> None:
        self._owned, self._end, self._store, self._patience, self._metrics = owned, end, store, patience, metrics
        self._reported: dict[int, tuple[int, int, str]] = {}
        self._reported_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                await pause(stop, REPORT_EVERY_S)
                await self.report(time.time_ns() // 1000)
        except Stopped:
            return

    async def report(self, now_us: int) -> None:
        """Write a row for each owned partition if any of them moved, or if it is time to show that the writer lives. Raises Stopped."""
        rows = []
        for p, o in self._owned().items():
            end = self._end(p)
            state = o.progress.state(end, now_us)
            rows.append((p, o.progress.next_offset, o.progress.watermark_us, o.progress.rolled_us, o.progress.append_us, state, now_us))
            self._metrics.lag[p] = max((end or 0) - o.progress.next_offset, 0)
            self._metrics.watermark_us[p] = o.progress.watermark_us
        seen = {row[0]: (row[1], row[3], row[5]) for row in rows}
        moved = {p: now for p, now in seen.items() if now[2] != "idle" or self._reported.get(p, (0, 0, ""))[2] != "idle"}
        if rows and ((moved and seen != self._reported) or time.monotonic() - self._reported_at >= HEARTBEAT_EVERY_S):
            await self._patience.call("progress", lambda: True, self._store.progress, rows)
            self._reported, self._reported_at = seen, time.monotonic()
