"""Dashboards, cookbook, notebook and README: every query in them runs, every metric they name is there, every example answers."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from fastapi import FastAPI
from jobtide.gateway import Gateway
from jobtide.gateway import create_app as gateway_app
from jobtide.query.app import create_app
from jobtide.query.examples import EXAMPLES
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.streams.settings import Settings, load
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.job_world import World
from tests.fakes.job_world_stores import fill_history, fill_hot_state
from tests.integration.query_server import Api, serving
from tests.integration.test_query_api import NOW
from tests.proof.job_events import MINUTE

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "query/jobtide/query/grafana"
ANALYSTS = ROOT / "query/jobtide/query/analysts"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
TARGETS = [
    (name, panel["title"], target)
    for name, board in DASHBOARDS.items()
    for panel in [*board["panels"], *({"title": a["name"], "targets": [a["target"]]} for a in board["annotations"]["list"])]
    for target in panel["targets"]
]
COOKBOOK = re.findall(r"^## ([^\n]+)\n\n```sql\n(.+?)```", (ANALYSTS / "COOKBOOK.md").read_text(), re.MULTILINE | re.DOTALL)
WORLD = World((NOW - 30 * MINUTE) // MINUTE * MINUTE + 17_345_678, 28, 400)
MAY_BE_EMPTY = {"Deploys", "Errors that are new today"}  # the small world has no deploy


@pytest.fixture(scope="module", params=["chdb", "http"])
def stored(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Settings]:
    """The small world in each engine."""
    url = request.getfixturevalue("chdb_url") if request.param == "chdb" else request.getfixturevalue("clickhouse_server").address
    settings = load({}, redis_url=redis_url, redis_prefix=f"boards-{request.param}-", clickhouse_url=url, clickhouse_database="boards")
    fill_history(settings, WORLD)
    asyncio.run(fill_hot_state(settings, WORLD))
    yield settings


@pytest.fixture(scope="module")
def running(stored: Settings) -> Iterator[Api]:
    """Gateway and API on one port, as `up` has them. The gateway's Kafka is nowhere: only its metrics are asked."""
    app: FastAPI = create_app(stored)
    Gateway(load({}, broker="127.0.0.1:1")).join(app)
    with serving(app) as api:
        api.wait_for("/readyz")
        while api.get("/v1/classes", last="5m")["source"] != "live":
            pass
        yield api


def rows(settings: Settings, sql: str) -> list[Any]:
    db = ClickHouse(settings)
    try:
        return db.rows(sql)
    finally:
        db.close()


def expanded(sql: str, settings: Settings) -> str:
    """Grafana's macros and variables, as its ClickHouse plugin fills them in for the last six hours and `All`."""
    sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 >= toDateTime(now() - 21600) AND \1 <= toDateTime(now() + 60)", sql)
    sql = sql.replace("$__interval_s", "60")
    for name in ("tenant", "system", "queue"):
        values = [row[0] for row in rows(settings, f"SELECT DISTINCT {name} FROM rollups")]
        sql = sql.replace(f"${{{name}:singlequote}}", ",".join(f"'{value}'" for value in values))
    assert "$" not in sql, f"a macro that this test does not know: {sql}"
    return sql


def test_every_panel_and_variable_asks_what_clickhouse_answers(stored: Settings) -> None:
    asked = 0
    for board, title, target in TARGETS:
        if "rawSql" in target:
            found = rows(stored, expanded(target["rawSql"], stored))
            asked += 1
            assert found or title in MAY_BE_EMPTY | {"Queue depth as the backend says", "Workers"}, f"{board}: {title} shows nothing"
    for board in DASHBOARDS.values():
        for variable in board["templating"]["list"]:
            assert rows(stored, variable["query"]), variable["name"]
            asked += 1
    assert asked >= 15


def test_every_recipe_of_the_cookbook_runs(stored: Settings) -> None:
    assert len(COOKBOOK) >= 10
    for title, sql in COOKBOOK:
        found = rows(stored, sql)
        assert found or title in MAY_BE_EMPTY, title
    started = sum(f.started_us is not None for f in WORLD.facts)
    whole = rows(stored, COOKBOOK[-1][1])
    assert sum(row[4] for row in whole) == WORLD.skipped > 0
    by_class = rows(stored, dict(COOKBOOK)["What happened in the last day, by class"])
    assert sum(row[3] + row[4] for row in by_class) == sum(f.outcome in ("finished", "failed") for f in WORLD.facts)
    assert sum(row[1] for row in rows(stored, dict(COOKBOOK)["Percentiles of any range from histograms"])) <= started


def test_every_metric_of_the_dashboards_is_exported(running: Api) -> None:
    exported = {name for family in text_string_to_metric_families(running.client.get("/metrics").text) for name in _names(family)}
    named = set()
    for board, title, target in TARGETS:
        if "expr" in target:
            found = set(re.findall(r"\b(?:jobtide|process)_\w+", target["expr"]))
            assert found, (board, title)
            named |= found
    assert named - exported == set()
    ours = {name for name in exported if name.startswith("jobtide_")}
    assert all(re.fullmatch(r"jobtide_[a-z0-9]+(_[a-z0-9]+)*", name) for name in ours)


def _names(family: Any) -> Iterator[str]:
    """What a query names: samples, and for a labelled counter without samples yet what they will be called."""
    yield family.name
    if family.type == "counter":
        yield f"{family.name}_total"
    for sample in family.samples:
        yield sample.name


def test_the_gateway_alone_has_metrics_too() -> None:
    assert "/metrics" in gateway_app(load({})).openapi()["paths"]


def test_provisioning_names_the_sources_that_the_dashboards_use() -> None:
    provided = yaml.safe_load((GRAFANA / "provisioning/datasources/jobtide.yaml").read_text())["datasources"]
    known = {(source["type"], source["uid"]) for source in provided}
    used = {(target["datasource"]["type"], target["datasource"]["uid"]) for _, _, target in TARGETS}
    assert used == known
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = {outside.removeprefix("./"): inside for outside, inside, *_ in (v.split(":") for v in compose["grafana"]["volumes"])}
    folder = yaml.safe_load((GRAFANA / "provisioning/dashboards/jobtide.yaml").read_text())["providers"][0]["options"]["path"]
    assert mounts["query/jobtide/query/grafana/dashboards"] == folder
    assert mounts["query/jobtide/query/grafana/provisioning"] == "/etc/grafana/provisioning"
    jobs = yaml.safe_load((GRAFANA / "prometheus.yml").read_text())["scrape_configs"]
    for job in jobs:
        host, port = job["static_configs"][0]["targets"][0].split(":")
        assert port == load(compose[host]["environment"] | {"JOBTIDE_REDIS_URL": "redis://x"}).http_port.__str__()
    ids = [panel["id"] for board in DASHBOARDS.values() for panel in board["panels"]]
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS) == 2 and len(ids) == 21


def test_the_notebook_runs_from_top_to_bottom(running: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBTIDE_URL", running.url)
    monkeypatch.delenv("JOBTIDE_KEY", raising=False)
    cells = json.loads((ANALYSTS / "notebook.ipynb").read_text())["cells"]
    namespace: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
    ended = sum(f.outcome in ("finished", "failed") for f in WORLD.facts)
    assert namespace["classes"]["finished"].sum() + namespace["classes"]["failed"].sum() == ended
    assert len(namespace["failed"]) == sum(f.outcome == "failed" for f in WORLD.facts)
    assert not namespace["series"].empty


def test_every_address_of_the_readmes_answers(running: Api) -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "query/README.md").read_text()
    quoted = re.findall(r"localhost:8321(/v1/[^\s'\"`]+)", text) + re.findall(r"`(/v1/[^`\s{…]+\?[^`\s…]+)`", text)
    paths = {path for path in quoted if path != "/v1/events"} - set(EXAMPLES.values())  # those have a test and a world of their own
    assert len(paths) >= 1
    for path in paths:
        parts = urlsplit(path)
        assert running.client.get(parts.path, params=parse_qsl(parts.query)).status_code == 200, path
