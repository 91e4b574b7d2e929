"""The parser in front of analysts' SQL: what it refuses, what it lets through, and that nothing but its own writing is run."""

from __future__ import annotations

import pytest
from jobtide.query.sql_functions import AGGREGATES, FUNCTIONS
from jobtide.query.sql_guard import MAX_CHARS, VIEWS, Reason, Refused, guarded, physical

from tests.fakes.sql_escapes import CONFINED, ESCAPES


@pytest.mark.parametrize("sql", ESCAPES)
def test_an_escape_is_refused(sql: str) -> None:
    with pytest.raises(Refused):
        guarded(sql, "acme")
    with pytest.raises(Refused):
        guarded(sql, None)


def test_there_are_enough_escapes_and_each_is_another() -> None:
    assert len(set(ESCAPES)) == len(ESCAPES) > 150


@pytest.mark.parametrize("sql", CONFINED)
def test_every_view_is_the_tenants(sql: str) -> None:
    written = guarded(sql, "ac'me\\")
    assert written.count('FROM "analyst_') == written.count("WHERE \"tenant\" = 'ac''me\\\\')")
    assert "tenant\" = 'ac" not in guarded(sql, None)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT queue, countIf(dead) AS f, quantileExact(0.95)(run_us) FROM executions GROUP BY queue HAVING f > 1 ORDER BY f DESC LIMIT 10",
        "WITH x AS (SELECT job_class, sum(finished) AS n FROM rollups GROUP BY job_class) SELECT * FROM x WHERE n > 10",
        "WITH 5 AS n SELECT n, count() FROM executions AS e LEFT JOIN deploys AS d ON d.environment = e.environment GROUP BY n",
        "SELECT minute, arrayMap((k, v) -> k * v, mapKeys(wait_hist), mapValues(wait_hist)) FROM rollups",
        "SELECT toStartOfHour(finished_at) AS h, uniqExact(job_id) FROM executions GROUP BY h ORDER BY h WITH FILL STEP INTERVAL 1 HOUR",
        "SELECT job_class, row_number() OVER (PARTITION BY queue ORDER BY run_us DESC) AS rn FROM executions QUALIFY rn <= 3",
        "SELECT JSONExtractString(data, 'batch_id') AS b, count() FROM events ARRAY JOIN [1, 2] AS k GROUP BY b",
        "SELECT CAST(run_us AS Nullable(Float64)) / 1e6 AS s FROM executions WHERE queue IN ('a', 'b') LIMIT 5 BY queue",
        "SELECT 1 -- a comment; DROP TABLE x",
        "SELECT 'FORMAT; SETTINGS file(''x'')' AS words",
        "SELECT 'größer \u200b “x”' AS `größe` FROM executions WHERE queue IN ('ä') AND (queue, job_id) IN (SELECT queue, job_id FROM events)",
        "SELECT 1 /* größer */ FROM executions WHERE lower(queue) IN (lower('A'), job_class) OR run_us IN (1)",
    ],
)
def test_ordinary_questions_pass(sql: str) -> None:
    assert "--" not in guarded(sql, "acme")


def test_reasons_tell_what_would_be_right() -> None:
    for sql, reason, words in (
        ("SELECT * FROM job_events", Reason.TABLE, "executions"),
        ("SELECT sleep(1)", Reason.FUNCTION, "sleep"),
        ("SELECT 1; SELECT 2", Reason.NOT_ONE_STATEMENT, "2 statements"),
        ("SELECT 1 SETTINGS a = 1", Reason.CLAUSE, "SETTINGS"),
        ("x" * (MAX_CHARS + 1), Reason.TOO_LONG, str(MAX_CHARS)),
        ("SELECT " + "(" * 5000, Reason.SYNTAX, "understood"),
        ("SELECT " + "+".join("1" * 3000), Reason.TOO_LONG, "simpler"),
    ):
        with pytest.raises(Refused) as caught:
            guarded(sql, None)
        assert caught.value.reason is reason, sql[:60]
        assert words in caught.value.detail


def test_a_name_of_with_cannot_stand_for_a_table() -> None:
    written = guarded("WITH job_executions AS (SELECT 1 AS a) SELECT * FROM job_executions", "acme")
    assert '"cte_job_executions"' in written
    assert "FROM job_executions" not in written
    elsewhere = guarded("SELECT * FROM (WITH secrets AS (SELECT 1) SELECT 1) AS a, secrets", "acme")
    assert elsewhere.endswith('"cte_secrets" AS "secrets"'), "out of its scope the name is that of no table"


def test_the_list_holds_nothing_that_reaches_out() -> None:
    names = FUNCTIONS | AGGREGATES
    outside = ("file", "url", "dict", "joinget", "sleep", "setting", "macro", "host", "user", "database", "uuid", "catboost", "dns", "server")
    for part in outside:
        assert not [name for name in names if part in name], part
    assert not names & set(VIEWS)
    assert not {physical(view) for view in VIEWS} & set(VIEWS)
