"""What one series, queue or whole installation counted in a range, and the numbers people read off it.

Pure. Totals add up: counts by adding, run and wait times by merging histograms; percentiles are taken at the very end
and never averaged. Filled by `live` from snapshots and by `history` from rollup rows; becomes JSON in `answers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobtide.streams.sketches import histogram
from jobtide.streams.sketches.histogram import Histogram

COUNTS = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "retried", "dead", "negative_waits")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@dataclass(slots=True)
class Totals:
    """Counts of transitions, and the histograms (µs) of wait times and of the run times of finished and of failed
    attempts.
    """

    enqueued: int = 0
    started: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    discarded: int = 0
    retried: int = 0
    dead: int = 0
    negative_waits: int = 0
    wait: Histogram = field(default_factory=dict)
    run_ok: Histogram = field(default_factory=dict)
    run_failed: Histogram = field(default_factory=dict)
    wait_sum_us: int = 0
    run_ok_sum_us: int = 0
    run_failed_sum_us: int = 0

    def add(self, other: Totals) -> None:
        """Merge the other's numbers into these."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        histogram.add(self.wait, other.wait)
        histogram.add(self.run_ok, other.run_ok)
        histogram.add(self.run_failed, other.run_failed)
        self.wait_sum_us += other.wait_sum_us
        self.run_ok_sum_us += other.run_ok_sum_us
        self.run_failed_sum_us += other.run_failed_sum_us

    @property
    def terminal(self) -> int:
        return self.finished + self.failed + self.cancelled + self.discarded

    @property
    def failure_rate(self) -> float | None:
        """failed / (finished + failed); None if nothing finished or failed."""
        tried = self.finished + self.failed
        return self.failed / tried if tried else None

    @property
    def run(self) -> Histogram:
        """Run times of finished and failed attempts together."""
        if not self.run_failed:
            return self.run_ok
        both = dict(self.run_ok)
        histogram.add(both, self.run_failed)
        return both

    @property
    def empty(self) -> bool:
        return not any(getattr(self, name) for name in COUNTS)


def merged(totals: Iterable[Totals]) -> Totals:
    """The sum of all."""
    out = Totals()
    for one in totals:
        out.add(one)
    return out


def percentiles_ms(values: Histogram) -> dict[str, float | None]:
    """p50, p90, p95, p99 and max of a µs histogram in milliseconds, each within 1 %; None where there are no values."""
    out = dict(zip(QUANTILES, histogram.quantiles(values, QUANTILES.values()), strict=True))
    out["max"] = histogram.maximum(values)
    return {name: None if us is None else us / 1000 for name, us in out.items()}
