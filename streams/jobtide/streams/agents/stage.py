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

from aiokafka import TopicPartition
from faust.types import TP, ConsumerMessage
from jobtide.streams.agents.kafka import new_reader
from jobtide.streams.settings import Settings

STALLED_S = 10.0
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

    def __init__(self, settings: Settings, topic: str) -> None:
        self.settings, self.topic = settings, topic
        self.durable: dict[int, int] = {}  # partition → offset that may be committed
        self._heard_s: dict[int, float] = {}  # partition → when its last batch came
        self.generation = -1  # of the consumer group, for the partitions held now

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
        if self._owns(batch) and await self._follows(batch, consumer) and self._owns(batch):
            self._heard_s[batch.partition] = monotonic()
            await self.fold(batch)

    def _owns(self, batch: Batch) -> bool:
        return batch.generation_id == self.generation and self.holds(batch.partition)

    async def _follows(self, batch: Batch, consumer: Any) -> bool:
        """Every offset must come. Whether one that did not is in the log at all (retention, transaction markers) only the log can say."""
        partition, first, expected = batch.partition, batch.offsets[0], self.next_offset(batch.partition)
        if first <= expected:
            return True
        if await self._first_from(partition, expected) == first:
            log.info("%s/%d: offsets %d..%d do not exist, reading on", self.topic, partition, expected, first - 1)
            return True
        if self._owns(batch):
            log.warning("%s/%d: expected offset %d and got %d, reading again", self.topic, partition, expected, first)
            await consumer.read_again(TP(self.topic, partition), expected)
        return False

    async def read_stalled(self, consumer: Any) -> None:
        """Read again where the log goes on and nothing has come for long: a lost batch with no other behind it shows no hole."""
        for tp in [tp for tp in consumer.assignment() if tp.topic == self.topic and self.holds(tp.partition)]:
            end, expected, now_s = consumer.highwater(tp), self.next_offset(tp.partition), monotonic()
            if end is None or end <= expected or now_s - self._heard_s.setdefault(tp.partition, now_s) < STALLED_S:
                continue
            log.warning("%s/%d: nothing from offset %d on for %.0f s, reading again", tp.topic, tp.partition, expected, STALLED_S)
            self._heard_s[tp.partition] = now_s
            await consumer.read_again(tp, expected)

    async def _first_from(self, partition: int, offset: int) -> int:
        """The first offset from `offset` on that the log has, asked by a client of its own."""
        reader, tp = new_reader(self.settings), TopicPartition(self.topic, partition)
        await reader.start()
        try:
            reader.assign([tp])
            reader.seek(tp, offset)
            return int((await reader.getone(tp)).offset)
        finally:
            await reader.stop()


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
