"""What a person should look at first, out of the answers of the API: findings with their evidence, worst first. Pure.

The thresholds are the shipped ones of a queue's health: waiting 60 s or 300 s at p95, 1 000 or 10 000 waiting jobs, 5 % or
25 % of at least MIN_ENDED attempts failed. What is stuck, and what the alert rules say, is added as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal
from urllib.parse import urlencode

from jobtide.query.alert_answers import AlertRow
from jobtide.query.answers import ClassRow, Numbers, QueueRow
from jobtide.query.fleet_answers import Overview
from jobtide.query.stuck_answers import StuckRow
from pydantic import BaseModel, Field

Severity = Literal["critical", "warning", "note"]
Kind = Literal["failing", "dead_jobs", "slow_start", "backlog", "paused", "workers_gone", "events_lost", "degraded", "stuck", "alert"]

WAIT_MS = (60_000.0, 300_000.0)
WAITING = (1_000, 10_000)
FAILING = (0.05, 0.25)
MIN_ENDED = 10
MAX_FINDINGS = 50
_ORDER: dict[str, int] = {"critical": 0, "warning": 1, "note": 2}
_OF_STUCK: dict[str, Severity] = {"low": "note", "medium": "warning", "high": "critical", "critical": "critical"}
_OF_ALERT: dict[str, Severity] = {"info": "note", "warning": "warning", "critical": "critical"}


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


def attention(
    overview: Overview, queues: Sequence[QueueRow], classes: Sequence[ClassRow], stuck: Sequence[StuckRow] = (), firing: Sequence[AlertRow] = ()
) -> Attention:
    """The findings of one moment."""
    found = [*_installation(overview), *(f for row in queues for f in _queue(row)), *(f for row in classes for f in _class(row))]
    found += [*_stuck(stuck), *(_alert(row) for row in firing if row.silenced_by is None)]
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


def _stuck(rows: Sequence[StuckRow]) -> Iterator[Finding]:
    """One finding for each class and verdict, by the worst of its attempts."""
    ranks = tuple(_OF_STUCK)
    for key, group in groupby(sorted(rows, key=_class_and_verdict), _class_and_verdict):
        tenant, environment, system, queue, job_class, verdict = key
        found = list(group)
        worst, longest = max(found, key=lambda row: ranks.index(row.severity)), max(found, key=lambda row: row.age_ms)
        jobs = f"{len(found)} jobs are" if len(found) > 1 else f"job {longest.job_id} is"
        what = f"{job_class} on {queue} of {tenant}/{environment}/{system}: {jobs} {verdict}, for up to {longest.age_ms / 60_000:.0f} min"
        asked = {"tenant": tenant, "environment": environment, "system": system, "queue": queue, "job_class": job_class, "verdict": verdict}
        yield Finding(severity=_OF_STUCK[worst.severity], kind="stuck", what=what, ask_next=f"/v1/stuck?{urlencode(asked)}")


def _class_and_verdict(row: StuckRow) -> tuple[str, ...]:
    return row.tenant, row.environment, row.system, row.queue, row.job_class, row.verdict


def _alert(row: AlertRow) -> Finding:
    about = ", ".join(f"{name}={value}" for name, value in row.labels.items())
    value = "" if row.value is None else f", now {row.value:.6g}"
    what = f"alert {row.rule} fires for {about}: {row.condition}{value}"
    return Finding(severity=_OF_ALERT[row.severity], kind="alert", what=what, ask_next=row.query)


def _ended(row: Numbers) -> int:
    return row.finished + row.failed


def _graded(value: float | None, limits: tuple[float, float]) -> Literal["warning", "critical"] | None:
    if value is None or value <= limits[0]:
        return None
    return "critical" if value > limits[1] else "warning"
