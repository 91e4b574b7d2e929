"""What both stages have in common: they own partitions of one topic, fold batches of its records, and say where to read on.

Offsets committed to the consumer group are for lag monitors only; where a partition is read from is `next_offset`, which comes from the
stage's own state. See `coalescing` for the consumer that asks for it.
"""

from __future__ import annotations

import abc
import logging
import os
from time import monotonic
from typing import Any

from faust.types import TP, ConsumerMessage

EXIT_REPLACED = 75  # EX_TEMPFAIL: start me again

log = logging.getLogger(__name__)


class Batch(ConsumerMessage):
    """All records fetched for one partition, as one Faust message: Faust's cost is per message, ~80 µs whatever is in it."""

    offsets: list[int]
    appends_us: list[int]
    keys: list[bytes | None]
    values: list[bytes | None]


class Stage(abc.ABC):
    """One stage of this worker, for all its partitions of `topic`."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.durable: dict[int, int] = {}  # partition → offset that may be committed
        self.generation = -1  # of the consumer group, for the partitions held now
        self._holes: dict[int, int] = {}  # partition → first offset after a hole that was asked for again

    @abc.abstractmethod
    async def recover(self, partitions: set[int]) -> None:
        """Take over partitions: afterwards `next_offset` is right for each."""

    @abc.abstractmethod
    def next_offset(self, partition: int) -> int:
        """The offset after the last one folded; 0 if the log has to be read from its beginning."""

    @abc.abstractmethod
    def holds(self, partition: int) -> bool: ...

    @abc.abstractmethod
    async def fold(self, batch: Batch) -> None: ...

    @abc.abstractmethod
    async def flush(self) -> None:
        """Make everything folded durable, before partitions are given away or the worker stops."""

    @abc.abstractmethod
    def release(self) -> None:
        """Forget all partitions. What was not flushed is folded again by whoever gets them."""

    async def take(self, batch: Batch, consumer: Any) -> None:
        """One batch from the agent: fold it, unless it belongs to an earlier assignment or does not follow what is folded."""
        if batch.generation_id == self.generation and self.holds(batch.partition) and self._follows(batch, consumer):
            await self.fold(batch)

    def _follows(self, batch: Batch, consumer: Any) -> bool:
        """Every offset must come. A hole is read again once; if it is still there the log has it (retention, transaction markers)."""
        partition, first, expected = batch.partition, batch.offsets[0], self.next_offset(batch.partition)
        if first <= expected or expected == 0 or self._holes.get(partition) == first:
            self._holes.pop(partition, None)
            if first > expected:
                log.warning("%s/%d: offsets %d..%d do not exist, reading on", self.topic, partition, expected, first - 1)
            return True
        if partition not in self._holes:
            log.warning("%s/%d: expected offset %d and got %d, reading again", self.topic, partition, expected, first)
            self._holes[partition] = first
            consumer.seek_now(TP(self.topic, partition), expected)
        return False


class Watchdog:
    """Ends the process if it slept so long that another worker may own its partitions. A hard end is always exact."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s, self._beat = limit_s, monotonic()

    def beat(self) -> None:
        now = monotonic()
        slept, self._beat = now - self._beat, now
        if slept > self.limit_s:
            end_process(f"this process stood still for {slept:.1f} s")


def end_process(why: str) -> None:
    """Stop at once, without flushing: the state since the last checkpoint is folded again by the next owner."""
    log.critical("%s; ending so that a fresh start takes over", why)
    logging.shutdown()
    os._exit(EXIT_REPLACED)
