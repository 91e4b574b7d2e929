"""What one event costs the code that emits it: `python bench/hot_path.py [--write]`.

Measured per event, one by one, while the background thread packs and delivers to a transport that throws away: the
lines say the median and the 99th percentile of building, serialising, numbering and buffering, and of serialising the
same event alone. Hooks are measured through the backend's own dispatch. `--write` keeps the table in latest.json.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jobtide_emitter
import orjson
from jobtide_emitter.packs import packs_of
from jobtide_emitter.ring import Record

EVENTS = 30_000
GOAL_US = 8.0


class Discard:
    """Packs as Kafka would need it, and throws the packs away."""

    partitions = 8

    def connect(self) -> None:
        """Nothing to reach."""

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        """Packs them."""
        packs_of(records, epoch, 8)
        return ()

    def close(self, timeout_s: float) -> None:
        """Nothing to close."""

    def abandon(self) -> None:
        """Nothing to abandon."""


def measure(act: Callable[[int], object], per_call: int = 1, calls: int = EVENTS) -> dict[str, float]:
    """Microseconds per event of `act(number)`, which makes `per_call` events."""
    for number in range(1000):
        act(number)
    gc.collect()
    samples = []
    for number in range(calls):
        began = time.perf_counter_ns()
        act(number)
        samples.append(time.perf_counter_ns() - began)
    samples.sort()
    return {
        "p50_us": round(samples[calls // 2] / 1000 / per_call, 2),
        "p99_us": round(samples[calls * 99 // 100] / 1000 / per_call, 2),
    }


def core(emitter: jobtide_emitter.Emitter) -> dict[str, dict[str, float]]:
    """The emitter's own calls."""
    ids = [f"7f0c9e2a-5d1b-4c3e-9a88-{number:012d}" for number in range(EVENTS + 1000)]

    def job(number: int) -> jobtide_emitter.Job:
        return emitter.job("celery", "default", "shop.send_invoice", ids[number])

    def life(number: int) -> None:
        named = job(number)
        emitter.job_enqueued(named)
        run = emitter.job_started(named, "celery@web-1", enqueued_at_us=1_795_341_600_000_000)
        run.finished()

    facts = job(0).facts
    event = {
        "specversion": "1.0", "type": "job.started.v1", "source": "/web-1/4242", "subject": ids[0],
        "time": "2026-11-22T10:00:00.000000Z", "partitionkey": f"acme/celery/{ids[0]}",
        "data": {**facts, "worker_id": "celery@web-1", "enqueued_at": "2026-11-22T10:00:00.000000Z"},
    }  # fmt: skip

    def build_and_serialise(_: int) -> None:
        data = {**facts, "worker_id": "celery@web-1", "enqueued_at": "2026-11-22T10:00:00.000000Z"}
        orjson.dumps({**event, "data": data})

    return {
        "job, enqueued, started, finished (per event)": measure(life, 3, EVENTS // 3),
        "naming a job": measure(job),
        "serialising alone": measure(lambda _: orjson.dumps(event)),
        "building a dict and serialising alone": measure(build_and_serialise),
    }


def celery_hooks() -> dict[str, dict[str, float]]:
    """Celery's signals of one task, sent by Celery's own dispatcher."""
    import jobtide_emitter.celery
    from celery import signals
    from celery.app.task import Context

    jobtide_emitter.celery.install()

    class Task:
        name = "shop.send_invoice"
        max_retries = 3
        request: Any = None

    task = Task()

    def one(number: int) -> None:
        facts = {"id": str(number), "retries": 0, "hostname": "celery@web-1", "delivery_info": {"routing_key": "q"}}
        task.request = Context(facts)
        signals.task_prerun.send(sender=task, task_id=str(number), task=task, args=(), kwargs={})
        signals.task_success.send(sender=task, result=None)
        signals.task_postrun.send(sender=task, task_id=str(number), task=task, retval=None, state="SUCCESS")

    with_hooks = measure(one, 2, EVENTS // 3)
    jobtide_emitter.celery.uninstall()
    without = measure(one, 2, EVENTS // 3)
    return {"Celery: prerun, success, postrun (per event)": with_hooks, "the same without hooks": without}


def main() -> int:
    """Prints the table; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the table in latest.json beside this file")
    options = parser.parse_args()
    emitter = jobtide_emitter.configure(make_transport=Discard, queue_events=200_000, queue_bytes=1 << 28)
    rows = {**core(emitter), **celery_hooks()}
    for name, row in rows.items():
        sys.stdout.write(f"{name:48} p50 {row['p50_us']:7.2f} µs   p99 {row['p99_us']:8.2f} µs\n")
    per_event = next(iter(rows.values()))["p50_us"]
    alone = rows["building a dict and serialising alone"]["p50_us"]
    sys.stdout.write(f"goal p50 ≤ {GOAL_US} µs per event: {per_event}; {per_event / alone:.1f} × building and serialising alone\n")
    if options.write:
        table = {"python": platform.python_version(), "goal_us": GOAL_US, "rows": rows}
        Path(__file__).with_name("latest.json").write_text(json.dumps(table, indent=2) + "\n")
    return 0 if per_event <= GOAL_US else 1


if __name__ == "__main__":
    sys.exit(main())
