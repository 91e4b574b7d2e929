"""How far the history of one Kafka partition is complete. Pure; the same rule as stage 1's watermark.

A partition's watermark is the newest min(event time, append time) minus the disorder bound. One that is caught up and silent is *idle*:
it holds nobody back. One that has not reached the end of its log is *lagging*: it does.
"""

from __future__ import annotations

from dataclasses import dataclass

IDLE_AFTER_US = 2_000_000


@dataclass(slots=True)
class Progress:
    """`rolled_us`: the watermark up to which minute rollups are made. `seen_us`: local clock when the newest record was written."""

    partition: int
    disorder_us: int
    next_offset: int
    seen_us: int
    high_us: int = 0
    append_us: int = 0
    idle_us: int = 0
    rolled_us: int = 0

    @property
    def watermark_us(self) -> int:
        """Everything before it is in the history."""
        return max(self.high_us - self.disorder_us, self.idle_us, 0)

    def advance(self, next_offset: int, high_us: int, append_us: int, now_us: int) -> None:
        """A batch up to `next_offset` was written."""
        self.next_offset = next_offset
        self.high_us = max(self.high_us, high_us)
        self.append_us = max(self.append_us, append_us)
        self.seen_us = now_us

    def state(self, end_offset: int | None, now_us: int) -> str:
        """active, idle or lagging, and lets time pass for an idle partition. `end_offset`: the end of the log, None if not known."""
        if end_offset is None or self.next_offset < end_offset:
            return "lagging"
        if now_us - self.seen_us < IDLE_AFTER_US:
            return "active"
        self.idle_us = max(self.idle_us, now_us - self.disorder_us)
        return "idle"
