"""The decorator and the context manager: what a call tells, and that nothing else about the call changes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jobtide_emitter
import pytest
from jobtide_emitter import guard, job, running
from jobtide_emitter.emitter import Emitter
from jobtide_emitter.transports.memory import MemoryTransport
from test_flusher import until

Delivered = Callable[[], list[dict[str, Any]]]
pytestmark = pytest.mark.usefixtures("emitter")


@job(queue="nightly")
def divide(a: int, b: int) -> float:
    """Doc."""
    return a / b


@job
async def divide_later(a: int, b: int) -> float:
    await asyncio.sleep(0)
    return a / b


@job(name="sum", system="home")
def add(a: int, b: int) -> int:
    return a + b


def story(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removesuffix(".v1") for event in events]


def test_a_call_that_returns(delivered: Delivered, no_errors: None) -> None:
    assert divide(6, b=3) == 2
    started, finished = delivered()
    assert story([started, finished]) == ["job.started", "job.finished"]
    facts = finished["data"]
    assert (facts["system"], facts["queue"], facts["job_class"]) == ("python", "nightly", f"{__name__}.divide")
    assert facts["started_at"] == started["time"]
    assert facts["job_id"] == started["data"]["job_id"]
    assert divide.__doc__ == "Doc."
    divide(6, 3)
    assert len({event["subject"] for event in delivered()}) == 2


def test_a_call_that_raises(delivered: Delivered, no_errors: None) -> None:
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    events = delivered()
    assert story(events) == ["job.started", "job.failed", "job.dead"]
    assert events[1]["data"]["error"]["class"] == "ZeroDivisionError"


def test_names_of_ones_own(delivered: Delivered) -> None:
    assert add(1, 2) == 3
    assert {(e["data"]["system"], e["data"]["queue"], e["data"]["job_class"]) for e in delivered()} == {("home", "default", "sum")}


def test_a_coroutine_function(delivered: Delivered, no_errors: None) -> None:
    assert asyncio.run(divide_later(6, 3)) == 2
    with pytest.raises(ZeroDivisionError):
        asyncio.run(divide_later(1, 0))
    assert story(delivered()) == ["job.started", "job.finished", "job.started", "job.failed", "job.dead"]


def test_a_cancelled_coroutine(delivered: Delivered, no_errors: None) -> None:
    @job
    async def sleep() -> None:
        await asyncio.sleep(30)

    async def cancel() -> None:
        task = asyncio.create_task(sleep())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    events = delivered()
    assert story(events) == ["job.started", "job.cancelled"]
    assert events[1]["data"]["reason"] == "cancelled"


def test_an_exit_in_the_body(delivered: Delivered) -> None:
    with pytest.raises(SystemExit), running("nightly", "leave"):
        sys.exit(3)
    assert story(delivered()) == ["job.started", "job.cancelled"]


def test_a_block_with_more_to_say(delivered: Delivered, no_errors: None) -> None:
    with running("nightly", "rebuild", "2026-11-22", expected_ms=60_000, batch_id="b", attempt=2) as run:
        run.progress(0.5, "halfway")
        assert run.job_id == "2026-11-22"
    started, progress, finished = delivered()
    assert progress["data"]["progress"] == 0.5
    for event in (started, progress, finished):
        assert event["data"]["expected_ms"] == 60_000
        assert event["data"]["batch_id"] == "b"
        assert event["data"]["attempt"] == 2


def test_a_long_run_says_that_it_still_runs(memory: MemoryTransport) -> None:
    jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, heartbeat_ms=100)
    with running("nightly", "long", "1"), running("nightly", "long", "2"):
        until(lambda: len(memory.of("job.heartbeat")) >= 4)
    assert {event["subject"] for event in memory.of("job.heartbeat")} == {"1", "2"}
    with running("nightly", "other", "3"):
        until(lambda: "3" in {event["subject"] for event in memory.of("job.heartbeat")})
    ended = {event["subject"]: event["time"] for event in memory.of("job.finished")}
    assert all(event["time"] <= ended[event["subject"]] for event in memory.of("job.heartbeat") if event["subject"] in ended)


def test_a_fork_beats_for_its_own_only(memory: MemoryTransport) -> None:
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, heartbeat_ms=100)
    with running("nightly", "long", "parent"):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                memory.packs.clear()
                with running("nightly", "long", "child"):
                    until(lambda: len(memory.of("job.heartbeat")) >= 2)
                assert emitter.flush(2000)
                code = 0 if {event["subject"] for event in memory.events if event["type"].startswith("job.")} == {"child"} else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture(params=["own_jobs.begin", "own_jobs.finish", "own_jobs.fail", "own_jobs.interrupt"])
def _broken_site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def boom(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(guard.sites[request.param], "function", boom)
    yield


def calls() -> None:
    assert divide(6, 3) == 2
    with pytest.raises(ZeroDivisionError):
        divide(1, 0)
    with pytest.raises(KeyboardInterrupt), running("q", "c") as run:
        run.progress(0.1)
        raise KeyboardInterrupt


@pytest.mark.usefixtures("_broken_site")
def test_a_fault_in_any_site_changes_nothing() -> None:
    calls()
    assert guard.errors() > 0


@pytest.mark.parametrize("name", ["job", "job_started", "error", "put", "job_dead", "add_beat"])
def test_a_broken_emitter_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(Emitter, name, boom)
    calls()


def test_off_is_off(memory: MemoryTransport) -> None:
    jobtide_emitter.configure(disabled=True, make_transport=lambda: memory)
    calls()
    assert memory.events == []
