"""The history writer's view of Kafka: batches of records out, offsets in. Thin; it decides nothing about their content.

A consumer group of its own, committed by hand after ClickHouse has the rows. Partitions come and go in a rebalance: `on_assigned` and
`on_revoked` are told, new partitions stay paused until `resume`. A broker that is away is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from jobtide.sinks.batch import Record
from jobtide.sinks.group import new_consumer, started
from jobtide.streams import topics
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)

GROUP = "jobtide-history"
BYTES_PER_EVENT = 1_024  # a batch also ends at history_batch_events times this, whatever the sizes of its events
FETCH_BYTES = 1 << 20  # per partition: the consumer holds about two of these; answers of 32 MB cost more in copies than in requests
_EVENT_MARK = b'"specversion"'
_BRACKET = ord("[")

Owner = TypeVar("Owner")

Change = Callable[[set[int]], Awaitable[None]]


class LogSource:
    def __init__(self, settings: Settings, on_assigned: Change, on_revoked: Change) -> None:
        self._topic = settings.topic(topics.EVENTS)
        self._max_events = settings.history_batch_events
        self._max_s = settings.history_batch_ms / 1000
        self._listener = _Listener(self, on_assigned, on_revoked)
        self._consumer = new_consumer(settings, GROUP, rebalance_timeout_ms=30_000, max_partition_fetch_bytes=FETCH_BYTES)

    async def start(self, stop: asyncio.Event) -> bool:
        """Connect and subscribe, waiting for the broker; False if `stop` came first."""
        if not await started(self._consumer, stop, "history writer"):
            return False
        self._consumer.subscribe([self._topic], listener=self._listener)
        return True

    async def collect(self, owner: Callable[[], Owner], stop: asyncio.Event) -> tuple[Owner, list[Record]]:
        """The next batch with its owner: as many events as one may have, or what came within its time. Empty if nothing did, or `stop`.

        `owner` tells whose the partitions are now. If it changes, what was collected before is thrown away: a rebalance has set the
        consumer back to the committed offsets. What the same call returns is the new owner's, for it leaves no moment for a change.
        """
        records: list[Record] = []
        events = size = 0
        batch_owner = owner()
        until = time.monotonic() + self._max_s
        while events < self._max_events and size < self._max_events * BYTES_PER_EVENT and not stop.is_set():
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            timeout_ms = int(min(left_s, 0.2) * 1000) + 1
            found = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=self._max_events - events)
            if owner() is not batch_owner:
                batch_owner, records, events, size = owner(), [], 0, 0
            for tp, messages in found.items():
                partition = tp.partition
                for m in messages:
                    value = m.value
                    records.append(Record(partition, m.offset, m.timestamp * 1000, value))
                    if value:
                        size += len(value)
                        events += 1 if value[0] != _BRACKET else value.count(_EVENT_MARK)
        return batch_owner, records

    def resume(self, partitions: Collection[int]) -> None:
        """Fetch partitions that `on_assigned` was told of; those that have gone meanwhile are none of ours."""
        mine = self._consumer.assignment()
        self._consumer.resume(*(tp for p in partitions if (tp := self._tp(p)) in mine))

    async def ends(self, partitions: Collection[int]) -> dict[int, tuple[int, int]]:
        """(next offset to read, end of the log) of assigned partitions. Raises KafkaError."""
        ends = await self._consumer.end_offsets([self._tp(p) for p in partitions])
        return {tp.partition: (await self._consumer.position(tp), end) for tp, end in ends.items()}

    def end(self, partition: int) -> int | None:
        """The end of the log as the last fetch saw it."""
        tp = self._tp(partition)
        end: int | None = self._consumer.highwater(tp) if tp in self._consumer.assignment() else None
        return end

    async def commit(self, next_offsets: Mapping[int, int]) -> bool:
        """False if it failed: the records will come again, or a later commit covers them."""
        try:
            await self._consumer.commit({self._tp(p): offset for p, offset in next_offsets.items()})
        except KafkaError as error:
            log.warning("history writer could not commit", extra={"reason": str(error)})
            return False
        return True

    async def stop(self) -> None:
        await self._consumer.stop()

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)


class _Listener(ConsumerRebalanceListener):
    def __init__(self, source: LogSource, on_assigned: Change, on_revoked: Change) -> None:
        self._source, self._on_assigned, self._on_revoked = source, on_assigned, on_revoked

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._on_revoked({tp.partition for tp in revoked})

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._source._consumer.pause(*assigned)
        await self._on_assigned({tp.partition for tp in assigned})
