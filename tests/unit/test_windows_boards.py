"""Workers, queues and ledgers as stage 2 puts them together from what each source partition says."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
from jobtide.streams.events import Kind
from jobtide.streams.folds.notices import Notice
from jobtide.streams.folds.records import LedgerRecord, Record, Tick, encode
from jobtide.streams.snapshots import HotWrite, LedgerSnapshot, QueueSnapshot, WorkerSnapshot
from jobtide.streams.windows import WindowFold

NOW_US = 1_763_000_040_000_000
SECOND_US, HOUR_US = 1_000_000, 3_600_000_000


def worker(source: int, version: int, kind: Kind, after_s: int, **data: Any) -> Record:
    notice = Notice(int(kind), NOW_US + after_s * SECOND_US, {"tenant": "acme", **data})
    return b"w\x1f%d\x1facme\x1fdefault\x1fcelery\x1fhost:1" % source, encode((version, notice))


def queue(source: int, version: int, kind: Kind, after_s: int, **data: Any) -> Record:
    about = b"size" if kind == Kind.QUEUE_SNAPSHOT else b"pause"
    key = b"q\x1f%d\x1facme\x1fdefault\x1fcelery\x1femails\x1f%b" % (source, about)
    return key, encode((version, Notice(int(kind), NOW_US + after_s * SECOND_US, data)))


def ledger(source: int, version: int, received: int, last_us: int = NOW_US) -> Record:
    record = LedgerRecord(version, "ep-1", "//host/1", "acme", "celery", received, 2, 1, 0, False, last_us, None)
    return b"l\x1f%d\x1fep-1" % source, encode(record)


def at(us: int) -> Record:
    return b"t\x1f0", encode(Tick(0, 0, us, "active"))


def read(fold: WindowFold, *records: Record) -> list[HotWrite]:
    first = fold.version + 1
    fold.fold([key for key, _ in records], [value for _, value in records], range(first, first + len(records)))
    return [write for write in fold.take_changes() if write.kind != "progress"]


def told(*records: Record) -> HotWrite:
    """The one thing told of the records."""
    writes = read(WindowFold(0), *records)
    assert len(writes) == 1
    return writes[0]


def the_worker(*records: Record) -> WorkerSnapshot:
    write = told(*records)
    assert (write.kind, write.tenant, write.field) == ("workers", "acme", "default\x1fcelery\x1fhost:1")
    return msgspec.json.decode(write.value or b"", type=WorkerSnapshot)


def the_queue(*records: Record) -> QueueSnapshot:
    write = told(*records)
    assert (write.kind, write.tenant, write.field) == ("queues", "acme", "default\x1fcelery\x1femails")
    return msgspec.json.decode(write.value or b"", type=QueueSnapshot)


def job(number: int, **more: Any) -> dict[str, Any]:
    return {"queue": "emails", "job_id": f"j{number}", "attempt": 1, **more}


def test_a_worker_runs_what_all_its_slices_say_and_is_what_the_newest_says() -> None:
    slices = [
        worker(0, 9, Kind.WORKER_HEARTBEAT, 0, pid=1, busy=1, running=[job(1, started_at="x", started_us=7)]),
        worker(1, 3, Kind.WORKER_HEARTBEAT, 5, pid=2, busy=2, hostname="h", queues=["a"], running=[job(2)]),
        worker(2, 5, Kind.WORKER_HEARTBEAT, 5, pid=2, busy=2, hostname="h", queues=["a"], running=[job(2), job(3)]),
    ]
    expected = WorkerSnapshot(
        tenant="acme", environment="default", system="celery", worker_id="host:1", status="busy",
        last_seen_us=NOW_US + 5 * SECOND_US, hostname="h", pid=2, queues=["a"], busy=2,
        running=[job(1, started_at="x"), job(2), job(3)],
    )  # fmt: skip
    for order in permutations(slices):
        assert the_worker(*order) == expected


def test_the_state_of_a_worker() -> None:
    beat, running = Kind.WORKER_HEARTBEAT, [job(1)]
    assert the_worker(worker(0, 1, Kind.WORKER_ONLINE, 0)).status == "idle"
    assert the_worker(worker(0, 1, beat, 0, busy=1)).status == "busy"
    assert the_worker(worker(0, 1, beat, 0), worker(1, 1, beat, -1, running=running)).status == "busy"
    assert the_worker(worker(0, 1, beat, 0, status="quiet", busy=1)).status == "quiet"
    assert the_worker(worker(0, 1, Kind.WORKER_STOPPING, 0, status="busy")).status == "stopping"
    gone = the_worker(worker(0, 1, beat, 0, running=running), worker(1, 1, Kind.WORKER_OFFLINE, 1))
    assert (gone.status, gone.running) == ("offline", [])
    assert the_worker(worker(0, 1, Kind.WORKER_OFFLINE, 0), worker(1, 1, beat, 1)).status == "idle"  # it came back
    same_moment = worker(0, 1, Kind.WORKER_OFFLINE, 0), worker(1, 1, Kind.WORKER_STOPPING, 0)
    assert the_worker(*same_moment).status == "offline"


def test_an_older_version_of_a_slice_changes_nothing() -> None:
    fold = WindowFold(0)
    assert len(read(fold, worker(0, 5, Kind.WORKER_HEARTBEAT, 5, busy=1))) == 1
    assert read(fold, worker(0, 5, Kind.WORKER_HEARTBEAT, 5, busy=1), worker(0, 4, Kind.WORKER_OFFLINE, 9)) == []


def test_a_worker_is_forgotten_after_a_day() -> None:
    fold = WindowFold(0)
    read(fold, worker(0, 1, Kind.WORKER_HEARTBEAT, 0), at(NOW_US))
    assert read(fold, at(NOW_US + 24 * HOUR_US)) == []
    gone = read(fold, at(NOW_US + 24 * HOUR_US + 60 * SECOND_US))
    assert [(write.kind, write.field, write.value) for write in gone] == [("workers", "default\x1fcelery\x1fhost:1", None)]
    fold.touch_all()
    assert read(fold) == []


def test_a_queue_is_paused_if_the_newest_word_says_so() -> None:
    size, paused, resumed = Kind.QUEUE_SNAPSHOT, Kind.QUEUE_PAUSED, Kind.QUEUE_RESUMED
    assert the_queue(queue(0, 1, size, 0, ready=3)).paused is None
    assert the_queue(queue(0, 1, size, 0, ready=3, paused=True)).paused is True
    assert the_queue(queue(0, 1, paused, 0)).paused is True
    assert the_queue(queue(0, 1, resumed, 0), queue(0, 1, size, -1, ready=3, paused=True)).paused is False
    assert the_queue(queue(0, 1, paused, 0), queue(0, 2, size, 1, ready=3, paused=False)).paused is False
    assert the_queue(queue(0, 1, paused, 0), queue(0, 2, size, 1, ready=3)).paused is True  # it reports no pauses
    assert the_queue(queue(0, 7, paused, 0), queue(1, 1, resumed, 1)).paused is False


def test_an_older_version_of_a_queue_changes_nothing() -> None:
    fold = WindowFold(0)
    assert len(read(fold, queue(0, 5, Kind.QUEUE_PAUSED, 0))) == 1
    assert read(fold, queue(0, 5, Kind.QUEUE_PAUSED, 0), queue(0, 4, Kind.QUEUE_RESUMED, 9)) == []


def test_the_counters_of_a_queue_are_those_of_its_newest_snapshot() -> None:
    old = queue(1, 9, Kind.QUEUE_SNAPSHOT, 0, ready=9, retry=1)
    new = queue(0, 1, Kind.QUEUE_SNAPSHOT, 3, ready=4, oldest_ready_at="x", oldest_ready_us=5)
    expected = QueueSnapshot(
        tenant="acme", environment="default", system="celery", queue="emails", at_us=NOW_US + 3 * SECOND_US, ready=4,
        oldest_ready_at="x", paused=True,
    )  # fmt: skip
    for order in permutations([old, new, queue(0, 1, Kind.QUEUE_PAUSED, 9)]):
        assert the_queue(*order) == expected


def test_a_queue_is_forgotten_a_day_after_its_last_word() -> None:
    fold = WindowFold(0)
    read(fold, queue(0, 1, Kind.QUEUE_PAUSED, 0), queue(0, 2, Kind.QUEUE_SNAPSHOT, 3600, ready=1), at(NOW_US))
    assert read(fold, at(NOW_US + 25 * HOUR_US)) == []
    gone = read(fold, at(NOW_US + 25 * HOUR_US + 60 * SECOND_US))
    assert [(write.kind, write.value) for write in gone] == [("queues", None)]


def test_a_ledger_line_per_source_and_epoch() -> None:
    fold = WindowFold(0)
    first, second = read(fold, ledger(0, 1, 10), ledger(1, 1, 20))
    assert (first.kind, first.tenant, first.field) == ("ledger", "acme", "0\x1fep-1")
    line = msgspec.json.decode(second.value or b"", type=LedgerSnapshot)
    assert line == LedgerSnapshot(1, "ep-1", "//host/1", "acme", "celery", 20, 2, 1, 0, NOW_US, False, None)
    assert read(fold, ledger(0, 1, 10), ledger(1, 0, 5)) == []
    assert [write.field for write in read(fold, ledger(1, 2, 21))] == ["1\x1fep-1"]


def test_a_ledger_is_forgotten_when_it_has_not_changed_for_65_minutes() -> None:
    fold = WindowFold(0)
    read(fold, at(NOW_US), ledger(0, 1, 10, NOW_US - HOUR_US))
    read(fold, at(NOW_US + HOUR_US), ledger(0, 2, 11, NOW_US))
    assert read(fold, at(NOW_US + 2 * HOUR_US + 300 * SECOND_US)) == []
    gone = read(fold, at(NOW_US + 2 * HOUR_US + 360 * SECOND_US))
    assert [(write.kind, write.field, write.value) for write in gone] == [("ledger", "0\x1fep-1", None)]


def test_an_old_ledger_read_before_the_first_tick_goes_with_it() -> None:
    fold = WindowFold(0)
    read(fold, ledger(0, 1, 10, NOW_US - 2 * HOUR_US))
    assert [write.value for write in read(fold, at(NOW_US))] == [None]
    fold = WindowFold(0)
    read(fold, ledger(0, 1, 10, NOW_US - HOUR_US))
    assert read(fold, at(NOW_US)) == []


def test_after_touch_all_everything_is_told_again() -> None:
    fold = WindowFold(0)
    records = worker(0, 1, Kind.WORKER_ONLINE, 0), queue(0, 1, Kind.QUEUE_PAUSED, 0), ledger(0, 1, 10)
    before = read(fold, *records)
    fold.touch_all()
    assert read(fold) == before and len(before) == 3
