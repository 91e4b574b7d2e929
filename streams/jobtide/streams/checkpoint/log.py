"""The checkpoint topic: claim partitions, read their state back, write a flush as one record batch.

Kafka appends a record batch whole or not at all, and the idempotent producer appends it once. So every flush, with the source offset it
brings the state to, is atomic without a transaction. What the records say is `folds.saving`; when to write is the agents' decision.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from jobtide.streams.checkpoint.ownership import CLAIM_PREFIX, Ownership
from jobtide.streams.errors import StoreRejected
from jobtide.streams.folds.records import Record

OWNER_HEADER = "owner"
MAX_BATCH_BYTES = 15 << 20  # under the topic's max.message.bytes of 16 MiB

Load = Callable[[int, bytes, bytes | None], None]  # partition, key, value
log = logging.getLogger(__name__)


class Lost(StoreRejected):
    """Somebody else has written to a partition that this process owned: it must not go on."""


class CheckpointLog:
    """The checkpoint of the source partitions that this process owns. One instance per assignment of partitions."""

    def __init__(self, producer: AIOKafkaProducer, new_consumer: Callable[[], AIOKafkaConsumer], topic: str) -> None:
        self._producer, self._new_consumer, self._topic = producer, new_consumer, topic
        self.owner = secrets.token_bytes(8)
        self._ends: dict[int, int] = {}  # where the next batch of each partition must land, or another owner has written

    async def recover(self, partitions: Iterable[int], load: Load) -> int:
        """Claim the partitions and feed their state to `load`, in log order. Returns the number of records read.

        Raises KafkaError while the broker is out of reach: nothing is owned then, call again on a new instance.
        """
        claims = {p: await self._claim(p) for p in partitions}
        consumer = self._new_consumer()
        await consumer.start()
        try:
            return await self._read(consumer, claims, load)
        finally:
            await consumer.stop()

    async def _claim(self, partition: int) -> int:
        metadata = await self._producer.send_and_wait(
            self._topic, key=CLAIM_PREFIX + self.owner.hex().encode(), value=b"1", partition=partition, headers=[(OWNER_HEADER, self.owner)]
        )
        return int(metadata.offset)

    async def _read(self, consumer: AIOKafkaConsumer, claims: dict[int, int], load: Load) -> int:
        owners = {p: Ownership() for p in claims}
        newest: dict[int, dict[bytes, bytes | None]] = {p: {} for p in claims}
        waiting = {TopicPartition(self._topic, p) for p in claims}
        consumer.assign(list(waiting))
        await consumer.seek_to_beginning(*waiting)
        count = 0
        while waiting:
            for tp, records in (await consumer.getmany(*waiting, timeout_ms=1000)).items():
                p = tp.partition
                counts, state = owners[p].counts, newest[p]
                for record in records:
                    if record.offset <= claims[p] and counts(record.key or b"", _owner_of(record.headers)):
                        state[record.key or b""] = record.value
                count += len(records)
            for tp in list(waiting):
                if await consumer.position(tp) > claims[tp.partition]:
                    waiting.discard(tp)
                    consumer.pause(tp)
        for p, state in newest.items():
            self._ends[p] = claims[p] + 1
            await self._write_again(p, {key: state.get(key) for key in owners[p].overwritten})
            for key, value in state.items():
                load(p, key, value)
        return count

    async def _write_again(self, partition: int, records: dict[bytes, bytes | None]) -> None:
        if records:
            log.warning("checkpoint partition %d: writing %d records again that a replaced worker overwrote", partition, len(records))
            await self.write(partition, list(records.items()))

    async def write(self, partition: int, records: list[Record]) -> None:
        """Append `records` as one batch and wait until it is durable.

        Raises Lost if another owner has written in between, StoreRejected if the batch would be too large, KafkaError if it may not have arrived.
        """
        await (await self.submit(partition, records))()

    async def submit(self, partition: int, records: list[Record]) -> Callable[[], Awaitable[None]]:
        """Like `write`, in two steps, so that several partitions' batches travel together: the result waits for the broker."""
        batch = self._producer.create_batch()
        headers, now_ms = [(OWNER_HEADER, self.owner)], time.time_ns() // 1_000_000
        append = batch.append
        for key, value in records:
            if append(key=key, value=value, timestamp=now_ms, headers=headers) is None:
                raise StoreRejected(f"a checkpoint of {len(records)} records does not fit into one batch of {MAX_BATCH_BYTES} bytes")
        sent = await self._producer.send_batch(batch, self._topic, partition=partition)

        async def durable() -> None:
            offset = int((await sent).offset)
            expected = self._ends[partition]
            self._ends[partition] = offset + len(records)
            if offset != expected:
                raise Lost(f"checkpoint partition {partition}: offsets {expected}..{offset - 1} were written by another worker")

        return durable


def _owner_of(headers: Iterable[tuple[str, bytes]]) -> bytes:
    for name, value in headers:
        if name == OWNER_HEADER:
            return value
    return b""
