"""A checkpoint batch on real Kafka is whole or absent, never doubled, and in order: through SIGKILL, cut connections
and recovery.

    python -m tests.proof.checkpoint_atomic [--full]

A writer appends batches of up to 4 000 records and 1.6 MB, through a proxy that cuts connections inside produce
requests and before their replies, and is killed at random moments. Then the log is read back record by record.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from jobtide.streams.checkpoint.ownership import CLAIM_PREFIX
from jobtide.streams.topics import CHECKPOINT, TOPICS

from tests.chaos.checkpoint_writer import APPLIED
from tests.chaos.cutting_proxy import CuttingProxy
from tests.proof.command import Figures, Servers, main
from tests.proof.installation import Installation

SEED = 4
KILLS = 4  # of one log
PARTITIONS = 4


def run(full: bool, servers: Servers) -> Figures:
    """20 kills, or 4."""
    return asyncio.run(_run(5 if full else 1, servers))


async def _run(logs: int, servers: Servers) -> Figures:
    random, found = Random(SEED), list[_Log]()
    host, _, port = servers.broker.rpartition(":")
    async with CuttingProxy((host, int(port)), random) as proxy:
        for _ in range(logs):
            found.append(await _log(servers, proxy.port, random))
    faults = [fault for log in found for fault in log.batches.faults]
    figures: Figures = {
        "seed": SEED,
        "SIGKILLs": logs * KILLS,
        **{f"connections cut {where}": count for where, count in sorted(proxy.cuts.items())},
        "writers that gave up by themselves": sum(log.ended for log in found),
        "batches": sum(log.batches.whole for log in found),
        "after their writer's successor": sum(log.batches.outlived for log in found),
        "records": sum(log.batches.records for log in found),
        "acknowledged and not there": sum(log.lost for log in found),
        "faults": faults[:5],
    }
    enough = figures["batches"] > 20 * KILLS * logs and len(proxy.cuts) == 2
    return {**figures, "passed": enough and not faults and not figures["acknowledged and not there"]}


@dataclass
class _Log:
    """One topic, as it was found after its writers were killed. `lost`: acknowledged and not there."""

    batches: Batches
    ended: int
    lost: int


async def _log(servers: Servers, proxy_port: int, random: Random) -> _Log:
    """`KILLS` writers one after the other; not more, since each reads everything the others wrote and nothing is compacted."""
    topic, ended, batches = f"atomic{uuid.uuid4().hex[:6]}", 0, Batches()
    ledger = servers.directory / f"{topic}.ledger"
    installation = Installation(servers.broker, servers.redis_url, topic, servers.directory)
    await _make(servers.broker, topic)
    for _ in range(KILLS):
        arguments = (servers.broker, proxy_port, topic, PARTITIONS, ledger, random.randrange(1000))
        writer = installation.process("writer", ["-m", "tests.chaos.checkpoint_writer", *map(str, arguments)])
        writer.start()
        try:
            await _grown(ledger, random.uniform(0.3, 2), writer.ended)
            ended += writer.ended() is not None
        finally:
            writer.kill()
    await _read(servers.broker, topic, batches)
    return _Log(batches, ended, batches.lacks(ledger))


class Batches:
    """Judges the log record by record: `take` them in order, partition by partition."""

    def __init__(self) -> None:
        self.whole = self.records = self.outlived = 0
        self.faults: list[str] = []
        self._newest: dict[int, int] = defaultdict(int)  # number of the last batch that counts
        self._numbers: dict[int, Counter[int]] = defaultdict(Counter)
        self._owner: dict[int, bytes] = {}
        self._state: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        self._overwritten: dict[int, set[bytes]] = defaultdict(set)

    def take(self, partition: int, records: list[tuple[bytes, bytes, bytes]]) -> None:
        """All (key, owner, value) of a partition."""
        self.records += len(records)
        at = 0
        while at < len(records):
            key, owner, value = records[at]
            if key.startswith(CLAIM_PREFIX):
                self._owner[partition] = owner
                at += 1
            elif owner == self._owner.get(partition) and self._overwritten[partition]:
                at += self._restored(partition, records[at : at + len(self._overwritten[partition])])
            else:
                number, count = (int(word) for word in value.split(b" ")[:3:2])
                self._batch(partition, number, count, records[at : at + count + 1])
                at += count + 1

    def _batch(self, partition: int, number: int, count: int, records: list[tuple[bytes, bytes, bytes]]) -> None:
        keys = [*(b"k%d" % index for index in range(count)), APPLIED]
        _, owner, value = records[0]
        if [key for key, _, _ in records] != keys or {(o, v) for _, o, v in records} != {(owner, value)}:
            self.faults.append(f"partition {partition}: batch {number} of {count} records is torn")
            return
        self.whole += 1
        if owner != self._owner.get(partition):  # it was on its way when its writer was killed, and came after the next claim
            self.outlived += 1
            self._overwritten[partition].update(keys)
            return
        if number != self._newest[partition] + 1:
            self.faults.append(f"partition {partition}: batch {number} follows {self._newest[partition]}")
        self._newest[partition] = number
        self._numbers[partition][number] += 1
        self._state[partition].update(dict.fromkeys(keys, value))

    def _restored(self, partition: int, records: list[tuple[bytes, bytes, bytes]]) -> int:
        """What the next owner writes again."""
        state = self._state[partition]
        if {key: value for key, _, value in records} != {key: state.get(key) for key in self._overwritten[partition]}:
            self.faults.append(f"partition {partition}: keys that were overwritten are not as they were")
        self._overwritten[partition].clear()
        return len(records)

    def lacks(self, ledger: Path) -> int:
        """Acknowledged batches that are not there exactly once."""
        acknowledged = (tuple(map(int, line.split())) for line in ledger.read_text().splitlines())
        return sum(self._numbers[partition][number] != 1 for partition, number in acknowledged)


async def _make(broker: str, topic: str) -> None:
    config = dict(next(t for t in TOPICS if t.name == CHECKPOINT).config)
    config["cleanup.policy"] = "delete"  # every record that was ever written is judged
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=config)])
    finally:
        await admin.close()


async def _grown(ledger: Path, seconds: float, ended: Callable[[], int | None]) -> None:
    """Wait until a batch has been acknowledged, and some more; not longer than the writer lives."""
    size = ledger.stat().st_size if ledger.exists() else 0
    deadline_s = time.monotonic() + 60
    while ended() is None and not (ledger.exists() and ledger.stat().st_size > size):
        if time.monotonic() > deadline_s:
            raise TimeoutError("the writer writes nothing")
        await asyncio.sleep(0.02)
    deadline_s = time.monotonic() + seconds
    while ended() is None and time.monotonic() < deadline_s:
        await asyncio.sleep(0.01)


async def _read(broker: str, topic: str, batches: Batches) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, max_partition_fetch_bytes=16 << 20)
    await consumer.start()
    try:
        for partition in range(PARTITIONS):
            tp = TopicPartition(topic, partition)
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            end, records = (await consumer.end_offsets([tp]))[tp], []
            while await consumer.position(tp) < end:
                for more in (await consumer.getmany(tp, timeout_ms=200)).values():
                    records += [(r.key or b"", dict(r.headers).get("owner", b""), r.value or b"") for r in more]
            batches.take(partition, records)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    main("Checkpoint batches through SIGKILL and cut connections", run)
