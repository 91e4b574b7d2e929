"""CheckpointLog on real Kafka: what is written is read back, by one owner at a time, and a replaced one cannot spoil it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from jobtide.streams.agents.kafka import new_producer, new_reader
from jobtide.streams.checkpoint.log import CheckpointLog, Lost
from jobtide.streams.errors import StoreRejected
from jobtide.streams.settings import Settings, load
from jobtide.streams.topics import CHECKPOINT

from tests.servers import create_topics

State = dict[int, dict[bytes, bytes]]


@pytest.fixture
async def settings(kafka_broker: str, prefix: str) -> Settings:
    await create_topics(kafka_broker, prefix, partitions=2)
    return load({}, broker=kafka_broker, topic_prefix=prefix, partitions=2)


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = new_producer(settings)
    await producer.start()
    yield producer
    await producer.stop()


async def recovered(settings: Settings, producer: AIOKafkaProducer) -> tuple[CheckpointLog, State]:
    """A new owner of both partitions, and the state it found."""
    log, state = CheckpointLog(producer, lambda: new_reader(settings), settings.topic(CHECKPOINT)), State()

    def take(partition: int, key: bytes, value: bytes | None) -> None:
        of_partition = state.setdefault(partition, {})
        if value is None:
            of_partition.pop(key, None)
        else:
            of_partition[key] = value

    await log.recover([0, 1], take)
    return log, {partition: found for partition, found in state.items() if found}


async def test_the_next_owner_reads_what_was_written(settings: Settings, producer: AIOKafkaProducer) -> None:
    log, state = await recovered(settings, producer)
    assert not state
    await log.write(0, [(b"x", b"1"), (b"y", b"1")])
    await log.write(1, [(b"x", b"other")])
    await log.write(0, [(b"x", b"2"), (b"y", None)])
    _, state = await recovered(settings, producer)
    assert state == {0: {b"x": b"2"}, 1: {b"x": b"other"}}


async def test_owners_that_write_in_turn_notice_each_other_and_only_the_last_counts(settings: Settings, producer: AIOKafkaProducer) -> None:
    first, _ = await recovered(settings, producer)
    await first.write(0, [(b"x", b"first"), (b"y", b"first"), (b"z", None)])
    second, state = await recovered(settings, producer)
    assert state == {0: {b"x": b"first", b"y": b"first"}}
    with pytest.raises(Lost):  # a zombie: it was replaced while it stood still
        await first.write(0, [(b"x", b"zombie"), (b"z", b"zombie")])
    with pytest.raises(Lost):  # what else the zombie wrote is not known here, but this write counts
        await second.write(0, [(b"y", b"second")])
    with pytest.raises(Lost):
        await first.write(0, [(b"y", b"zombie")])
    third, state = await recovered(settings, producer)
    assert state == {0: {b"x": b"first", b"y": b"second"}}
    await third.write(0, [(b"w", b"third")])
    _, state = await recovered(settings, producer)
    assert state == {0: {b"x": b"first", b"y": b"second", b"w": b"third"}}


async def test_a_claim_alone_ends_the_owner_before(settings: Settings, producer: AIOKafkaProducer) -> None:
    first, _ = await recovered(settings, producer)
    await recovered(settings, producer)
    with pytest.raises(Lost):
        await first.write(0, [(b"x", b"1")])
    _, state = await recovered(settings, producer)
    assert not state


async def test_partitions_travel_together_and_apart(settings: Settings, producer: AIOKafkaProducer) -> None:
    log, _ = await recovered(settings, producer)
    waits = [await log.submit(partition, [(b"x", b"%d" % partition)]) for partition in (0, 1)]
    for durable in waits:
        await durable()
    _, state = await recovered(settings, producer)
    assert state == {0: {b"x": b"0"}, 1: {b"x": b"1"}}


async def test_ten_megabytes_are_one_batch_and_what_does_not_fit_is_refused_whole(settings: Settings, producer: AIOKafkaProducer) -> None:
    log, _ = await recovered(settings, producer)
    await log.write(0, [(b"k%d" % n, bytes(1000)) for n in range(10_000)])
    with pytest.raises(StoreRejected):
        await log.write(0, [(b"j%d" % n, bytes(1000)) for n in range(20_000)])
    _, state = await recovered(settings, producer)
    assert {key[:1] for key in state[0]} == {b"k"} and len(state[0]) == 10_000
