"""The topic of baselines on real Kafka: what stage 2 was taught outlives it, and a broker that refuses loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from jobtide.streams.agents.baselines import BaselineLog
from jobtide.streams.agents.kafka import new_producer, new_reader
from jobtide.streams.agents.stage2 import Stage2
from jobtide.streams.folds.records import Record
from jobtide.streams.settings import Settings, load
from jobtide.streams.topics import BASELINES
from jobtide.streams.triage.baselines import Baselines
from jobtide.streams.windows.fold import WindowFold

from tests.fakes.hot_state import FakeHotState
from tests.servers import create_topics

HOUR = {698: 5, 1040: 1}  # five runs of a second and one of a quarter of an hour


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


def log_of(settings: Settings, producer: AIOKafkaProducer) -> BaselineLog:
    return BaselineLog(producer, lambda: new_reader(settings), settings.topic(BASELINES))


def owner(settings: Settings, log: BaselineLog) -> Stage2:
    stage = Stage2(settings, FakeHotState(), None, log)
    stage.folds = {0: WindowFold(0), 1: WindowFold(1)}
    return stage


async def test_the_next_owner_knows_what_was_taught(settings: Settings, producer: AIOKafkaProducer) -> None:
    log = log_of(settings, producer)
    stage = owner(settings, log)
    for partition, fold in stage.folds.items():
        for minute in range(3):
            fold.triage.baselines.learn(b"class-%d" % partition, 60_000 + 60 * minute, HOUR, {})
    await stage.save_baselines()
    for fold in stage.folds.values():
        fold.triage.baselines.learn(b"late", 60_180, HOUR, {})
    await stage.save_baselines()  # too soon after the last
    found = {0: Baselines(), 1: Baselines()}
    assert await log.recover(found) == 4, "a class and how far it goes, of each partition"
    for partition, known in found.items():
        taught = stage.folds[partition].triage.baselines.by_series
        assert known.by_series == {series: known for series, known in taught.items() if series != b"late"}
        assert not known.learn(b"class-0", 60_120, HOUR, {}), "learned already"
    await stage.save_baselines(every_s=60)
    await log.recover(found)
    assert found[0].by_series == stage.folds[0].triage.baselines.by_series


class Refusing(BaselineLog):
    """A broker that is away."""

    async def write(self, partition: int, records: Iterable[Record]) -> None:
        raise KafkaConnectionError("away")


async def test_what_could_not_be_written_is_written_later(settings: Settings, producer: AIOKafkaProducer) -> None:
    log = log_of(settings, producer)
    stage = owner(settings, Refusing(producer, lambda: new_reader(settings), settings.topic(BASELINES)))
    stage.folds[0].triage.baselines.learn(b"class", 60_000, HOUR, {})
    await stage.save_baselines()
    stage.baselines = log
    await stage.save_baselines()
    found = {0: Baselines(), 1: Baselines()}
    assert await log.recover(found) == 2
    assert found[0].by_series == stage.folds[0].triage.baselines.by_series
