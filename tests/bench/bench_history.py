"""How many events a second the history writer puts into the embedded engine, minute rollups included, through a real Kafka.

    python -m tests.bench.bench_history [--short]

Makes its own input: 800-byte events, unpacked, three for each attempt, 2 000 series. All of it is in Kafka before the writer starts; long
form 1.2 million events. Timed is everything from the assignment of the partitions (the first fetch comes after it) until the last event is
committed and the last dirty minute recomputed; the start of the processes and the join of the group are not. The same clock stops once more
at the last commit. Minutes are recomputed at most every 2 s instead of 10: more work, but the end is no wait for a timer. Then the counts
in the rollups must be those that were made.
"""

from __future__ import annotations

import asyncio
import heapq
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Producer
from jobtide.sinks import history
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.history_metrics import HistoryMetrics
from jobtide.streams.events import time_text
from jobtide.streams.settings import Settings

from tests import servers
from tests.proof.job_events import lane_of

PARTITIONS = 8
EVENT_BYTES = 800
PER_SECOND = 2_000  # of event time: how much of it the input covers
DEADLINE_S = 600.0
ROLLUP_EVERY_MS = 2_000
SECOND = 1_000_000


def attempts(count: int, start_us: int) -> Iterator[tuple[int, int, bytes]]:
    """(time, partition, value) of three events for each attempt, in order of time."""
    step_us = 3 * SECOND // PER_SECOND
    waiting: list[tuple[int, int, int, bytes]] = []
    for number in range(count):
        at_us = start_us + number * step_us
        while waiting and waiting[0][0] <= at_us:
            due_us, _, partition, value = heapq.heappop(waiting)
            yield due_us, partition, value
        for index, (kind, delay_us) in enumerate((("enqueued", 0), ("started", SECOND), ("finished", 4 * SECOND))):
            partition, value = _event(kind, number, at_us, delay_us, start_us)
            heapq.heappush(waiting, (at_us + delay_us, 3 * number + index, partition, value))
    while waiting:
        due_us, _, partition, value = heapq.heappop(waiting)
        yield due_us, partition, value


def _event(kind: str, number: int, at_us: int, delay_us: int, salt: int) -> tuple[int, bytes]:
    job_id = f"{salt:x}-{number:x}".rjust(36, "0")
    lane = lane_of(f"acme/celery/{job_id}")
    data: dict[str, Any] = {
        "tenant": "acme", "environment": "production", "system": "celery", "queue": f"queue-{number % 20}",
        "job_class": f"app.tasks.Class{number % 2000}", "job_id": job_id, "attempt": 1, "enqueued_at": time_text(at_us),
    }  # fmt: skip
    if kind != "enqueued":
        data["worker_id"] = f"host-{number % 50}:4711:1"
    if kind == "finished":
        data |= {"started_at": time_text(at_us + SECOND), "duration_ms": 3000.0}
    event = {
        "specversion": "1.0", "id": f"{kind[0]}{job_id}", "source": "/bench/history", "type": f"job.{kind}.v1", "subject": job_id,
        "time": time_text(at_us + delay_us), "partitionkey": f"acme/celery/{job_id}", "epoch": f"bench{number % 1000:08d}", "lane": lane,
        "seq": number, "data": data,
    }  # fmt: skip
    short = EVENT_BYTES - len(orjson.dumps(event))
    if short > 0:
        data["labels"] = {"a": "x" * min(max(short - 17, 1), 250), "b": "y" * min(max(short - 275, 0), 250)}
    return lane % PARTITIONS, orjson.dumps(event)


async def _make_topic(broker: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    config = {"message.timestamp.type": "LogAppendTime"}
    await admin.create_topics([NewTopic(name, PARTITIONS, 1, topic_configs=config)])
    await admin.close()


def fill(broker: str, topic: str, count: int) -> int:
    """Append the input; the bytes of all its values."""
    failed: list[Any] = []
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 20, "queue.buffering.max.messages": 200_000, "acks": "all"})
    size = 0
    for _, partition, value in attempts(count, time.time_ns() // 1000 - 3 * count * SECOND // PER_SECOND - 10 * SECOND):
        size += len(value)
        while True:
            try:
                producer.produce(topic, value, partition=partition, on_delivery=lambda e, _: failed.append(e) if e else None)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)
    assert not failed, failed[:3]
    return size


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds from the assignment of the partitions to the last commit and to the last rollup; CPU seconds of this process meanwhile."""

    committed_s: float
    rolled_up_s: float
    cpu_s: float


async def _write(settings: Settings, events: int) -> tuple[Took, HistoryMetrics]:
    metrics, stop = HistoryMetrics(), asyncio.Event()
    writer = asyncio.create_task(history.run(settings, stop, metrics))
    deadline = time.monotonic() + DEADLINE_S

    async def until(done: Callable[[], bool]) -> float:
        while not done():
            await asyncio.sleep(0.02)
            if writer.done():
                writer.result()
            assert time.monotonic() < deadline, metrics
        return time.monotonic()

    started = await until(lambda: metrics.rebalances > 0)
    cpu_s = time.process_time()
    committed = await until(lambda: metrics.events >= events)
    rolled_up = await until(lambda: not metrics.pending_minutes)
    took = Took(committed - started, rolled_up - started, time.process_time() - cpu_s)
    stop.set()
    await writer
    return took, metrics


def run(full: bool) -> dict[str, Any]:
    """`history_rows_per_s` (events), and what it took. AssertionError if the history is not exact afterwards."""
    count = 400_000 if full else 50_000
    with tempfile.TemporaryDirectory(prefix="jobtide-bench-") as folder, servers.kafka(Path(folder) / "kafka") as kafka:
        prefix = f"b{uuid.uuid4().hex[:8]}."
        settings = Settings(
            broker=kafka.address, topic_prefix=prefix, partitions=PARTITIONS, clickhouse_url=f"chdb://{folder}/history",
            rollup_every_ms=ROLLUP_EVERY_MS,
        )  # fmt: skip
        asyncio.run(_make_topic(kafka.address, settings.topic("job.events")))
        size = fill(kafka.address, settings.topic("job.events"), count)
        took, metrics = asyncio.run(_write(settings, 3 * count))
        db = ClickHouse(settings)
        found = db.rows("SELECT sum(enqueued), sum(started), sum(finished) FROM rollups")
        db.close()
    assert found == [(count, count, count)], found
    assert metrics.skipped_offsets == 0
    return {
        "history_rows_per_s": round(3 * count / took.rolled_up_s),
        "history_committed_per_s": round(3 * count / took.committed_s),
        "history_cpu_us_per_event": round(took.cpu_s * SECOND / (3 * count), 1),
        "history_events": 3 * count,
        "history_event_bytes": round(size / (3 * count)),
        "history_seconds": round(took.rolled_up_s, 1),
        "history_recompute_seconds": round(metrics.recompute_seconds, 1),
        "history_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    for name, value in run("--short" not in sys.argv).items():
        print(f"{name:28} {value:>12,}")
