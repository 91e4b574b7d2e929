"""A Faust consumer that hands over a partition's fetched records as one message, and reads where the stages say.

Three things differ from Faust's own consumer, each for a measured reason (the README's "Why" has the numbers):
one message per fetch instead of one per record; positions come from the stages' state, never from acknowledgements
(faust-streaming #606 commits past messages in flight); and nothing is delivered between an assignment and its seek, because
Faust resumes partitions first and would drop or double what was fetched in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from jobtide.streams.agents.stage import Batch, Stage


class _Unfiltered(dict[TP, "int | None"]):
    """What Faust thinks it has read, and would therefore drop after a seek back. The stages tell records apart by their offsets."""

    def __getitem__(self, tp: TP) -> int | None:
        return None


class CoalescingConsumer(driver.Consumer):
    """Consumes the topics of `app.jobtide_stages`, a mapping from topic to Stage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Unfiltered()
        self.stages: dict[str, Stage] = vars(self.app)["jobtide_stages"]
        self._sought_generation: int | None = None
        self._seeking = asyncio.Lock()

    # -- offsets: what the stages have made durable, nothing else

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for topic, stage in self.stages.items():
            for partition in list(stage.durable):
                tp = TP(topic, partition)
                if topics is None or tp in topics or topic in topics:
                    yield tp

    def _new_offset(self, tp: TP) -> int | None:
        return self.stages[tp.topic].durable.get(tp.partition)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps belong to acknowledgements, which are not used."""

    # -- ownership

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._sought_generation = None
        self.stop_flow()
        self.app.flow_control.suspend()
        for stage in self.stages.values():
            await stage.flush()
        await super().on_partitions_revoked(revoked)
        for stage in self.stages.values():
            stage.release()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._sought_generation = None
        for stage in self.stages.values():
            stage.release()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Recover the stages' state for this assignment and seek to where each left off. Called by Faust before the flow resumes."""
        async with self._seeking:
            generation = self.app.consumer_generation_id
            if self._sought_generation == generation:
                return
            for stage in self.stages.values():
                stage.generation = generation
                await stage.recover({tp.partition for tp in self.assignment() if tp.topic == stage.topic})
            if self.app.consumer_generation_id != generation:
                return  # a newer assignment recovers again
            starts = {ensure_TP(tp): self.stages[tp.topic].next_offset(tp.partition) for tp in self.assignment()}
            earliest = {ensure_TP(tp): offset for tp, offset in (await self.earliest_offsets(*starts)).items()} if starts else {}
            starts = {tp: max(offset, earliest.get(tp, 0) or 0) for tp, offset in starts.items()}
            await self.seek_wait(starts)
            for tp in starts:
                self._committed_offset[tp] = None  # not known; the next commit says it again
            self._sought_generation = generation

    async def read_again(self, tp: TP, offset: int) -> None:
        """Read `tp` again from `offset`; records already fetched are told apart by their offsets."""
        await self._thread.seek_wait({tp: offset})  # in the consumer's thread: a seek from this one breaks a fetch there

    # -- one message per partition and fetch

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109 - Faust's signature
        records, active = await super()._wait_next_records(timeout)
        if records:
            ready = self._sought_generation == self.app.consumer_generation_id
            records = {tp: [fetched] for tp, fetched in records.items() if ready and fetched}
        return records, active

    def _to_message(self, tp: TP, record: Any) -> Batch:
        last = record[-1]
        batch = Batch(
            tp.topic, tp.partition, last.offset, last.timestamp / 1000.0, last.timestamp_type, None, None, b"", None, 0, 0,
            ensure_TP(tp), generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        batch.offsets = [r.offset for r in record]
        batch.appends_us = [r.timestamp * 1000 for r in record]
        batch.keys = [r.key for r in record]
        batch.values = [r.value for r in record]
        return batch


class CoalescingTransport(driver.Transport):
    Consumer = CoalescingConsumer


class LeanRecords(fetcher.PartitionRecords):
    """Hands out records as aiokafka's C code has parsed them (offset, timestamp, key, value, headers).

    A ConsumerRecord of each, a frozen dataclass of eleven fields, would cost more than the parsing.
    """

    def __iter__(self) -> Iterator[Any]:
        """The generator itself: one call less for each record than through this object's `__next__`."""
        return self._records_iterator or iter(())

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record


def use_lean_records() -> None:
    """For every consumer of this process: all of them belong to the worker, and read only those five attributes."""
    fetcher.PartitionRecords = LeanRecords  # type: ignore[misc]
