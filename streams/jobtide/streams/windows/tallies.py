"""Sums of panes: adding one, taking it out again, and how a window tells its sum.

The same as `folds.panes.merge`, written out for speed: this runs several times for every second of every series. Not
here: which panes belong in which window (`rolling`).
"""

from __future__ import annotations

from jobtide.streams.folds.attempts import CANCELLED, DEAD, DISCARDED, ENQUEUED, FAILED, FINISHED, RETRIED, STARTED
from jobtide.streams.folds.panes import SECOND_US, Pane
from jobtide.streams.sketches.histogram import Histogram
from jobtide.streams.snapshots import HistogramSnapshot, WindowSnapshot

# One object per bucket number, whoever counts in it: the windows of 2 000 series hold more than a million of them.
_buckets: dict[int, int] = {}


def add(into: Pane, other: Pane) -> None:
    """Add another pane's numbers."""
    into.negative_waits += other.negative_waits
    into.wait_sum_us += other.wait_sum_us
    into.ok_sum_us += other.ok_sum_us
    into.failed_sum_us += other.failed_sum_us
    into.counts = [a + b for a, b in zip(into.counts, other.counts)]  # noqa: B905 - strict costs per call on the hot path
    if other.wait:
        _add(into.wait, other.wait)
    if other.run_ok:
        _add(into.run_ok, other.run_ok)
    if other.run_failed:
        _add(into.run_failed, other.run_failed)


def remove(into: Pane, other: Pane) -> None:
    """Take numbers out that were added before."""
    into.negative_waits -= other.negative_waits
    into.wait_sum_us -= other.wait_sum_us
    into.ok_sum_us -= other.ok_sum_us
    into.failed_sum_us -= other.failed_sum_us
    into.counts = [a - b for a, b in zip(into.counts, other.counts)]  # noqa: B905 - as above
    if other.wait:
        _remove(into.wait, other.wait)
    if other.run_ok:
        _remove(into.run_ok, other.run_ok)
    if other.run_failed:
        _remove(into.run_failed, other.run_failed)


def _add(into: Histogram, other: Histogram) -> None:
    get = into.get
    for index, count in other.items():
        known = get(index)
        if known is None:
            into[_buckets.setdefault(index, index)] = count
        elif known + count:
            into[index] = known + count
        else:
            del into[index]


def _remove(into: Histogram, other: Histogram) -> None:
    get = into.get
    for index, count in other.items():
        left = get(index, 0) - count
        if left:
            into[index] = left
        else:
            into.pop(index, None)


def terminal(pane: Pane) -> tuple[int, int]:
    """(attempts that ended, those of them that failed)"""
    counts = pane.counts
    return counts[FINISHED] + counts[FAILED] + counts[CANCELLED] + counts[DISCARDED], counts[FAILED]


def window(pane: Pane, from_s: int, to_s: int) -> WindowSnapshot:
    """The sum as a window over [from_s, to_s) tells it. Buckets come in no order."""
    counts = pane.counts
    return WindowSnapshot(
        from_us=from_s * SECOND_US,
        to_us=to_s * SECOND_US,
        enqueued=counts[ENQUEUED],
        started=counts[STARTED],
        finished=counts[FINISHED],
        failed=counts[FAILED],
        cancelled=counts[CANCELLED],
        discarded=counts[DISCARDED],
        retried=counts[RETRIED],
        dead=counts[DEAD],
        negative_waits=pane.negative_waits,
        wait=_histogram(pane.wait, pane.wait_sum_us),
        run_ok=_histogram(pane.run_ok, pane.ok_sum_us),
        run_failed=_histogram(pane.run_failed, pane.failed_sum_us),
    )


def _histogram(buckets: Histogram, sum_us: int) -> HistogramSnapshot:
    return HistogramSnapshot(sum(buckets.values()), sum_us, list(buckets.items()))
