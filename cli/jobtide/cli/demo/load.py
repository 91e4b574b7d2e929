"""Enqueues the shop's jobs at their rates until it is stopped."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable

from jobtide.cli.demo import work


def run() -> None:
    """Enqueue for ever: each class is a Poisson process of its own rate."""
    from jobtide.cli.demo import celery_app, warehouse

    dice = random.Random()  # noqa: S311  # nothing secret
    due: list[tuple[float, str, Callable[[str], None], float]] = []
    for jobs, hand_over in ((work.CELERY, celery_app.enqueue), (work.RQ, warehouse.enqueue)):
        due += [(time.monotonic(), name, hand_over, profile.per_second) for name, profile in jobs.items()]
    heapq.heapify(due)
    while True:
        at, name, enqueue, per_second = due[0]
        time.sleep(max(0.0, at - time.monotonic()))
        enqueue(name)
        heapq.heapreplace(due, (at + dice.expovariate(per_second), name, enqueue, per_second))
