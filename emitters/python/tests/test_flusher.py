"""Delivery: retries under the same numbers, bounded waits, statistics, and an end that leaves nothing behind."""

import threading
import time
from collections.abc import Callable, Sequence

import jobtide_emitter
import pytest
from jobtide_emitter import Emitter, guard
from jobtide_emitter.errors import TransportDown
from jobtide_emitter.ring import Record
from jobtide_emitter.transports.memory import MemoryTransport


def until(true: Callable[[], object], deadline_s: float = 10.0) -> None:
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, "not within the deadline"
        time.sleep(0.005)


def enqueue(emitter: Emitter, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        emitter.job_enqueued(emitter.job("cron", "q", "c", str(number)))


def numbers(memory: MemoryTransport) -> list[str]:
    return [event["subject"] for event in memory.events if event["type"] == "job.enqueued.v1"]


def configured(memory: MemoryTransport, **settings: object) -> Emitter:
    return jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, **settings)


def test_events_leave_by_themselves(emitter: Emitter, memory: MemoryTransport) -> None:
    enqueue(emitter, 3)
    until(lambda: len(numbers(memory)) == 3)


def test_events_that_come_together_leave_together(memory: MemoryTransport) -> None:
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=500)
    job = emitter.job("cron", "q", "c", "1")
    for _ in range(50):
        emitter.job_enqueued(job)
    assert emitter.flush(5000)
    assert [len(pack.records) for pack in memory.packs] == [50]


def test_an_outage_loses_nothing(memory: MemoryTransport) -> None:
    emitter = configured(memory)
    memory.down = True
    enqueue(emitter, 100)
    until(lambda: emitter._flusher.down)
    memory.down = False
    until(lambda: len(numbers(memory)) == 100)
    assert emitter.flush(5000)
    assert emitter.ring.dropped == 0


class Forgetful(MemoryTransport):
    """Delivers everything, but has no receipt for some until it is asked again."""

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        super().deliver(records, epoch)
        return [record for record in records if record.order % 3 == 0] if len(records) > 20 else []


def test_what_has_no_receipt_goes_again_under_its_number() -> None:
    memory = Forgetful()
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=300)
    enqueue(emitter, 60)
    assert emitter.flush(5000)
    sent = [(event["epoch"], event["lane"], event["seq"]) for event in memory.events]
    assert len(set(sent)) == 60
    assert len(sent) == 80


class Broken(MemoryTransport):
    """Raises what no transport should, three times."""

    left = 3

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        if self.left:
            self.left -= 1
            raise ZeroDivisionError("a bug in a transport")
        return super().deliver(records, epoch)


def test_a_bug_in_a_transport_does_not_end_the_thread() -> None:
    memory = Broken()
    emitter = configured(memory)
    enqueue(emitter, 5)
    until(lambda: len(numbers(memory)) == 5)
    assert guard.sites["flusher.deliver"].errors == 3


def test_flush_waits_for_the_receipt_of_everything_before_it(emitter: Emitter, memory: MemoryTransport) -> None:
    for round_ in range(50):
        enqueue(emitter, 2, first=round_ * 2)
        assert emitter.flush(5000)
        assert len(numbers(memory)) == (round_ + 1) * 2


def test_flush_gives_up_in_time_and_at_once_when_delivery_is_known_to_fail(memory: MemoryTransport) -> None:
    emitter = configured(memory)
    memory.down = True
    enqueue(emitter, 1)
    until(lambda: emitter._flusher.down)
    began = time.monotonic()
    assert not emitter.flush(5000)
    assert time.monotonic() - began < 1.0


class Stuck(MemoryTransport):
    """Answers after the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        self.over.wait(30)
        raise TransportDown("too late")


def test_flush_and_close_keep_to_their_time_when_the_receiver_hangs() -> None:
    stuck = Stuck()
    emitter = configured(stuck)
    enqueue(emitter, 1)
    began = time.monotonic()
    assert not emitter.flush(200)
    assert 0.15 < time.monotonic() - began < 1.0
    emitter.close(200)
    assert time.monotonic() - began < 2.0
    stuck.over.set()


class Slow(MemoryTransport):
    """Answers late, and then well: a broker that has just started, or whose machine is busy."""

    late_s = 3.0

    def connect(self) -> None:
        time.sleep(self.late_s)
        self.late_s = 0.0


def test_a_process_that_ends_while_the_receiver_is_slow_has_told_everything() -> None:
    """Three seconds of a stopped broker cost each short process all or some of its events when it waited for two."""
    slow = Slow()
    emitter = configured(slow)
    enqueue(emitter, 3)
    emitter.close()
    assert numbers(slow) == ["0", "1", "2"]
    assert {event["data"]["clean"] for event in slow.of("emitter.stats")} == {True}


def test_hooks_go_on_while_the_receiver_hangs_and_memory_is_bounded() -> None:
    stuck = Stuck()
    emitter = configured(stuck, queue_events=500, queue_bytes=1 << 20)
    longest = 0.0
    for number in range(5000):
        began = time.perf_counter()
        enqueue(emitter, 1, first=number)
        longest = max(longest, time.perf_counter() - began)
    assert emitter.ring.events <= 500
    assert emitter.ring.dropped >= 5000 - 500 - 2000  # the rest fits into the window
    assert longest < 0.25
    stuck.over.set()


def test_an_outage_is_logged_once(memory: MemoryTransport, caplog: pytest.LogCaptureFixture) -> None:
    emitter = configured(memory)
    memory.down = True
    enqueue(emitter, 1)
    until(lambda: emitter._flusher.down)
    for _ in range(3):
        emitter.flush(120)
    assert caplog.text.count("wait in the buffer") == 1


def test_statistics_count_what_was_sent(memory: MemoryTransport) -> None:
    emitter = configured(memory, stats_ms=100)
    enqueue(emitter, 200)
    until(lambda: memory.of("emitter.stats"))
    emitter.close()
    epoch = emitter.ring.epoch
    arrived: dict[int, int] = {}
    for event in memory.events:
        assert event["epoch"] == epoch
        arrived[event["lane"]] = arrived.get(event["lane"], 0) + 1
    clean = [event["data"] for event in memory.of("emitter.stats") if event["data"]["clean"]]
    said = {int(lane): following for data in clean for lane, following in data["next"].items()}
    assert said == arrived
    for event in memory.of("emitter.stats"):
        assert {int(lane) % 8 for lane in event["data"]["next"]} == {event["lane"] % 8}
    assert clean[-1]["emitted"] == len(memory.events)


def test_an_idle_process_repeats_no_statistics(memory: MemoryTransport) -> None:
    emitter = configured(memory, stats_ms=100)
    enqueue(emitter, 1)
    until(lambda: memory.of("emitter.stats"))
    count = len(memory.of("emitter.stats"))
    time.sleep(0.4)  # four intervals in which nothing may come
    assert len(memory.of("emitter.stats")) == count == 1
    emitter.close()


def test_close_tells_of_drops(memory: MemoryTransport) -> None:
    emitter = configured(memory, queue_events=100, queue_bytes=1 << 20)
    memory.down = True
    enqueue(emitter, 3000)
    until(lambda: emitter._flusher.down)
    memory.down = False
    until(lambda: emitter.flush(1000))
    emitter.close()
    data = memory.of("emitter.stats")[-1]["data"]
    assert data["dropped"] == emitter.ring.dropped > 0
    assert data["emitted"] - data["dropped"] == len(memory.events)
    assert sum(sum(e["data"]["next"].values()) for e in memory.of("emitter.stats")) == data["emitted"]


def test_close_ends_thread_and_transport_and_turns_it_off(emitter: Emitter, memory: MemoryTransport) -> None:
    enqueue(emitter, 1)
    emitter.close()
    assert memory.closed
    assert emitter._flusher._thread is not None
    emitter._flusher._thread.join(5)
    assert not emitter._flusher._thread.is_alive()
    count = len(memory.events)
    enqueue(emitter, 1)
    assert len(memory.events) == count
