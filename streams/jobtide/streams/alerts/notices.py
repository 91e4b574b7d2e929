"""Verdicts about queues, workers and emitters from the last that was said of them, and when to look again though nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobtide.streams.alerts.lifecycle import Verdict
from jobtide.streams.alerts.measures import OPERATORS, Measured
from jobtide.streams.alerts.model import Emitter, QueueDepth, Worker
from jobtide.streams.folds.records import LedgerRecord
from jobtide.streams.folds.sequences import EXPIRY_US
from jobtide.streams.snapshots import QueueSnapshot, WorkerSnapshot

FORGOTTEN_US = 24 * 3600 * 1_000_000


def about_queue(rule: QueueDepth, queue: QueueSnapshot, now_us: int) -> tuple[Measured, int]:
    stale_us = queue.at_us + rule.stale_after * 1000
    if now_us >= stale_us:
        return (Verdict.NO_DATA, None, 0), 0
    if rule.metric != "oldest_ready":
        value = getattr(queue, rule.metric)
        if value is None:
            return (Verdict.NO_DATA, None, 0), stale_us
        return (_verdict(rule.op, value, rule.value), float(value), value), stale_us
    if not queue.oldest_ready_at:
        return (Verdict.CLEAR if queue.ready is not None else Verdict.NO_DATA, 0.0, queue.ready or 0), stale_us
    return _age(rule.op, _us(queue.oldest_ready_at), rule.value, now_us, stale_us, queue.ready or 1)


def about_worker(rule: Worker, worker: WorkerSnapshot, now_us: int) -> tuple[Measured, int]:
    if worker.status == "offline":
        return (Verdict.GONE, None, 0), 0
    if rule.metric == "heartbeat_age":
        return _age(rule.op, worker.last_seen_us, rule.value, now_us, worker.last_seen_us + FORGOTTEN_US, 1)
    if rule.metric == "clock_skew":
        lag_us = worker.clock_lag_us
        if lag_us is None:
            return (Verdict.NO_DATA, None, 0), 0
        return (_verdict(rule.op, abs(lag_us), rule.value * 1000), float(lag_us), 1), 0
    value = getattr(worker, rule.metric)
    if value is None:
        return (Verdict.NO_DATA, None, 0), 0
    return (_verdict(rule.op, value, rule.value), float(value), 1), 0


def about_emitters(rule: Emitter, lines: Sequence[LedgerRecord], now_us: int) -> tuple[Measured, int]:
    """`lines`: of one source or of a system's all, one per epoch and source partition. What stage 1 has forgotten does not count."""
    known = [line for line in lines if line.last_us + EXPIRY_US > now_us]
    if not known:
        return (Verdict.GONE, None, 0), 0
    if rule.metric == "silent":
        newest = max(known, key=lambda line: (line.last_us, line.epoch))
        if any(line.clean for line in known if line.epoch == newest.epoch):
            return (Verdict.GONE, None, 0), 0
        return _age(rule.op, newest.last_us, rule.value, now_us, newest.last_us + EXPIRY_US, 1)
    again_us = min(line.last_us for line in known) + EXPIRY_US
    if rule.metric == "lost":
        n = sum(line.lost_lately for line in known)
        return (_verdict(rule.op, n, rule.value), float(n), n), again_us
    received, lost = (sum(getattr(line, name) for line in known) for name in ("received", "lost"))
    n = received + lost
    if n < rule.min_samples:
        return (Verdict.TOO_FEW if n else Verdict.NO_DATA, None, n), again_us
    return (_verdict(rule.op, received / n, rule.value), received / n, n), again_us


def _verdict(op: str, value: float, limit: float) -> Verdict:
    return Verdict.BREACH if OPERATORS[op](value, limit) else Verdict.CLEAR


def _age(op: str, since_us: int, limit_ms: float, now_us: int, then_us: int, samples: int) -> tuple[Measured, int]:
    """An age grows while nothing is said: look again when it crosses the limit."""
    age_us = max(0, now_us - since_us)
    crosses_us = since_us + int(limit_ms * 1000) + 1
    again_us = min(crosses_us, then_us) if crosses_us > now_us else then_us
    return (_verdict(op, age_us, limit_ms * 1000), float(age_us), samples), again_us if again_us > now_us else 0


def _us(text: str) -> int:
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(at.timestamp() * 1_000_000)
