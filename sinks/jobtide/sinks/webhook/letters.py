"""What others ask of the notifier, over its topics: its letters, and commands to it. For the command line and the API."""

from __future__ import annotations

import time
from typing import Any
from zlib import crc32

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from jobtide.sinks.webhook.desk import Letter
from jobtide.streams.agents.kafka import new_producer, new_reader
from jobtide.streams.folds.records import SEPARATOR
from jobtide.streams.settings import Settings
from jobtide.streams.topics import COMMANDS, NOTIFIER

_LETTER = f"o{SEPARATOR}".encode()


async def read_letters(settings: Settings) -> dict[str, Letter]:
    """By id, as the newest record of each says."""
    out: dict[str, Letter] = {}
    for key, value in (await _newest(settings, settings.topic(NOTIFIER), [0])).items():
        if key.startswith(_LETTER) and value is not None:
            out[key.removeprefix(_LETTER).decode()] = msgspec.msgpack.decode(value, type=Letter)
    return out


async def _newest(settings: Settings, topic: str, partitions: list[int]) -> dict[bytes, bytes | None]:
    reader, found = new_reader(settings), dict[bytes, bytes | None]()
    await reader.start()
    try:
        tps = [TopicPartition(topic, p) for p in partitions]
        reader.assign(tps)
        await reader.seek_to_beginning(*tps)
        ends = await reader.end_offsets(tps)
        while waiting := [tp for tp in tps if await reader.position(tp) < ends[tp]]:
            for records in (await reader.getmany(*waiting, timeout_ms=500)).values():
                found.update({record.key or b"": record.value for record in records})
    finally:
        await reader.stop()
    return found


async def put_command(producer: AIOKafkaProducer, settings: Settings, kind: str, name: str, value: bytes | None) -> None:
    """Returns when Kafka has it. `value` None takes a silence back."""
    key = f"{kind}{SEPARATOR}{name}".encode()
    await producer.send_and_wait(settings.topic(COMMANDS), value, key=key, partition=crc32(key) % settings.partitions)


async def send_command(settings: Settings, kind: str, name: str, value: Any = None) -> None:
    """One command from a process that sends no others."""
    producer = new_producer(settings, idempotent=not settings.broker_in_memory)
    await producer.start()
    try:
        said = msgspec.json.encode(value if value is not None else {"at_ms": time.time_ns() // 1_000_000})
        await put_command(producer, settings, kind, name, said)
    finally:
        await producer.stop()
