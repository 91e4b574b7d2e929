"""Did something change between two ranges: failure rates and run times before and after, with a test and a least sample.

Pure. Failure rates by Fisher's exact test (two-sided; by the normal approximation where counts are large), run times by the Mann-Whitney test
on log-bucket histograms, all p-values of one comparison corrected together (Holm). A difference must be both unlikely and large enough to
matter. Not causes: a release and a busy hour may coincide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import erfc, exp, lgamma, sqrt

from jobtide.query.measures import Totals
from jobtide.streams.sketches import histogram
from jobtide.streams.sketches.histogram import Histogram

MIN_SAMPLE = 30  # attempts that finished or failed, on each side
SIGNIFICANT = 0.01
LEAST_RATE_CHANGE = 0.01  # a failure rate that moved by less than a percentage point is the same
LEAST_RUN_RATIO = 1.1  # a median that moved by less than a tenth is the same
EXACT_UP_TO = 5000  # attempts on both sides together: beyond it the normal approximation is as good


class Verdict(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True)
class Change:
    """One measure before and after. `p` is corrected for the number of tests; None where there were too few."""

    before: float | None
    after: float | None
    p: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """`failure_rate` in failures per attempt, `run_p50` in µs. `slower_chance`: how often an attempt after ran longer than one before."""

    failure_rate: Change
    run_p50: Change
    slower_chance: float | None


def compare(pairs: Sequence[tuple[Totals, Totals]]) -> list[Comparison]:
    """Each (before, after), their p-values corrected together."""
    tested = [_tested(before, after) for before, after in pairs]
    corrected = iter(holm([p for found in tested if found is not None for p in (found[0], found[1])]))
    out = []
    for (before, after), found in zip(pairs, tested, strict=True):
        rates = (before.failure_rate, after.failure_rate)
        medians = (_median(before.run_ok), _median(after.run_ok))
        if found is None:
            out.append(Comparison(Change(*rates, None, Verdict.TOO_FEW), Change(*medians, None, Verdict.TOO_FEW), None))
            continue
        rate_p, run_p = next(corrected), next(corrected)
        rate = _verdict(rates, rate_p, lambda b, a: abs(a - b) >= LEAST_RATE_CHANGE)
        run = _verdict(medians, run_p, lambda b, a: max(a, b) >= LEAST_RUN_RATIO * min(a, b))
        out.append(Comparison(Change(*rates, rate_p, rate), Change(*medians, run_p, run), found[2]))
    return out


def _tested(before: Totals, after: Totals) -> tuple[float, float, float | None] | None:
    n = [(t.failed, t.finished + t.failed) for t in (before, after)]
    if min(n[0][1], n[1][1]) < MIN_SAMPLE:
        return None
    run_p, chance = mann_whitney(before.run_ok, after.run_ok)
    return proportions(*n[0], *n[1]), run_p, chance


def _verdict(values: tuple[float | None, float | None], p: float, matters: object) -> Verdict:
    before, after = values
    if before is None or after is None or p >= SIGNIFICANT or not matters(before, after):  # type: ignore[operator]
        return Verdict.SAME
    return Verdict.WORSE if after > before else Verdict.BETTER


def _median(values: Histogram) -> float | None:
    return histogram.quantiles(values, [0.5])[0]


def proportions(k1: int, n1: int, k2: int, n2: int) -> float:
    """Two-sided p-value that k1 of n1 and k2 of n2 are of one rate.

    >>> round(proportions(1, 10, 11, 14), 6)
    0.002759
    """
    k, n = k1 + k2, n1 + n2
    if k == 0 or k == n:
        return 1.0
    if n > EXACT_UP_TO and min(k * n1, k * n2, (n - k) * n1, (n - k) * n2) / n >= 5:
        rate = k / n
        z = (k1 / n1 - k2 / n2) / sqrt(rate * (1 - rate) * (1 / n1 + 1 / n2))
        return erfc(abs(z) / sqrt(2))
    return _fisher(k1, n1, k2, n2)


def _fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    k, n = k1 + k2, n1 + n2
    whole = _log_choose(n, k)

    def chance(i: int) -> float:
        return exp(_log_choose(n1, i) + _log_choose(n2, k - i) - whole)

    seen = chance(k1) * (1 + 1e-7)
    return min(1.0, sum(p for p in map(chance, range(max(0, k - n2), min(k, n1) + 1)) if p <= seen))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def mann_whitney(before: Histogram, after: Histogram) -> tuple[float, float | None]:
    """Two-sided p-value that both are of one distribution, and the chance that a value of `after` is larger than one of `before`
    (ties half). Values of one bucket are ties, which the variance takes into account."""
    n1, n2 = histogram.count(before), histogram.count(after)
    if not n1 or not n2:
        return 1.0, None
    below, wins, ties = 0, 0.0, 0.0
    for bucket in sorted(before.keys() | after.keys()):
        b, a = before.get(bucket, 0), after.get(bucket, 0)
        wins += a * (below + b / 2)
        below += b
        ties += (a + b) ** 3 - (a + b)
    n = n1 + n2
    variance = n1 * n2 / 12 * ((n + 1) - ties / (n * (n - 1)))
    if variance <= 0:
        return 1.0, 0.5
    return erfc(abs(wins - n1 * n2 / 2) / sqrt(2 * variance)), wins / (n1 * n2)


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in the same order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    out, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, ps[index] * (len(ps) - rank)))
        out[index] = highest
    return out
