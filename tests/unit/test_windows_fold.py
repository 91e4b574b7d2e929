"""Stage 2's fold, case by case: what is told when, what is removed, which records do not count."""

from __future__ import annotations

import msgspec
import pytest
from jobtide.streams.events import Kind
from jobtide.streams.folds.notices import Notice
from jobtide.streams.folds.panes import Pane
from jobtide.streams.folds.records import Record, Tick, encode, panes_partition
from jobtide.streams.folds.watch import Watched, WatchRecord
from jobtide.streams.snapshots import HotWrite, ProgressSnapshot, SeriesSnapshot
from jobtide.streams.windows import WindowFold

from tests.properties.windows_judge import Count, Passed, Put, Told, field_of, series_name

MINUTE_S = 1_763_000_040  # a whole minute
SERIES = series_name(1)
SECOND_US = 1_000_000


class Log:
    """A fold that reads one record after another."""

    def __init__(self, sources: int = 0) -> None:
        self.fold = WindowFold(3, sources)
        self.next = 0

    def read(self, *batch: Told | Record) -> list[HotWrite]:
        """Fold the records as one call and return what changed."""
        records = [told if isinstance(told[0], bytes) else told.record() for told in batch]
        offsets = range(self.next, self.next + len(records))
        self.next += len(records)
        self.fold.fold([key for key, _ in records], [value for _, value in records], offsets)
        return self.fold.take_changes()


def finished(start_s: int, n: int = 1, source: int = 0, size_s: int = 1, version: int = 1, running: int = 0) -> Put:
    pane = Pane(counts=[0, 0, n, 0, 0, 0, 0, 0], ok_sum_us=n * 100, run_ok={233: n} if n else {})
    return Put(size_s, start_s, source, SERIES, version, pane, running)


def at(second: int, source: int = 0, version: int = 1) -> Passed:
    return Passed(source, second * SECOND_US, version)


def series(writes: list[HotWrite]) -> SeriesSnapshot | None:
    """The one series that was told; None if none was."""
    told = [w for w in writes if w.kind == "series"]
    assert len(told) <= 1
    if not told:
        return None
    assert (told[0].tenant, told[0].field) == ("acme", field_of(SERIES)) and told[0].value is not None
    return msgspec.json.decode(told[0].value, type=SeriesSnapshot)


def progress(writes: list[HotWrite]) -> ProgressSnapshot | None:
    told = [w for w in writes if w.kind == "progress"]
    if not told:
        return None
    assert told == writes[-1:] and (told[0].tenant, told[0].field) == ("", "3") and told[0].value is not None
    return msgspec.json.decode(told[0].value, type=ProgressSnapshot)


def finished_in(snapshot: SeriesSnapshot | None) -> list[int]:
    assert snapshot is not None
    return [snapshot.windows[name].finished for name in ("1m", "5m", "15m", "1h")]


def test_a_pane_counts_when_the_slowest_source_has_passed_its_end() -> None:
    log = Log()
    assert series(log.read(at(MINUTE_S, 0), at(MINUTE_S, 1), finished(MINUTE_S), finished(MINUTE_S + 1, 5, 1))) is None
    assert series(log.read(at(MINUTE_S + 9, 0), Passed(1, (MINUTE_S + 1) * SECOND_US - 1))) is None
    assert finished_in(series(log.read(Passed(1, (MINUTE_S + 1) * SECOND_US)))) == [1, 1, 1, 1]
    told = series(log.read(at(MINUTE_S + 2, 1)))
    assert finished_in(told) == [6, 6, 6, 6]
    assert told is not None and told.per_second == [(MINUTE_S, 1, 0), (MINUTE_S + 1, 5, 0)]


def test_when_a_minute_closes_its_own_pane_takes_over() -> None:
    """Here it holds more than its seconds, as after an event that came more than 180 s late."""
    log = Log()
    told = series(log.read(finished(MINUTE_S + 58), at(MINUTE_S + 59)))
    assert finished_in(told) == [1, 1, 1, 1]
    told = series(log.read(finished(MINUTE_S, 7, size_s=60), at(MINUTE_S + 60)))
    assert finished_in(told) == [1, 7, 7, 7]
    assert told is not None and told.windows["5m"].from_us == (MINUTE_S + 60 - 300) * SECOND_US


def test_minutes_leave_each_window_in_their_turn() -> None:
    log = Log()
    log.read(finished(MINUTE_S, 7, size_s=60), at(MINUTE_S + 60))
    seen = []
    for minutes in (5, 6, 15, 16, 60, 61):
        told = series(log.read(at(MINUTE_S + 60 * minutes)))
        seen.append(finished_in(told) if told else None)
    assert seen == [None, [0, 0, 7, 7], None, [0, 0, 0, 7], None, [0, 0, 0, 0]]


def test_a_late_revision_changes_the_windows_that_hold_its_pane() -> None:
    log = Log()
    log.read(finished(MINUTE_S - 300, 2, size_s=60), finished(MINUTE_S + 1, 1), at(MINUTE_S + 2))
    told = series(log.read(finished(MINUTE_S - 300, 5, size_s=60, version=2), finished(MINUTE_S + 1, 3, version=2)))
    assert finished_in(told) == [3, 8, 8, 8]


def test_what_no_window_can_hold_is_dropped() -> None:
    log = Log()
    log.read(at(MINUTE_S + 30))
    assert series(log.read(finished(MINUTE_S - 31), finished(MINUTE_S - 3660, size_s=60))) is None
    told = series(log.read(finished(MINUTE_S - 30), finished(MINUTE_S - 3600, size_s=60)))
    assert finished_in(told) == [1, 0, 0, 1]


def test_repeats_and_old_versions_change_nothing() -> None:
    log = Log()
    log.read(finished(MINUTE_S, 3, version=5, running=2), at(MINUTE_S + 1))
    assert log.read(finished(MINUTE_S, 3, version=5, running=2), finished(MINUTE_S, 9, version=4, running=7)) == []
    assert finished_in(series(log.read(finished(MINUTE_S, 4, version=5, running=2)))) == [4, 4, 4, 4]


def test_gauges_are_the_newest_word_of_each_source() -> None:
    log = Log()
    log.read(at(MINUTE_S))
    told = series(log.read(Count(0, SERIES, 5, 2, 1), Count(1, SERIES, 3, 4, 0), Count(0, SERIES, 4, 9, 9)))
    assert told is not None and (told.in_flight, told.waiting) == (6, 1)
    told = series(log.read(finished(MINUTE_S + 5, version=6, running=1)))  # a pane that is in no window yet
    assert told is not None and (told.in_flight, told.waiting) == (5, 0)
    assert told.at == MINUTE_S * SECOND_US and finished_in(told) == [0, 0, 0, 0]
    assert log.read(Count(1, SERIES, 4, 4, 0)) == []


def test_a_quiet_series_tells_its_zeros_once_and_is_removed_a_minute_later() -> None:
    log = Log()
    log.read(finished(MINUTE_S, 1, size_s=60, running=1), at(MINUTE_S + 60))
    log.read(Count(0, SERIES, 2, 0, 0))
    assert finished_in(series(log.read(at(MINUTE_S + 3600)))) == [0, 0, 0, 1]
    told = series(log.read(at(MINUTE_S + 3660)))
    assert finished_in(told) == [0, 0, 0, 0] and told is not None and told.in_flight == 0
    gone = [w for w in log.read(at(MINUTE_S + 3720)) if w.kind == "series"]
    assert gone == [HotWrite("series", "acme", field_of(SERIES), log.fold.version, None)]
    assert series(log.read(at(MINUTE_S + 3780))) is None
    assert finished_in(series(log.read(finished(MINUTE_S + 3780), at(MINUTE_S + 3781)))) == [1, 1, 1, 1]  # it comes back


def test_an_older_word_on_the_gauges_is_not_believed_long_after_the_newest() -> None:
    log = Log()
    log.read(Count(0, SERIES, 4, 2, 0), at(MINUTE_S))
    told = series(log.read(Count(0, SERIES, 5, 0, 0)))
    assert told is not None and told.in_flight == 0
    log.read(at(MINUTE_S + 3600))
    assert series(log.read(Count(0, SERIES, 4, 2, 0))) is None


def test_a_series_that_holds_jobs_stays() -> None:
    log = Log()
    log.read(finished(MINUTE_S, 1, size_s=60, running=1), at(MINUTE_S + 60))
    told = series(log.read(at(MINUTE_S + 7200)))
    assert told is not None and told.in_flight == 1 and finished_in(told) == [0, 0, 0, 0]
    assert series(log.read(at(MINUTE_S + 7260))) is None
    log.fold.touch_all()
    assert series(log.read()) == msgspec.structs.replace(told, at=(MINUTE_S + 7260) * SECOND_US, windows=_moved(told, 60 * SECOND_US))


def _moved(snapshot: SeriesSnapshot, by_us: int) -> dict[str, object]:
    replace = msgspec.structs.replace
    return {n: replace(w, from_us=w.from_us + by_us, to_us=w.to_us + by_us) for n, w in snapshot.windows.items()}


def test_every_write_carries_the_newest_offset_and_a_replay_does_not_lower_it() -> None:
    log = Log()
    assert log.fold.version == -1
    writes = log.read(finished(MINUTE_S), at(MINUTE_S + 1))
    assert {w.version for w in writes} == {1} and log.fold.version == 1
    key, value = finished(MINUTE_S).record()
    log.fold.fold([key], [value], [0])
    assert log.fold.version == 1 and log.fold.take_changes() == []


def test_progress_is_told_with_every_change_of_a_tick_and_after_what_it_promises() -> None:
    def tick(source: int, version: int, second: int, state: str, dropped: int = 0, rejected: int = 0) -> Record:
        watermark_us = second * SECOND_US
        return b"t\x1f%d" % source, encode(Tick(source, version, watermark_us, state, dropped, rejected))

    log = Log()
    log.read(finished(MINUTE_S))
    writes = log.read(tick(1, 8, MINUTE_S + 9, "active", 4, 2), tick(0, 5, MINUTE_S + 1, "idle", 3, 1))
    assert [w.kind for w in writes] == ["series", "progress"]
    told = progress(writes)
    assert told is not None and told.complete_until == (MINUTE_S + 1) * SECOND_US
    assert msgspec.to_builtins(told.sources) == {
        "0": {"watermark": (MINUTE_S + 1) * SECOND_US, "state": "idle"},
        "1": {"watermark": (MINUTE_S + 9) * SECOND_US, "state": "active"},
    }
    assert (told.partition, told.live_late_dropped, told.rejected) == (3, 7, 3)
    assert log.read(tick(0, 5, MINUTE_S + 1, "idle", 3, 1)) == []
    # A writer that came back from its checkpoint is behind: its watermark does not count, and its words are old.
    assert log.read(tick(0, 4, MINUTE_S - 5, "lagging", 1, 0)) == []
    told = progress(log.read(tick(0, 6, MINUTE_S, "lagging", 3, 1)))
    assert told is not None and told.sources["0"].state == "lagging"
    assert told.complete_until == (MINUTE_S + 1) * SECOND_US


def test_a_source_that_turns_up_behind_lowers_the_promise_but_not_the_windows() -> None:
    log = Log()
    log.read(finished(MINUTE_S), at(MINUTE_S + 10, 0))
    writes = log.read(at(MINUTE_S - 50, 1), finished(MINUTE_S + 2, 2, source=1))
    told, promise = series(writes), progress(writes)
    assert promise is not None and promise.complete_until == (MINUTE_S - 50) * SECOND_US
    assert finished_in(told) == [3, 3, 3, 3] and told is not None and told.at == (MINUTE_S + 10) * SECOND_US


def test_with_a_known_number_of_sources_nothing_is_told_before_all_have_ticked() -> None:
    log = Log(sources=2)
    writes = log.read(finished(MINUTE_S, running=4), at(MINUTE_S + 10, 0))
    promise = progress(writes)
    assert series(writes) is None and promise is not None and promise.complete_until == 0
    told = series(log.read(at(MINUTE_S + 1, 1)))
    assert finished_in(told) == [1, 1, 1, 1] and told is not None and told.in_flight == 4


@pytest.mark.parametrize("record", [(b"", b"x"), (b"v\x1fnew\x1fkind", b"x"), (finished(MINUTE_S).record()[0], None)])
def test_deletions_and_records_of_a_later_version_are_passed_over(record: Record) -> None:
    log = Log()
    log.read(finished(MINUTE_S), at(MINUTE_S + 1))
    assert log.read(record) == []
    assert log.fold.version == 2


def test_a_watermark_that_jumps_over_years_costs_what_there_is() -> None:
    log = Log()
    log.read(finished(MINUTE_S), finished(MINUTE_S, size_s=60), at(MINUTE_S + 61))
    far_s = MINUTE_S + 10 * 365 * 86_400
    assert finished_in(series(log.read(finished(far_s - 1, 2), at(far_s)))) == [2, 0, 0, 0]


def test_what_belongs_to_another_partition_changes_nothing() -> None:
    """From before `panes_partition` went by the queue: the series' own partition tells it, two would write the same fields."""
    home = panes_partition(SERIES, 8)
    fold, own = WindowFold((home + 1) % 8, partitions=8), WindowFold(home, partitions=8)
    name = SERIES.split(b"\x1f")
    watched = Watched(SERIES, "job-1", 1, "w1", True, (MINUTE_S - 3600) * SECOND_US, MINUTE_S * SECOND_US, gone="silent")
    records: list[Record] = [
        finished(MINUTE_S, running=3).record(),
        Count(0, SERIES, 2, 4, 5).record(),
        (b"w\x1f0\x1f" + b"\x1f".join(name[:4]), encode((1, Notice(Kind.WORKER_HEARTBEAT, MINUTE_S * SECOND_US, {})))),
        (b"q\x1f0\x1f" + b"\x1f".join(name[:4]) + b"\x1fsize", encode((1, Notice(Kind.QUEUE_SNAPSHOT, MINUTE_S * SECOND_US, {"waiting": 3})))),
        (b"x\x1f0", encode(WatchRecord(1, [watched], {SERIES: 7}))),
        at(MINUTE_S + 2).record(),
    ]
    for each in (fold, own):
        each.fold([key for key, _ in records], [value for _, value in records], range(len(records)))
    assert {write.kind for write in own.take_changes()} == {"series", "stuck", "workers", "queues", "progress"}
    assert {write.kind for write in fold.take_changes()} == {"progress"}
    assert not list(fold.all_series()) and not list(fold.stuck_attempts())


def test_minutes_that_are_read_again_behind_the_watermark_teach_once() -> None:
    """As after a restart: it is known how far the sources had come before the first pane is read."""
    log = Log()
    log.read(at(MINUTE_S + 600))
    for minute in range(3):
        log.read(finished(MINUTE_S + 60 * minute, 2, size_s=60), at(MINUTE_S + 600))
    log.read(finished(MINUTE_S + 120, 5, size_s=60, version=2))  # a revision
    known = log.fold.triage.baselines.by_series[SERIES]
    assert (known.learned_s, sum(known.run.samples.values())) == (MINUTE_S + 120, 6)
