"""Alerts in history: the same rows however often and in whatever pieces the log is read, on both engines; erasure of a job and of a tenant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec
import pytest
from jobtide.sinks.alert_rows import AlertRecord, Refusal, prepare
from jobtide.sinks.clickhouse import migrate
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.erasure import Erasure
from jobtide.streams.alerts.transitions import RULES_KEY, State, Transition, encode, fingerprint, transition_id
from jobtide.streams.settings import Settings

from tests.proof.job_events import SECOND, START_US

ALL = "SELECT tenant, rule, state, toUnixTimestamp64Micro(at), value, labels, examples FROM alerts FINAL ORDER BY at, id"


@pytest.fixture
def db(history_settings: Settings) -> Iterator[ClickHouse]:
    migrate.prepare(replace(history_settings, retention_alerts_days=20_000))  # the alerts are of a fixed day
    connection = ClickHouse(history_settings)
    yield connection
    connection.close()


def change(rule: str, state: State, after_s: int, tenant: str = "acme", value: float | None = 0.5, **more: object) -> Transition:
    labels = {"tenant": tenant, "environment": "prod", "system": "celery", "queue": "mail", "team": "it's ünïque"}
    print_ = fingerprint(rule, labels)
    at_us = START_US + after_s * SECOND
    return Transition(
        id=transition_id(rule, print_, START_US, state), rule=rule, kind="ratio", fingerprint=print_, labels=labels, severity="warning",
        state=state, reason="held", episode_us=START_US, at_us=at_us, value=value, samples=40, condition="c > 1",
        from_us=at_us - SECOND, to_us=at_us, query="/v1/q",
        **more,
    )  # type: ignore[arg-type]  # fmt: skip


def records(changes: Sequence[Transition], after_s: int = 0) -> list[AlertRecord]:
    return [AlertRecord(each.fingerprint.encode(), encode(each), START_US + (after_s + n) * SECOND) for n, each in enumerate(changes)]


STORY = [
    change("Slow", "pending", 1),
    change("Slow", "firing", 61, examples=[{"job_id": "j-1", "attempt": "1"}, {"job_id": "j-2", "attempt": "3"}]),
    change("Slow", "firing", 61, tenant="globex", value=None),
    change("Slow", "resolved", 90),
]


def test_a_log_read_twice_and_in_other_pieces_gives_each_change_once(db: ClickHouse) -> None:
    log = records(STORY)
    for cut in (4, 1, 2, 4):
        for start in range(0, len(log), cut):
            db.insert(prepare(log[start : start + cut]).insert())
        found = db.rows(ALL)
        assert [(row[0], row[2], row[3] - START_US, row[4]) for row in found if row[0] == "acme"] == [
            ("acme", "pending", SECOND, 0.5), ("acme", "firing", 61 * SECOND, 0.5), ("acme", "resolved", 90 * SECOND, 0.5),
        ]  # fmt: skip
        assert [(row[0], row[4]) for row in found if row[0] != "acme"] == [("globex", None)]
        assert found[0][5]["team"] == "it's ünïque"
        db.command("OPTIMIZE TABLE alerts FINAL")
    assert db.rows("SELECT count() FROM alerts") == [(4,)]
    assert db.rows("SELECT count() FROM analyst_alerts") == [(4,)]


def test_of_two_records_with_one_id_the_first_that_was_said_stays(db: ClickHouse) -> None:
    """A worker that was killed before its checkpoint decides a removed rule's end once more, at another second."""
    first, again = change("Gone", "resolved", 10), change("Gone", "resolved", 12)
    assert first.id == again.id
    for log in (records([again], after_s=20), records([first], after_s=10), records([again], after_s=20)):
        db.insert(prepare(log).insert())
    assert [row[3] - START_US for row in db.rows(ALL)] == [10 * SECOND]
    assert len(prepare([*records([first]), *records([again], after_s=9)]).ids) == 1


def test_what_is_no_alert_has_no_row_and_what_cannot_be_is_counted(db: ClickHouse) -> None:
    impossible = [msgspec.structs.replace(STORY[0], **wrong) for wrong in ({"at_us": -1}, {"samples": 1 << 70})]
    odd = [
        AlertRecord(RULES_KEY + b"0", b'{"digest": "x"}', START_US), AlertRecord(b"f", None, START_US), AlertRecord(b"f", b"{", START_US),
        AlertRecord(b"f", b'{"id": 1}', START_US), *records([*impossible, STORY[0]]),
    ]  # fmt: skip
    batch = prepare(odd)
    assert batch.refused == [Refusal.UNREADABLE, Refusal.UNREADABLE, Refusal.IMPOSSIBLE, Refusal.IMPOSSIBLE]
    db.insert(batch.insert())
    assert [row[2] for row in db.rows(ALL)] == ["pending"]


def test_erasing_a_job_takes_it_out_of_examples_and_a_tenant_goes_whole(db: ClickHouse, history_settings: Settings, redis_url: str) -> None:
    db.insert(prepare(records(STORY)).insert())
    erasure = Erasure(db, replace(history_settings, redis_url=redis_url, redis_prefix=f"{history_settings.clickhouse_database}:"))
    assert erasure.job("acme", "j-1") == {"alerts": 1}
    assert erasure.job("globex", "j-2") == {}
    assert [row[6] for row in db.rows(ALL) if row[0] == "acme" and row[6]] == [[{"job_id": "j-2", "attempt": "3"}]]
    assert len(db.rows(ALL)) == 4
    assert erasure.tenant("acme")["alerts"] == 3
    assert [row[0] for row in db.rows(ALL)] == ["globex"]


def test_retention_of_alerts_is_a_setting(db: ClickHouse, history_settings: Settings) -> None:
    migrate.apply_retention(db, replace(history_settings, retention_alerts_days=7))
    ((engine,),) = db.rows("SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'alerts'")
    assert "toIntervalDay(7)" in engine
