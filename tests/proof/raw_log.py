"""job.events read back as plain JSON, for oracles that want to know what emitters really sent. None of jobtide's code, no judging."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

TOPIC = "job.events"


def read(broker: str, tenant: str, partitions: int = 8) -> list[dict[str, Any]]:
    """Every job event of a tenant that is in the topic now, repeats too, in the order of each partition."""
    return asyncio.run(_read(broker, TOPIC, partitions, lambda event: _is_job_of(event, tenant)))


async def _read(broker: str, topic: str, partitions: int, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    await consumer.start()
    found: list[dict[str, Any]] = []
    try:
        tps = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        while waiting := [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            for records in (await consumer.getmany(*waiting, timeout_ms=500)).values():
                for record in records:
                    value = orjson.loads(record.value or b"[]")
                    found += [e for e in (value if isinstance(value, list) else [value]) if wanted(e)]
    finally:
        await consumer.stop()
    return found


def _is_job_of(event: dict[str, Any], tenant: str) -> bool:
    return bool(event["type"].startswith("job.") and event["data"].get("tenant") == tenant)


def everything(broker: str, topic: str = TOPIC, partitions: int = 8) -> list[dict[str, Any]]:
    """Every event of any kind and tenant that is in the topic now, repeats and each partition's copy of a broadcast too."""
    return asyncio.run(_read(broker, topic, partitions, lambda _: True))
