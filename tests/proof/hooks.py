"""What emitters said of each attempt beside what its body wrote down itself, attempt by attempt.

The hooks stand around the body: what they measure is the body's time and what the backend does between. How much that is, is measured
here, so that percentiles by the bodies' clock can be compared fairly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tests.proof import report
from tests.proof.agreement import at_us
from tests.proof.recount import Attempt, Series, quantile

MEDIAN_MS = {"celery": 5.0, "rq": 10.0, "dramatiq": 5.0}  # RQ's hooks stand around its own bookkeeping in Redis too
Key = tuple[str, str, int]  # system, job_id, attempt


@dataclass
class Gaps:
    """By series, sorted, µs: how much longer the emitted run is, and how much earlier the emitted start."""

    runs: dict[Series, list[int]]
    starts: dict[Series, list[int]]

    def slack_ms(self, series: Series) -> dict[str, float]:
        """What the gap may add to a percentile of the run time; to p99 and the maximum its own maximum."""
        gaps = self.runs[series]
        usual, most = quantile(gaps, 0.99) / 1000, gaps[-1] / 1000
        return {"p50": usual, "p90": usual, "p95": usual, "p99": most, "max": most}


class Emitted:
    """The events of a tenant by attempt; of repeats the first."""

    def __init__(self, events: Iterable[dict[str, Any]]) -> None:
        self._by: dict[Key, dict[str, dict[str, Any]]] = defaultdict(dict)
        for event in events:
            data = event["data"]
            self._by[data["system"], data["job_id"], data["attempt"]].setdefault(event["type"].split(".")[1], event)

    def attempts(self, attempts: Iterable[Attempt]) -> list[Attempt]:
        """The oracle's attempts with the times that were emitted of them: plain JSON, read by the rules of the contract."""
        return [self._emitted(attempt) for attempt in attempts]

    def _emitted(self, a: Attempt) -> Attempt:
        own, before = self._by[a.series[0], a.job_id, a.number], self._by[a.series[0], a.job_id, a.number - 1]
        enqueue = own.get("enqueued") or own.get("scheduled")
        retry, started, end = before.get("retry_scheduled"), own["started"], own["finished" if a.outcome == "finished" else "failed"]
        enqueued = [at_us(event["time"]) for event in (enqueue, retry) if event]
        enqueued += [at_us(event["data"]["enqueued_at"]) for event in own.values() if event["data"].get("enqueued_at")]
        eligible = [at_us(event["data"]["run_at"]) for name, event in own.items() if event["data"].get("run_at") and name != "retry_scheduled"]
        eligible += [at_us(retry["data"]["run_at"])] if retry and retry["data"].get("run_at") else []
        return replace(
            a, enqueued_us=min(enqueued), eligible_us=max(eligible, default=None), started_us=at_us(started["time"]),
            ended_us=at_us(end["time"]), run_us=round(end["data"]["duration_ms"] * 1000),
        )  # fmt: skip

    def gaps(self, attempts: Iterable[Attempt]) -> Gaps:
        """See Gaps."""
        runs: dict[Series, list[int]] = defaultdict(list)
        starts: dict[Series, list[int]] = defaultdict(list)
        for a in attempts:
            emitted = self._emitted(a)
            assert a.run_us is not None and a.started_us is not None and emitted.run_us is not None and emitted.started_us is not None
            runs[a.series].append(emitted.run_us - a.run_us)
            starts[a.series].append(a.started_us - emitted.started_us)
        return Gaps({s: sorted(found) for s, found in runs.items()}, {s: sorted(found) for s, found in starts.items()})


def row(bar: str, gaps: Gaps) -> report.Result:
    """No hook inside its body, and half of them close to it."""
    wrong, said = [], []
    for system, most_ms in MEDIAN_MS.items():
        found = sorted(gap for series, own in gaps.runs.items() if series[0] == system for gap in own)
        median, usual, most = (quantile(found, q) / 1000 for q in (0.5, 0.99, 1.0))
        said.append(f"{system} {median:.1f}/{usual:.1f}/{most:.1f}")
        if found[0] < -1000:
            wrong.append(f"{system}: an emitted run is {-found[0] / 1000} ms shorter than its body")
        if median > most_ms:
            wrong.append(f"{system}: emitted runs are {median:.1f} ms longer than their bodies in the median")
    return report.row(bar, "run gap never < 0, median ≤ 5 ms (RQ 10)", f"p50/p99/max ms: {', '.join(said)}", not wrong, wrong=wrong)
