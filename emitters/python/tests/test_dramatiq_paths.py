"""Dramatiq's ways of not running a message, and of running it without the usual middlewares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import jobtide_emitter
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AgeLimit, Middleware, Retries, SkipMessage, TimeLimit
from jobtide_emitter.dramatiq import JobtideMiddleware

Delivered = Callable[[], list[dict[str, Any]]]
pytestmark = pytest.mark.usefixtures("emitter", "no_errors")


@contextmanager
def running(*middlewares: Middleware, first: bool = False) -> Iterator[StubBroker]:
    """A worker on a broker with these middlewares and ours after them, or before them if `first`."""
    ours: list[Middleware] = [JobtideMiddleware()]
    broker = StubBroker(middleware=[*ours, *middlewares] if first else [*middlewares, *ours])
    broker.emit_after("process_boot")
    broker.declare_queue("q")
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=2)
    worker.start()
    try:
        yield broker
        broker.join("q", timeout=20_000, fail_fast=False)
        worker.join()
    finally:
        worker.stop()


def actor(broker: StubBroker, function: Callable[..., Any], **options: Any) -> Any:
    return dramatiq.actor(function, broker=broker, queue_name="q", actor_name="act", **options)


def story(events: list[dict[str, Any]]) -> list[str]:
    return [f"{event['type'].split('.')[1]} {event['data']['attempt']}" for event in events]


def ok() -> None:
    """Succeeds."""


def bad() -> None:
    """Raises."""
    raise ValueError("bad")


def test_success(delivered: Delivered) -> None:
    with running(Retries()) as broker:
        actor(broker, ok).send()
    assert story(delivered()) == ["enqueued 1", "started 1", "finished 1"]


def test_progress_is_said_of_the_message_that_the_thread_processes(delivered: Delivered) -> None:
    def half(name: str) -> None:
        jobtide_emitter.progress(0.5, name)

    with running(Retries()) as broker:
        sent = [actor(broker, half).send("a"), broker.get_actor("act").send("b")]
    said = {event["data"]["job_id"]: event["data"]["step"] for event in delivered() if event["type"] == "job.progress.v1"}
    assert said == {sent[0].message_id: "a", sent[1].message_id: "b"}
    jobtide_emitter.progress(1.0)  # nobody's
    assert len([event for event in delivered() if event["type"] == "job.progress.v1"]) == 2


@pytest.mark.parametrize("first", [False, True], ids=["after Retries", "before Retries"])
def test_retries_wherever_the_middleware_stands(delivered: Delivered, first: bool) -> None:
    with running(Retries(min_backoff=1, max_backoff=2), first=first) as broker:
        actor(broker, bad, max_retries=1).send()
    told = story(delivered())
    assert sorted(told) == sorted(["enqueued 1", "started 1", "failed 1", "retry_scheduled 1", "started 2", "failed 2", "dead 2"])
    assert delivered()[0]["data"]["max_attempts"] == 2


def test_without_retries_a_failure_is_final(delivered: Delivered) -> None:
    with running() as broker:
        actor(broker, bad).send()
    assert story(delivered()) == ["enqueued 1", "started 1", "failed 1", "dead 1"]


def test_a_delay_is_no_second_enqueue(delivered: Delivered) -> None:
    with running(Retries()) as broker:
        actor(broker, ok).send_with_options(delay=100)
    scheduled, started, _ = delivered()
    assert story(delivered()) == ["scheduled 1", "started 1", "finished 1"]
    assert scheduled["data"]["queue"] == "q"
    assert started["data"]["run_at"] == scheduled["data"]["run_at"]
    assert started["data"]["enqueued_at"] == scheduled["time"]
    assert started["time"] >= started["data"]["run_at"]


class Skipping(Middleware):
    """Skips everything."""

    def before_process_message(self, broker: Any, message: Any) -> None:
        raise SkipMessage


def test_a_skipped_message_is_discarded(delivered: Delivered) -> None:
    with running(Skipping()) as broker:
        actor(broker, ok).send()
    assert story(delivered()) == ["enqueued 1", "discarded 1"]


def test_skipped_by_a_middleware_after_ours(delivered: Delivered) -> None:
    with running(Skipping(), first=True) as broker:
        actor(broker, ok).send()
    assert story(delivered()) == ["enqueued 1", "started 1", "discarded 1"]


def test_too_old_is_discarded_and_dead(delivered: Delivered) -> None:
    with running(AgeLimit(max_age=1)) as broker:
        actor(broker, ok).send_with_options(delay=60)
    assert story(delivered()) == ["scheduled 1", "discarded 1", "dead 1"]


def test_an_unknown_actor_is_discarded_and_dead(delivered: Delivered) -> None:
    with running(Retries()) as broker:
        broker.enqueue(dramatiq.Message("q", "nobody", (), {}, {}))
    assert story(delivered()) == ["enqueued 1", "discarded 1", "dead 1"]
    assert delivered()[1]["data"]["job_class"] == "nobody"


def test_a_time_limit_reaches_the_actor(delivered: Delivered) -> None:
    import time

    def long() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            time.sleep(0.01)

    with running(TimeLimit(interval=50), Retries(max_retries=0)) as broker:
        actor(broker, long, time_limit=200).send()
    assert story(delivered()) == ["enqueued 1", "started 1", "failed 1", "dead 1"]
    assert delivered()[2]["data"]["error"]["class"].endswith("TimeLimitExceeded")


def test_messages_of_many_threads_do_not_mix(delivered: Delivered) -> None:
    with running(Retries(min_backoff=1, max_backoff=1)) as broker:
        good, wrong = actor(broker, ok), dramatiq.actor(bad, broker=broker, queue_name="q", max_retries=0)
        for _ in range(50):
            good.send()
            wrong.send()
    events = delivered()
    for job_id in {event["data"]["job_id"] for event in events}:
        mine = story([event for event in events if event["data"]["job_id"] == job_id])
        assert mine in (["enqueued 1", "started 1", "finished 1"], ["enqueued 1", "started 1", "failed 1", "dead 1"])
