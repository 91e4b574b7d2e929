"""Looks at every queue whose numbers have changed, every few seconds, and keeps what its signals remember in the hot state.

What is judged is `signals` (pure). Several API processes do the same and write the same, give or take a look; the newest counts, and a process
that starts goes on from it. While Redis is away nothing is judged: old numbers would only look like news.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

import msgspec
from jobtide.query import live_rows
from jobtide.query.mirror import Mirror
from jobtide.query.selection import QUEUE_DEPTH, Key
from jobtide.query.signals import forecast, scaling
from jobtide.query.signals.facts import QueueFacts, gather
from jobtide.query.signals.state import QueueSignals, nothing_yet
from jobtide.sinks.keys import field
from jobtide.streams.errors import TransientError
from jobtide.streams.snapshots import HotStateSink, HotWrite, SnapshotKind, WorkerSnapshot

EVERY_S = 5.0
QUEUES_AT_ONCE = 20  # then others get their turn

log = logging.getLogger(__name__)


class SignalKeeper:
    """`run` until cancelled. `facts` and `signals` are what was found last, by (tenant, environment, system, queue)."""

    def __init__(self, mirror: Mirror, sink: HotStateSink, now_us: Callable[[], int]) -> None:
        self.facts: dict[Key, QueueFacts] = {}
        self.signals: dict[Key, QueueSignals] = {}
        self._mirror, self._sink, self._now_us = mirror, sink, now_us
        self._touched: dict[Key, None] = {}
        self._unwritten: dict[Key, None] = {}
        self._failing = False
        mirror.listeners.append(self._note)

    @property
    def unavailable(self) -> str | None:
        """Why nothing should be answered from here; None: all is well."""
        return self._mirror.unavailable

    def _note(self, kind: SnapshotKind, key: Key) -> None:
        if kind in ("series", "queues", "stuck"):
            self._touched[key[:QUEUE_DEPTH]] = None
        elif kind == "workers":
            worker = self._mirror.workers.get(key)
            for queue in worker.queues if worker is not None else ():
                self._touched[(*key[:3], queue)] = None
        elif kind == "signals":
            found, known = self._mirror.signals.get(key), self.signals.get(key)
            if found is not None and (known is None or found.at_us > known.at_us):  # another process was faster, or ran before
                self.signals[key] = found

    async def run(self) -> None:
        while True:
            begun_s = monotonic()
            if self._mirror.unavailable is None:
                await self.look()
                await self._write()
            await asyncio.sleep(max(1.0, EVERY_S - (monotonic() - begun_s)))

    async def look(self) -> None:
        """Judge what has changed, and what changes by time alone."""
        at_us = live_rows.watermark_us(self._mirror.progress.values())
        if at_us is None:
            return
        touched, self._touched = self._touched, {}
        pending = [key for key, known in self.signals.items() if known.delta or known.open]
        keys = {*touched, *pending}
        workers = self._workers()
        for number, key in enumerate(sorted(keys), 1):
            self._look_at(key, at_us, workers.get(key, []))
            if number % QUEUES_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _look_at(self, key: Key, at_us: int, workers: list[WorkerSnapshot]) -> None:
        mirror = self._mirror
        classes = mirror.classes.get(key, {})
        if not classes and key not in mirror.queues:
            self.facts.pop(key, None)
            if self.signals.pop(key, None) is not None:
                self._unwritten[key] = None
            return
        lost = sum(mirror.stuck[each].counts.get("lost", 0) for each in classes if each in mirror.stuck)
        members = [mirror.series[each] for each in classes]
        facts = self.facts[key] = gather(at_us, self._now_us(), members, mirror.queues.get(key), workers, lost)
        known = self.signals.get(key) or nothing_yet(key)
        after = forecast.follow(scaling.advise(known, facts), facts)
        if after is not known:
            self.signals[key] = msgspec.structs.replace(after, at_us=at_us)
            self._unwritten[key] = None

    def _workers(self) -> dict[Key, list[WorkerSnapshot]]:
        """Who serves which queue."""
        found: dict[Key, list[WorkerSnapshot]] = {}
        for (tenant, environment, system, *_), worker in self._mirror.workers.items():
            for queue in worker.queues:
                found.setdefault((tenant, environment, system, queue), []).append(worker)
        return found

    async def _write(self) -> None:
        unwritten, self._unwritten = self._unwritten, {}
        writes = []
        for key in unwritten:
            known = self.signals.get(key)
            version = known.at_us if known is not None else self._now_us()
            writes.append(HotWrite("signals", key[0], field(*key[1:]), version, msgspec.json.encode(known) if known is not None else None))
        try:
            await self._sink.write(writes)
            self._failing = False
        except TransientError as error:
            self._unwritten = unwritten | self._unwritten
            if not self._failing:
                log.warning("signals are not kept while hot state is out of reach", extra={"reason": str(error)})
            self._failing = True
