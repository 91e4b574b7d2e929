"""Which way a line of values goes: the median slope of all pairs (Theil-Sen), which single wild steps do not bend. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from statistics import median

MIN_POINTS = 6
FLAT = 0.1  # a change over the whole line of less than a tenth of its median is none
MAX_POINTS = 240  # pairs grow with the square: longer lines are thinned


class Direction(StrEnum):
    RISING = "rising"
    FALLING = "falling"
    FLAT = "flat"
    UNKNOWN = "unknown"


def drift(values: Sequence[float | None]) -> tuple[Direction, float | None]:
    """Where evenly spaced values go, and their change from the first to the last step relative to their median.

    >>> drift([10.0, 11, 12, None, 14, 15, 16])
    (<Direction.RISING: 'rising'>, 0.46153846153846156)
    """
    thin = max(1, -(-len(values) // MAX_POINTS))
    known = [(at, value) for at, value in enumerate(values) if value is not None and at % thin == 0]
    if len(known) < MIN_POINTS:
        return Direction.UNKNOWN, None
    slopes = [(b - a) / (j - i) for n, (i, a) in enumerate(known) for j, b in known[n + 1 :]]
    middle = median(value for _, value in known)
    if middle <= 0:
        return Direction.FLAT, 0.0
    change = median(slopes) * (len(values) - 1) / middle
    if abs(change) < FLAT:
        return Direction.FLAT, change
    return (Direction.RISING if change > 0 else Direction.FALLING), change
