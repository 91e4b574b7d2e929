"""What a process says of its own completeness: `emitter.stats`, every ten seconds and at a clean end.

The next number of every lane, so that the stream knows what it has not seen, even at the end; and how many events were
made, dropped and truncated. An idle process repeats nothing.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from jobtide_emitter.broadcasts import stats_slices
from jobtide_emitter.lanes import LANES
from jobtide_emitter.ring import Rank, Ring
from jobtide_emitter.settings import Settings


class Teller(Protocol):
    """What the statistics need of the emitter."""

    settings: Settings
    ring: Ring
    truncated: int

    @property
    def spooled(self) -> int:
        """Events of this epoch that went to the spool."""

    @property
    def partitions(self) -> int | None:
        """Kafka partitions of the topic; None where the receiver places events."""

    @property
    def connected(self) -> bool:
        """Whether the receiver has been reached, and so the partitions are known."""

    def emit(self, kind: str, data: dict[str, Any], *, partitionkey: str, lane: int, rank: int) -> None:
        """Takes one event."""


class Statistics:
    """The statistics of one epoch."""

    def __init__(self, emitter: Teller) -> None:
        self._emitter = emitter
        self._interval_ms = emitter.settings.stats_ms
        self._announced = [0] * LANES
        self._next = time.monotonic() + self._interval_ms / 1000

    def beat(self, now: float) -> float:
        """Says what is new at the monotonic time `now`, if it is time; returns when to come again."""
        if now >= self._next:
            self._next = now + self._interval_ms / 1000
            if self._emitter.connected:
                self.say(clean=False)
        return self._next

    def say(self, *, clean: bool) -> None:
        """Says what is new; `clean` says everything, for the last time."""
        ring, tenant = self._emitter.ring, self._emitter.settings.tenant
        if clean:
            self._announced = [-1 if following else 0 for following in ring.next]
        key = f"{tenant}/emitter/{ring.epoch}"
        for lane, data in stats_slices(ring.next, self._announced, self._totals, ring.epoch, self._emitter.partitions):
            more = {**data, "clean": clean, "interval_ms": self._interval_ms}
            self._emitter.emit("emitter.stats.v1", more, partitionkey=key, lane=lane, rank=Rank.END)

    def _totals(self) -> dict[str, int]:
        """Counts of this epoch, with the event that says them."""
        ring = self._emitter.ring
        return {
            "emitted": ring.last_order + 1,
            "dropped": ring.dropped,
            "spooled": self._emitter.spooled,
            "truncated": self._emitter.truncated,
        }
