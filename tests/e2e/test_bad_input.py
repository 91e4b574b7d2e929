"""Every invalid vector of the contract through real Kafka and a real worker: to the dead letter with its reason, while good events count.

The bytes of a letter are the bytes that were sent; its key says where they lay.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests import servers
from tests.contract import vectors
from tests.proof.job_events import job_event, lane_of, value_of

PARTITIONS = 8
GOOD_PER_BAD = 5
DEADLINE_S = 90
TENANT = "good"
SHARED_EPOCH = b"k3Jx9TqLw2mZ"

Letters = dict[str, tuple[bytes, list[list[Any]]]]


@pytest.fixture
def worker(kafka_broker: str, redis_url: str, prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    """A `jobtide worker` on topics and keys of its own."""
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    own = {
        "JOBTIDE_BROKER": kafka_broker, "JOBTIDE_REDIS_URL": redis_url, "JOBTIDE_TOPIC_PREFIX": prefix,
        "JOBTIDE_REDIS_PREFIX": prefix, "JOBTIDE_LOG_LEVEL": "warning",
    }  # fmt: skip
    rest = {name: value for name, value in os.environ.items() if not name.startswith("JOBTIDE_")}
    process = subprocess.Popen([sys.executable, "-m", "jobtide.cli", "worker"], env=rest | own)
    yield process
    process.terminate()
    assert process.wait(20) == 0


async def append(broker: str, prefix: str) -> tuple[dict[str, vectors.Invalid], int]:
    """All vectors, each among good events of all partitions: ("partition:offset" -> vector, good jobs)."""
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all", linger_ms=2)
    await producer.start()
    waiting: list[tuple[vectors.Invalid | None, Any]] = []
    good = 0
    for number, vector in enumerate(map(_alone, vectors.invalid())):
        assert vector.partitions in (None, PARTITIONS)
        for _ in range(GOOD_PER_BAD):
            event = job_event("enqueued", time.time_ns() // 1000, job_id=f"job-{good}", tenant=TENANT)
            partition = lane_of(event["partitionkey"]) % PARTITIONS
            waiting.append((None, await producer.send(f"{prefix}job.events", value_of(event), partition=partition)))
            good += 1
        partition = _partition(vector, number)
        waiting.append((vector, await producer.send(f"{prefix}job.events", vector.value, partition=partition)))
    placed = [(vector, await future) for vector, future in waiting]
    await producer.stop()
    return {f"{record.partition}:{record.offset}": vector for vector, record in placed if vector is not None}, good


def _alone(vector: vectors.Invalid) -> vectors.Invalid:
    """In an epoch of its own if its only fault is where it lies: the vectors share one epoch and number, and of two events with the same
    number the second is a repeat, which is dropped before its place is judged."""
    if not vector.name.startswith("placement-"):
        return vector
    return replace(vector, value=vector.value.replace(SHARED_EPOCH, f"epoch-{vector.name[10:]}".encode()[:64]))


def _partition(vector: vectors.Invalid, number: int) -> int:
    """Where it says, else where its lane lives, so that nothing but its own fault is wrong; else anywhere."""
    if vector.partition is not None:
        return vector.partition
    try:
        lane = orjson.loads(vector.value)["lane"]
    except (ValueError, TypeError, KeyError):
        return number % PARTITIONS
    return lane % PARTITIONS if isinstance(lane, int) else number % PARTITIONS


async def letters(broker: str, topic: str, count: int) -> Letters:
    """The dead letters by key, as soon as there are `count`; what is there when time is up."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    await consumer.start()
    found: Letters = {}
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        limit = time.monotonic() + DEADLINE_S
        while len(found) < count and time.monotonic() < limit:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    found[(record.key or b"").decode()] = (record.value or b"", orjson.loads(dict(record.headers)["faults"]))
    finally:
        await consumer.stop()
    return found


def counted(url: str, prefix: str) -> int:
    """Good jobs that the hot state has as enqueued."""
    with redis.Redis.from_url(url) as client:
        values: Any = client.hvals(f"{prefix}series:{TENANT}")
    return sum(orjson.loads(value.partition(b"|")[2])["windows"]["1h"]["enqueued"] for value in values)


@pytest.mark.slow
def test_each_invalid_vector_becomes_a_dead_letter_while_good_events_count(
    worker: subprocess.Popen[bytes], kafka_broker: str, redis_url: str, prefix: str
) -> None:
    placed, good = asyncio.run(append(kafka_broker, prefix))
    found = asyncio.run(letters(kafka_broker, f"{prefix}job.events.dlq", len(placed)))
    assert sorted(found) == sorted(placed), {placed[key].name for key in placed.keys() - found.keys()}
    for key, vector in placed.items():
        value, faults = found[key]
        assert value == vector.value, vector.name
        assert vector.reason.value in {reason for _, reason, _ in faults}, f"{vector.name}: {faults}"
        assert all(detail for _, _, detail in faults), f"{vector.name} has no detail"
    limit = time.monotonic() + DEADLINE_S
    while (now := counted(redis_url, prefix)) < good and time.monotonic() < limit:
        time.sleep(0.2)
    assert now == good
    assert worker.poll() is None
