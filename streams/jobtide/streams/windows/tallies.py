"""Sums of panes: adding one, taking it out again, and how a window tells its sum.

Like `folds.panes.merge`, but written out for speed: this runs several times for every second of every series. Not here:
which panes belong in which window (`rolling`).
"""

from __future__ import annotations

from operator import add as plus
from operator import sub as minus

from jobtide.streams.folds.attempts import CANCELLED, DEAD, DISCARDED, ENQUEUED, FAILED, FINISHED, RETRIED, STARTED
from jobtide.streams.folds.panes import SECOND_US, Pane
from jobtide.streams.sketches.histogram import Histogram
from jobtide.streams.snapshots import HistogramSnapshot, WindowSnapshot

# One object per bucket number, whoever counts in it: the windows of 2 000 series hold more than a million of them.
_buckets: dict[int, int] = {}


class Tally(Pane, array_like=True, gc=False):
    """A sum of panes. The number of samples in each histogram is kept: counting for every snapshot costs more."""

    wait_n: int = 0
    ok_n: int = 0
    failed_n: int = 0


def gather(into: Tally, part: Tally) -> None:
    """Add a published pane to a sum in the making; `finish` does the rest."""
    into.negative_waits += part.negative_waits
    into.wait_sum_us += part.wait_sum_us
    into.ok_sum_us += part.ok_sum_us
    into.failed_sum_us += part.failed_sum_us
    into.counts = list(map(plus, into.counts, part.counts))
    for mine, its in ((into.wait, part.wait), (into.run_ok, part.run_ok), (into.run_failed, part.run_failed)):
        for index, count in its.items():
            mine[index] = mine.get(index, 0) + count


def finish(tally: Tally) -> None:
    """Remove empty buckets and set the numbers of samples, which a published pane does not have."""
    for buckets in (tally.wait, tally.run_ok, tally.run_failed):
        if 0 in buckets.values():
            for index in [index for index, count in buckets.items() if not count]:
                del buckets[index]
    tally.wait_n = sum(tally.wait.values())
    tally.ok_n = sum(tally.run_ok.values())
    tally.failed_n = sum(tally.run_failed.values())


def add(into: Tally, other: Tally) -> None:
    """Add a finished sum's numbers."""
    into.negative_waits += other.negative_waits
    into.counts = list(map(plus, into.counts, other.counts))
    into.wait_sum_us += other.wait_sum_us
    if other.wait:
        into.wait_n += other.wait_n
        _add(into.wait, other.wait)
    into.ok_sum_us += other.ok_sum_us
    if other.run_ok:
        into.ok_n += other.ok_n
        _add(into.run_ok, other.run_ok)
    into.failed_sum_us += other.failed_sum_us
    if other.run_failed:
        into.failed_n += other.failed_n
        _add(into.run_failed, other.run_failed)


def remove(into: Tally, other: Tally) -> None:
    """Take numbers out that were added before."""
    into.negative_waits -= other.negative_waits
    into.counts = list(map(minus, into.counts, other.counts))
    into.wait_sum_us -= other.wait_sum_us
    if other.wait:
        into.wait_n -= other.wait_n
        _remove(into.wait, other.wait)
    into.ok_sum_us -= other.ok_sum_us
    if other.run_ok:
        into.ok_n -= other.ok_n
        _remove(into.run_ok, other.run_ok)
    into.failed_sum_us -= other.failed_sum_us
    if other.run_failed:
        into.failed_n -= other.failed_n
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


def ended(tally: Tally) -> int:
    """Attempts that ended, one way or another."""
    counts = tally.counts
    return counts[FINISHED] + counts[FAILED] + counts[CANCELLED] + counts[DISCARDED]


def window(tally: Tally, from_s: int, to_s: int) -> WindowSnapshot:
    """The sum as a window over [from_s, to_s) tells it. Buckets come in no order."""
    counts = tally.counts
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
        negative_waits=tally.negative_waits,
        wait=HistogramSnapshot(tally.wait_n, tally.wait_sum_us, list(tally.wait.items())),
        run_ok=HistogramSnapshot(tally.ok_n, tally.ok_sum_us, list(tally.run_ok.items())),
        run_failed=HistogramSnapshot(tally.failed_n, tally.failed_sum_us, list(tally.run_failed.items())),
    )
