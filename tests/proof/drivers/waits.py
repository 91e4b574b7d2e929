"""Enqueues JOBS jobs of one kind: python waits.py BACKEND KIND JOBS BACKOFF_MS LATER_S. Kinds: plain, retry (fails once), later, long (runs 5 s)."""

import importlib
import sys

from jobtide_example.plan import Plan

_, backend, kind, jobs, backoff_ms, later_s = sys.argv
app = importlib.import_module(f"jobtide_example.{backend}_app")
for number in range(int(jobs)):
    failures = 1 if kind == "retry" else 0
    retries = 1 if kind in ("retry", "long") else 0
    plan = Plan(number, "mail", "ok", failures, retries, 5000.0 if kind == "long" else 5.0, int(backoff_ms) if kind == "retry" else 0)
    if kind == "later":
        app.enqueue_later(plan, float(later_s))
    else:
        app.enqueue(plan)
