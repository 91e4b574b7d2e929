"""Alerts, rules, silences, messages and backtest over the API, on real Kafka, ClickHouse and Valkey."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from jobtide.cli.main import cli
from jobtide.query.app import create_app
from jobtide.sinks import alert_history
from jobtide.sinks.alert_history import AlertHistory
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.history_metrics import HistoryMetrics
from jobtide.sinks.patience import Patience
from jobtide.sinks.webhook.desk import Letter
from jobtide.sinks.webhook.evidence import Evidence
from jobtide.sinks.webhook.payloads import Request
from jobtide.streams.agents.kafka import new_producer
from jobtide.streams.agents.ruling import STATUS_KEY
from jobtide.streams.alerts.transitions import State, Transition, encode, fingerprint, transition_id
from jobtide.streams.events import time_text
from jobtide.streams.settings import Settings, load
from jobtide.streams.topics import ALERTS, NOTIFIER

from tests.fakes.job_world import World
from tests.fakes.job_world_stores import fill_history
from tests.integration.query_server import Api, serving
from tests.proof.job_events import MINUTE
from tests.servers import create_topics

NOW_US = time.time_ns() // 1000


def transition(rule: str, state: State, severity: str = "warning", tenant: str = "acme", **labels: str) -> Transition:
    labels = {"tenant": tenant, "environment": "prod", "system": "celery", "queue": "mail"} | labels
    print_ = fingerprint(rule, labels)
    return Transition(
        id=transition_id(rule, print_, NOW_US, state), rule=rule, kind="ratio", fingerprint=print_, labels=labels, severity=severity, state=state,
        reason="held", episode_us=NOW_US, at_us=NOW_US + (state == "resolved"), value=0.5, samples=40, condition="c", from_us=NOW_US - 1,
        to_us=NOW_US, query="/v1/queues?queue=mail",
    )  # fmt: skip


@dataclass(frozen=True)
class Running:
    api: Api
    settings: Settings


@pytest.fixture(scope="module")
def running(kafka_broker: str, redis_url: str, chdb_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text("rules: [{name: Mine, kind: stuck}]")
    settings = load({}, broker=kafka_broker, topic_prefix="alertsapi.", partitions=2, redis_url=redis_url, redis_prefix="alerts-api:",
                    clickhouse_url=chdb_url, clickhouse_database="alertsapi", rules=str(file))  # fmt: skip
    asyncio.run(create_topics(kafka_broker, "alertsapi.", 2))
    fill_history(settings, World((NOW_US - 60 * MINUTE) // MINUTE * MINUTE, 45, 600))
    asyncio.run(tell(settings))
    with serving(create_app(settings)) as api:
        api.wait_for("/v1/alerts")
        yield Running(api, settings)


async def tell(settings: Settings) -> None:
    producer = new_producer(settings)
    await producer.start()
    story = [transition("Worst", "firing", "critical"), transition("Bad", "firing"), transition("Over", "firing"), transition("Over", "resolved"),
             transition("Theirs", "firing", tenant="other"), transition("Bad", "firing")]  # fmt: skip
    for each in story:
        key = each.fingerprint.encode()
        await producer.send_and_wait(settings.topic(ALERTS), encode(each), key=key, partition=crc32(key) % 2)
    status = {"file": "r.yaml", "digest": "d", "rules": 3, "problems": ["r.yaml: rule X: field op: must be …"]}
    await producer.send_and_wait(settings.topic(ALERTS), msgspec.json.encode(status), key=STATUS_KEY + b"1", partition=1)
    for name, state in (("msg_1", "dead"), ("msg_2", "delivered")):
        letter = Letter(Request(name, "hook", "g", "webhook", b"secret bytes"), 1, 1000, state, 3, reason="HTTP 500", ended_ms=2000)
        await producer.send_and_wait(settings.topic(NOTIFIER), msgspec.msgpack.encode(letter), key=f"o\x1f{name}".encode(), partition=0)
    await producer.stop()


def rows_after(running: Running, group: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], HistoryMetrics]:
    """Alerts in ClickHouse once a consumer group has read all there is."""
    monkeypatch.setattr(alert_history, "GROUP", group)
    metrics, db = HistoryMetrics(), ClickHouse(running.settings)

    async def read() -> None:
        stop = asyncio.Event()
        writing = asyncio.create_task(AlertHistory(running.settings, db, Patience(stop, metrics), metrics).run(stop))
        until = time.monotonic() + 60
        while db.rows("SELECT uniqExact(kafka_partition) FROM alerts_progress WHERE updated_at > now64(6) - INTERVAL 1 MINUTE") != [(2,)]:
            assert time.monotonic() < until and not writing.done()
            await asyncio.sleep(0.1)
        stop.set()
        await writing

    try:
        db.command("TRUNCATE TABLE alerts_progress")
        asyncio.run(read())
        return db.rows("SELECT rule, state, tenant, id FROM alerts FINAL WHERE condition = 'c' ORDER BY id"), metrics
    finally:
        db.close()


def test_the_log_of_alerts_is_kept_in_history_once_however_often_it_is_read(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    first, metrics = rows_after(running, "one", monkeypatch)
    of_acme = {(rule, state, "acme") for rule, state in (("Worst", "firing"), ("Bad", "firing"), ("Over", "firing"), ("Over", "resolved"))}
    ours = {*of_acme, ("Theirs", "firing", "other")}
    assert sorted(row[:3] for row in first) == sorted(ours)
    assert metrics.rows["alerts"] == len(ours) and metrics.refused == {} and metrics.alerts_behind == 0, "a repetition and a status are no rows"
    again, metrics = rows_after(running, "two", monkeypatch)  # from the beginning, as after a lost commit
    assert metrics.rows["alerts"] == len(ours) and again == first
    none, metrics = rows_after(running, "two", monkeypatch)  # goes on where it was
    assert metrics.rows["alerts"] == 0 and none == first
    answer = running.api.get("/v1/alerts/history", last="25h", rule="Over")
    assert names(answer) == ["Over", "Over"] and [each["state"] for each in answer["items"]] == ["resolved", "firing"]
    assert answer["complete_until"] is None and "Redis" in str(answer["degraded"]), "nobody writes live answers here"


def names(answer: dict[str, Any]) -> list[str]:
    return [each["rule"] for each in answer["items"]]


def test_alerts_worst_first_by_state_tenant_and_rule(running: Running) -> None:
    get = running.api.get
    assert names(get("/v1/alerts"))[0] == "Worst" and set(names(get("/v1/alerts"))) == {"Worst", "Bad", "Theirs"}
    assert names(get("/v1/alerts", tenant="other")) == ["Theirs"]
    assert names(get("/v1/alerts", state="resolved")) == ["Over"] and names(get("/v1/alerts", rule="Bad")) == ["Bad"]
    assert get("/v1/alerts", limit=1)["truncated"] is True
    assert get("/v1/alerts", 422, state="loud")["status"] == 422


def test_the_command_line_shows_what_fires(running: Running) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["alerts", *arguments, "--url", running.api.url])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    assert json.loads(run("--json", "--tenant", "acme"))["items"] == running.api.get("/v1/alerts", tenant="acme", limit=50)["items"]
    shown = run().splitlines()
    assert shown[0].split()[:5] == ["at", "state", "severity", "rule", "about"] and "Worst" in shown[1] and "acme / celery / mail" in shown[1]
    assert "Over" not in run() and "Over" in run("--state", "resolved") and "nothing fires" in run("--rule", "None")


def test_the_status_page(running: Running) -> None:
    page = running.api.get("/v1/status", tenant="acme")
    assert page["status"] == "outage" and page["components"] == [{"name": "acme/prod/celery/mail", "status": "outage", "alerts": ["Bad", "Worst"]}]


def test_rules_and_why_a_newer_file_is_not_used(running: Running) -> None:
    found = running.api.get("/v1/rules")
    assert [each["name"] for each in found["rules"]] == ["Mine"] and found["problems"] == []
    assert found["in_use"] == [{"partition": 1, "file": "r.yaml", "digest": "d", "rules": 3, "problems": ["r.yaml: rule X: field op: must be …"]}]
    file = Path(running.settings.rules)
    text = file.read_text()
    file.write_text("rules: [{name: Mine, kind: stuk}]")
    assert running.api.get("/v1/rules")["problems"] == [f"{file}: rule Mine: field kind: there is no 'stuk'; did you mean stuck?"]
    file.write_text(text)
    assert "RuleFile" in str(running.api.get("/v1/rules/schema")["title"])


def test_check_over_the_api(running: Running) -> None:
    post = running.api.client.post
    assert post("/v1/rules/check", json={"rules": "rules: [{name: A, kind: stuck}]"}).json() == {"problems": [], "rules": 1}
    assert any("min_samples" in each for each in post("/v1/rules/check", json={"rules": "rules: [{name: A, kind: ratio}]"}).json()["problems"])
    assert post("/v1/rules/check", json={"ruls": ""}).status_code == 422


def test_a_silence_is_made_shown_and_ended(running: Running) -> None:
    client = running.api.client
    made = client.post("/v1/silences?tenant=acme", json={"match": {"rule": "Wor*"}, "minutes": 5, "comment": "known"})
    assert made.status_code == 201 and made.json()["match"] == {"rule": "Wor*", "tenant": "acme"}
    silence_id = made.json()["id"]
    silenced = {each["rule"]: each["silenced_by"] for each in running.api.get("/v1/alerts")["items"]}
    assert silenced == {"Worst": silence_id, "Bad": None, "Theirs": None}
    assert [each["id"] for each in running.api.get("/v1/silences", tenant="acme")["items"]] == [silence_id]
    assert running.api.get("/v1/silences", tenant="other")["items"] == []
    assert client.post("/v1/silences?tenant=acme", json={"match": {"tenant": "other"}, "minutes": 5}).status_code == 403
    assert client.post("/v1/silences", json={"match": {}, "minutes": 5}).status_code == 422
    assert client.delete(f"/v1/silences/{silence_id}?tenant=other").status_code == 404
    assert client.delete(f"/v1/silences/{silence_id}").status_code == 200
    assert running.api.get("/v1/silences")["items"] == []


def test_messages_without_their_bytes_and_a_dead_one_sent_again(running: Running) -> None:
    found = running.api.client.get("/v1/notifications?state=dead")
    assert [each["id"] for each in found.json()["items"]] == ["msg_1"] and "secret bytes" not in found.text
    assert running.api.client.post("/v1/notifications/msg_1/redeliver").status_code == 200
    assert running.api.client.post("/v1/notifications/msg_2/redeliver").status_code == 404
    assert running.api.client.post("/v1/notifications/receivers/hook/enable").status_code == 200


def test_a_backtest_tells_episodes_messages_and_what_history_cannot_say(running: Running) -> None:
    rules = "rules: [{name: Any, kind: threshold, metric: finished, window: 1m, op: gte, value: 1, keep_firing_for: 5m}, {name: Now, kind: stuck}]"
    answer = httpx.post(f"{running.api.url}/v1/rules/backtest", json={"rules": rules, "last": "3h"}, timeout=120).json()
    assert answer["not_in_history"] == ["Now"] and answer["episodes_total"] == len(answer["episodes"]) > 0
    assert all(each["rule"] == "Any" and each["fired_at"] for each in answer["episodes"]) and answer["compared"] == 0
    assert running.api.client.post("/v1/rules/backtest", json={"last": "99d"}).status_code == 422
    assert running.api.client.post("/v1/rules/backtest", json={"rules": "x"}).status_code == 422


async def test_an_alert_gets_examples_of_its_events_and_goes_without_when_nobody_answers(running: Running) -> None:
    ends = {"from": time_text(NOW_US - 90 * MINUTE), "to": time_text(NOW_US)}
    told = msgspec.structs.replace(transition("Bad", "firing"), condition="attempt_failure_rate > 0.1 over 5m", query="/v1/queues?" + urlencode(ends))
    await Evidence(running.api.url, deadline_s=60).add([told])
    assert len(told.examples) == 3
    for each in told.examples:
        timeline = running.api.get(f"/v1/jobs/{each['job_id']}/timeline")
        assert each["event_id"] in {event["event_id"] for event in timeline["events"]}
    alone = msgspec.structs.replace(told, examples=[])
    await Evidence("http://127.0.0.1:1").add([alone])
    assert alone.examples == []
