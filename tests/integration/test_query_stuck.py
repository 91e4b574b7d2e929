"""`/v1/stuck`, and stuck work in the overview, in `/v1/live` and in `/metrics`, over a real Valkey."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jobtide.sinks.keys import field
from jobtide.streams.snapshots import HotWrite, SeriesStuck, StuckAttempt, WorkerSnapshot

from tests.fakes.job_world import World
from tests.fakes.job_world_stores import progress
from tests.integration.test_query_live import START, Set, following, running, write
from tests.proof.job_events import MINUTE, SECOND

MAIL = ("acme", "default", "celery", "mail", "Welcome")
SYNC = ("acme", "default", "celery", "sync", "Nightly")
OTHERS = ("umbra", "default", "celery", "mail", "Welcome")


def attempt(job_id: str, verdict: Any, minutes: int, **more: Any) -> StuckAttempt:
    since_us = START + 60 * MINUTE - minutes * MINUTE
    return StuckAttempt(
        **{
            "job_id": job_id, "attempt": 1, "worker_id": "w-1", "verdict": verdict, "since_us": since_us, "limit_us": 90 * SECOND,
            "limit_source": "baseline", "severity": "low", "last_event_us": since_us, "p99_us": 30 * SECOND, **more,
        }
    )  # fmt: skip


STUCK = {
    MAIL: [
        attempt("slow-1", "slow", 90, severity="high"),
        attempt("lost-1", "lost", 20, limit_source="heartbeat", limit_us=25 * SECOND, reason="silent", heartbeat_us=START + 59 * MINUTE),
    ],
    SYNC: [attempt("late-1", "late", 45, worker_id="", severity="medium"), attempt("twice-1", "duplicate", 5, others=["w-2"])],
    OTHERS: [attempt("slow-2", "slow", 200, severity="critical", worker_id="w-9")],
}  # fmt: skip


def stuck_writes(version: int = 1) -> list[HotWrite]:
    out = []
    for key, attempts in STUCK.items():
        counts: dict[Any, int] = {}
        for found in attempts:
            counts[found.verdict] = counts.get(found.verdict, 0) + 1
        out.append(HotWrite("stuck", key[0], field(*key[1:]), version, msgspec.json.encode(SeriesStuck(*key, counts, 7, attempts))))
    return out


@pytest.fixture
def live(redis_url: str, prefix: str) -> Iterator[Set]:
    worker = WorkerSnapshot("acme", "default", "celery", "w-1", "busy", time.time_ns() // 1000 - 3 * SECOND)
    with running(redis_url, prefix, World(START, 30, 40)) as found:
        told = [*stuck_writes(), HotWrite("workers", "acme", field("default", "celery", "w-1"), 5, msgspec.json.encode(worker))]
        write(found.settings, [*told, progress(found.world, version=3)])
        until = time.monotonic() + 20
        while len(found.api.get("/v1/stuck")["items"]) < 5:  # type: ignore[arg-type]
            assert time.monotonic() < until
            time.sleep(0.05)
        yield found


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["job_id"] for row in answer["items"]]


def test_the_longest_come_first_with_their_evidence(live: Set) -> None:
    answer: dict[str, Any] = live.api.get("/v1/stuck")
    assert ids(answer) == ["slow-2", "slow-1", "late-1", "lost-1", "twice-1"]
    assert answer["counts"] == {"late": 1, "slow": 2, "lost": 1, "duplicate": 1, "unjudged": 21}
    slow, late, lost, twice = answer["items"][1:]
    assert (slow["limit_ms"], slow["limit_source"], slow["p99_ms"], slow["severity"]) == (90_000, "baseline", 30_000, "high")
    assert 3_000 <= slow["heartbeat_age_ms"] < 60_000, "what the worker said of itself is newer than what triage knows"
    assert (late["worker_id"], late["heartbeat_age_ms"], late["lost_because"]) == (None, None, None)
    assert lost["lost_because"] == "silent" and "host" in lost["next"]
    assert twice["other_workers"] == ["w-2"]
    assert len({row["next"] for row in answer["items"]}) == 4


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"tenant": "acme"}, ["slow-1", "late-1", "lost-1", "twice-1"]),
        ({"queue": "sync"}, ["late-1", "twice-1"]),
        ({"job_class": "Welcome", "tenant": "umbra"}, ["slow-2"]),
        ({"verdict": ["slow", "lost"], "tenant": "acme"}, ["slow-1", "lost-1"]),
        ({"severity": "critical"}, ["slow-2"]),
        ({"from": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((START + 30 * MINUTE) / 1e6))}, ["lost-1", "twice-1"]),
        ({"environment": "staging"}, []),
    ],
)  # fmt: skip
def test_filters(live: Set, params: dict[str, Any], wanted: list[str]) -> None:
    assert ids(live.api.get("/v1/stuck", **params)) == wanted


def test_pages_hold_each_once(live: Set) -> None:
    found: list[str] = []
    cursor = None
    while True:
        answer: dict[str, Any] = live.api.get("/v1/stuck", limit=2, cursor=cursor)
        found += ids(answer)
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert found == ["slow-2", "slow-1", "late-1", "lost-1", "twice-1"]
    live.api.get("/v1/stuck", status=422, limit=2, cursor=live.api.get("/v1/stuck", limit=2)["next_cursor"], verdict="late")


def test_the_overview_counts_them_and_metrics_name_the_queues(live: Set) -> None:
    assert live.api.get("/v1/overview")["stuck"]["slow"] == 2  # type: ignore[index]
    assert live.api.get("/v1/overview", tenant="acme")["stuck"] == {"late": 1, "slow": 1, "lost": 1, "duplicate": 1, "unjudged": 14}
    text = live.api.client.get("/metrics").text
    assert 'jobtide_attempts_stuck{environment="default",queue="mail",system="celery",tenant="acme",verdict="lost"} 1.0' in text


def test_live_tells_what_gets_stuck_and_what_recovers(live: Set) -> None:
    with following(live.api, tenant="acme") as stream:
        first = stream.until("snapshot").data
        assert [(row["job_class"], row["slow"], row["lost"]) for row in first["stuck"]] == [("Welcome", 1, 1), ("Nightly", 0, 0)]
        assert [row["job_id"] for row in first["stuck"][0]["longest"]] == ["slow-1", "lost-1"]
        write(live.settings, [HotWrite("stuck", "acme", field(*MAIL[1:]), 9, None)])
        delta = stream.until("delta").data
        while not delta["removed"]["stuck"]:
            delta = stream.until("delta").data
        assert delta["removed"]["stuck"] == [list(MAIL)]
    assert ids(live.api.get("/v1/stuck", tenant="acme")) == ["late-1", "twice-1"]
