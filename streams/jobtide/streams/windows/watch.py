"""Whoever looks at the windows at every second of the watermark, in the order of the log: the rules (`alerts.evaluator`).

Told inside the fold, because what is true at a second is only true there: the fold may have read further when it returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from jobtide.streams.windows.series import LiveSeries
from jobtide.streams.windows.tallies import Tally


class Watch(Protocol):
    def minute(self, start_s: int, series: LiveSeries, before: Tally | None, now: Tally) -> None:
        """A minute's sum entered the windows (`before` is None), or was revised."""
        ...

    def heard(self, kind: str, key: tuple[str, ...]) -> None:
        """Something was said of a queue, a worker or an emitter (`kind`: queues, workers or emitters)."""
        ...

    def forgotten(self, series: LiveSeries) -> None: ...

    def at_tick(self, clock_us: int, watermark_us: int) -> None:
        """A tick came, whether the windows move or not; `clock_us` is the newest clock told. Only on partition 0: every tick is on all."""
        ...

    def at_second(self, second: int, offset: int, changed: Iterable[LiveSeries]) -> None:
        """The windows end at `second` now; the tick that brought them there is at `offset`."""
        ...
