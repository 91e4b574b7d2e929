"""Twelve planted causes of waiting, and what `/v1/why-slow` says of each; and that it says "unknown" whenever history is stale.

    python -m tests.proof.why_slow_causes [--full]

The bar: right first verdict for at least 10 of 12, nothing found where nothing is, "unknown" on stale data always. The full form plants
everything with five seeds, on both engines; the short one with one seed on the embedded engine.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from jobtide.query.app import create_app
from jobtide.sinks import batch
from jobtide.sinks.clickhouse import migrate
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.clickhouse.history_store import HistoryStore
from jobtide.sinks.clickhouse.rollups import Rollups
from jobtide.streams.events import time_text
from jobtide.streams.settings import Settings, load

from tests import clickhouse_server
from tests.proof import report
from tests.proof.job_events import MINUTE, SECOND, lane_of, value_of
from tests.proof.planted_causes import PLANTED_S, USUAL_S, events, scenarios

PARTITIONS = 8
CAUSES = 12


def judged(settings: Settings, seeds: list[int]) -> list[dict[str, Any]]:
    """Plant, ask, then let history be stale and ask again."""
    start_us = (time.time_ns() // 1000 - 2 * 3600 * SECOND) // MINUTE * MINUTE
    end_us = start_us + (USUAL_S + PLANTED_S) * SECOND
    migrate.prepare(settings)
    db = ClickHouse(settings)
    try:
        plant(settings, db, start_us, end_us, seeds)
        found = asyncio.run(_ask(settings, start_us, end_us, seeds))
        stale_us = end_us - 10 * MINUTE  # the next report says that the writer is ten minutes behind
        rows = [(p, 200, stale_us, stale_us, stale_us, "lagging", time.time_ns() // 1000) for p in range(PARTITIONS)]
        HistoryStore(db).progress(rows)
        late = asyncio.run(_ask(settings, start_us, end_us, seeds))
    finally:
        db.close()
    return [row | {"stale": again["verdict"]} for row, again in zip(found, late, strict=True)]


def plant(settings: Settings, db: ClickHouse, start_us: int, end_us: int, seeds: list[int]) -> None:
    tenants = []
    for seed in seeds:
        for number, scenario in enumerate(scenarios()):
            tenants.append(f"s{seed}-{number}")
            records = [
                batch.Record(lane_of(event["partitionkey"]) % PARTITIONS, offset, end_us, value_of(event))
                for offset, event in enumerate(events(scenario, tenants[-1], start_us, seed * 100 + number))
            ]
            prepared = batch.prepare(records, PARTITIONS)
            assert not prepared.refused, prepared.refused
            for insert in prepared.inserts([pair for found in prepared.attempts.values() for pair in found.items()]):
                db.insert(insert)
    minutes = [(tenant, minute) for tenant in tenants for minute in range(start_us // SECOND, end_us // SECOND + 60, 60)]
    Rollups(db, settings.retention_executions_days).recompute(minutes, 3600)
    HistoryStore(db).progress([(p, 100, end_us, end_us, end_us, "active", end_us) for p in range(PARTITIONS)])


async def _ask(settings: Settings, start_us: int, end_us: int, seeds: list[int]) -> list[dict[str, Any]]:
    app = create_app(settings)
    found = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jobtide", timeout=60) as client:
        for seed in seeds:
            for number, scenario in enumerate(scenarios()):
                range_ = {"from": time_text(end_us - PLANTED_S * SECOND), "to": time_text(end_us)}
                answer = await client.get("/v1/why-slow", params={"queue": "mail", "tenant": f"s{seed}-{number}", **range_})
                assert answer.status_code == 200, answer.text
                body = answer.json()
                causes = {cause["reason"]: cause["share"] for cause in body["causes"]}
                said = {name: body[name] for name in ("verdict", "confidence", "evidence")}
                found.append({"seed": seed, "name": scenario.name, "planted": scenario.reason, **said, "causes": causes})
    return found


def _in_process(settings: Settings, seeds: list[int]) -> list[dict[str, Any]]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(judged, settings, seeds).result()


def run(full: bool) -> report.Result:
    """See the module."""
    seeds = [1, 2, 3, 4, 5] if full else [1]
    rows, wrong = [], []
    with tempfile.TemporaryDirectory() as root:
        # No Redis there: history is asked, and the verdict must not need it.
        engines = [("chDB", load({}, clickhouse_url=f"chdb://{root}/history", redis_url="redis://127.0.0.1:1/0"))]
        if full and clickhouse_server.why_not() is None:
            Path(root, "server").mkdir()
            with clickhouse_server.clickhouse(Path(root, "server")) as server:
                settings = load({}, clickhouse_url=server.address, redis_url="redis://127.0.0.1:1/0")
                rows += _rows("ClickHouse", _in_process(settings, seeds), len(seeds), wrong)
        rows += [each for name, settings in engines for each in _rows(name, _in_process(settings, seeds), len(seeds), wrong)]
    return report.result("Why slow", rows, wrong=wrong, seeds=seeds)


def _rows(engine: str, found: list[dict[str, Any]], seeds: int, wrong: list[str]) -> list[report.Result]:
    planted = [row for row in found if row["planted"] != "not_slow"]
    right = sum(row["verdict"] == row["planted"] for row in planted)
    calm = [row for row in found if row["planted"] == "not_slow"]
    quiet = sum(row["verdict"] == "not_slow" for row in calm)
    stale = sum(row["stale"] == "unknown" for row in found)
    missed = [row for row in found if row["verdict"] != row["planted"]]
    misses = [f"{engine}: {row['name']} (seed {row['seed']}): said {row['verdict']} {row['causes']}: {row['evidence']}" for row in missed]
    print("\n".join(misses))
    passes = right >= 10 * seeds and quiet == len(calm) and stale == len(found)
    if not passes:
        wrong += misses + [f"{engine}: {row['name']}: not unknown when stale but {row['stale']}" for row in found if row["stale"] != "unknown"]
    measured = f"{right} of {CAUSES * seeds} right, {quiet} of {len(calm)} calm ones not slow, {stale} of {len(found)} stale ones unknown"
    return [report.row(f"why-slow on {engine}", f"≥ {10 * seeds} of {CAUSES * seeds}; unknown on stale data always", measured, passes)]


if __name__ == "__main__":
    report.main(run)
