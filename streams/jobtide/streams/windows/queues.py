"""Queues as their backends report them: the last snapshot of the counters, and whether the queue is paused.

A queue's events all go to one source partition; that it could have been another one before (a new topic) is settled by
time.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from jobtide.streams.events import Kind
from jobtide.streams.folds.notices import KEPT_US, Notice
from jobtide.streams.snapshots import QueueSnapshot
from jobtide.streams.windows.boards import Board, Key

_COUNTERS = ("ready", "scheduled", "retry", "dead", "running", "oldest_ready_at")

About = Literal["size", "pause"]
Known = dict[tuple[About, int], tuple[int, Notice]]  # (version, notice) by what it is about and source partition


class Queues(Board[Known]):
    """Every queue heard of in the last 24 hours."""

    kind = "queues"
    kept_us = KEPT_US

    def fold(self, source: int, key: Key, about: str, version: int, notice: Notice) -> None:
        entry = self._entries.setdefault(key, {})
        place = (cast(About, about), source)
        known = entry.get(place)
        if known is not None and (known[0] > version or known == (version, notice)):
            return
        entry[place] = (version, notice)
        self.touch(key)

    def find(self, key: Key) -> QueueSnapshot | None:
        entry = self._entries.get(key)
        return None if entry is None else self.snapshot(key, entry)

    def heard_us(self, entry: Known) -> int:
        return max(notice.time_us for _, notice in entry.values())

    def snapshot(self, key: Key, entry: Known) -> QueueSnapshot:
        tenant, environment, system, queue = key
        size, pause = _newest(entry, "size"), _newest(entry, "pause")
        counters: dict[str, Any] = {name: size.data.get(name) for name in _COUNTERS} if size else {}
        return QueueSnapshot(
            tenant=tenant,
            environment=environment,
            system=system,
            queue=queue,
            at_us=(size or cast(Notice, pause)).time_us,
            paused=_paused(size, pause),
            **counters,
        )


def _newest(entry: Known, about: About) -> Notice | None:
    found = [(notice.time_us, source, notice) for (what, source), (_, notice) in entry.items() if what == about]
    return max(found, key=lambda f: f[:2])[2] if found else None


def _paused(size: Notice | None, pause: Notice | None) -> bool | None:
    """The newer of what was done to the queue and what its backend reports. None: neither said anything."""
    reported = cast("bool | None", size.data.get("paused")) if size else None
    if pause is None or (size is not None and reported is not None and size.time_us > pause.time_us):
        return reported
    return pause.kind == Kind.QUEUE_PAUSED
