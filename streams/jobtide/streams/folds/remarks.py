"""What is remarked of a few attempts besides what they count for: an expected run time, a second start, their own heartbeats, that their
worker does not name them any more; and of workers that they are silent. Pure.

Only triage asks. None of it is in an attempt's facts, so it costs nothing where it is not used. All of it is saved with the checkpoint, so that
a restart does not have to wait for silence again. Remarks of ended attempts go at the next `prune`.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec
from jobtide.streams.folds.memory import Key
from jobtide.streams.folds.records import encode

Worker = tuple[str, str, str, str]  # tenant, environment, system, worker_id
LIMIT = 100_000  # remarked attempts of one source partition; more are not remarked, and counted


class Remark(msgspec.Struct, array_like=True):
    """`starts`: (worker, start in µs), oldest first, once a second worker has started the attempt. `beat_us`, `gap_us`: its own heartbeats.
    `missing_us`: the first complete heartbeat of its worker that did not name it.
    """

    expected_us: int | None = None
    starts: list[tuple[str, int]] = []
    beat_us: int = 0
    gap_us: int = 0
    missing_us: int = 0


class Remarks:
    """All remarks of one source partition."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.by_key: dict[Key, Remark] = {}
        self.silent: dict[Worker, int] = {}
        self.refused = 0  # attempts not remarked at the limit
        self._limit = limit
        self._unsaved: dict[Key, None] = {}
        self._saved: set[Key] = set()
        self._silent_unsaved = False

    def expect(self, key: Key, expected_ms: float) -> None:
        """Somebody said how long the attempt should run. The longest of several wins, in whatever order they come."""
        expected_us = round(expected_ms * 1000)
        remark = self._remark(key)
        if remark is not None and (remark.expected_us is None or expected_us > remark.expected_us):
            remark.expected_us = expected_us
            self._unsaved[key] = None

    def second_start(self, key: Key, first: tuple[str, int], second: tuple[str, int]) -> bool:
        """An attempt that runs was started by another worker, too. True if that worker is new to it."""
        remark = self._remark(key)
        if remark is None:
            return False
        known = dict(remark.starts or [first])
        new = second[0] not in known
        known[second[0]] = min(second[1], known.get(*second))
        starts = sorted(known.items(), key=lambda start: (start[1], start[0]))
        if len(starts) > 1 and starts != remark.starts:
            remark.starts = starts[:8]
            self._unsaved[key] = None
        return new

    def beat(self, key: Key, at_us: int) -> None:
        """The job itself says that it lives."""
        remark = self._remark(key)
        if remark is not None and at_us > remark.beat_us:
            if remark.beat_us:
                remark.gap_us = max(at_us - remark.beat_us, remark.gap_us // 2)
            remark.beat_us = at_us
            self._unsaved[key] = None

    def missing(self, key: Key, at_us: int) -> int:
        """A complete heartbeat at `at_us` does not name the attempt. Returns when the first one did not."""
        remark = self._remark(key)
        if remark is None:
            return at_us
        if not remark.missing_us:
            remark.missing_us = at_us
            self._unsaved[key] = None
        return remark.missing_us

    def present(self, key: Key, remark: Remark) -> None:
        """It is named again."""
        remark.missing_us = 0
        self._unsaved[key] = None

    def tell_silent(self, silent: dict[Worker, int]) -> None:
        """The workers that are silent now, with their last heartbeat in µs."""
        if silent != self.silent:
            self.silent = silent
            self._silent_unsaved = True

    def _remark(self, key: Key) -> Remark | None:
        found = self.by_key.get(key)
        if found is None:
            if len(self.by_key) >= self._limit:
                self.refused += 1
                return None
            found = self.by_key[key] = Remark()
        return found

    @property
    def unsaved(self) -> int:
        return len(self._unsaved) + self._silent_unsaved

    def prune(self, open_attempts: Container[Key]) -> None:
        """Drop the remarks of attempts that are over."""
        for key in [key for key in self.by_key if key not in open_attempts]:
            del self.by_key[key]
            self._unsaved[key] = None

    def save(self, open_attempts: Container[Key]) -> list[tuple[bytes, bytes | None]]:
        """Checkpoint records of what changed since the last call."""
        out: list[tuple[bytes, bytes | None]] = []
        unsaved, self._unsaved = self._unsaved, {}
        for key in unsaved:
            remark = self.by_key.get(key)
            if remark is not None and key in open_attempts:
                self._saved.add(key)
                out.append((b"r" + key.encode(), encode(remark)))
            elif key in self._saved:
                self._saved.discard(key)
                out.append((b"r" + key.encode(), None))
        if self._silent_unsaved:
            self._silent_unsaved = False
            out.append((b"s", encode(list(self.silent.items()))))
        return out

    def load_silent(self, silent: list[tuple[Worker, int]]) -> None:
        self.silent = dict(silent)

    def load(self, text: bytes, remark: Remark) -> None:
        key = text.decode()
        self.by_key[key] = remark
        self._saved.add(key)
