"""Speed of stage 1 on real Kafka with everything real, against raw aiokafka and orjson on the same topic in the same run.

Workload (D17): 800-byte events, one a message, 1 000 emitter epochs, 2 000 series, half of the attempts open for longer than two flushes,
5 % duplicates. The worker's progress is read from its own ticks on job.panes, by the broker's clock.

    python -m tests.bench.stage1 [--seconds 60]
"""

import argparse
import asyncio
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from jobtide.streams.events import decode, time_text
from jobtide.streams.folds.records import Tick

from tests import servers

PARTITIONS, EPOCHS, SERIES, DUPLICATES = 8, 1000, 2000, 0.05
LONG_EVENTS = 250_000  # events between start and end of a long attempt: over two flushes at 100 000 events/s
EVENT_BYTES = 800
SEED = 17

_EVENT = (
    '{"specversion":"1.0","id":"%s","source":"/bench/host-%d/worker","type":"job.%s.v1","subject":"%s/1","time":"%s",'
    '"datacontenttype":"application/json","partitionkey":"%s","epoch":"%s","lane":%d,"seq":%d,"data":{"tenant":"bench",'
    '"environment":"production","system":"celery","queue":"queue-%d","job_class":"shop.tasks.module%d.Task","job_id":"%s","attempt":1%s,'
    '"labels":{"release":"2026.11.22","pad":"%s"}}}'
)


def events(total: int) -> Iterator[tuple[int, bytes]]:
    """(partition, value) of `total` events and their duplicates, in the order they are appended."""
    rng = random.Random(SEED)
    seqs: dict[tuple[int, int], int] = {}
    due: deque[tuple[int, str, tuple]] = deque()  # long attempts' ends
    short: deque[tuple[int, str, tuple]] = deque()
    made = number = 0
    pad = "x" * 120

    def event(kind: str, job: tuple, extra: str) -> tuple[int, bytes]:
        nonlocal made
        made += 1
        n, job_id, key, lane, epoch = job
        seq = seqs.get((epoch, lane), 0)
        seqs[epoch, lane] = seq + 1
        now = time_text(time.time_ns() // 1000)
        text = _EVENT % (
            f"{n:012d}-{kind}", epoch % 50, kind, job_id, now, key, f"epoch-{epoch:06d}", lane, seq, n % 40, n % SERIES, job_id, extra, pad,
        )  # fmt: skip
        return lane % PARTITIONS, text.ljust(EVENT_BYTES).encode()

    def ends(queue: deque) -> Iterator[tuple[int, bytes]]:
        while queue and queue[0][0] <= made:
            _, started, job = queue.popleft()
            yield event("finished", job, f',"worker_id":"host-{job[4] % 50}:1:1","started_at":"{started}","duration_ms":{100 + job[0] % 900}')

    while made < total:
        number += 1
        job_id = f"{number:024x}"
        key = f"bench/celery/{job_id}"
        job = (number, job_id, key, crc32(key.encode()) & 63, number % EPOCHS)
        first = event("enqueued", job, "")
        yield first
        if rng.random() < DUPLICATES * 3:
            yield first
        started = time_text(time.time_ns() // 1000)
        yield event("started", job, f',"worker_id":"host-{job[4] % 50}:1:1","enqueued_at":"{started}"')
        (due if number % 2 else short).append((made + (LONG_EVENTS if number % 2 else 300), started, job))
        yield from ends(short)
        yield from ends(due)


async def fill(broker: str, topic: str, total: int) -> tuple[int, float]:
    """Append the workload; (events, mean bytes)."""
    producer = AIOKafkaProducer(bootstrap_servers=broker, acks=1, max_batch_size=1 << 20)
    await producer.start()
    batches = [producer.create_batch() for _ in range(PARTITIONS)]
    count = size = 0
    for partition, value in events(total):
        count += 1
        size += len(value)
        if batches[partition].append(key=None, value=value, timestamp=None) is None:
            await producer.send_batch(batches[partition], topic, partition=partition)
            batches[partition] = producer.create_batch()
            batches[partition].append(key=None, value=value, timestamp=None)
    for partition, batch in enumerate(batches):
        await producer.send_batch(batch, topic, partition=partition)
    await producer.stop()
    return count, size / count


async def raw(broker: str, topic: str, total: int) -> float:
    """events/s of aiokafka getmany + orjson.loads, nothing else."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    await consumer.start()
    tps = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    consumer.assign(tps)
    await consumer.seek_to_beginning(*tps)
    count, started = 0, time.perf_counter()
    while count < total:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                orjson.loads(record.value)
            count += len(records)
    elapsed = time.perf_counter() - started
    await consumer.stop()
    return count / elapsed


async def progress(broker: str, topic: str, total: int, process: subprocess.Popen) -> tuple[float, float]:
    """(events/s, seconds) of a running worker, from the first to the last tick that moves."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])  # every partition of job.panes gets every tick
    at: dict[int, int] = {}
    first = last = None
    while sum(at.values()) < total:
        if process.poll() is not None:
            raise SystemExit(f"the worker ended with {process.returncode}")
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                if record.key[:2] == b"t\x1f":
                    tick = msgspec.msgpack.decode(record.value, type=Tick)
                    at[tick.partition] = tick.version + 1
                    done = sum(at.values())
                    if first is None and done > 0:
                        first = (record.timestamp, done)
                    last = (record.timestamp, done)
    await consumer.stop()
    seconds = (last[0] - first[0]) / 1000
    return (last[1] - first[1]) / seconds, seconds


def run(seconds: float = 60.0, guess_per_s: int = 60_000) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, servers.kafka(Path(folder, "kafka")) as kafka, servers.valkey(Path(folder, "valkey")) as valkey:
        return asyncio.run(_run(kafka.address, valkey.address, int(seconds * guess_per_s)))


async def _run(broker: str, redis: str, total: int) -> dict[str, float]:
    await servers.create_topics(broker)
    count, size = await fill(broker, "job.events", total)
    print(f"{count} events of {size:.0f} bytes written", flush=True)
    raw_per_s = await raw(broker, "job.events", count)
    print(f"raw getmany + orjson: {raw_per_s:,.0f} events/s", flush=True)
    environ = {**os.environ, "JOBTIDE_BROKER": broker, "JOBTIDE_REDIS_URL": redis, "JOBTIDE_LOG_LEVEL": "warning", "JOBTIDE_STAGES": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen([sys.executable, "-m", "jobtide.cli", "worker"], env=environ)
    try:
        per_s, took = await progress(broker, "job.panes", count, process)
        raw_after = await raw(broker, "job.events", count // 4)
    finally:
        process.terminate()
        process.wait(30)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    raw_mean = (raw_per_s + raw_after) / 2
    return {
        "stage1_events_per_s": round(per_s), "stage1_ratio_to_raw": round(per_s / raw_mean, 3), "raw_events_per_s": round(raw_mean),
        "stage1_seconds": round(took, 1), "stage1_rss_mb": round(used.ru_maxrss / 1024), "event_bytes": round(size),
        "stage1_cpu_us_per_event": round((used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime) * 1e6 / count, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    result = run(parser.parse_args().seconds)
    decode(next(iter(events(1)))[1])  # the workload is made of valid events
    for name, value in result.items():
        print(f"{name:24} {value:>12,}")


if __name__ == "__main__":
    main()
