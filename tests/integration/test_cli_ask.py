"""The asking commands against a running API: what they show is what the API answers, and errors are one sentence."""

import asyncio
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from jobtide.access.caller import Role
from jobtide.access.keyring import KeyFile
from jobtide.access.keys import Key
from jobtide.cli.ask.files import _umask
from jobtide.cli.main import COMMANDS, cli
from jobtide.query.app import create_app
from jobtide.streams.errors import ConfigError, TransientError
from jobtide.streams.events import time_text
from jobtide.streams.settings import load

from tests.fakes.job_world import World
from tests.fakes.job_world_stores import alerts_of, fill_history, fill_hot_state
from tests.integration.query_server import Api, serving
from tests.integration.test_query_api import NOW
from tests.proof.job_events import MINUTE

README = (Path(__file__).parents[2] / "cli/README.md").read_text()
WORLD = World((NOW - 30 * MINUTE) // MINUTE * MINUTE + 17_345_678, 25, 200)


@pytest.fixture(scope="module")
def running(redis_url: str, chdb_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, str]]:
    """The API with keys over a small world, and the key of a viewer."""
    file = KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")
    token = file.create(Key(id="", sha256="", name="me", role=Role.VIEWER, rate_per_minute=0, created_us=0))
    settings = load(
        {}, redis_url=redis_url, redis_prefix="cli-ask-", clickhouse_url=chdb_url, clickhouse_database="cli_ask", keys_file=str(file.path)
    )
    fill_history(settings, WORLD)
    asyncio.run(fill_hot_state(settings, WORLD))
    with serving(create_app(settings)) as api:
        api.client.headers["authorization"] = f"Bearer {token}"
        api.wait_for("/readyz")
        while api.get("/v1/classes", last="5m")["source"] != "live":
            pass
        yield api, token


def run(running: tuple[Api, str], *arguments: str, code: int = 0) -> Result:
    api, token = running
    result = CliRunner().invoke(cli, [*arguments, "--url", api.url], env={"JOBTIDE_KEY": token, "COLUMNS": "200"})
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.mark.parametrize(
    ("arguments", "path", "params"),
    [
        (["stats"], "/v1/overview", {}),
        (["stats", "--last", "25h", "--tenant", "acme"], "/v1/overview", {"last": "25h", "tenant": "acme"}),
        (["queues", "--last", "1h"], "/v1/queues", {"last": "1h"}),
        (["queues", "--classes", "--limit", "2", "--last", "1h"], "/v1/classes", {"last": "1h", "limit": 2}),
        (["failed", "--class", "Import"], "/v1/jobs", {"state": "failed", "job_class": "Import"}),
        (["failed", "--dead"], "/v1/jobs", {"state": "dead"}),
        (["alerts", "--last", "25h"], "/v1/alerts/history", {"last": "25h"}),
        (["alerts", "--last", "25h", "--state", "firing", "--severity", "critical", "--queue", "mail", "--limit", "1"], "/v1/alerts/history",
         {"last": "25h", "state": "firing", "severity": "critical", "queue": "mail", "limit": 1}),
    ],
)
def test_json_is_what_the_api_says_and_the_table_has_its_rows(
    running: tuple[Api, str], arguments: list[str], path: str, params: dict[str, object]
) -> None:
    answer = running[0].get(path, **params)
    said = json.loads(run(running, *arguments, "--json").stdout)
    names = ("items", "totals", "failing_classes", "queues", "classes")
    clocked = re.compile(r'"(next_cursor|throughput_per_s)": [^,}]+')
    assert [clocked.sub("", json.dumps(said.get(n))) for n in names] == [clocked.sub("", json.dumps(answer.get(n))) for n in names]
    shown = run(running, *arguments).stdout
    rows = answer.get("items", answer.get("failing_classes"))
    assert isinstance(rows, list)
    for row in rows:
        assert str(row.get("job_class", row.get("queue", row.get("rule")))) in shown
    if "items" in answer:
        assert len([line for line in shown.splitlines() if re.search(r"\d", line)]) >= len(rows)
        assert ("there is more" in shown) == (answer["next_cursor"] is not None)


def test_one_job_is_told_with_attempts_and_events(running: tuple[Api, str]) -> None:
    fact = next(f for f in WORLD.facts if f.outcome == "failed")
    shown = run(running, "job", fact.job_id, "--tenant", fact.tenant).stdout
    assert fact.job_id in shown and "job.failed" in shown and fact.worker_id in shown
    said = json.loads(run(running, "job", fact.job_id, "--tenant", fact.tenant, "--json").stdout)
    assert {a["attempt"] for a in said["attempts"]} >= {fact.attempt}
    missing = run(running, "job", "no such/job", code=1)
    assert isinstance(missing.exception, ConfigError) and "no event of a job 'no such/job'" in str(missing.exception)


def test_stuck_and_why_show_what_the_api_says(running: tuple[Api, str]) -> None:
    said = json.loads(run(running, "stuck", "--verdict", "late", "--verdict", "slow", "--json").stdout)
    assert said["items"] == running[0].get("/v1/stuck", verdict=["late", "slow"])["items"]
    assert "nothing is stuck" in run(running, "stuck").stdout or running[0].get("/v1/stuck")["items"]
    why = json.loads(run(running, "why", "mail", "--system", "celery", "--json").stdout)
    shown = run(running, "why", "mail", "--system", "celery").stdout
    assert why["verdict"] in shown and all(cause["reason"] in shown for cause in why["causes"])


def test_top_shows_the_live_rows(running: tuple[Api, str]) -> None:
    rows = running[0].get("/v1/classes", last="1h", limit=1000)["items"]
    assert isinstance(rows, list)
    shown = run(running, "top", "--once", "--last", "1h").stdout
    assert all(row["job_class"] in shown for row in rows) and "complete until" in shown
    for order, number in (("failed", lambda row: row["failed"]), ("run", lambda row: row["run_ms"]["p95"] or 0)):
        top = run(running, "top", "--once", "--last", "1h", "--sort", order).stdout.splitlines()[2]
        assert max(rows, key=number)["job_class"] in top
    event = json.loads(run(running, "top", "--once", "--last", "1h", "--json").stdout)
    assert event["event"] == "snapshot" and len(event["classes"]) == len(rows)
    narrow = json.loads(run(running, "top", "--once", "--last", "1h", "--queue", "mail", "--json").stdout)
    assert {row["queue"] for row in narrow["classes"]} == {"mail"}


def test_errors_are_one_sentence_that_says_what_to_do(running: tuple[Api, str]) -> None:
    api, _ = running
    no_key = CliRunner().invoke(cli, ["stats", "--url", api.url], env={"JOBTIDE_KEY": ""})
    assert isinstance(no_key.exception, ConfigError) and "set JOBTIDE_KEY or give --key" in str(no_key.exception)
    nobody = CliRunner().invoke(cli, ["stats", "--url", "http://127.0.0.1:9"])
    assert isinstance(nobody.exception, TransientError) and "is it running?" in str(nobody.exception)
    top = CliRunner().invoke(cli, ["top", "--url", "http://127.0.0.1:9"])
    assert isinstance(top.exception, TransientError)
    strange = CliRunner().invoke(cli, ["stats", "--url", "ftp://x"])
    assert isinstance(strange.exception, ConfigError) and "--url must be http(s)://host:port" in str(strange.exception)
    wrong = run(running, "queues", "--last", "15", code=1)
    assert isinstance(wrong.exception, ConfigError) and "'15' is not a duration" in str(wrong.exception)
    denied = run(running, "erase", "job", "j", code=1)
    assert isinstance(denied.exception, ConfigError) and "needs the role admin" in str(denied.exception)
    run(running, "erase", "tenant", "acme", "--confirm", "acme", code=1)
    assert running[0].get("/v1/overview", last="1h", tenant="acme")["classes"]


def test_sql_is_asked_as_an_argument_from_a_file_and_from_standard_input(running: tuple[Api, str], tmp_path: Path) -> None:
    api, token = running
    sql = "SELECT tenant, count() AS n FROM executions GROUP BY tenant ORDER BY tenant"
    counted = Counter(f.tenant for f in WORLD.facts)
    said = json.loads(run(running, "sql", sql, "--json").stdout)
    assert [(tenant, int(n)) for tenant, n in said["rows"]] == sorted(counted.items()) and said["truncated"] is False
    shown = run(running, "sql", sql).stdout
    assert [line.split() for line in shown.splitlines()[1:3]] == [[tenant, str(n)] for tenant, n in sorted(counted.items())] and "2 rows" in shown
    file = tmp_path / "q.sql"
    file.write_text(sql)
    assert run(running, "sql", "--file", str(file), "--tenant", "globex", "--format", "csv").stdout == f'"tenant","n"\n"globex",{counted["globex"]}\n'
    piped = CliRunner().invoke(cli, ["sql", "-", "--url", api.url, "--format", "ndjson"], input=sql, env={"JOBTIDE_KEY": token})
    assert [json.loads(line)["tenant"] for line in piped.stdout.splitlines()] == sorted(counted)
    views = run(running, "sql", "--views").stdout
    assert "executions" in views and "every change of an alert" in views
    for arguments, words in (
        (["sql"], "give the SQL once"), (["sql", sql, "--file", str(file)], "give the SQL once"),
        (["sql", sql, "--out", "x"], "--out needs --format"),
        (["sql", "DROP TABLE alerts"], "only SELECT"), (["sql", "SELECT * FROM system.users"], "system.users"),
        (["sql", sql, "--json", "--format", "csv"], "give one of them"),
    ):  # fmt: skip
        refused = run(running, *arguments, code=1)
        assert isinstance(refused.exception, ConfigError) and words in str(refused.exception), refused.exception


def test_exports_are_whole_files_or_none(running: tuple[Api, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = sum(1 for f in WORLD.facts if f.tenant == "acme")
    file = tmp_path / "acme.parquet"
    told = run(running, "export", "executions", "--last", "25h", "--tenant", "acme", "--format", "parquet", "--out", str(file)).stderr
    assert len(pq.read_table(file)) == finished and "bytes in" in told
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask()
    lines = run(running, "export", "executions", "--last", "25h", "--tenant", "acme", "--json").stdout.splitlines()
    assert len(lines) == finished and {json.loads(line)["tenant"] for line in lines} == {"acme"}
    ends = {"--from": time_text(WORLD.start_us), "--to": time_text(WORLD.until_us)}
    csv = run(running, "export", "alerts", *(part for pair in ends.items() for part in pair)).stdout.splitlines()
    assert len(csv) == 1 + len(alerts_of(WORLD)) and csv[0].startswith('"tenant"')
    both = run(running, "export", "events", "--last", "1h", "--to", ends["--to"], code=1)
    assert isinstance(both.exception, ConfigError) and "give --last, or" in str(both.exception)
    nowhere = run(running, "export", "events", "--out", str(tmp_path / "no" / "x.csv"), code=1)
    assert isinstance(nowhere.exception, ConfigError) and "cannot be written" in str(nowhere.exception)
    now = run(running, "alerts", "--queue", "mail", code=1)
    assert isinstance(now.exception, ConfigError) and "--queue: only with --last" in str(now.exception)

    def broken(*_: object) -> Iterator[bytes]:
        yield b"half"
        raise TransientError("cut off")

    monkeypatch.setattr("jobtide.cli.ask.api.Api.pieces", broken)
    before = file.read_bytes()
    run(running, "export", "executions", "--out", str(file), code=1)
    assert file.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["acme.parquet"]


def test_every_example_of_the_readme_runs(running: tuple[Api, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = re.search(r"## Asking\n\n```sh\n(.*?)```", README, re.DOTALL)
    assert block is not None
    examples = [shlex.split(line, comments=True) for line in block[1].splitlines()]
    assert {words[1] for words in examples} == {"stats", "queues", "failed", "job", "stuck", "why", "top", "alerts", "sql", "export"} <= set(COMMANDS)
    monkeypatch.chdir(tmp_path)
    for words in examples:
        if words[1] == "alerts":
            continue  # what fires now is read from Kafka, which this place has not: test_alerts_api runs it
        arguments = [next(f.job_id for f in WORLD.facts) if word == "6f9b0c" else word for word in words[1:]]
        run(running, *arguments, *(["--once"] if words[1] == "top" else []))
