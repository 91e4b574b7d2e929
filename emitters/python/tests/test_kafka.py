"""The Kafka transports against a real broker: the same suite for both clients."""

import time
from collections.abc import Iterator

import jobtide_emitter
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from jobtide_emitter import Emitter
from jobtide_emitter.packs import BATCH, MAX_PACK_BYTES, SINGLE
from kafka_reader import messages
from test_flusher import enqueue, until


@pytest.fixture(params=["confluent", "aiokafka"])
def to_kafka(request: pytest.FixtureRequest, kafka_broker: str, topic: str) -> Iterator[Emitter]:
    yield jobtide_emitter.configure(broker=kafka_broker, topic=topic, client=request.param, linger_ms=20, request_timeout_ms=5000)


def test_every_event_lies_on_the_partition_of_its_lane(to_kafka: Emitter, kafka_broker: str, topic: str) -> None:
    to_kafka.worker("cron", "w", ["q"], 1, lambda: [])
    enqueue(to_kafka, 2000)
    to_kafka.close(10_000)
    found = messages(kafka_broker, topic)
    events = [event for message in found for event in message.events]
    for message in found:
        assert {event["lane"] % 8 for event in message.events} == {message.partition}
        assert message.bytes <= MAX_PACK_BYTES
        assert message.headers["content-type"] == (SINGLE if len(message.events) == 1 else BATCH)
        assert abs(int(message.headers["sent_at"]) / 1000 - time.time()) < 120
    assert len({event["subject"] for event in events if event["type"] == "job.enqueued.v1"}) == 2000
    assert len(found) < len(events) / 5
    numbers: dict[int, list[int]] = {}
    for event in events:
        numbers.setdefault(event["lane"], []).append(event["seq"])
    assert all(seqs == list(range(len(seqs))) for seqs in numbers.values())


def test_a_topic_that_is_not_there_is_waited_for(kafka_broker: str, topic: str) -> None:
    name = f"{topic}.later"
    emitter = jobtide_emitter.configure(broker=kafka_broker, topic=name, linger_ms=0)
    enqueue(emitter, 3)
    until(lambda: emitter._flusher.down)
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    admin.create_topics([NewTopic(name, 8, 1)])[name].result(30)
    until(lambda: emitter.flush(1000), 30)
    assert sum(len(message.events) for message in messages(kafka_broker, name)) == 3
    admin.delete_topics([name])[name].result(30)


def test_partitions_that_do_not_divide_64_are_refused(kafka_broker: str, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    name = f"{topic}.six"
    admin = AdminClient({"bootstrap.servers": kafka_broker})
    admin.create_topics([NewTopic(name, 6, 1)])[name].result(30)
    emitter = jobtide_emitter.configure(broker=kafka_broker, topic=name, linger_ms=0)
    enqueue(emitter, 1)
    until(lambda: "6 partitions" in caplog.text, 30)
    assert not emitter.flush(200)
    admin.delete_topics([name])[name].result(30)


@pytest.mark.parametrize("client", ["confluent", "aiokafka"])
def test_no_broker_is_an_outage_with_bounded_waits(client: str, no_errors: None) -> None:
    emitter = jobtide_emitter.configure(broker="127.0.0.1:9", topic="t", client=client, linger_ms=0, request_timeout_ms=500)
    enqueue(emitter, 10)
    until(lambda: emitter._flusher.down, 20)
    began = time.monotonic()
    assert not emitter.flush(5000)
    assert time.monotonic() - began < 1
    emitter.close(500)
    assert time.monotonic() - began < 5
    assert emitter.ring.dropped == 0
