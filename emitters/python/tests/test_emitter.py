"""The emitter's events: what each says, that the contract takes them, and that nothing given to it makes it raise."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobtide_emitter
import pytest
from jobtide_emitter import Emitter, guard
from jobtide_emitter.lanes import lane_of
from jobtide_emitter.moments import text_of
from jobtide_emitter.transports.memory import MemoryTransport

Delivered = Callable[[], list[dict[str, Any]]]
SCHEMA = Path(__file__).parents[2] / "contract" / "job-event.v1.schema.json"


def test_a_job_from_enqueue_to_end(emitter: Emitter, delivered: Delivered, no_errors: None) -> None:
    job = emitter.job("cron", "nightly", "index", "42", 2, max_attempts=3, batch_id=None)
    emitter.job_enqueued(job, at_us=1_000_000)
    run = emitter.job_started(job, "box:7", enqueued_at_us=1_000_000, run_at_us=2_000_000)
    run.progress(0.5, "half")
    run.finished()
    enqueued, started, progress, finished = delivered()
    assert enqueued["time"] == "1970-01-01T00:00:01.000000Z"
    assert enqueued["partitionkey"] == "acme/cron/42"
    assert {event["lane"] for event in delivered()} == {lane_of("acme/cron/42")}
    assert [event["seq"] for event in delivered()] == [0, 1, 2, 3]
    assert enqueued["data"] == {
        "tenant": "acme",
        "environment": "test",
        "system": "cron",
        "queue": "nightly",
        "job_class": "index",
        "job_id": "42",
        "attempt": 2,
        "max_attempts": 3,
    }
    assert started["data"]["enqueued_at"] == enqueued["time"]
    assert started["data"]["run_at"] == "1970-01-01T00:00:02.000000Z"
    assert (progress["data"]["progress"], progress["data"]["step"]) == (0.5, "half")
    assert finished["data"]["started_at"] == started["time"]
    assert 0 <= finished["data"]["duration_ms"] < 5000


def test_a_run_ends_once(emitter: Emitter, delivered: Delivered) -> None:
    run = emitter.job_started(emitter.job("cron", "q", "c", "1"), "w")
    run.failed({"class": "E"})
    run.finished()
    run.cancelled("late")
    assert [event["type"] for event in delivered()] == ["job.started.v1", "job.failed.v1"]


def test_the_end_is_when_the_body_returned(emitter: Emitter, delivered: Delivered) -> None:
    run = emitter.job_started(emitter.job("cron", "q", "c", "1"), "w")
    run.body_returned()
    ended_us = run.ended_us
    run.body_returned()
    run.finished()
    assert run.ended_us == ended_us
    assert text_of(ended_us or 0) == delivered()[-1]["time"]


def test_all_other_events(emitter: Emitter, delivered: Delivered, no_errors: None) -> None:
    job = emitter.job("cron", "q", "c", "1")
    emitter.job_scheduled(job, 5_000_000)
    emitter.job_retry_scheduled(job, 6_000_000, worker_id="w")
    emitter.job_dead(job, {"class": "E"})
    emitter.job_cancelled(job, "revoked")
    emitter.job_discarded(job, "expired")
    emitter.emit("queue.paused.v1", {"system": "cron", "queue": "q"}, partitionkey="acme/cron/q/q", traceparent="x")
    kinds = [event["type"].split(".")[1] for event in delivered()]
    assert kinds == ["scheduled", "retry_scheduled", "dead", "cancelled", "discarded", "paused"]
    assert delivered()[-1]["traceparent"] == "x"
    assert delivered()[-1]["data"]["tenant"] == "acme"


def everything(emitter: Emitter) -> None:
    """One event of every kind, with hostile names."""
    job = emitter.job("cron", "q\x00" * 200, "", "ü" * 500, 0, parent_job_id="p" * 999, priority=3, labels={"a": "b"})
    emitter.job_enqueued(job)
    emitter.job_scheduled(job, 5_000_000)
    run = emitter.job_started(job, "w", enqueued_at_us=1, run_at_us=2)
    run.progress(7.0, "s" * 999)
    error = {"class": "E" * 256, "message": "\x01" * 4096, "backtrace": "🚀" * 16_384}
    run.failed(error)
    emitter.job_retry_scheduled(job, 6_000_000)
    emitter.job_dead(job, error)
    emitter.job_cancelled(job, "r" * 999)
    emitter.job_discarded(job, "")
    emitter.job_started(emitter.job("cron", "q", "c", "2"), "w").finished()
    emitter.worker("cron", "w" * 999, ["q\n"] * 99, 4, lambda: [], "v" * 999)


def test_the_contract_takes_every_event(emitter: Emitter, memory: MemoryTransport, no_errors: None) -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    everything(emitter)
    emitter.close()
    assert len({event["type"] for event in memory.events}) == 13
    for event in memory.events:
        problems = [f"{p.instance_path}: {p.message[:200]}" for p in validator.iter_errors(event)]
        assert not problems, (event["type"], problems)


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("bad", [None, "x", -1, 10**30, object(), b"bytes", float("nan"), Unprintable()])
def test_nonsense_is_counted_not_raised(emitter: Emitter, bad: Any) -> None:
    job = emitter.job("cron", "q", "c", "1", bad)
    emitter.job_enqueued(job, at_us=bad)
    emitter.job_scheduled(job, bad)
    run = emitter.job_started(job, bad, enqueued_at_us=bad)
    run.progress(bad, bad)
    run.failed(bad, more=bad)
    emitter.job_retry_scheduled(emitter.job(bad, bad, bad, bad), bad)
    emitter.emit(bad, {"x": bad}, partitionkey=bad)
    assert emitter.error(bad)["class"]
    assert emitter.flush(5000)


@pytest.mark.parametrize("settings", [{"disabled": True, "url": "http://127.0.0.1:1"}, {}])
def test_off_means_no_thread_no_event(settings: dict[str, Any]) -> None:
    emitter = jobtide_emitter.configure(**settings)
    everything(emitter)
    assert emitter.ring.last_order == 0
    assert emitter._flusher._thread is None
    assert emitter.flush()


def test_source_names_the_process(emitter: Emitter, delivered: Delivered) -> None:
    emitter.job_enqueued(emitter.job("cron", "q", "c", "1"))
    assert re.fullmatch(r"/[A-Za-z0-9._~:@%+-]+/\d+", delivered()[0]["source"])


def test_an_error_is_logged_once_per_site(emitter: Emitter, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        emitter.emit(object(), {}, partitionkey=3)  # type: ignore[arg-type]
    assert guard.sites["emitter.put"].errors == 5
    assert caplog.text.count("emitter.put failed") == 1


def test_a_file_turns_it_off_and_on_without_a_restart(
    memory: MemoryTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_errors: None
) -> None:  # fmt: skip
    switch = tmp_path / "off"
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, off_file=str(switch))
    clock = [time.monotonic()]
    monkeypatch.setattr("jobtide_emitter.off_switch.time.monotonic", lambda: clock[0])
    told = []
    for number, there in enumerate((False, True, True, False)):
        switch.touch() if there else switch.unlink(missing_ok=True)
        clock[0] += 1.5
        emitter.job_enqueued(emitter.job("cron", "q", "C", str(number)))
        emitter.emit("queue.snapshot.v1", {"system": "cron", "queue": "q", "ready": 1}, partitionkey="default/cron/q/q")
        assert emitter.flush(5000)
        told.append(len(memory.events))
    assert told == [2, 2, 2, 4]
    assert {event["seq"] for event in memory.of("queue.snapshot")} == {0, 1}  # no hole: nothing was numbered


def test_a_file_that_cannot_be_looked_for_is_not_there(memory: MemoryTransport, no_errors: None) -> None:
    for path in ("/" + "x" * 5000, "a\0b"):
        emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, off_file=path)
        emitter.emit("queue.snapshot.v1", {"system": "cron", "queue": "q", "ready": 1}, partitionkey="default/cron/q/q")
        assert emitter.flush(5000)
    assert len(memory.of("queue.snapshot")) == 2


@pytest.mark.parametrize("end", ["end_worker", "close"])
def test_all_waits_of_an_end_have_one_deadline(end: str, memory: MemoryTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, flush_timeout_ms=200)
    emitter.worker("cron", "w", ["q"], 1, held=list)
    emitter.emit("queue.snapshot.v1", {"system": "cron", "queue": "q", "ready": 1}, partitionkey="default/cron/q/q")
    assert emitter.flush(5000)
    waits: list[float] = []

    class Children:
        """They take all the time that there is."""

        is_child = False

        def drain(self, timeout_s: float) -> None:
            waits.append(timeout_s)
            time.sleep(timeout_s)

    monkeypatch.setattr(emitter, "_relay", Children())
    monkeypatch.setattr(emitter._flusher, "flush", lambda timeout_s: waits.append(timeout_s) or True)
    getattr(emitter, end)()
    assert waits == [0.2, 0, 0]


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_traceparent_of_the_callers_span_travels_with_all_events_of_an_attempt(emitter: Emitter, delivered: Delivered, no_errors: None) -> None:
    jobtide_emitter.tracing(lambda: TRACE)
    try:
        job = emitter.job("cron", "q", "c", "1")
        emitter.job_enqueued(job)
        emitter.job_started(job, "w1").finished()
        emitter.job_enqueued(emitter.job("cron", "q", "c", "2", traceparent=TRACE.replace("b7", "c8")))
    finally:
        jobtide_emitter.tracing(None)
    emitter.job_enqueued(emitter.job("cron", "q", "c", "3"))
    assert [event.get("traceparent") for event in delivered()] == [TRACE, TRACE, TRACE, TRACE.replace("b7", "c8"), None]


@pytest.mark.parametrize("text", ["", "00-00", TRACE.upper(), TRACE + "\n", "x" * 100_000, 7, b"00", ["00"]])
def test_what_is_no_traceparent_is_left_out(text: Any, emitter: Emitter, delivered: Delivered, no_errors: None) -> None:
    emitter.job_enqueued(emitter.job("cron", "q", "c", "1", traceparent=text))
    (event,) = delivered()
    assert "traceparent" not in event


def test_an_error_in_what_says_the_span_costs_the_traceparent_and_nothing_else(emitter: Emitter, delivered: Delivered) -> None:
    jobtide_emitter.tracing(lambda: str(1 / 0))
    try:
        emitter.job_enqueued(emitter.job("cron", "q", "c", "1"))
    finally:
        jobtide_emitter.tracing(None)
    (event,) = delivered()
    assert "traceparent" not in event
    assert guard.sites["emitter.tracing"].errors == 1
