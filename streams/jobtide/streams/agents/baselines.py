"""The topic in which stage 2 keeps what classes have taught it: read on taking a partition over, written now and then.

It is no checkpoint: what was not written is learned again from the 70 minutes of job.panes that a new owner reads. Records are absolute, and
nothing is lost when one arrives twice. What they say is `triage.baselines`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import time_ns

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from jobtide.streams.folds.records import Record
from jobtide.streams.triage.baselines import Baselines

log = logging.getLogger(__name__)


class BaselineLog:
    """All partitions of the topic that this worker's partitions of job.panes pair with."""

    def __init__(self, producer: AIOKafkaProducer, new_reader: Callable[[], AIOKafkaConsumer], topic: str) -> None:
        self._producer, self._new_reader, self._topic = producer, new_reader, topic

    async def recover(self, into: dict[int, Baselines]) -> int:
        """Load what is known of each partition. Returns the number of records read."""
        consumer, count = self._new_reader(), 0
        await consumer.start()
        try:
            tps = [TopicPartition(self._topic, partition) for partition in into]
            consumer.assign(tps)
            await consumer.seek_to_beginning(*tps)
            ends = await consumer.end_offsets(tps)
            waiting = {tp for tp in tps if await consumer.position(tp) < ends[tp]}
            while waiting:
                for tp, records in (await consumer.getmany(*waiting, timeout_ms=1000)).items():
                    for record in records:
                        into[tp.partition].load(record.key or b"", record.value)
                    count += len(records)
                waiting = {tp for tp in waiting if await consumer.position(tp) < ends[tp]}
        finally:
            await consumer.stop()
        return count

    async def write(self, partition: int, records: Iterable[Record]) -> None:
        """Append the records in order and wait until they are durable. Raises KafkaError."""
        waits, batch, now_ms = [], self._producer.create_batch(), time_ns() // 1_000_000
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=now_ms) is None:
                waits.append(await self._producer.send_batch(batch, self._topic, partition=partition))
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=now_ms)
        if batch.record_count():
            waits.append(await self._producer.send_batch(batch, self._topic, partition=partition))
        for wait in waits:
            await wait
