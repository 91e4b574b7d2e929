"""The body of every job, the same for all backends: takes its time, writes the oracle's lines, fails when planned."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from jobtide_example import oracle
from jobtide_example.plan import Plan

Retry = Callable[[Exception], Exception]


class OutOfStockError(Exception):
    """Why the shop's jobs fail."""


def work(backend: str, job_class: str, job_id: str, attempt: int, argument: dict[str, Any], retry: Retry | None = None) -> None:
    """One attempt. Raises OutOfStockError when the plan says so, or what `retry(error)` makes of it where the body
    itself asks the backend for a retry; that is part of the body's run time."""
    began_ns = time.monotonic_ns()
    plan = Plan(**argument)
    who: dict[str, Any] = {"backend": backend, "job_class": job_class, "job_id": job_id, "attempt": attempt, "number": plan.number}
    oracle.write("start", durable=True, **who)
    remaining_s = plan.run_ms / 1000 - (time.monotonic_ns() - began_ns) / 1e9
    time.sleep(max(0.0, remaining_s))
    outcome, error = "ok", None
    if attempt <= plan.failures:
        outcome = "retry" if attempt <= plan.retries else "dead"
        error = OutOfStockError(f"nothing left at attempt {attempt} of job {plan.number}")
    oracle.write("end", durable=True, outcome=outcome, retry_ms=plan.retry_ms, **who)
    leaving: Exception | None = error
    asked_us = oracle.now_us()  # a retry's delay counts from here: what follows may have to connect to the broker first
    if error is not None and outcome == "retry" and retry is not None:
        leaving = retry(error)
    left_us = oracle.now_us()
    oracle.write("left", t=left_us, run_us=(time.monotonic_ns() - began_ns) // 1000, outcome=outcome, asked_us=asked_us, **who)
    if leaving is not None:
        raise leaving


def enqueueing(backend: str, queue: str, job_class: str, job_id: str, plan: Plan, run_at: int | None = None, at_us: int | None = None) -> None:
    """What the driver writes right before it hands a job over; `at_us` says when that was, if it could not write then."""
    who: dict[str, Any] = {"backend": backend, "queue": queue, "job_class": job_class, "job_id": job_id}
    oracle.write("plan", durable=True, **who, **{k: v for k, v in plan.as_argument().items() if k != "job_class"})
    oracle.write("enqueue", t=at_us, attempt=1, run_at=run_at, number=plan.number, **who)
