"""Real workers of every backend, real Kafka, real Valkey: what was told is compared with what the jobs wrote down.

Each worker runs in processes of its own, started by its backend's own command line.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from shop_run import Shop, by_key, key, of, until, us

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
ALL = ["celery", "rq", "dramatiq", "huey", "arq", "taskiq", "procrastinate"]
BACKENDS = [backend for backend in ALL if find_spec(backend)]
WITH_DELAYS = [backend for backend in BACKENDS if backend != "taskiq"]  # its brokers differ in whether they know delays
Make = Callable[..., Shop]


@pytest.fixture
def make(redis_url: str, kafka_broker: str, topic: str, tmp_path: Path, request: pytest.FixtureRequest) -> Make:
    def made(backend: str, **settings: str) -> Shop:
        postgres = request.getfixturevalue("postgres_dsn") if backend == "procrastinate" else ""
        return Shop(backend, redis_url, kafka_broker, topic, tmp_path, settings, postgres)

    return made


def assert_same_story(shop: Shop, events: list[dict[str, Any]]) -> None:
    """Every attempt of the oracle, no other, each once, with the same outcome."""
    starts = {(line["job_id"], line["attempt"]): line for line in shop.lines("start")}
    left = {(line["job_id"], line["attempt"]): line for line in shop.lines("left")}
    started = by_key(events, "job.started")
    ended = by_key(events, "job.finished", "job.failed")
    assert set(started) == set(starts)
    assert set(ended) == set(left)
    for attempt, line in left.items():
        assert (ended[attempt]["type"] == "job.finished.v1") == (line["outcome"] == "ok")
        assert ended[attempt]["data"]["started_at"] == started[attempt]["time"]
        assert ended[attempt]["data"]["job_class"] == line["job_class"]
    assert set(by_key(events, "job.dead")) == {a for a, line in left.items() if line["outcome"] == "dead"}
    assert set(by_key(events, "job.retry_scheduled")) == {a for a, line in left.items() if line["outcome"] == "retry"}
    assert_enqueued_once(shop, events)
    assert_times(starts, left, started, ended)


def assert_enqueued_once(shop: Shop, events: list[dict[str, Any]]) -> None:
    """Each job once, at its time; later attempts only by their retry."""
    asked = {line["job_id"]: line for line in shop.lines("enqueue")}
    enqueued = by_key(events, "job.enqueued", "job.scheduled")
    assert set(enqueued) == {(job_id, 1) for job_id in asked}
    for (job_id, _), event in enqueued.items():
        assert 0 <= us(event) - asked[job_id]["t"] < 1_000_000


def assert_times(starts: Any, left: Any, started: Any, ended: Any) -> None:
    late_us = [us(started[attempt]) - line["t"] for attempt, line in starts.items()]
    longer_ms = [ended[attempt]["data"]["duration_ms"] - line["run_us"] / 1000 for attempt, line in left.items()]
    assert all(-500_000 < late <= 1000 for late in late_us)  # told before the body began, on a busy machine
    assert all(-1 < longer < 500 for longer in longer_ms)
    if len(longer_ms) > 20:
        assert statistics.median(late_us) > -10_000
        assert statistics.median(longer_ms) < 10


def assert_whole(events: list[dict[str, Any]]) -> None:
    """No hole, and every process said at its end how much there was."""
    seen: dict[tuple[str, int], set[int]] = defaultdict(set)
    said: dict[tuple[str, int], int] = {}
    for event in events:
        seen[event["epoch"], event["lane"]].add(event["seq"])
    for event in of(events, "emitter.stats"):
        if event["data"]["clean"]:
            said.update({(event["epoch"], int(lane)): following for lane, following in event["data"]["next"].items()})
            assert event["data"]["dropped"] == 0
    assert {lane: set(range(following)) for lane, following in said.items()} == seen


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_emitter_tells_what_the_jobs_did(make: Make, backend: str) -> None:
    shop = make(backend)
    with shop.worker():
        shop.drive(80, "--run-ms", "5")
    events = shop.events()
    assert_same_story(shop, events)
    assert_whole(events)
    for kind in ("worker.online", "worker.stopping", "worker.offline"):
        assert sorted(event["lane"] % 8 for event in of(events, kind)) == list(range(8))
    if backend not in ("taskiq", "procrastinate"):
        assert {(event["data"]["system"], event["data"]["queue"]) for event in of(events, "queue.snapshot")} == {(backend, "shop")}
        assert any(event["data"]["ready"] for event in of(events, "queue.snapshot"))
    assert len({event["data"]["worker_id"] for event in of(events, "worker.online")}) == 1
    assert {event["data"]["worker_id"] for event in of(events, "job.started")} == {
        event["data"]["worker_id"] for event in of(events, "worker.online")
    }


@pytest.mark.parametrize("backend", WITH_DELAYS)
def test_delayed_jobs_and_retries_say_when_they_may_start(make: Make, backend: str) -> None:
    shop = make(backend)
    with shop.worker():
        plan = "Plan(number=1, job_class='mail', kind='retry', failures=1, retries=2, run_ms=5, retry_ms=1000)"
        shop.call(f"app.enqueue_later({plan}, 2.0)")
        until(lambda: len(shop.lines("left")) == 2)
    events = shop.events()
    assert_same_story(shop, events)
    (asked,) = shop.lines("enqueue")
    (scheduled,) = of(events, "job.scheduled")
    assert abs(us(scheduled, "run_at") - asked["run_at"]) < (1_000 if backend != "dramatiq" else 500_000)
    first, second = sorted(of(events, "job.started"), key=key)
    assert first["data"]["run_at"] == scheduled["data"]["run_at"]
    if backend != "procrastinate":  # keeps no enqueue time
        assert abs(us(first, "enqueued_at") - us(scheduled)) < (1 if backend != "arq" else 5_000)  # arq's own stamp
    (retry,) = of(events, "job.retry_scheduled")
    assert second["data"]["run_at"] == retry["data"]["run_at"]
    assert (-50_000 if backend == "rq" else 500_000) < us(retry, "run_at") - us(retry) <= 1_100_000
    for event in (first, second):
        assert -10_000 < us(event) - us(event, "run_at") < 3_000_000


@pytest.mark.parametrize("backend", BACKENDS)
def test_heartbeats_hold_what_runs(make: Make, backend: str) -> None:
    shop = make(backend)
    plan = "Plan(number=1, job_class='mail', kind='ok', failures=0, retries=0, run_ms=3500, retry_ms=0)"
    with shop.worker():
        job_id = shop.call(f"print(app.enqueue({plan}))")
        until(lambda: shop.lines("left"))
        time.sleep(1.2)  # one heartbeat after the job
    beats = of(shop.events(), "worker.heartbeat")
    assert all(beat["data"]["complete"] for beat in beats)
    holding = [beat for beat in beats if beat["data"]["running"]]
    assert {job["job_id"] for beat in holding for job in beat["data"]["running"]} == {job_id}
    assert len({beat["lane"] % 8 for beat in holding}) == 1
    assert 2 <= len(holding) <= 5
    assert not beats[-1]["data"]["running"]


@pytest.mark.parametrize("backend", ["celery", "rq", "dramatiq"])  # the emitter's own doing, the same for every backend
def test_a_dead_broker_changes_nothing_for_the_jobs(make: Make, backend: str) -> None:
    shop = make(backend, JOBTIDE_EMITTER_BROKER="127.0.0.1:9", JOBTIDE_EMITTER_REQUEST_TIMEOUT_MS="500")
    with shop.worker(stop_s=25):
        shop.drive(30, "--run-ms", "2")
    wanted = {line["job_id"] for line in shop.lines("plan")}
    assert {line["job_id"] for line in shop.lines("left") if line["outcome"] in ("ok", "dead")} == wanted


@pytest.mark.parametrize("backend", ["celery", "rq", "dramatiq"])  # the emitter's own doing, the same for every backend
def test_off_is_off(make: Make, backend: str) -> None:
    shop = make(backend, JOBTIDE_EMITTER_DISABLED="1")
    with shop.worker():
        shop.drive(10, "--run-ms", "2")
    assert shop.events() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_jobs_do_not_notice_that_every_hook_is_broken(make: Make, backend: str) -> None:
    shop = make(backend, BREAK_HOOKS="1")
    command = [part.replace(f"jobtide_example.{backend}_app", f"broken_{backend}") for part in shop.command()]
    if backend == "rq":
        command[command.index("jobtide_emitter.rq.Worker")] = "broken_rq.Worker"
    with shop.worker(command):
        shop.drive(30, "--run-ms", "2")
    wanted = {line["job_id"] for line in shop.lines("plan")}
    assert {line["job_id"] for line in shop.lines("left") if line["outcome"] in ("ok", "dead")} == wanted
    assert of(shop.events(), "job.started") == []


# What only one backend does.

LONG = "Plan(number=1, job_class='mail', kind='ok', failures=0, retries={retries}, run_ms=20000, retry_ms=0)"
SHORT = "Plan(number=2, job_class='mail', kind='ok', failures=0, retries=0, run_ms=5, retry_ms=0)"


def test_celery_a_killed_pool_process_is_reported_by_the_worker(make: Make) -> None:
    shop = make("celery")
    with shop.worker():
        job_id = shop.call(f"print(app.enqueue({LONG.format(retries=0)}))")
        (start,) = until(lambda: shop.lines("start"))
        shop.wait_for("job.started", job_id=job_id)
        os.kill(start["pid"], signal.SIGKILL)
        (failed,) = shop.wait_for("job.failed", job_id=job_id)
        shop.wait_for("job.dead", job_id=job_id)
    assert failed["data"]["error"]["class"].endswith("WorkerLostError")
    (started,) = of(shop.events(), "job.started")
    assert failed["data"]["worker_id"] == started["data"]["worker_id"]
    assert abs(us(failed, "started_at") - us(started)) < 200_000


def test_celery_beat_tells_what_it_enqueues(make: Make) -> None:
    shop = make("celery")
    beat = [sys.executable, "-m", "celery", "-A", "beat_app", "beat", "--loglevel=WARNING", f"--schedule={shop.directory / 'beat'}"]
    with shop.worker():
        with shop.worker([*beat, "--pidfile="]):
            until(lambda: len(shop.lines("left")) >= 3)
        until(lambda: len(of(shop.events(), "job.enqueued")) == len(shop.lines("left")))
    events = shop.events()
    enqueued, started = by_key(events, "job.enqueued"), by_key(events, "job.started")
    assert set(enqueued) == set(started) == {(line["job_id"], 1) for line in shop.lines("left")}
    assert {event["source"] for event in enqueued.values()}.isdisjoint({event["source"] for event in started.values()})
    assert_whole(events)


def test_celery_a_hard_time_limit_is_reported_by_the_worker(make: Make) -> None:
    shop = make("celery")
    with shop.worker():
        code = f"plan = {LONG.format(retries=0)}\nprint(app.app.send_task('shop.mail', (plan.as_argument(),), time_limit=1))"
        job_id = shop.call(code)
        (failed,) = shop.wait_for("job.failed", job_id=job_id)
        shop.wait_for("job.dead", job_id=job_id)
    assert failed["data"]["error"]["class"].endswith("TimeLimitExceeded")
    assert failed["data"]["duration_ms"] == pytest.approx(1000, abs=900)


def test_celery_a_soft_time_limit_reaches_the_task(make: Make) -> None:
    shop = make("celery")
    with shop.worker():
        code = f"plan = {LONG.format(retries=0)}\nprint(app.app.send_task('shop.mail', (plan.as_argument(),), soft_time_limit=1))"
        job_id = shop.call(code)
        (failed,) = shop.wait_for("job.failed", job_id=job_id)
    assert failed["data"]["error"]["class"].endswith("SoftTimeLimitExceeded")


def test_celery_revoked_expired_terminated_and_unknown(make: Make) -> None:
    shop = make("celery")
    waiting = shop.call(f"print(app.enqueue({SHORT}))")
    expired = shop.call(f"print(app.app.send_task('shop.mail', ({SHORT}.as_argument(),), expires=0.1))")
    unknown = shop.call("print(app.app.send_task('shop.nothing'))")
    with shop.worker():
        shop.wait_for("job.discarded", job_id=unknown, reason="no such task")
        shop.wait_for("job.discarded", job_id=expired, reason="expired")
        shop.wait_for("job.finished", job_id=waiting)
        running = shop.call(f"print(app.enqueue({LONG.format(retries=0)}))")
        shop.wait_for("job.started", job_id=running)
        later = shop.call(f"print(app.enqueue_later({SHORT}, 12))")
        shop.call(f"app.app.control.revoke({later!r}); app.app.control.revoke({running!r}, terminate=True)")
        (cancelled,) = shop.wait_for("job.cancelled", job_id=running, reason="terminated")
        shop.wait_for("job.cancelled", job_id=later, reason="revoked")
    assert cancelled["data"]["started_at"]
    assert running not in {event["data"]["job_id"] for event in of(shop.events(), "job.failed")}


def test_rq_a_killed_work_horse_has_told_its_start_and_is_reported(make: Make) -> None:
    shop = make("rq")
    with shop.worker():
        job_id = shop.call(f"print(app.enqueue({LONG.format(retries=1)}))")
        (start,) = until(lambda: shop.lines("start"))
        os.kill(start["pid"], signal.SIGKILL)
        (failed,) = shop.wait_for("job.failed", job_id=job_id, attempt=1)
        shop.wait_for("job.retry_scheduled", job_id=job_id, attempt=1)
        until(lambda: len(shop.lines("start")) == 2)
        second = shop.lines("start")[1]
        os.kill(second["pid"], signal.SIGKILL)
        shop.wait_for("job.dead", job_id=job_id, attempt=2)
    assert failed["data"]["error"]["class"] == "WorkHorseTerminated"
    events = shop.events()
    assert set(by_key(events, "job.started")) == {(job_id, 1), (job_id, 2)}
    assert_whole(events)


def test_rq_a_stopped_job_is_cancelled(make: Make) -> None:
    shop = make("rq")
    with shop.worker():
        job_id = shop.call(f"print(app.enqueue({LONG.format(retries=1)}))")
        shop.wait_for("job.started", job_id=job_id)
        shop.call(f"from rq.command import send_stop_job_command as s; s(app.queue.connection, {job_id!r})")
        shop.wait_for("job.cancelled", job_id=job_id, reason="stopped")
    events = shop.events()
    assert not of(events, "job.failed") + of(events, "job.dead") + of(events, "job.retry_scheduled")


def test_rq_a_job_that_ends_its_process_is_reported(make: Make) -> None:
    shop = make("rq")
    with shop.worker():
        job_id = shop.call("import os; print(app.queue.enqueue(os._exit, 7).id)")
        (failed,) = shop.wait_for("job.failed", job_id=job_id)
        shop.wait_for("job.dead", job_id=job_id)
    assert failed["data"]["error"]["class"] == "WorkHorseTerminated"
    assert set(by_key(shop.events(), "job.started")) == {(job_id, 1)}


def test_rq_a_time_limit_reaches_the_job(make: Make) -> None:
    shop = make("rq")
    with shop.worker():
        job_id = shop.call(f"print(app.queue.enqueue(app.mail, {LONG.format(retries=0)}.as_argument(), job_timeout=1).id)")
        (failed,) = shop.wait_for("job.failed", job_id=job_id)
    assert failed["data"]["error"]["class"].endswith("JobTimeoutException")
    assert failed["data"]["duration_ms"] == pytest.approx(1000, abs=500)


def test_rq_spawned_work_horses_send_by_themselves(make: Make) -> None:
    shop = make("rq")
    with shop.worker([sys.executable, "-m", "rq.cli", "worker", "-w", "spawning_rq.Worker", "--url", shop.url, "shop"]):
        shop.drive(6, "--run-ms", "2", "--mix", '{"ok": 1, "dead": 1}')
    events = shop.events()
    assert_same_story(shop, events)
    assert_whole(events)


def test_dramatiq_a_killed_worker_process_leaves_an_unclean_epoch(make: Make) -> None:
    shop = make("dramatiq")
    command = shop.command()
    with shop.worker(command) as process:
        shop.drive(20, "--run-ms", "2", "--mix", '{"ok": 1}')
        shop.wait_for("job.finished", 20)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    events = shop.events()
    assert set(by_key(events, "job.finished")) == {(line["job_id"], 1) for line in shop.lines("left")}
    epoch = of(events, "job.started")[0]["epoch"]
    assert not [e for e in of(events, "emitter.stats") if e["epoch"] == epoch and e["data"]["clean"]]
