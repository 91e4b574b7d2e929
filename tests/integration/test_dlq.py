"""`jobtide dlq` with a real worker: what it refuses is listed once, and sent again once the contract accepts it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from click.testing import CliRunner
from jobtide.cli.main import cli
from jobtide.streams.events import lane_of

from tests import servers


def event(job_id: str, **changes: Any) -> dict[str, Any]:
    key = f"t/celery/{job_id}"
    data = {"tenant": "t", "system": "celery", "queue": "q", "job_class": "C", "job_id": job_id, "attempt": 1}
    return {
        "specversion": "1.0", "id": f"event-of-{job_id:0>20}", "source": "host/1", "type": "job.enqueued.v1",
        "subject": job_id, "time": "2026-11-22T10:00:00Z", "partitionkey": key, "data": data, **changes,
    }  # fmt: skip


@pytest.fixture
def environment(kafka_broker: str, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found = {
        "JOBTIDE_BROKER": kafka_broker, "JOBTIDE_REDIS_URL": redis_url, "JOBTIDE_TOPIC_PREFIX": prefix,
        "JOBTIDE_REDIS_PREFIX": prefix,
    }  # fmt: skip
    for name, text in found.items():
        monkeypatch.setenv(name, text)
    return found


@pytest.fixture
def worker(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A `jobtide worker` process."""
    process = subprocess.Popen([sys.executable, "-m", "jobtide.cli", "worker"])
    yield process
    process.terminate()
    assert process.wait(20) == 0


async def send(broker: str, topic: str, records: list[tuple[int, bytes, bytes | None, list[tuple[str, bytes]]]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all")
    await producer.start()
    for partition, value, key, headers in records:
        await producer.send_and_wait(topic, value, key=key, partition=partition, headers=headers)
    await producer.stop()


async def ends(broker: str, topic: str) -> dict[int, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker)
    await consumer.start()
    found = await consumer.end_offsets([TopicPartition(topic, number) for number in range(8)])
    await consumer.stop()
    return {tp.partition: end for tp, end in found.items()}


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["dlq", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_refused_events_are_listed_by_reason(worker: object, kafka_broker: str, prefix: str) -> None:
    asyncio.run(servers.create_topics(kafka_broker, prefix))
    good, bad = event("good"), event("bad", type="job.exploded.v1")
    partition = lane_of("t/celery/good") % 8
    pack = json.dumps([good, bad]).encode()
    asyncio.run(send(kafka_broker, f"{prefix}job.events", [(partition, pack, None, []), (0, b"nonsense", None, [])]))

    async def arrived() -> None:
        async with asyncio.timeout(60):
            while sum((await ends(kafka_broker, f"{prefix}job.events.dlq")).values()) < 2:
                await asyncio.sleep(0.2)

    asyncio.run(arrived())
    output = run("list")
    assert output.startswith("2 refused events in 2 letters\n")
    assert "unknown_type: 1\n" in output and "not_json: 1\n" in output and f"{partition}:0[1]" in output
    assert run("list", "--reason", "not_json").startswith("1 refused events in 1 letters\n")
    replayed = run("replay")
    assert "0 events sent" in replayed and "1 still refused: unknown_type" in replayed


def test_a_mended_event_is_sent_to_its_partition_and_a_doubled_letter_once(environment: dict[str, str], kafka_broker: str, prefix: str) -> None:
    """As after an upgrade: letters whose events the contract accepts now."""
    asyncio.run(servers.create_topics(kafka_broker, prefix))
    mended, neighbour = event("mended"), event("neighbour")
    pack = json.dumps([neighbour, mended]).encode()
    faults = [("faults", orjson.dumps([[1, "unknown_type", "was not known"]]))]
    letters = [(3, pack, b"3:17", faults), (3, pack, b"3:17", faults)]
    asyncio.run(send(kafka_broker, f"{prefix}job.events.dlq", letters))
    assert "1 events would be sent" in run("replay", "--dry-run")
    assert "0 events sent" in run("replay", "--reason", "not_json")
    assert sum(asyncio.run(ends(kafka_broker, f"{prefix}job.events")).values()) == 0
    assert "1 events sent" in run("replay", "--reason", "unknown_type")
    found = asyncio.run(ends(kafka_broker, f"{prefix}job.events"))
    assert {partition for partition, end in found.items() if end} == {lane_of("t/celery/mended") % 8}
    assert sum(found.values()) == 1
