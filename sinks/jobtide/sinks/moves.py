"""What a batch changes: which minutes, and what is known of its attempts altogether. Pure.

An attempt counts in the minutes of its transitions, and new facts may move it: an implied start becomes an explicit one, a failure turns
out finished, an earlier duplicate comes in. The minute it leaves must be recomputed as well as the one it enters, so what was known
before is needed. It comes from `Remembered`, a bounded memory of the attempts last written; an attempt that is not in it but was
written once (`known`) is looked up by the caller: first `unknown`, then `changed`.

An attempt so old that even `known` has forgotten it is new if it was enqueued later than that; otherwise it is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from jobtide.sinks.executions import Execution, Key, merge
from jobtide.sinks.known import EVERYTHING, Known, hash_of
from jobtide.streams.folds.attempts import AttemptFacts, contributions, least, start_us

SKEW_US = 5_000_000  # how far a worker's clock may be ahead of the broker's in that comparison
MINUTE_US = 60_000_000
Minute = tuple[str, int]  # tenant, minute as seconds since the epoch

_encode = msgspec.msgpack.Encoder(enc_hook=lambda facts: facts.record()).encode
_decode = msgspec.msgpack.Decoder(Execution, dec_hook=lambda _, record: AttemptFacts(*record)).decode


class Remembered:
    """What is known of the attempts of one partition that were last written, in two generations of at most `limit` each.

    When the young generation is full the old one is dropped whole: no bookkeeping per touch. Keys are 64-bit hashes, values packed: about
    250 bytes an attempt. Errors and workers are left out: they decide nothing that is counted.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._young: dict[int, bytes] = {}
        self._old: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, hashed: int) -> bool:
        return hashed in self._young or hashed in self._old

    def get(self, hashed: int) -> Execution | None:
        packed = self._young.get(hashed) or self._old.get(hashed)
        return None if packed is None else _decode(packed)

    def put(self, hashed: int, execution: Execution) -> None:
        facts = execution.facts
        worker_id, facts.worker_id = facts.worker_id, ""
        kept = Execution(facts, execution.first_us, execution.last_us, 0, batch_id=execution.batch_id, failed=execution.failed)
        self._young[hashed] = _encode(kept)
        facts.worker_id = worker_id

    def age(self) -> None:
        """Call between batches."""
        if len(self._young) >= self.limit:
            self._old, self._young = self._young, {}


def unknown(memory: Remembered, known: Known, attempts: Mapping[Key, Execution]) -> list[Key]:
    """The attempts of which something was, or may have been, written that is not remembered. Notes the hash of each."""
    since_us = known.complete_since_us
    found = []
    for key, execution in attempts.items():
        hashed = execution.hashed = hash_of(key)
        if hashed not in memory and (hashed in known or (since_us != EVERYTHING and not _is_new(execution, since_us + SKEW_US))):
            found.append(key)
    return found


def _is_new(execution: Execution, since_us: int) -> bool:
    """True if the attempt was enqueued at or after `since_us`."""
    enqueued_us = least(execution.facts.enqueued_us, execution.facts.queued_us)
    # A claimed enqueue time after the event's own append comes from a clock that proves nothing.
    return enqueued_us is not None and since_us <= enqueued_us <= execution.append_us


def changed(
    memory: Remembered, known: Known, attempts: Mapping[Key, Execution], stored: Mapping[Key, Execution]
) -> tuple[set[Minute], list[tuple[Key, Execution]]]:
    """The minutes whose numbers these attempts change, and all that is known of each attempt now. From here on they count as written.
    `stored`: what looking up `unknown` led to."""
    minutes: dict[str, set[int]] = {}  # by tenant
    whole: list[tuple[Key, Execution]] = []
    for key, execution in attempts.items():
        hashed = execution.hashed
        before, after = memory.get(hashed) or stored.get(key), execution
        if before is not None:
            after = merge(before, execution)
        moved = _minutes(after.facts) if before is None else _moved(before.facts, after.facts)
        if key[0] in minutes:
            minutes[key[0]] |= moved
        else:
            minutes[key[0]] = moved
        whole.append((key, after))
        memory.put(hashed, after)
        known.add(hashed)
    return {(tenant, minute) for tenant, moved in minutes.items() for minute in moved}, whole


def _minutes(facts: AttemptFacts) -> set[int]:
    """Where a new attempt counts: the minutes of its `contributions`, for a third of what those cost."""
    times = (facts.enqueued_us, start_us(facts), facts.outcome_us, facts.dead_us, facts.retried_us)
    return {time_us // MINUTE_US * 60 for time_us in times if time_us is not None}


def _moved(before: AttemptFacts, after: AttemptFacts) -> set[int]:
    # In the case of another class: to another series, with everything.
    moved = _counted(after) ^ _counted(before) if before.job_class == after.job_class else _counted(after) | _counted(before)
    return {minute * 60 for minute, _, _ in moved}


def _counted(facts: AttemptFacts) -> set[tuple[int, int, int | None]]:
    return {(c.time_us // MINUTE_US, c.field, c.sample_us) for c in contributions(facts)}
