"""Where real workers of another language run in tests: a gateway, processes with their logs, the topic they fill, its checks.

Not the workers themselves: `ruby_place` and `test_node_workers` say how theirs are started.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from jobtide.cli.embedded import ports
from jobtide.streams.events import decode

PARTITIONS = 8


class WorkerPlace:
    """One test's directory, gateway and topic. `rest` is this process's environment without jobtide's settings."""

    def __init__(self, broker: str, prefix: str, directory: Path) -> None:
        self.broker, self.prefix, self.directory = broker, prefix, directory
        self.topic = f"{prefix}job.events"
        self.port = ports.free_block(1)
        self.gateway_url = f"http://127.0.0.1:{self.port}/v1/events"
        self.oracle_path = directory / "oracle.jsonl"
        self.rest = {name: value for name, value in os.environ.items() if not name.startswith("JOBTIDE_")}
        self.gateway_env = self.rest | {
            "JOBTIDE_BROKER": broker, "JOBTIDE_TOPIC_PREFIX": prefix, "JOBTIDE_HTTP_PORT": str(self.port), "JOBTIDE_LOG_LEVEL": "warning",
        }  # fmt: skip

    @contextmanager
    def gateway(self) -> Iterator[None]:
        """`jobtide gateway`, ready."""
        with self.process([sys.executable, "-m", "jobtide.cli", "gateway"], self.gateway_env, "gateway"):
            until("the gateway answers", self._answers)
            yield

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status_code == 200
        return False

    @contextmanager
    def process(
        self, argv: list[str], env: dict[str, str], name: str, ends: tuple[int, ...] = (0, -signal.SIGTERM)
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Runs with its output in `name`.log, is asked to end at the end, and must end in order, or as `ends` says."""
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(30) in ends, (self.directory / f"{name}.log").read_text()[-2000:]
            finally:
                process.kill()

    def events(self) -> list[dict[str, Any]]:
        """Everything in the topic, each event once, each judged by the reader that stage 1 uses. Broadcasts have a copy in every partition."""
        return list({(partition, event["id"]): event for partition, event in asyncio.run(_read(self.broker, self.topic))}.values())


async def _read(broker: str, topic: str) -> list[tuple[int, dict[str, Any]]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, isolation_level="read_committed")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[tuple[int, dict[str, Any]]] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    assert all(event.lane is None or event.lane % PARTITIONS == partition.partition for event in decode(record.value or b""))
                    value = orjson.loads(record.value or b"")
                    found += [(partition.partition, event) for event in (value if isinstance(value, list) else [value])]
        return found
    finally:
        await consumer.stop()


def until(what: str, done: Callable[[], Any], deadline_s: float = 60) -> None:
    limit = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < limit, f"{what}: not within {deadline_s} s"
        time.sleep(0.1)


def check_lanes(events: list[dict[str, Any]], epochs: int) -> None:
    """No number is missing in any lane of any epoch, and each epoch ended clean with the numbers it says."""
    seen: dict[tuple[str, int], set[int]] = {}
    following: dict[tuple[str, int], int] = {}
    for event in events:
        if event.get("epoch") is not None:
            seen.setdefault((event["epoch"], event["lane"]), set()).add(event["seq"])
        if event["type"] == "emitter.stats.v1" and event["data"]["clean"]:
            for lane, number in event["data"]["next"].items():
                following[event["data"].get("epoch") or event["epoch"], int(lane)] = number
    assert {key: len(numbers) for key, numbers in seen.items()} == following
    assert all(numbers == set(range(len(numbers))) for numbers in seen.values())
    assert len({epoch for epoch, _ in seen}) == epochs
