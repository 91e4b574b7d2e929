"""The gateway on real Apache Kafka: what it answers 202 is there, whatever happens to the broker."""

import asyncio
import gzip
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from jobtide.gateway import create_app
from jobtide.streams.errors import ConfigError
from jobtide.streams.events import decode
from jobtide.streams.settings import Settings, load

from tests import servers


def settings_for(broker: str, prefix: str, **overrides: object) -> Settings:
    return load({}, broker=broker, topic_prefix=prefix, **overrides)


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The application in this process, with its life cycle, behind an HTTP client."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as client:
            yield client


def line(job_id: str) -> bytes:
    event = {"type": "job.enqueued", "system": "t", "queue": "q", "job_class": "C", "job_id": job_id}
    return json.dumps(event).encode() + b"\n"


async def stored(settings: Settings) -> list[str]:
    """job ids of everything in job.events, with each event checked to be on its partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.broker, isolation_level="read_committed")
    await consumer.start()
    topic = settings.topic("job.events")
    partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    found: list[str] = []
    try:
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    assert record.value is not None
                    headers = dict(record.headers)
                    assert headers["sent_at"].isdigit()
                    events = decode(record.value)
                    assert (b"batch" in headers["content-type"]) == (len(events) > 1)
                    for event in events:
                        assert event.lane is None or event.lane % settings.partitions == tp.partition
                        found.append(event.subject)
    finally:
        await consumer.stop()
    return found


async def test_accepted_events_are_in_kafka_and_refused_ones_are_not(kafka_broker: str, prefix: str) -> None:
    settings = settings_for(kafka_broker, prefix)
    await servers.create_topics(kafka_broker, prefix)
    async with gateway(settings) as client:
        reply = await client.post("/v1/events", content=line("a") + b"nonsense\n" + line("b"))
        assert reply.status_code == 202
        answer = reply.json()
        assert answer["accepted"] == 2
        assert [(r["line"], r["reason"]) for r in answer["rejected"]] == [(2, "not_json")]
        zipped = await client.post(
            "/v1/events",
            content=gzip.compress(line("c")) + gzip.compress(line("d")),
            headers={"content-encoding": "gzip"},
        )
        assert zipped.json() == {"accepted": 2, "rejected": []}
        empty = await client.post("/v1/events", content=b"")
        assert (empty.status_code, empty.json()) == (202, {"accepted": 0, "rejected": []})
        assert (await client.get("/readyz")).status_code == 200
    assert sorted(await stored(settings)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"x" * 20_000, {}, 413),
        (gzip.compress(b"\n" * 5_000_000), {"content-encoding": "gzip"}, 413),
        (gzip.compress(line("a"))[:-9], {"content-encoding": "gzip"}, 400),
        (line("a"), {"content-encoding": "gzip"}, 400),
        (line("a"), {"content-encoding": "br"}, 415),
        (b"[" * 9_000, {}, 413),
        (b"[1,", {}, 400),
    ],
    ids=["long", "bomb", "cut", "not-gzip", "brotli", "deep", "broken-array"],
)
async def test_a_body_that_cannot_be_taken_is_a_problem(kafka_broker: str, prefix: str, content: bytes, headers: dict[str, str], status: int) -> None:
    await servers.create_topics(kafka_broker, prefix)
    async with gateway(settings_for(kafka_broker, prefix, gateway_max_body_bytes=10_000)) as client:
        reply = await client.post("/v1/events", content=content, headers=headers)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == status and reply.json()["detail"]


async def test_a_body_without_length_is_bounded_too(kafka_broker: str, prefix: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    await servers.create_topics(kafka_broker, prefix)
    async with gateway(settings_for(kafka_broker, prefix, gateway_max_body_bytes=10_000)) as client:
        assert (await client.post("/v1/events", content=chunks())).status_code == 413


async def test_it_refuses_a_topic_with_another_number_of_partitions(kafka_broker: str, prefix: str) -> None:
    await servers.create_topics(kafka_broker, prefix, partitions=4)
    with pytest.raises(ConfigError, match=r"job\.events has 4 partitions, not JOBTIDE_PARTITIONS=8"):
        async with gateway(settings_for(kafka_broker, prefix)):
            pass


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[servers.Server]:
    """A Kafka this test may stop, freeze and kill."""
    with servers.kafka(tmp_path) as server:
        yield server


async def test_accepted_is_never_lost_through_sigkill_of_kafka(own_kafka: servers.Server) -> None:
    settings = settings_for(own_kafka.address, "")
    await servers.create_topics(own_kafka.address)
    accepted: list[str] = []
    statuses: set[int] = set()

    async def client_loop(client: httpx.AsyncClient, name: str, done: asyncio.Event) -> None:
        number = 0
        while not done.is_set():
            number += 1
            job_id = f"{name}-{number}"
            reply = await client.post("/v1/events", content=line(job_id))
            statuses.add(reply.status_code)
            if reply.status_code == 202:
                accepted.append(job_id)
            else:
                assert reply.headers["retry-after"].isdigit()
                await asyncio.sleep(0.05)

    async def grown(by: int) -> None:
        before = len(accepted)
        async with asyncio.timeout(60):
            while len(accepted) < before + by:
                await asyncio.sleep(0.05)

    async with gateway(settings) as client:
        done = asyncio.Event()
        loops = [asyncio.create_task(client_loop(client, str(n), done)) for n in range(4)]
        await grown(50)
        await asyncio.to_thread(own_kafka.process.kill)
        statuses.clear()
        async with asyncio.timeout(60):
            while 503 not in statuses:
                await asyncio.sleep(0.05)
        own_kafka.start(30)
        await grown(50)
        done.set()
        await asyncio.gather(*loops)
    assert set(accepted) <= set(await stored(settings))


async def test_it_starts_without_kafka_and_recovers(own_kafka: servers.Server) -> None:
    await servers.create_topics(own_kafka.address)
    own_kafka.process.kill()
    async with gateway(settings_for(own_kafka.address, "")) as client:
        reply = await client.post("/v1/events", content=line("a"))
        assert reply.status_code == 503 and reply.headers["retry-after"]
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        own_kafka.start(30)
        async with asyncio.timeout(30):
            while (await client.post("/v1/events", content=line("a"))).status_code != 202:
                await asyncio.sleep(0.1)


async def test_pressure_is_answered_429_and_clears(own_kafka: servers.Server) -> None:
    """With Kafka frozen, requests wait for it until the limit of held bytes; then new ones are sent away."""
    settings = settings_for(own_kafka.address, "", gateway_max_inflight_bytes=3000)
    await servers.create_topics(own_kafka.address)
    body = line("a") * 10
    async with gateway(settings) as client:
        assert (await client.post("/v1/events", content=body)).status_code == 202
        assert own_kafka.process.pid is not None
        os.kill(own_kafka.process.pid, signal.SIGSTOP)
        try:
            waiting = [asyncio.create_task(client.post("/v1/events", content=body)) for _ in range(6)]
            refused, held = await asyncio.wait(waiting, timeout=5)
            assert {task.result().status_code for task in refused} == {429}
            assert all(task.result().headers["retry-after"].isdigit() for task in refused)
            assert len(held) == 3
        finally:
            os.kill(own_kafka.process.pid, signal.SIGCONT)
        assert {(await task).status_code for task in held} == {202}
        async with asyncio.timeout(30):
            while (await client.post("/v1/events", content=body)).status_code != 202:
                await asyncio.sleep(0.1)
