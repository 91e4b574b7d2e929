"""How long after its append an event is visible in `/v1/live`: 2 000 events/s on real Kafka, default settings, one client of the stream.

    python -m tests.proof.live_latency [--full]

Every event is timed. Each series lies in one Kafka partition, and its counters grow in the order of event time: when a row says n, the
first n events of its series are visible. Measured is from just before the append to the arrival of the row at the client, on one clock.
Bar: p99 ≤ 5 s over 60 s; the short form asserts only that it stays below 15 s. Afterwards history must say the same as live.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import tempfile
import time
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import orjson
from aiokafka import AIOKafkaProducer

from tests.proof import agreement, report
from tests.proof.answers import Api
from tests.proof.trace import text
from tests.up_process import up

TENANT, SYSTEM = "latency", "bench"
PER_SECOND, PARTITIONS, QUEUES = 2_000, 8, 6
TICK_S, TAIL_S = 0.01, 15.0
BAR_S, SHORT_BAR_S = 5.0, 15.0
LIFE: tuple[tuple[str, int, dict[str, Any]], ...] = (  # a job's events: kind, µs after the first, further data
    ("enqueued", 0, {}), ("started", 40_000, {"worker_id": "w"}), ("finished", 150_000, {"worker_id": "w", "duration_ms": 110}),
)  # fmt: skip
Series = tuple[str, str]  # queue, job class


class Traffic:
    """Jobs that are enqueued, start 40 ms and finish 150 ms later; `appended` has the moments of each series' appends in order, in s."""

    def __init__(self) -> None:
        self.appended: defaultdict[Series, list[float]] = defaultdict(list)
        self._due: list[tuple[int, int, Series, bytes, int]] = []  # time, tie break, series, event, partition
        self._numbers = count()
        self._sequence: defaultdict[int, count[int]] = defaultdict(count)
        self._epoch = f"latency-{time.time_ns()}"

    async def run(self, producer: AIOKafkaProducer, seconds: float) -> int:
        """Append for so long; how many events."""
        begun = time.monotonic()
        sent = jobs = 0
        while (elapsed := time.monotonic() - begun) < seconds or self._due:
            now_us = time.time_ns() // 1000
            while elapsed < seconds and jobs < elapsed * PER_SECOND / 3:
                self._job(jobs, now_us)
                jobs += 1
            while self._due and self._due[0][0] <= now_us:
                at_us, _, series, event, partition = heapq.heappop(self._due)
                self.appended[series].append(time.time())
                await producer.send("job.events", self._numbered(event, partition, at_us), partition=partition)
                sent += 1
            await asyncio.sleep(TICK_S)
        await producer.flush()
        return sent

    def _job(self, number: int, now_us: int) -> None:
        key = f"{TENANT}/{SYSTEM}/{number:012d}"
        lane = crc32(key.encode()) & 63
        series = (f"q{number % QUEUES}", f"in-partition-{lane % PARTITIONS}")
        for kind, after_us, more in LIFE:
            data = {"tenant": TENANT, "system": SYSTEM, "queue": series[0], "job_class": series[1], "job_id": f"{number:012d}", "attempt": 1, **more}
            event = {
                "specversion": "1.0", "id": f"{self._epoch}-{number}-{kind}", "source": "/bench/latency", "type": f"job.{kind}.v1",
                "subject": f"{number:012d}", "time": text(now_us + after_us), "partitionkey": key, "epoch": self._epoch, "lane": lane, "data": data,
            }  # fmt: skip
            heapq.heappush(self._due, (now_us + after_us, next(self._numbers), series, orjson.dumps(event), lane % PARTITIONS))

    def _numbered(self, event: bytes, partition: int, at_us: int) -> bytes:
        """With the next number of its lane: given when it is sent, as an emitter's buffer does."""
        found = orjson.loads(event)
        return orjson.dumps(found | {"seq": next(self._sequence[found["lane"]])})


class Follower:
    """A client of /v1/live. `seen` has, for each event of a series, when the stream first counted it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/live?last=1h&tenant={TENANT}"
        self.seen: defaultdict[Series, list[float]] = defaultdict(list)
        self.rows = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        async with httpx.AsyncClient(timeout=None) as client, client.stream("GET", self._url) as reply:
            assert reply.status_code == 200, reply.status_code
            async for line in reply.aiter_lines():
                if line.startswith("data:"):
                    self._take(json.loads(line[5:]), time.time())

    def _take(self, event: dict[str, Any], now_s: float) -> None:
        for row in event.get("classes", ()):
            self.rows += 1
            seen = self.seen[row["queue"], row["job_class"]]
            seen += [now_s] * (row["enqueued"] + row["started"] + row["finished"] - len(seen))


def run(full: bool) -> report.Result:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder, up(Path(folder, "up")) as process:
        measured = asyncio.run(_measure(process.port, 60.0 if full else 15.0))
        agreed = agreement.compare(Api(process.port), ("1h", "15m", "5m"), tenant=TENANT)
    most_s = BAR_S if full else SHORT_BAR_S
    passes = measured["unseen"] == 0 and measured["wrong"] == 0 and measured["p99_s"] <= most_s
    said = ", ".join(f"{name[:-2]} {measured[name]:.2f} s" for name in ("p50_s", "p99_s", "max_s"))
    said += f"; {measured['per_s']} events/s, {measured['unseen']} unseen"
    rows = [
        report.row("append → /v1/live", f"p99 ≤ {most_s:.0f} s at {PER_SECOND} events/s", said, passes),
        agreement.row("live = history under traffic", agreed),
    ]  # fmt: skip
    figures = {name: value for name, value in measured.items() if name != "wrong"}
    return report.result("live latency", rows, wrong=agreed.wrong, live_p99_s=measured["p99_s"], **figures)


async def _measure(port: int, seconds: float) -> dict[str, Any]:
    traffic, follower = Traffic(), Follower(port)
    following = asyncio.create_task(follower.run())
    producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port + 1}", acks="all", linger_ms=5)
    await producer.start()
    try:
        begun = time.monotonic()
        sent = await traffic.run(producer, seconds)
        took_s = time.monotonic() - begun
        limit = time.monotonic() + TAIL_S
        while sum(map(len, follower.seen.values())) < sent and time.monotonic() < limit:
            assert not following.done(), following.result()
            await asyncio.sleep(0.1)
    finally:
        following.cancel()
        await producer.stop()
    return _figures(traffic, follower) | {"events": sent, "per_s": round(sent / took_s), "rows_received": follower.rows}


def _figures(traffic: Traffic, follower: Follower) -> dict[str, Any]:
    latencies = sorted(
        seen - appended for series, own in traffic.appended.items() for appended, seen in zip(own, follower.seen[series], strict=False)
    )
    total = sum(map(len, traffic.appended.values()))
    too_many = sum(max(0, len(seen) - len(traffic.appended[series])) for series, seen in follower.seen.items())
    if not latencies:
        return {"p50_s": 1e9, "p99_s": 1e9, "max_s": 1e9, "unseen": total, "wrong": too_many}
    at = {q: round(latencies[-(-len(latencies) * q // 100) - 1], 3) for q in (50, 99, 100)}
    return {"p50_s": at[50], "p99_s": at[99], "max_s": at[100], "unseen": total - len(latencies), "wrong": too_many}


if __name__ == "__main__":
    report.main(run)
