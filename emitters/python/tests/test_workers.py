"""Workers: what each partition hears of a worker, and when."""

import time

import jobtide_emitter
from jobtide_emitter.broadcasts import Held, worker_slices
from jobtide_emitter.lanes import lane_of
from jobtide_emitter.transports.memory import MemoryTransport
from test_flusher import until

FACTS = {"tenant": "acme", "system": "cron", "worker_id": "w"}


def held(count: int) -> list[Held]:
    return [Held("q", str(number), 1, None) for number in range(count)]


def test_each_partition_gets_the_attempts_that_live_there() -> None:
    slices = list(worker_slices(FACTS, held(200), True, 8))
    assert [lane % 8 for lane, _ in slices] == list(range(8))
    seen = []
    for lane, data in slices:
        assert data["complete"] is True
        assert data["busy"] == len(data["running"])
        for job in data["running"]:
            assert lane_of(f"acme/cron/{job['job_id']}") % 8 == lane % 8
            seen.append(job["job_id"])
    assert sorted(seen, key=int) == [str(number) for number in range(200)]


def test_a_slice_that_had_to_be_cut_is_not_complete() -> None:
    ((_, data),) = worker_slices(FACTS, held(300), True, 1)
    assert (len(data["running"]), data["busy"], data["complete"]) == (256, 300, False)


def test_a_receiver_that_places_events_gets_one() -> None:
    ((lane, data),) = worker_slices(FACTS, held(5), True, None)
    assert (lane, len(data["running"])) == (-1, 5)


def configured(memory: MemoryTransport, heartbeat_ms: int = 60_000, **settings: str) -> jobtide_emitter.Emitter:
    return jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, heartbeat_ms=heartbeat_ms, **settings)


def test_a_worker_tells_its_tag_in_all_it_says_if_it_has_one(memory: MemoryTransport, no_errors: None) -> None:
    for tag in ("mail-eu", ""):
        configured(memory, tag=tag).worker("cron", f"w{tag}", ["a"], 1, lambda: [], "1")
        until(lambda: len([e for e in memory.of("worker.heartbeat") if e["subject"] == f"w{tag}"]) >= 8)  # noqa: B023
    for kind in ("online", "heartbeat"):
        assert {(event["subject"], event["data"].get("tag")) for event in memory.of(f"worker.{kind}")} == {("wmail-eu", "mail-eu"), ("w", None)}


def test_a_worker_is_online_beats_stops_and_is_offline_everywhere(memory: MemoryTransport, no_errors: None) -> None:
    emitter = configured(memory, heartbeat_ms=100)
    worker = emitter.worker("cron", "w", ["a", "b"], 4, lambda: held(3), "1.2")
    until(lambda: len(memory.of("worker.heartbeat")) >= 24)
    worker.stopping()
    until(lambda: memory.of("worker.stopping"))
    emitter.end_worker()
    for kind, status in (("online", "idle"), ("stopping", "stopping"), ("offline", "offline")):
        found = memory.of(f"worker.{kind}")
        assert sorted(event["lane"] % 8 for event in found) == list(range(8))
        assert {event["partitionkey"] for event in found} == {"default/cron/w/w"}
        assert {event["data"]["status"] for event in found} == {status}
    data = memory.of("worker.heartbeat")[0]["data"]
    assert (data["queues"], data["concurrency"], data["version"]) == (["a", "b"], 4, "1.2")
    assert data["rss_bytes"] > 1_000_000
    assert memory.of("worker.heartbeat")[-1]["data"]["status"] == "stopping"


def test_stopping_does_not_wait_for_the_next_heartbeat(memory: MemoryTransport) -> None:
    emitter = configured(memory)
    worker = emitter.worker("cron", "w", [], 1, lambda: [])
    until(lambda: memory.of("worker.heartbeat"))
    began = time.monotonic()
    worker.stopping()
    until(lambda: memory.of("worker.stopping"))
    assert time.monotonic() - began < 5


def test_online_waits_for_the_first_contact_with_its_own_time(memory: MemoryTransport) -> None:
    memory.down = True
    emitter = configured(memory)
    worker = emitter.worker("cron", "w", [], 1, lambda: [])
    online_us = worker._steps[0][2]
    until(lambda: emitter._flusher.down)
    memory.down = False
    until(lambda: memory.of("worker.online"))
    assert memory.of("worker.online")[0]["time"] == jobtide_emitter.moments.text_of(online_us)


def test_a_set_that_keeps_changing_is_not_complete(memory: MemoryTransport) -> None:
    def changing() -> list[Held]:
        raise RuntimeError("Set changed size during iteration")

    emitter = configured(memory)
    emitter.worker("cron", "w", [], 1, changing)
    until(lambda: memory.of("worker.heartbeat"))
    assert memory.of("worker.heartbeat")[0]["data"]["complete"] is False


def test_after_the_worker_the_process_goes_on(memory: MemoryTransport) -> None:
    emitter = configured(memory, heartbeat_ms=100)
    emitter.worker("cron", "w", [], 1, lambda: [])
    until(lambda: memory.of("worker.heartbeat"))
    emitter.end_worker()
    count = len(memory.of("worker.heartbeat"))
    emitter.job_enqueued(emitter.job("cron", "q", "c", "1"))
    assert emitter.flush(5000)
    time.sleep(0.3)  # three intervals in which no heartbeat may come
    assert len(memory.of("worker.heartbeat")) == count
    assert memory.of("job.enqueued")
