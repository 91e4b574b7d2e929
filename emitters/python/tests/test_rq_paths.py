"""RQ's many ways into a queue and out of it, on a real Valkey: each attempt is told once, whatever the way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import fault_jobs
import jobtide_emitter.rq
import pytest
import redis
import rq
import rq.registry
from rq.registry import StartedJobRegistry

Delivered = Callable[[], list[dict[str, Any]]]
pytestmark = pytest.mark.usefixtures("no_errors")


@pytest.fixture
def connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    url = f"{redis_url}/7"
    monkeypatch.setenv("FAULT_JOBS_REDIS", url)
    made = redis.Redis.from_url(url)
    made.flushdb()
    return made


@pytest.fixture
def queue(connection: Any, emitter: Any) -> Iterator[rq.Queue]:
    jobtide_emitter.rq.install()
    yield rq.Queue("q", connection=connection)
    jobtide_emitter.rq.uninstall()


def work(queue: rq.Queue, worker_class: Any = rq.SimpleWorker) -> None:
    """Until the queue is empty; scheduled jobs whose time has come too."""
    worker = worker_class([queue], connection=queue.connection)
    worker.work(burst=True, with_scheduler=True, logging_level="CRITICAL")


def story(events: list[dict[str, Any]], job: Any) -> list[str]:
    """What happened to a job, in order of its numbers: "started 1" and so on."""
    mine = [event for event in events if event["data"]["job_id"] == (job if isinstance(job, str) else job.id)]
    mine.sort(key=lambda event: event["seq"])
    return [f"{event['type'].split('.')[1]} {event['data']['attempt']}" for event in mine]


def test_enqueue_many(queue: rq.Queue, delivered: Delivered) -> None:
    jobs = queue.enqueue_many([rq.Queue.prepare_data(fault_jobs.ok, (str(n),)) for n in range(3)])
    work(queue)
    for job in jobs:
        assert story(delivered(), job) == ["enqueued 1", "started 1", "finished 1"]


def test_progress_is_said_of_the_job_that_runs(queue: rq.Queue, delivered: Delivered) -> None:
    job = queue.enqueue(fault_jobs.half, "halfway")
    work(queue)
    assert story(delivered(), job) == ["enqueued 1", "started 1", "progress 1", "finished 1"]


def test_a_dependent_is_enqueued_when_it_is_ready(queue: rq.Queue, delivered: Delivered) -> None:
    first = queue.enqueue(fault_jobs.ok, "first")
    second = queue.enqueue(fault_jobs.ok, "second", depends_on=first)
    assert story(delivered(), second) == []
    work(queue)
    assert story(delivered(), second) == ["enqueued 1", "started 1", "finished 1"]
    (enqueued,) = (e for e in delivered() if e["type"] == "job.enqueued.v1" and e["data"]["job_id"] == second.id)
    (finished,) = (e for e in delivered() if e["type"] == "job.finished.v1" and e["data"]["job_id"] == first.id)
    assert enqueued["time"] >= finished["time"]


def test_scheduled_and_promoted_is_enqueued_once(queue: rq.Queue, delivered: Delivered) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=1.5)
    job = queue.enqueue_at(moment, fault_jobs.ok, "later")
    work(queue)
    assert story(delivered(), job) == ["scheduled 1", "started 1", "finished 1"]
    scheduled, started, _ = delivered()
    assert scheduled["data"]["run_at"] == moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    assert started["data"]["run_at"] == scheduled["data"]["run_at"]
    assert started["data"]["enqueued_at"] == scheduled["time"]


def test_scheduled_by_somebody_without_the_hook(queue: rq.Queue, delivered: Delivered) -> None:
    jobtide_emitter.rq.uninstall()
    job = queue.enqueue_at(datetime.now(UTC) - timedelta(seconds=2), fault_jobs.ok, "later")
    jobtide_emitter.rq.install()
    work(queue)
    assert story(delivered(), job) == ["enqueued 1", "started 1", "finished 1"]


def test_retries_at_once(queue: rq.Queue, delivered: Delivered) -> None:
    job = queue.enqueue(fault_jobs.bad, "x", retry=rq.Retry(max=2))
    work(queue)
    expected = ["enqueued 1"]
    for attempt in (1, 2):
        expected += [f"started {attempt}", f"failed {attempt}", f"retry_scheduled {attempt}"]
    assert story(delivered(), job) == [*expected, "started 3", "failed 3", "dead 3"]
    starts = [event for event in delivered() if event["type"] == "job.started.v1"]
    retries = [event for event in delivered() if event["type"] == "job.retry_scheduled.v1"]
    assert starts[0]["data"]["max_attempts"] == 3
    for start, retry in zip(starts[1:], retries, strict=True):
        assert 0 <= _seconds(start["data"]["enqueued_at"], retry["data"]["run_at"]) < 0.01


def _seconds(later: str, earlier: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def test_requeue_is_another_attempt(queue: rq.Queue, delivered: Delivered) -> None:
    job = queue.enqueue(fault_jobs.second_time, "x")
    work(queue)
    assert story(delivered(), job) == ["enqueued 1", "started 1", "failed 1", "dead 1"]
    rq.requeue_job(job.id, queue.connection)
    work(queue)
    assert story(delivered(), job)[4:] == ["enqueued 2", "started 2", "finished 2"]


def test_an_id_of_the_apps_own_that_runs_again_is_another_attempt(queue: rq.Queue, delivered: Delivered) -> None:
    for _ in range(3):
        queue.enqueue(fault_jobs.ok, "x", job_id="nightly")
        work(queue)
    expected = [f"{what} {attempt}" for attempt in (1, 2, 3) for what in ("enqueued", "started", "finished")]
    assert story(delivered(), "nightly") == expected


def test_attempts_survive_an_app_that_replaces_meta(queue: rq.Queue, delivered: Delivered) -> None:
    job = queue.enqueue(fault_jobs.bad, "x", retry=rq.Retry(max=1), meta={"a": 1})
    job.meta = {"b": 2}
    job.save_meta()
    work(queue)
    assert "started 2" in story(delivered(), job)
    assert job.get_meta() == {"b": 2}


@pytest.mark.skipif(not hasattr(rq, "Repeat"), reason="this RQ has no Repeat")
def test_repeats_are_attempts(queue: rq.Queue, delivered: Delivered) -> None:
    job = queue.enqueue(fault_jobs.ok, "x", repeat=rq.Repeat(times=2, interval=0))
    work(queue)
    told = Counter(story(delivered(), job))
    assert told == {f"{what} {attempt}": 1 for attempt in (1, 2, 3) for what in ("enqueued", "started", "finished")}


def returns_retry(name: str) -> Any:
    """A job that asks for another try by its result."""
    fault_jobs.ok(name)
    return rq.Retry(max=1) if fault_jobs._count(f"ok {name}") == 1 else name


def test_a_job_that_returns_a_retry(queue: rq.Queue, delivered: Delivered) -> None:
    if not hasattr(rq.worker.BaseWorker, "handle_job_retry"):
        pytest.skip("this RQ takes no Retry as a result")
    fault_jobs.forget()
    job = queue.enqueue(returns_retry, "x")
    work(queue)
    assert story(delivered(), job)[:4] == ["enqueued 1", "started 1", "failed 1", "retry_scheduled 1"]
    assert story(delivered(), job)[4:] == ["started 2", "finished 2"]


def test_a_callback_that_fails_makes_the_attempt_fail(queue: rq.Queue, delivered: Delivered) -> None:
    job = queue.enqueue(fault_jobs.ok, "x", on_success=rq.Callback(failing_callback))
    work(queue)
    assert story(delivered(), job) == ["enqueued 1", "started 1", "failed 1", "dead 1"]


def failing_callback(job: Any, connection: Any, result: Any) -> None:
    """For on_success."""
    raise RuntimeError("callback")


def test_cancelled_and_deleted_while_waiting(queue: rq.Queue, delivered: Delivered) -> None:
    cancelled, deleted = queue.enqueue(fault_jobs.ok, "x"), queue.enqueue(fault_jobs.ok, "y")
    cancelled.cancel()
    deleted.delete()
    work(queue)
    assert story(delivered(), cancelled) == ["enqueued 1", "cancelled 1"]
    assert story(delivered(), deleted) == ["enqueued 1", "discarded 1"]


def test_results_that_are_not_kept_do_not_look_deleted(queue: rq.Queue, delivered: Delivered) -> None:
    job = queue.enqueue(fault_jobs.ok, "x", result_ttl=0)
    work(queue)
    assert story(delivered(), job) == ["enqueued 1", "started 1", "finished 1"]


@pytest.mark.parametrize("retries", [0, 1])
def test_a_job_whose_worker_vanished(queue: rq.Queue, delivered: Delivered, retries: int) -> None:
    job = queue.enqueue(fault_jobs.ok, "x", retry=rq.Retry(max=1) if retries else None)
    worker = rq.SimpleWorker([queue], connection=queue.connection)
    worker.register_birth()
    job.refresh()
    worker.prepare_execution(job)
    worker.prepare_job_execution(job)  # and here the machine is switched off
    StartedJobRegistry(queue=queue).cleanup(time.time() + 10_000)
    told = story(delivered(), job)
    assert told[:2] == ["enqueued 1", "failed 1"]
    assert ("retry_scheduled 1" in told, "dead 1" in told) == (bool(retries), not retries)
    if retries:
        queue.connection.delete(worker.key)
        work(queue)
        assert {"started 2", "finished 2"} <= set(story(delivered(), job))


def test_a_sync_queue_tells_nothing(connection: Any, queue: rq.Queue, delivered: Delivered) -> None:
    rq.Queue("q", connection=connection, is_async=False).enqueue(fault_jobs.ok, "x")
    assert delivered() == []


def test_a_job_that_cannot_be_loaded(queue: rq.Queue, delivered: Delivered) -> None:
    job = queue.enqueue("no.such.module.function", "x")
    work(queue)
    assert story(delivered(), job) == ["enqueued 1", "started 1", "failed 1", "dead 1"]
    broken = queue.enqueue(fault_jobs.ok, "y")
    queue.connection.hset(broken.key, "data", b"garbage")
    work(queue)
    assert story(delivered(), broken)[-2:] == ["failed 1", "dead 1"]


def test_uninstall_leaves_rq_as_it_was(queue: rq.Queue) -> None:
    def methods() -> list[Any]:
        worker = next(kind for kind in (rq.worker.BaseWorker, rq.Worker) if "perform_job" in kind.__dict__)
        return [rq.job.Job.to_dict, rq.Queue._enqueue_job, rq.registry.FailedJobRegistry.add, worker.perform_job]

    patched = methods()
    jobtide_emitter.rq.uninstall()
    plain = methods()
    assert not set(plain) & set(patched)
    jobtide_emitter.rq.install()
    jobtide_emitter.rq.install()
    jobtide_emitter.rq.uninstall()
    assert methods() == plain
