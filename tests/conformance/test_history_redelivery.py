"""Redelivery and crashes of the history writer, one by one: counts unchanged, no minute left stale. On both engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jobtide.sinks.clickhouse.migrate import prepare
from jobtide.sinks.clickhouse.rollups import Rollups
from jobtide.streams.settings import Settings

from tests.fakes.history_log import SteppedWriter, log_of
from tests.proof.job_events import MINUTE, SECOND, START_US, job_event

Appended = tuple[int, dict[str, object]]


@pytest.fixture
def migrated(history_settings: Settings) -> Settings:
    prepare(history_settings)
    return history_settings


@pytest.fixture
def moving(migrated: Settings) -> Iterator[SteppedWriter]:
    """A failure in one minute that turns out, an hour later, to have finished in another; both events are in the log."""
    failed = job_event("failed", START_US, duration_ms=1000, error={"class": "Lost", "message": "worker gone"})
    finished = job_event("finished", START_US + 60 * MINUTE, duration_ms=1000)
    writer = SteppedWriter(migrated, log_of([(START_US, failed), (START_US + 60 * MINUTE, finished)], 2), 10)
    writer.step(1)
    writer.recompute()
    assert writer.rows("SELECT sum(failed), sum(finished) FROM rollups") == [(1, 0)]
    yield writer
    writer.forget_all()


@pytest.mark.parametrize("killed_after", ["mark", "lists", "executions", "rows"])
def test_the_minute_an_attempt_left_is_repaired_after_a_crash(moving: SteppedWriter, killed_after: str) -> None:
    moving.step(1, stop_after=killed_after)
    moving.crash()
    moving.step(1)
    moving.recompute()
    assert moving.rows("SELECT sum(failed), sum(finished), sum(started) FROM rollups") == [(0, 1, 1)]
    assert moving.rows("SELECT state, run_us, error_class FROM executions") == [("finished", 1_000_000, "")]
    assert moving.rows("SELECT list, state FROM listed_executions") == [("trouble", "finished")], "no list says less than the original"


def test_a_recomputation_before_the_rows_does_not_finish_their_minutes(moving: SteppedWriter) -> None:
    moving.step(1, stop_after="mark")
    moving.recompute()
    moving.crash()
    moving.step(1, stop_after="executions")
    moving.crash()
    moving.recompute()
    moving.step(1)
    moving.recompute()
    assert moving.rows("SELECT sum(failed), sum(finished) FROM rollups") == [(0, 1)]


def test_a_series_that_left_a_minute_is_zero_there_and_not_shown(moving: SteppedWriter) -> None:
    moving.step(1)
    moving.recompute()
    left = f"minute = toDateTime({START_US // SECOND}, 'UTC')"
    assert moving.rows(f"SELECT count() FROM rollups WHERE {left} AND failed > 0") == [(0,)]
    assert moving.rows(f"SELECT failed FROM rollup_1m FINAL WHERE {left}") == [(0,)]


def test_a_batch_written_three_times_changes_nothing(migrated: Settings) -> None:
    appended: list[Appended] = []
    for number in range(200):
        at_us = START_US + number * SECOND
        name = f"job-{number}"
        appended.append((at_us, job_event("enqueued", at_us, job_id=name)))
        appended.append((at_us + SECOND, job_event("started", at_us + SECOND, job_id=name, enqueued_at=at_us)))
        kind = "failed" if number % 5 == 0 else "finished"
        appended.append((at_us + 3 * SECOND, job_event(kind, at_us + 3 * SECOND, job_id=name, duration_ms=2000)))
    appended.sort(key=lambda pair: pair[0])
    writer = SteppedWriter(migrated, log_of(appended, 2), 50)
    questions = (
        "SELECT count(), uniqExact(event_id) FROM job_events FINAL",
        "SELECT count(), countIf(state = 'finished'), countIf(state = 'failed'), sum(wait_us), sum(run_us) FROM executions",
        "SELECT sum(enqueued), sum(started), sum(finished), sum(failed), sumMap(wait_hist), sumMap(run_ok_hist) FROM rollups",
    )
    answers = []
    for size in (600, 600, 77):
        writer.committed = 0
        writer.crash()
        while not writer.done:
            writer.step(size)
        writer.recompute()
        answers.append([writer.rows(question) for question in questions])
    writer.forget_all()
    assert answers[0][0] == [(600, 600)]
    assert answers[0][1] == [(200, 160, 40, 200 * SECOND, 400 * SECOND)]
    assert answers[0][2][0][:4] == (200, 200, 160, 40)
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]


def test_a_minute_older_than_the_executions_is_never_lowered(migrated: Settings) -> None:
    event = job_event("finished", START_US, duration_ms=1000)
    writer = SteppedWriter(migrated, log_of([(START_US, event)], 2), 10)
    writer.step(1)
    minute = START_US // SECOND
    rollups = Rollups(writer.db, executions_kept_days=-1)  # as if the day were over on which they go
    rollups.recompute({("acme", minute)}, 60)
    assert writer.rows("SELECT finished FROM rollups") == [(1,)]
    writer.db.command("TRUNCATE TABLE job_executions")
    rollups.recompute({("acme", minute)}, 60)
    assert writer.rows("SELECT finished FROM rollups") == [(1,)], "its executions expired: the number stays"
    Rollups(writer.db, executions_kept_days=1).recompute({("acme", minute)}, 60)
    assert writer.rows("SELECT finished FROM rollups") == [], "old in time, but ingested just now: still all there"
    writer.forget_all()
