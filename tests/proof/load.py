"""Sends traffic in real time, each fact in the ledger before any event that tells of it is sent.

What is sent follows from the seed that `run` prints. Where to is a Sender: `ToKafka` here, or
`to_gateway.ToGateway`.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer

from tests.proof.ledger import Ledger
from tests.proof.traffic import Arrival, Fact, Traffic

SLICE_S = 0.05  # what arrives within is sent together
BEHIND_S = 90.0  # event times are so old that the last pane closes soon after the load ends

Waiting = set[asyncio.Future[Any]]


class Sender(AbstractAsyncContextManager["Sender"], Protocol):
    """Where events go."""

    async def send(self, due: list[Arrival], random: Random) -> Waiting:
        """Send, in any order, on any way. What is given is done when the events are safe, and raises if they are not."""


@dataclass
class Load:
    """One run of traffic. After `run`, everything in the ledger has been acknowledged."""

    sender: Sender
    ledger_path: Path
    seed: int
    events_per_s: float = 2000
    behind_s: float = BEHIND_S
    sent: int = field(default=0, init=False)  # events, copies included
    made: int = field(default=0, init=False)  # different events that keep the contract

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, and then at once whatever the jobs begun by then have still to say."""
        print(f"load: seed {self.seed}, {self.events_per_s:.0f} events/s", flush=True)
        start_us = time.time_ns() // 1000 - round(self.behind_s * 1e6)
        async with self.sender:
            await self._send_all(Traffic(self.seed, start_us, self.events_per_s), stop)

    async def _send_all(self, traffic: Traffic, stop: asyncio.Event) -> None:
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
                waiting = {future for future in waiting if not _done(future)} | await self._send(due, random)
                facts, due, next_slice_s = [], [], arrivals[-1].after_us / 1e6 + SLICE_S
                if stop.is_set():
                    break
                await asyncio.sleep(max(0.0, started_s + next_slice_s - time.monotonic()))
        await asyncio.gather(*waiting, *await self._send(traffic.rest(), random))
        self.made = traffic.made

    async def _send(self, due: list[Arrival], random: Random) -> Waiting:
        self.sent += len(due)
        return await self.sender.send(due, random)


def _done(future: asyncio.Future[Any]) -> bool:
    if future.done():
        future.result()  # raises what went wrong
    return future.done()


class ToKafka:
    """To job.events itself, as emitters with the Kafka transport: lane % partitions, packs and single values mixed."""

    def __init__(self, broker: str, topic: str, partitions: int) -> None:
        self._broker, self._topic, self._partitions = broker, topic, partitions

    async def __aenter__(self) -> ToKafka:
        self._producer = AIOKafkaProducer(bootstrap_servers=self._broker, acks="all", enable_idempotence=True, linger_ms=5)
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, due: list[Arrival], random: Random) -> Waiting:
        by_partition: defaultdict[int, list[bytes]] = defaultdict(list)
        for arrival in due:
            by_partition[arrival.lane % self._partitions].append(arrival.value)
        futures: Waiting = set()
        headers = [("sent_at", b"%d" % (time.time_ns() // 1_000_000))]
        for partition, values in by_partition.items():
            for value in _packs(values) if random.random() < 0.5 else values:
                futures.add(await self._producer.send(self._topic, value, partition=partition, headers=headers))
        return futures


def _packs(values: list[bytes]) -> Iterator[bytes]:
    """Packs of at most 100 events, far below their limit in bytes."""
    for start in range(0, len(values), 100):
        yield b"[" + b",".join(values[start : start + 100]) + b"]"
