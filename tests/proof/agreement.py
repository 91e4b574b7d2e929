"""Live and history beside each other: the same range asked of both must give the same numbers, up to min(complete_until).

Used by the proofs that have a running jobtide with traffic in it. Counts equal exactly, percentiles within 1 %.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tests.proof import report
from tests.proof.answers import Api, Comparison, sums, wait_for
from tests.proof.recount import COUNTED, QUANTILES, Series
from tests.proof.trace import text

MINUTE_US = 60 * 1_000_000
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


def ends_us(head: dict[str, Any]) -> tuple[int, int]:
    """The range an answer resolved, in µs."""
    return at_us(head["range"]["from"]), at_us(head["range"]["to"])


def at_us(moment: str) -> int:
    return (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1)


def compare(api: Api, windows: tuple[str, ...], deadline_s: float = 60, late: bool = False, **selection: str) -> Comparison:
    """Each live window as answered, and history's answer for the same range, as soon as history is complete up to its end.

    `late`: events came long after their time, when history had called that time complete already; waits until the sums are equal.
    """
    comparison = Comparison()
    for window in windows:
        head, live = api.classes(last=window, **selection)
        comparison.equal(f"source of {window}", "live", head["source"])
        from_us, to_us = ends_us(head)
        asked = {"from_": text(from_us), "to": text(to_us)} | selection
        if not wait_for(partial(_complete, api, asked, to_us), deadline_s):
            comparison.wrong.append(f"last={window}: history is not complete up to {text(to_us)} after {deadline_s} s")
        if late:
            wait_for(partial(_adds_up, api, asked, sums(live.values())), deadline_s)
        _same(comparison, window, live, api.classes(**asked)[1])
    return comparison


def _complete(api: Api, asked: dict[str, str], to_us: int) -> bool:
    until = api.get("/v1/classes", limit=1, **asked)["complete_until"]
    return until is not None and at_us(until) >= to_us


def _adds_up(api: Api, asked: dict[str, str], right: int) -> bool:
    return sums(api.classes(**asked)[1].values()) == right


def _same(comparison: Comparison, window: str, live: dict[Series, dict[str, Any]], history: dict[Series, dict[str, Any]]) -> None:
    live, history = _counted(live), _counted(history)
    comparison.equal(f"last={window}: series", sorted(history), sorted(live))
    for series in live.keys() & history.keys():
        for name in (*COUNTED, "cancelled", "discarded", "negative_waits"):
            comparison.equal(f"last={window} {series} {name}, history and live", history[series][name], live[series][name])
        for stats in ("wait_ms", "run_ms", "run_ok_ms", "run_failed_ms"):
            there, here = history[series][stats], live[series][stats]
            comparison.equal(f"last={window} {series} {stats} count, history and live", there["count"], here["count"])
            for name in QUANTILES:
                right = None if there[name] is None else round(there[name] * 1000)
                comparison.percentile(f"last={window} {series} {stats} {name}", right, here[name], kind=stats.split("_")[0])


def _counted(rows: dict[Series, dict[str, Any]]) -> dict[Series, dict[str, Any]]:
    return {series: row for series, row in rows.items() if any(row[name] for name in COUNTED)}


def row(bar: str, comparison: Comparison) -> report.Result:
    """The table's row."""
    worst = max(comparison.worst_wait, comparison.worst_run)
    measured = f"{comparison.compared} numbers, {len(comparison.wrong)} differ; worst percentile {worst:.2%}"
    return report.row(bar, "counts equal, percentiles within 1 %", measured, not comparison.wrong, wrong=comparison.wrong)
