"""Enqueues a planned mix of jobs: `python -m jobtide_example.drive --backend rq --jobs 1000 --seed 7`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Mapping

from jobtide_example import oracle
from jobtide_example.plan import DEFAULT_MIX, plans
from jobtide_example.workers import BACKENDS


def enqueue(
    backend: str, jobs: int, *, seed: int = 1, mix: Mapping[str, int] = DEFAULT_MIX, run_ms: float = 10.0,
    retry_ms: int = 0, per_second: float = 0.0,
) -> list[str]:  # fmt: skip
    """Hands over `jobs` planned jobs, `per_second` of them at most (0: as fast as it goes). Returns their ids."""
    app = importlib.import_module(f"jobtide_example.{backend}_app")
    began = time.monotonic()
    ids = []
    for plan in plans(jobs, seed, mix, run_ms, retry_ms):
        ids.append(app.enqueue(plan))
        if per_second:
            time.sleep(max(0.0, began + len(ids) / per_second - time.monotonic()))
    return ids


def ended(path: str) -> int:
    """How many jobs have come to their last end, by the oracle."""
    return sum(line["what"] == "left" and line["outcome"] in ("ok", "dead") for line in oracle.read(path))


def wait(path: str, jobs: int, timeout_s: float) -> bool:
    """Waits until that many jobs have ended; False if they have not in time."""
    deadline = time.monotonic() + timeout_s
    while ended(path) < jobs:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=BACKENDS, required=True)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mix", type=json.loads, default=DEFAULT_MIX, help='like {"ok": 70, "dead": 30}')
    parser.add_argument("--run-ms", type=float, default=10.0, help="median run time of the shortest class")
    parser.add_argument("--retry-ms", type=int, default=0, help="delay of retries; RQ: whole seconds")
    parser.add_argument("--per-second", type=float, default=0.0)
    parser.add_argument("--wait-s", type=float, default=0.0, help="wait for the end of all jobs, by the oracle")
    options = parser.parse_args()
    ids = enqueue(
        options.backend, options.jobs, seed=options.seed, mix=options.mix, run_ms=options.run_ms,
        retry_ms=options.retry_ms, per_second=options.per_second,
    )  # fmt: skip
    sys.stdout.write(f"{len(ids)} jobs enqueued on {options.backend}, seed {options.seed}\n")
    path = os.environ.get(oracle.PATH, "")
    return 0 if not options.wait_s or wait(path, len(ids), options.wait_s) else 1


if __name__ == "__main__":
    sys.exit(main())
