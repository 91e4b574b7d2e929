"""The panes of one size by their start: what each source partition published, and the sums over all of them.

Panes stay as the bytes they came in: a million decoded ones would not fit, and most are read once, when they enter a
window; their sum once more, when they leave. Not here: which starts are in which window (`rolling`).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from jobtide.streams.folds.panes import Pane
from jobtide.streams.folds.records import PaneRecord, decode_pane, encode
from jobtide.streams.windows import tallies
from jobtide.streams.windows.series import LiveSeries, Share

_decode = msgspec.msgpack.Decoder(PaneRecord).decode


class Head(msgspec.Struct, array_like=True, gc=False):
    """The first members of a PaneRecord or Gauge: decoding stops there."""

    version: int
    running: int
    waiting: int


decode_head = msgspec.msgpack.Decoder(Head).decode


class Shelf:
    """`sums` has a start once it has entered a window; before that only the parts are kept."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[Share, bytes]] = {}
        self.sums: dict[int, dict[LiveSeries, bytes]] = {}

    def put(self, start_s: int, share: Share, value: bytes, version: int) -> bool:
        """Keep a published pane unless a newer version of it is here; True if anything changed."""
        parts = self._parts.get(start_s)
        if parts is None:
            parts = self._parts[start_s] = {}
        known = parts.get(share)
        if known is not None and (known == value or decode_head(known).version > version):
            return False
        parts[share] = value
        return True

    def between(self, from_s: int, to_s: int) -> Iterable[int]:
        """The starts in [from_s, to_s) that have panes, oldest first. A long range costs no more than what is in it."""
        parts = self._parts
        if to_s - from_s <= len(parts):
            return [start for start in range(from_s, to_s) if start in parts]
        return sorted(start for start in parts if from_s <= start < to_s)

    def enter(self, start_s: int) -> dict[LiveSeries, Pane]:
        """Sum up all panes of one start, over source partitions."""
        sums: dict[LiveSeries, Pane] = {}
        for share, value in self._parts[start_s].items():
            pane = _decode(value).pane
            known = sums.get(share.series)
            if known is None:
                sums[share.series] = pane
            else:
                tallies.add(known, pane)
        self.sums[start_s] = {series: encode(pane) for series, pane in sums.items()}
        return sums

    def resum(self, start_s: int, series: LiveSeries) -> tuple[Pane | None, Pane]:
        """Sum up one series again after a revision: (what its sum was, if it had one, and what it is now)."""
        sums = self.sums.setdefault(start_s, {})
        before = sums.get(series)
        parts = self._parts[start_s]
        now = Pane()
        for share in series.shares.values():
            value = parts.get(share)
            if value is not None:
                tallies.add(now, _decode(value).pane)
        sums[series] = encode(now)
        return (None if before is None else decode_pane(before)), now

    def entered(self, start_s: int) -> Iterable[tuple[LiveSeries, Pane]]:
        """The sums that `enter` left, to take them out of a window."""
        for series, value in self.sums.get(start_s, {}).items():
            yield series, decode_pane(value)

    def drop_before(self, start_s: int) -> None:
        for start in [start for start in self._parts if start < start_s]:
            del self._parts[start]
            self.sums.pop(start, None)
