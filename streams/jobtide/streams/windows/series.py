"""One series as stage 2 holds it: the sums of its windows now, and each source partition's share of its gauges.

Only holds and tells. What is added to which sum, and when, is decided by `rolling`; versions of gauges are compared in
`fold`.
"""

from __future__ import annotations

from jobtide.streams.folds.records import SeriesKey, series_from
from jobtide.streams.snapshots import SEPARATOR, WINDOWS_S, SeriesSnapshot
from jobtide.streams.windows.tallies import Tally, window

LAST_MINUTE_S = WINDOWS_S["1m"]  # the one window that ends in no whole minute: it rolls by the second
MINUTE_S = 60
LONG_WINDOWS = tuple((name, length_s) for name, length_s in WINDOWS_S.items() if name != "1m")
LONGEST_S = max(WINDOWS_S.values())


class Share:
    """What one source partition says of a series' gauges, as of source offset `version`."""

    __slots__ = ("running", "series", "version", "waiting")

    def __init__(self, series: LiveSeries) -> None:
        self.series = series
        self.version = -1
        self.running = self.waiting = 0


class LiveSeries:
    """The sums of all panes in each window. `long` goes by LONG_WINDOWS and includes the open minute."""

    __slots__ = ("ends_s", "key", "last_minute", "long", "name", "recent", "running", "shares", "sums_up", "waiting")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.key: SeriesKey = series_from(name)
        self.sums_up = not self.key.queue  # minutes of a system, environment or tenant: for rules only, shown to nobody
        self.shares: dict[bytes, Share] = {}  # by source partition, as keys spell it
        self.running = self.waiting = 0
        self.ends_s = 0  # the end of the newest minute with a pane, or when the gauges last changed
        self.last_minute = Tally()
        self.long = tuple(Tally() for _ in LONG_WINDOWS)
        self.recent: dict[int, tuple[int, int, int]] = {}  # (second, terminal, failed) by second, where anything ended

    @property
    def field(self) -> str:
        return SEPARATOR.join(self.key[1:])

    def share(self, source: bytes) -> Share:
        found = self.shares.get(source)
        if found is None:
            found = self.shares[source] = Share(self)
        return found

    def snapshot(self, at_us: int, second: int) -> SeriesSnapshot:
        """All windows as they end at `second`; `at_us` is the watermark it came from."""
        minute = second - second % MINUTE_S
        windows = {"1m": window(self.last_minute, second - LAST_MINUTE_S, second)}
        for (name, length_s), tally in zip(LONG_WINDOWS, self.long, strict=True):
            windows[name] = window(tally, minute - length_s, second)
        key = self.key
        return SeriesSnapshot(
            tenant=key.tenant,
            environment=key.environment,
            system=key.system,
            queue=key.queue,
            job_class=key.job_class,
            at=at_us,
            in_flight=self.running,
            waiting=self.waiting,
            oldest_waiting_us=None,
            windows=windows,
            per_second=sorted(self.recent.values()),
        )
