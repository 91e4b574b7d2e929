"""Reads a topic of the emitter back, to the end: what is really in Kafka."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition


@dataclass(frozen=True)
class Message:
    """One Kafka message: where it lay, its headers, its events."""

    partition: int
    headers: dict[str, str]
    bytes: int
    events: list[dict[str, Any]]


def messages(broker: str, topic: str, deadline_s: float = 20.0) -> list[Message]:
    """All messages up to the end the partitions had when this was called."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "reader", "enable.auto.commit": False})
    partitions = sorted(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    found: list[Message] = []
    at = dict.fromkeys(partitions, 0)
    deadline = time.monotonic() + deadline_s
    while any(at[p] < ends[p] for p in partitions):
        assert time.monotonic() < deadline, f"{topic}: got to {at} of {ends}"
        for message in consumer.consume(500, 0.2):
            assert not message.error(), message.error()
            at[message.partition()] = message.offset() + 1
            found.append(_message(message))
    consumer.close()
    return found


def events(broker: str, topic: str) -> list[dict[str, Any]]:
    """All events of the topic."""
    return [event for message in messages(broker, topic) for event in message.events]


def _message(message: Any) -> Message:
    value = orjson.loads(message.value())
    headers = {name: text.decode() for name, text in message.headers() or []}
    packed = value if isinstance(value, list) else [value]
    return Message(message.partition(), headers, len(message.value()), packed)
