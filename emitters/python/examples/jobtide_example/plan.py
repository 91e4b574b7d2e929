"""What each job will do, decided before it is enqueued from a seed: so that two runs do the same.

ok     succeeds
fail   raises, and may not be retried: failed and dead at its first attempt
retry  raises once or twice, is retried, succeeds
dead   raises at every attempt: failed three times, then dead
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

RETRIES = 2  # what `retry` and `dead` jobs are allowed
CLASSES = {"mail": 1.0, "charge": 2.5, "report": 6.0}  # job class -> run time, as a multiple of the median
DEFAULT_MIX = {"ok": 70, "fail": 8, "retry": 15, "dead": 7}


@dataclass(frozen=True)
class Plan:
    """One job: its class, how often it fails, how long each attempt runs, how long a retry waits."""

    number: int
    job_class: str
    kind: str
    failures: int
    retries: int
    run_ms: float
    retry_ms: int

    def as_argument(self) -> dict[str, Any]:
        """As JSON-able keyword data for a backend."""
        return asdict(self)


def plans(jobs: int, seed: int, mix: Mapping[str, int], run_ms: float, retry_ms: int) -> Iterator[Plan]:
    """`jobs` plans; run times are log-normal around `run_ms` times the class's factor."""
    dice = random.Random(seed)  # noqa: S311  repeatable, not secret
    kinds, weights = list(mix), list(mix.values())
    for number in range(jobs):
        job_class = dice.choice(list(CLASSES))
        kind = dice.choices(kinds, weights)[0]
        failures = {"ok": 0, "fail": 1, "retry": dice.randint(1, RETRIES), "dead": RETRIES + 1}[kind]
        yield Plan(
            number=number,
            job_class=job_class,
            kind=kind,
            failures=failures,
            retries=0 if kind in ("ok", "fail") else RETRIES,
            run_ms=round(run_ms * CLASSES[job_class] * dice.lognormvariate(0, 0.5), 3),
            retry_ms=retry_ms,
        )
