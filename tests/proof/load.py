"""Sends traffic to job.events in real time, each fact in the ledger before any event that tells of it is sent.

Events go to Kafka directly (lane % partitions), as packs and as single values, mixed. What is sent follows from the
seed that `run` prints.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from aiokafka import AIOKafkaProducer

from tests.proof.ledger import Ledger
from tests.proof.traffic import Arrival, Fact, Traffic

SLICE_S = 0.05  # what arrives within is sent together
BEHIND_S = 90.0  # event times are so old that the last pane closes soon after the load ends

Waiting = set[asyncio.Future[object]]


@dataclass
class Load:
    """One run of traffic. After `run`, everything in the ledger has been acknowledged by Kafka."""

    broker: str
    topic: str
    partitions: int
    ledger_path: Path
    seed: int
    events_per_s: float = 2000
    behind_s: float = BEHIND_S
    sent: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, and then at once whatever the jobs begun by then have still to say."""
        print(f"load: seed {self.seed}, {self.events_per_s:.0f} events/s", flush=True)
        start_us = time.time_ns() // 1000 - round(self.behind_s * 1e6)
        producer = AIOKafkaProducer(bootstrap_servers=self.broker, acks="all", enable_idempotence=True, linger_ms=5)
        await producer.start()
        try:
            await self._send_all(producer, Traffic(self.seed, start_us, self.events_per_s), stop)
        finally:
            await producer.stop()

    async def _send_all(self, producer: AIOKafkaProducer, traffic: Traffic, stop: asyncio.Event) -> None:
        ledger, random, started_s = Ledger(self.ledger_path), Random(self.seed), time.monotonic()
        waiting: Waiting = set()
        facts: list[Fact] = []
        due: list[Arrival] = []
        next_slice_s = SLICE_S
        for more, arrivals in traffic:
            facts += more
            due += arrivals
            if arrivals and arrivals[-1].after_us / 1e6 >= next_slice_s:
                ledger.write(facts)
                waiting |= await self._send(producer, due, random)
                facts, due, next_slice_s = [], [], arrivals[-1].after_us / 1e6 + SLICE_S
                waiting = {future for future in waiting if not future.done() or future.result() is None}
                if stop.is_set():
                    break
                await asyncio.sleep(max(0.0, started_s + next_slice_s - time.monotonic()))
        waiting |= await self._send(producer, traffic.rest(), random)
        await asyncio.gather(*waiting)

    async def _send(self, producer: AIOKafkaProducer, due: list[Arrival], random: Random) -> Waiting:
        by_partition: defaultdict[int, list[bytes]] = defaultdict(list)
        for arrival in due:
            by_partition[arrival.lane % self.partitions].append(arrival.value)
        futures: Waiting = set()
        headers = [("sent_at", b"%d" % (time.time_ns() // 1_000_000))]
        for partition, values in by_partition.items():
            for value in _packs(values) if random.random() < 0.5 else values:
                futures.add(await producer.send(self.topic, value, partition=partition, headers=headers))
        self.sent += len(due)
        return futures


def _packs(values: list[bytes]) -> Iterator[bytes]:
    """Packs of at most 100 events, far below their limit in bytes."""
    for start in range(0, len(values), 100):
        yield b"[" + b",".join(values[start : start + 100]) + b"]"
