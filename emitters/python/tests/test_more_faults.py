"""A fault in every call site of Huey, arq, taskiq and procrastinate: real jobs do just what they do without hooks."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fault_jobs
import jobtide_emitter
import pytest

for _package in ("huey", "arq", "taskiq", "procrastinate"):
    pytest.importorskip(_package)

import jobtide_emitter.arq  # noqa: E402
import jobtide_emitter.huey  # noqa: E402
import jobtide_emitter.procrastinate  # noqa: E402
from jobtide_emitter.taskiq import JobtideMiddleware  # noqa: E402
from jobtide_emitter.transports.memory import MemoryTransport  # noqa: E402
from test_faults import INSIDE, boom, faulty, reached, sites_of  # noqa: E402

# Sites that the runs below do not reach: signals of a real worker, and what only a real worker does (test_real_workers).
ELSEWHERE = {
    "huey": {"huey.made", "huey.stopping", "huey.online"},
    "arq": set[str](),
    "taskiq": set[str](),
    "procrastinate": {"procrastinate.stopping"},
}
# Where the hook that puts them in place is broken too.
NEVER_PUT_IN_PLACE = {"arq": {"arq.begun", "arq.raised", "arq.returned"}}
Mix = Callable[[bool], dict[str, Any]]


@pytest.fixture(autouse=True)
def _emitting(memory: MemoryTransport) -> Iterator[None]:
    fault_jobs.forget()
    jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, flush_timeout_ms=200, heartbeat_ms=200)
    yield
    fault_jobs.forget()


def huey_mix(hooks: bool) -> dict[str, Any]:
    from huey import MemoryHuey, crontab

    fault_jobs.forget()
    huey = MemoryHuey("faults", utc=True)
    if hooks:
        jobtide_emitter.huey.install(huey)
    tasks = {
        name: huey.task(retries=2, name=name)(function)
        for name, function in (("ok", fault_jobs.ok), ("bad", fault_jobs.bad), ("second", fault_jobs.second_time))
    }
    huey.periodic_task(crontab(minute="*"), name="tick")(lambda: fault_jobs.ok("tick"))
    results = {name: task(name) for name, task in tasks.items()}
    results["later"] = tasks["ok"].schedule(("later",), delay=0.05)
    results["revoked"] = tasks["ok"]("revoked")
    results["revoked"].revoke()
    tasks["ok"].schedule(("expired",), delay=0, expires=-5)
    deadline = time.monotonic() + 10
    while (len(huey) or huey.scheduled_count()) and time.monotonic() < deadline:
        if len(huey):
            huey.execute(huey.dequeue())
        else:
            for task in huey.read_schedule():
                huey.enqueue(task)
            time.sleep(0.01)
    huey.enqueue(huey.read_periodic(None)[0])
    huey.execute(huey.dequeue())
    if hooks:
        jobtide_emitter.huey.uninstall(huey)
    outcomes = {}
    for name, result in results.items():
        try:
            outcomes[name] = str(result.get())
        except Exception as error:
            outcomes[name] = type(error).__name__
    return {"outcomes": outcomes, "calls": sorted(fault_jobs.all_calls())}


def arq_mix(url: str, hooks: bool) -> dict[str, Any]:
    import arq
    from arq.connections import RedisSettings
    from arq.worker import Worker

    fault_jobs.forget()
    if hooks:
        jobtide_emitter.arq.install()

    async def ok(ctx: Any, name: str) -> str:
        return fault_jobs.ok(name)

    async def bad(ctx: Any, name: str) -> None:
        fault_jobs.bad(name)

    async def second(ctx: Any, name: str) -> str:
        try:
            return fault_jobs.second_time(name)
        except fault_jobs.Expected as error:
            raise arq.Retry(defer=0.01) from error

    async def slow(ctx: Any, name: str) -> None:
        fault_jobs.ok(name)
        await asyncio.sleep(30)

    async def run() -> dict[str, Any]:
        pool = await arq.create_pool(RedisSettings.from_dsn(url), default_queue_name="faults")
        await pool.flushdb()
        jobs = {name: await pool.enqueue_job(name, name) for name in ("ok", "bad", "second", "slow", "nothing")}
        jobs["later"] = await pool.enqueue_job("ok", "later", _defer_by=0.05)
        functions = [arq.func(ok, name="ok"), arq.func(bad, name="bad"), arq.func(second, name="second"), arq.func(slow, name="slow", timeout=0.2)]
        worker = Worker(functions=functions, redis_pool=pool, queue_name="faults", burst=True, poll_delay=0.02, handle_signals=False)
        await worker.main()
        outcomes = {}
        for name, job in jobs.items():
            info = await job.result_info()
            outcomes[name] = (info.success, type(info.result).__name__)
        await worker.close()
        return outcomes

    try:
        outcomes = asyncio.run(run())
    finally:
        jobtide_emitter.arq.uninstall()
    return {"outcomes": outcomes, "calls": sorted(fault_jobs.all_calls())}


def taskiq_mix(hooks: bool) -> dict[str, Any]:
    from taskiq import InMemoryBroker, SimpleRetryMiddleware

    fault_jobs.forget()

    async def run() -> dict[str, Any]:
        middlewares = [SimpleRetryMiddleware(), *([JobtideMiddleware()] if hooks else [])]
        broker = InMemoryBroker(await_inplace=True).with_middlewares(*middlewares)
        broker.is_worker_process = True
        tasks = {
            name: broker.task(task_name=name, retry_on_error=name != "ok", max_retries=3)(function)
            for name, function in (("ok", fault_jobs.ok), ("bad", fault_jobs.bad), ("second", fault_jobs.second_time))
        }
        await broker.startup()
        outcomes = {}
        for name, task in tasks.items():
            result = await (await task.kiq(name)).wait_result(timeout=10)
            outcomes[name] = (result.is_err, result.return_value)
        await broker.shutdown()
        return outcomes

    return {"outcomes": asyncio.run(run()), "calls": sorted(fault_jobs.all_calls())}


def procrastinate_mix(hooks: bool) -> dict[str, Any]:
    from procrastinate import App
    from procrastinate.testing import InMemoryConnector

    fault_jobs.forget()
    if hooks:
        jobtide_emitter.procrastinate.install()
    app = App(connector=InMemoryConnector())
    functions = {"ok": fault_jobs.ok, "bad": fault_jobs.bad, "second": fault_jobs.second_time}
    tasks = {name: app.task(name=name, retry=1)(lambda name, function=function: function(name)) for name, function in functions.items()}

    @app.periodic(cron="* * * * *")
    @app.task(name="tick")
    def tick(timestamp: int) -> None:
        fault_jobs.ok("tick")

    async def run() -> dict[str, Any]:
        async with app.open_async():
            for name, task in tasks.items():
                await task.defer_async(name=name)
            job = procrastinate_job("tick", 60)
            await app.job_manager.defer_periodic_job(job, periodic_id="p", defer_timestamp=60)
            await app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
            jobs = await app.job_manager.list_jobs_async()
            return {job.task_name: (job.status, job.attempts) for job in jobs}

    try:
        outcomes = asyncio.run(run())
    finally:
        jobtide_emitter.procrastinate.uninstall()
    return {"outcomes": outcomes, "calls": sorted(fault_jobs.all_calls())}


def procrastinate_job(name: str, timestamp: int) -> Any:
    from procrastinate.jobs import Job

    return Job(queue="default", lock=None, queueing_lock=None, task_name=name, task_kwargs={"timestamp": timestamp})


@pytest.fixture
def mixes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Mix]:
    def mix_of(backend: str) -> Mix:
        if backend == "arq":
            url = f"{request.getfixturevalue('redis_url')}/9"
            return lambda hooks: arq_mix(url, hooks)
        return {"huey": huey_mix, "taskiq": taskiq_mix, "procrastinate": procrastinate_mix}[backend]

    return mix_of


BACKENDS = ["huey", "arq", "taskiq", "procrastinate"]
_truths: dict[str, dict[str, Any]] = {}


def truth_of(backend: str, mix: Mix) -> dict[str, Any]:
    if backend not in _truths:
        _truths[backend] = mix(False)
        assert "bad bad" in _truths[backend]["calls"]
        assert _truths[backend]["calls"].count("second second") == 2
    return _truths[backend]


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_healthy_hooks(mixes: Any, backend: str, memory: MemoryTransport, no_errors: None) -> None:
    mix = mixes(backend)
    assert mix(True) == truth_of(backend, mix)
    assert jobtide_emitter.flush(2000)
    assert memory.of("job.finished")
    assert memory.of("job.retry_scheduled")
    assert memory.of("job.dead")


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_all_hooks_broken(mixes: Any, backend: str) -> None:
    mix, sites = mixes(backend), sites_of(backend)
    truth = truth_of(backend, mix)
    with faulty(sites):
        assert mix(True) == truth
    assert set(sites) - reached(sites) == ELSEWHERE[backend] | NEVER_PUT_IN_PLACE.get(backend, set())


SITES = [(backend, site) for backend in BACKENDS for site in sorted(set(sites_of(backend)) - ELSEWHERE[backend])]


@pytest.mark.parametrize(("backend", "site"), SITES)
def test_with_one_hook_broken(mixes: Any, backend: str, site: str) -> None:
    mix = mixes(backend)
    truth = truth_of(backend, mix)
    with faulty([site]):
        assert mix(True) == truth
    assert reached([site])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("inside", INSIDE)
def test_with_a_broken_emitter(mixes: Any, backend: str, inside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mix = mixes(backend)
    truth = truth_of(backend, mix)
    owner, name = INSIDE[inside]
    monkeypatch.setattr(owner, name, boom)
    assert mix(True) == truth


def test_arq_when_the_worker_is_stopped_the_attempt_is_cancelled_and_runs_again(redis_url: str, memory: MemoryTransport, no_errors: None) -> None:
    import arq
    from arq.connections import RedisSettings
    from arq.worker import Worker

    jobtide_emitter.arq.install()

    async def first_long(ctx: Any) -> None:
        if ctx["job_try"] == 1:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR2)).start()
            await asyncio.sleep(30)

    async def run() -> None:
        pool = await arq.create_pool(RedisSettings.from_dsn(f"{redis_url}/9"), default_queue_name="faults")
        await pool.flushdb()
        await pool.enqueue_job("first_long", _job_id="1")
        for _ in range(2):
            worker = Worker(
                functions=[arq.func(first_long, name="first_long")], redis_pool=pool, queue_name="faults", burst=True, handle_signals=False
            )
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, lambda worker=worker: [t.cancel() for t in worker.tasks.values()])
            with_cancel = asyncio.gather(worker.main(), return_exceptions=True)
            await with_cancel
        await pool.aclose()

    try:
        asyncio.run(run())
    finally:
        jobtide_emitter.arq.uninstall()
    assert jobtide_emitter.flush(2000)
    story = [(e["type"].removesuffix(".v1"), e["data"]["attempt"]) for e in memory.events if e["type"].startswith("job.")]
    assert story == [
        ("job.enqueued", 1),
        ("job.started", 1),
        ("job.cancelled", 1),
        ("job.retry_scheduled", 1),
        ("job.started", 2),
        ("job.finished", 2),
    ]
