"""What a person should look at first, out of the answers of the API: findings with their evidence, worst first. Pure.

The thresholds are the shipped ones of a queue's health: waiting 60 s or 300 s at p95, 1 000 or 10 000 waiting jobs, 5 % or
25 % of at least MIN_ENDED attempts failed. Alerts with rules of one's own are another matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from jobtide.query.answers import ClassRow, Numbers, QueueRow
from jobtide.query.fleet_answers import Overview
from pydantic import BaseModel, Field

Severity = Literal["critical", "warning", "note"]
Kind = Literal["failing", "dead_jobs", "slow_start", "backlog", "paused", "workers_gone", "events_lost", "degraded"]

WAIT_MS = (60_000.0, 300_000.0)
WAITING = (1_000, 10_000)
FAILING = (0.05, 0.25)
MIN_ENDED = 10
MAX_FINDINGS = 50
_ORDER: dict[str, int] = {"critical": 0, "warning": 1, "note": 2}


class Finding(BaseModel):
    """One thing that is not as it should be."""

    severity: Severity
    kind: Kind
    what: str = Field(description="One sentence.")
    ask_next: str = Field(description="The path of the API that shows more.")


class Attention(BaseModel):
    """Nothing in `findings` means that nothing is beyond a threshold, as far as `complete_until` and `degraded` say."""

    complete_until: str | None
    degraded: list[str]
    findings: list[Finding]


def attention(overview: Overview, queues: list[QueueRow], classes: list[ClassRow]) -> Attention:
    """The findings of one moment."""
    found = [*_installation(overview), *(f for row in queues for f in _queue(row)), *(f for row in classes for f in _class(row))]
    found.sort(key=lambda finding: (_ORDER[finding.severity], finding.kind, finding.what))
    return Attention(complete_until=overview.complete_until, degraded=overview.degraded, findings=found[:MAX_FINDINGS])


def _installation(overview: Overview) -> Iterator[Finding]:
    for line in overview.degraded:
        yield Finding(severity="warning", kind="degraded", what=line, ask_next="/readyz")
    lost = overview.completeness.lost if overview.completeness else None
    if lost:
        what = f"{lost} events never arrived: numbers are too low by them"
        yield Finding(severity="warning", kind="events_lost", what=what, ask_next="/v1/completeness")
    if overview.workers and overview.workers.total and not overview.workers.alive:
        what = f"none of {overview.workers.total} workers has been heard of lately"
        yield Finding(severity="critical", kind="workers_gone", what=what, ask_next="/v1/workers")


def _queue(row: QueueRow) -> Iterator[Finding]:
    name = f"queue {row.queue} of {row.tenant}/{row.environment}/{row.system}"
    ask = f"/v1/classes?queue={row.queue}"
    waiting = row.depth.ready if row.depth is not None and row.depth.ready is not None else row.waiting
    if severity := _graded(row.wait_ms.p95, WAIT_MS):
        yield Finding(severity=severity, kind="slow_start", what=f"{name}: jobs wait {(row.wait_ms.p95 or 0) / 1000:.0f} s (p95)", ask_next=ask)
    if severity := _graded(waiting, WAITING):
        yield Finding(severity=severity, kind="backlog", what=f"{name}: {waiting} jobs wait", ask_next=ask)
    if row.paused:
        yield Finding(severity="warning" if waiting else "note", kind="paused", what=f"{name} is paused, {waiting or 0} jobs wait", ask_next=ask)


def _class(row: ClassRow) -> Iterator[Finding]:
    name = f"{row.job_class} on {row.queue} of {row.tenant}/{row.environment}/{row.system}"
    ask = f"/v1/jobs?state=failed&queue={row.queue}&job_class={row.job_class}"
    if _ended(row) >= MIN_ENDED and (severity := _graded(row.failure_rate, FAILING)):
        yield Finding(severity=severity, kind="failing", what=f"{name}: {row.failed} of {_ended(row)} attempts failed", ask_next=ask)
    if row.dead:
        dead = ask.replace("failed", "dead", 1)
        yield Finding(severity="warning", kind="dead_jobs", what=f"{name}: {row.dead} jobs have no tries left", ask_next=dead)


def _ended(row: Numbers) -> int:
    return row.finished + row.failed


def _graded(value: float | None, limits: tuple[float, float]) -> Literal["warning", "critical"] | None:
    if value is None or value <= limits[0]:
        return None
    return "critical" if value > limits[1] else "warning"
