"""What jobtide says: panes as any consumer of job.panes would hold them, dead letters, the hours of the hot state.

Only reads and adds up, to be compared with the ledger. `settle` waits until a worker has nothing left to say.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Any, cast

import msgspec
import orjson
import redis.asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from jobtide.streams.folds.attempts import FIELDS
from jobtide.streams.folds.panes import Pane
from jobtide.streams.folds.records import PaneRecord, Tick, parse_pane_key, series_from

from tests.proof.installation import Installation
from tests.proof.ledger import BySpan, Counted, Series

_decode_pane = msgspec.msgpack.Decoder(PaneRecord).decode
_decode_tick = msgspec.msgpack.Decoder(Tick).decode


class PanesReader:
    """Follows job.panes from its beginning: the newest version of each pane, the newest tick of each source."""

    def __init__(self, broker: str, topic: str, partitions: int) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=broker)
        self._partitions = [TopicPartition(topic, p) for p in range(partitions)]
        self.panes: dict[bytes, PaneRecord] = {}
        self.watermarks: dict[tuple[int, int], int] = {}  # (panes partition, source partition) → µs
        self.contradictions: list[str] = []
        self.records = 0

    async def __aenter__(self) -> PanesReader:
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def read_to_end(self) -> None:
        ends = await self._consumer.end_offsets(self._partitions)
        while [tp for tp in self._partitions if await self._consumer.position(tp) < ends[tp]]:
            for tp, records in (await self._consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    self._take(tp.partition, record.key or b"", record.value)

    def _take(self, partition: int, key: bytes, value: bytes | None) -> None:
        self.records += 1
        if value is None:
            return
        if key.startswith(b"t\x1f"):
            tick = _decode_tick(value)
            place = partition, tick.partition
            self.watermarks[place] = max(self.watermarks.get(place, 0), tick.watermark_us)
        elif key.startswith(b"p\x1f"):
            told, known = _decode_pane(value), self.panes.get(key)
            if known is None or told.version >= known.version:
                if known is not None and told.version == known.version and told.pane != known.pane:
                    self.contradictions.append(f"{key!r} at version {told.version}: {known.pane} and {told.pane}")
                self.panes[key] = told

    def complete_until_us(self) -> int:
        """Everything before this is in what has been read of job.panes; 0 until every source has ticked everywhere."""
        return min(self.watermarks.values()) if len(self.watermarks) == len(self._partitions) ** 2 else 0

    def sums(self, size_s: int) -> BySpan:
        """Panes of a size, summed over source partitions."""
        out: BySpan = defaultdict(Counted)
        for key, told in self.panes.items():
            of_size_s, start_s, _, name = parse_pane_key(key)
            if of_size_s == size_s:
                tenant, environment, system, queue, job_class = series_from(name)
                _add(out[(tenant, environment, system, queue, job_class), start_s], told.pane)
        return {key: counted for key, counted in out.items() if any(counted.counts.values())}


def _add(counted: Counted, pane: Pane) -> None:
    for kind, n in zip(FIELDS, pane.counts, strict=True):
        counted.counts[kind] += n
    counted.counts["negative_waits"] += pane.negative_waits
    for kind, samples, sum_us in (
        ("wait", pane.wait, pane.wait_sum_us),
        ("run_ok", pane.run_ok, pane.ok_sum_us),
        ("run_failed", pane.run_failed, pane.failed_sum_us),
    ):
        counted.counts[kind] += sum(samples.values())
        counted.sums_us[kind] += sum_us


async def settle(reader: PanesReader, of: Installation, until_us: int, deadline_s: float) -> float:
    """Wait until everything in job.events is committed and published up to `until_us`. Returns the seconds it took.

    TimeoutError, with what is missing, after `deadline_s`.
    """
    started_s = time.monotonic()
    while True:
        behind = await backlog(of)
        await reader.read_to_end()
        took_s = time.monotonic() - started_s
        if not behind and reader.complete_until_us() >= until_us:
            return took_s
        if took_s > deadline_s:
            missing_s = (until_us - reader.complete_until_us()) / 1e6
            raise TimeoutError(f"after {took_s:.0f} s: {behind} messages not committed, panes {missing_s:.1f} s short")
        await asyncio.sleep(0.25)


async def backlog(of: Installation) -> int:
    """Messages of job.events that the workers have not committed."""
    tps = [TopicPartition(of.events, p) for p in range(of.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=of.broker)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(tps)
    finally:
        await consumer.stop()
    done = await committed(of, of.group)
    return sum(ends[tp] - done.get(tp.partition, 0) for tp in tps)


async def committed(of: Installation, group: str) -> dict[int, int]:
    """Offset by partition of job.events that a consumer group has committed; partitions without one are left out."""
    admin = AIOKafkaAdminClient(bootstrap_servers=of.broker)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {tp.partition: each.offset for tp, each in offsets.items() if tp.topic == of.events and each.offset >= 0}


async def members(of: Installation) -> int:
    """How many workers share the partitions; 0 while the group is between two assignments."""
    admin = AIOKafkaAdminClient(bootstrap_servers=of.broker)
    await admin.start()
    try:
        responses: Any = await admin.describe_consumer_groups([of.group])
    finally:
        await admin.close()
    _, _, state, _, _, found, *_ = responses[0].groups[0]
    return len(found) if state == "Stable" else 0


async def dead_letters(of: Installation) -> set[str]:
    """The ids of all refused events; a letter may be there more than once."""
    tps = [TopicPartition(of.dead_letters, p) for p in range(of.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=of.broker)
    found: set[str] = set()
    await consumer.start()
    try:
        consumer.assign(tps)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(tps)
        while [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    faults = orjson.loads(dict(record.headers)["faults"])
                    letter = orjson.loads(record.value or b"")
                    events = letter if isinstance(letter, list) else [letter]
                    found.update(events[index]["id"] for index, _, _ in faults)
    finally:
        await consumer.stop()
    return found


async def hot_hour(redis_url: str, prefix: str, tenant: str) -> dict[Series, Counted]:
    """What the last hour of each series counts in the hot state."""
    client = redis.asyncio.Redis.from_url(redis_url)
    try:
        fields = cast(dict[bytes, bytes], await client.hgetall(f"{prefix}series:{tenant}"))
    finally:
        await client.aclose()
    out: dict[Series, Counted] = {}
    for value in fields.values():
        snapshot = msgspec.json.decode(value.partition(b"|")[2])
        hour = snapshot["windows"]["1h"]
        counted = out[tuple(snapshot[n] for n in ("tenant", "environment", "system", "queue", "job_class"))] = Counted()
        for kind in (*FIELDS, "negative_waits"):
            counted.counts[kind] = hour[kind]
        for kind in ("wait", "run_ok", "run_failed"):
            counted.counts[kind], counted.sums_us[kind] = hour[kind]["n"], hour[kind]["sum"]
            if sum(n for _, n in hour[kind]["b"]) != hour[kind]["n"]:
                raise ValueError(f"{kind} of {snapshot['job_class']}: n is not the sum of its buckets")
    return out
