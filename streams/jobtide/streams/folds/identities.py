"""Event ids seen lately: how events without sequence numbers (short form, curl) are recognised when they come twice.

Kept for 65 minutes of append time. Not here: numbered events (`sequences`).
"""

from __future__ import annotations

from collections import deque

from jobtide.streams.folds.records import encode

KEPT_US = 65 * 60 * 1_000_000


class Identities:
    """The ids of one source partition, saved in one chunk per checkpoint."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._unsaved: list[str] = []
        self._chunks: deque[tuple[int, int, list[str]]] = deque()  # number, newest append time, ids
        self._next_chunk = 0

    def first_time(self, event_id: str, now_us: int) -> bool:
        """Note an id; True if it did not come in the last 65 minutes."""
        seen_us = self._seen.get(event_id)
        if seen_us is not None and now_us - seen_us <= KEPT_US:
            return False
        self._seen[event_id] = now_us
        self._unsaved.append(event_id)
        return True

    def save(self, now_us: int) -> list[tuple[bytes, bytes | None]]:
        out: list[tuple[bytes, bytes | None]] = []
        if self._unsaved:
            ids, self._unsaved = self._unsaved, []
            newest_us = max(self._seen[i] for i in ids)
            out.append((b"i%016x" % self._next_chunk, encode((newest_us, [(i, self._seen[i]) for i in ids]))))
            self._chunks.append((self._next_chunk, newest_us, ids))
            self._next_chunk += 1
        while self._chunks and now_us - self._chunks[0][1] > KEPT_US:
            number, newest_us, ids = self._chunks.popleft()
            out.append((b"i%016x" % number, None))
            for event_id in ids:
                if self._seen.get(event_id, now_us) <= newest_us:
                    self._seen.pop(event_id, None)
        return out

    def load(self, number: int, newest_us: int, ids: list[tuple[str, int]]) -> None:
        self._next_chunk = max(self._next_chunk, number + 1)
        self._seen.update(ids)
        self._chunks.append((number, newest_us, [event_id for event_id, _ in ids]))

    def __len__(self) -> int:
        return len(self._seen)
