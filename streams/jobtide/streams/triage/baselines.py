"""What is normal for a class: how long its successes run and its attempts wait, learned from closed minutes and kept for 60 days. Pure.

A sample counts for 30 to 60 days: there are two eras of 30 days, and the older one is dropped when a new one begins. The limit that
follows from the samples may grow at most twofold a day, so that one runaway that finished in the end does not silence its class; it may
fall at once. A class begins under a ceiling of 20 minutes, so a nightly job of three hours is known after five nights.

A minute teaches once, when it closes, or when it is first heard of after that: what revises it changes the windows but no limit. How far a
partition has learned is saved with its baselines, so that what stage 2 reads again after a restart teaches nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from jobtide.streams.folds.records import encode
from jobtide.streams.sketches import histogram
from jobtide.streams.sketches.histogram import Histogram

LADDER_US: Final = 600_000_000  # ten minutes: the limit of a class that has taught nothing
SHORTEST_US: Final = 60_000_000
LEAST_SAMPLES: Final = 5
DAY_S: Final = 86_400
ERA_S: Final = 30 * DAY_S
LIMIT: Final = 50_000  # classes of one partition; the one that has taught nothing for longest goes first
LONGEST_US: Final = 60 * DAY_S * 1_000_000


class Measure(msgspec.Struct, array_like=True):
    """Samples of one kind: `samples` of the era numbered `era`, `before` those of the one before it. `ceiling_us` holds on day `day`."""

    era: int = 0
    samples: Histogram = {}
    before: Histogram = {}
    day: int = 0
    ceiling_us: int = 2 * LADDER_US

    def learn(self, start_s: int, more: Mapping[int, int]) -> None:
        """Samples of the minute that starts at `start_s`."""
        day, era = start_s // DAY_S, start_s // ERA_S
        if day > self.day:
            if self.day:
                self.ceiling_us = min(self.ceiling_us, self._taught_us() or self.ceiling_us) << min(day - self.day, 24)
                self.ceiling_us = min(self.ceiling_us, LONGEST_US)
            self.day = day
        if era > self.era:
            self.before = self.samples if era == self.era + 1 else {}
            self.era, self.samples = era, {}
        histogram.add(self.samples, more)

    def _all(self) -> Histogram:
        if not self.before:
            return self.samples
        both = dict(self.before)
        histogram.add(both, self.samples)
        return both

    @property
    def p99_us(self) -> int | None:
        p99 = histogram.quantiles(self._all(), (0.99,))[0]
        return None if p99 is None else round(p99)

    def _taught_us(self) -> int | None:
        """max(60 s, 3 × p99, 2 × max) of whatever there is."""
        known = self._all()
        p99, highest = histogram.quantiles(known, (0.99,))[0], histogram.maximum(known)
        return None if p99 is None or highest is None else max(SHORTEST_US, round(3 * p99), round(2 * highest))

    @property
    def limit_us(self) -> int | None:
        """The learned limit; None while there are too few samples."""
        if histogram.count(self.samples) + histogram.count(self.before) < LEAST_SAMPLES:
            return None
        taught_us = self._taught_us()
        return None if taught_us is None else min(taught_us, self.ceiling_us)


class Baseline(msgspec.Struct, array_like=True):
    """What one series has taught. `learned_s`: the newest minute that did."""

    learned_s: int = 0
    run: Measure = msgspec.field(default_factory=Measure)
    wait: Measure = msgspec.field(default_factory=Measure)


PROGRESS: Final = b"\0learned"  # the key of the record that says how far a partition has learned

_decode_progress = msgspec.msgpack.Decoder(int).decode
_decode = msgspec.msgpack.Decoder(Baseline).decode


class Baselines:
    """The baselines of all series of one partition, and which of them are not saved."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.by_series: dict[bytes, Baseline] = {}
        self.dropped = 0  # baselines given up at the limit
        self.learned_s = 0  # the newest minute that was taught
        self._loaded_s = -1  # and the newest one of an earlier owner
        self._saved_s = -1
        self._limit = limit
        self._unsaved: dict[bytes, None] = {}

    def learn(self, series: bytes, start_s: int, run: Mapping[int, int], wait: Mapping[int, int]) -> bool:
        """A closed minute of a series. False if it teaches nothing: no samples, or known already (told again after a restart)."""
        self.learned_s = max(self.learned_s, start_s)
        if (not run and not wait) or start_s <= self._loaded_s:
            return False
        known = self.by_series.get(series)
        if known is None:
            self._make_room()
            known = self.by_series[series] = Baseline()
        elif start_s <= known.learned_s:
            return False
        known.learned_s = start_s
        if run:
            known.run.learn(start_s, run)
        if wait:
            known.wait.learn(start_s, wait)
        self._unsaved[series] = None
        return True

    def _make_room(self) -> None:
        """One in a hundred at a time: the search looks at all."""
        if len(self.by_series) < self._limit:
            return
        oldest = sorted(self.by_series, key=lambda series: self.by_series[series].learned_s)[: max(1, self._limit // 100)]
        for series in oldest:
            del self.by_series[series]
            self._unsaved[series] = None
        self.dropped += len(oldest)

    def forget_before(self, start_s: int) -> None:
        """Drop what has taught nothing since; its samples have gone with their eras."""
        for series in [series for series, known in self.by_series.items() if known.learned_s < start_s]:
            del self.by_series[series]
            self._unsaved[series] = None

    def take_unsaved(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Records of what has changed since the last call; None for what was dropped. Last how far all of it goes."""
        unsaved, self._unsaved = self._unsaved, {}
        for series in unsaved:
            known = self.by_series.get(series)
            yield series, None if known is None else encode(known)
        if self.learned_s > self._saved_s:
            self._saved_s = self.learned_s
            yield PROGRESS, encode(self.learned_s)

    def put_back(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Taken, but not written."""
        for series, _ in records:
            if series == PROGRESS:
                self._saved_s = -1
            else:
                self._unsaved[series] = None

    def load(self, series: bytes, value: bytes | None) -> None:
        """A saved record, in the order of the log; one that knows less than what is here does not count."""
        if series == PROGRESS:
            self._loaded_s = self._saved_s = self.learned_s = max(self._loaded_s, _decode_progress(value or b"\0"))
            return
        if value is None:
            self.by_series.pop(series, None)
            return
        saved = _decode(value)
        known = self.by_series.get(series)
        if known is None or saved.learned_s >= known.learned_s:
            self.by_series[series] = saved
