"""Forks, with real processes: the child has its own numbers, sends nothing of the parent's, ends without hanging."""

import gc
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jobtide_emitter
import pytest
from jobtide_emitter import Emitter
from jobtide_emitter.transports.handles import never_finalize
from jobtide_emitter.transports.memory import MemoryTransport
from kafka_reader import events

DEADLINE_S = 30.0


def forked(body: Callable[[], None]) -> int:
    """Runs `body` in a forked child that ends by os._exit; returns its exit code. A child that hangs is killed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return ended(pid)


def ended(pid: int) -> int:
    """The exit code of a child, waited for no longer than the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise AssertionError("the child hung")
        time.sleep(0.01)


def enqueue(emitter: Emitter, *ids: str) -> None:
    for name in ids:
        emitter.job_enqueued(emitter.job("cron", "q", "c", name))


def test_a_child_has_an_empty_ring_and_an_epoch_of_its_own(emitter: Emitter, memory: MemoryTransport) -> None:
    memory.down = True
    enqueue(emitter, "a", "b")
    parent_epoch = emitter.ring.epoch

    def child() -> None:
        assert emitter.ring.events == 0
        assert emitter.ring.epoch != parent_epoch
        assert set(emitter.ring.next) == {0}
        assert str(os.getpid()) in emitter._source

    assert forked(child) == 0
    assert emitter.ring.epoch == parent_epoch
    memory.down = False
    assert emitter.flush(5000)
    assert [event["subject"] for event in memory.events] == ["a", "b"]


def test_a_fork_in_the_middle_of_emitting_never_deadlocks(emitter: Emitter) -> None:
    import threading

    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            enqueue(emitter, "x")

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            assert forked(lambda: enqueue(emitter, "y")) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_what_a_child_inherits_is_never_finalized() -> None:
    finalized = []

    class Handle:
        def __del__(self) -> None:
            finalized.append(True)

    handle = Handle()
    never_finalize(handle)
    del handle
    gc.collect()
    assert not finalized


def test_a_fork_leaves_the_transport_to_the_parent(emitter: Emitter, memory: MemoryTransport) -> None:
    enqueue(emitter, "a")
    assert emitter.flush(5000)

    def child() -> None:
        assert memory.abandoned
        assert not memory.closed

    assert forked(child) == 0
    assert not memory.abandoned


@pytest.mark.parametrize("client", ["confluent", "aiokafka"])
@pytest.mark.parametrize("ending", ["os._exit", "sys.exit"])
def test_children_send_through_kafka_and_end(kafka_broker: str, topic: str, client: str, ending: str) -> None:
    """Also for a child that ends by running the interpreter down: the inherited client must not be destroyed there."""
    emitter = jobtide_emitter.configure(broker=kafka_broker, topic=topic, client=client)
    enqueue(emitter, "parent-1")
    assert emitter.flush(10_000)
    script = f"""
import os, sys, jobtide_emitter
emitter = jobtide_emitter.configure(broker={kafka_broker!r}, topic={topic!r}, client={client!r})
job = emitter.job("cron", "q", "c", "outer"); emitter.job_enqueued(job)
assert emitter.flush(10000)
pid = os.fork()
if pid == 0:
    emitter.job_enqueued(emitter.job("cron", "q", "c", "inner"))
    assert emitter.flush(10000)
    {ending}(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
emitter.job_enqueued(job)
"""
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", script])
    assert ended(pid) == 0
    enqueue(emitter, "parent-2")
    emitter.close()
    found = [event for event in events(kafka_broker, topic) if event["type"] == "job.enqueued.v1"]
    assert sorted(event["subject"] for event in found) == ["inner", "outer", "outer", "parent-1", "parent-2"]
    numbers = [(event["epoch"], event["lane"], event["seq"]) for event in found]
    assert len(set(numbers)) == 5
    assert len({epoch for epoch, _, _ in numbers}) == 3


def test_children_of_multiprocessing_flush_when_they_end(kafka_broker: str, topic: str) -> None:
    import multiprocessing

    emitter = jobtide_emitter.configure(broker=kafka_broker, topic=topic)
    process = multiprocessing.get_context("fork").Process(target=enqueue, args=(emitter, "1", "2", "3"))
    process.start()
    process.join(DEADLINE_S)
    assert process.exitcode == 0
    found: list[dict[str, Any]] = events(kafka_broker, topic)
    assert sorted(event["subject"] for event in found if event["type"] == "job.enqueued.v1") == ["1", "2", "3"]
    assert any(event["data"].get("clean") for event in found if event["type"] == "emitter.stats.v1")


def test_the_end_of_a_process_flushes(kafka_broker: str, topic: str) -> None:
    script = f"""
import jobtide_emitter
emitter = jobtide_emitter.configure(broker={kafka_broker!r}, topic={topic!r})
for n in range(500): emitter.job_enqueued(emitter.job("cron", "q", "c", str(n)))
"""
    assert ended(os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", script])) == 0
    assert len([event for event in events(kafka_broker, topic) if event["type"] == "job.enqueued.v1"]) == 500
