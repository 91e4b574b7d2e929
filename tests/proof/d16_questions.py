"""D16: the eight standard questions about ten million events, each within 300 ms (p95), and every answer equal to pandas' over the same facts.

    python -m tests.proof.d16_questions [--full] [chdb|server …]

The facts of a week are made as arrays (`many_events`), put into every table by INSERT … SELECT, and asked for over HTTP's own application. pandas
counts the same from the arrays, by code that shares nothing with ours. Ranges move by an hour from one repetition to the next, so that
nothing can be answered from memory. The short form is 30 000 events of a day, on both engines, without a limit of time.

Not in these times: the completeness of a range of numbered events. Every answer carries it, and these events carry no sequence numbers; with them it
takes about two seconds of CPU for ten million events (0.2 µs each), alone and before the answer is complete.
"""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
from jobtide.query.app import create_app
from jobtide.streams.events import time_text, time_us
from jobtide.streams.settings import Settings, load

from tests import clickhouse_server
from tests.proof import many_events, report
from tests.proof.many_events import DAY, DAYS, DEPLOYS, SHORT_DAYS, deployed_us, error_class, error_group

EVENTS, SHORT_EVENTS, SEED = 10_000_000, 30_000, 16
LIMIT_S, REPEATS = 0.3, 20
HOUR = 3600 * 1_000_000
KEY = ["tenant", "system", "queue", "job_class"]


class Week:
    """The facts, and what pandas says of them. Differences are collected, not raised."""

    def __init__(self, frame: pd.DataFrame, start_us: int, days: int) -> None:
        self.frame, self.start_us, self.days = frame, start_us, days
        self.end_us = start_us + days * DAY
        self.wrong: list[str] = []

    def same(self, what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            self.wrong.append(f"{what}: found {str(found)[:200]}, pandas has {str(wanted)[:200]}")

    def near(self, what: str, found: float | None, wanted: float) -> None:
        if found is None or abs(found - wanted) > 0.01 * abs(wanted) + 1e-9:
            self.wrong.append(f"{what}: found {found}, pandas has {wanted}: more than 1 % apart")

    def ended(self, from_us: int, to_us: int) -> pd.DataFrame:
        return self.frame[(self.frame["ended"] >= from_us) & (self.frame["ended"] < to_us)]


def rank(values: np.ndarray, q: float) -> float:
    """The value of 1-based rank ceil(q·n)."""
    ordered = np.sort(values)
    return float(ordered[max(1, math.ceil(round(q * len(ordered), 9))) - 1])


def _range(from_us: int, to_us: int) -> dict[str, str]:
    return {"from": time_text(from_us), "to": time_text(to_us)}


def name_of(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[part] for part in KEY)


# Each: the request for a shift (in hours), and the check of its answer.

Asked = tuple[str, dict[str, Any]]
Check = Callable[[Week, dict[str, Any], int, int], None]


def classes(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    ended = w.ended(from_us, to_us)
    f = w.frame
    begun = f[(f["started"] >= from_us) & (f["started"] < to_us)]
    wanted = {key: (int((g["outcome"] == 4).sum()), int((g["outcome"] == 3).sum())) for key, g in ended.groupby(KEY)}
    w.same("classes", {name_of(row): (row["finished"], row["failed"]) for row in answer["items"]}, wanted)
    w.same("classes: started", {name_of(row): row["started"] for row in answer["items"]}, begun.groupby(KEY).size().to_dict())
    runs = {key: g["run"].to_numpy() for key, g in ended.groupby(KEY)}
    for row in answer["items"][:10]:
        w.near(f"run_p95 of {name_of(row)}", row["run_ms"]["p95"], rank(runs[name_of(row)], 0.95) / 1000)


def series(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    ended = w.ended(from_us, to_us)
    by_hour = {int(at): g["run"].to_numpy() for at, g in ended.groupby(ended["ended"] // HOUR * HOUR)}
    [line] = answer["items"]
    w.same("series: hours", len(line["points"]), (to_us - from_us) // HOUR)
    for point in line["points"]:
        values = by_hour.get(time_us(point["at"]))
        if values is None:
            w.same("series", point["value"], None)
        else:
            w.near(f"run_p95 at {point['at']}", point["value"], rank(values, 0.95) / 1000)


def errors(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    failed = w.ended(from_us, to_us)
    failed = failed[failed["outcome"] == 3]
    best = w.frame[w.frame["outcome"] == 4].groupby("job_id")["attempt"].max()
    helped = failed["job_id"].map(best).fillna(0).to_numpy() > failed["attempt"].to_numpy()
    failed = failed.assign(helped=helped, host="host-" + (failed["worker"] % 10).astype(str), release=_releases(w, failed["ended"].to_numpy()))
    wanted = {}
    for (tenant, index), g in failed.groupby(["tenant", "error"]):
        counts = {part: g[part].value_counts().to_dict() for part in ("host", "release")}
        top = g["job_class"].value_counts().nlargest(20, keep="all").to_dict()
        wanted[tenant, error_group(index)] = (error_class(index), len(g), int(g["helped"].sum()), int((g["dead"] >= 0).sum()), counts, top)
    w.same("errors: groups", {(r["tenant"], r["fingerprint"]) for r in answer["items"]}, set(wanted))
    for row in answer["items"]:
        should = wanted[row["tenant"], row["fingerprint"]]
        w.same("errors", (row["error_class"], row["failures"], row["recovered"], row["dead"]), should[:4])
        shares = {part: {s["name"]: s["failures"] for s in row[f"{part}s"]} for part in ("host", "release")}
        w.same("errors: spread", shares, should[4])
        w.same("errors: classes", all(should[5].get(s["name"]) == s["failures"] for s in row["classes"]), True)


def _releases(w: Week, ended: np.ndarray) -> np.ndarray:
    times = np.array([deployed_us(w.start_us, day, w.days) for day, _ in DEPLOYS])
    names = np.array(["", *(release for _, release in DEPLOYS)])
    return names[np.searchsorted(times, ended, side="right")]


def failures(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    failed = w.ended(from_us, to_us)
    failed = failed[failed["outcome"] == 3].nlargest(60, "ended").sort_values(["ended", "tenant", "system", "queue", "job_id"], ascending=False)
    wanted = list(zip(failed["job_id"], failed["attempt"].astype(int), failed["error"].map(error_class), strict=True))[:50]
    w.same("failures", [(r["job_id"], r["attempt"], r["error"]["class"]) for r in answer["items"]], wanted)


def jobs(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    f = w.frame
    at = np.where(f["ended"] < w.end_us + DAY, f["ended"], f["started"])
    newest = f.assign(at=at)[(at >= from_us) & (at < to_us)].nlargest(60, "at")
    newest = newest.sort_values(["at", "tenant", "system", "queue", "job_id"], ascending=False)
    wanted = list(zip(newest["job_id"], newest["attempt"].astype(int), strict=True))[:50]
    w.same("jobs", [(r["job_id"], r["attempt"]) for r in answer["items"]], wanted)


def slowest(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    ended = w.ended(from_us, to_us)
    wanted = {key: rank(g["run"].to_numpy(), 0.95) / 1000 for key, g in ended.groupby(KEY)}
    w.same("slowest: classes", {name_of(r) for r in answer["items"]} <= wanted.keys(), True)
    for row in answer["items"]:
        w.near(f"slowest {name_of(row)}", row["value_ms"], wanted[name_of(row)])
    values = [r["value_ms"] for r in answer["items"]]
    w.same("slowest: order", values, sorted(values, reverse=True))


def cost(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    ended = w.ended(from_us, to_us)
    busy = ended.groupby(KEY)["run"].sum()
    wasted = ended[ended["outcome"] == 3].groupby(KEY)["run"].sum()
    found = {name_of(r): (round(r["busy_s"] * 1e6), round(r["wasted_s"] * 1e6)) for r in answer["items"]}
    w.same("cost", found, {key: (int(us), int(wasted.get(key, 0))) for key, us in busy.nlargest(len(found)).items()})


def compare(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    at = time_us(answer["deploy"]["at"])
    length = (time_us(answer["range"]["to"]) - time_us(answer["range"]["from"])) // 2
    sides = [w.ended(at - length, at), w.ended(at, at + length)]
    counts = [side[side["tenant"] == answer["deploy"]["tenant"]].groupby(KEY).size() for side in sides]
    for row in answer["items"]:
        should = [int(count.get(name_of(row), 0)) for count in counts]
        w.same(f"compare {name_of(row)}", [row["attempts_before"], row["attempts_after"]], should)
    worse = {row["job_class"] for row in answer["items"] if "worse" in (row["failure_rate"]["verdict"], row["run_p50_ms"]["verdict"])}
    if answer["deploy"]["tenant"] == "globex" and min(len(side) for side in sides) > 100_000:
        w.same("compare: what got worse", worse, {"C03"})


def timeline(w: Week, answer: dict[str, Any], from_us: int, to_us: int) -> None:
    mine = w.frame[w.frame["job_id"] == answer["job_id"]]
    events = int((mine["attempt"] == 1).sum() + 2 * len(mine) + (mine["retried"] >= 0).sum() + (mine["dead"] >= 0).sum())
    w.same("timeline", (len(answer["attempts"]), len(answer["events"])), (len(mine), events))
    w.same("timeline: run", round(answer["run_ms"] * 1000), int(mine["run"].sum()))


def questions(w: Week) -> dict[str, tuple[Callable[[int, int, int], Asked], Check]]:
    """By name; a request is made of (shift, from, to)."""
    some = w.frame["job_id"].iloc[:: max(1, len(w.frame) // 100)].tolist()
    window = f"{24 * w.days // DAYS or 1}h"
    tenants = ("globex", "acme")
    return {
        "classes": (lambda n, a, b: ("/v1/classes", {**_range(a, b), "limit": 1000}), classes),
        "series": (lambda n, a, b: ("/v1/series", {**_range(a, b), "metric": "run_p95", "step": "1h"}), series),
        "errors": (lambda n, a, b: ("/v1/errors", _range(a, b)), errors),
        "failures": (lambda n, a, b: ("/v1/failures", _range(a, b)), failures),
        "jobs": (lambda n, a, b: ("/v1/jobs", _range(a, b)), jobs),
        "slowest": (lambda n, a, b: ("/v1/slowest", {**_range(a, b), "measure": "run_p95"}), slowest),
        "deploy": (lambda n, a, b: ("/v1/deploys/compare", {"release": "v42", "window": window, "tenant": tenants[n % 2]}), compare),
        "timeline": (lambda n, a, b: (f"/v1/jobs/{some[n % len(some)]}/timeline", {}), timeline),
        "cost": (lambda n, a, b: ("/v1/cost", {**_range(a, b), "limit": 1000}), cost),
    }


async def ask(settings: Settings, w: Week, repeats: int) -> dict[str, list[float]]:
    """Each question so many times, alone; the seconds each took. Every answer is checked."""
    took: dict[str, list[float]] = {}
    app = create_app(settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jobtide", timeout=120) as client:
        for name, (request, check) in questions(w).items():
            for n in range(-1, repeats):  # the first opens connections and is not counted
                from_us, to_us = w.start_us + (n % 20) * HOUR, w.end_us - (19 - n % 20) * HOUR
                path, parameters = request(n % len(w.frame), from_us, to_us)
                begun = time.perf_counter()
                answer = await client.get(path, params=parameters)
                seconds = time.perf_counter() - begun
                if answer.status_code != 200:
                    w.wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")
                    break
                if n in (-1, 0, repeats - 1):
                    check(w, answer.json(), from_us, to_us)
                took.setdefault(name, []).extend([seconds] if n >= 0 else [])
    return took


def measured(settings: Settings, full: bool) -> tuple[int, dict[str, list[float]], list[str]]:
    logging.getLogger("httpx").setLevel(logging.WARNING)
    days = DAYS if full else SHORT_DAYS
    start_us = many_events.week_start_us()
    frame = many_events.facts(EVENTS if full else SHORT_EVENTS, start_us, SEED, days)
    w = Week(frame, start_us, days)
    many_events.fill(settings, frame, start_us, days, print if full else None)
    took = asyncio.run(ask(settings, w, REPEATS if full else 1))
    return many_events.event_count(frame), took, w.wrong


def _in_process(settings: Settings, full: bool) -> tuple[int, dict[str, list[float]], list[str]]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, settings, full).result()


def run(full: bool, engines: tuple[str, ...] = ("chdb", "server")) -> report.Result:
    """See the module."""
    rows, wrong = [], []
    with tempfile.TemporaryDirectory() as root:
        away = {"redis_url": "redis://127.0.0.1:1/0"}  # history is asked
        if "chdb" in engines:
            rows += _rows("chDB", _in_process(load({}, clickhouse_url=f"chdb://{root}/history", **away), full), full, wrong)
        if "server" in engines and clickhouse_server.why_not() is None:
            Path(root, "server").mkdir()
            with clickhouse_server.clickhouse(Path(root, "server")) as server:
                rows += _rows("ClickHouse", _in_process(load({}, clickhouse_url=server.address, **away), full), full, wrong)
    return report.result("D16 questions", rows, wrong=wrong, seed=SEED)


def _rows(engine: str, found: tuple[int, dict[str, list[float]], list[str]], full: bool, wrong: list[str]) -> list[report.Result]:
    events, took, differ = found
    wrong += [f"{engine}: {line}" for line in differ]
    words = f"{events} events: {len(differ)} differences in {len(took)} questions"
    rows = [report.row(f"D16 answers on {engine}", "equal to pandas", words, not differ)]
    if full:
        for name, seconds in took.items():
            p95 = sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]
            words = f"p50 {sorted(seconds)[len(seconds) // 2] * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms"
            rows.append(report.row(f"D16 {name} on {engine}", f"p95 < {LIMIT_S * 1000:.0f} ms", words, p95 < LIMIT_S))
    return rows


if __name__ == "__main__":
    chosen = tuple(word for word in sys.argv[1:] if word in ("chdb", "server"))
    if chosen:
        found = run("--full" in sys.argv, chosen)
        print(report.table(found["rows"]))
        print("\n".join(found["wrong"][:40]))
        sys.exit(0 if found["passes"] else 1)
    report.main(run)
