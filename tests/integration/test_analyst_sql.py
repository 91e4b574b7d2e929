"""Analysts' SQL and exports over real engines: right answers, limits that hold, no rows of another tenant, no way out.

The second wall is tried on its own too: SQL that no parser has seen, given to the read-only client.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet
import pytest
from jobtide.query.analyst import Analyst, Failed
from jobtide.query.app import create_app
from jobtide.query.sql_guard import VIEWS
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.streams.events import time_text
from jobtide.streams.settings import Settings

from tests.fakes.job_world import World
from tests.fakes.job_world_stores import fill_history
from tests.fakes.sql_escapes import CONFINED, ESCAPES
from tests.integration.query_server import Api, serving
from tests.integration.test_query_insight import START


@dataclass(frozen=True)
class Set:
    api: Api
    world: World
    settings: Settings

    def ask(self, sql: str, status: int = 200, **params: Any) -> dict[str, Any]:
        answer = self.api.client.post("/v1/query", json={"sql": sql}, params=params)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module", params=["chdb", "server"])
def running(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Set]:
    url = str(request.getfixturevalue("chdb_url")) if request.param == "chdb" else request.getfixturevalue("clickhouse_server").address
    database = f"analyst_{request.param}"
    settings = Settings(
        clickhouse_url=url, clickhouse_database=database, redis_url=redis_url, redis_prefix="analyst:", query_max_rows=500, query_max_s=3
    )
    world = World(START, 45, 300)
    fill_history(settings, world)
    with serving(create_app(settings)) as api:
        yield Set(api, world, settings)


def test_a_question_is_answered_with_columns_and_rows(running: Set) -> None:
    answer = running.ask("SELECT queue, count() AS n FROM executions WHERE tenant = 'acme' GROUP BY queue ORDER BY queue")
    assert [(c["name"], c["type"]) for c in answer["columns"]] == [("queue", "LowCardinality(String)"), ("n", "UInt64")]
    wanted = Counter(f.queue for f in running.world.facts if f.tenant == "acme")
    assert [(queue, int(n)) for queue, n in answer["rows"]] == sorted(wanted.items())
    assert answer["truncated"] is False


def test_views_are_described_and_can_all_be_asked(running: Set) -> None:
    views: dict[str, Any] = running.api.get("/v1/query/views")
    for view in views["items"]:
        assert view["columns"], view["name"]
        found = running.ask(f"SELECT * FROM {view['name']} LIMIT 1")
        assert [c["name"] for c in found["columns"]] == [c["name"] for c in view["columns"]]
    assert "countif" not in views["functions"]
    assert "quantileexact" in views["functions"]


@pytest.mark.parametrize("sql", CONFINED)
def test_a_tenant_sees_its_own_rows_only(running: Set, sql: str) -> None:
    answer = running.api.client.post("/v1/query", json={"sql": sql}, params={"tenant": "acme"})
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 200:
        assert {row[0] for row in answer.json()["rows"]} <= {"acme"}


def test_escapes_are_refused_over_http(running: Set) -> None:
    for sql in ESCAPES[::4]:
        answer = running.api.client.post("/v1/query", json={"sql": sql}, params={"tenant": "acme"})
        assert answer.status_code == 422, (sql, answer.text[:200])
        assert answer.json()["errors"][0]["param"] in ("sql", "body.sql", "body")


async def test_the_second_wall_stands_without_the_first(running: Set) -> None:
    """Straight to the client: other tenants' rows, writes, settings, table functions."""
    analyst = Analyst(running.settings)
    try:
        for table in ("job_executions", "job_events", "executions", "listed_executions", "rollup_1m", "rollup_hours", "analyst_events"):
            found = await analyst.rows(f"SELECT DISTINCT tenant FROM {table} AS t", "acme")
            assert found.rows in ([["acme"]], []), table
        assert len((await analyst.rows("SELECT DISTINCT tenant FROM job_executions", None)).rows) == 2
        assert (await analyst.rows("SELECT count() FROM job_executions", "x' OR '1' = '1")).rows == [["0"]]
        for sql in (
            "INSERT INTO deploys (tenant) VALUES ('x')", "DROP TABLE deploys", "SET readonly = 0", "SELECT 1 SETTINGS readonly = 0",
            "SELECT 1 SETTINGS max_execution_time = 1000", "SELECT count() FROM job_executions SETTINGS additional_table_filters = {}",
            "SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
            "SELECT * FROM remote('127.0.0.1', system.one)", "CREATE TABLE y (a Int8) ENGINE = Memory",
            "ALTER TABLE deploys DELETE WHERE 1", "SYSTEM FLUSH LOGS",
        ):  # fmt: skip
            with pytest.raises(Failed):
                await analyst.rows(sql, "acme")
    finally:
        analyst.close()
    db = ClickHouse(running.settings)  # and whoever writes is not hindered
    db.command("INSERT INTO deploys (tenant, event_id, time) VALUES ('probe', 'probe', now64(6))")
    assert db.rows("SELECT count() FROM deploys WHERE tenant = 'probe'") == [(1,)]
    db.command("ALTER TABLE deploys DELETE WHERE tenant = 'probe' SETTINGS mutations_sync = 2")
    db.close()


def test_limits_hold(running: Set) -> None:
    many = running.ask("SELECT job_id FROM executions ARRAY JOIN range(100) AS n")
    assert (many["truncated"], len(many["rows"])) == (True, 500)
    crossed = ", ".join(f"executions AS e{n}" for n in range(4))
    slow = f"SELECT count() FROM {crossed} WHERE cityHash64(e0.job_id, e3.job_id) = 1"
    assert "longer than" in running.ask(slow, 422)["detail"]
    big = "SELECT groupArray(repeat(toString(n), 1000)) FROM executions ARRAY JOIN range(10000) AS n"
    assert running.ask(big, 422)["status"] == 422
    assert running.ask("SELECT count() FROM executions")["rows"] == [[str(len(running.world.facts))]], "and the next one is answered"


def test_faults_of_the_analyst_are_told_as_such(running: Set) -> None:
    asked = {"SELECT nothing FROM executions": "nothing", "SELECT toDate(queue) FROM executions": "ClickHouse", "SELEC 1": "understood"}
    for sql, words in asked.items():
        problem = running.ask(sql, 422)
        assert problem["errors"][0]["param"] == "sql"
        assert words in problem["detail"]
    assert running.api.client.post("/v1/query", json={"sql": 1}).status_code == 422
    assert running.api.client.post("/v1/query", json={"sql": "SELECT 1", "x": 1}).status_code == 422
    assert running.api.client.post("/v1/query", content=b"\xff{").status_code == 422


def test_results_and_exports_as_files(running: Set) -> None:
    facts = [f for f in running.world.facts if f.tenant == "acme"]
    wanted = sorted((f.job_id, f.attempt) for f in facts)
    range_ = {"from": time_text(running.world.start_us), "to": time_text(running.world.until_us)}

    def export(format_: str, view: str = "executions", **params: str) -> bytes:
        answer = running.api.client.get(f"/v1/export/{view}", params={"format": format_, "tenant": "acme", **range_, **params})
        assert answer.status_code == 200, answer.text
        assert f'filename="{view}.{format_}"' in answer.headers["content-disposition"]
        return answer.content

    rows = list(csv.DictReader(io.StringIO(export("csv").decode())))
    assert sorted((r["job_id"], int(r["attempt"])) for r in rows) == wanted
    lines = [json.loads(line) for line in export("ndjson").splitlines()]
    assert sorted((r["job_id"], int(r["attempt"])) for r in lines) == wanted
    table = pyarrow.parquet.read_table(io.BytesIO(export("parquet")))
    assert sorted(zip(table["job_id"].to_pylist(), table["attempt"].to_pylist(), strict=True)) == wanted
    with pyarrow.ipc.open_stream(export("arrow")) as reader:
        assert reader.read_all().num_rows == len(wanted)
    assert len(export("csv", queue="mail").splitlines()) == 1 + sum(f.queue == "mail" for f in facts)
    assert len(export("ndjson", "events").splitlines()) == sum(e["data"]["tenant"] == "acme" for e in running.world.events)
    for view in ("failed_executions", "rollups", "rollup_hours"):
        assert export("csv", view)
    for view in VIEWS:  # of the columns of each, not only of executions, are Parquet and Arrow made
        assert pyarrow.parquet.read_table(io.BytesIO(export("parquet", view))).num_columns > 3
        refused = running.api.client.get(f"/v1/export/{view}", params={"job_class": "Digest"}).status_code
        assert refused == (422 if view in ("workers", "queue_states", "deploys") else 200)
    answer = running.api.client.post("/v1/query", json={"sql": "SELECT 1 AS one"}, params={"format": "csv"})
    assert answer.text == '"one"\n1\n'
    assert running.api.client.get("/v1/export/job_events", params={"format": "csv"}).status_code == 422


def test_a_closed_range_has_a_tag_and_an_open_one_has_none(running: Set) -> None:
    closed = {"from": time_text(running.world.start_us), "to": time_text(running.world.until_us - 1)}
    first = running.api.client.get("/v1/classes", params=closed)
    tag = first.headers["etag"]
    again = running.api.client.get("/v1/classes", params=closed, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert running.api.client.get("/v1/classes", params={**closed, "tenant": "acme"}).headers["etag"] != tag
    other = running.api.client.get("/v1/classes", params=closed, headers={"If-None-Match": 'W/"other"'})
    assert (other.status_code, other.json()["items"]) == (200, first.json()["items"])
    for open_ in ({**closed, "to": time_text(running.world.until_us + 60_000_000)}, {"last": "2h"}):
        assert "etag" not in running.api.client.get("/v1/classes", params=open_).headers
    assert "etag" not in running.api.client.get("/v1/classes", params={**closed, "limit": "0"}).headers


def test_settings_are_the_limits(running: Set) -> None:
    with serving(create_app(replace(running.settings, query_max_rows=3))) as api:
        answer = api.client.post("/v1/query", json={"sql": "SELECT job_id FROM executions"}).json()
    assert (len(answer["rows"]), answer["truncated"]) == (3, True)
