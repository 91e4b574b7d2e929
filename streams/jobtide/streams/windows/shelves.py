"""The panes of one size by their start: what each source partition published, and the sums over all of them.

Panes stay as the bytes they came in: a million decoded ones would not fit, and most are read once, when they enter a
window; their sum once more, when they leave. Not here: which starts are in which window (`rolling`).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from jobtide.streams.folds.records import encode
from jobtide.streams.windows.series import MINUTE_S, LiveSeries, Share
from jobtide.streams.windows.tallies import Tally, finish, gather


class Head(msgspec.Struct, array_like=True, gc=False):
    """The first members of a PaneRecord or Gauge: decoding stops there."""

    version: int
    running: int
    waiting: int


class Part(Head, array_like=True, gc=False):
    """A PaneRecord, its pane as the beginning of a sum."""

    pane: Tally


_decode_part = msgspec.msgpack.Decoder(Part).decode
_decode_sum = msgspec.msgpack.Decoder(Tally).decode
decode_head = msgspec.msgpack.Decoder(Head).decode


class Shelf:
    """Starts in [oldest_s, edge_s) are in windows and have sums; of later ones only the parts are kept."""

    def __init__(self) -> None:
        self.oldest_s = 0
        self.edge_s = 0
        self._parts: dict[int, dict[Share, bytes]] = {}
        self._sums: dict[int, dict[LiveSeries, bytes]] = {}
        self._revised: dict[tuple[int, LiveSeries], None] = {}

    def put(self, start_s: int, share: Share, value: bytes, version: int) -> None:
        """Keep a published pane, unless a newer version of it is here or no window can ever hold it again."""
        if start_s < self.oldest_s:
            return
        parts = self._parts.get(start_s)
        if parts is None:
            parts = self._parts[start_s] = {}
        known = parts.get(share)
        if known is not None and (known == value or decode_head(known).version > version):
            return
        parts[share] = value
        series = share.series
        if start_s < self.edge_s:
            self._revised[start_s, series] = None
        if start_s >= series.ends_s:
            series.ends_s = start_s - start_s % MINUTE_S + MINUTE_S

    def between(self, from_s: int, to_s: int) -> Iterable[int]:
        """The starts in [from_s, to_s) that have panes, oldest first, however long the range is."""
        return sorted(start for start in self._parts if from_s <= start < to_s)

    def enter(self, start_s: int) -> Iterable[tuple[LiveSeries, Tally]]:
        """Sum up all panes of one start, over source partitions."""
        tallies: dict[LiveSeries, Tally] = {}
        for share, value in self._parts[start_s].items():
            series, part = share.series, _decode_part(value).pane
            tally = tallies.get(series)
            if tally is None:
                tallies[series] = part
            else:
                gather(tally, part)
        sums = self._sums[start_s] = {}
        for series, tally in tallies.items():
            finish(tally)
            sums[series] = encode(tally)
            yield series, tally

    def take_revised(self) -> Iterable[tuple[int, LiveSeries, Tally, Tally]]:
        """Late revisions of starts that have entered: (start, series, what its sum was, what it is now)."""
        revised, self._revised = self._revised, {}
        for start_s, series in revised:
            parts, sums = self._parts[start_s], self._sums.setdefault(start_s, {})
            before = _decode_sum(sums[series]) if series in sums else Tally()
            now = Tally()
            for share in series.shares.values():
                if share in parts:
                    gather(now, _decode_part(parts[share]).pane)
            finish(now)
            sums[series] = encode(now)
            yield start_s, series, before, now

    def entered(self, start_s: int) -> Iterable[tuple[LiveSeries, Tally]]:
        """The sums of a start that has entered, to take them out of a window."""
        for series, value in self._sums[start_s].items():
            yield series, _decode_sum(value)

    def drop_before(self, start_s: int) -> None:
        """Forget panes that no window can hold any more, and take no more of them."""
        self.oldest_s = max(self.oldest_s, start_s)
        for start in [start for start in self._parts if start < start_s]:
            del self._parts[start]
            self._sums.pop(start, None)
