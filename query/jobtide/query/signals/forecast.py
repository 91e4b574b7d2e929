"""When a backlog is gone: an expected time with an interval, and afterwards how good it was. Pure.

The backlog shrinks by what workers start less what comes. That rate is taken from the last five minutes; the interval spans the rates of
1, 5 and 15 minutes, each with the chance error that so many arrivals and starts have (nine times in ten, if these are independent).
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from jobtide.query.signals.facts import WINDOW, Flow, QueueFacts
from jobtide.query.signals.state import Forecast, QueueSignals, Score
from msgspec import structs

CLEARED: Final = 10  # fewer waiting jobs are no backlog
EVERY_US: Final = 60_000_000
OPEN: Final = 30  # forecasts that wait for their score; the oldest are kept, they look furthest ahead
SCORES: Final = 50
Z: Final = 1.645
LONGEST_US: Final = 7 * 86_400_000_000


def look_ahead(facts: QueueFacts) -> Forecast | None:
    """The forecast for a backlog that shrinks; None if there is none, or it grows."""
    flow = facts.flows.get(WINDOW, Flow())
    if facts.waiting < CLEARED or flow.drain_per_s <= 0:
        return None
    slowest, fastest = flow.drain_per_s, flow.drain_per_s
    for name in ("1m", "5m", "15m"):
        window = facts.flows.get(name, Flow())
        if window.seconds and window.started + window.enqueued:
            chance = Z * sqrt(window.started + window.enqueued) / window.seconds
            slowest, fastest = min(slowest, window.drain_per_s - chance), max(fastest, window.drain_per_s + chance)
    return Forecast(
        made_us=facts.at_us,
        waiting=facts.waiting,
        earliest_us=facts.at_us + _us(facts.waiting, fastest),
        expected_us=facts.at_us + _us(facts.waiting, flow.drain_per_s),
        latest_us=facts.at_us + _us(facts.waiting, slowest) if slowest > 0 else None,
    )


def _us(waiting: int, per_s: float) -> int:
    return min(LONGEST_US, round(waiting / per_s * 1_000_000))


def follow(known: QueueSignals, facts: QueueFacts) -> QueueSignals:
    """The memory after this look: a new forecast, and scores for the old ones once the backlog is gone."""
    if facts.waiting < CLEARED:
        scores = [Score(made, facts.at_us) for made in known.open if made.made_us < facts.at_us]
        if not scores and known.forecast is None and not known.growing:
            return known
        return structs.replace(
            known, forecast=None, growing=False, open=[], scores=[*known.scores, *scores][-SCORES:],
            scored=known.scored + len(scores), inside=known.inside + sum(score.inside for score in scores),
        )  # fmt: skip
    made = look_ahead(facts)
    due = made is not None and (not known.open or made.made_us >= known.open[-1].made_us + EVERY_US)
    waiting_for_score = [*known.open, made] if due and made is not None and len(known.open) < OPEN else known.open
    return structs.replace(known, forecast=made, growing=made is None, open=waiting_for_score)
