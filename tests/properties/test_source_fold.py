"""One source partition from Kafka values to published panes: any order gives the right numbers, and each is told in time."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.streams.events import Reason
from jobtide.streams.folds.attempts import ENQUEUED, FIELDS, STARTED
from jobtide.streams.folds.counters import Limits
from jobtide.streams.folds.panes import MINUTE_PANES_KEPT_US, SECOND_PANES_KEPT_US, Pane, merge
from jobtide.streams.folds.publication import LEDGER_EVERY_US, Publisher
from jobtide.streams.folds.records import LedgerRecord, PaneRecord, Record, Tick, panes_partition, parse_pane_key
from jobtide.streams.folds.series import OTHER
from jobtide.streams.folds.source import FUTURE_US, SourceFold
from jobtide.streams.folds.watch import WatchRecord

from tests.proof import d2_convergence
from tests.proof.d2_convergence import ARRANGEMENTS, Published, Worker, converge, differences, digest, drive
from tests.proof.job_events import MINUTE, SECOND, START_US, job_event, lane_of, value_of
from tests.proof.job_log import PARTITIONS, job_log, shuffled_and_duplicated
from tests.properties.searching import searching

DISORDER_US = Limits().disorder_us

# -- D2: the order of arrival


def test_five_arrangements_of_a_long_log_end_in_the_same_right_numbers() -> None:
    result = d2_convergence.run(full=False)
    assert result["identical"], result["hashes"]
    assert result["minutes_unlike_oracle"] == 0
    assert len({of_seed["in order"] for of_seed in result["hashes"].values()}) == len(result["seeds"]) > 1, "two logs, two results"


def test_the_long_log_is_what_it_should_be() -> None:
    """A log without the hard cases would converge too."""
    sent = job_log(1, 1_200)
    kinds = Counter(s.event["type"] for s in sent)
    assert len(sent) > 3_000
    assert len({s.partition for s in sent}) == PARTITIONS
    assert all(kinds[f"job.{kind}.v1"] >= 10 for kind in (
        "enqueued", "scheduled", "started", "heartbeat", "progress", "finished", "failed", "retry_scheduled", "dead", "discarded", "cancelled"
    )), kinds  # fmt: skip
    assert sum("epoch" in s.event for s in sent) / len(sent) == pytest.approx(0.9, abs=0.03)
    assert any(value.startswith(b"[") for log in shuffled_and_duplicated(Random(1), sent) for _, value in log)


@searching(20)
@given(st.integers(0, 2**32))
def test_any_short_log_converges_to_the_recount(seed: int) -> None:
    sent = job_log(seed, 50)
    found = set()
    for name, (arrange, crashes) in ARRANGEMENTS.items():
        random = Random(f"{seed} {name}")
        published, readouts, _ = converge(arrange(random, sent), random, crashes)
        assert differences(published, sent) == [], name
        found.add(digest(published, readouts))
    assert len(found) == 1


def retold(seed: int, crashes: list[bool]) -> list[dict[tuple[bytes, int], PaneRecord]]:
    """Everything that each of several workers published of a log's longest partition: (key, version) -> pane."""
    logs = shuffled_and_duplicated(Random(seed), job_log(seed, 150))
    partition = max(range(PARTITIONS), key=lambda p: len(logs[p]))
    told = []
    for number, crashing in enumerate(crashes):
        published = Published()
        drive(Worker(partition, logs[partition], published), Random(f"{seed} {number}"), crashing, step=2)
        told.append(published.seen)
    return told


@searching(15)
@given(st.integers(0, 2**32))
def test_one_version_of_a_pane_has_one_content(seed: int) -> None:
    """The same log folded by two workers that publish, save and crash at different moments; equal also where nobody restarted."""
    told = retold(seed, [False, True, True])
    for other in told[1:]:
        same = told[0].keys() & other.keys()
        assert {key: other[key] for key in same} == {key: told[0][key] for key in same}


def test_the_workers_of_that_test_do_meet() -> None:
    one, other = retold(5, [False, True])
    assert len(one.keys() & other.keys()) > 40


# -- what is told, and when


def enqueue(at_us: int, number: int, **more: Any) -> bytes:
    """An attempt of its own each: counts once, at `at_us`."""
    return value_of(job_event("enqueued", at_us, job_id=f"j{number}", event_id=f"event-{number:012d}", **more))


class Told:
    """A reader of job.panes beside one fold of one partition."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.fold = SourceFold(0, 1, limits)
        self.publisher = Publisher(self.fold)
        self.panes: dict[tuple[int, int], PaneRecord] = {}  # (size, start in s) -> newest

    def hear(self, append_us: int, *values: bytes) -> None:
        for value in values:
            self.fold.fold([self.fold.version + 1], [append_us], [value])

    def collect(self) -> tuple[dict[tuple[int, int], PaneRecord], list[Tick]]:
        (records,) = self.publisher.collect("active")
        panes = {parse_pane_key(key)[:2]: msgspec.msgpack.decode(value or b"", type=PaneRecord) for key, value in records if key[:1] == b"p"}
        assert len(panes) == sum(key[:1] == b"p" for key, _ in records), "a pane twice in one publication"
        self.panes |= panes
        return panes, [msgspec.msgpack.decode(value or b"", type=Tick) for key, value in records if key[:1] == b"t"]


moments = st.integers(-6, 6).map(lambda n: n * 400_000) | st.sampled_from([-10, -100, -179, -185, -240, -3700, -4000]).map(lambda s: s * SECOND)


@searching(200)
@given(st.lists(st.tuples(st.sampled_from([0, SECOND, 5 * SECOND, 100 * SECOND]), moments, st.booleans()), min_size=1, max_size=30))
def test_a_pane_is_told_when_the_watermark_passes_its_end_and_after_each_revision(arrivals: list[tuple[int, int, bool]]) -> None:
    """(how much later it is appended, event time relative to that, whether it is published after it)"""
    told = Told()
    now_us = START_US
    counted: dict[int, Counter[tuple[int, int]]] = {1: Counter(), 60: Counter()}
    said: dict[tuple[int, int], int] = {}
    for number, (later_us, relative_us, publish) in enumerate(arrivals):
        now_us += later_us
        at_us, before_us = now_us + relative_us, told.fold.watermark_us
        told.hear(now_us, enqueue(at_us, number))
        for size_s, kept_us in ((1, SECOND_PANES_KEPT_US), (60, MINUTE_PANES_KEPT_US)):
            if before_us - at_us <= kept_us:
                counted[size_s][size_s, at_us // SECOND // size_s * size_s] += 1
        if publish:
            watermark_us = told.fold.watermark_us
            ended = {key: n for of_size in counted.values() for key, n in of_size.items() if (key[0] + key[1]) * SECOND <= watermark_us}
            panes, ticks = told.collect()
            assert {key: record.pane.counts[ENQUEUED] for key, record in panes.items()} == dict(ended.items() - said.items())
            assert all(record.version == told.fold.version for record in panes.values())
            assert {tick.watermark_us for tick in ticks} <= {watermark_us}
            said |= ended


def test_the_watermark_is_the_newest_event_time_that_is_not_ahead_of_its_append_time() -> None:
    told = Told()
    told.hear(START_US, enqueue(START_US - 3 * SECOND, 1))
    assert told.fold.watermark_us == START_US - 3 * SECOND - DISORDER_US
    told.hear(START_US + SECOND, enqueue(START_US + MINUTE, 2))
    assert told.fold.watermark_us == START_US + SECOND - DISORDER_US, "an event from the future does not close panes"
    told.hear(START_US + 2 * SECOND, enqueue(START_US, 3))
    assert told.fold.watermark_us == START_US + SECOND - DISORDER_US, "and time does not go back"


def test_append_times_that_go_back_take_no_time_back() -> None:
    """Another leader with another clock."""
    told = Told()
    told.hear(START_US, enqueue(START_US, 1))
    told.hear(START_US - MINUTE, enqueue(START_US - SECOND, 2))
    assert (told.fold.append_us, told.fold.watermark_us) == (START_US, START_US - DISORDER_US)


def test_a_minute_that_ends_at_the_watermark_holds_its_last_second() -> None:
    told = Told()
    last_us = START_US + 59 * SECOND
    told.hear(last_us, enqueue(last_us, 1))
    told.fold.caught_up(START_US + MINUTE + DISORDER_US)
    panes, _ = told.collect()
    assert {size_s: record.pane.counts[ENQUEUED] for (size_s, _), record in panes.items()} == {1: 1, 60: 1}


def test_silence_at_the_end_of_the_log_closes_panes() -> None:
    told = Told()
    told.hear(START_US, enqueue(START_US, 1))
    assert told.collect()[0] == {}
    told.fold.caught_up(START_US + MINUTE + DISORDER_US - 1)
    assert told.collect()[0].keys() == {(1, START_US // SECOND)}
    told.fold.caught_up(START_US + MINUTE + DISORDER_US)
    assert told.collect()[0].keys() == {(60, START_US // SECOND)}
    told.fold.caught_up(START_US)
    assert told.fold.watermark_us == START_US + MINUTE, "a clock that goes back does not take time back"


def test_ticks_go_to_every_partition_after_the_panes_they_cover() -> None:
    fold = SourceFold(3, PARTITIONS)
    publisher = Publisher(fold)
    jobs = [f"j{n}" for n in range(400) if lane_of(f"acme/celery/j{n}") % PARTITIONS == 3]
    for offset, job_id in enumerate(jobs):
        event = job_event("enqueued", START_US + offset * SECOND, job_id=job_id, queue=f"q{offset % 30}", event_id=f"event-{offset:012d}")
        fold.fold([offset], [START_US + offset * SECOND], [value_of(event)])
    out = publisher.collect("active")
    assert len(out) == PARTITIONS
    for partition, records in enumerate(out):
        *panes, (last_key, last_value) = records
        assert last_key == b"t\x1f3"
        tick = msgspec.msgpack.decode(last_value or b"", type=Tick)
        assert (tick.partition, tick.version, tick.watermark_us, tick.state) == (3, fold.version, fold.watermark_us, "active")
        kinds = {key[:1] for key, _ in panes}
        assert kinds <= {b"p", b"g", b"x", b"s"}
        (watched,) = [msgspec.msgpack.decode(value or b"", type=WatchRecord).watched for key, value in panes if key == b"x\x1f3"]
        assert {panes_partition(attempt.series, PARTITIONS) for attempt in watched} <= {partition}
        for key, _ in [pane for pane in panes if pane[0][:1] != b"x"]:
            series = key.split(b"\x1f", 4)[4] if key[:1] in (b"p", b"s") else key.split(b"\x1f", 2)[2]
            assert panes_partition(series, PARTITIONS) == partition
    assert sum(len(records) for records in out) > PARTITIONS + 2 * len(jobs) - 60
    assert publisher.collect("active") == [[] for _ in range(PARTITIONS)], "nothing new, nothing told"
    assert all(len(records) == 1 for records in publisher.collect("idle")), "a new state is told"


def test_gauges_of_series_without_panes_are_told_once_a_minute() -> None:
    told = Told()
    told.hear(START_US, enqueue(START_US, 1))
    gauges = []
    for second in range(0, 181, 20):
        told.hear(START_US + second * SECOND, enqueue(START_US + second * SECOND, 1_000 + second, queue="other"))
        (records,) = told.publisher.collect("active")
        gauges += [(second, key.split(b"\x1f")[5]) for key, _ in records if key[:1] == b"g" and b"mail" in key]
    assert [second for second, _ in gauges] == [0, 60, 120, 180]


def test_notices_are_told_once_and_the_newest_wins() -> None:
    told = Told()

    def worker(at_us: int, busy: int) -> bytes:
        event = job_event("enqueued", at_us, event_id=f"worker-event-{at_us}-{busy}")
        event |= {"type": "worker.heartbeat.v1", "partitionkey": "acme/celery/w/w-1"}
        event["data"] = {"tenant": "acme", "system": "celery", "worker_id": "w-1", "busy": busy}
        return value_of(event)

    def busy() -> list[Any]:
        (records,) = told.publisher.collect("active")
        return [msgspec.msgpack.decode(value or b"")[1][2]["busy"] for key, value in records if key[:1] == b"w"]

    told.hear(START_US, worker(START_US, 1), worker(START_US + 1, 2), worker(START_US - 1, 3))
    assert busy() == [2]
    assert busy() == []
    told.hear(START_US, worker(START_US + 2, 4))
    assert busy() == [4]


# -- ledgers


def numbered(seq: int, at_us: int, epoch: str = "epoch-one") -> bytes:
    return value_of(job_event("enqueued", at_us, job_id="j1", event_id=f"event-{seq:012d}", numbered=(epoch, seq)))


def ledgers(records: list[Record]) -> list[LedgerRecord]:
    return [msgspec.msgpack.decode(value or b"", type=LedgerRecord) for key, value in records if key[:1] == b"l"]


def test_a_ledger_says_what_came_and_when_also_before_the_first_checkpoint() -> None:
    told = Told()
    told.hear(START_US, numbered(0, START_US), numbered(3, START_US), numbered(3, START_US))
    (first,) = ledgers(told.publisher.collect("active")[0])
    assert (first.epoch, first.source, first.tenant, first.system) == ("epoch-one", "/tests", "acme", "celery")
    assert (first.received, first.duplicates, first.missing, first.lost, first.clean, first.expected) == (2, 1, 2, 0, False, None)
    assert first.last_us == START_US
    assert ledgers(told.publisher.collect("active")[0]) == []
    told.hear(START_US + LEDGER_EVERY_US, numbered(1, START_US))
    (second,) = ledgers(told.publisher.collect("active")[0])
    assert (second.received, second.missing, second.last_us) == (3, 1, START_US + LEDGER_EVERY_US)
    told.hear(START_US + 2 * LEDGER_EVERY_US, enqueue(START_US, 1))
    assert ledgers(told.publisher.collect("active")[0]) == [], "nothing new of this one"


def stats(following: dict[int, int]) -> bytes:
    """What an emitter says it has sent: lane -> the number after the last."""
    event = job_event("enqueued", START_US, event_id="stats-event-0001")
    event |= {"type": "emitter.stats.v1", "partitionkey": "acme/celery/any"}
    said = {str(lane): number for lane, number in following.items()}
    event["data"] = {"tenant": "acme", "next": said, "emitted": 5, "dropped": 0, "spooled": 0, "clean": True, "epoch": "epoch-one"}
    return value_of(event)


def test_what_an_emitter_says_it_sent_is_expected() -> None:
    told = Told()
    told.hear(START_US, numbered(0, START_US), stats({lane_of("acme/celery/j1"): 5, 63: 0}))
    (ledger,) = ledgers(told.publisher.collect("active")[0])
    assert (ledger.received, ledger.missing, ledger.expected, ledger.clean) == (1, 4, 5, True)


def test_each_partition_expects_its_own_lanes() -> None:
    """The emitter says all its lanes to every partition."""
    fold = SourceFold(3, PARTITIONS)
    fold.fold([0], [START_US], [stats({3: 10, 4: 100, 11: 20, 12: 500})])
    (ledger,) = [ledger for records in Publisher(fold).collect("active") for ledger in ledgers(records)]
    assert (ledger.missing, ledger.expected) == (30, 30)


# -- what does not count


def test_a_number_that_came_before_counts_nothing_whatever_it_carries() -> None:
    told = Told()
    told.hear(START_US, numbered(0, START_US), value_of(job_event("started", START_US, job_id="j1", numbered=("epoch-one", 0))))
    assert told.fold.counters.duplicates == 1
    assert told.fold.read()["gauges"] == {next(iter(told.fold.lifecycles.table.by_key)): (0, 1)}


def test_an_event_without_number_is_known_by_its_id_for_65_minutes() -> None:
    told = Told()
    told.hear(START_US, enqueue(START_US, 1))
    told.hear(START_US + 65 * MINUTE, enqueue(START_US, 1))
    assert told.fold.counters.duplicates == 1
    told.hear(START_US + 65 * MINUTE + 1, enqueue(START_US, 1))
    assert told.fold.counters.duplicates == 1


def test_offsets_already_folded_are_skipped() -> None:
    told = Told()
    values = [enqueue(START_US, n) for n in range(4)]
    told.fold.fold([0, 1], [START_US] * 2, values[:2])
    told.fold.fold([0, 1, 2, 5], [START_US] * 4, [*values[:3], values[3]])
    assert (told.fold.version, told.fold.counters.events, told.fold.counters.duplicates) == (5, 4, 0)


def test_bad_events_are_rejected_one_by_one_and_the_good_ones_of_a_pack_count() -> None:
    told = Told()
    bad = orjson.loads(enqueue(START_US, 2)) | {"specversion": "9"}
    told.hear(START_US, b"not json", b"", value_of(orjson.loads(enqueue(START_US, 1)), bad, orjson.loads(enqueue(START_US, 3))))
    assert [(r.offset, [(i, reason) for i, reason, _ in r.faults]) for r in told.fold.rejected] == [
        (0, [(0, Reason.NOT_JSON)]), (1, [(0, Reason.NOT_JSON)]), (2, [(1, Reason.UNSUPPORTED_VERSION)]),
    ]  # fmt: skip
    assert (told.fold.counters.rejected, told.fold.counters.events) == (3, 2)
    assert len(told.fold.lifecycles.memory.open) == 2


@pytest.mark.parametrize("with_number", [True, False])
def test_an_event_in_the_wrong_partition_is_rejected(with_number: bool) -> None:
    partition = lane_of("acme/celery/j1") % PARTITIONS
    for of in range(PARTITIONS):
        fold = SourceFold(of, PARTITIONS)
        event = job_event("enqueued", START_US, job_id="j1", numbered=("epoch-one", 0) if with_number else None)
        fold.fold([0], [START_US], [value_of(event)])
        assert [fault for r in fold.rejected for _, fault, _ in r.faults] == ([] if of == partition else [Reason.WRONG_PARTITION])
        assert len(fold.lifecycles.memory.open) == (of == partition)


def test_an_event_in_the_wrong_partition_is_rejected_however_old_it_is() -> None:
    """It is not just another one that comes too late to count: nobody would hear of the emitter that misplaces its events."""
    partition = lane_of("acme/celery/j1") % PARTITIONS
    week_us = 7 * 86_400 * SECOND
    for of in range(PARTITIONS):
        fold = SourceFold(of, PARTITIONS)
        fold.caught_up(START_US + week_us)
        fold.fold([0], [START_US + week_us], [value_of(job_event("enqueued", START_US, job_id="j1"))])
        assert [fault for r in fold.rejected for _, fault, _ in r.faults] == ([] if of == partition else [Reason.WRONG_PARTITION])
        assert fold.counters.after_end == (of == partition)


def test_a_worker_event_in_a_lane_of_another_partition_is_rejected() -> None:
    event = job_event("enqueued", START_US, event_id="worker-event-0001") | {"epoch": "epoch-one", "lane": 12, "seq": 0}
    event |= {"type": "worker.online.v1", "data": {"tenant": "acme", "system": "celery", "worker_id": "w-1"}}
    for of in range(PARTITIONS):
        fold = SourceFold(of, PARTITIONS)
        fold.fold([0], [START_US], [value_of(event)])
        assert fold.counters.rejected == (of != 12 % PARTITIONS)


def test_an_event_from_the_future_counts_five_minutes_ahead_at_most() -> None:
    told = Told()
    told.hear(START_US, enqueue(START_US + FUTURE_US, 1), enqueue(START_US + FUTURE_US + MINUTE, 2), enqueue(START_US + FUTURE_US + 9 * MINUTE, 3))
    assert told.fold.counters.future_clamped == 2
    minutes: Any = told.fold.read()["minutes"]
    assert {start_s * SECOND: counts[0][ENQUEUED] for (_, start_s), counts in minutes.items()} == {START_US + FUTURE_US: 3}


def test_a_start_that_is_said_to_lie_after_the_end_counts_at_the_end() -> None:
    """Else any event could open panes years ahead, which no watermark would ever close."""
    told = Told()
    for number, kind in enumerate(["finished", "failed", "cancelled"] * 20):
        far_us = START_US + (number + 1) * 24 * 3600 * SECOND
        told.hear(START_US, value_of(job_event(kind, START_US, job_id=f"j{number}", started_at=far_us, event_id=f"event-{number:012d}")))
    minutes: Any = told.fold.read()["minutes"]
    assert [(start_s * SECOND, pane[0][STARTED]) for (_, start_s), pane in minutes.items()] == [(START_US, 60)]


def test_backfill_is_for_history() -> None:
    told = Told()
    told.hear(START_US, value_of(job_event("enqueued", START_US) | {"backfill": True}))
    assert told.fold.counters.backfill == 1
    assert told.fold.read() == {"minutes": {}, "open": {}, "gauges": {}}


@pytest.mark.parametrize("late", [MINUTE_PANES_KEPT_US, MINUTE_PANES_KEPT_US + 1])
def test_what_is_later_than_65_minutes_is_counted_as_such_and_opens_nothing(late: int) -> None:
    told = Told()
    told.hear(START_US, enqueue(START_US, 1))
    told.hear(START_US, enqueue(told.fold.watermark_us - late, 2))
    too_late = late > MINUTE_PANES_KEPT_US
    assert told.fold.counters.after_end == too_late
    assert len(told.fold.lifecycles.memory.open) == 2 - too_late


def test_a_transition_whose_pane_has_gone_is_counted_as_dropped() -> None:
    told = Told()
    told.hear(START_US, enqueue(START_US, 1))
    started_us = told.fold.watermark_us - MINUTE_PANES_KEPT_US - SECOND
    told.hear(START_US, value_of(job_event("finished", START_US, job_id="long", started_at=started_us)))
    assert told.fold.counters.late_dropped == 1


# -- bounds and reading


def test_classes_beyond_the_limit_are_counted_together_and_none_is_lost() -> None:
    told = Told(Limits(series=5))
    random = Random(5)
    for number in range(300):
        at_us = START_US + number * 10_000
        told.hear(at_us, enqueue(at_us, number, queue=random.choice(["a", "b"]), job_class=f"Class{random.randrange(40)}"))
    table = told.fold.lifecycles.table
    assert len(table.by_key) <= 5 + 2, "one __other__ per queue"
    assert {key.queue for key in table.by_key if key.job_class == OTHER} == {"a", "b"}
    minutes: Any = told.fold.read()["minutes"]
    assert sum(pane[0][ENQUEUED] for pane in minutes.values()) == 300
    assert sum(series.waiting for series in table.by_key.values()) == 300


@searching(30)
@given(st.integers(0, 2**32))
def test_reading_changes_nothing(seed: int) -> None:
    log = max(shuffled_and_duplicated(Random(seed), job_log(seed, 40)), key=len)
    watched, alone = SourceFold(0, 1), SourceFold(0, 1)
    publishers = Publisher(watched), Publisher(alone)
    for offset, (append_us, value) in enumerate(log):
        for fold in (watched, alone):
            fold.fold([offset], [append_us], [value])
        assert watched.read() == watched.read()
        if offset % 7 == 0:
            assert publishers[0].collect("active") == publishers[1].collect("active")
    assert watched.read() == alone.read()


def test_a_minute_is_the_sum_of_its_seconds() -> None:
    published, _, _ = converge(ARRANGEMENTS["in order"][0](Random(3), job_log(3, 100)), Random(3), crashes=False)
    seconds: defaultdict[tuple[bytes, int, int], Pane] = defaultdict(Pane)
    minutes: dict[tuple[bytes, int, int], Pane] = {}
    for key, record in published.panes.items():
        size_s, start_s, partition, series = parse_pane_key(key)
        if size_s == 60:
            minutes[series, start_s, partition] = record.pane
        else:
            merge(seconds[series, start_s // 60 * 60, partition], record.pane)
    # A start that only the end tells, minutes later, is in the minute alone: those minutes may hold more than their seconds.
    same = [place for place in minutes if minutes[place] == seconds[place]]
    assert len(same) > 0.8 * len(minutes)
    for place, pane in minutes.items():
        assert all(a >= b for a, b in zip(pane.counts, seconds[place].counts, strict=True)), (place, FIELDS)
