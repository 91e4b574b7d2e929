"""Minutes of whole systems, environments and tenants, as one source partition sees them: for rules that look at all queues together.

Queues are spread over the partitions of job.panes, so only stage 1 can bring them together. A minute that closes is summed up at once, before
the tick that covers it. One that is revised later is summed up again from all its panes: one minute every two seconds, however many events come
late, and after a restart each of the last hour once, since nobody remembers which were told. Not here: sums over source partitions (`windows`).
"""

from __future__ import annotations

from jobtide.streams.folds.cells import Cell
from jobtide.streams.folds.panes import MINUTE_PANES_KEPT_US, SECOND_US, Pane, merge
from jobtide.streams.folds.records import PaneRecord, Record, decode_pane, encode, scopes_of, sum_key
from jobtide.streams.folds.series import SeriesTable

AGAIN_EVERY_US = 2 * SECOND_US


class Sums:
    """Which minutes have to be told. `note` what was published, then `take`."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._newest_s = -1
        self._closed: dict[int, None] = {}
        self._revised: dict[int, None] = {}
        self._again_us = 0
        self._begun = False

    def note(self, start_s: int) -> None:
        """A minute's pane was published."""
        if start_s > self._newest_s:
            self._closed[start_s] = None
        else:
            self._revised[start_s] = None

    def take(self, table: SeriesTable, version: int, now_us: int, watermark_us: int) -> list[tuple[bytes, Record]]:
        """(name, record) of each sum to be told now; `now_us` is any clock that goes on."""
        if not self._begun:
            self._begun = True
            self._revised.update({start_s: None for series in table.by_key.values() for start_s in series.minutes if start_s not in self._closed})
        starts, self._closed = sorted(self._closed), {}
        if starts:
            self._newest_s = starts[-1]  # only now: minutes that close together come in any order
        if self._revised and now_us >= self._again_us + AGAIN_EVERY_US:
            self._again_us = now_us
            newest = max(self._revised)
            del self._revised[newest]
            if newest not in starts and newest * SECOND_US + 60 * SECOND_US + MINUTE_PANES_KEPT_US > watermark_us:  # else some of it may be gone
                starts.append(newest)
        return [each for start_s in starts for each in self._sum(table, start_s, version)]

    def _sum(self, table: SeriesTable, start_s: int, version: int) -> list[tuple[bytes, Record]]:
        systems: dict[bytes, Pane] = {}
        for series in table.by_key.values():
            held = series.minutes.get(start_s)
            if held is None:
                continue
            name = scopes_of(series.key)[0]
            total = systems.get(name)
            if total is None:
                total = systems[name] = Pane()
            merge(total, decode_pane(held.freeze() if isinstance(held, Cell) else held))
        return [
            (name, (sum_key(start_s, self.partition, name), encode(PaneRecord(version, 0, 0, pane)))) for name, pane in wider(systems).items()
        ]


def wider(systems: dict[bytes, Pane]) -> dict[bytes, Pane]:
    """The sums of systems, and of their environments and tenants."""
    out = dict(systems)
    for name, pane in systems.items():
        tenant, environment, _ = name.split(b"\x1f", 2)
        for scope in (b"\x1f".join((tenant, environment, b"", b"", b"")), b"\x1f".join((tenant, b"", b"", b"", b""))):
            total = out.get(scope)
            if total is None:
                total = out[scope] = Pane()
            merge(total, pane)
    return out
