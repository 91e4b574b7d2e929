"""Which records of a checkpoint log count: those of the owner that had claimed the partition last when they were written. Pure.

A worker that was paused past its session may have been replaced and still write. Kafka does not stop it, so the log itself does: an owner
first writes a claim, then reads up to that claim, then writes. Whoever reads later takes a record only if its writer's claim was the newest
before it. Claims have keys of their own and are never compacted away.

Compaction keeps the newest record of a key, and that may be one that does not count. Those keys are reported (`overwritten`), and the next
owner writes them again before the topic's compaction lag has passed.
"""

from __future__ import annotations

CLAIM_PREFIX = b"\x00claim "


class Ownership:
    """Feed it the log in order; it says which records count."""

    def __init__(self) -> None:
        self._current: bytes | None = None
        self.overwritten: set[bytes] = set()

    def counts(self, key: bytes, owner: bytes) -> bool:
        """True if the record is state of the partition; claims and writes of former owners are not."""
        if key.startswith(CLAIM_PREFIX):
            self._current = owner
            return False
        if owner == self._current:
            self.overwritten.discard(key)
            return True
        self.overwritten.add(key)
        return False
