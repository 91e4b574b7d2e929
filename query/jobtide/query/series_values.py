"""From what was counted in each step to the value that is drawn. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from jobtide.query.measures import COUNTS, QUANTILES, Totals
from jobtide.query.steps import Steps, elapsed_s
from jobtide.streams.sketches import histogram

FROM_SECONDS = ("throughput", "failed")  # what hot state knows second by second


def unit_of(metric: str) -> str:
    """What the values are."""
    if metric in COUNTS:
        return "attempts"
    return {"throughput": "attempts/s", "failure_rate": "ratio"}.get(metric, "ms")


def samples_of(metric: str) -> str:
    """Which histograms the metric needs: wait, run or none."""
    name = metric.partition("_")[0]
    return name if name in ("wait", "run") and metric != name else "none"


def value_points(found: Mapping[int, Totals], steps: Steps, metric: str, until_us: int) -> list[float | None]:
    """One value per step; `until_us` is now: a step that has not ended is divided by what has passed of it."""
    nothing = Totals()
    return [
        _value(found.get(at_us, nothing), metric, elapsed_s(at_us, steps.step_s, until_us)) for at_us in steps.starts_us
    ]


def _value(totals: Totals, metric: str, seconds: float) -> float | None:
    if metric in COUNTS:
        return float(getattr(totals, metric))
    if metric == "throughput":
        return round(totals.terminal / seconds, 6) if seconds > 0 else 0.0
    if metric == "failure_rate":
        return totals.failure_rate
    name, _, statistic = metric.partition("_")
    values = totals.wait if name == "wait" else totals.run
    us = histogram.maximum(values) if statistic == "max" else histogram.quantiles(values, [QUANTILES[statistic]])[0]
    return None if us is None else us / 1000


def seconds_points(found: Mapping[int, tuple[int, int]], steps: Steps, metric: str) -> list[float | None]:
    """The same from (ended, failed) per second."""
    index = FROM_SECONDS.index(metric)
    out: list[float | None] = []
    for at_us in steps.starts_us:
        first = at_us // 1_000_000
        total = sum(found.get(second, (0, 0))[index] for second in range(first, first + steps.step_s))
        out.append(total / steps.step_s if metric == "throughput" else float(total))
    return out
