"""What the columns of the questions about causes mean: rows of `sql/*.sql` to the models of `insight_answers`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobtide.query import reruns
from jobtide.query.alert_answers import PastAlert
from jobtide.query.answers import named, range_out
from jobtide.query.before_after import Change, Comparison
from jobtide.query.history_rows import attempt, milliseconds, ratio
from jobtide.query.insight_answers import (
    BatchRow,
    ChangeOut,
    ComparedRow,
    CompletenessStep,
    CostRow,
    DeployRow,
    ErrorGroup,
    FailureRow,
    PeakRow,
    PeriodNumbers,
    QueueCounters,
    RerunRow,
    RunOut,
    Share,
    Trend,
    WorkerCounters,
)
from jobtide.query.measures import Totals, percentiles_ms
from jobtide.query.ranges import SECOND_US, Range
from jobtide.query.selection import CLASS_DEPTH, QUEUE_DEPTH, Key
from jobtide.streams.events import time_text

Row = tuple[Any, ...]

MAX_SHARES = 20


def error_group(row: Row) -> ErrorGroup:
    """A row of errors.sql."""
    tenant, error_class, fingerprint, category, failures, recovered, dead, first_us, last_us, message, job_id = row[:11]
    classes, hosts, releases, queues = map(shares, row[11:15])
    return ErrorGroup(
        tenant=tenant, error_class=error_class, fingerprint=fingerprint, category=category, failures=failures, recovered=recovered,
        recovered_share=recovered / failures, dead=dead, first_at=time_text(first_us), last_at=time_text(last_us), example_message=message,
        example_job_id=job_id, classes=classes, queues=queues, hosts=hosts, releases=releases,
    )  # fmt: skip


def shares(counts: Mapping[str, int]) -> list[Share]:
    """The most frequent first.

    >>> [share.name for share in shares({"a": 1, "b": 2, "c": 2})]
    ['b', 'c', 'a']
    """
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Share(name=name, failures=n) for name, n in ranked[:MAX_SHARES]]


def failure(row: Row) -> FailureRow:
    """A row of failures.sql: that of an attempt, and what is known of its cause."""
    category, release, recovered, batch_id = row[21:25]
    known = attempt(row[:21]).row.model_dump(by_alias=True)
    return FailureRow(**known, category=category, release=release, recovered=bool(recovered), batch_id=batch_id or None)


def peak(row: Row, depth: int) -> PeakRow:
    """A row of peaks.sql."""
    ended, at_us, started, in_range = row[5:9]
    return PeakRow(**named(row[:depth]), at=time_text(at_us), ended=ended, started=started, per_s=ended / 60, ended_in_range=in_range)


def cost(row: Row) -> CostRow:
    """A row of cost.sql."""
    busy_us, wasted_us, finished, failed, waited_us, all_us = row[5:11]
    return CostRow(
        **named(row[:CLASS_DEPTH]), busy_s=seconds(busy_us), wasted_s=seconds(wasted_us), share=busy_us / all_us if all_us else None,
        finished=finished, failed=failed, waited_s=seconds(waited_us),
    )  # fmt: skip


def seconds(us: int) -> float:
    return us / SECOND_US


def past_alert(row: Row) -> PastAlert:
    """A row of alerts.sql."""
    _, rule, kind, severity, state, reason, labels, fingerprint, id_, episode_us, at_us, value, samples = row[:13]
    condition, from_us, to_us, query, summary, runbook, examples = row[13:]
    return PastAlert(
        id=id_, fingerprint=fingerprint, rule=rule, kind=kind, state=state, reason=reason, severity=severity, labels=dict(labels), summary=summary,
        runbook=runbook, condition=condition, value=value, samples=samples, started_at=time_text(episode_us), at=time_text(at_us),
        window_from=time_text(from_us), window_to=time_text(to_us), query=query, examples=[dict(each) for each in examples],
    )  # fmt: skip


def deploy(row: Row) -> DeployRow:
    """A row of deploys.sql."""
    tenant, environment, system, queue, release, at_us, actor, url, note, _ = row
    return DeployRow(
        tenant=tenant, environment=environment, system=system or None, queue=queue or None, release=release, at=time_text(at_us), actor=actor or None,
        url=url or None, note=note or None,
    )  # fmt: skip


def batch(row: Row) -> BatchRow:
    """A row of batches.sql."""
    tenant, environment, name, jobs, done, lost, attempts, failures, begun_us, active_us, run_us, systems, queues, classes = row
    ended = done + lost
    return BatchRow(
        tenant=tenant, environment=environment, batch_id=name, total=jobs, completed=done, failed=lost, pending=jobs - ended,
        percent=100 * ended / jobs, success_rate=done / ended if ended else None, complete=ended == jobs, attempts=attempts, failed_attempts=failures,
        begun_at=time_text(begun_us), active_at=time_text(active_us), run_s=seconds(run_us), systems=sorted(systems), queues=sorted(queues),
        classes=sorted(classes),
    )  # fmt: skip


def rerun(row: Row) -> RerunRow:
    """A row of twice.sql."""
    number, job_class, runs = row[5:8]
    return RerunRow(
        **named(row[:QUEUE_DEPTH]), job_class=job_class, job_id=row[4], attempt=number, verdict=reruns.judged(runs).value,
        double_s=seconds(reruns.double_us(runs)),
        runs=[RunOut(worker_id=w, started_at=time_text(a), ended_at=None if b is None else time_text(b)) for a, w, b in runs],
    )  # fmt: skip


def worker_counters(row: Row) -> WorkerCounters:
    """A row of worker_counters.sql."""
    tenant, environment, system, worker_id, first_us, last_us, processed, failed, ended, failures, _ = row
    return WorkerCounters(
        tenant=tenant, environment=environment, system=system, worker_id=worker_id, from_at=time_text(first_us), to_at=time_text(last_us),
        processed=processed, processed_known=ended, failed=failed, failed_known=failures, drift=ended - processed,
    )  # fmt: skip


def queue_counters(row: Row) -> QueueCounters:
    """A row of queue_counters.sql."""
    at_us, ready, running, _, waiting, runs = row[4:10]
    return QueueCounters(
        **named(row[:QUEUE_DEPTH]), at=time_text(at_us), ready=ready, waiting_known=waiting, running=running, running_known=runs,
        drift=None if ready is None else waiting - ready,
    )  # fmt: skip


def completeness_step(row: Row) -> CompletenessStep:
    at_us, received, missing = row
    return CompletenessStep(at=time_text(at_us), received=received, missing=missing, ratio=ratio(received, missing))


def trend(period: str, now: tuple[Range, Totals], before: tuple[Range, Totals]) -> Trend:
    a, b = (period_numbers(*each) for each in (now, before))
    return Trend(
        period=period, now=a, before=b, finished_change=changed(a.finished, b.finished),
        failure_rate_change=None if a.failure_rate is None or b.failure_rate is None else a.failure_rate - b.failure_rate,
        wait_p95_change=changed(a.wait_p95_ms, b.wait_p95_ms), run_p95_change=changed(a.run_p95_ms, b.run_p95_ms),
    )  # fmt: skip


def period_numbers(range_: Range, totals: Totals) -> PeriodNumbers:
    return PeriodNumbers(
        range=range_out(range_), enqueued=totals.enqueued, finished=totals.finished, failed=totals.failed, dead=totals.dead,
        failure_rate=totals.failure_rate, throughput_per_s=round(totals.terminal / range_.seconds, 6),
        wait_p95_ms=percentiles_ms(totals.wait)["p95"], run_p95_ms=percentiles_ms(totals.run)["p95"],
    )  # fmt: skip


def changed(now: float | None, before: float | None) -> float | None:
    """Relative to what was before.

    >>> changed(3, 2), changed(1, 0)
    (0.5, None)
    """
    return None if now is None or not before else now / before - 1


def compared(key: Key, before: Totals, after: Totals, found: Comparison) -> ComparedRow:
    return ComparedRow(
        **named(key), attempts_before=before.finished + before.failed, attempts_after=after.finished + after.failed,
        failure_rate=_change(found.failure_rate), run_p50_ms=_change(found.run_p50, milliseconds), slower_chance=found.slower_chance,
    )  # fmt: skip


def _change(change: Change, unit: Any = lambda value: value) -> ChangeOut:
    return ChangeOut(before=unit(change.before), after=unit(change.after), p=change.p, verdict=change.verdict.value)
