"""A series' snapshot as the mirror keeps it: counts decoded, histograms still JSON until someone asks for them.

The same JSON as `jobtide.streams.snapshots.SeriesSnapshot`, which says what the fields mean. Decoded whole, 20 000 series
would be a gigabyte of small objects; most of them are never looked at.
"""

from __future__ import annotations

import msgspec
from jobtide.query.measures import Totals
from jobtide.streams.sketches.histogram import Histogram
from jobtide.streams.snapshots import HistogramSnapshot

_histogram = msgspec.json.Decoder(HistogramSnapshot)
_seconds = msgspec.json.Decoder(list[tuple[int, int, int]])


class Window(msgspec.Struct, rename={"from_us": "from", "to_us": "to"}, gc=False):
    """The counts of one series in [from, to)."""

    from_us: int
    to_us: int
    enqueued: int
    started: int
    finished: int
    failed: int
    cancelled: int
    discarded: int
    retried: int
    dead: int
    negative_waits: int
    wait: msgspec.Raw
    run_ok: msgspec.Raw
    run_failed: msgspec.Raw

    @property
    def busy(self) -> bool:
        """True if anything happened."""
        happened = self.enqueued + self.started + self.finished + self.failed
        return happened + self.cancelled + self.discarded + self.retried + self.dead > 0

    def totals(self) -> Totals:
        """The window as totals, its histograms decoded."""
        (wait, wait_us), (ok, ok_us), (failed, failed_us) = _decoded(self.wait), _decoded(self.run_ok), _decoded(self.run_failed)
        return Totals(
            self.enqueued,
            self.started,
            self.finished,
            self.failed,
            self.cancelled,
            self.discarded,
            self.retried,
            self.dead,
            self.negative_waits,
            wait,
            ok,
            failed,
            wait_us,
            ok_us,
            failed_us,
        )


class Series(msgspec.Struct, gc=False):
    """One class of one queue, now."""

    tenant: str
    environment: str
    system: str
    queue: str
    job_class: str
    at: int
    in_flight: int
    waiting: int
    oldest_waiting_us: int | None
    windows: dict[str, Window]
    per_second: msgspec.Raw

    def seconds(self) -> list[tuple[int, int, int]]:
        """(second, terminal attempts, failed attempts), oldest first."""
        return _seconds.decode(self.per_second)


def _decoded(raw: msgspec.Raw) -> tuple[Histogram, int]:
    found = _histogram.decode(raw)
    return dict(found.b), found.sum
