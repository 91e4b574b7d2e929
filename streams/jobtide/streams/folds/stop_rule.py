"""When a source partition is paused: most of what comes is refused, as after a bad deploy of an emitter. Pure.

Refused events are never lost, pausing or not: they wait in job.events or lie in the dead letter topic. The pause gives people time before a
flood of letters, and grows while it stays that bad. A few bad events among good ones never pause anything.
"""

from __future__ import annotations

JUDGED_AT_ONCE = 1_000  # events
SHARE = 0.5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class StopRule:
    """The recent verdicts of one source partition."""

    def __init__(self) -> None:
        self._judged = self._refused = self._strikes = 0

    def note(self, judged: int, refused: int) -> float:
        """Seconds to pause after `judged` more events of which `refused` were refused; 0 to go on.

        >>> rule = StopRule()
        >>> rule.note(1000, 10), rule.note(1000, 900), rule.note(1000, 1000), rule.note(1000, 0)
        (0.0, 1.0, 2.0, 0.0)
        """
        self._judged += judged
        self._refused += refused
        if self._judged < JUDGED_AT_ONCE:
            return 0.0
        bad = self._refused >= SHARE * self._judged
        self._judged = self._refused = 0
        if not bad:
            self._strikes = 0
            return 0.0
        self._strikes += 1
        return float(min(FIRST_PAUSE_S * 2 ** (self._strikes - 1), LONGEST_PAUSE_S))
