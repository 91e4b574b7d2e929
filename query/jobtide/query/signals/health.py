"""Is a queue healthy: thresholds for waiting time, size and failures, with every reason that holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from jobtide.query.signals.facts import QueueFacts

Status = Literal["healthy", "warning", "critical"]
What = Literal["size", "wait_p95_ms", "failure_rate", "lost"]
RANKS: Final[tuple[Status, ...]] = ("healthy", "warning", "critical")
WAIT_MS: Final = (60_000, 300_000)  # from this on a warning, from that on critical
SIZE: Final = (1_000, 10_000)
FAILURES: Final = (0.05, 0.25)
LEAST_SAMPLES: Final = 20  # three failures of four are no rate


@dataclass(frozen=True, slots=True)
class Reason:
    """`what` is over a threshold."""

    what: What
    status: Status
    value: float
    threshold: float


def reasons(facts: QueueFacts) -> list[Reason]:
    """Everything that is not well, the worst first."""
    found = [_over("size", float(facts.waiting), *map(float, SIZE))]
    if facts.wait_p95_ms is not None and facts.waits >= LEAST_SAMPLES:
        found.append(_over("wait_p95_ms", facts.wait_p95_ms, *map(float, WAIT_MS)))
    if facts.tried >= LEAST_SAMPLES:
        found.append(_over("failure_rate", facts.failed / facts.tried, *FAILURES))
    if facts.lost:
        found.append(Reason("lost", "warning", float(facts.lost), 1.0))
    told = [reason for reason in found if reason is not None]
    return sorted(told, key=lambda reason: -RANKS.index(reason.status))


def _over(what: What, value: float, warning: float, critical: float) -> Reason | None:
    if value >= critical:
        return Reason(what, "critical", value, critical)
    return Reason(what, "warning", value, warning) if value >= warning else None


def worst(statuses: Iterable[Status]) -> Status:
    """The gravest of all; healthy if there are none.

    >>> worst(["healthy", "critical", "warning"])
    'critical'
    """
    return max(statuses, key=RANKS.index, default="healthy")
