"""Writes numbered checkpoint batches as fast as it can, to be killed: BROKER PROXY_PORT TOPIC PARTITIONS LEDGER SEED.

Batch n of a partition holds a random number of keys and the applied record, all with value n. It goes on from what the log says, through the
worker's own producer, reader and CheckpointLog. Acknowledged batches are noted in the ledger. It never ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import defaultdict
from random import Random
from typing import Any

import aiokafka.conn
from jobtide.streams.agents.kafka import new_producer, new_reader
from jobtide.streams.checkpoint.log import CheckpointLog
from jobtide.streams.folds.records import Record
from jobtide.streams.settings import load

APPLIED = b"applied"


def go_through(proxy_port: int) -> None:
    """Every connection that a client opens goes to the proxy, whatever address the broker tells."""
    connection: Any = aiokafka.conn.AIOKafkaConnection
    connect = connection.connect

    async def by_proxy(self: Any) -> object:
        self._port = proxy_port
        return await connect(self)

    connection.connect = by_proxy


async def write(broker: str, topic: str, partitions: int, ledger: int, seed: int) -> None:
    settings, random = load({}, broker=broker, partitions=partitions), Random(seed)
    producer = new_producer(settings)
    await producer.start()
    log, applied = CheckpointLog(producer, lambda: new_reader(settings), topic), defaultdict(int)

    def note(partition: int, key: bytes, value: bytes | None) -> None:
        if key == APPLIED and value:
            applied[partition] = int(value.partition(b" ")[0])

    await log.recover(range(partitions), note)
    while True:
        waiting = []
        for partition in range(partitions):
            number, count = applied[partition] + 1, random.choice((1, 30, 500, 4000))
            value = b"%d of %d " % (number, count) + b"x" * random.randrange(400)
            records: list[Record] = [*((b"k%d" % key, value) for key in range(count)), (APPLIED, value)]
            waiting.append((partition, number, await log.submit(partition, records)))
        for partition, number, durable in waiting:
            await durable()
            applied[partition] = number
            os.write(ledger, b"%d %d\n" % (partition, number))


if __name__ == "__main__":
    broker, port, topic, partitions, path, seed = sys.argv[1:]
    go_through(int(port))
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    asyncio.run(write(broker, topic, int(partitions), ledger, int(seed)))
