"""Kafka clients and topics for a worker: how they are configured, in one place."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError
from jobtide.streams.errors import ConfigError, TransientError
from jobtide.streams.settings import Settings, variable
from jobtide.streams.topics import TOPICS, Topic


def connection(settings: Settings) -> dict[str, Any]:
    """Arguments that every aiokafka client takes: where Kafka is, and how to be let in."""
    found: dict[str, Any] = {"bootstrap_servers": settings.broker, "security_protocol": settings.broker_security_protocol}
    if _is_sasl(settings):
        found |= {
            "sasl_mechanism": settings.broker_sasl_mechanism,
            "sasl_plain_username": settings.broker_sasl_username,
            "sasl_plain_password": settings.broker_sasl_password,
        }
    if (context := _tls(settings)) is not None:
        found["ssl_context"] = context
    return found


def credentials(settings: Settings) -> Any:
    """The same for Faust's clients; None for PLAINTEXT."""
    context = _tls(settings)
    if _is_sasl(settings):
        return faust.SASLCredentials(
            username=settings.broker_sasl_username,
            password=settings.broker_sasl_password,
            mechanism=settings.broker_sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def _is_sasl(settings: Settings) -> bool:
    return settings.broker_security_protocol.startswith("SASL")


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """A context that checks the broker's name. ConfigError names the setting of a file that cannot be used."""
    if not settings.broker_security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.broker_tls_ca or None)
    except OSError as error:
        raise ConfigError(f"{variable('broker_tls_ca')}: {settings.broker_tls_ca} cannot be used: {error}") from None
    if settings.broker_tls_cert:
        try:
            context.load_cert_chain(settings.broker_tls_cert, settings.broker_tls_key or None)
        except OSError as error:
            raise ConfigError(f"{variable('broker_tls_cert')} or {variable('broker_tls_key')} cannot be used: {error}") from None
    return context


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
