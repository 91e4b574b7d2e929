"""What rules measure on a group's windows, and the verdict: closures made once per rule, called for every change.

Each returns (verdict, value, samples). Rates are shares of 0 to 1, durations µs, throughput attempts per second of the window's real
length. Only rules about windows are here; queues, workers, stuck and absent work are measured by the evaluator from what it remembers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from math import ceil

from jobtide.streams.alerts.groups import WINDOW_INDEX, Group
from jobtide.streams.alerts.lifecycle import Verdict
from jobtide.streams.alerts.long_totals import LENGTHS_S, LongTotals
from jobtide.streams.alerts.model import TIERS, BurnRate, Change, Percentile, Ratio, Threshold
from jobtide.streams.folds.attempts import DEAD, ENQUEUED, FAILED, FINISHED, RETRIED, STARTED
from jobtide.streams.folds.attempts import FIELDS as COUNT_NAMES
from jobtide.streams.sketches import histogram
from jobtide.streams.snapshots import WINDOWS_S
from jobtide.streams.windows.tallies import Tally, ended

Measured = tuple[Verdict, "float | None", int]
Judge = Callable[[Group], Measured]
Compare = Callable[[float, float], bool]

OPERATORS: Mapping[str, Compare] = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le, "eq": operator.eq}
SIGNS = {"gt": ">", "gte": "≥", "lt": "<", "lte": "≤", "eq": "="}
NO_DATA: Measured = (Verdict.NO_DATA, None, 0)
_CLEAR, _BREACH, _TOO_FEW = Verdict.CLEAR, Verdict.BREACH, Verdict.TOO_FEW
_COUNTS = {name: place for place, name in enumerate(COUNT_NAMES)}


def window_of(window: str, second: int) -> tuple[int, int]:
    """[from, to) in s of a window that ends at `second`: all but the shortest begin at a whole minute."""
    length_s = WINDOWS_S[window]
    return (second - length_s if window == "1m" else second - second % 60 - length_s), second


def threshold(rule: Threshold) -> Judge:
    compare, limit, index, window = OPERATORS[rule.op], rule.value, WINDOW_INDEX[rule.window], rule.window
    metric = rule.metric
    if metric in ("waiting", "in_flight"):

        def of_gauge(group: Group) -> Measured:
            value = group.waiting if metric == "waiting" else group.running
            return (_BREACH if compare(value, limit) else _CLEAR), value, value

        return of_gauge
    if metric == "throughput":

        def of_rate(group: Group) -> Measured:
            n = ended(group.tally(index))
            from_s, to_s = window_of(window, group.second)
            value = n / (to_s - from_s)
            return (_BREACH if compare(value, limit) else _CLEAR), value, n

        return of_rate
    place = _COUNTS[metric]

    def of_count(group: Group) -> Measured:
        n = group.tally(index).counts[place]
        return (_BREACH if compare(n, limit) else _CLEAR), n, n

    return of_count


# Share → (places of the numerator, places of the denominator).
_SHARES = {
    "job_failure_rate": (DEAD, (DEAD, FINISHED)),
    "attempt_failure_rate": (FAILED, (FAILED, FINISHED)),
    "success_rate": (FINISHED, (FINISHED, DEAD)),
    "retry_rate": (RETRIED, (FINISHED, FAILED)),
}


def ratio(rule: Ratio) -> Judge:
    compare, limit, index, least = OPERATORS[rule.op], rule.value, WINDOW_INDEX[rule.window], rule.min_samples
    part, (one, other) = _SHARES[rule.metric]

    def judge(group: Group) -> Measured:
        counts = group.tally(index).counts
        n = counts[one] + counts[other]
        if n < least:
            return (_TOO_FEW, None, n) if n else NO_DATA
        value = counts[part] / n
        return (_BREACH if compare(value, limit) else _CLEAR), value, n

    return judge


def percentile(rule: Percentile) -> Judge:
    compare, limit_us, index, least = OPERATORS[rule.op], rule.value * 1000, WINDOW_INDEX[rule.window], rule.min_samples
    q, metric, edge = rule.quantile, rule.metric, histogram.bucket(rule.value * 1000)
    upward = rule.op in ("gt", "gte")

    def judge(group: Group) -> Measured:
        tally = group.tally(index)
        n = samples_of(tally, metric)
        if n < least:
            return (_TOO_FEW, None, n) if n else NO_DATA
        values = values_of(tally, metric)
        if upward:  # the common case without sorting: too few values are in buckets that could be over the limit
            over = 0
            for bucket, count in values.items():
                if bucket >= edge:
                    over += count
            if n - over >= max(1, ceil(q * n - 1e-9)):
                return _CLEAR, None, n
        value = histogram.quantiles(values, (q,))[0]
        assert value is not None
        return (_BREACH if compare(value, limit_us) else _CLEAR), value, n

    return judge


def samples_of(tally: Tally, metric: str) -> int:
    if metric == "wait":
        return tally.wait_n
    return (tally.ok_n if metric != "run_failed" else 0) + (tally.failed_n if metric != "run_ok" else 0)


def values_of(tally: Tally, metric: str) -> Mapping[int, int]:
    if metric == "wait":
        return tally.wait
    if metric == "run_ok" or (metric == "run" and not tally.failed_n):
        return tally.run_ok
    if metric == "run_failed":
        return tally.run_failed
    both = dict(tally.run_ok)
    histogram.add(both, tally.run_failed)
    return both


def change(rule: Change, since: Callable[[Group], int]) -> Judge:
    """`since`: the second from which on a group is known. Before that there is nothing to compare with, not little."""
    compare, limit, least = OPERATORS[rule.op], rule.value, rule.min_samples
    index, base_index = WINDOW_INDEX[rule.window], WINDOW_INDEX[rule.baseline]
    length_s, upward = WINDOWS_S[rule.window], rule.op in ("gt", "gte")
    metric = rule.metric

    def judge(group: Group) -> Measured:
        now, whole = group.tally(index), group.tally(base_index)
        from_s, to_s = window_of(rule.window, group.second)
        before_s = from_s - max(window_of(rule.baseline, group.second)[0], since(group))
        value_now, n_now = _level(metric, now, None, to_s - from_s)
        value_before, n_before = _level(metric, whole, now, max(1, before_s))
        n = min(n_now, n_before) if upward else n_before
        if n < least or before_s < length_s:
            return (_TOO_FEW, None, n) if n_before or n_now else NO_DATA
        if value_now is None:
            return _TOO_FEW, None, n
        if not value_before:
            return _CLEAR, None, n
        value = value_now / value_before
        return (_BREACH if compare(value, limit) else _CLEAR), value, n

    return judge


def _level(metric: str, tally: Tally, without: Tally | None, seconds: int) -> tuple[float | None, int]:
    """A metric of a window, without what another window in it counted, and the samples it stands on."""
    counts = tally.counts if without is None else [a - b for a, b in zip(tally.counts, without.counts, strict=True)]
    if metric in _SHARES:
        part, (one, other) = _SHARES[metric]
        n = counts[one] + counts[other]
        return (counts[part] / n if n else None), n
    if metric in ("wait_p95", "run_p95"):
        name = metric.removesuffix("_p95")
        values = dict(values_of(tally, name))
        if without is not None:
            histogram.add(values, values_of(without, name), -1)
        return histogram.quantiles(values, (0.95,))[0], sum(values.values())
    n = ended(tally) - (ended(without) if without else 0) if metric == "throughput" else counts[_COUNTS[metric]]
    return n / seconds, n


def burn_rate(rule: BurnRate, tier: float, totals: Callable[[Group], list[LongTotals]]) -> Judge:
    """`totals` finds what is remembered of a group's series over days."""
    long_s, short_s, _ = TIERS[tier]
    least, budget = rule.min_samples, 1 - rule.objective
    by_job = rule.sli == "job_failures"

    def share(group: Group, length_s: int) -> tuple[float | None, int]:
        if length_s in LENGTHS_S:
            finished = failed = dead = 0
            for each in totals(group):
                counts = each.counts(length_s)
                finished, failed, dead = finished + counts[0], failed + counts[1], dead + counts[2]
        else:
            of_window = group.tally(1 if length_s == 300 else 3).counts
            finished, failed, dead = of_window[FINISHED], of_window[FAILED], of_window[DEAD]
        bad = dead if by_job else failed
        n = bad + finished
        return (bad / n if n else None), n

    def judge(group: Group) -> Measured:
        over_long, n = share(group, long_s)
        if over_long is None:
            return NO_DATA
        if n < least:
            return _TOO_FEW, None, n
        if over_long <= tier * budget:
            return _CLEAR, over_long / budget, n
        over_short, n_short = share(group, short_s)
        if not n_short or over_short is None:
            return _CLEAR, 0.0, n
        value = min(over_long, over_short) / budget
        return (_BREACH if over_short > tier * budget else _CLEAR), value, n

    return judge


__all__ = ["ENQUEUED", "NO_DATA", "STARTED", "Judge", "Measured", "burn_rate", "change", "percentile", "ratio", "threshold", "window_of"]
