"""A fold out of its checkpoint is the fold that wrote it: whatever compaction left, wherever it stopped."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.streams.folds.attempts import ENQUEUED, FINISHED
from jobtide.streams.folds.counters import Limits
from jobtide.streams.folds.memory import hash_of
from jobtide.streams.folds.panes import SECOND_PANES_KEPT_US
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.records import Record, decode_pane, parse_pane_key
from jobtide.streams.folds.saving import APPLIED, MOST_EXPIRED, Restorer, save
from jobtide.streams.folds.series import OTHER, Series
from jobtide.streams.folds.source import SourceFold

from tests.proof.job_events import MINUTE, SECOND, START_US, job_event, value_of
from tests.proof.job_log import PARTITIONS, Message, job_log, shuffled_and_duplicated
from tests.properties.searching import searching


def restored(records: Iterable[Record], limits: Limits | None = None, partition: int = 0, partitions: int = 1) -> SourceFold:
    fold = SourceFold(partition, partitions, limits)
    restorer = Restorer(fold)
    for key, value in records:
        restorer.load(key, value)
    restorer.finish()
    return fold


def compacted(records: list[Record]) -> list[Record]:
    """The newest record of each key, deletions included, in log order."""
    newest = {key: index for index, (key, _) in enumerate(records)}
    return [records[index] for index in sorted(newest.values())]


def swept(records: list[Record]) -> list[Record]:
    """What compaction leaves in the end: no deletions either."""
    return [(key, value) for key, value in compacted(records) if value is not None]


def feed(fold: SourceFold, messages: list[Message]) -> None:
    first = fold.version + 1
    fold.fold(range(first, first + len(messages)), [m.append_us for m in messages], [m.value for m in messages])


def state(fold: SourceFold) -> dict[str, Any]:
    """All that decides what a fold will say, by value."""
    memory = fold.lifecycles.memory
    ended = {key: memory.recall(key, fold.append_us) for key in memory.ended}
    over = {hash_of(key) for key, found in ended.items() if found is None and memory.is_over(key, 0, fold.append_us)}
    return {
        **fold.read(),
        "version": fold.version,
        "times": (fold.high_us, fold.append_us, fold.published_us, fold.watermark_us),
        "counters": fold.counters,
        "epochs": fold.epochs,
        "ids": fold.identities._seen,
        "seconds": {
            (key, start_s): decode_pane(stored)
            for key, series in fold.lifecycles.table.by_key.items()
            for start_s, stored in [*series.at_rest().items(), *((start_s, cell.freeze()) for start_s, cell in series.seconds.items())]
            if start_s + 1 + SECOND_PANES_KEPT_US // SECOND + 1 > fold.watermark_us // SECOND  # a pack of seconds goes when all of them may
        },
        "classes": {key: attempt.series_key for key, attempt in memory.open.items()},
        "order": list(memory.open),
        "ended": {key: found.facts for key, found in ended.items() if found is not None},
        "forgotten": over | memory.forgotten.hashes(),
        "closed": memory.closed_total,
    }  # fmt: skip


def longest(seed: int, jobs: int) -> tuple[int, list[Message]]:
    logs = shuffled_and_duplicated(Random(seed), job_log(seed, jobs))
    return max(enumerate(logs), key=lambda numbered: len(numbered[1]))


@searching(25)
@given(st.integers(0, 2**32), st.sampled_from([5, 48_000]), st.sampled_from([1, 3, 20_000]))
def test_a_restored_fold_is_the_fold_that_was_saved(seed: int, recent: int, series: int) -> None:
    """After every checkpoint, from the whole log of checkpoints and from what compaction leaves of it."""
    random, limits = Random(seed), Limits(recent_attempts=recent, series=series)
    partition, log = longest(seed, 60)
    fold, records = SourceFold(partition, PARTITIONS, limits), list[Record]()
    publisher = Publisher(fold)
    while fold.version + 1 < len(log):
        feed(fold, log[fold.version + 1 :][: random.randrange(1, 25)])
        publisher.collect("active")
        records += save(fold)
        expected = state(fold)
        for left in (records, compacted(records), swept(records)):
            again = restored(left, limits, partition, PARTITIONS)
            assert state(again) == expected
        if random.random() < 0.3:
            fold = again
            publisher = Publisher(fold)


def enqueue(number: int, at_us: int, **more: Any) -> bytes:
    return value_of(job_event("enqueued", at_us, event_id=f"event-{number:012d}", **{"job_id": f"j{number}", **more}))


def test_without_an_applied_record_the_fold_is_at_its_beginning() -> None:
    fold = SourceFold(0, 1)
    feed(fold, [Message(START_US, enqueue(0, START_US))])
    again = restored((key, value) for key, value in save(fold) if key != APPLIED)
    assert again.version == -1
    assert state(again) == state(SourceFold(0, 1))


def test_the_applied_record_comes_last() -> None:
    """A batch is whole or absent; a batch that was cut by mistake must not look applied."""
    fold = SourceFold(0, 1)
    feed(fold, [Message(START_US, enqueue(0, START_US))])
    assert [key for key, _ in save(fold)].index(APPLIED) == len(save(fold)) + 2


def test_only_what_was_touched_is_saved_again() -> None:
    fold = SourceFold(0, 1)
    feed(fold, [Message(START_US, enqueue(0, START_US, queue="one")), Message(START_US, enqueue(1, START_US, queue="two"))])
    assert len([key for key, _ in save(fold) if key[:1] in b"p" or key.startswith(b"aacme")]) == 4
    assert [key for key, _ in save(fold)] == [APPLIED]
    feed(fold, [Message(START_US, enqueue(2, START_US, queue="two"))])
    touched = [key for key, _ in save(fold) if key[:1] == b"p"]
    assert [parse_pane_key(key)[3].split(b"\x1f")[3] for key in touched] == [b"two"]


def test_panes_that_were_not_yet_told_are_told_after_a_crash_and_others_only_when_revised() -> None:
    """The worker publishes, then saves: what had ended by then has been told, what ends later has not."""
    fold = SourceFold(0, 1)
    feed(fold, [Message(START_US, enqueue(0, START_US)), Message(START_US + 8 * SECOND, enqueue(1, START_US + 8 * SECOND))])
    Publisher(fold).collect("active")
    again = restored(save(fold))
    told = [parse_pane_key(key)[:2] for key, _ in Publisher(again).collect("active")[0] if key[:1] == b"p"]
    assert told == []
    feed(again, [Message(START_US + 20 * SECOND, enqueue(2, START_US)), Message(START_US + 90 * SECOND, enqueue(3, START_US + 90 * SECOND))])
    told = [parse_pane_key(key)[:2] for key, _ in Publisher(again).collect("active")[0] if key[:1] == b"p"]
    start_s = START_US // SECOND
    assert sorted(told) == [(1, start_s), (1, start_s + 8), (60, start_s)]


def test_what_came_before_the_crash_is_a_duplicate_after_it() -> None:
    fold = SourceFold(0, 1)
    by_number = value_of(job_event("enqueued", START_US, job_id="a", numbered=("epoch-one", 4)))
    messages = [Message(START_US, by_number), Message(START_US, enqueue(0, START_US))]
    feed(fold, messages)
    again = restored(save(fold))
    feed(again, messages)
    assert (again.counters.duplicates, again.counters.events) == (2, 4)
    assert [(lane.next, lane.holes[0][:2]) for lane in again.epochs["epoch-one"].lanes.values()] == [(5, [0, 3])]


def test_at_the_series_limit_every_open_attempt_comes_back_to_its_own_series() -> None:
    """Restoring goes by key, not by age: whoever comes last must not find the table full of others."""
    limits = Limits(series=2)
    fold = SourceFold(0, 1, limits)
    for number, (job_id, job_class) in enumerate([("z1", "First"), ("z2", "Second"), ("a1", "Third"), ("a2", "Fourth")]):
        feed(fold, [Message(START_US, enqueue(number, START_US, job_id=job_id, job_class=job_class))])
    again = restored(save(fold), limits)
    for each in (fold, again):
        for job_id, job_class in (("z1", "First"), ("z2", "Second")):
            feed(each, [Message(START_US + SECOND, value_of(job_event("finished", START_US + SECOND, job_id=job_id, job_class=job_class)))])
        minutes: Any = each.read()["minutes"]
        assert {key.job_class: counts[0][FINISHED] for (key, _), counts in minutes.items()} == {"First": 1, "Second": 1, OTHER: 0}
    assert again.read() == fold.read()


def test_a_longer_disorder_bound_after_a_restart_loses_nothing() -> None:
    """The setting moves the watermark; panes that were closed under the old one stay so."""
    fold = SourceFold(0, 1, Limits(disorder_us=2 * SECOND))
    number, records = 0, list[Record]()

    def tell(to: SourceFold, second: int) -> None:
        nonlocal number
        feed(to, [Message(START_US + second * SECOND, enqueue(number, START_US + second * SECOND))])
        number += 1

    for second in range(0, 300, 10):
        tell(fold, second)
        Publisher(fold).collect("active")
        records += save(fold)
    for disorder_us in (200 * SECOND, 2 * SECOND, 90 * SECOND):
        fold = restored(swept(records), Limits(disorder_us=disorder_us))
        for second in range(300 + number, 330 + number, 5):
            tell(fold, second)
            records += save(fold)
    minutes: Any = restored(swept(records)).read()["minutes"]
    assert sum(pane[0][ENQUEUED] for pane in minutes.values()) == number


def test_a_checkpoint_drops_a_bounded_number_of_panes_and_the_next_goes_on() -> None:
    fold, many = SourceFold(0, 1), MOST_EXPIRED + 3_000
    per_second = many // 3
    for offset in range(many):
        at_us = START_US + offset // per_second * SECOND
        feed(fold, [Message(at_us, enqueue(offset, at_us, job_class=f"C{offset}"))])
    fold.limits = Limits(series=many)
    save(fold)
    fold.caught_up(START_US + 2 * 3600 * SECOND)
    dropped = []
    while True:
        keys = [key for key, value in save(fold) if value is None and key[:1] == b"p"]
        if not keys:
            break
        assert len(keys) < MOST_EXPIRED + 2 * per_second
        dropped.append(len(keys))
    assert len(dropped) > 1
    assert not any(series.seconds or series.resting or series.minutes for series in fold.lifecycles.table.by_key.values())


def test_the_checkpoint_of_a_quiet_partition_empties() -> None:
    """An hour after the last event everything but the open attempts, the ids and the applied record has been deleted."""
    fold, kept = SourceFold(0, 1), dict[bytes, bytes]()

    def flush() -> None:
        Publisher(fold).collect("active")
        for key, value in save(fold):
            if value is None:
                kept.pop(key)
            else:
                kept[key] = value

    for number in range(30):
        at_us = START_US + number * 7 * SECOND
        feed(fold, [Message(at_us, value_of(job_event("finished", at_us, job_id=f"j{number}", numbered=("epoch-one", 0))))])
        flush()
    for minute in range(5, 140):
        feed(fold, [Message(START_US + minute * MINUTE, b"poison moves time too")])
        fold.caught_up(START_US + minute * MINUTE)
        flush()
    assert kept.keys() == {APPLIED}
    assert not fold.lifecycles.table.by_key


@pytest.mark.parametrize("lost", [0, 1, 3])
def test_folding_again_what_was_not_saved_ends_in_the_same_state(lost: int) -> None:
    log = [Message(START_US + n * 9 * SECOND, enqueue(n, START_US + n * 9 * SECOND, job_class=f"C{n % 3}")) for n in range(40)]
    straight, crashed = SourceFold(0, 1), SourceFold(0, 1)
    for message in log:
        feed(straight, [message])
        save(straight)
    records: list[Record] = []
    while crashed.version + 1 < len(log):
        feed(crashed, log[crashed.version + 1 :][:4])
        records += save(crashed)
        feed(crashed, log[crashed.version + 1 :][:lost])
        crashed = restored(swept(records))
    assert crashed.read() == straight.read()
    assert crashed.counters == straight.counters


def test_a_fold_given_away_leaves_nothing_in_memory() -> None:
    """Cells are not known to the garbage collector: the cycle of a series and its panes has to be taken apart by hand."""
    gc.collect()
    before = sum(type(found) is Series for found in gc.get_objects())
    fold = SourceFold(0, 1)
    feed(fold, [Message(START_US, enqueue(number, START_US, job_class=f"C{number}")) for number in range(20)])
    assert sum(type(found) is Series for found in gc.get_objects()) == before + 20
    fold.lifecycles.table.clear()
    del fold
    gc.collect()
    assert sum(type(found) is Series for found in gc.get_objects()) == before
