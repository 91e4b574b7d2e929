"""The API over real stores, answer by answer against numbers counted by hand: Valkey for live, both ClickHouse
engines for history.
"""

import asyncio
import dataclasses
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest
from jobtide.query.app import create_app
from jobtide.query.examples import EXAMPLES
from jobtide.sinks.fingerprints import fingerprint
from jobtide.streams.events import time_text, time_us
from jobtide.streams.settings import Settings, load

from tests import clickhouse_server
from tests.fakes.job_world import World, assert_row, assert_stats, counted, exact_quantile, grouped
from tests.fakes.job_world_stores import LENGTHS, fill_history, fill_hot_state, window_of
from tests.integration.query_server import Api, serving
from tests.proof.job_events import MINUTE, SECOND

NOW = time.time_ns() // 1000
CLOCKED = ("throughput_per_s", "heartbeat_age_ms")  # they go on while the pages are read


@dataclass(frozen=True)
class Set:
    api: Api
    world: World
    settings: Settings


@pytest.fixture(scope="module", params=["chdb", "http"])
def running(request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    """A world of 600 jobs that ended eight minutes ago, not at a whole minute, and the API over it."""
    directory: Path = tmp_path_factory.mktemp("query")
    world = World((NOW - 60 * MINUTE) // MINUTE * MINUTE + 17_345_678, 45, 600)
    if request.param == "chdb":
        with _serving(redis_url, request.getfixturevalue("chdb_url"), "chdb:", world) as found:
            yield found
        return
    if clickhouse_server.why_not() is not None:
        pytest.skip(str(clickhouse_server.why_not()))
    with clickhouse_server.clickhouse(directory) as server, _serving(redis_url, server.address, "http:", world) as found:
        yield found


def _serving(redis_url: str, clickhouse_url: str, prefix: str, world: World) -> Any:
    import contextlib

    @contextlib.contextmanager
    def make() -> Iterator[Set]:
        settings = load({}, redis_url=redis_url, redis_prefix=f"query-api-{prefix}", clickhouse_url=clickhouse_url)
        fill_history(settings, world)
        asyncio.run(fill_hot_state(settings, world))
        with serving(create_app(settings)) as api:
            api.wait_for("/readyz")
            until = time.monotonic() + 10
            while api.get("/v1/classes", last="5m")["source"] != "live":
                assert time.monotonic() < until
            yield Set(api, world, settings)

    return make()


def ends(answer: dict[str, Any]) -> tuple[int, int]:
    return time_us(answer["range"]["from"]), time_us(answer["range"]["to"])


def key_of(row: dict[str, Any], depth: int) -> tuple[str, ...]:
    return tuple(row[name] for name in ("tenant", "environment", "system", "queue", "job_class")[:depth])


def pages(api: Api, path: str, **params: Any) -> list[dict[str, Any]]:
    """All items, page by page; every page but the last is full."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer: dict[str, Any] = api.get(path, cursor=cursor, **params)
        items += [{name: value for name, value in item.items() if name not in CLOCKED} for item in answer["items"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            return items
        assert len(answer["items"]) == params["limit"]


@pytest.mark.parametrize("window", list(LENGTHS))
@pytest.mark.parametrize(("path", "depth"), [("/v1/classes", 5), ("/v1/queues", 4)])
def test_live_rows_are_those_of_the_window(running: Set, path: str, depth: int, window: str) -> None:
    answer: dict[str, Any] = running.api.get(path, last=window)
    assert answer["source"] == "live"
    assert answer["degraded"] == []
    assert ends(answer) == window_of(running.world, window)
    assert answer["range"]["last"] == window
    wanted = dict(grouped(running.world.facts, depth))
    rows = {key_of(row, depth): row for row in answer["items"]}
    shown = {k for k, facts in wanted.items() if any(counted(facts, *ends(answer)).values()) or any(not f.outcome for f in facts)}
    assert rows.keys() - {("acme", "default", "celery", "never-used")} == shown
    for key in shown:
        assert_row(rows[key], wanted[key], *ends(answer))
        assert rows[key]["in_flight"] == sum(f.state == "running" for f in wanted[key])
        assert rows[key]["waiting"] == sum(f.state == "waiting" for f in wanted[key])
        ended = counted(wanted[key], *ends(answer))
        assert rows[key]["throughput_per_s"] == pytest.approx(len(ended["run"]) / ((ends(answer)[1] - ends(answer)[0]) / SECOND), abs=1e-5)


@pytest.mark.parametrize(("path", "depth"), [("/v1/classes", 5), ("/v1/queues", 4)])
def test_history_rows_are_exact_at_any_two_ends(running: Set, path: str, depth: int) -> None:
    random_ends = random.Random(3)
    world = running.world
    ranges = [sorted(random_ends.sample(range(world.start_us, world.until_us), 2)) for _ in range(6)]
    ranges += [[world.start_us // MINUTE * MINUTE, world.until_us // MINUTE * MINUTE], [world.start_us + MINUTE, world.start_us + MINUTE + 900_000]]
    for from_us, to_us in ranges:
        answer: dict[str, Any] = running.api.get(path, from_=time_text(from_us), to=time_text(to_us), limit=1000)
        assert answer["source"] == "history"
        assert ends(answer) == (from_us, to_us)
        wanted = {k: facts for k, facts in grouped(world.facts, depth) if any(counted(facts, from_us, to_us).values())}
        assert [key_of(row, depth) for row in answer["items"]] == list(wanted)
        for row in answer["items"]:
            assert_row(row, wanted[key_of(row, depth)], from_us, to_us)


def test_live_and_history_agree_on_the_same_range(running: Set) -> None:
    for window in LENGTHS:
        live: dict[str, Any] = running.api.get("/v1/classes", last=window)
        history: dict[str, Any] = running.api.get("/v1/classes", from_=live["range"]["from"], to=live["range"]["to"])
        assert (live["source"], history["source"]) == ("live", "history")
        past = {key_of(row, 5): row for row in history["items"]}
        now = {key_of(row, 5): row for row in live["items"]}
        for key in past.keys() | now.keys():
            for name in ("enqueued", "started", "finished", "failed", "dead", "retried"):
                assert now.get(key, {}).get(name, 0) == past.get(key, {}).get(name, 0), (window, key, name)
            if key in past:
                assert past[key]["run_ms"] == now[key]["run_ms"]
                assert past[key]["wait_ms"] == now[key]["wait_ms"]


def test_last_of_another_length_is_history_in_whole_minutes(running: Set) -> None:
    answer: dict[str, Any] = running.api.get("/v1/classes", last="2h")
    from_us, to_us = ends(answer)
    assert answer["source"] == "history"
    assert from_us % MINUTE == to_us % MINUTE == 0
    assert 120 <= (to_us - from_us) / MINUTE <= 121
    for row in answer["items"]:
        assert_row(row, [f for f in running.world.facts if f.key == key_of(row, 5)], from_us, to_us)


@pytest.mark.parametrize("last", ["1h", "3h"])
@pytest.mark.parametrize("path", ["/v1/classes", "/v1/queues"])
def test_filters_and_pages_of_live_and_history(running: Set, path: str, last: str) -> None:
    depth = 5 if path == "/v1/classes" else 4
    whole = pages(running.api, path, last=last, limit=100)
    assert pages(running.api, path, last=last, limit=2) == whole
    for name, value in (("tenant", "acme"), ("environment", "default"), ("system", "celery"), ("queue", "mail")):
        found = pages(running.api, path, last=last, limit=1, **{name: value})
        assert [key_of(row, depth) for row in found] == [key_of(row, depth) for row in whole if row[name] == value]
    one_class = pages(running.api, path, last=last, limit=1, job_class="Welcome")
    assert [r["enqueued"] for r in one_class] == [
        sum(f.job_class == "Welcome" for f in facts)
        for _, facts in grouped(running.world.facts, depth)
        if any(f.job_class == "Welcome" for f in facts)
    ]
    assert running.api.get(path, last=last, tenant="nobody")["items"] == []


def test_a_cursor_is_of_its_question_only(running: Set) -> None:
    cursor = running.api.get("/v1/classes", last="3h", limit=1)["next_cursor"]
    assert running.api.get("/v1/classes", last="3h", limit=3, cursor=cursor)["items"]
    for path, params in (("/v1/queues", {"last": "3h"}), ("/v1/classes", {"last": "4h"}), ("/v1/classes", {"last": "3h", "tenant": "acme"})):
        problem: dict[str, Any] = running.api.get(path, 422, cursor=cursor, **params)
        assert problem["errors"][0]["param"] == "cursor"


def test_the_backends_own_words_stand_beside_a_queue(running: Set) -> None:
    rows = {row["queue"]: row for row in running.api.get("/v1/queues", last="1h", system="celery")["items"]}  # type: ignore[attr-defined]
    assert (rows["mail"]["paused"], rows["mail"]["depth"]["ready"], rows["mail"]["classes"]) == (True, 17, 2)
    assert (rows["never-used"]["depth"]["ready"], rows["never-used"]["enqueued"], rows["never-used"]["classes"]) == (0, 0, 0)
    assert rows["bulk"]["depth"] is rows["bulk"]["paused"] is None


def test_every_answer_says_how_far_and_how_complete_it_is(running: Set) -> None:
    world = running.world
    live: dict[str, Any] = running.api.get("/v1/classes", last="5m")
    assert time_us(live["complete_until"]) == world.until_us
    assert time_us(live["watermark"]) == world.until_us + 7
    assert live["completeness"] == {"received": 1200, "duplicates": 6, "missing": 3, "lost": 1, "unclean_epochs": 0, "ratio": 1200 / 1203}
    of_one: dict[str, Any] = running.api.get("/v1/classes", last="5m", tenant="globex")
    assert (of_one["completeness"]["received"], of_one["completeness"]["missing"]) == (600, 2)
    history: dict[str, Any] = running.api.get("/v1/classes", last="3h")
    assert time_us(history["complete_until"]) == time_us(history["watermark"]) == world.until_us
    assert history["completeness"]["received"] == len(world.events)
    assert history["completeness"]["missing"] == world.skipped
    assert history["completeness"]["ratio"] == pytest.approx(len(world.events) / (len(world.events) + world.skipped))


def test_overview_sums_everything_and_names_the_worst(running: Set) -> None:
    for last in ("1h", "3h"):
        answer: dict[str, Any] = running.api.get("/v1/overview", last=last)
        facts = running.world.facts
        assert_row(answer["totals"], facts, *ends(answer))
        assert answer["classes"] == len(running.world.keys())
        failures = {k: counted(f, *ends(answer))["failed"] for k, f in grouped(facts, 5)}
        assert [row["failed"] for row in answer["failing_classes"]] == sorted(failures.values(), reverse=True)[:5]
        waits = {k: exact_quantile(counted(f, *ends(answer))["wait"], 0.95) for k, f in grouped(facts, 4)}
        assert [key_of(r, 4) for r in answer["slowest_queues"]] == sorted(waits, key=lambda k: -waits[k])[:5]
        assert answer["workers"]["total"] == len({(f.tenant, f.system, f.worker_id) for f in facts})
    empty: dict[str, Any] = running.api.get("/v1/overview", last="3h", tenant="nobody")
    assert (empty["totals"]["enqueued"], empty["classes"], empty["slowest_queues"]) == (0, 0, [])


@pytest.mark.parametrize("step", ["1m", "5m", "20s"])
@pytest.mark.parametrize("by", ["total", "queue", "job_class"])
def test_series_have_every_step_and_the_right_value_in_it(running: Set, by: str, step: str) -> None:
    world, depth = running.world, {"total": 0, "queue": 4, "job_class": 5}[by]
    length = {"1m": 60, "5m": 300, "20s": 20}[step] * SECOND
    others = ("enqueued", "throughput", "failure_rate", "wait_p50") if by == "total" else ()
    for metric in ("finished", "run_p95", *others):
        answer: dict[str, Any] = running.api.get(
            "/v1/series", metric=metric, by=by, step=step, from_=time_text(world.start_us), to=time_text(world.until_us)
        )
        assert ends(answer) == (world.start_us // length * length, -(-world.until_us // length) * length)
        wanted = dict(grouped(world.facts, depth))
        assert [tuple(row[n] for n in ("tenant", "environment", "system", "queue", "job_class")[:depth]) for row in answer["items"]] == list(wanted)
        for row, facts in zip(answer["items"], wanted.values(), strict=True):
            assert [time_us(p["at"]) for p in row["points"]] == list(range(*ends(answer), length))
            for point in row["points"]:
                at_us = time_us(point["at"])
                _assert_point(metric, point["value"], counted(facts, at_us, at_us + length), length / SECOND)


def _assert_point(metric: str, value: float | None, wanted: dict[str, Any], seconds: float) -> None:
    if metric in wanted:
        assert value == wanted[metric]
    elif metric == "throughput":
        assert value == pytest.approx(len(wanted["run"]) / seconds, abs=1e-5)
    elif metric == "failure_rate":
        tried = wanted["finished"] + wanted["failed"]
        assert value == (pytest.approx(wanted["failed"] / tried) if tried else None)
    else:
        values, q = (wanted["run"], 0.95) if metric == "run_p95" else (wanted["wait"], 0.5)
        assert (value is None) == (not values)
        if values:
            assert value == pytest.approx(exact_quantile(values, q) / 1000, rel=0.01)


def test_series_by_seconds_over_the_last_minute_are_live(running: Set) -> None:
    answer: dict[str, Any] = running.api.get("/v1/series", metric="throughput", step="1s", last="1m")
    assert answer["source"] == "live"
    from_us, to_us = window_of(running.world, "1m")
    [row] = answer["items"]
    assert ends(answer) == (from_us, to_us)
    assert [p["value"] for p in row["points"]] == [len(counted(running.world.facts, at, at + SECOND)["run"]) for at in range(from_us, to_us, SECOND)]


def test_series_pages_and_too_many_points(running: Set) -> None:
    whole = pages(running.api, "/v1/series", metric="finished", by="job_class", last="2h", step="30m", limit=100)
    paged = pages(running.api, "/v1/series", metric="finished", by="job_class", last="2h", step="30m", limit=2)
    assert paged == whole
    problem: dict[str, Any] = running.api.get("/v1/series", 422, metric="finished", last="30d", step="1m")
    assert problem["errors"][0]["param"] == "step"
    for last in ("1h", "24h", "30d", "3650d"):
        points = running.api.get("/v1/series", metric="finished", last=last)["items"][0]["points"]  # type: ignore[index]
        assert len(points) <= 1000


def test_jobs_are_the_attempts_newest_first_each_once(running: Set) -> None:
    world = running.world
    wanted = sorted(world.facts, key=lambda f: (f.at_us, f.tenant, f.system, f.queue, f.job_id, f.attempt), reverse=True)
    items = pages(running.api, "/v1/jobs", limit=97)
    assert [(i["job_id"], i["attempt"]) for i in items] == [(f.job_id, f.attempt) for f in wanted]
    for row, f in zip(items, wanted, strict=True):
        assert row["state"] == f.state
        assert row["job_class"] == f.job_class
        assert (row["dead"], row["retried"]) == (f.dead_us is not None, f.retried_us is not None)
        assert row["wait_ms"] == (None if f.started_us is None else f.wait_us / 1000)
        assert row["run_ms"] == (None if f.ended_us is None or f.started_us is None else (f.ended_us - f.started_us) / 1000)
        assert [row[n] for n in ("enqueued_at", "started_at", "finished_at")] == [
            None if us is None else time_text(us) for us in (f.enqueued_us, f.started_us, f.ended_us)
        ]
        error = {"class": f"E{f.attempt}", "message": f"no. {f.job_id}", "fingerprint": fingerprint(f"E{f.attempt}", f"no. {f.job_id}")}
        assert row["error"] == (error if f.outcome == "failed" else None)


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"state": "failed"}, lambda f: f.state == "failed"),
        ({"state": ["running", "waiting"]}, lambda f: f.state in ("running", "waiting")),
        ({"state": "dead"}, lambda f: f.dead_us is not None),
        ({"state": "retried"}, lambda f: f.retried_us is not None),
        ({"error_class": "E2"}, lambda f: f.outcome == "failed" and f.attempt == 2),
        ({"worker_id": "host-1:1", "tenant": "acme"}, lambda f: f.worker_id == "host-1:1" and f.tenant == "acme" and f.started_us),
        ({"job_class": "Übersicht/✓"}, lambda f: f.job_class == "Übersicht/✓"),
        ({"queue": "mail", "system": "sidekiq", "environment": "default"}, lambda f: f.system == "sidekiq"),
        ({"job_id": "job/7"}, lambda f: f.job_id == "job/7"),
        ({"tenant": "acme", "job_id": "' OR 1=1 --"}, lambda f: False),
    ],
)
def test_jobs_filters(running: Set, params: dict[str, Any], wanted: Any) -> None:
    items = pages(running.api, "/v1/jobs", limit=50, **params)
    assert {(i["job_id"], i["attempt"]) for i in items} == {(f.job_id, f.attempt) for f in running.world.facts if wanted(f)}


def test_jobs_range_is_about_when_they_came_into_their_state(running: Set) -> None:
    world = running.world
    from_us, to_us = world.start_us + 10 * MINUTE + 1, world.start_us + 20 * MINUTE
    items = pages(running.api, "/v1/jobs", limit=1000, from_=time_text(from_us), to=time_text(to_us))
    assert {(i["job_id"], i["attempt"]) for i in items} == {(f.job_id, f.attempt) for f in world.facts if from_us <= f.at_us < to_us}


def test_a_timeline_tells_the_whole_story(running: Set) -> None:
    world = running.world
    job_id = next(f.job_id for f in world.facts if f.dead_us is not None)
    attempts = [f for f in world.facts if f.job_id == job_id]
    answer: dict[str, Any] = running.api.get(f"/v1/jobs/{job_id}/timeline")
    assert (answer["job_id"], answer["state"], answer["dead"]) == (job_id, "failed", True)
    assert [a["attempt"] for a in answer["attempts"]] == [1, 2, 3]
    assert all(a["unseen"] == [] for a in answer["attempts"])
    for before, after, row in zip(attempts, attempts[1:], answer["attempts"][1:], strict=False):
        assert before.ended_us
        assert after.started_us
        assert after.eligible_us
        assert row["gap_before_ms"] == (after.started_us - before.ended_us) / 1000
        assert row["backoff_ms"] == (after.eligible_us - before.ended_us) / 1000
    mine = [e for e in world.events if e["data"]["job_id"] == job_id]
    assert [(e["type"], e["event_id"]) for e in answer["events"]] == [(e["type"].removesuffix(".v1"), e["id"]) for e in mine]
    assert [e["data"] for e in answer["events"]] == [e["data"] for e in mine]
    assert attempts[-1].ended_us
    assert answer["turnaround_ms"] == (attempts[-1].ended_us - attempts[0].enqueued_us) / 1000
    assert answer["run_ms"] == pytest.approx(sum(a["run_ms"] for a in answer["attempts"]))
    paged, cursor = [], None
    while True:
        page: dict[str, Any] = running.api.get(f"/v1/jobs/{job_id}/timeline", limit=2, cursor=cursor)
        paged += page["events"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [e["event_id"] for e in paged] == [e["id"] for e in mine]


def test_a_job_nobody_knows_is_a_404_problem(running: Set) -> None:
    answer = running.api.client.get("/v1/jobs/none/timeline")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "none" in answer.json()["detail"]
    assert running.api.get(f"/v1/jobs/{running.world.facts[0].job_id}/timeline", 404, tenant="nobody")["status"] == 404


def test_workers_live_by_queue_class_and_page(running: Set) -> None:
    world = running.world
    keys = sorted({(f.tenant, "default", f.system, f.worker_id) for f in world.facts})
    assert all(item["heartbeat_age_ms"] > 0 for item in running.api.get("/v1/workers")["items"])  # type: ignore[attr-defined]
    items = pages(running.api, "/v1/workers", limit=2)
    assert [tuple(i[n] for n in ("tenant", "environment", "system", "worker_id")) for i in items] == keys[:-1]  # the last was gone
    for item in items:
        held = [(f.job_id, f.attempt) for f in world.facts if f.state == "running" and f.worker_id == item["worker_id"]]
        held = [h for h in held if (item["tenant"], item["system"]) in {(f.tenant, f.system) for f in world.facts if f.job_id == h[0]}]
        assert [(r["job_id"], r["attempt"]) for r in item["running"]] == held
    ran = {(f.tenant, f.system, f.worker_id) for f in world.facts if f.job_class == "Import" and f.started_us}
    found = pages(running.api, "/v1/workers", limit=50, job_class="Import", last="1h")
    assert {(i["tenant"], i["system"], i["worker_id"]) for i in found} == ran
    assert {i["system"] for i in pages(running.api, "/v1/workers", limit=50, queue="reports")} == {"rq"}


def test_completeness_lists_the_epochs(running: Set) -> None:
    live: dict[str, Any] = running.api.get("/v1/completeness")
    assert [(i["epoch"], i["received"], i["missing"], i["lost"], i["clean"]) for i in live["items"]] == [
        ("epoch-aaaaaaaa", 200, 0, 0, True),
        ("epoch-bbbbbbbb", 400, 1, 0, False),
        ("epoch-cccccccc", 600, 2, 1, False),
    ]
    assert (live["rejected"], live["live_late_dropped"], len(live["partitions"])) == (5, 2, 8)
    assert pages(running.api, "/v1/completeness", limit=1) == live["items"]
    history = pages(running.api, "/v1/completeness", limit=2, last="3h")
    by_owner = {(e["data"]["tenant"], e["epoch"]): 0 for e in running.world.events}
    for e in running.world.events:
        by_owner[e["data"]["tenant"], e["epoch"]] += 1
    assert {(i["tenant"], i["epoch"]): i["received"] for i in history} == by_owner
    assert sum(i["missing"] for i in history) == running.world.skipped
    narrow = pages(running.api, "/v1/completeness", limit=50, job_class="Monthly")
    assert {i["tenant"] for i in narrow} == {"globex"}


def test_prometheus_gets_bounded_live_gauges(running: Set) -> None:
    text = running.api.client.get("/metrics").text
    assert "jobtide_hot_state_up 1.0" in text
    assert 'jobtide_attempts_5m{environment="default",job_class="Import",queue="bulk",system="celery",tenant="acme",transition="started"}' in text
    assert "jobtide_events_missing 3.0" in text
    assert "jobtide_events_rejected 5.0" in text


def test_percentiles_of_a_queue_are_those_of_its_attempts_not_an_average(running: Set) -> None:
    facts = [f for f in running.world.facts if f.key[:4] == ("acme", "default", "celery", "mail")]
    answer: dict[str, Any] = running.api.get("/v1/queues", last="3h", tenant="acme", system="celery", queue="mail")
    assert_stats(answer["items"][0]["run_ms"], counted(facts, *ends(answer))["run"])


WEIRD = [
    "", " ", "0", "-1", "1", "15m", "1h", "3h", "9999999999d", "٣m", "null", "None", "true", "NaN", "inf", "1e9", "'", '"', "\\", "\\'", "%",
    "%00", "\x00",
    "\n", "\t", "é", "日本", "\U0001f600", "{tenant:String}", "{}", "' OR 1=1 --", "; DROP TABLE job_events", "a" * 900, "a" * 2000,
    "2026-01-01T00:00:00Z",
    "2026-13-01T00:00:00Z", "1970-01-01T00:00:00Z", "2099-12-31T23:59:59.999999Z", "2026-01-01T00:00:00+23:59", "0001-01-01T00:00:00+23:00",
    "9999-12-31T23:59:59-23:59", "failed", "dead", "wait_p95", "throughput", "auto", "7s", "1w", "queue", "acme", "mail", "job/7",
]  # fmt: skip
PARAMS = (
    "tenant", "environment", "system", "queue", "job_class", "last", "from", "to", "limit", "cursor", "state", "job_id", "worker_id", "error_class",
    "metric", "step", "by", "unknown",
)  # fmt: skip
PATHS = (
    "/v1/overview", "/v1/queues", "/v1/classes", "/v1/series", "/v1/jobs", "/v1/stuck", "/v1/workers", "/v1/completeness", "/v1/health/queues",
    "/v1/scaling", "/v1/forecast",
)  # fmt: skip


def test_whatever_is_asked_the_answer_is_json_and_never_our_fault(running: Set) -> None:
    """200 requests of a fixed seed, half of them with mostly sound parameters: 200, 404 or a 422 that names the parameter."""
    r = random.Random(20261122)
    seen: dict[int, int] = {}
    for number in range(200):
        path = r.choice(PATHS)
        if number % 10 == 0:
            path = f"/v1/jobs/{quote(r.choice(WEIRD) or 'x', safe='')}/timeline"
        params: list[tuple[str, str]] = [(r.choice(PARAMS), r.choice(WEIRD)) for _ in range(r.randrange(4))]
        if number % 2:
            sound = {"tenant": "acme", "last": r.choice(["5m", "2h", "9d"]), "limit": str(r.randrange(1, 9)), "queue": r.choice(WEIRD) or "x"}
            params = [(name, value) for name, value in sound.items() if r.random() < 0.6]
        if path == "/v1/series":
            params.append(("metric", r.choice(["finished", "run_p99", "failure_rate"])))
        answer = running.api.client.get(path, params=params)
        asked = f"{answer.request.url} → {answer.text[:300]}"
        assert answer.status_code in (200, 404, 422), asked
        assert answer.headers["content-type"] == ("application/json" if answer.status_code == 200 else "application/problem+json"), asked
        if answer.status_code == 422:
            assert all(fault["param"].split(".")[0] in (*PARAMS, "job_id") for fault in answer.json()["errors"]), asked
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
    assert seen[200] > 30, seen
    assert seen[422] > 30, seen
    for text in WEIRD:
        with_id = running.api.client.get("/v1/live", params={"tenant": text, "last": "x"})
        assert with_id.status_code == 422


def test_faults_of_every_kind_are_problems(running: Set) -> None:
    for method, path, status in (("GET", "/v2", 404), ("POST", "/v1/classes", 405), ("GET", "/v1/classes?limit=0", 422), ("GET", "/v1/series", 422)):
        answer = running.api.client.request(method, path)
        problem = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert (problem["status"], problem["type"], problem["instance"]) == (status, "about:blank", path.split("?")[0])
        assert problem["title"]
        assert problem["detail"]


def test_a_method_that_a_path_does_not_take_is_told_which_it_takes(running: Set) -> None:
    for path, methods in (("/v1/silences", "GET, POST"), ("/v1/silences/x", "DELETE"), ("/v1/classes", "GET"), ("/v1/query", "POST")):
        answer = running.api.client.put(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods), path
    bytes_ = running.api.client.post("/v1/query", content=b"\xd4T\xda`i", headers={"content-type": "application/json"})
    assert bytes_.status_code == 422 and bytes_.json()["errors"] == [{"param": "body", "detail": "is no JSON in UTF-8"}]


def test_the_openapi_document_describes_what_is_answered(running: Set) -> None:
    document: dict[str, Any] = running.api.get("/openapi.json")
    elsewhere = {path for path, operations in document["paths"].items() if any("alerts" in each.get("tags", ()) for each in operations.values())}
    asked = {path for path in document["paths"] if path.startswith("/v1/") and not path.startswith("/v1/admin/")} - elsewhere
    assert asked == {*PATHS, *EXAMPLES, "/v1/jobs/{job_id}/timeline", "/v1/live", "/v1/query", "/v1/export/{view}"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            if path.startswith("/v1/") and ("parameters" in operation or "requestBody" in operation):
                assert "application/problem+json" in operation["responses"]["422"]["content"]
                assert all(parameter.get("description") for parameter in operation.get("parameters", ())), path
    validator = jsonschema_rs.validator_for({"$ref": "#/components/schemas/Page_ClassRow_", "components": document["components"]})
    validator.validate(running.api.get("/v1/classes", last="3h"))
    row = document["components"]["schemas"]["ClassRow"]
    in_the_issue = {
        "tenant", "environment", "system", "queue", "job_class", "enqueued", "started", "finished", "failed", "retried", "dead", "discarded",
        "in_flight", "wait_ms", "run_ms",
    }  # fmt: skip
    assert in_the_issue <= set(row["required"])
    assert set(document["components"]["schemas"]["Stats"]["properties"]) == {"count", "p50", "p90", "p95", "p99", "max"}


def test_without_hot_state_history_answers_and_says_so(running: Set) -> None:
    """Redis is there, but no stream worker has ever written under this prefix."""
    settings = dataclasses.replace(running.settings, redis_prefix="query-nobody-writes:")
    with serving(create_app(settings)) as api:
        api.wait_for("/readyz")
        for path, depth in (("/v1/classes", 5), ("/v1/queues", 4)):
            answer: dict[str, Any] = api.get(path, last="1h", limit=1000)
            assert answer["source"] == "history"
            assert "Redis" in answer["degraded"][0]
            from_us, to_us = ends(answer)
            assert (to_us - from_us) in (60 * MINUTE, 61 * MINUTE)
            for row in answer["items"]:
                assert_row(row, [f for f in running.world.facts if f.key[:depth] == key_of(row, depth)], from_us, to_us)
                assert row["in_flight"] is None
        assert api.get("/v1/overview", last="1h")["workers"] is None
        assert api.get("/v1/completeness", last="1h")["source"] == "history"
        assert api.client.get("/v1/workers").status_code == 200
