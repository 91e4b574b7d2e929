"""A pane while it is counted in: the numbers of `panes.Pane` as plain integers of an object that can be compiled, and what has still to be done.

Not the record: `freeze` gives the same bytes as an encoded Pane, for publication, checkpoint and rest. When that is due decides `series`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobtide.streams.folds.attempts import CANCELLED, DEAD, DISCARDED, ENQUEUED, FAILED, FINISHED, STARTED
from jobtide.streams.folds.records import decode_pane, encode
from jobtide.streams.sketches import histogram
from jobtide.streams.sketches.histogram import ZERO, Histogram, bucket
from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from jobtide.streams.folds.series import Series


@mypyc_attr(acyclic=True)
class Cell:
    """A pane that is not at rest, in its place.

    Not known to the garbage collector, which would find nothing in millions of them: `SeriesTable.clear` takes the cycle with `series` apart.
    """

    __slots__ = (
        "asleep", "cancelled", "closed", "dead", "discarded", "end_us", "enqueued", "failed", "failed_sum_us", "finished", "frozen", "key",
        "negative_waits", "ok_sum_us", "pending", "retried", "run_failed", "run_ok", "series", "size_s", "start_s", "started", "unpublished",
        "unsaved", "wait", "wait_sum_us",
    )  # fmt: skip

    def __init__(self, series: Series, size_s: int, start_s: int, key: bytes, end_us: int, closed: bool) -> None:
        self.series, self.size_s, self.start_s, self.key, self.end_us = series, size_s, start_s, key, end_us
        self.closed = closed  # a second: added to its minute
        self.unsaved = self.unpublished = False
        self.pending = False  # both of these are set: one check on the hot path instead of two
        self.frozen: bytes | None = None  # its bytes, while they are up to date
        self.asleep = False  # only these bytes are kept
        self.enqueued = self.started = self.finished = self.failed = self.cancelled = self.discarded = self.dead = self.retried = 0
        self.negative_waits = self.wait_sum_us = self.ok_sum_us = self.failed_sum_us = 0
        self.wait: Histogram | None = None
        self.run_ok: Histogram | None = None
        self.run_failed: Histogram | None = None

    def count(self, field: int, sample_us: int | None, sign: int) -> None:
        """One contribution more, or one less."""
        if self.asleep and self.frozen is not None:
            self.thaw(self.frozen)
        self.frozen = None
        if field == ENQUEUED:
            self.enqueued += sign
        elif field == STARTED:
            self.started += sign
        elif field == FINISHED:
            self.finished += sign
        elif field == FAILED:
            self.failed += sign
        elif field == CANCELLED:
            self.cancelled += sign
        elif field == DISCARDED:
            self.discarded += sign
        elif field == DEAD:
            self.dead += sign
        else:
            self.retried += sign
        if sample_us is not None:
            self._sample(field, sample_us, sign)

    def _sample(self, field: int, sample_us: int, sign: int) -> None:
        if field == STARTED:
            samples = self.wait
            if samples is None:
                samples = self.wait = {}
            if sample_us > 0:
                self.wait_sum_us += sample_us * sign
            elif sample_us < 0:  # clocks disagree: kept raw in history, 0 in the histogram, counted here
                self.negative_waits += sign
        elif field == FINISHED:
            samples = self.run_ok
            if samples is None:
                samples = self.run_ok = {}
            if sample_us > 0:
                self.ok_sum_us += sample_us * sign
        else:
            samples = self.run_failed
            if samples is None:
                samples = self.run_failed = {}
            if sample_us > 0:
                self.failed_sum_us += sample_us * sign
        index = bucket(sample_us) if sample_us > 0 else ZERO
        total = samples.get(index, 0) + sign
        if total:
            samples[index] = total
        else:
            del samples[index]

    def merge(self, other: Cell) -> None:
        """Add another cell's numbers, which is not asleep."""
        if self.asleep and self.frozen is not None:
            self.thaw(self.frozen)
        self.frozen = None
        self.enqueued += other.enqueued
        self.started += other.started
        self.finished += other.finished
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.discarded += other.discarded
        self.dead += other.dead
        self.retried += other.retried
        self.negative_waits += other.negative_waits
        self.wait_sum_us += other.wait_sum_us
        self.ok_sum_us += other.ok_sum_us
        self.failed_sum_us += other.failed_sum_us
        if other.wait:
            self.wait = _sum(self.wait, other.wait)
        if other.run_ok:
            self.run_ok = _sum(self.run_ok, other.run_ok)
        if other.run_failed:
            self.run_failed = _sum(self.run_failed, other.run_failed)

    def freeze(self) -> bytes:
        """The pane's bytes, encoded once for publication and checkpoint."""
        value = self.frozen
        if value is None:
            counts = (self.enqueued, self.started, self.finished, self.failed, self.cancelled, self.discarded, self.dead, self.retried)
            sums = (self.negative_waits, self.wait_sum_us, self.ok_sum_us, self.failed_sum_us)
            value = self.frozen = encode((counts, *sums, self.wait or {}, self.run_ok or {}, self.run_failed or {}))
        return value

    def sleep(self) -> None:
        """Let go of all but the bytes, until something changes: most cells that have been published only wait for their checkpoint."""
        if not self.asleep:
            self.freeze()
            self.wait = self.run_ok = self.run_failed = None
            self.asleep = True

    def thaw(self, stored: bytes) -> None:
        """Take the numbers of a frozen pane."""
        self.asleep = False
        pane = decode_pane(stored)
        counts = pane.counts
        self.enqueued, self.started, self.finished, self.failed = counts[0], counts[1], counts[2], counts[3]
        self.cancelled, self.discarded, self.dead, self.retried = counts[4], counts[5], counts[6], counts[7]
        self.negative_waits, self.wait_sum_us = pane.negative_waits, pane.wait_sum_us
        self.ok_sum_us, self.failed_sum_us = pane.ok_sum_us, pane.failed_sum_us
        self.wait, self.run_ok, self.run_failed = pane.wait, pane.run_ok, pane.run_failed
        self.frozen = stored


def _sum(into: Histogram | None, other: Histogram) -> Histogram:
    if into is None:
        return dict(other)
    histogram.add(into, other)
    return into
