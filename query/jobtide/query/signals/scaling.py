"""How many workers a queue wants: more, fewer or as many as there are, always with the reason. A signal; it starts nothing. Pure.

After an advice changes, it stands for COOLDOWN_US: new workers need time to show what they change.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from jobtide.query.signals.facts import WINDOW, Flow, QueueFacts
from jobtide.query.signals.state import Advice, QueueSignals
from msgspec import structs

COOLDOWN_US: Final = 300_000_000
BACKLOG: Final = 100  # jobs waiting above which two workers are wanted at once
SHORT: Final = 10  # jobs waiting below which one may go
BEHIND: Final = 1.5  # incoming beside processed
SATURATED: Final = 0.85
UNUSED: Final = 0.30
WAIT_MS: Final = 60_000
LEAST_SAMPLES: Final = 20
HISTORY: Final = 50


class Why(StrEnum):
    NO_WORKERS = "jobs wait and no worker is alive"
    BACKLOG = "more than 100 jobs wait"
    SATURATED = "workers are busier than 85 %"
    BEHIND = "more than 1.5 times as many jobs come as are processed"
    WAITING = "one job in twenty waits longer than a minute"
    UNUSED = "fewer than 10 jobs wait and workers are busy for less than 30 %"
    STEADY = "nothing asks for a change"


def wanted(facts: QueueFacts) -> tuple[int, Why]:
    """How many workers more (or fewer), and why: the strongest reason that holds."""
    used, flow = facts.utilisation, facts.flows.get(WINDOW, Flow())
    if not facts.workers:
        return (1, Why.NO_WORKERS) if facts.waiting else (0, Why.STEADY)
    behind = flow.enqueued >= LEAST_SAMPLES and facts.incoming_per_s > BEHIND * facts.processed_per_s
    if facts.waiting > BACKLOG:
        return 2, Why.BACKLOG
    if used is not None and used > SATURATED:
        return 1, Why.SATURATED
    if behind:
        return 1, Why.BEHIND
    if facts.wait_p95_ms is not None and facts.waits >= LEAST_SAMPLES and facts.wait_p95_ms > WAIT_MS:
        return 1, Why.WAITING
    if facts.waiting < SHORT and used is not None and used < UNUSED and facts.workers > 1:
        return -1, Why.UNUSED
    return 0, Why.STEADY


def advise(known: QueueSignals, facts: QueueFacts) -> QueueSignals:
    """The memory after this look."""
    if known.delta and facts.at_us < known.advised_us + COOLDOWN_US:
        return known
    delta, why = wanted(facts)
    desired = facts.workers + delta
    changed = delta != known.delta or (delta and desired != known.desired)
    if not changed:
        return known if known.desired == desired and known.reason == why else structs.replace(known, desired=desired, reason=str(why))
    advice = Advice(facts.at_us, facts.workers, desired, str(why))
    return structs.replace(
        known, desired=desired, delta=delta, reason=str(why), advised_us=facts.at_us, history=[*known.history[-HISTORY + 1 :], advice]
    )
