"""Snapshots of real queues in a real Valkey, and that one process is elected to tell them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import jobtide_emitter
import pytest
import redis
from jobtide_emitter.queues import Snapshot, Watch
from jobtide_emitter.transports.memory import MemoryTransport
from test_flusher import until

pytestmark = pytest.mark.usefixtures("no_errors")
Counts = Callable[[str], Snapshot]


@pytest.fixture
def url(redis_url: str) -> str:
    address = f"{redis_url}/12"
    redis.Redis.from_url(address).flushdb()
    return address


def recent(oldest_us: int | None) -> bool:
    return oldest_us is not None and 0 <= time.time() * 1e6 - oldest_us < 20e6


def test_rq(url: str, emitter: jobtide_emitter.Emitter) -> None:
    import rq
    from jobtide_emitter.queues.of_rq import RqCounts

    connection = redis.Redis.from_url(url)
    queue = rq.Queue("q", connection=connection)
    for _ in range(3):
        queue.enqueue(print)
    queue.enqueue_at(__import__("datetime").datetime(2090, 1, 1, tzinfo=__import__("datetime").UTC), print)
    counts = RqCounts(rq.Worker([queue], connection=connection))
    found = counts.snapshot("q")
    assert found._replace(oldest_us=None) == Snapshot(3, scheduled=1, running=0, dead=0, paused=False)
    assert recent(found.oldest_us)
    rq.suspension.suspend(connection)
    assert counts.snapshot("q").paused


def test_dramatiq(url: str, emitter: jobtide_emitter.Emitter) -> None:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker
    from jobtide_emitter.dramatiq import ENQUEUED_AT, JobtideMiddleware
    from jobtide_emitter.queues.of_dramatiq import DramatiqCounts

    broker = RedisBroker(url=url)
    broker.add_middleware(JobtideMiddleware())
    actor = dramatiq.actor(lambda: None, broker=broker, actor_name="a", queue_name="q")
    for _ in range(3):
        actor.send()
    actor.send_with_options(delay=60_000)
    found = DramatiqCounts(broker, ENQUEUED_AT).snapshot("q")
    assert found._replace(oldest_us=None) == Snapshot(3, scheduled=1, dead=0)
    assert recent(found.oldest_us)


def test_huey(url: str, emitter: jobtide_emitter.Emitter) -> None:
    pytest.importorskip("huey")
    import huey
    import jobtide_emitter.huey
    from jobtide_emitter.queues.of_huey import HueyCounts

    app = huey.RedisHuey("q", url=url)
    jobtide_emitter.huey.install(app)
    task = app.task(name="t")(lambda: None)
    for _ in range(3):
        task()
    app.add_schedule(task.s(delay=60))
    found = HueyCounts(app).snapshot("q")
    jobtide_emitter.huey.uninstall(app)
    assert found._replace(oldest_us=None) == Snapshot(3, scheduled=1)
    assert recent(found.oldest_us)


def test_arq(url: str, emitter: jobtide_emitter.Emitter) -> None:
    pytest.importorskip("arq")
    from arq import create_pool
    from arq.connections import RedisSettings
    from jobtide_emitter.queues.of_arq import ArqCounts

    async def enqueue() -> None:
        pool = await create_pool(RedisSettings.from_dsn(url), default_queue_name="q")
        for number in range(3):
            await pool.enqueue_job("f", _job_id=str(number))
        await pool.enqueue_job("f", _defer_by=60)
        await pool.set("arq:in-progress:0", b"1")
        await pool.aclose()

    asyncio.run(enqueue())
    found = ArqCounts(RedisSettings.from_dsn(url)).snapshot("q")
    assert found._replace(oldest_us=None) == Snapshot(2, scheduled=1, running=1)
    assert recent(found.oldest_us)


def test_celery(url: str, emitter: jobtide_emitter.Emitter) -> None:
    import celery
    import jobtide_emitter.celery
    from jobtide_emitter.celery.messages import ENQUEUED_AT
    from jobtide_emitter.queues.of_celery import CeleryCounts

    app = celery.Celery("a", broker=url, set_as_current=False)
    app.conf.task_default_queue = "q"
    jobtide_emitter.celery.install(app)
    try:
        for _ in range(3):
            app.send_task("t")
        found = CeleryCounts(app, ENQUEUED_AT).snapshot("q")
    finally:
        jobtide_emitter.celery.uninstall()
    assert found._replace(oldest_us=None) == Snapshot(3)
    assert recent(found.oldest_us)


class Fake:
    """Counts, without a backend."""

    system = "rq"

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url)
        self.asked = 0

    def snapshot(self, queue: str) -> Snapshot:
        self.asked += 1
        return Snapshot(7, oldest_us=1_500_000, paused=False)


def test_one_of_two_tells_and_the_other_takes_over(url: str, memory: MemoryTransport) -> None:
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, snapshot_ms=100, tenant="acme")
    first, second = Fake(url), Fake(url)
    watches = [Watch(emitter, lambda counts=counts: counts, ["q"]) for counts in (first, second)]
    watches[0].look()
    watches[1].look()
    watches[0].look()
    assert (first.asked, second.asked) == (2, 0)
    until(lambda: watches[1].look() or second.asked)  # the first is silent, its key goes
    watches[0].look()
    assert first.asked == 2
    assert emitter.flush(5000)
    snapshots = memory.of("queue.snapshot")
    assert len(snapshots) == 2 + second.asked
    assert snapshots[0]["partitionkey"] == "acme/rq/q/q"
    data: dict[str, Any] = snapshots[0]["data"]
    assert {name: data[name] for name in ("ready", "oldest_ready_at", "paused")} == {
        "ready": 7, "oldest_ready_at": "1970-01-01T00:00:01.500000Z", "paused": False,
    }  # fmt: skip


def test_a_watch_asks_on_its_clock_until_the_worker_ends(url: str, memory: MemoryTransport) -> None:
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0, snapshot_ms=100)
    fake = Fake(url)
    emitter.worker("rq", "w", ["q"], 1, list)
    emitter.watch(Watch(emitter, lambda: fake, ["q"]))
    until(lambda: fake.asked >= 3)
    emitter.end_worker()
    asked = fake.asked
    time.sleep(0.3)
    assert fake.asked <= asked + 1
