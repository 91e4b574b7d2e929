"""D1 on a real trace: 17 900 jobs of a computing grid through a real `jobtide up`, every number recomputed from the file.

    python -m tests.proof.d1_trace [--full]

History: `jobtide replay --history` with the jobs' own times of 2013. Live: the same jobs moved so that their first quarter fits into
the last 40 minutes, appended in two parts, so that there is a moment with jobs in flight that is not the end. The oracle is `recount`
on the file; what is asked is what users ask: /v1/classes, /v1/series, /v1/jobs.
"""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from tests.proof import agreement, recount, report, trace
from tests.proof.answers import Api, Comparison, sums, wait_for
from tests.proof.recount import Attempt
from tests.up_process import UpProcess, up

HISTORY, LIVE = "grid-2013", "grid-now"
DAY_US = 86_400 * 1_000_000
MINUTE_US = 60 * 1_000_000
LASTING_US, ENDED_US = 40 * MINUTE_US, 20 * 1_000_000  # the live run is this long, and ended this long ago
SEED = 2013
SHORT = 6_000  # jobs in the short form of the history part, both rows without an end among them


def run(full: bool) -> report.Result:
    """See the module. The long form also asks for more ranges."""
    path = trace.find()
    if path is None:
        return report.skipped("D1 trace", trace.why_not())
    attempts = trace.read(path)
    with tempfile.TemporaryDirectory() as folder, up(Path(folder, "up")) as process:
        api = Api(process.port)
        history = _history(api, process, Path(folder), attempts if full else attempts[:SHORT], full)
        live = _live(api, process, attempts)
    found = [*history, *live]
    return report.result("D1 trace", found, wrong=[line for each in found for line in each["wrong"]], seed=SEED)


def _row(bar: str, comparison: Comparison, **details: Any) -> report.Result:
    measured = (
        f"{comparison.compared} numbers, {len(comparison.wrong)} wrong; worst wait {comparison.worst_wait:.2%}, run {comparison.worst_run:.2%}"
    )
    required = "counts exact, percentiles within 1 %"
    return report.row(bar, required, measured, not comparison.wrong, wrong=comparison.wrong, **details)


# -- history


def _history(api: Api, process: UpProcess, folder: Path, attempts: list[Attempt], full: bool) -> list[report.Result]:
    file = folder / "trace.jsonl.gz"
    lines = trace.events(attempts, HISTORY, "trace-2013")
    file.write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, lines)), 1))
    begun = time.monotonic()
    _replay(file, process.port)
    everything = {"tenant": HISTORY, "from_": "1970-01-01T00:00:00Z", "to": "2014-01-01T00:00:00Z"}
    total = _moments(attempts)
    comparison = Comparison()
    if not wait_for(lambda: sums(api.classes(**everything)[1].values()) == total, 900 if full else 300):
        comparison.wrong.append("history did not get complete in time")
    took_s = time.monotonic() - begun
    _history_ranges(comparison, api, attempts, 40 if full else 8)
    _history_series(comparison, api, attempts)
    _history_jobs(comparison, api, attempts, everything)
    live = api.classes(tenant=HISTORY, last="1h")[1]
    comparison.equal("history stays out of live numbers", 0, sums(live.values()))
    return [_row("D1 trace, history", comparison, events=len(lines), complete_after_s=round(took_s, 1))]


def _replay(file: Path, port: int) -> None:
    argv = [sys.executable, "-m", "jobtide.cli", "replay", str(file), "--history", "--url", f"http://127.0.0.1:{port}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBTIDE_")}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _history_ranges(comparison: Comparison, api: Api, attempts: list[Attempt], count: int) -> None:
    """All of it, and ranges whose ends are no whole minutes."""
    dice = random.Random(SEED)
    first, last = min(a.enqueued_us for a in attempts), max(a.enqueued_us for a in attempts)
    ranges = [(0, last + 400 * DAY_US), (first, last)]
    for _ in range(count):
        start = dice.randrange(first, last)
        ranges.append((start, start + dice.choice((3600 * 10**6, DAY_US, 20 * DAY_US)) + dice.randrange(10**9)))
    for from_us, to_us in ranges:
        asked = {"from_": trace.text(from_us), "to": trace.text(to_us)}
        _, found = api.classes(tenant=HISTORY, **asked)
        expected = recount.totals(attempts, from_us, to_us)
        comparison.classes(expected, found, f"{asked['from_']}…{asked['to']}")
        together = recount.together(expected.values())
        whole = api.get("/v1/overview", tenant=HISTORY, **asked)["totals"]
        comparison.equal("negative waits", together.negative_waits, whole["negative_waits"])
        comparison.equal("overview enqueued", together.counts["enqueued"], whole["enqueued"])


def _history_series(comparison: Comparison, api: Api, attempts: list[Attempt]) -> None:
    first = min(a.enqueued_us for a in attempts) // DAY_US * DAY_US
    busiest = max(range(100), key=recount.per_step(attempts, ("enqueued",), first, DAY_US, 100).__getitem__) * DAY_US + first
    for step, step_us, from_us, steps in (("1d", DAY_US, first, 100), ("1h", 60 * MINUTE_US, first, 960), ("2m", 2 * MINUTE_US, busiest, 720)):
        asked = {"tenant": HISTORY, "from_": trace.text(from_us), "to": trace.text(from_us + steps * step_us), "step": step}
        for metric in ("enqueued", "started", "finished", "throughput"):
            what = ("finished",) if metric == "throughput" else (metric,)
            divide = step_us / 1e6 if metric == "throughput" else 1
            right = [round(value / divide, 6) for value in recount.per_step(attempts, what, from_us, step_us, steps)]
            [line] = api.get("/v1/series", metric=metric, **asked)["items"]
            comparison.equal(f"series {metric} by {step}", right, [point["value"] for point in line["points"]])
        _percentile_series(comparison, api, attempts, asked, step_us)


def _percentile_series(comparison: Comparison, api: Api, attempts: list[Attempt], asked: dict[str, Any], step_us: int) -> None:
    for metric in ("wait_p95", "run_p50"):
        kind, _, quantile = metric.partition("_")
        [line] = api.get("/v1/series", metric=metric, **asked)["items"]
        by_step: dict[str, list[int]] = {}
        for a in attempts:
            at_us, value = (a.started_us, a.wait_us) if kind == "wait" else (a.ended_us, a.run_us)
            assert at_us is not None and value is not None
            by_step.setdefault(trace.text(at_us // step_us * step_us), []).append(value)
        for point in line["points"]:
            right = recount.percentiles(by_step.get(point["at"], [])).get(quantile)
            comparison.percentile(f"series {metric} at {point['at']}", right, point["value"], kind=kind)


def _history_jobs(comparison: Comparison, api: Api, attempts: list[Attempt], everything: dict[str, Any]) -> None:
    found = {item["job_id"]: item for item in api.items("/v1/jobs", **everything)}
    comparison.equal("jobs listed", len(attempts), len(found))
    for a in attempts:
        if (row := found.get(a.job_id)) is not None:
            assert a.started_us is not None and a.ended_us is not None and a.wait_us is not None and a.run_us is not None
            right = (trace.text(a.enqueued_us), trace.text(a.started_us), trace.text(a.ended_us), a.wait_us / 1000, a.run_us / 1000, "finished")
            names = ("enqueued_at", "started_at", "finished_at", "wait_ms", "run_ms", "state")
            comparison.equal(f"job {a.job_id}", right, tuple(row[name] for name in names))


# -- live


def _live(api: Api, process: UpProcess, attempts: list[Attempt]) -> list[report.Result]:
    until_us = time.time_ns() // 1000 - ENDED_US
    now = trace.moved(attempts, until_us, LASTING_US)
    half_us = until_us - LASTING_US // 2
    so_far = [_as_of(a, half_us) for a in now if a.enqueued_us < half_us]
    lines = trace.events(now, LIVE, f"trace-{until_us}")
    middle = Comparison()
    first_half = [line for line in lines if line["time"] < trace.text(half_us)]
    _append(process, first_half)
    _settled(api, middle, so_far, 60)
    _levels(middle, api, so_far, "halfway")
    _append(process, lines[len(first_half) :])
    _settled(api, middle, now, 60)
    _levels(middle, api, now, "at the end")
    for window in ("1h", "15m"):
        _window(middle, api, now, window)
    agreed = agreement.compare(api, ("1h", "15m", "5m"), late=True, tenant=LIVE)
    return [_row("D1 trace, live", middle, events=len(lines)), agreement.row("D1 trace, live = history", agreed)]


def _as_of(a: Attempt, at_us: int) -> Attempt:
    """What had happened to it by then."""
    if a.ended_us is not None and a.ended_us >= at_us:
        a = replace(a, ended_us=None, run_us=None, outcome=None)
    return replace(a, started_us=None) if a.started_us is not None and a.started_us >= at_us else a


def _append(process: UpProcess, lines: list[dict[str, Any]]) -> None:
    for start in range(0, len(lines), 2000):
        process.post(lines[start : start + 2000])


def _moments(attempts: Iterable[Attempt]) -> int:
    return sum(1 for attempt in attempts for _ in attempt.moments())


def _settled(api: Api, comparison: Comparison, attempts: list[Attempt], deadline_s: float) -> None:
    """Live numbers have everything that was appended; or say that they have not."""
    total = _moments(attempts)
    if not wait_for(lambda: sums(api.classes(tenant=LIVE, last="1h")[1].values()) >= total, deadline_s):
        comparison.wrong.append(f"live: {sums(api.classes(tenant=LIVE, last='1h')[1].values())} of {total} transitions after {deadline_s} s")


def _levels(comparison: Comparison, api: Api, attempts: list[Attempt], when: str) -> None:
    """In flight and waiting by series, whatever the range."""
    in_flight, waiting = recount.levels(attempts)
    rows = api.classes(tenant=LIVE, last="1h")[1]
    for series in {*in_flight, *waiting, *rows}:
        found = rows.get(series, {"in_flight": 0, "waiting": 0})
        comparison.equal(f"{series} in flight {when}", in_flight[series], found["in_flight"])
        comparison.equal(f"{series} waiting {when}", waiting[series], found["waiting"])


def _window(comparison: Comparison, api: Api, attempts: list[Attempt], window: str) -> None:
    head, rows = api.classes(tenant=LIVE, last=window)
    comparison.equal(f"source of {window}", "live", head["source"])
    from_us, to_us = agreement.ends_us(head)
    comparison.classes(recount.totals(attempts, from_us, to_us), rows, f"last={window}")


if __name__ == "__main__":
    report.main(run)
