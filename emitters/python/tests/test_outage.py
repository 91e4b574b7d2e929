"""Kafka goes away and comes back, for real: nothing is lost that fits the buffer, what does not fit is a hole, and the
code that emits notices nothing."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import jobtide_emitter
import pytest
from conftest import REPOSITORY
from kafka_reader import events
from test_flusher import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture
def own_kafka(tmp_path: Path) -> Any:
    """A Kafka that the test may stop and start."""
    if not (REPOSITORY / "tests" / "servers.py").exists():
        pytest.skip("needs the repository's tests/servers.py to start and stop a Kafka")
    sys.path.insert(0, str(REPOSITORY))
    servers = importlib.import_module("tests.servers")
    with servers.kafka(tmp_path / "kafka") as server:
        yield server


def make_topic(broker: str) -> str:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic("outage", 8, 1)])["outage"].result(60)
    return "outage"


@pytest.mark.parametrize("client", ["confluent", "aiokafka"])
def test_a_restart_of_kafka_loses_nothing_and_reports_what_did_not_fit(own_kafka: Any, client: str) -> None:
    topic = make_topic(own_kafka.address)
    emitter = jobtide_emitter.configure(broker=own_kafka.address, topic=topic, client=client, linger_ms=5, queue_events=2000, request_timeout_ms=2000)
    slowest_s = 0.0
    number = 0

    def emit(count: int) -> None:
        nonlocal number, slowest_s
        for _ in range(count):
            number += 1
            began = time.perf_counter()
            emitter.job_enqueued(emitter.job("cron", "q", "c", str(number)))
            slowest_s = max(slowest_s, time.perf_counter() - began)
            time.sleep(0.0005)

    emit(500)
    assert emitter.flush(20_000)
    own_kafka.process.stop()
    emit(1000)
    until(lambda: emitter._flusher.down, 30)
    assert emitter.ring.dropped == 0
    own_kafka.start()
    until(lambda: emitter.flush(1000), 60)
    told = {event["subject"] for event in events(own_kafka.address, topic) if event["type"] == "job.enqueued.v1"}
    assert told == {str(n) for n in range(1, 1501)}

    own_kafka.process.stop()
    emit(3500)  # more than the buffer holds
    own_kafka.start()
    until(lambda: emitter.flush(1000), 60)
    emitter.close(10_000)
    assert_holes_are_the_drops(events(own_kafka.address, topic), emitter)
    assert slowest_s < 0.2


def test_with_a_spool_an_outage_longer_than_the_buffer_loses_nothing(own_kafka: Any, tmp_path: Path) -> None:
    topic = make_topic(own_kafka.address)
    spool = tmp_path / "spool"
    emitter = jobtide_emitter.configure(
        broker=own_kafka.address, topic=topic, linger_ms=5, queue_events=500, request_timeout_ms=2000, spool_dir=str(spool)
    )  # fmt: skip
    slowest_s = 0.0
    for number in range(6000):
        if number == 500:
            assert emitter.flush(20_000)
            own_kafka.process.stop()
        began = time.perf_counter()
        emitter.job_enqueued(emitter.job("cron", "q", "c", str(number)))
        slowest_s = max(slowest_s, time.perf_counter() - began)
        time.sleep(0.0005)
    assert emitter.spooled > 4000
    assert emitter.ring.dropped == 0
    own_kafka.start()
    until(lambda: emitter.flush(1000) and not list(spool.glob("*.spool")), 60)
    emitter.close(10_000)
    found = events(own_kafka.address, topic)
    assert {event["subject"] for event in found if event["type"] == "job.enqueued.v1"} == {str(n) for n in range(6000)}
    said = {int(lane): n for e in found if e["type"] == "emitter.stats.v1" for lane, n in e["data"]["next"].items()}
    assert {(e["lane"], e["seq"]) for e in found} == {(lane, seq) for lane, following in said.items() for seq in range(following)}
    assert slowest_s < 0.2


def assert_holes_are_the_drops(found: list[dict[str, Any]], emitter: Any) -> None:
    numbers = {(event["lane"], event["seq"]) for event in found if event["epoch"] == emitter.ring.epoch}
    said = {int(lane): n for e in found if e["type"] == "emitter.stats.v1" for lane, n in e["data"]["next"].items()}
    holes = sum(said.values()) - len(numbers)
    assert holes == emitter.ring.dropped > 0
    assert {event["data"]["dropped"] for event in found if event["data"].get("clean")} == {holes}
