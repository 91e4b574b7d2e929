"""The history writer: job.events → ClickHouse, exact as far as its committed offsets say, however often it is killed.

`run` is all of it, for a process of its own and for the edge process of `jobtide up`. Three stages overlap, each with one batch at most:
collect records, prepare rows (Python), write them (ClickHouse). A batch is written in this order: minutes it makes dirty, its rows, the
offsets. Minutes are recomputed beside it (`upkeep`), alerts kept beside it (`alert_history`). While ClickHouse is away a batch is repeated,
nothing is fetched and nothing is committed. What decides is pure and elsewhere: `batch`, `moves`, `dirty`, `watermarks`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka.errors import KafkaError
from jobtide.sinks import batch as batches
from jobtide.sinks import moves, ownership
from jobtide.sinks.alert_history import AlertHistory
from jobtide.sinks.clickhouse import migrate
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.clickhouse.history_store import HistoryStore
from jobtide.sinks.clickhouse.rollups import Rollups
from jobtide.sinks.executions import Execution, Key
from jobtide.sinks.history_metrics import HistoryMetrics
from jobtide.sinks.inserts import Insert
from jobtide.sinks.log_source import LogSource
from jobtide.sinks.moves import Minute
from jobtide.sinks.ownership import Owned
from jobtide.sinks.patience import Patience, Stopped, pause
from jobtide.sinks.upkeep import Recomputing, Reporting
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)

REMEMBERED_ATTEMPTS = 400_000  # over all partitions: about 100 MB
REVOKE_WAIT_S = 5.0  # how long a rebalance waits for the batch that is being written


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch ready to be written, for the partitions as they were owned when it was collected."""

    owned: Mapping[int, Owned]
    batch: batches.Batch
    minutes: Mapping[int, set[Minute]]
    inserts: Sequence[Insert]


async def run(settings: Settings, stop: asyncio.Event, metrics: HistoryMetrics | None = None) -> None:
    """Write history until `stop` is set; the batch at hand is finished first.

    Migrates the database at the start. Raises ConfigError and StoreRejected; waits for everything that may come back.
    """
    metrics = metrics or HistoryMetrics()
    patience = Patience(stop, metrics)
    db = ClickHouse(settings)
    try:
        await patience.call("write", lambda: True, migrate.prepare, settings)
        async with asyncio.TaskGroup() as group:
            group.create_task(HistoryWriter(settings, db, patience, metrics).run(stop))
            group.create_task(AlertHistory(settings, db, patience, metrics).run(stop))
    except Stopped:
        pass
    except BaseExceptionGroup as errors:
        if not isinstance(first := errors.exceptions[0], Stopped):
            raise first from None  # what went wrong; the other was cancelled because of it
    finally:
        await asyncio.to_thread(patience.close)
        db.close()


class HistoryWriter:
    """See the module. `owned` changes with every rebalance; a batch of partitions that were taken away meanwhile is dropped."""

    def __init__(self, settings: Settings, db: ClickHouse, patience: Patience, metrics: HistoryMetrics) -> None:
        self.owned: dict[int, Owned] = {}
        self._settings, self._patience, self._metrics = settings, patience, metrics
        self._store = HistoryStore(db)
        self._source = LogSource(settings, self._assigned, self._revoked)
        rollups = Rollups(db, settings.retention_executions_days)
        every_s = settings.rollup_every_ms / 1000
        self._recomputing = Recomputing(lambda: self.owned, self._store, rollups, patience, metrics, every_s)
        self._reporting = Reporting(lambda: self.owned, self._source.end, self._store, patience, metrics)
        self._adoptions: asyncio.Queue[set[int]] = asyncio.Queue()
        self._collected: asyncio.Queue[tuple[Mapping[int, Owned], list[batches.Record]] | None] = asyncio.Queue(1)
        self._prepared: asyncio.Queue[Prepared | None] = asyncio.Queue(1)
        self._writing = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, or until one of the tasks raises."""
        if not await self._source.start(stop):
            return
        try:
            async with asyncio.TaskGroup() as group:
                adopting = group.create_task(self._adopt_all(stop))
                upkeep = [group.create_task(self._recomputing.run(stop)), group.create_task(self._reporting.run(stop))]
                stages = [group.create_task(stage) for stage in (self._collect(stop), self._prepare(), self._write())]
                await asyncio.wait(stages + upkeep)
                adopting.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the first that went wrong; the others were cancelled because of it
        finally:
            await self._source.stop()

    # -- partitions

    async def _assigned(self, partitions: set[int]) -> None:
        self._metrics.rebalances += 1
        self._adoptions.put_nowait(partitions)

    async def _revoked(self, partitions: set[int]) -> None:
        """What is being written may still be committed; what is only collected or prepared comes again to the next owner."""
        if not self.owned:
            return
        before, self.owned = self.owned, {}
        try:
            await asyncio.wait_for(self._writing.acquire(), REVOKE_WAIT_S)
            self._writing.release()
        except TimeoutError:
            log.warning("partitions revoked in the middle of a write", extra={"partitions": sorted(before)})

    async def _adopt_all(self, stop: asyncio.Event) -> None:
        while True:
            partitions = await self._adoptions.get()
            if partitions:
                try:
                    await self._adopt(partitions, stop)
                except Stopped:  # by the next rebalance, or by `stop`
                    continue

    async def _adopt(self, partitions: set[int], stop: asyncio.Event) -> None:
        rebalance = self._metrics.rebalances

        def wanted() -> bool:
            return rebalance == self._metrics.rebalances

        left = await self._patience.call("progress", wanted, self._store.left, partitions)
        while wanted():
            try:
                positions = await self._source.ends(partitions)
            except KafkaError as error:
                log.warning("history writer waits for Kafka", extra={"reason": str(error)})
                await pause(stop, 1.0)
                continue
            share = REMEMBERED_ATTEMPTS // self._settings.partitions
            disorder_us = self._settings.disorder_ms * 1000
            self.owned = ownership.adopt(left, positions, share, disorder_us, time.time_ns() // 1000)
            self._source.resume(partitions)
            return

    # -- collect, prepare, write

    async def _collect(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            owned, records = await self._source.collect(lambda: self.owned, stop)
            if records and owned:
                await self._collected.put((owned, records))
        await self._collected.put(None)

    async def _prepare(self) -> None:
        while (collected := await self._collected.get()) is not None:
            owned, records = collected
            if owned is self.owned:
                try:
                    await self._prepared.put(await self._made(owned, records))
                except Stopped:
                    self._give_up(owned)
        await self._prepared.put(None)

    def _give_up(self, owned: Mapping[int, Owned]) -> None:
        """A batch was not written: none after it may be, or its offsets would be committed with theirs."""
        if owned is self.owned:
            self.owned = {}

    async def _made(self, owned: Mapping[int, Owned], records: list[batches.Record]) -> Prepared:
        batch = await self._patience.once("prepare", batches.prepare, records, self._settings.partitions)
        for p, reach in batch.reach.items():
            self._metrics.skipped_offsets += reach.first_offset - owned[p].prepared_to
            owned[p].prepared_to = reach.next_offset
        unknown = await self._patience.once("prepare", lookups, owned, batch)
        stored: dict[Key, Execution] = {}
        if unknown:
            self._metrics.lookups += len(unknown)
            stored = await self._patience.call("prepare", lambda: owned is self.owned, self._store.executions, unknown)
        minutes, inserts = await self._patience.once("prepare", plan, owned, batch, stored)
        return Prepared(owned, batch, minutes, inserts)

    async def _write(self) -> None:
        while (prepared := await self._prepared.get()) is not None:
            async with self._writing:
                if prepared.owned is self.owned:
                    try:
                        await self._store_batch(prepared)
                    except Stopped:
                        self._give_up(prepared.owned)

    async def _store_batch(self, prepared: Prepared) -> None:
        owned, batch, metrics = prepared.owned, prepared.batch, self._metrics
        started = time.monotonic()
        versions = {p: owned[p].dirty.mark(minutes) for p, minutes in prepared.minutes.items()}
        marks = {p: (versions[p], minutes) for p, minutes in prepared.minutes.items()}
        metrics.pending_minutes = len(ownership.pending(owned))
        # A batch that a rebalance takes away is still finished if ClickHouse answers: it is right, whoever writes it.
        await self._patience.call("write", lambda: owned is self.owned, self._store.write, marks, prepared.inserts)
        now_us = time.time_ns() // 1000
        for p, reach in batch.reach.items():
            owned[p].wrote(versions[p], reach.next_offset, reach.high_us, reach.append_us, now_us)
        if not await self._source.commit({p: reach.next_offset for p, reach in batch.reach.items()}):
            metrics.commit_failures += 1
        metrics.insert_seconds += time.monotonic() - started
        metrics.batches += 1
        metrics.events += batch.events
        metrics.duplicates += batch.duplicates
        metrics.refused += batch.refused
        metrics.rows.update({each.table: each.rows for each in prepared.inserts})
        metrics.remembered_attempts = sum(len(o.memory) for o in owned.values())


def lookups(owned: Mapping[int, Owned], batch: batches.Batch) -> list[Key]:
    """The attempts of a batch whose past has to be read back."""
    return [k for p, attempts in batch.attempts.items() for k in moves.unknown(owned[p].memory, owned[p].known, attempts)]


def plan(owned: Mapping[int, Owned], batch: batches.Batch, stored: Mapping[Key, Execution]) -> tuple[dict[int, set[Minute]], list[Insert]]:
    """The minutes a batch makes dirty by partition, and its inserts. From here on the attempts count as written."""
    minutes: dict[int, set[Minute]] = {}
    whole: list[tuple[Key, Execution]] = []
    for p, attempts in batch.attempts.items():
        o = owned[p]
        minutes[p], found = moves.changed(o.memory, o.known, attempts, stored)
        whole += found
        o.memory.age()
        o.known.age(batch.reach[p].append_us)
    return minutes, batch.inserts(whole)
