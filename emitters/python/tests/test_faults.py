"""A fault in every call site, and inside the emitter: real Celery, RQ and Dramatiq jobs do just what they do without.

`guard.sites` knows every place where a backend calls in, so a hook that is added later is tested too, or the tests that
count the sites fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import fault_jobs
import jobtide_emitter
import jobtide_emitter.celery
import jobtide_emitter.rq
import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import Retries
from jobtide_emitter import bounds, guard
from jobtide_emitter.dramatiq import JobtideMiddleware
from jobtide_emitter.emitter import Emitter
from jobtide_emitter.flusher import Flusher
from jobtide_emitter.ring import Ring
from jobtide_emitter.rq.attempts import ATTEMPTS
from jobtide_emitter.transports.memory import MemoryTransport

# Sites of each backend that the runs below do not reach, and where they are reached instead.
CELERY_ELSEWHERE = {
    # A real worker's own life, and what only its main process sees: test_real_workers.
    "celery.ready",
    "celery.shutting_down",
    "celery.shutdown",
    "celery.process_shutdown",
    "celery.revoked",
    "celery.unknown",
}
RQ_ELSEWHERE = {"rq.stopping"}  # a signal: test_real_workers
DRAMATIQ_ELSEWHERE = {"dramatiq.after_skip_message"}


class FaultError(Exception):
    """What a faulty emitter raises."""


def boom(*_: Any, **__: Any) -> Any:
    raise FaultError


@contextmanager
def faulty(sites: list[str]) -> Iterator[None]:
    """These call sites raise."""
    before = {name: guard.sites[name].function for name in sites}
    for name in sites:
        guard.sites[name].function = boom
    try:
        yield
    finally:
        for name, function in before.items():
            guard.sites[name].function = function


def sites_of(backend: str) -> list[str]:
    return sorted(name for name in guard.sites if name.startswith(backend + "."))


def reached(sites: list[str]) -> set[str]:
    return {name for name in sites if guard.sites[name].errors}


INSIDE: dict[str, tuple[object, str]] = {
    "put": (Emitter, "put"),
    "job": (Emitter, "job"),
    "ring": (Ring, "put"),
    "serialize": (bounds, "serialized"),
    "names": (bounds, "name"),
    "errors": (bounds, "error_of"),
    "wake": (Flusher, "wake"),
    "flush": (Emitter, "flush"),
    "worker": (Emitter, "worker"),
    "end_worker": (Emitter, "end_worker"),
    "deliver": (MemoryTransport, "deliver"),
    "connect": (MemoryTransport, "connect"),
}


@pytest.fixture(autouse=True)
def _emitting(memory: MemoryTransport) -> Iterator[None]:
    fault_jobs.forget()
    jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, flush_timeout_ms=200, heartbeat_ms=200)
    yield
    fault_jobs.forget()


# Celery.


@pytest.fixture(scope="module")
def celery_app() -> Iterator[Celery]:
    app = Celery("faults", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(task_default_queue="faults", worker_hijack_root_logger=False)

    @app.task(name="ok")
    def ok(name: str) -> str:
        return fault_jobs.ok(name)

    @app.task(name="bad")
    def bad(name: str) -> None:
        fault_jobs.bad(name)

    @app.task(name="second", bind=True, default_retry_delay=0, max_retries=3)
    def second(self: Any, name: str) -> str:
        try:
            return fault_jobs.second_time(name)
        except fault_jobs.Expected as error:
            raise self.retry(exc=error, countdown=0) from error

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20, loglevel="CRITICAL"):
        yield app


def celery_mix(app: Celery) -> dict[str, Any]:
    """Runs some tasks; what became of them, and every call of a body."""
    fault_jobs.forget()
    results = {name: app.send_task(name, (name,)) for name in ("ok", "bad", "second")}
    results["later"] = app.send_task("ok", ("later",), countdown=0.2)
    outcomes = {}
    for name, result in results.items():
        value = result.get(timeout=20, propagate=False)
        outcomes[name] = (result.state, value if isinstance(value, str) else type(value).__name__)
    return {"outcomes": outcomes, "calls": sorted(fault_jobs.all_calls())}


@pytest.fixture(scope="module")
def celery_truth(celery_app: Celery) -> dict[str, Any]:
    jobtide_emitter.celery.uninstall()
    truth = celery_mix(celery_app)
    assert truth["outcomes"]["second"] == ("SUCCESS", "second")
    assert truth["calls"] == ["bad bad", "ok later", "ok ok", "second second", "second second"]
    return truth


@pytest.fixture
def celery_hooks() -> Iterator[None]:
    jobtide_emitter.celery.install()
    yield
    jobtide_emitter.celery.uninstall()


def test_celery_with_healthy_hooks(celery_app: Celery, celery_truth: Any, celery_hooks: None, no_errors: None) -> None:
    assert celery_mix(celery_app) == celery_truth


def test_celery_with_all_hooks_broken(celery_app: Celery, celery_truth: Any, celery_hooks: None) -> None:
    sites = sites_of("celery")
    with faulty(sites):
        assert celery_mix(celery_app) == celery_truth
    assert set(sites) - reached(sites) == CELERY_ELSEWHERE


@pytest.mark.parametrize("site", sorted(set(sites_of("celery")) - CELERY_ELSEWHERE))
def test_celery_with_one_hook_broken(celery_app: Celery, celery_truth: Any, celery_hooks: None, site: str) -> None:
    with faulty([site]):
        assert celery_mix(celery_app) == celery_truth
    assert reached([site])


@pytest.mark.parametrize("inside", INSIDE)
def test_celery_with_a_broken_emitter(
    celery_app: Celery, celery_truth: Any, celery_hooks: None, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name = INSIDE[inside]
    monkeypatch.setattr(owner, name, boom)
    assert celery_mix(celery_app) == celery_truth


# RQ.


@pytest.fixture
def rq_connection(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import redis

    url = f"{redis_url}/7"
    monkeypatch.setenv("FAULT_JOBS_REDIS", url)
    connection = redis.Redis.from_url(url)
    connection.flushdb()
    return connection


def rq_mix(connection: Any, worker_class: Any, exit_too: bool = False) -> dict[str, Any]:
    from rq import Queue, Retry

    connection.flushdb()
    queue = Queue("faults", connection=connection)
    jobs = {
        "ok": queue.enqueue(fault_jobs.ok, "ok"),
        "bad": queue.enqueue(fault_jobs.bad, "bad"),
        "second": queue.enqueue(fault_jobs.second_time, "second", retry=Retry(max=2)),
        "later": queue.enqueue_at(_past(), fault_jobs.ok, "later"),
    }
    jobs["after"] = queue.enqueue(fault_jobs.ok, "after", depends_on=jobs["ok"])
    if exit_too:
        jobs["exit"] = queue.enqueue(fault_jobs.hard_exit, "exit")
    jobs["cancelled"] = queue.enqueue(fault_jobs.ok, "cancelled")
    jobs["cancelled"].cancel()
    queue.enqueue(fault_jobs.ok, "deleted").delete()
    worker = worker_class([queue], connection=connection)
    worker.log_job_description = False
    worker.work(burst=True, with_scheduler=True, logging_level="CRITICAL")
    outcomes = {name: job.get_status(refresh=True).value for name, job in jobs.items()}
    results = {name: job.return_value(refresh=True) for name, job in jobs.items()}
    return {"outcomes": outcomes, "results": results, "calls": sorted(fault_jobs.all_calls())}


def _past() -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) - timedelta(seconds=2)


def rq_truth(connection: Any, worker_class: Any, exit_too: bool = False) -> dict[str, Any]:
    truth = rq_mix(connection, worker_class, exit_too)
    assert truth["outcomes"]["second"] == truth["outcomes"]["later"] == "finished"
    assert truth["outcomes"]["bad"] == "failed"
    return truth


@pytest.fixture
def rq_hooks() -> Iterator[Callable[[], None]]:
    yield jobtide_emitter.rq.install
    jobtide_emitter.rq.uninstall()


def worker_classes() -> list[Any]:
    import rq

    return [rq.SimpleWorker, rq.Worker]


@pytest.mark.parametrize("worker_class", worker_classes(), ids=lambda kind: kind.__name__)
def test_rq_with_healthy_hooks(rq_connection: Any, rq_hooks: Any, worker_class: Any, no_errors: None) -> None:
    forks = worker_class.__name__ == "Worker"
    truth = rq_truth(rq_connection, worker_class, forks)
    rq_hooks()
    assert rq_mix(rq_connection, worker_class, forks) == truth


@pytest.mark.parametrize("worker_class", worker_classes(), ids=lambda kind: kind.__name__)
def test_rq_with_all_hooks_broken(rq_connection: Any, rq_hooks: Any, worker_class: Any) -> None:
    forks = worker_class.__name__ == "Worker"
    truth = rq_truth(rq_connection, worker_class, forks)
    rq_hooks()
    sites = sites_of("rq")
    with faulty(sites):
        assert rq_mix(rq_connection, worker_class, forks) == truth
    if not forks:  # a fork counts for itself
        assert set(sites) - reached(sites) == RQ_ELSEWHERE


@pytest.mark.parametrize("site", sorted(set(sites_of("rq")) - RQ_ELSEWHERE))
def test_rq_with_one_hook_broken(rq_connection: Any, rq_hooks: Any, site: str) -> None:
    import rq

    truth = rq_truth(rq_connection, rq.SimpleWorker)
    rq_hooks()
    with faulty([site]):
        assert rq_mix(rq_connection, rq.SimpleWorker) == truth
    assert reached([site])


@pytest.mark.parametrize("inside", INSIDE)
def test_rq_with_a_broken_emitter(rq_connection: Any, rq_hooks: Any, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import rq

    truth = rq_truth(rq_connection, rq.SimpleWorker)
    rq_hooks()
    owner, name = INSIDE[inside]
    monkeypatch.setattr(owner, name, boom)
    assert rq_mix(rq_connection, rq.SimpleWorker) == truth


def test_rq_when_counting_attempts_fails(rq_connection: Any, rq_hooks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis
    import rq

    truth = rq_truth(rq_connection, rq.SimpleWorker)
    rq_hooks()
    hincrby = redis.Redis.hincrby

    def ours_fails(self: Any, key: Any, field: str, amount: int = 1) -> Any:
        return boom() if field == ATTEMPTS else hincrby(self, key, field, amount)

    monkeypatch.setattr(redis.Redis, "hincrby", ours_fails)
    assert rq_mix(rq_connection, rq.SimpleWorker) == truth


# Dramatiq.


def dramatiq_mix(hooks: bool) -> dict[str, Any]:
    fault_jobs.forget()
    broker = StubBroker(middleware=[Retries(min_backoff=1, max_backoff=2)])
    if hooks:
        broker.add_middleware(JobtideMiddleware())
    actors = {
        name: dramatiq.actor(function, broker=broker, actor_name=name, queue_name="faults", max_retries=2)
        for name, function in (("ok", fault_jobs.ok), ("bad", fault_jobs.bad), ("second", fault_jobs.second_time))
    }
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        for name, actor in actors.items():
            actor.send(name)
        actors["ok"].send_with_options(args=("later",), delay=50)
        broker.join("faults", timeout=20_000, fail_fast=False)
        worker.join()
    finally:
        worker.stop()
    return {"calls": sorted(fault_jobs.all_calls()), "dead": len(broker.dead_letters)}


@pytest.fixture(scope="module")
def dramatiq_truth() -> dict[str, Any]:
    truth = dramatiq_mix(hooks=False)
    assert truth["dead"] == 1
    assert truth["calls"] == ["bad bad"] * 3 + ["ok later", "ok ok"] + ["second second"] * 2
    return truth


def test_dramatiq_with_healthy_hooks(dramatiq_truth: Any, no_errors: None) -> None:
    assert dramatiq_mix(hooks=True) == dramatiq_truth


def test_dramatiq_with_all_hooks_broken(dramatiq_truth: Any) -> None:
    sites = sites_of("dramatiq")
    with faulty(sites):
        assert dramatiq_mix(hooks=True) == dramatiq_truth
    assert set(sites) - reached(sites) == DRAMATIQ_ELSEWHERE


@pytest.mark.parametrize("site", sorted(set(sites_of("dramatiq")) - DRAMATIQ_ELSEWHERE))
def test_dramatiq_with_one_hook_broken(dramatiq_truth: Any, site: str) -> None:
    with faulty([site]):
        assert dramatiq_mix(hooks=True) == dramatiq_truth
    assert reached([site])


@pytest.mark.parametrize("inside", INSIDE)
def test_dramatiq_with_a_broken_emitter(dramatiq_truth: Any, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name = INSIDE[inside]
    monkeypatch.setattr(owner, name, boom)
    assert dramatiq_mix(hooks=True) == dramatiq_truth


# What must pass through.


class TimeLimit(Exception):
    """Stands for a backend's own interrupt."""


def test_interrupts_of_a_backend_pass_through_the_guard() -> None:
    site = guard.guarded("test.interrupt")(lambda: (_ for _ in ()).throw(TimeLimit()))
    guard.lets_through(TimeLimit)
    try:
        with pytest.raises(TimeLimit):
            site()
        assert guard.sites["test.interrupt"].errors == 0
    finally:
        del guard.sites["test.interrupt"]


def test_keyboard_interrupts_pass_through_the_guard() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    site = guard.guarded("test.keyboard")(interrupt)
    with pytest.raises(KeyboardInterrupt):
        site()
    del guard.sites["test.keyboard"]


def test_a_broken_log_handler_does_not_reach_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard.log, "error", boom)
    site = guard.guarded("test.log")(boom)
    assert site() is None
    del guard.sites["test.log"]
