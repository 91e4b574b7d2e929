"""Rows of `sql/slow_*.sql` to the facts that `why_slow` judges. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobtide.query.measures import Totals
from jobtide.query.ranges import MINUTE_US, Range
from jobtide.query.selection import Key
from jobtide.query.why_slow import Facts, Name, Step

Row = tuple[Any, ...]

STEPS = 30  # about so many in the range, of whole minutes
BEFORE = 3  # times the length of the range is looked at before it
HEARD_US = 60_000_000  # a worker is taken to be there so long around its heartbeats


@dataclass(frozen=True, slots=True)
class Window:
    """The range and the time before it, in equal steps."""

    base_from_us: int
    from_us: int
    to_us: int
    step_us: int

    @property
    def before(self) -> int:
        """How many steps are before the range."""
        return (self.from_us - self.base_from_us) // self.step_us

    @property
    def count(self) -> int:
        return -(-(self.to_us - self.base_from_us) // self.step_us)

    def of(self, step: int) -> tuple[int, int]:
        start_us = self.base_from_us + step * self.step_us
        return start_us, min(start_us + self.step_us, self.to_us)


def window(range_: Range) -> Window:
    length_us = range_.to_us - range_.from_us
    step_us = max(1, -(-length_us // (STEPS * MINUTE_US))) * MINUTE_US
    steps = -(-length_us // step_us)
    return Window(range_.from_us - BEFORE * steps * step_us, range_.from_us, range_.to_us, step_us)


def steps(w: Window, lines: Sequence[Row], workers: Sequence[Row], slots: Sequence[Row], pauses: Sequence[Row]) -> list[Step]:
    """All steps, from the rows of the four questions."""
    by_step = {row[0]: row[1:] for row in lines}
    arrived, _, gone, *_ = by_step.get(-1, (0, 0, 0, 0, 0))
    in_line = max(0, arrived - gone)
    held: dict[int, dict[Name, float]] = defaultdict(dict)
    for step, queue, job_class, busy_us, _ in slots:
        start_us, end_us = w.of(step)
        held[step][queue, job_class] = busy_us / max(end_us - start_us, 1)
    out = []
    for step in range(w.count):
        arrived, again, gone, *_ = by_step.get(step, (0, 0, 0, 0, 0))
        after = max(0, in_line + arrived - gone)
        out.append(
            Step(arrived, again, (in_line + after) / 2, gone, _paused(w.of(step), pauses), _capacity(w, step, workers), held.get(step, {}))
        )
        in_line = after
    return out


def _paused(ends: tuple[int, int], pauses: Sequence[Row]) -> float:
    """The part of a step in which the last word was that the queue is paused."""
    start_us, end_us = ends
    total, paused, since = 0, False, start_us
    for at_us, now in pauses:
        at = min(max(at_us, start_us), end_us)
        total += (at - since) if paused else 0
        paused, since = bool(now), at
    total += (end_us - since) if paused else 0
    return total / max(end_us - start_us, 1)


def _capacity(w: Window, step: int, workers: Sequence[Row]) -> float | None:
    """Slots of the workers that were there, for the part of the step in which they were."""
    if not workers:
        return None
    start_us, end_us = w.of(step)
    total = 0.0
    for _, first_us, last_us, slots, gone, *_ in workers:
        until_us = last_us if gone else last_us + HEARD_US
        there_us = min(until_us, end_us) - max(first_us - HEARD_US, start_us)
        total += slots * max(0, there_us) / max(end_us - start_us, 1)
    return total


def runs(before: Mapping[Key, Totals], now: Mapping[Key, Totals]) -> dict[Name, tuple[Any, Any]]:
    """Run times by queue and class: of successes, or of all where there are none."""
    nothing = Totals()
    out = {}
    for key in before.keys() | now.keys():
        sides = before.get(key, nothing), now.get(key, nothing)
        out[key[3], key[4]] = (sides[0].run, sides[1].run)
    return out


def facts(
    w: Window, queue: Key, all_steps: Sequence[Step], before: Mapping[Key, Totals], now: Mapping[Key, Totals], complete_until_us: int | None,
    now_us: int, ratio: float | None,
) -> Facts:  # fmt: skip
    """`before` and `now`: totals of all classes of the queue's system. `ratio`: how much of the stream arrived."""
    mine = [Totals(), Totals()]
    for side, found in zip(mine, (before, now), strict=True):
        for key, totals in found.items():
            if key[:4] == queue:
                side.add(totals)
    return Facts(
        queue[3], all_steps[: w.before], all_steps[w.before :], mine[0].wait, mine[1].wait, runs(before, now), complete_until_us,
        min(w.to_us, now_us), ratio,
    )  # fmt: skip
