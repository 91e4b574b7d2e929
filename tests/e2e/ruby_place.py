"""Where Ruby workers run in tests: a gateway, Ruby processes here or in another system, the oracle they write, the topic they fill."""

import asyncio
import json
import os
import shutil
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

RUBY = Path(__file__).parents[2] / "emitters" / "ruby"
PARTITIONS = 8
DEADLINE_S = 60
# Sidekiq adds up to ten seconds to each retry and looks for them every ten: too long for a test.
HASTY = """
require "SHOP/sidekiq_app.rb"
require "sidekiq/job_retry"
Sidekiq.configure_server { |config| (config.respond_to?(:capsules) ? config : Sidekiq.options)[:poll_interval_average] = 0.3 }
class Sidekiq::JobRetry; def rand(*) = 0; end
"""


class Place:
    """One test's servers and files, and how to run Ruby there."""

    def __init__(self, broker: str, prefix: str, directory: Path, root: Path | None = None) -> None:
        self.broker, self.prefix, self.directory, self._root = broker, prefix, directory, root
        self.ruby_code = shutil.copytree(RUBY, directory / "ruby") if root else RUBY
        self.shop = self.inside(self.ruby_code / "examples" / "shop")
        self.port = ports.free_block(1)
        self.oracle_path = directory / "oracle.jsonl"
        rest = {name: value for name, value in os.environ.items() if not name.startswith("JOBTIDE_")}
        self.gateway_env = rest | {
            "JOBTIDE_BROKER": broker, "JOBTIDE_TOPIC_PREFIX": prefix, "JOBTIDE_HTTP_PORT": str(self.port),
            "JOBTIDE_LOG_LEVEL": "warning",
        }  # fmt: skip
        self.ruby_env = rest | {
            "RUBYLIB": self.inside(self.ruby_code / "lib"), "JOBTIDE_ORACLE": self.inside(self.oracle_path), "JOBTIDE_EMITTER_TENANT": "acme",
            "JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{self.port}/v1/events",
            "JOBTIDE_EMITTER_HEARTBEAT_MS": "1000", "JOBTIDE_EMITTER_SNAPSHOT_MS": "1000",
        }  # fmt: skip

    def inside(self, path: Path) -> str:
        """The path as Ruby sees it."""
        return f"/{path.relative_to(self._root)}" if self._root else str(path)

    def _there(self, argv: list[str]) -> list[str]:
        return ["chroot", str(self._root), *argv] if self._root else argv

    def hasty(self) -> str:
        """The shop's file for a worker that does not wait long."""
        (self.directory / "hasty.rb").write_text(HASTY.replace("SHOP", self.shop))
        return self.inside(self.directory / "hasty.rb")

    @contextmanager
    def gateway(self) -> Iterator[None]:
        """`jobtide gateway`, ready."""
        with self._process([sys.executable, "-m", "jobtide.cli", "gateway"], self.gateway_env, "gateway"):
            until("the gateway answers", self._answers)
            yield

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    @contextmanager
    def worker(self, *argv: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Ruby worker, asked to end at the end, and ending in order."""
        with self._process(self._there(list(argv)), self.ruby_env | env, "worker") as process:
            yield process

    def ruby(self, *argv: str, **env: str) -> None:
        with (self.directory / "drive.log").open("wb") as log:
            subprocess.run(self._there(["ruby", *argv]), env=self.ruby_env | env, stdout=log, stderr=log, check=True, timeout=DEADLINE_S)

    @contextmanager
    def _process(self, argv: list[str], env: dict[str, str], name: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(30) in (0, -signal.SIGTERM), (self.directory / f"{name}.log").read_text()[-2000:]
            finally:
                process.kill()

    def oracle(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.oracle_path.read_text().splitlines()] if self.oracle_path.exists() else []

    def events(self) -> list[dict[str, Any]]:
        """Everything in the topic, each event once, each judged by the reader that stage 1 uses. Broadcasts have a copy in every partition."""
        return list({(partition, event["id"]): event for partition, event in asyncio.run(_read(self.broker, f"{self.prefix}job.events"))}.values())


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


def until(what: str, done: Callable[[], Any], deadline_s: float = DEADLINE_S) -> None:
    limit = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < limit, f"{what}: not within {deadline_s} s"
        time.sleep(0.1)
