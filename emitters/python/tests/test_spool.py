"""Events on disk: they survive the process, go out under their own epoch and numbers, stay within their bound, and no hook
waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jobtide_emitter
import pytest
from jobtide_emitter.ring import Record
from jobtide_emitter.spool import segments
from jobtide_emitter.transports.memory import MemoryTransport
from test_flusher import until

EVENTS = 3000


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def spooling(memory: MemoryTransport, spool_dir: Path, **more: Any) -> jobtide_emitter.Emitter:
    settings = {"queue_events": 400, "linger_ms": 0, "flush_timeout_ms": 300, **more}
    return jobtide_emitter.configure(make_transport=lambda: memory, spool_dir=str(spool_dir), **settings)


def emit(emitter: jobtide_emitter.Emitter, count: int = EVENTS, pause_s: float = 0.0) -> None:
    for number in range(count):
        emitter.job_enqueued(emitter.job("cron", "q", "c", str(number)))
        if pause_s:
            time.sleep(pause_s)


def jobs(memory: MemoryTransport) -> list[dict[str, Any]]:
    return memory.of("job.enqueued")


def numbers(events: list[dict[str, Any]]) -> Counter[tuple[str, int, int]]:
    return Counter((event["epoch"], event["lane"], event["seq"]) for event in events)


def without_holes(events: list[dict[str, Any]]) -> bool:
    seen: dict[tuple[str, int], set[int]] = {}
    for event in events:
        seen.setdefault((event["epoch"], event["lane"]), set()).add(event["seq"])
    return all(there == set(range(max(there) + 1)) for there in seen.values())


def files(spool_dir: Path) -> list[Path]:
    return sorted(spool_dir.glob("*.spool")) if spool_dir.exists() else []


def records(*raws: bytes) -> list[Record]:
    return [Record(order, 5, order, raw) for order, raw in enumerate(raws)]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    segment = segments.create(tmp_path / "a.spool", "feed")
    assert segment is not None
    segment.append(records(b'{"a":1}', b'{"a":2}'))
    segment.append([Record(9, -1, 7, b"{}")])
    assert [(r.lane, r.seq, r.raw) for r in segment.records()] == [(5, 0, b'{"a":1}'), (5, 1, b'{"a":2}'), (-1, 7, b"{}")]
    assert (tmp_path / "a.spool").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lost", [1, 5, 12, 24, 30])
def test_a_torn_tail_is_ignored(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "a.spool"
    segment = segments.create(path, "feed")
    assert segment is not None
    segment.append(records(b'{"a":1}', b'{"a":2}'))
    segment.leave()
    os.truncate(path, path.stat().st_size - lost)
    adopted = segments.adopt(path)
    assert adopted is not None and adopted.epoch == "feed"
    assert [r.raw for r in adopted.records()] == [b'{"a":1}', b'{"a":2}'][: 1 if lost <= 24 else 0]


@pytest.mark.parametrize("at", [8, 14, 20, 26, 33])
def test_a_damaged_record_ends_the_file(tmp_path: Path, at: int) -> None:
    path = tmp_path / "a.spool"
    segment = segments.create(path, "feed")
    assert segment is not None
    segment.append(records(b'{"a":1}', b'{"a":2}'))
    segment.leave()
    data = bytearray(path.read_bytes())
    data[-at] ^= 0x10
    path.write_bytes(data)
    adopted = segments.adopt(path)
    assert adopted is not None
    assert [r.raw for r in adopted.records()] == ([b'{"a":1}'] if at <= 24 else [])


@pytest.mark.parametrize("content", [b"", b"JTSP", b"JTSPOOL1", b"JTSPOOL1\x10abc", b"something else that lies there"])
def test_a_file_without_a_header_holds_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.spool"
    path.write_bytes(content)
    adopted = segments.adopt(path)
    assert adopted is not None
    assert adopted.records() == []


def test_a_crowded_ring_goes_to_disk_and_all_of_it_is_delivered_once_the_receiver_is_back(
    memory: MemoryTransport, spool_dir: Path, no_errors: None
) -> None:
    memory.down = True
    emitter = spooling(memory, spool_dir)
    emit(emitter, pause_s=0.0002)
    assert emitter.ring.events <= 400
    assert emitter.spooled > EVENTS - 500
    assert files(spool_dir)
    memory.down = False
    until(lambda: emitter.flush(1000) and not files(spool_dir))
    assert numbers(jobs(memory)) == Counter(dict.fromkeys(numbers(jobs(memory)), 1))
    assert len(jobs(memory)) == EVENTS
    assert emitter.ring.dropped == 0
    emitter.close()
    assert without_holes(memory.events)
    (said,) = {event["data"]["spooled"] for event in memory.of("emitter.stats") if event["data"]["clean"]}
    assert said == emitter.spooled


class Slow(MemoryTransport):
    """Works, but slower than events come."""

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        time.sleep(0.4)
        return super().deliver(records, epoch)


def test_flush_waits_for_what_is_in_the_spool(spool_dir: Path) -> None:
    memory = Slow()
    emitter = spooling(memory, spool_dir)
    emit(emitter, pause_s=0.0002)
    assert emitter.spooled > 1000
    assert emitter.flush(20_000)
    assert len(jobs(memory)) == EVENTS


def test_the_bound_holds_and_what_is_beyond_it_is_a_counted_hole(memory: MemoryTransport, spool_dir: Path) -> None:
    memory.down = True
    emitter = spooling(memory, spool_dir, spool_bytes=1 << 20)
    for number in range(9000):
        emitter.job_enqueued(emitter.job("cron", "q", "c", f"{number}-{'x' * 200}"))
        if number % 20 == 0:
            assert sum(path.stat().st_size for path in files(spool_dir)) <= 1 << 20
            time.sleep(0.001)
    assert emitter.ring.dropped > 1000
    memory.down = False
    until(lambda: emitter.flush(1000) and not files(spool_dir))
    assert len(jobs(memory)) == 9000 - emitter.ring.dropped


def test_a_disk_that_hangs_delays_no_hook(memory: MemoryTransport, spool_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.down = True
    free = threading.Event()
    append = segments.Segment.append

    def hanging(self: segments.Segment, batch: list[Record]) -> None:
        free.wait(20)
        append(self, batch)

    monkeypatch.setattr(segments.Segment, "append", hanging)
    emitter = spooling(memory, spool_dir)
    began = time.monotonic()
    emit(emitter)
    assert time.monotonic() - began < 3
    assert emitter.ring.dropped > 0
    free.set()
    memory.down = False
    until(lambda: emitter.flush(1000) and not files(spool_dir))
    assert len(jobs(memory)) == EVENTS - emitter.ring.dropped


def test_a_disk_that_is_full_costs_events_and_nothing_else(
    memory: MemoryTransport, spool_dir: Path, monkeypatch: pytest.MonkeyPatch, no_errors: None
) -> None:
    memory.down = True

    def full(self: segments.Segment, batch: list[Record]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segments.Segment, "append", full)
    emitter = spooling(memory, spool_dir)
    emit(emitter, pause_s=0.0002)
    assert emitter.spooled == 0
    memory.down = False
    until(lambda: emitter.flush(1000) and not files(spool_dir))
    assert len(jobs(memory)) == EVENTS - emitter.ring.dropped


def test_a_directory_that_cannot_be_made_costs_events_and_nothing_else(memory: MemoryTransport, tmp_path: Path, no_errors: None) -> None:
    (tmp_path / "file").write_text("")
    memory.down = True
    emitter = spooling(memory, tmp_path / "file" / "spool")
    emit(emitter, pause_s=0.0002)
    memory.down = False
    until(lambda: emitter.flush(1000))
    assert len(jobs(memory)) == EVENTS - emitter.ring.dropped


CHILD = """
import os, sys, time
import jobtide_emitter
from jobtide_emitter.transports.memory import MemoryTransport
memory = MemoryTransport(); memory.down = True
emitter = jobtide_emitter.configure(make_transport=lambda: memory, spool_dir=sys.argv[1], queue_events=400, flush_timeout_ms=200)
for number in range(1000):
    emitter.job_enqueued(emitter.job("cron", "q", "c", str(number)))
    time.sleep(0.0002)
{end}
"""


def child(spool_dir: Path, end: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CHILD.format(end=end), str(spool_dir)], stdout=subprocess.PIPE, text=True)


def test_the_next_process_delivers_what_a_killed_one_left(memory: MemoryTransport, spool_dir: Path) -> None:
    process = child(spool_dir, "print(emitter.ring.epoch, emitter.spooled, flush=True); time.sleep(60)")
    assert process.stdout is not None
    epoch, spooled = process.stdout.readline().split()
    emitter = spooling(memory, spool_dir)
    emit(emitter, 1)
    assert emitter.flush(5000)
    assert len(jobs(memory)) == 1  # the file's writer lives
    process.send_signal(signal.SIGKILL)
    process.wait()
    emitter = spooling(memory, spool_dir)
    emit(emitter, 1)
    until(lambda: not files(spool_dir))
    left = [event for event in jobs(memory) if event["epoch"] == epoch]
    assert len(left) == int(spooled) > 400
    assert set(numbers(left).values()) == {1}


def test_a_process_that_ends_in_order_leaves_everything_on_disk(memory: MemoryTransport, spool_dir: Path) -> None:
    process = child(spool_dir, "print(emitter.ring.epoch, flush=True)")
    out, _ = process.communicate(timeout=20)
    emitter = spooling(memory, spool_dir)
    emit(emitter, 1)
    until(lambda: not files(spool_dir))
    left = [event for event in jobs(memory) if event["epoch"] == out.strip()]
    assert sorted(int(event["subject"]) for event in left) == list(range(1000))


def test_the_parent_delivers_what_a_forked_child_left(memory: MemoryTransport, spool_dir: Path) -> None:
    memory.down = True
    emitter = spooling(memory, spool_dir)
    emit(emitter, 50)
    pid = os.fork()
    if pid == 0:
        try:
            emit(emitter, 700, 0.0002)
            emitter.flush()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert files(spool_dir)
    memory.down = False
    emitter._spool._next_look = 0.0  # type: ignore[union-attr]  # not in ten seconds, now
    emit(emitter, 1)
    until(lambda: not files(spool_dir) and emitter.flush(1000))
    by_epoch = Counter(event["epoch"] for event in jobs(memory))
    assert by_epoch.pop(emitter.ring.epoch) == 51
    assert list(by_epoch.values()) == [700]


def test_files_of_another_target_are_left_alone(memory: MemoryTransport, spool_dir: Path) -> None:
    spool_dir.mkdir()
    other = segments.create(spool_dir / "0badcafe-feed-1.spool", "feed")
    assert other is not None
    other.append(records(b"{}"))
    other.leave()
    emitter = spooling(memory, spool_dir)
    emit(emitter, 1)
    assert emitter.flush(5000)
    assert [path.name for path in files(spool_dir)] == ["0badcafe-feed-1.spool"]


def test_a_fork_does_not_keep_the_files_of_a_parent_that_died(spool_dir: Path) -> None:
    """A lock belongs to all who inherited the file: a child that outlives the parent must have let go of it."""
    end = "emitter.flush()\nif os.fork() == 0:\n    time.sleep(60)\nprint(len(os.listdir(sys.argv[1])), flush=True)\nos._exit(0)"
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(end=end), str(spool_dir)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None and int(process.stdout.readline()) > 0
        process.wait(20)
        memory = MemoryTransport()
        emitter = spooling(memory, spool_dir)
        emit(emitter, 1)
        until(lambda: not files(spool_dir))
        assert len(jobs(memory)) >= 1001
    finally:
        os.killpg(process.pid, signal.SIGKILL)
