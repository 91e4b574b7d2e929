"""`/v1/health/queues`, `/v1/scaling`, `/v1/forecast` and their gauges over a real Valkey; what they remember outlives the process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import orjson
import pytest
from jobtide.query import signal_keeper
from jobtide.query.app import create_app
from jobtide.sinks.keys import field
from jobtide.streams.snapshots import HotWrite, QueueSnapshot, WorkerSnapshot

from tests.fakes.job_world import World
from tests.fakes.job_world_stores import progress
from tests.integration.query_server import Api, serving
from tests.integration.test_query_live import START, running, write
from tests.proof.job_events import SECOND

BACKLOG = ("acme", "default", "celery", "backlog")


def until(api: Api, path: str, right: Callable[[dict[str, Any]], Any], **params: str) -> dict[str, Any]:
    limit_s = time.monotonic() + 30
    while not right(answer := api.get(path, **params)):
        assert time.monotonic() < limit_s, answer
        time.sleep(0.1)
    return answer


def backlog_writes(waiting: int, version: int) -> list[HotWrite]:
    """A queue with as many jobs waiting, by its backend's own count, and one worker that is busy with half of what it could be."""
    now_us = time.time_ns() // 1000
    queue = QueueSnapshot(*BACKLOG, now_us, ready=waiting)
    said: dict[str, Any] = {"concurrency": 4, "busy": 2, "queues": ["backlog"], "interval_ms": 60_000, "clock_lag_us": -9_000_000}
    worker = WorkerSnapshot(*BACKLOG[:3], "w-backlog", "busy", now_us, **said)
    return [
        HotWrite("queues", "acme", field(*BACKLOG[1:]), version, msgspec.json.encode(queue)),
        HotWrite("workers", "acme", field("default", "celery", "w-backlog"), version, msgspec.json.encode(worker)),
    ]


def later(world: World, version: int, seconds: int) -> HotWrite:
    """The watermark so much later."""
    said = progress(world, version=version)
    value = orjson.loads(said.value or b"")
    for source in value["sources"].values():
        source["watermark"] += seconds * SECOND
    return HotWrite("progress", "", said.field, version, orjson.dumps(value))


def test_a_backlog_is_unhealthy_wants_workers_and_says_so_after_a_restart(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_keeper, "EVERY_S", 0.2)
    world = World(START, 30, 60)
    with running(redis_url, prefix, world) as found:
        api = found.api
        write(found.settings, backlog_writes(2_500, 7))
        answer = until(api, "/v1/health/queues", lambda a: a["warning"], queue="backlog")
        assert (answer["status"], answer["items"][0]["waiting"]) == ("warning", 2_500)
        assert [(r["what"], r["threshold"]) for r in answer["items"][0]["reasons"]] == [("size", 1_000)]
        assert until(api, "/v1/health/queues", lambda a: a["items"], tenant="globex")["status"] in ("healthy", "warning", "critical")
        assert [reason for reason in answer["pipeline"] if "clocks" in reason] == ["clocks are off by more than 2 s: w-backlog"]
        assert all(row["tenant"] == "globex" for row in api.get("/v1/health/queues", tenant="globex")["items"])  # type: ignore[attr-defined]
        (row,) = until(api, "/v1/scaling", lambda a: a["items"] and a["items"][0]["advice"], queue="backlog")["items"]
        assert (row["advice"], row["desired"], row["workers"], row["utilisation"]) == (2, 3, 1, 0.5)
        assert row["history"][0]["reason"] == row["reason"] == "more than 100 jobs wait"
        (ahead,) = api.get("/v1/forecast", queue="backlog")["items"]  # type: ignore[misc]
        assert (ahead["state"], ahead["clear_s"]) == ("growing", None)  # type: ignore[index]
        text = api.client.get("/metrics").text
        labels = 'environment="default",queue="backlog",system="celery",tenant="acme"'
        assert 'jobtide_worker_clock_lag_seconds{bound="least"} -9.0' in text
        assert f"jobtide_scaling_desired_workers{{{labels}}} 3.0" in text and f"jobtide_queue_health{{{labels}}} 1.0" in text
    with serving(create_app(found.settings)) as api:  # another process; the queue is well again, but the advice stands for five minutes
        api.wait_for("/v1/classes?last=5m")
        write(found.settings, [*backlog_writes(0, 9), later(world, 9, 60)])
        (row,) = until(api, "/v1/scaling", lambda a: a["items"] and not a["items"][0]["waiting"], queue="backlog")["items"]
        assert (row["advice"], row["desired"]) == (2, 3) and len(row["history"]) == 1
        write(found.settings, [later(world, 10, 400)])
        (row,) = until(api, "/v1/scaling", lambda a: a["items"] and not a["items"][0]["advice"], queue="backlog")["items"]
        assert (row["desired"], len(row["history"])) == (1, 2)


def test_pages_hold_each_queue_once_and_states_select(redis_url: str, prefix: str) -> None:
    with running(redis_url, prefix, World(START, 30, 60)) as found:
        write(found.settings, backlog_writes(2_500, 7))
        everything = until(found.api, "/v1/health/queues", lambda a: a["warning"])
        keys = [(row["tenant"], row["environment"], row["system"], row["queue"]) for row in everything["items"]]
        assert len(keys) > 3 and keys == sorted(set(keys))
        told: list[tuple[str, ...]] = []
        cursor = None
        while True:
            answer: dict[str, Any] = found.api.get("/v1/scaling", limit=2, cursor=cursor)
            told += [(row["tenant"], row["environment"], row["system"], row["queue"]) for row in answer["items"]]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        assert told == keys
        wrong = found.api.get("/v1/health/queues", status_="warning")["items"]
        assert [row["queue"] for row in wrong] == ["backlog"]  # type: ignore[attr-defined]
