"""How a range is cut into the points of a series: aligned steps, at most 1 000 of them.

Pure. Not the values: those are counted by the readers per step and put in their place here, with a value for "nothing
happened".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobtide.query.ranges import SECOND_US, ParamError, Range, ceil, duration_s, floor

MAX_POINTS = 1000
_range = range  # a field of Steps has that name
MINUTE_S = 60
# What `auto` chooses from: steps that people read off an axis, each a multiple of the minute that rollups have.
LADDER_S = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800)


@dataclass(frozen=True, slots=True)
class Steps:
    """Points at from, from + step, … of a range whose ends are multiples of the step since the epoch."""

    range: Range
    step_s: int

    @property
    def starts_us(self) -> Sequence[int]:
        return _range(self.range.from_us, self.range.to_us, self.step_s * SECOND_US)

    @property
    def fine(self) -> bool:
        """True if minute rollups are too coarse for it."""
        return self.step_s % MINUTE_S != 0


def cut(range_: Range, step: str) -> Steps:
    """The steps of a range: `auto`, or a duration like 30s, 5m, 1h. Both ends of the range move outwards to whole
    steps.

    Raises ParamError if `step` is no duration or gives more than MAX_POINTS.
    """
    if step == "auto":
        return _aligned(
            range_, next((s for s in LADDER_S if len(_aligned(range_, s).starts_us) <= MAX_POINTS), LADDER_S[-1])
        )
    step_s = duration_s(step, "step")
    steps = _aligned(range_, step_s)
    points = len(steps.starts_us)
    if points > MAX_POINTS:
        raise ParamError(
            "step",
            f"{step} gives {points} points for this range and {MAX_POINTS} are allowed: use auto or a longer step",
        )
    return steps


def _aligned(range_: Range, step_s: int) -> Steps:
    unit_us = step_s * SECOND_US
    return Steps(Range(floor(range_.from_us, unit_us), ceil(range_.to_us, unit_us), range_.last, range_.window), step_s)


def elapsed_s(start_us: int, step_s: int, until_us: int) -> float:
    """How much of the step that starts at `start_us` has passed at `until_us`: what a rate divides by; 0 if none."""
    return min(max(until_us - start_us, 0) / SECOND_US, step_s)
