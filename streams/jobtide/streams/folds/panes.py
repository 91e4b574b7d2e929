"""A pane: what one series counted in one tumbling second or minute, as seen from one source partition.

A pane is a sum of attempts' contributions in a commutative group: what was added can be taken out again when a later event changes the
facts, and panes of several partitions add up. Hence no maximum and no first/last in it; the highest histogram bucket stands for the
maximum (within 1 %).
"""

from __future__ import annotations

from typing import Final

import msgspec
from jobtide.streams.folds.attempts import FIELDS
from jobtide.streams.sketches import histogram

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
SECOND_PANES_KEPT_US: Final = 180 * SECOND_US  # later revisions touch only the minute
MINUTE_PANES_KEPT_US: Final = 65 * MINUTE_US  # later ones are counted and go to history only


class Pane(msgspec.Struct, array_like=True, gc=False):
    """Counts by field (see attempts.FIELDS), samples in µs."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * len(FIELDS))
    negative_waits: int = 0
    wait_sum_us: int = 0
    ok_sum_us: int = 0
    failed_sum_us: int = 0
    wait: dict[int, int] = {}
    run_ok: dict[int, int] = {}
    run_failed: dict[int, int] = {}


def merge(into: Pane, other: Pane, sign: int = 1) -> None:
    """Add another pane's numbers, or take them out."""
    into.negative_waits += sign * other.negative_waits
    into.wait_sum_us += sign * other.wait_sum_us
    into.ok_sum_us += sign * other.ok_sum_us
    into.failed_sum_us += sign * other.failed_sum_us
    counts = into.counts
    for index, n in enumerate(other.counts):
        counts[index] += sign * n
    histogram.add(into.wait, other.wait, sign)
    histogram.add(into.run_ok, other.run_ok, sign)
    histogram.add(into.run_failed, other.run_failed, sign)
