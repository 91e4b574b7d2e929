"""Rules about how good the numbers are, through everything: events in Kafka, both stages, transitions in job.alerts."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from jobtide.streams.agents.kafka import new_reader
from jobtide.streams.agents.ruling import STATUS_KEY
from jobtide.streams.alerts.transitions import Transition, decode
from jobtide.streams.events import time_text
from jobtide.streams.folds.sequences import MAX_HOLES
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERTS

from tests.proof.command import Servers
from tests.proof.installation import Fleet, Installation
from tests.proof.job_events import SECOND, job_event, lane_of, value_of
from tests.servers import create_topics

PARTITIONS = 2
DEADLINE_S = 120
RULES = """
rules:
  - {name: Skewed, kind: worker, metric: clock_skew, value: 30s}
  - {name: Gone, kind: emitter, metric: silent, value: 4s}
  - {name: Incomplete, kind: emitter, metric: completeness, op: lt, value: 0.9, min_samples: 100}
  - {name: Stale, kind: pipeline, value: 90s}
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_wrong_clocks_lost_events_gone_emitters_and_a_late_pipeline_are_told(proof_servers: Servers) -> None:
    prefix = f"tr{uuid.uuid4().hex[:6]}."
    installation = Installation(proof_servers.broker, proof_servers.redis_url, prefix, proof_servers.directory, PARTITIONS, 6_000)
    await create_topics(installation.broker, installation.prefix, PARTITIONS)
    rules = proof_servers.directory / "rules.yaml"
    rules.write_text(RULES)
    settings = Settings(broker=installation.broker, topic_prefix=installation.prefix, partitions=PARTITIONS)
    async with Fleet(installation) as fleet:
        fleet.add("worker", JOBTIDE_RULES=str(rules))
        await _send(installation)
        found = await _until(settings, {"Skewed", "Gone", "Incomplete", "Stale"})
    fired = {each.rule: each for each in found if each.state == "firing"}
    assert fired["Skewed"].labels["worker_id"] == "w-wrong" and 299 <= (fired["Skewed"].value or 0) / SECOND <= 300 + DEADLINE_S
    assert fired["Gone"].labels == {"tenant": "acme", "system": "celery", "source": "/tests"}
    assert fired["Incomplete"].labels == {"tenant": "acme", "system": "celery"} and 0.5 < (fired["Incomplete"].value or 0) < 0.9
    assert fired["Stale"].labels == {"pipeline": "stream"} and (fired["Stale"].value or 0) > 90 * SECOND


async def _send(installation: Installation) -> None:
    """Every second number of a lane, more than holes are kept for; a heartbeat of a clock five minutes behind; on the other partition only
    what happened ten minutes ago: until that one is known to be silent, everything is ten minutes behind."""
    producer = AIOKafkaProducer(bootstrap_servers=installation.broker, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        now_us, count = time.time_ns() // 1000, MAX_HOLES + 400
        events = [job_event("heartbeat", now_us + n, job_id="j", numbered=("epoch-0001", 2 * n)) for n in range(count)]
        lane = lane_of("acme/celery/j")
        for first in range(0, count, 200):
            await producer.send_and_wait(installation.events, value_of(*events[first : first + 200]), partition=lane % PARTITIONS)
        other = next(f"k{n}" for n in range(99) if lane_of(f"acme/celery/k{n}") % 2 != lane % 2)
        late = job_event("started", now_us - 600 * SECOND, job_id=other)
        await producer.send_and_wait(installation.events, value_of(late), partition=(lane + 1) % PARTITIONS)
        beat = {
            **job_event("started", now_us - 300 * SECOND), "type": "worker.heartbeat.v1", "subject": "w-wrong",
            "partitionkey": "acme/celery/w/w-wrong",
            "data": {"tenant": "acme", "system": "celery", "worker_id": "w-wrong", "running": [], "complete": True},
        }  # fmt: skip
        assert beat["time"] == time_text(now_us - 300 * SECOND)
        await producer.send_and_wait(installation.events, value_of(beat), partition=lane % PARTITIONS)
    finally:
        await producer.stop()


async def _until(settings: Settings, rules: set[str]) -> list[Transition]:
    reader, found = new_reader(settings), list[Transition]()
    await reader.start()
    try:
        tps = [TopicPartition(settings.topic(ALERTS), p) for p in range(PARTITIONS)]
        reader.assign(tps)
        await reader.seek_to_beginning(*tps)
        until = asyncio.get_running_loop().time() + DEADLINE_S
        while not rules <= {each.rule for each in found if each.state == "firing"}:
            assert asyncio.get_running_loop().time() < until, f"only {[(each.rule, each.state, each.value) for each in found]}"
            for records in (await reader.getmany(timeout_ms=300)).values():
                found += [decode(r.value) for r in records if not (r.key or b"").startswith(STATUS_KEY)]
    finally:
        await reader.stop()
    return found
