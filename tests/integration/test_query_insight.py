"""Questions about causes and courses, over real stores and on both ClickHouse engines, against numbers counted by hand.

What is asked about is the small world of `job_world`, and a few planted events beside it: deploys, a batch, an attempt that ran twice,
workers' counters and a queue's snapshot.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest
from jobtide.query.app import create_app
from jobtide.query.examples import EXAMPLES
from jobtide.sinks.fingerprints import fingerprint
from jobtide.streams.events import time_text, time_us
from jobtide.streams.settings import Settings

from tests.fakes.job_world import Fact, World, counted, exact_quantile, grouped
from tests.fakes.job_world_stores import alerts_of, fill_history, fill_hot_state
from tests.integration.query_server import Api, serving
from tests.proof.job_events import MINUTE, SECOND, job_event

NOW = time.time_ns() // 1000
START = (NOW - 150 * MINUTE) // MINUTE * MINUTE + 17_345_678
OWNER = {"tenant": "acme", "system": "celery"}


@dataclass(frozen=True)
class Set:
    api: Api
    world: World

    def range(self) -> dict[str, str]:
        return {"from_": time_text(self.world.start_us), "to": time_text(self.world.until_us)}


def other(kind: str, at_us: int, key: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event of a worker, a queue or a deploy."""
    made = job_event("enqueued", at_us)
    event_id = f"{kind}-{key}-{at_us}".ljust(16, "-")[-64:]
    return {**made, "type": f"{kind}.v1", "id": event_id, "subject": "x", "partitionkey": f"acme/celery/{key}", "data": {**OWNER, **data}}


def planted(world: World) -> list[dict[str, Any]]:
    middle = world.start_us + 20 * MINUTE
    events = [
        other("deploy.marked", world.start_us - MINUTE, "q/-", {"tenant": "acme", "release": "v41"}),
        other("deploy.marked", middle, "q/-", {"tenant": "acme", "release": "v42", "actor": "ann", "system": None}),
        other("queue.snapshot", world.until_us - SECOND, "q/bulk", {"queue": "bulk", "ready": 3, "running": 2}),
    ]
    for minute, processed in ((0, 100), (20, 103), (30, 104)):  # between the two ends it claims four
        data = {"worker_id": "host-0:1", "processed": processed, "failed": 1, "queues": ["bulk"], "concurrency": 4}
        events.append(other("worker.heartbeat", middle + minute * MINUTE // 2, "w/host-0:1", data))
    batch: dict[str, Any] = {"queue": "batched", "job_class": "Part", "batch_id": "b-7"}
    for n in range(5):
        at = middle + n * SECOND
        name = {"job_id": f"part-{n}", **batch}
        events.append(job_event("enqueued", at, **name))
        if n < 4:
            events.append(job_event("failed" if n in (1, 2) else "finished", at + SECOND, duration_ms=1000, **name))
    events.append(job_event("retry_scheduled", middle + 3 * SECOND, job_id="part-1", run_at=middle + 60 * SECOND, **batch))
    events.append(job_event("finished", middle + 90 * SECOND, job_id="part-1", attempt=2, duration_ms=500, **batch))
    twice: dict[str, Any] = {"queue": "batched", "job_class": "Twice", "job_id": "twice"}
    for worker_id, begun, ended in (("w-1:1", 0, 30), ("w-2:1", 10, 25)):
        events.append(job_event("started", middle + begun * SECOND, worker_id=worker_id, event_id=f"twice-s-{worker_id}".ljust(16, "-"), **twice))
        done = {"worker_id": worker_id, "event_id": f"twice-f-{worker_id}".ljust(16, "-"), "duration_ms": (ended - begun) * 1000}
        events.append(job_event("finished", middle + ended * SECOND, **done, **twice))
    return events


@pytest.fixture(scope="module", params=["chdb", "server"])
def running(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Set]:
    url = str(request.getfixturevalue("chdb_url")) if request.param == "chdb" else request.getfixturevalue("clickhouse_server").address
    settings = Settings(clickhouse_url=url, clickhouse_database=f"insight_{request.param}", redis_url=redis_url, redis_prefix="insight:")
    world = World(START, 45, 600)
    fill_history(settings, world, planted(world))
    asyncio.run(fill_hot_state(settings, world))
    with serving(create_app(settings)) as api:
        api.wait_for("/readyz")
        yield Set(api, world)


def items(found: Set, path: str, **params: Any) -> list[dict[str, Any]]:
    """All items, two pages' sizes agreeing."""
    whole: list[dict[str, Any]] = found.api.get(path, limit=1000, **params)["items"]  # type: ignore[assignment]
    paged: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer: dict[str, Any] = found.api.get(path, limit=7, cursor=cursor, **params)
        paged += answer["items"]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
        assert len(answer["items"]) == 7
    assert paged == whole
    return whole


def failed(world: World, **wanted: Any) -> list[Fact]:
    return [f for f in world.chosen(**wanted) if f.outcome == "failed"]


def recovered(world: World) -> set[tuple[str, int]]:
    done = {f.job_id: f.attempt for f in world.facts if f.outcome == "finished"}
    return {(f.job_id, f.attempt) for f in failed(world) if done.get(f.job_id, 0) > f.attempt}


def test_errors_are_groups_of_one_cause(running: Set) -> None:
    world, helped = running.world, recovered(running.world)
    middle = world.start_us + 20 * MINUTE
    found = {(row["tenant"], row["error_class"]): row for row in items(running, "/v1/errors", **running.range()) if row["error_class"] != "Boom"}
    wanted: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for f in failed(world):
        wanted[f.tenant, f"E{f.attempt}"].append(f)
    assert found.keys() == wanted.keys()
    for key, facts in wanted.items():
        row = found[key]
        assert row["fingerprint"] == fingerprint(key[1], "no. job/17")
        assert (row["failures"], row["category"]) == (len(facts), "unknown")
        assert row["recovered"] == sum((f.job_id, f.attempt) in helped for f in facts)
        assert row["dead"] == sum(f.dead_us is not None for f in facts)
        assert [time_us(row[name]) for name in ("first_at", "last_at")] == [min(f.at_us for f in facts), max(f.at_us for f in facts)]
        assert {s["name"]: s["failures"] for s in row["classes"]} == Counter(f.job_class for f in facts)
        assert {s["name"]: s["failures"] for s in row["hosts"]} == Counter(f.worker_id.split(":")[0] for f in facts)
        release = Counter("" if f.tenant != "acme" else "v42" if f.at_us >= middle else "v41" if f.system == "celery" else "" for f in facts)
        assert {s["name"]: s["failures"] for s in row["releases"]} == release
    assert [r["failures"] for r in running.api.get("/v1/errors", **running.range())["items"]] == sorted(  # type: ignore[attr-defined]
        [*(len(facts) for facts in wanted.values()), 2], reverse=True
    )


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({}, lambda f, helped: True),
        ({"recovered": "true"}, lambda f, helped: helped),
        ({"recovered": "false", "dead": "true"}, lambda f, helped: f.dead_us is not None),
        ({"error_class": "E2"}, lambda f, helped: f.attempt == 2),
        ({"host": "host-1", "queue": "mail"}, lambda f, helped: f.worker_id == "host-1:1" and f.queue == "mail"),
        ({"fingerprint": fingerprint("E1", "no. 9")}, lambda f, helped: f.attempt == 1 and False),
        ({"fingerprint": fingerprint("E1", "no. job/9")}, lambda f, helped: f.attempt == 1),
        ({"category": "network"}, lambda f, helped: False),
    ],
)
def test_failures_one_by_one(running: Set, params: dict[str, Any], wanted: Any) -> None:
    helped = recovered(running.world)
    rows = [row for row in items(running, "/v1/failures", **params, **running.range()) if row["queue"] != "batched"]
    should = [f for f in failed(running.world) if wanted(f, (f.job_id, f.attempt) in helped)]
    should.sort(key=lambda f: (f.at_us, f.tenant, f.system, f.queue, f.job_id, f.attempt), reverse=True)
    assert [(row["job_id"], row["attempt"], row["recovered"]) for row in rows] == [
        (f.job_id, f.attempt, (f.job_id, f.attempt) in helped) for f in should
    ]


def test_a_batch_counts_its_jobs_once(running: Set) -> None:
    for params in ({"batch_id": "b-7"}, running.range(), {**running.range(), "queue": "batched"}):
        [row] = items(running, "/v1/batches", **params)
        assert [row[n] for n in ("total", "completed", "failed", "pending", "percent", "complete")] == [5, 3, 1, 1, 80.0, False]
        assert (row["success_rate"], row["attempts"], row["failed_attempts"], row["classes"]) == (0.75, 6, 2, ["Part"])
    assert items(running, "/v1/batches", batch_id="b-7", tenant="globex") == []
    assert items(running, "/v1/batches", queue="mail", **running.range()) == []


def test_an_attempt_that_ran_twice_at_once_is_named(running: Set) -> None:
    [row] = items(running, "/v1/reruns", **running.range())
    assert (row["job_id"], row["verdict"], row["double_s"]) == ("twice", "overlap", 15.0)
    assert [run["worker_id"] for run in row["runs"]] == ["w-1:1", "w-2:1"]
    assert items(running, "/v1/reruns", tenant="globex", **running.range()) == []


def test_costs_are_run_times(running: Set) -> None:
    rows = [row for row in items(running, "/v1/cost", **running.range()) if row["queue"] != "batched"]
    ends = (running.world.start_us, running.world.until_us)
    wanted = {key: counted(facts, *ends) for key, facts in grouped(running.world.facts, 5)}
    assert {tuple(row[n] for n in ("tenant", "environment", "system", "queue", "job_class")) for row in rows} == wanted.keys()
    for row in rows:
        each = wanted[tuple(row[n] for n in ("tenant", "environment", "system", "queue", "job_class"))]
        assert row["busy_s"] == pytest.approx(sum(each["run"]) / SECOND, abs=1e-6)
        assert row["wasted_s"] == pytest.approx(sum(each["run_failed"]) / SECOND, abs=1e-6)
    assert [row["busy_s"] for row in rows] == sorted((row["busy_s"] for row in rows), reverse=True)


def test_peaks_are_the_busiest_whole_minutes(running: Set) -> None:
    first, last = -(-running.world.start_us // MINUTE), running.world.until_us // MINUTE
    for by, depth in (("queue", 4), ("job_class", 5)):
        parts = ("tenant", "environment", "system", "queue", "job_class")[:depth]
        rows = {tuple(r[n] for n in parts): r for r in items(running, "/v1/peaks", by=by, **running.range())}
        for key, facts in grouped(running.world.facts, depth):
            minutes = Counter(f.ended_us // MINUTE for f in facts if f.ended_us is not None and first <= f.ended_us // MINUTE < last)
            assert rows[key]["ended"] == max(minutes.values())
            assert rows[key]["ended_in_range"] == sum(minutes.values())
            best = min(minute for minute, n in minutes.items() if n == max(minutes.values()))
            assert time_us(rows[key]["at"]) == best * MINUTE


def test_slowest_classes_and_how_they_were_before(running: Set) -> None:
    middle = (running.world.start_us + 22 * MINUTE) // MINUTE * MINUTE
    range_ = {"from_": time_text(middle), "to": time_text(middle + 20 * MINUTE)}
    for measure, q, of in (("run_p95", 0.95, "run"), ("wait_p50", 0.5, "wait")):
        rows = items(running, "/v1/slowest", measure=measure, **range_)
        assert [r["value_ms"] for r in rows] == sorted((r["value_ms"] for r in rows), reverse=True)
        for key, facts in grouped(running.world.facts, 5):
            [row] = [r for r in rows if tuple(r[n] for n in ("tenant", "environment", "system", "queue", "job_class")) == key]
            now, before = (counted(facts, a, a + 20 * MINUTE)[of] for a in (middle, middle - 20 * MINUTE))
            assert row["value_ms"] == pytest.approx(exact_quantile(now, q) / 1000, rel=0.01)
            assert row["before_ms"] == pytest.approx(exact_quantile(before, q) / 1000, rel=0.01)


def test_latency_has_a_value_per_step(running: Set) -> None:
    answer: dict[str, Any] = running.api.get("/v1/latency", step="5m", tenant="acme", queue="mail", **running.range())
    facts = [f for f in running.world.facts if f.tenant == "acme" and f.queue == "mail"]
    for line in answer["lines"]:
        kind, q = ("wait" if line["name"].startswith("wait") else "run"), (0.5 if line["name"].endswith("50") else 0.95)
        for point in line["points"]:
            at = time_us(point["at"])
            values = counted(facts, at, at + 5 * MINUTE)[kind]
            assert point["value"] == (pytest.approx(exact_quantile(values, q) / 1000, rel=0.01) if values else None)


def test_trends_of_the_last_day(running: Set) -> None:
    answer: dict[str, Any] = running.api.get("/v1/trends", tenant="globex")
    assert [item["period"] for item in answer["items"]] == ["24h", "7d", "30d"]
    wanted = counted(running.world.chosen(tenant="globex"), 0, NOW)
    for item in answer["items"]:
        assert [item["now"][n] for n in ("enqueued", "finished", "failed", "dead")] == [wanted[n] for n in ("enqueued", "finished", "failed", "dead")]
        assert (item["before"]["enqueued"], item["finished_change"]) == (0, None)


def test_deploys_and_what_changed_with_one(running: Set) -> None:
    rows = items(running, "/v1/deploys", last="1d")
    assert [(r["release"], r["actor"], r["system"]) for r in rows] == [("v42", "ann", None), ("v41", None, "celery")]
    answer: dict[str, Any] = running.api.get("/v1/deploys/compare", release="v42", window="15m")
    at = time_us(answer["deploy"]["at"])
    for row in answer["items"]:
        facts = [f for f in running.world.facts if f.key == tuple(row[n] for n in ("tenant", "environment", "system", "queue", "job_class"))]
        if facts:
            sides = [counted(facts, *ends) for ends in ((at - 15 * MINUTE, at), (at, at + 15 * MINUTE))]
            assert [row["attempts_before"], row["attempts_after"]] == [len(side["run"]) for side in sides]
        if min(row["attempts_before"], row["attempts_after"]) < answer["min_sample"]:
            assert row["failure_rate"]["verdict"] == "too_few"
    assert running.api.get("/v1/deploys/compare", 404, release="v9")["status"] == 404


def test_counters_of_workers_and_queues_stand_beside_ours(running: Set) -> None:
    world = running.world
    [row] = items(running, "/v1/reconciliation/workers", **running.range())
    middle = world.start_us + 20 * MINUTE
    mine = [f for f in world.chosen(tenant="acme", system="celery", worker_id="host-0:1") if f.outcome]
    known = sum(middle < (f.ended_us or 0) <= middle + 15 * MINUTE for f in mine)
    assert (row["processed"], row["processed_known"], row["drift"]) == (4, known, known - 4)
    [queue] = items(running, "/v1/reconciliation/queues", **running.range())
    at = world.until_us - SECOND
    bulk = world.chosen(tenant="acme", system="celery", queue="bulk")
    waiting = [f for f in bulk if max(f.enqueued_us, f.eligible_us or 0) <= at and (f.started_us is None or f.started_us > at)]
    busy = [f for f in bulk if f.started_us is not None and f.started_us <= at and (f.ended_us is None or f.ended_us > at)]
    assert (queue["ready"], queue["waiting_known"], queue["running_known"], queue["drift"]) == (3, len(waiting), len(busy), len(waiting) - 3)


def test_completeness_step_by_step_adds_up(running: Set) -> None:
    answer: dict[str, Any] = running.api.get("/v1/completeness/steps", step="5m", **running.range())
    numbered = [e for e in running.world.events if "seq" in e]
    by_step = Counter(time_us(e["time"]) // (5 * MINUTE) * 5 * MINUTE for e in numbered)
    assert {time_us(item["at"]): item["received"] for item in answer["items"]} == by_step
    seen: dict[tuple[str, int], list[int]] = defaultdict(list)
    for e in numbered:
        seen[e["epoch"], e["lane"]].append(e["seq"])
    inside = sum(max(s) - min(s) + 1 - len(set(s)) for s in seen.values())
    assert sum(item["missing"] for item in answer["items"]) == inside > 0


def test_alerts_of_the_past_are_found_by_time_owner_rule_state_and_alert(running: Set) -> None:
    world, span = running.world, running.range()
    told = sorted(alerts_of(world), key=lambda each: (-each.at_us, each.labels["tenant"], each.id))
    found = items(running, "/v1/alerts/history", **span)
    assert {row["id"] for row in found} == {each.id for each in told} and len(found) == len(told)
    assert [row["at"] for row in found] == [time_text(each.at_us) for each in told], "newest first"
    one = next(row for row in found if row["state"] == "firing" and row["rule"] == "Failing" and row["labels"]["tenant"] == "globex")
    source = next(each for each in told if each.id == one["id"])
    assert (one["value"], one["samples"], one["severity"], one["query"]) == (0.25, 40, "warning", source.query) and one["labels"] == source.labels
    assert (one["started_at"], one["window_from"], one["examples"]) == (time_text(source.episode_us), time_text(source.from_us), source.examples)

    def ids(**wanted: Any) -> set[str]:
        return {row["id"] for row in items(running, "/v1/alerts/history", **{**span, **wanted})}

    assert ids(tenant="globex") == {each.id for each in told if each.labels["tenant"] == "globex"} != set()
    assert ids(rule="Backlog", queue="mail") == {each.id for each in told if each.rule == "Backlog" and each.labels["queue"] == "mail"} != set()
    assert ids(state=["pending", "resolved"]) == {each.id for each in told if each.state in ("pending", "resolved")}
    assert ids(severity="critical") == {each.id for each in told if each.severity == "critical"}
    assert ids(fingerprint=source.fingerprint) == {each.id for each in told if each.fingerprint == source.fingerprint}
    assert ids(to=time_text(source.at_us)) == {each.id for each in told if each.at_us < source.at_us}, "half open"
    assert ids(from_=time_text(source.at_us)) == {each.id for each in told if each.at_us >= source.at_us}
    assert ids(job_class="Welcome") == set()
    running.api.get("/v1/alerts/history", 422, state="loud")
    cursor = running.api.get("/v1/alerts/history", limit=1, rule="Backlog", **span)["next_cursor"]
    running.api.get("/v1/alerts/history", 422, limit=1, rule="Failing", cursor=cursor, **span)


def test_alerts_of_a_closed_range_have_a_tag_and_an_open_one_has_none(running: Set) -> None:
    world = running.world
    answer: dict[str, Any] = running.api.get("/v1/alerts/history", **running.range())
    assert answer["complete_until"] == time_text(world.until_us - 5 * SECOND) and answer["degraded"] == []
    closed = {"from": time_text(world.start_us), "to": time_text(world.until_us - 5 * SECOND)}
    first = running.api.client.get("/v1/alerts/history", params=closed)
    again = running.api.client.get("/v1/alerts/history", params=closed, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "etag" not in running.api.client.get("/v1/alerts/history", params={**closed, "to": time_text(world.until_us)}).headers
    rows = running.api.client.post("/v1/query?tenant=acme", json={"sql": "SELECT count() AS n, uniqExact(rule) FROM alerts"}).json()["rows"]
    assert [[int(v) for v in row] for row in rows] == [[sum(1 for each in alerts_of(world) if each.labels["tenant"] == "acme"), 2]]
    exported = running.api.client.get("/v1/export/alerts", params={"format": "ndjson", "tenant": "globex", "last": "24h"})
    assert len(exported.text.splitlines()) == sum(1 for each in alerts_of(world) if each.labels["tenant"] == "globex")


@pytest.mark.parametrize("path", sorted(EXAMPLES))
def test_every_example_of_the_document_has_an_answer_of_the_documented_shape(running: Set, path: str) -> None:
    document: dict[str, Any] = running.api.get("/openapi.json")
    operation = document["paths"][path]["get"]
    assert f"`GET {EXAMPLES[path]}`" in operation["description"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    answer = running.api.client.get(EXAMPLES[path])
    assert answer.status_code == 200, answer.text
    jsonschema_rs.validator_for({**schema, "components": document["components"]}).validate(answer.json())


def test_every_path_with_parameters_only_in_its_query_has_an_example(running: Set) -> None:
    document: dict[str, Any] = running.api.get("/openapi.json")
    gets = {path for path, operations in document["paths"].items() if path.startswith("/v1/") and "get" in operations and "{" not in path}
    elsewhere = {path for path in gets if {"alerts", "admin"} & set(document["paths"][path]["get"].get("tags", ()))}
    assert gets - {"/v1/live"} - elsewhere == EXAMPLES.keys()


