"""D16: a million events put into history three times leave it as it was after the first, on the embedded engine and on a real server.

    python -m tests.proof.d16_history [--full]

First by the writer's own insert path in batches of one size, then twice by a real `jobtide sink` that reads the topic from offset 0 as a
new group, in batches of other sizes (so no insert token is the same). After each pass plain SQL counts events, executions and rollups;
what is right was added up while the events were made.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError as AioKafkaError
from confluent_kafka.admin import AdminClient
from jobtide.cli.embedded.process import Command, Process
from jobtide.sinks.batch import Record
from jobtide.sinks.clickhouse import migrate
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.log_source import GROUP
from jobtide.streams.settings import Settings, load

from tests import clickhouse_server, servers
from tests.fakes.history_log import SteppedWriter
from tests.proof import report
from tests.proof.answers import wait_for
from tests.proof.job_events import MINUTE, START_US, job_event, lane_of, value_of

PARTITIONS, SEED, TOPIC = 8, 16, "job.events"
PASS_S = {False: 120.0, True: 600.0}

# Each gives one row of numbers. FINAL or a merge by hand: what ClickHouse has not merged yet must not count.
QUESTIONS = {
    "events": "SELECT uniqExact(event_id), count() FROM job_events FINAL",
    "executions": "SELECT count(), countIf(outcome = 'finished'), countIf(outcome = 'failed'), countIf(dead), sum(run_us) FROM executions",
    "rollups": "SELECT sum(enqueued), sum(started), sum(finished), sum(failed), sum(dead), sum(run_ok_sum_us) + sum(run_failed_sum_us), "
    "sum(arraySum(mapValues(wait_hist))) FROM rollups",
}


def events(jobs: int, seed: int, sums: Counter[str]) -> Iterator[dict[str, Any]]:
    """Three or four events for each job, spread over two hours; `sums` gets what they count for."""
    dice = random.Random(seed)
    for number in range(jobs):
        at_us, wait_us, run_us = START_US + dice.randrange(120 * MINUTE), dice.randrange(10**6), dice.randrange(1000, 10**8, 1000)
        name: dict[str, Any] = {"job_id": f"job-{number:09d}", "queue": f"q{number % 7}", "job_class": f"C{number % 50}"}
        started, ended = at_us + wait_us, at_us + wait_us + run_us
        outcome = "failed" if dice.random() < 0.2 else "finished"
        yield job_event("enqueued", at_us, **name)
        yield job_event("started", started, enqueued_at=at_us, **name)
        yield job_event(outcome, ended, started_at=started, duration_ms=run_us / 1000, **name)
        sums.update({"jobs": 1, "events": 3, outcome: 1, "run_us": run_us})
        if outcome == "failed":
            yield job_event("dead", ended, **name)
            sums.update({"events": 1, "dead": 1})


def expected(sums: Counter[str]) -> dict[str, tuple[int, ...]]:
    """The right answers to QUESTIONS."""
    jobs, ok, failed, dead, run_us = (sums[name] for name in ("jobs", "finished", "failed", "dead", "run_us"))
    return {
        "events": (sums["events"], sums["events"]),
        "executions": (jobs, ok, failed, dead, run_us),
        "rollups": (jobs, jobs, ok, failed, dead, run_us, jobs),
    }


# -- in processes of their own, because one process at a time owns an embedded engine's directory


def _in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def insert_directly(settings: Settings, jobs: int, batch: int) -> None:
    """The writer's insert path, step by step, on the same events as are in the topic."""
    migrate.prepare(settings)
    offsets, log = Counter[int](), []
    now_us = time.time_ns() // 1000
    for event in events(jobs, SEED, Counter()):
        partition = lane_of(event["partitionkey"]) % PARTITIONS
        log.append(Record(partition, offsets[partition], now_us, value_of(event)))
        offsets[partition] += 1
    writer = SteppedWriter(settings, log, 10_000)
    while not writer.done:
        writer.step(batch)
    while any(owned.dirty.pending() for owned in writer.owned.values()):
        writer.recompute()


def ask(settings: Settings) -> dict[str, tuple[int, ...]]:
    """Today's answers to QUESTIONS."""
    db = ClickHouse(settings)
    try:
        return {name: tuple(int(value or 0) for value in db.rows(sql)[0]) for name, sql in QUESTIONS.items()}
    finally:
        db.close()


# -- the topic


async def fill(broker: str, jobs: int) -> Counter[str]:
    """Append the events, 50 of a partition to a message."""
    sums = Counter[str]()
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks=1, linger_ms=20, max_batch_size=1 << 20)
    await producer.start()
    waiting: dict[int, list[dict[str, Any]]] = {p: [] for p in range(PARTITIONS)}
    for event in events(jobs, SEED, sums):
        partition = lane_of(event["partitionkey"]) % PARTITIONS
        waiting[partition].append(event)
        if len(waiting[partition]) == 50:
            await producer.send(TOPIC, value_of(*waiting[partition]), partition=partition)
            waiting[partition].clear()
    for partition, left in waiting.items():
        if left:
            await producer.send(TOPIC, value_of(*left), partition=partition)
    await producer.stop()
    return sums


async def behind(broker: str) -> int:
    """How many messages the writer's group has not committed; all of them if there is no such group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, group_id=None)
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await consumer.start()
    await admin.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(TOPIC, p) for p in range(PARTITIONS)])
        try:
            committed = await admin.list_consumer_group_offsets(GROUP)
        except AioKafkaError:  # no group has ever been: the coordinator is still being made
            committed = {}
        return sum(end - max(0, committed[tp].offset if tp in committed else 0) for tp, end in ends.items())
    finally:
        await admin.close()
        await consumer.stop()


def forget(broker: str) -> None:
    """The group is no more: the next one of this name is new and begins at offset 0."""
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    for future in admin.delete_consumer_groups([GROUP]).values():
        future.result(30)


def _sink(settings: Settings, folder: Path, batch: int, deadline_s: float) -> float:
    """A `jobtide sink` from offset 0 to the end of the topic; the seconds it took."""
    environment = {
        "JOBTIDE_BROKER": settings.broker, "JOBTIDE_CLICKHOUSE_URL": settings.clickhouse_url, "JOBTIDE_HISTORY_BATCH_EVENTS": str(batch),
        "JOBTIDE_LOG_LEVEL": "warning",
    }  # fmt: skip
    process = Process(Command("sink", [sys.executable, "-m", "jobtide.cli", "sink"], environment, grace_s=60), folder, folder)
    begun = time.monotonic()
    process.start()
    try:
        done = wait_for(lambda: process.ended() is not None or asyncio.run(behind(settings.broker)) == 0, deadline_s)
        assert done and process.ended() is None, process.last_lines(20)
        return time.monotonic() - begun
    finally:
        process.stop()


# -- the proof


def run(full: bool) -> report.Result:
    """See the module."""
    jobs = 320_000 if full else 15_000
    with tempfile.TemporaryDirectory() as root, servers.kafka(Path(root, "kafka")) as kafka:
        asyncio.run(servers.create_topics(kafka.address, partitions=PARTITIONS))
        sums = asyncio.run(fill(kafka.address, jobs))
        rows = [_engine("chDB", f"chdb://{root}/history", kafka.address, Path(root), jobs, sums, PASS_S[full])]
        if clickhouse_server.why_not() is None:
            Path(root, "server").mkdir()
            with clickhouse_server.clickhouse(Path(root, "server")) as server:
                rows.append(_engine("ClickHouse", server.address, kafka.address, Path(root), jobs, sums, PASS_S[full]))
    wrong = [line for row in rows for line in row["wrong"]]
    return report.result("D16 history", rows, wrong=wrong, events=sums["events"], seed=SEED)


def _engine(name: str, url: str, broker: str, folder: Path, jobs: int, sums: Counter[str], deadline_s: float) -> report.Result:
    settings = load({}, broker=broker, clickhouse_url=url, partitions=PARTITIONS)
    right, wrong, took = expected(sums), [], []
    for number in (1, 2, 3):
        begun = time.monotonic()
        if number == 1:
            _in_process(insert_directly, settings, jobs, 20_000)
        else:
            assert asyncio.run(behind(broker)) > 0, "the group has read something before"
            _sink(settings, folder, 50_000 if number == 2 else 33_000, deadline_s)
            forget(broker)
        took.append(f"{time.monotonic() - begun:.0f}")
        found = _in_process(ask, settings)
        wrong += [f"{name}, pass {number}: {what}: expected {right[what]}, found {found[what]}" for what in right if right[what] != found[what]]
    measured = f"{sums['events']} events: {len(wrong)} of {3 * len(right)} answers differ; passes took {'/'.join(took)} s"
    return report.row(f"D16 on {name}", "same batch 3×: counts unchanged", measured, not wrong, wrong=wrong)


if __name__ == "__main__":
    report.main(run)
