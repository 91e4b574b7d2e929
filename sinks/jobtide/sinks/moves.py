"""Which minutes a batch changes. Pure.

An attempt counts in the minutes of its transitions, and new facts may move it: an implied start becomes an explicit one, a failure turns
out finished, an earlier duplicate comes in. The minute it leaves must be recomputed as well as the one it enters, so what was known
before is needed. It comes from `Remembered`, a bounded memory of the attempts last written; for an attempt that is not in it and not
provably new, the caller looks it up in the executions before it writes (`unknown`, then `changed`).

New is what was enqueued at or after the moment since which the memory is complete: anything of it that had been written would be there.
That compares a worker's clock with the broker's; SKEW_US is allowed for. A worker's clock that is further ahead can only leave a stale
minute behind if the attempt also moves, and the hourly sweep (`rollups`) repairs that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from jobtide.sinks.executions import Execution, Key
from jobtide.streams.folds.attempts import AttemptFacts, contributions, join, least

SKEW_US = 5_000_000
EVERYTHING = -1  # complete since before the first append: nothing has been written yet
MINUTE_US = 60_000_000
Minute = tuple[str, int]  # tenant, minute as seconds since the epoch

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AttemptFacts).decode


class Remembered:
    """The facts of the attempts of one partition that were last written, in two generations of at most `limit` each.

    When the young generation is full the old one is dropped whole: no bookkeeping per touch. Keys are 64-bit hashes, facts packed:
    about 200 bytes an attempt. A hash collision would cost at most one stale minute until the sweep.
    """

    def __init__(self, limit: int, complete_since_us: int | None = None) -> None:
        """`complete_since_us`: append time since which every written attempt is here; None = from the first batch on."""
        self.limit = limit
        self.complete_since_us = complete_since_us
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}
        self._aged_us: int | None = None  # append time at which the old generation was young last

    def begin(self, append_us: int) -> None:
        """Call once per batch, before anything: `append_us` is the oldest append time in it."""
        if self.complete_since_us is None:
            self.complete_since_us = append_us

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: Key) -> AttemptFacts | None:
        hashed = hash(key)
        packed = self._young.get(hashed) or self._old.get(hashed)
        return None if packed is None else _decode(packed)

    def put(self, key: Key, facts: AttemptFacts) -> None:
        worker_id, facts.worker_id = facts.worker_id, ""  # decides nothing that is counted
        self._young[hash(key)] = _encode(facts)
        facts.worker_id = worker_id

    def age(self, append_us: int) -> None:
        """Call once per batch, after its attempts were put: `append_us` is the newest append time in it."""
        if len(self._young) >= self.limit:
            if self._aged_us is not None:
                self.complete_since_us = self._aged_us
            self._old, self._young = self._young, {}
            self._aged_us = append_us


def unknown(memory: Remembered, attempts: Mapping[Key, Execution]) -> list[Key]:
    """The attempts that may have been written before and are no longer remembered."""
    since_us = memory.complete_since_us
    if since_us is None:
        return list(attempts)
    if since_us == EVERYTHING:
        return []
    return [
        key for key, execution in attempts.items() if not _is_new(execution, since_us + SKEW_US) and memory.get(key) is None
    ]


def _is_new(execution: Execution, since_us: int) -> bool:
    """True if nothing of the attempt can have been written before `since_us`."""
    enqueued_us = least(execution.facts.enqueued_us, execution.facts.queued_us)
    # A claimed enqueue time after the event's own append comes from a clock that proves nothing.
    return enqueued_us is not None and since_us <= enqueued_us <= execution.append_us


def changed(
    memory: Remembered,
    attempts: Mapping[Key, Execution],
    stored: Mapping[Key, AttemptFacts],
) -> set[Minute]:
    """The minutes whose numbers these attempts change, and remembers what is known of them now. `stored`: what `unknown` led to."""
    minutes: set[Minute] = set()
    for key, execution in attempts.items():
        before = memory.get(key) or stored.get(key)
        after = execution.facts if before is None else join(before, execution.facts)
        minutes.update((key[0], minute) for minute in _moved(before, after))
        memory.put(key, after)
    return minutes


def _moved(before: AttemptFacts | None, after: AttemptFacts) -> Iterator[int]:
    counted = contributions(after)
    if before is None:
        moved = set(counted)
    elif before.job_class != after.job_class:  # to another series, with everything
        moved = {*counted, *contributions(before)}
    else:
        moved = set(counted) ^ set(contributions(before))
    for contribution in moved:
        yield contribution.time_us // MINUTE_US * 60
