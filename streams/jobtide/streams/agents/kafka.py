"""Kafka clients and topics for a worker: how they are configured, in one place."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError
from jobtide.streams.errors import ConfigError, TransientError
from jobtide.streams.settings import Settings, variable
from jobtide.streams.topics import TOPICS, Topic


def connection(settings: Settings) -> dict[str, Any]:
    """Arguments that every aiokafka client takes."""
    return {"bootstrap_servers": settings.broker}


def new_producer(settings: Settings, *, idempotent: bool = True) -> AIOKafkaProducer:
    """A producer that loses and doubles nothing; batches up to 16 MiB, since a checkpoint has to be one.

    `idempotent=False` only for the in-memory broker of `up --ephemeral`, which knows no producer ids.
    """
    return AIOKafkaProducer(
        **connection(settings), acks="all", enable_idempotence=idempotent, max_batch_size=15 << 20, max_request_size=32 << 20, linger_ms=0
    )


def new_reader(settings: Settings) -> AIOKafkaConsumer:
    """A consumer without a group: partitions are assigned and sought by hand."""
    return AIOKafkaConsumer(
        **connection(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
        fetch_max_bytes=64 << 20,
        fetch_max_wait_ms=100,
    )


async def ensure_topics(settings: Settings, topics: tuple[Topic, ...] = TOPICS) -> None:
    """Make the missing topics, and check the partitions of those that are there.

    Raises ConfigError if a topic has another number of partitions than the settings say, TransientError if Kafka is out of reach.
    """
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
    except KafkaConnectionError as error:
        raise TransientError(f"Kafka at {settings.broker} is out of reach: {error}") from error
    try:
        missing = set(settings.topic(t.name) for t in topics) - set(await admin.list_topics())
        for topic in topics:
            if settings.topic(topic.name) in missing:
                await _create(admin, settings, topic)
        await _check(admin, settings, topics)
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, settings: Settings, topic: Topic) -> None:
    new = NewTopic(settings.topic(topic.name), num_partitions=settings.partitions, replication_factor=1, topic_configs=dict(topic.config))
    new.replication_factor = -1  # the cluster's default.replication.factor; the constructor does not know that form
    try:
        await admin.create_topics([new])
    except TopicAlreadyExistsError:
        return  # another process was faster


async def _check(admin: AIOKafkaAdminClient, settings: Settings, topics: tuple[Topic, ...]) -> None:
    names = [settings.topic(t.name) for t in topics]
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        found = {d["topic"]: len(d["partitions"]) for d in await admin.describe_topics(names)}
        if all(found.get(name) for name in names):
            break
        if asyncio.get_running_loop().time() > deadline:
            raise TransientError(f"Kafka at {settings.broker} does not show the topics {', '.join(names)} yet")
        await asyncio.sleep(0.1)
    for name in names:
        if found[name] != settings.partitions:
            raise ConfigError(
                f"Topic {name} has {found[name]} partitions but {variable('partitions')} is {settings.partitions}. "
                f"Set {variable('partitions')}={found[name]}: the number is fixed when the topic is made."
            )
