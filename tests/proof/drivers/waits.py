"""Enqueues JOBS jobs of one kind: python waits.py BACKEND KIND JOBS BACKOFF_MS LATER_S. Kinds: plain, retry (fails once), later, long (runs 5 s)."""

import importlib
import sys
import time

from jobtide_example.plan import Plan

_, backend, kind, jobs, backoff_ms, later_s = sys.argv
app = importlib.import_module(f"jobtide_example.{backend}_app")
# A client's first enqueue also loads its modules and connects (Celery: a quarter of a second of CPU), between the oracle's stamp and the moment at
# which the hook can know of the job. When it was enqueued is then a matter of taste; so all that is lazy happens here, before the first measured job.
if backend == "celery":
    with app.app.producer_pool.acquire(block=True) as producer:
        producer.connection.ensure_connection()
        producer.channel  # noqa: B018  a property that opens it
    # And each of the worker's pool processes does one task that Celery brings along: in its first, what is lazy lies between its signal and the body.
    for _ in range(40):
        app.app.send_task("celery.accumulate", (1,))
    time.sleep(2)  # nothing waits for these, and no check depends on it
elif backend == "dramatiq":
    app.broker.client.ping()
for number in range(int(jobs)):
    failures = 1 if kind == "retry" else 0
    retries = 1 if kind in ("retry", "long") else 0
    plan = Plan(number, "mail", "ok", failures, retries, 5000.0 if kind == "long" else 5.0, int(backoff_ms) if kind == "retry" else 0)
    if kind == "later":
        app.enqueue_later(plan, float(later_s))
    else:
        app.enqueue(plan)
