"""What becomes of a delivery after an attempt: done, again later, dead, or the endpoint is not to be used any more. Pure.

Chance is an argument, so that a retry can be told in advance.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

S, M, H = 1000, 60_000, 3_600_000
DELAYS_MS = (5 * S, 30 * S, 2 * M, 5 * M, 15 * M, H, 3 * H, 6 * H, 12 * H, 24 * H)  # after attempt 1, 2, …
LONGEST_MS = 24 * H
JITTER = 0.2
OPENS_AFTER = 5  # failures in a row
OPEN_MS = 30 * S
LONGEST_OPEN_MS = 5 * M


class Outcome(StrEnum):
    DELIVERED = "delivered"
    AGAIN = "again"
    DEAD = "dead"  # no tries left: to be redelivered by hand
    GONE = "gone"  # the receiver said 410: its endpoint is disabled


class Decision(NamedTuple):
    outcome: Outcome
    wait_ms: int
    reason: str


def decide(status: int | None, error: str, attempt: int, retry_after: str | None, now_ms: int, chance: float) -> Decision:
    """`status` None: there was no answer, `error` says why. `attempt` is the number of the one just made; `chance` from 0 to 1."""
    if status is not None and 200 <= status < 300:
        return Decision(Outcome.DELIVERED, 0, f"HTTP {status}")
    reason = error or f"HTTP {status}"
    if status == 410:
        return Decision(Outcome.GONE, 0, reason)
    if attempt > len(DELAYS_MS):
        return Decision(Outcome.DEAD, 0, reason)
    wait_ms = round(DELAYS_MS[attempt - 1] * (1 + JITTER * (2 * chance - 1)))
    asked_ms = asked(retry_after, now_ms) if status in (429, 503) or (status is not None and 300 <= status < 400) else 0
    return Decision(Outcome.AGAIN, max(wait_ms, min(asked_ms, LONGEST_MS)), reason)


def asked(retry_after: str | None, now_ms: int) -> int:
    """ms that a Retry-After header asks for: seconds, or a date.

    >>> asked("120", 0), asked("Thu, 01 Jan 1970 00:00:10 GMT", 4000), asked("soon", 0), asked(None, 0)
    (120000, 6000, 0, 0)
    """
    if not retry_after:
        return 0
    if retry_after.strip().isdecimal():
        return min(int(retry_after.strip()[:9]) * 1000, LONGEST_MS)
    try:
        return max(0, round(parsedate_to_datetime(retry_after).timestamp() * 1000) - now_ms)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0


class Breaker:
    """Per endpoint: after several failures in a row nothing is sent for a while, then one delivery tries."""

    def __init__(self) -> None:
        self.failures = 0
        self._open_until_ms = 0
        self._paused_until_ms = 0
        self._probing = False

    def lets(self, now_ms: int) -> bool:
        """Whether a delivery may go out now; while half open only one may."""
        if now_ms < self._paused_until_ms:
            return False
        if self.failures < OPENS_AFTER:
            return True
        if now_ms < self._open_until_ms or self._probing:
            return False
        self._probing = True
        return True

    def note(self, good: bool, now_ms: int) -> None:
        self._probing = False
        self.failures = 0 if good else self.failures + 1
        if self.failures >= OPENS_AFTER:
            over = min(self.failures - OPENS_AFTER, 10)
            self._open_until_ms = now_ms + min(OPEN_MS << over, LONGEST_OPEN_MS)

    def pause(self, until_ms: int) -> None:
        """The receiver asked for time (Retry-After): its other letters wait, too."""
        self._paused_until_ms = max(self._paused_until_ms, until_ms)

    @property
    def state(self) -> str:
        return "open" if self.failures >= OPENS_AFTER else "closed"

    def opens_at_ms(self) -> int:
        return self._open_until_ms if self.failures >= OPENS_AFTER else 0
