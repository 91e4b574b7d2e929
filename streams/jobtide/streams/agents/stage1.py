"""Stage 1 in a worker: source partitions of job.events in, panes and dead letters out, a checkpoint about once a second.

The order of effects is the whole point: outputs acknowledged, then the checkpoint batch acknowledged, then the offset may be committed.
A crash anywhere leaves the last whole checkpoint, and folding on from it sends the same outputs again under the same versions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic, process_time, time_ns
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from jobtide.streams.agents.kafka import new_reader
from jobtide.streams.agents.stage import Batch, Stage, end_process
from jobtide.streams.checkpoint.log import CheckpointLog, Lost
from jobtide.streams.folds.counters import Counters, Limits
from jobtide.streams.folds.publication import Publisher, State
from jobtide.streams.folds.records import Record
from jobtide.streams.folds.saving import Restorer, save
from jobtide.streams.folds.source import Rejected, SourceFold
from jobtide.streams.folds.stop_rule import StopRule
from jobtide.streams.settings import Settings
from jobtide.streams.topics import CHECKPOINT, DEAD_LETTERS, EVENTS, PANES
from prometheus_client import Gauge

IDLE_AFTER_S = 2.0
UNSAVED_LIMIT = 30_000  # touched panes and attempts: ~7 MiB, half of what one checkpoint batch may have
UNSAVED_IN_ALL = 40_000  # of all partitions: what waits for its checkpoint, and the batches then, are the peaks of the memory
COUNTS = Counters.__struct_fields__
COUNTED = Gauge("jobtide_source_counted", "What stage 1 has counted of a source partition; see streams/folds/counters.py.", ["what", "partition"])

log = logging.getLogger(__name__)


class Owned:
    """One source partition of this worker."""

    def __init__(self, fold: SourceFold) -> None:
        self.fold, self.publisher = fold, Publisher(fold)
        self.heard_s = monotonic()  # when its last record came
        self.flushed_version = fold.version
        self.stop_rule = StopRule()

    @property
    def unsaved(self) -> int:
        lifecycles = self.fold.lifecycles
        return len(lifecycles.table.unsaved) + len(lifecycles.memory.unsaved) + lifecycles.remarks.unsaved


class Stage1(Stage):
    """All source partitions of this worker.

    `highwater(partition)`: the end of the log as the consumer last saw it, or None. `pause(partition, seconds)`: fetch nothing of it so long.
    """

    def __init__(
        self, settings: Settings, producer: AIOKafkaProducer, highwater: Callable[[int], int | None], pause: Callable[[int, float], None]
    ) -> None:
        super().__init__(settings, settings.topic(EVENTS))
        self.producer, self.highwater, self.pause = producer, highwater, pause
        self.owned: dict[int, Owned] = {}
        self.checkpoints: CheckpointLog | None = None
        self.saving_s = 0.0  # how long the last checkpoint held up the folding
        self._flushing = asyncio.Lock()
        self._limits = Limits(
            disorder_us=settings.disorder_ms * 1000,
            series=settings.max_series,
            open_attempts=max(1, settings.max_waiting // settings.partitions),
        )

    # -- ownership

    async def recover(self, partitions: set[int]) -> None:
        started = monotonic()
        checkpoints = CheckpointLog(self.producer, lambda: new_reader(self.settings), self.settings.topic(CHECKPOINT))
        restorers = {p: Restorer(SourceFold(p, self.settings.partitions, self._limits)) for p in partitions}
        count = await checkpoints.recover(partitions, lambda p, key, value: restorers[p].load(key, value))
        for restorer in restorers.values():
            restorer.finish()
            await asyncio.sleep(0)
        self.checkpoints = checkpoints
        self.owned = {p: Owned(restorer.fold) for p, restorer in restorers.items()}
        # Whoever wrote the checkpoint may have ended before it committed; on a silent partition nobody else would.
        self.durable.update({p: owned.fold.version + 1 for p, owned in self.owned.items() if owned.fold.version >= 0})
        log.info("recovered %d partitions from %d checkpoint records in %.1f s", len(partitions), count, monotonic() - started)

    def next_offset(self, partition: int) -> int:
        return self.owned[partition].fold.version + 1 if partition in self.owned else 0

    def holds(self, partition: int) -> bool:
        return partition in self.owned

    def release(self) -> None:
        for owned in self.owned.values():
            owned.fold.lifecycles.table.clear()
        self.owned, self.checkpoints = {}, None
        self.durable.clear()
        COUNTED.clear()

    # -- records

    async def fold(self, batch: Batch) -> None:
        owned = self.owned[batch.partition]
        counters = owned.fold.counters
        events, rejected = counters.events, counters.rejected
        owned.fold.fold(batch.offsets, batch.appends_us, batch.values)
        owned.heard_s = monotonic()
        refused = counters.rejected - rejected
        pause_s = owned.stop_rule.note(counters.events - events + refused, refused)
        if pause_s:
            log.error("%s/%d: most events are refused, pausing for %.0f s; see `jobtide dlq list`", self.topic, batch.partition, pause_s)
            self.pause(batch.partition, pause_s)
        if owned.unsaved > UNSAVED_LIMIT or sum(each.unsaved for each in self.owned.values()) > UNSAVED_IN_ALL:
            await self.flush()

    def _state(self, partition: int, owned: Owned) -> State:
        end = self.highwater(partition)
        if end is not None and end > owned.fold.version + 1:
            return "lagging" if time_ns() // 1000 - owned.fold.append_us > 5_000_000 else "active"
        if end is not None and monotonic() - owned.heard_s >= IDLE_AFTER_S:
            owned.fold.caught_up(time_ns() // 1000)
            return "idle"
        return "active"

    # -- effects

    async def publish(self) -> None:
        """Send the panes that have closed or were revised, and the ticks after them."""
        async with self._flushing:
            await self._guarded(self._publish(self._collect()))

    async def flush(self) -> None:
        """Publish, then write a checkpoint of every partition that has folded something, then let its offset be committed."""
        async with self._flushing:
            await self._guarded(self._flush())

    async def _guarded(self, effect: Awaitable[None]) -> None:
        try:
            await effect
        except Lost as error:
            end_process(str(error))
        except KafkaError as error:  # sent or not is unknown: only a fresh start from the log knows
            end_process(f"Kafka did not acknowledge a flush ({error!r})")

    async def _flush(self) -> None:
        outputs, started_s = self._collect(), process_time()
        checkpoints, saved = self.checkpoints, []
        for partition, owned in self.owned.items():
            fold = owned.fold
            for what in COUNTS:
                COUNTED.labels(what, str(partition)).set(getattr(fold.counters, what))
            if fold.version != owned.flushed_version or owned.unsaved:
                saved.append((partition, owned, fold.version, save(fold)))
        # No await up to here: outputs and checkpoint are of the same moment.
        self.saving_s = process_time() - started_s
        await self._publish(outputs)
        self.point("published")
        if checkpoints is None:
            return
        waits = [await checkpoints.submit(partition, records) for partition, _, _, records in saved]
        self.point("submitted")
        for durable in waits:
            await durable()
        self.point("durable")
        if checkpoints is self.checkpoints:
            for partition, owned, version, _ in saved:
                owned.flushed_version = version
                self.durable[partition] = version + 1

    def point(self, name: str) -> None:
        """A named moment inside a flush; the crash tests stop the process here."""

    def _collect(self) -> tuple[list[list[Record]], list[tuple[int, Rejected]]]:
        records: list[list[Record]] = [[] for _ in range(self.settings.partitions)]
        rejected: list[tuple[int, Rejected]] = []
        for partition, owned in self.owned.items():
            for to, more in enumerate(owned.publisher.collect(self._state(partition, owned), time_ns() // 1000)):
                records[to].extend(more)
            rejected.extend((partition, r) for r in owned.fold.rejected)
            owned.fold.rejected.clear()
        return records, rejected

    async def _publish(self, outputs: tuple[list[list[Record]], list[tuple[int, Rejected]]]) -> None:
        records, rejected = outputs
        waits: list[Awaitable[Any]] = []
        for partition, batch in enumerate(records):
            waits.extend(await self._send(self.settings.topic(PANES), partition, batch))
        for partition, letter in rejected:
            waits.append(await self._dead_letter(partition, letter))
        for wait in waits:
            await wait

    async def _send(self, topic: str, partition: int, records: Iterable[Record]) -> list[Awaitable[Any]]:
        """Append records in order, in as many batches as they need."""
        waits: list[Awaitable[Any]] = []
        batch, now_ms = self.producer.create_batch(), time_ns() // 1_000_000
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=now_ms) is None:
                waits.append(await self.producer.send_batch(batch, topic, partition=partition))
                batch = self.producer.create_batch()
                batch.append(key=key, value=value, timestamp=now_ms)
        if batch.record_count():
            waits.append(await self.producer.send_batch(batch, topic, partition=partition))
        return waits

    async def _dead_letter(self, partition: int, letter: Rejected) -> Awaitable[Any]:
        """The original bytes, with what is wrong in the headers; the key makes a repeated letter recognisable."""
        index, reason, detail = letter.faults[0]
        headers = [
            ("reason", reason.value.encode()),
            ("detail", detail.encode(errors="replace")[:1024]),
            ("source", b"%d:%d:%d" % (partition, letter.offset, index)),
            ("faults", orjson.dumps([[i, r.value, d[:200]] for i, r, d in letter.faults[:100]])),
        ]
        result: Awaitable[Any] = await self.producer.send(
            self.settings.topic(DEAD_LETTERS), letter.value, key=b"%d:%d" % (partition, letter.offset), partition=partition, headers=headers
        )
        return result
