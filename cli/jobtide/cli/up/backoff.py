"""When to start a crashed process again. Pure: the times are arguments.

The first restart is at once (a worker that lost its Kafka session exits on purpose); one that keeps crashing waits
longer each time; one that ran well for a minute begins afresh.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 0.2
LONGEST_S = 10.0
STEADY_S = 60.0


@dataclass
class Backoff:
    """The delay of one process, in seconds."""

    _delay_s: float = 0.0
    crashes: int = 0

    def after_crash(self, ran_s: float) -> float:
        """Seconds to wait, given how long it ran.

        >>> backoff = Backoff()
        >>> [backoff.after_crash(1) for _ in range(4)], backoff.after_crash(61)
        ([0.2, 0.4, 0.8, 1.6], 0.2)
        """
        if ran_s >= STEADY_S:
            self._delay_s, self.crashes = 0.0, 0
        self.crashes += 1
        self._delay_s = min(LONGEST_S, max(FIRST_S, 2 * self._delay_s))
        return self._delay_s
