"""Stage 2 in a worker: partitions of job.panes in, hot state and alerts out.

The windows have no checkpoint: panes are absolute, so their state is whatever the last 70 minutes of the log say. A partition is taken over by
reading them again; what the rules have decided is saved beside (`ruling`), and so is what classes have taught in up to 60 days (`baselines`).
While the store is away the newest value of each field is kept and written when it is back. What an earlier owner has left in the store and the
log no longer speaks of is removed.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic, time_ns

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from jobtide.streams.agents.baselines import BaselineLog
from jobtide.streams.agents.kafka import new_reader
from jobtide.streams.agents.ruling import Ruling
from jobtide.streams.agents.stage import Batch, Stage
from jobtide.streams.alerts.partition import RuledPartition
from jobtide.streams.errors import TransientError
from jobtide.streams.settings import Settings
from jobtide.streams.snapshots import HotStateSink, HotWrite
from jobtide.streams.topics import PANES
from jobtide.streams.windows.fold import WindowFold
from jobtide.streams.windows.strangers import strangers

TEACH_EVERY_S = 600  # less than what a new owner reads again: a crash forgets nothing
REPLAY_MS = 70 * 60_000  # an hour's windows, and how late a pane may be revised
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Stage2(Stage):
    """All partitions of job.panes of this worker. Without a producer no rules are evaluated."""

    def __init__(
        self, settings: Settings, sink: HotStateSink, producer: AIOKafkaProducer | None = None, baselines: BaselineLog | None = None
    ) -> None:
        super().__init__(settings, settings.topic(PANES))
        self.sink, self.baselines = sink, baselines
        self.ruling = Ruling(settings, producer) if producer is not None else None
        self._taught_s: dict[int, int] = {}  # partition -> the newest minute in the written baselines
        self.folds: dict[int, WindowFold] = {}
        self._starts: dict[int, int] = {}  # where each partition's replay began
        self._pending: dict[tuple[str, str, str], HotWrite] = {}  # not yet in the store: the newest of each field
        self._away_since_s: float | None = None
        self._writing = asyncio.Lock()
        self._taken_over = False  # since then the store was not looked through for what earlier owners left

    # -- ownership

    async def recover(self, partitions: set[int]) -> None:
        started, self._pending = monotonic(), {}
        ruled: dict[int, RuledPartition] = {}
        if self.ruling is not None:
            ruled = await self.ruling.take_over(partitions)
        folds = {p: ruled[p].fold if p in ruled else WindowFold(p, partitions=self.settings.partitions) for p in partitions}
        if self.baselines is not None and folds:
            await self.baselines.recover({p: fold.triage.baselines for p, fold in folds.items()})
        self._taught_s = {p: fold.triage.baselines.learned_s for p, fold in folds.items()}
        count = await self._replay(folds, ruled) if folds else 0
        if self.ruling is not None:
            self.ruling.partitions = ruled
        self.folds, self._taken_over = folds, True
        log.info("replayed %d records of %d panes partitions in %.1f s", count, len(folds), monotonic() - started)

    async def _replay(self, folds: dict[int, WindowFold], ruled: dict[int, RuledPartition]) -> int:
        consumer, topic = new_reader(self.settings), self.topic
        now_ms = time_ns() // 1_000_000
        await consumer.start()
        try:
            tps = [TopicPartition(topic, p) for p in folds]
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            left_ms = {p: (each.resumes_at_us or now_ms * 1000) // 1000 for p, each in ruled.items()}
            times = {tp: max(0, min(now_ms, left_ms.get(tp.partition, now_ms)) - REPLAY_MS) for tp in tps}
            since = await consumer.offsets_for_times(times)
            for tp in tps:
                start = since.get(tp)
                self._starts[tp.partition] = start.offset if start is not None else ends[tp]
                consumer.seek(tp, self._starts[tp.partition])
                if tp.partition in ruled and ruled[tp.partition].evaluator.offset >= ends[tp] and not self.settings.broker_in_memory:
                    log.error("%s/%d ends before what the rules have seen: another log, they begin anew", topic, tp.partition)
                    ruled[tp.partition] = await self.ruling.begin_anew(tp.partition, ruled[tp.partition])  # type: ignore[union-attr]  # it made `ruled`
                    folds[tp.partition] = ruled[tp.partition].fold
                if self._starts[tp.partition] == 0 and tp.partition in ruled and ruled[tp.partition].resumes_at_us is None:
                    ruled[tp.partition].watch_from_here()  # a new log: nothing of it is out of sight
            waiting = {tp for tp in tps if await consumer.position(tp) < ends[tp]}
            count = 0
            while waiting:
                for tp, records in (await consumer.getmany(*waiting, timeout_ms=1000)).items():
                    target = ruled[tp.partition].fold_records if tp.partition in ruled else folds[tp.partition].fold
                    target([r.key or b"" for r in records], [r.value for r in records], [r.offset for r in records])
                    count += len(records)
                    if self.ruling is not None and tp.partition in ruled:
                        await self.ruling.while_replaying(tp.partition, ruled[tp.partition])
                    await asyncio.sleep(0)
                waiting = {tp for tp in waiting if await consumer.position(tp) < ends[tp]}
            for each in ruled.values():
                if each.resumes_at_us is None:
                    each.watch_from_here()  # of the time before, the windows may be half empty
            return count
        finally:
            await consumer.stop()

    def next_offset(self, partition: int) -> int:
        return max(self.folds[partition].version + 1, self._starts.get(partition, 0)) if partition in self.folds else 0

    def holds(self, partition: int) -> bool:
        return partition in self.folds

    def release(self) -> None:
        self.folds, self._pending = {}, {}
        if self.ruling is not None:
            self.ruling.release()
        self.durable.clear()

    # -- records

    async def fold(self, batch: Batch) -> None:
        ruled = self.ruling.partitions.get(batch.partition) if self.ruling is not None else None
        fold = ruled.fold_records if ruled is not None else self.folds[batch.partition].fold
        fold([key or b"" for key in batch.keys], batch.values, batch.offsets)

    # -- effects

    async def publish(self) -> None:
        """Write what has changed to the hot state. A store out of reach delays this, never the folding."""
        async with self._writing:
            if self._away_since_s is not None and monotonic() - self._away_since_s < RETRY_S:
                return
            try:
                await self._write()
            except TransientError as error:
                if self._away_since_s is None:
                    log.warning("hot state is out of reach, keeping changes until it is back: %s", error)
                self._away_since_s = monotonic()

    async def _write(self) -> None:
        folds = dict(self.folds)
        if folds and await self.sink.lost_everything():
            log.warning("hot state was empty: writing everything again")
            for fold in folds.values():
                fold.touch_all()
        for fold in folds.values():
            for write in fold.take_changes():
                self._pending[write.kind, write.tenant, write.field] = write
        versions = {partition: fold.version for partition, fold in folds.items()}
        pending = self._pending
        if pending:
            await self.sink.write(list(pending.values()))
        if pending is self._pending:  # not released meanwhile
            self._pending = {}
            self.durable.update({partition: version + 1 for partition, version in versions.items()})
        if self._taken_over:
            await self._remove_strangers()
        if self._away_since_s is not None:
            log.info("hot state is back")
            self._away_since_s = None

    async def _remove_strangers(self) -> None:
        stored, folds = await self.sink.fields(), self.folds
        versions = {partition: self.next_offset(partition) - 1 for partition in folds}
        removals = strangers(stored, folds, versions, self.settings.partitions)
        if removals:
            log.info("removing %d values that were over while nobody looked", len(removals))
            await self.sink.write(list(removals))
        if folds is self.folds:  # not taken over once more meanwhile
            self._taken_over = False

    async def say(self, whole: bool = False) -> None:
        """Send what the rules have decided. On its own: a store that is away must not hold back an alert."""
        if self.ruling is not None:
            await self.ruling.say(whole)

    async def save_baselines(self, every_s: int = TEACH_EVERY_S) -> None:
        """Write what the partitions' classes have taught, where it is `every_s` of event time ahead of what was written last."""
        if self.baselines is None:
            return
        for partition, fold in list(self.folds.items()):
            known = fold.triage.baselines
            if known.learned_s - self._taught_s.get(partition, 0) < every_s:
                continue
            learned_s, records = known.learned_s, list(known.take_unsaved())
            try:
                await self.baselines.write(partition, records)
            except KafkaError as error:
                known.put_back(records)
                log.warning("baselines of partition %d were not written, trying again later: %s", partition, error)
                return
            self._taught_s[partition] = learned_s

    async def flush(self) -> None:
        await self.say(whole=True)
        await self.publish()
        await self.save_baselines(every_s=60)
