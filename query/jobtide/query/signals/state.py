"""What signals remember of a queue between two looks: the last advice and its history, forecasts and how they turned out. Plain data.

It is kept in the hot state, so that another API process goes on from it. All times are µs of event time.
"""

from __future__ import annotations

import msgspec


class Advice(msgspec.Struct, array_like=True):
    """At `at_us` so many workers were advised (`workers` were there), because of `reason`."""

    at_us: int
    workers: int
    desired: int
    reason: str


class Forecast(msgspec.Struct, array_like=True):
    """Made at `made_us` of `waiting` jobs: gone at `expected_us`, nine times in ten between the two others. None: not in sight."""

    made_us: int
    waiting: int
    earliest_us: int
    expected_us: int
    latest_us: int | None


class Score(msgspec.Struct, array_like=True):
    """A forecast and when the backlog was really gone."""

    forecast: Forecast
    cleared_us: int

    @property
    def inside(self) -> bool:
        latest_us = self.forecast.latest_us
        return self.forecast.earliest_us <= self.cleared_us and (latest_us is None or self.cleared_us <= latest_us)

    @property
    def error(self) -> float:
        """How far off the expected time was, as a share of how long it really took."""
        took_us = max(1, self.cleared_us - self.forecast.made_us)
        return abs(self.forecast.expected_us - self.cleared_us) / took_us


class QueueSignals(msgspec.Struct, omit_defaults=True):
    """The memory of one queue."""

    tenant: str
    environment: str
    system: str
    queue: str
    at_us: int = 0
    desired: int | None = None
    delta: int = 0
    reason: str = ""
    advised_us: int = 0  # when the advice last changed: the cooldown runs from here
    history: list[Advice] = []
    forecast: Forecast | None = None  # the newest
    growing: bool = False  # there is a backlog and it does not shrink
    open: list[Forecast] = []  # not scored yet
    scores: list[Score] = []
    scored: int = 0
    inside: int = 0


def nothing_yet(key: tuple[str, ...]) -> QueueSignals:
    """The memory of a queue that was never looked at: (tenant, environment, system, queue)."""
    tenant, environment, system, queue = key
    return QueueSignals(tenant, environment, system, queue)
