"""Lists of executions, deploys and queue states: what is copied, in any order, and what redelivery does. On both engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from jobtide.sinks.clickhouse.migrate import prepare
from jobtide.sinks.fingerprints import fingerprint
from jobtide.streams.events import time_text
from jobtide.streams.settings import Settings

from tests.fakes.history_log import SteppedWriter, log_of
from tests.proof.job_events import SECOND, START_US, job_event


@pytest.fixture
def migrated(history_settings: Settings) -> Settings:
    settings = replace(history_settings, retention_queues_days=20_000)  # the events are of a fixed day
    prepare(settings)
    return settings


def written(settings: Settings, events: list[dict[str, Any]], size: int = 1) -> SteppedWriter:
    writer = SteppedWriter(settings, log_of([(START_US + 60 * SECOND, e) for e in events], 2), 10)
    while not writer.done:
        writer.step(size)
    return writer


def test_failures_and_what_came_of_them_are_listed_in_any_order(migrated: Settings) -> None:
    """One job: failed, retried, finished; another finished at once and is in no list."""
    error = {"class": "Timeout", "message": "no answer after 30 s"}
    story = [
        job_event("failed", START_US, duration_ms=5, error=error),
        job_event("retry_scheduled", START_US + 1, run_at=START_US + SECOND),
        job_event("finished", START_US + 2 * SECOND, attempt=2, duration_ms=7),
        job_event("finished", START_US, job_id="calm", duration_ms=1),
    ]
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 0, 3)):
        writer = written(migrated, [story[n] for n in order])
        asked = "job_id, attempt, state, retried, error_class, error_fingerprint, run_us, recovered"
        rows = writer.rows(f"SELECT {asked} FROM listed_executions ORDER BY attempt")
        assert rows == [
            ("job-1", 1, "failed", 1, "Timeout", fingerprint("Timeout", "no answer after 31 s"), 5000, 1),
            ("job-1", 2, "finished", 0, "", "", 7000, 0),
        ]
        writer.forget_all()


CAUSES = """
SELECT fact, attempt, rank, toUnixTimestamp64Micro(at), host, error_class, error_fingerprint FROM failures FINAL ORDER BY fact DESC, attempt"""


def test_causes_are_those_of_the_outcome_that_counts_in_any_order_and_after_a_crash(migrated: Settings) -> None:
    """A writer that starts again knows outcomes from the table, but no error and no worker: their rows must stay."""
    boom, again = ({"class": name, "message": "m", "fingerprint": name.lower()} for name in ("Boom", "Again"))
    dead = job_event("dead", START_US + 9, attempt=2, error=boom)
    story = [
        job_event("failed", START_US + 5, worker_id="w-1:7", error=boom),
        job_event("failed", START_US + 3, worker_id="w-2:8", error=again),
        job_event("failed", START_US + 7, attempt=2, worker_id="w-3", error=boom),
        dead,
        job_event("started", START_US + 6, attempt=2, worker_id="w-3"),
    ]
    failed = [("failed", 1, 3, START_US + 3, "w-2", "Again", "again"), ("failed", 2, 3, START_US + 7, "w-3", "Boom", "boom")]
    died = [("dead", 2, 0, START_US + 9, "", "", "")]
    for order in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (3, 1, 4, 0, 2)):
        writer = SteppedWriter(migrated, log_of([(START_US + 60 * SECOND, story[n]) for n in order], 2), 10)
        for _ in order:
            writer.step(1)
            writer.crash()
        assert writer.rows(CAUSES) == [*failed, *died], "started again after each event"
        writer.merge_parts()
        assert writer.rows(CAUSES.replace("FINAL", "")) == [*failed, *died]
        writer.forget_all()
    mended = [*story, job_event("finished", START_US + 20, attempt=2, duration_ms=1), job_event("finished", START_US + 30, attempt=3, duration_ms=1)]
    for size in (1, 99):
        writer = written(migrated, mended, size)
        recovered = [("recovered", n, 0) for n in (1, 2)]
        counts = [("failed", 1, 3), ("failed", 2, 4), ("dead", 2, 0)]
        assert [row[:3] for row in writer.rows(CAUSES)] == [*recovered, *counts], "finished is more than failed"
        writer.forget_all()


def test_an_attempt_is_in_its_batch_whichever_event_says_so(migrated: Settings) -> None:
    told = [job_event("enqueued", START_US, batch_id="b-1"), job_event("retry_scheduled", START_US + 9, run_at=START_US + 10, batch_id="b-1")]
    untold = [
        job_event("started", START_US + 1),
        job_event("failed", START_US + 5, duration_ms=0.004),
        job_event("finished", START_US + 20, attempt=2, duration_ms=0.001),
    ]
    for order in ([*told, *untold], [*untold, *told], [untold[1], told[0], untold[0], untold[2], told[1]]):
        writer = written(migrated, order)
        batch = "SELECT batch, batch_id, attempt, state FROM listed_executions WHERE list = 'batch' ORDER BY attempt"
        assert writer.rows(batch) == [("b-1", "b-1", 1, "failed"), ("b-1", "b-1", 2, "finished")]
        assert writer.rows("SELECT attempt, batch_id FROM executions ORDER BY attempt") == [(1, "b-1"), (2, "b-1")]
        writer.forget_all()


def of_queue(kind: str, at_us: int, **data: Any) -> dict[str, Any]:
    made = job_event("enqueued", at_us)
    key = "acme/celery/q/mail"
    owner = {"tenant": "acme", "system": "celery"}
    named = {**owner, "queue": "mail"} if kind.startswith("queue.") else owner
    return {**made, "type": f"{kind}.v1", "id": f"{kind}-{at_us}".ljust(16, "-"), "subject": "mail", "partitionkey": key, "data": {**named, **data}}


def test_deploys_and_queue_states_are_kept_once(migrated: Settings) -> None:
    events = [
        of_queue("deploy.marked", START_US, release="v7", actor="ann", url="https://ci/7"),
        of_queue("queue.snapshot", START_US + 1, ready=5, retry=2, paused=False, oldest_ready_at=time_text(START_US - SECOND)),
        of_queue("queue.paused", START_US + 2, actor="bob"),
        of_queue("queue.resumed", START_US + 3),
    ]
    writer = written(migrated, events)
    for _ in range(2):
        writer.committed = 0
        writer.crash()
        writer.step(4)
    assert writer.rows("SELECT release, actor, url, note, system, queue FROM deploys FINAL") == [("v7", "ann", "https://ci/7", "", "celery", "")]
    states = "SELECT type, ready, scheduled, retry, paused, toUnixTimestamp64Micro(oldest_ready_at), actor FROM queue_states FINAL ORDER BY time"
    assert writer.rows(states) == [
        ("queue.snapshot", 5, None, 2, 0, START_US - SECOND, ""),
        ("queue.paused", None, None, None, 1, None, "bob"),
        ("queue.resumed", None, None, None, 0, None, ""),
    ]
    assert writer.rows("SELECT count() FROM job_events FINAL") == [(4,)], "completeness counts them there as well"
    writer.forget_all()


def test_what_an_earlier_version_wrote_is_taken_over(migrated: Settings) -> None:
    """The filling statements of the migrations give the rows that the writer would have written."""
    error = {"class": "Timeout", "message": "m", "fingerprint": "f"}
    events = [
        job_event("failed", START_US, duration_ms=5, error=error),
        job_event("finished", START_US + SECOND, attempt=2, duration_ms=1),
        job_event("finished", START_US, job_id="calm", duration_ms=1),
        job_event("failed", START_US + 7, job_id="over", duration_ms=5, error=error),
        job_event("dead", START_US + 9, job_id="over", error=error),
        of_queue("deploy.marked", START_US, release="v7", actor="ann"),
        of_queue("queue.snapshot", START_US + 1, ready=5, paused=True, oldest_ready_at=time_text(START_US - SECOND)),
        of_queue("queue.paused", START_US + 2, actor="bob"),
    ]
    writer = written(migrated, events, size=9)
    asked = [
        "SELECT * EXCEPT month FROM execution_lists FINAL ORDER BY job_id, attempt",
        "SELECT * FROM failures FINAL ORDER BY fact, attempt_hash",
        "SELECT * FROM deploys FINAL",
        "SELECT * FROM queue_states FINAL ORDER BY time",
    ]
    should = [writer.rows(sql) for sql in asked]
    for table in ("execution_lists", "failures", "deploys", "queue_states"):
        writer.db.command(f"TRUNCATE TABLE {table}")
    for version in (8, 9, 10, 12, 23):
        writer.db.command(f"DELETE FROM schema_migrations WHERE version = {version}")
    prepare(migrated)
    assert [writer.rows(sql) for sql in asked] == should
    assert all(should)
    writer.forget_all()
