"""D12: from the event that crosses a rule's threshold to the webhook's arrival, through everything: Kafka, both stages, rules, notifier.

    python -m tests.proof.d12_alert_latency [--full]

One worker with both stages and one notifier, default settings, under load. Every second or so a job of a class of its own is dead, which a
rule tells at once. Measured on one clock, from just before the event is sent. The floor is the 2 s that events may be out of order.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
import uuid

from aiokafka import AIOKafkaProducer

from tests.proof import live_latency
from tests.proof.command import Figures, Servers, main
from tests.proof.endpoints import Endpoint
from tests.proof.installation import Fleet, Installation
from tests.proof.job_events import job_event, value_of
from tests.servers import create_topics

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
P50_S, P99_S = 4.0, 8.0
SHORT_P99_S = 60.0  # on a loaded machine only that it arrives
RULES = 'rules: [{name: Dead, kind: threshold, metric: dead, window: 1m, op: gte, value: 1, match: {job_class: "Planted*"}, severity: critical}]'


def run(full: bool, servers: Servers) -> Figures:
    """5 000 events/s and 60 alerts (JOBTIDE_TEST_RATE for another rate), or 300 events/s and 8."""
    usual = live_latency.PER_SECOND
    try:
        return asyncio.run(_run(int(os.environ.pop("JOBTIDE_TEST_RATE", "5000")) if full else 300, 60 if full else 8, full, servers))
    finally:
        live_latency.PER_SECOND = usual


async def _run(rate: int, plants: int, full: bool, servers: Servers) -> Figures:
    installation = Installation(servers.broker, servers.redis_url, f"la{uuid.uuid4().hex[:6]}.", servers.directory)
    await create_topics(installation.broker, installation.prefix)
    traffic, live_latency.PER_SECOND = live_latency.Traffic(), rate
    async with Endpoint(SECRET) as hook:
        rules, receivers = (servers.directory / f"{installation.prefix}{name}.yaml" for name in ("rules", "receivers"))
        rules.write_text(RULES)
        receivers.write_text(f'receivers: [{{name: hook, kind: webhook, url: "{hook.url}", secrets: ["{SECRET}"]}}]')
        async with Fleet(installation) as fleet:
            fleet.add("worker", JOBTIDE_RULES=str(rules))
            fleet.add("notifier", ("-m", "jobtide.cli", "notifier"), JOBTIDE_RECEIVERS=str(receivers), JOBTIDE_WEBHOOK_ALLOW="127.0.0.0/8")
            producer = AIOKafkaProducer(bootstrap_servers=servers.broker, acks="all", enable_idempotence=True, linger_ms=5)
            await producer.start()
            try:
                await _until_first(producer, installation.events, hook)
                load = asyncio.create_task(live_latency_run(traffic, producer, installation.events, plants * 1.1 + 5))
                await asyncio.sleep(5)
                sent = {}
                for number in range(plants):
                    sent[f"Planted{number}"] = time.monotonic()
                    await _plant(producer, installation.events, f"Planted{number}")
                    await asyncio.sleep(1.1)
                events = await load
                until = time.monotonic() + 60
                while not sent.keys() <= _arrivals(hook).keys() and time.monotonic() < until:
                    await asyncio.sleep(0.2)
            finally:
                await producer.stop()
    arrived = _arrivals(hook)
    delays = sorted(arrived[name] - sent_s for name, sent_s in sent.items() if name in arrived)
    missed = [name for name in sent if name not in arrived]
    p50, p99 = (delays[max(0, -(-q * len(delays) // 100) - 1)] if delays else 1e9 for q in (50, 99))
    in_time = p50 < P50_S and p99 < P99_S if full else p99 < SHORT_P99_S
    return {
        "events/s": rate, "events": events, "alerts": len(delays), "missed": missed, "p50 s": round(p50, 2), "p99 s": round(p99, 2),
        "bad signatures": hook.bad_signatures, "passed": in_time and not missed and not hook.bad_signatures,
    }  # fmt: skip


async def live_latency_run(traffic: live_latency.Traffic, producer: AIOKafkaProducer, topic: str, seconds: float) -> int:
    """The load of live_latency, into this installation's topic."""

    class Prefixed:
        async def send(self, _: str, value: bytes, **more: object) -> object:
            return await producer.send(topic, value, **more)

        def __getattr__(self, name: str) -> object:
            return getattr(producer, name)

    return await traffic.run(Prefixed(), seconds)  # type: ignore[arg-type]


async def _plant(producer: AIOKafkaProducer, topic: str, name: str) -> None:
    """A job that starts, fails and is dead, now."""
    now_us = time.time_ns() // 1000
    facts = [job_event(kind, now_us, job_id=f"{name}-{now_us}", queue=name.lower(), job_class=name) for kind in ("started", "failed", "dead")]
    lane = live_latency.crc32(facts[0]["partitionkey"].encode()) % 64
    await producer.send_and_wait(topic, value_of(*facts), partition=lane % live_latency.PARTITIONS)


async def _until_first(producer: AIOKafkaProducer, topic: str, hook: Endpoint) -> None:
    """Everything is up when an alert comes through."""
    until, number = time.monotonic() + 120, 0
    while not hook.seen:
        if time.monotonic() > until:
            raise TimeoutError("no alert came through")
        await _plant(producer, topic, f"PlantedFirst{number}")
        number += 1
        await asyncio.sleep(2)


def _arrivals(hook: Endpoint) -> dict[str, float]:
    found: dict[str, float] = {}
    for seen in hook.seen:
        for each in json.loads(seen.body)["data"]["alerts"]:
            if each["state"] == "firing":
                found.setdefault(each["labels"]["job_class"], seen.at_s)
    return found


if __name__ == "__main__":
    main("D12: alert latency", run)
