"""A histogram with logarithmic buckets: quantiles of durations with a relative error of at most 1 %.

The bucket mapping is DDSketch's (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019) without its
bucket limit: durations from 1 µs to a year need 1 571 buckets. A histogram is a plain `dict[bucket, count]`, so that merging is adding,
expiring is subtracting, and ClickHouse does the same with `Map(Int16, UInt64)` and `sumMap`. Values are whole microseconds.

γ is 1.02 and not 101/99: the bound is (γ-1)/(γ+1) = 0.990 %, which leaves the promised 1 % some room for rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, log
from typing import Final

GAMMA: Final = 1.02
RELATIVE_ERROR: Final = (GAMMA - 1) / (GAMMA + 1)
ZERO: Final = -1  # the bucket of the value 0, below every other
_PER_LN: Final = 1 / log(GAMMA)

Histogram = dict[int, int]


def bucket(value_us: int) -> int:
    """The bucket of a value ≥ 0 µs: `ceil(ln v / ln γ)`, and ZERO for 0.

    >>> bucket(0), bucket(1), bucket(1_000_000)
    (-1, 0, 698)
    """
    return ceil(log(value_us) * _PER_LN) if value_us > 0 else ZERO


def representative(index: int) -> float:
    """The value in µs that stands for a bucket: within RELATIVE_ERROR of every value in it.

    >>> representative(-1), round(representative(698))
    (0.0, 996778)
    """
    return 2 * GAMMA**index / (GAMMA + 1) if index >= 0 else 0.0


def of(values_us: Iterable[int]) -> Histogram:
    """The histogram of whole, non-negative microseconds."""
    histogram: Histogram = {}
    for value in values_us:
        index = bucket(value)
        histogram[index] = histogram.get(index, 0) + 1
    return histogram


def add(into: Histogram, other: Mapping[int, int], sign: int = 1) -> None:
    """Merge `other` into `into` (sign 1) or take it out again (sign -1). Empty buckets are removed."""
    for index, count in other.items():
        total = into.get(index, 0) + sign * count
        if total:
            into[index] = total
        else:
            into.pop(index, None)


def count(histogram: Mapping[int, int]) -> int:
    return sum(histogram.values())


def quantiles(histogram: Mapping[int, int], qs: Iterable[float]) -> list[float | None]:
    """For each q in (0, 1]: the value in µs of 1-based rank ceil(q·n); None for an empty histogram.

    >>> quantiles(of([100, 200, 300, 400]), [0.5])[0] // 1
    199.0
    """
    total = count(histogram)
    if not total:
        return [None for _ in qs]
    ordered = sorted(histogram.items())
    return [_at_rank(ordered, max(1, ceil(q * total * (1 - 4e-16) - 1e-9))) for q in qs]


def _at_rank(ordered: list[tuple[int, int]], rank: int) -> float:
    seen = 0
    for index, n in ordered:
        seen += n
        if seen >= rank:
            return representative(index)
    raise ValueError(f"rank {rank} of {seen} values")  # a negative count: someone subtracted what was never added


def maximum(histogram: Mapping[int, int]) -> float | None:
    """The representative of the highest bucket in µs: an exact maximum cannot be taken out again when a value is revised."""
    return representative(max(histogram)) if histogram else None
