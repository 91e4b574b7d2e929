"""The relay: what a short-lived child emits arrives under the parent's numbers, even if the child is killed."""

import os
import select
import signal
import time
from collections.abc import Callable

import pytest
from jobtide_emitter import Emitter
from jobtide_emitter.relay import MAX_WAITING, ParentGone, Relay
from jobtide_emitter.transports.memory import MemoryTransport
from test_fork import ended, enqueue, forked


def subjects(memory: MemoryTransport) -> list[str]:
    return [event["subject"] for event in memory.events if event["type"] == "job.enqueued.v1"]


def close(emitter: Emitter) -> None:
    emitter.close(5000)


def test_events_of_children_get_the_parents_numbers(emitter: Emitter, memory: MemoryTransport) -> None:
    emitter.open_relay()
    for number in range(20):
        assert forked(lambda number=number: enqueue(emitter, f"{number}-a", f"{number}-b")) == 0  # type: ignore[misc]
    close(emitter)
    assert sorted(subjects(memory)) == sorted(f"{n}-{x}" for n in range(20) for x in "ab")
    assert {event["epoch"] for event in memory.events} == {emitter.ring.epoch}


def test_what_was_emitted_before_a_sigkill_arrives(emitter: Emitter, memory: MemoryTransport) -> None:
    emitter.open_relay()
    for number in range(10):

        def child(number: int = number) -> None:
            enqueue(emitter, str(number))
            os.kill(os.getpid(), signal.SIGKILL)

        assert forked(child) == -signal.SIGKILL
    close(emitter)
    assert sorted(subjects(memory)) == sorted(map(str, range(10)))


def test_a_burst_larger_than_the_socket_arrives_whole(emitter: Emitter, memory: MemoryTransport) -> None:
    emitter.open_relay()

    def child() -> None:
        enqueue(emitter, *map(str, range(900)))
        assert emitter.flush(10_000)

    assert forked(child) == 0
    close(emitter)
    assert sorted(subjects(memory)) == sorted(map(str, range(900)))


def test_grandchildren_relay_too(emitter: Emitter, memory: MemoryTransport) -> None:
    emitter.open_relay()

    def child() -> None:
        enqueue(emitter, "child")
        assert forked(lambda: enqueue(emitter, "grandchild")) == 0

    assert forked(child) == 0
    close(emitter)
    assert sorted(subjects(memory)) == ["child", "grandchild"]


def test_a_child_whose_parent_is_gone_sends_by_itself(emitter: Emitter, memory: MemoryTransport) -> None:
    parent_gone_r, parent_gone_w = os.pipe()
    verdict_r, verdict_w = os.pipe()

    def orphan() -> None:
        verdict = b"bad"
        try:
            os.read(parent_gone_r, 1)
            enqueue(emitter, "1", "2")
            if not emitter.in_relay and emitter.flush(5000) and subjects(memory) == ["1", "2"]:
                verdict = b"ok"
        finally:
            os.write(verdict_w, verdict)
            os._exit(0)

    def parent() -> None:
        emitter.open_relay()
        if os.fork() == 0:
            orphan()

    assert forked(parent) == 0
    os.write(parent_gone_w, b"x")
    ready, _, _ = select.select([verdict_r], [], [], 30)
    assert ready
    assert os.read(verdict_r, 3) == b"ok"


def pair(take: Callable[[bytes, int, int], None], lose: Callable[[int], None]) -> Relay:
    relay = Relay(take, lose)
    relay.is_child = True  # both ends in one process, so that the test can look at both
    return relay


def test_what_does_not_fit_is_told_as_lost() -> None:
    taken: list[bytes] = []
    lost: list[int] = []
    blocked = True

    def take(raw: bytes, lane: int, rank: int) -> None:
        while blocked:
            time.sleep(0.001)
        taken.append(raw)

    relay = pair(take, lost.append)
    total = MAX_WAITING + 3000
    for number in range(total):
        relay.send(b"%d" % number + b"x" * 1000, number % 64, 1)
    assert len(relay._waiting) <= MAX_WAITING
    blocked = False
    assert relay.drain(10)
    deadline = time.monotonic() + 10
    while len(taken) + len(lost) < total:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(lost) > 0
    assert len(taken) + len(lost) == total


def test_sending_never_waits() -> None:
    relay = pair(lambda *_: time.sleep(5), lambda _: None)
    longest = 0.0
    for _ in range(3000):
        began = time.perf_counter()
        relay.send(b"x" * 500, 1, 1)
        longest = max(longest, time.perf_counter() - began)
    assert longest < 0.25


def test_a_closed_reader_is_noticed() -> None:
    relay = pair(lambda *_: None, lambda _: None)
    relay._reader.shutdown(0)
    relay._reader.close()
    with pytest.raises(ParentGone):
        for _ in range(10):
            relay.send(b"{}", 1, 1)
    assert relay.leftovers()[0] == (b"{}", 1, 1)


def test_a_child_killed_in_the_middle_of_writing_disturbs_nobody(emitter: Emitter, memory: MemoryTransport) -> None:
    emitter.open_relay()
    for _ in range(15):
        pid = os.fork()
        if pid == 0:
            while True:
                enqueue(emitter, "busy")
        time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        ended(pid)
    assert forked(lambda: enqueue(emitter, "after")) == 0
    close(emitter)
    assert subjects(memory)[-1] == "after"
