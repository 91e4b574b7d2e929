"""What a stage takes of what Faust hands it: nothing of an earlier assignment, nothing twice, and no hole that the log does not have."""

from __future__ import annotations

from typing import Any

import pytest
from faust.types import TP
from jobtide.streams.agents import stage as stage_module
from jobtide.streams.agents.coalescing import CoalescingConsumer
from jobtide.streams.agents.stage import STALLED_S, Batch, Stage, Watchdog
from jobtide.streams.settings import load

TOPIC = "t"


def batch(*offsets: int, partition: int = 0, generation: int = 1) -> Batch:
    made = Batch(TOPIC, partition, offsets[-1], 0.0, 1, None, None, b"", None, 0, 0, TP(TOPIC, partition), generation_id=generation)
    made.offsets = list(offsets)
    return made


class Counting(Stage):
    """Folds by noting offsets, as the real ones do: those it has are skipped."""

    def __init__(self, log: list[int]) -> None:
        super().__init__(load({}), TOPIC)
        self.log, self.folded, self.partitions, self.generation = log, list[int](), {0}, 1
        self.asked = 0

    async def recover(self, partitions: set[int]) -> None:
        self.partitions = partitions

    def next_offset(self, partition: int) -> int:
        return self.folded[-1] + 1 if self.folded else 0

    def holds(self, partition: int) -> bool:
        return partition in self.partitions

    async def fold(self, batch: Batch) -> None:
        self.folded += [offset for offset in batch.offsets if offset >= self.next_offset(0)]

    async def flush(self) -> None: ...

    def release(self) -> None:
        self.partitions = set()

    async def _first_from(self, partition: int, offset: int) -> int:
        self.asked += 1
        return next(each for each in self.log if each >= offset)


class Consumer:
    """Remembers where it was told to read."""

    def __init__(self, end: int = 0) -> None:
        self.read: list[tuple[TP, int]] = []
        self.end = end

    async def read_again(self, tp: TP, offset: int) -> None:
        self.read.append((tp, offset))

    def assignment(self) -> set[TP]:
        return {TP(TOPIC, 0), TP("another", 0)}

    def highwater(self, tp: TP) -> int:
        return self.end


async def test_batches_in_order_are_folded_without_asking_anybody() -> None:
    stage, consumer = Counting([*range(6)]), Consumer()
    for each in (batch(0, 1), batch(2, 3), batch(2, 3, 4), batch(5)):
        await stage.take(each, consumer)
    assert stage.folded == [0, 1, 2, 3, 4, 5] and not consumer.read and not stage.asked


async def test_a_lost_batch_is_read_again_however_often_it_is_lost() -> None:
    stage, consumer = Counting([*range(9)]), Consumer()
    for each in (batch(0, 1), batch(4, 5), batch(4, 5), batch(6, 7), batch(4, 5)):
        await stage.take(each, consumer)
    assert stage.folded == [0, 1] and consumer.read == [(TP(TOPIC, 0), 2)] * 4
    for each in (batch(2, 3, 4), batch(5, 6, 7, 8)):
        await stage.take(each, consumer)
    assert stage.folded == [*range(9)]


async def test_the_first_batch_can_be_lost_too() -> None:
    stage, consumer = Counting([*range(4)]), Consumer()
    await stage.take(batch(2, 3), consumer)
    assert stage.folded == [] and consumer.read == [(TP(TOPIC, 0), 0)]


async def test_offsets_that_the_log_does_not_have_are_passed_over() -> None:
    stage, consumer = Counting([0, 1, 7, 8]), Consumer()
    for each in (batch(0, 1), batch(7, 8)):
        await stage.take(each, consumer)
    assert stage.folded == [0, 1, 7, 8] and not consumer.read


async def test_batches_of_an_earlier_assignment_or_of_others_are_not_folded() -> None:
    stage, consumer = Counting([*range(4)]), Consumer()
    await stage.take(batch(0, 1, generation=0), consumer)
    await stage.take(batch(0, 1, partition=3), consumer)
    assert not stage.folded


async def test_a_batch_is_dropped_when_its_partition_goes_while_the_log_is_asked() -> None:
    class Losing(Counting):
        async def _first_from(self, partition: int, offset: int) -> int:
            self.release()
            return await super()._first_from(partition, offset)

    for log in ([5], [*range(6)]):
        stage, consumer = Losing(log), Consumer()
        await stage.take(batch(5), consumer)
        assert not stage.folded and not consumer.read


async def test_a_lost_end_of_the_log_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(stage_module, "monotonic", lambda: now_s)
    stage, consumer = Counting([*range(4)]), Consumer(end=4)
    await stage.take(batch(0, 1), consumer)
    await stage.read_stalled(consumer)
    now_s += STALLED_S - 0.1
    await stage.read_stalled(consumer)
    assert not consumer.read
    now_s += 0.2
    await stage.read_stalled(consumer)
    await stage.read_stalled(consumer)
    assert consumer.read == [(TP(TOPIC, 0), 2)]
    await stage.take(batch(2, 3), consumer)
    now_s += 2 * STALLED_S
    await stage.read_stalled(consumer)
    assert len(consumer.read) == 1


def test_records_of_a_fetch_become_one_message() -> None:
    class Record:
        topic, timestamp_type, key, value = TOPIC, 1, b"k", b"v"

        def __init__(self, offset: int) -> None:
            self.partition, self.offset, self.timestamp = 3, offset, 1000 + offset

    class App:
        consumer_generation_id = 7

    consumer: Any = CoalescingConsumer.__new__(CoalescingConsumer)
    consumer.app = App()
    made = consumer._to_message(TP(TOPIC, 3), [Record(5), Record(6)])
    assert (made.offset, made.partition, made.generation_id) == (6, 3, 7)
    assert (made.offsets, made.appends_us) == ([5, 6], [1_005_000, 1_006_000])
    assert (made.keys, made.values) == ([b"k", b"k"], [b"v", b"v"])


def test_the_watchdog_ends_a_process_that_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, ended = 100.0, list[str]()
    monkeypatch.setattr(stage_module, "monotonic", lambda: now_s)
    monkeypatch.setattr(stage_module, "end_process", ended.append)
    watchdog = Watchdog(limit_s=5)
    now_s += 4.9
    watchdog.beat()
    assert not ended
    now_s += 5.1
    watchdog.beat()
    assert ended == ["this process stood still for 5.1 s"]
