"""Real Ruby workers through a real gateway into real Kafka: what the emitter told is what the jobs wrote down themselves.

Sidekiq 6.4 on Valkey and DelayedJob on SQLite, as Debian 12 packages them. The oracle is the log of the example's jobs.
"""

import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from jobtide.cli.embedded import ports
from jobtide.streams.events import decode

from tests import servers

RUBY = Path(__file__).parents[2] / "emitters" / "ruby"
SHOP = RUBY / "examples" / "shop"
PARTITIONS = 8
DEADLINE_S = 60
# Sidekiq adds up to ten seconds to each retry and looks for them every ten: too long for a test.
HASTY = f"""
require "{SHOP}/sidekiq_app.rb"
require "sidekiq/job_retry"
Sidekiq.options[:poll_interval_average] = 0.3
class Sidekiq::JobRetry; def rand(*) = 0; end
"""


def has_gem(name: str) -> bool:
    return shutil.which("ruby") is not None and subprocess.run(["ruby", "-e", f"gem {name!r}"], capture_output=True, check=False).returncode == 0


needs_sidekiq = pytest.mark.skipif(not has_gem("sidekiq"), reason="ruby-sidekiq is not installed")
needs_ffi = pytest.mark.skipif(not has_gem("ffi"), reason="ruby-ffi is not installed")
needs_delayed_job = pytest.mark.skipif(not has_gem("delayed_job_active_record"), reason="ruby-delayed-job-active-record is not installed")


class Place:
    """One test's servers and files, and how to run Ruby there."""

    def __init__(self, broker: str, prefix: str, directory: Path) -> None:
        self.broker, self.prefix, self.directory = broker, prefix, directory
        self.port = ports.free_block(1)
        self.oracle_path = directory / "oracle.jsonl"
        rest = {name: value for name, value in os.environ.items() if not name.startswith("JOBTIDE_")}
        self.gateway_env = rest | {
            "JOBTIDE_BROKER": broker, "JOBTIDE_TOPIC_PREFIX": prefix, "JOBTIDE_HTTP_PORT": str(self.port),
            "JOBTIDE_LOG_LEVEL": "warning",
        }  # fmt: skip
        self.ruby_env = rest | {
            "RUBYLIB": str(RUBY / "lib"), "JOBTIDE_ORACLE": str(self.oracle_path), "JOBTIDE_EMITTER_TENANT": "acme",
            "JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{self.port}/v1/events",
            "JOBTIDE_EMITTER_HEARTBEAT_MS": "1000", "JOBTIDE_EMITTER_SNAPSHOT_MS": "1000",
        }  # fmt: skip

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
        with self._process(list(argv), self.ruby_env | env, "worker") as process:
            yield process

    def ruby(self, *argv: str, **env: str) -> None:
        with (self.directory / "drive.log").open("wb") as log:
            subprocess.run(["ruby", *argv], env=self.ruby_env | env, stdout=log, stderr=log, check=True, timeout=DEADLINE_S)

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


@pytest.fixture
def place(kafka_broker: str, prefix: str, tmp_path: Path) -> Place:
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    return Place(kafka_broker, prefix, tmp_path)


@pytest.fixture
def redis_of_its_own(tmp_path: Path) -> Iterator[str]:
    """Sidekiq's keys have no prefix."""
    with servers.valkey(tmp_path / "valkey") as server:
        yield server.address


def told(events: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """(job class, what) -> how often, by the contract's rule: an attempt's transition counts once."""
    once = {
        (event["data"]["job_class"], event["type"].split(".")[1], event["data"]["job_id"], event["data"]["attempt"])
        for event in events
        if event["type"].startswith("job.")
    }
    return Counter((job_class, what) for job_class, what, _, _ in once)


def expected(oracle: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((line["class"], line["what"]) for line in oracle if line["what"] != "enqueued")


def dead_of(oracle: list[dict[str, Any]], tries: dict[str, int]) -> Counter[str]:
    return Counter(line["class"] for line in oracle if line["what"] == "failed" and line["attempt"] == tries[line["class"]])


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def settled(place: Place, jobs: int, tries: dict[str, int]) -> bool:
    """Whether each job has come to its end, by the oracle."""
    oracle = place.oracle()
    ended = sum(line["what"] == "finished" or (line["what"] == "failed" and line["attempt"] == tries[line["class"]]) for line in oracle)
    return bool(ended == jobs)


def check_counts(place: Place, tries: dict[str, int]) -> list[dict[str, Any]]:
    """Everything that can be counted equals the oracle, per class; returns the events."""
    oracle, events = place.oracle(), place.events()
    counts = told(events)
    for (job_class, what), number in expected(oracle).items():
        assert counts[job_class, what] == number, (job_class, what, counts)
    dead = dead_of(oracle, tries)
    for job_class in tries:
        failed, enqueued = counts[job_class, "failed"], [line for line in oracle if line["what"] == "enqueued" and line["class"] == job_class]
        assert counts[job_class, "dead"] == dead[job_class]
        assert counts[job_class, "retry_scheduled"] == failed - dead[job_class]
        first = {e["subject"] for e in events if e["type"] in ("job.enqueued.v1", "job.scheduled.v1") and e["data"]["job_class"] == job_class}
        assert len(first) == len(enqueued)
    return events


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


SHOP_TRIES = {"Shop::Invoice": 3, "Shop::Mail": 1}


@pytest.mark.slow
@needs_sidekiq
def test_sidekiq_to_the_last_job(place: Place, redis_of_its_own: str) -> None:
    (place.directory / "hasty.rb").write_text(HASTY)
    env = {"JOBTIDE_EXAMPLE_REDIS": redis_of_its_own}
    with place.gateway():
        with place.worker("sidekiq", "-r", str(place.directory / "hasty.rb"), "-c", "5", "-q", "default", "-q", "mail", **env):
            place.ruby(str(SHOP / "sidekiq_drive.rb"), "300", **env)
            until("all jobs end", lambda: settled(place, 310, SHOP_TRIES))
        events = check_counts(place, SHOP_TRIES)
    check_lanes(events, epochs=2)
    workers = Counter(event["type"] for event in events if event["type"].startswith("worker."))
    assert workers["worker.online.v1"] == workers["worker.stopping.v1"] == workers["worker.offline.v1"] == PARTITIONS
    assert workers["worker.heartbeat.v1"] >= PARTITIONS
    assert {event["data"]["queue"] for event in events if event["type"] == "queue.snapshot.v1"} == {"default", "mail"}
    check_times(place, events)
    check_sidekiqs_own_counters(redis_of_its_own, told(events))


def check_times(place: Place, events: list[dict[str, Any]]) -> None:
    """Enqueue times lie within the push itself; starts and put-off times within 50 ms of the oracle, in the median of a busy machine."""
    pushes = sorted((line["before"], line["at"]) for line in place.oracle() if line["what"] == "enqueued" and line["delay_s"] is None)
    stamps = sorted(seconds(e["time"]) for e in events if e["type"] == "job.enqueued.v1" and e["data"]["attempt"] == 1 and "run_at" not in e["data"])
    assert len(stamps) == len(pushes)
    assert all(before - 0.001 <= stamp <= after + 0.001 for stamp, (before, after) in zip(stamps, pushes, strict=True))
    starts = sorted(line["at"] for line in place.oracle() if line["what"] == "started")
    told_starts = sorted(seconds(event["time"]) for event in events if event["type"] == "job.started.v1")
    assert statistics.median(abs(told_at - at) for told_at, at in zip(told_starts, starts, strict=True)) < 0.05
    run_at = sorted(seconds(e["data"]["run_at"]) for e in events if e["type"] == "job.scheduled.v1")
    wanted = sorted(line["before"] + line["delay_s"] for line in place.oracle() if line["what"] == "enqueued" and line["delay_s"])
    assert statistics.median(abs(a - b) for a, b in zip(run_at, wanted, strict=True)) < 0.05


def check_sidekiqs_own_counters(url: str, counts: Counter[tuple[str, str]]) -> None:
    import redis

    with redis.Redis.from_url(url) as client:
        processed, failed = (int(str(client.get(f"stat:{name}").decode())) for name in ("processed", "failed"))
    assert failed == sum(number for (_, what), number in counts.items() if what == "failed")
    assert processed == failed + sum(number for (_, what), number in counts.items() if what == "finished")


@pytest.mark.slow
@needs_sidekiq
def test_an_outage_costs_no_job_and_no_event(place: Place, redis_of_its_own: str) -> None:
    """Nobody listens while all jobs run, and the buffer holds a tenth of what they say: the rest waits on disk."""
    (place.directory / "hasty.rb").write_text(HASTY)
    spool = place.directory / "spool"
    env = {"JOBTIDE_EXAMPLE_REDIS": redis_of_its_own, "JOBTIDE_EMITTER_QUEUE_EVENTS": "100", "JOBTIDE_EMITTER_SPOOL_DIR": str(spool)}
    with place.worker("sidekiq", "-r", str(place.directory / "hasty.rb"), "-c", "5", "-q", "default", "-q", "mail", **env):
        place.ruby(str(SHOP / "sidekiq_drive.rb"), "300", **env)
        until("all jobs end", lambda: settled(place, 310, SHOP_TRIES))
        assert sum(path.stat().st_size for path in spool.iterdir()) > 100_000
        with place.gateway():
            until("the spool is empty", lambda: all(path.stat().st_size <= 8 for path in spool.iterdir()))
            until("all is told", lambda: told(place.events())["Shop::Invoice", "finished"] == expected(place.oracle())["Shop::Invoice", "finished"])
            check_counts(place, SHOP_TRIES)


DELAYED_TRIES = {"Shop::Parcel": 3}


@pytest.mark.slow
@needs_delayed_job
def test_delayed_job_to_the_last_job(place: Place) -> None:
    app = [str(SHOP / "delayed_app.rb"), str(place.directory / "shop.sqlite3")]
    with place.gateway():
        place.ruby(*app, "drive", "50")
        with place.worker("ruby", *app, "work"):
            until("all jobs end", lambda: settled(place, 50, DELAYED_TRIES))
        events = check_counts(place, DELAYED_TRIES)
    check_lanes(events, epochs=2)
    assert {event["type"] for event in events} >= {"worker.online.v1", "worker.stopping.v1", "worker.offline.v1"}


STRAIGHT = """
require "jobtide"
emitter = Jobtide.emitter
emitter.worker("cron", "w1", queues: ["q"], concurrency: 1) { [] }
1000.times { |number| emitter.job_enqueued(emitter.job("cron", "q", "C", number.to_s)) }
exit!(1) unless emitter.flush(30_000)
Jobtide.close(10_000)
exit!(Jobtide.errors)
"""


@needs_ffi
def test_straight_into_kafka_without_a_gateway(place: Place) -> None:
    """librdkafka through ffi: every event in the partition of its lane, every number there, a clean end in every partition."""
    place.ruby_env.pop("JOBTIDE_EMITTER_URL")
    place.ruby("-e", STRAIGHT, JOBTIDE_EMITTER_BROKER=place.broker, JOBTIDE_EMITTER_TOPIC=f"{place.prefix}job.events", JOBTIDE_EMITTER_CLIENT="ffi")
    events = place.events()
    assert told(events) == {("C", "enqueued"): 1000}
    check_lanes(events, epochs=1)
    assert sum(event["type"] == "worker.offline.v1" for event in events) == PARTITIONS
