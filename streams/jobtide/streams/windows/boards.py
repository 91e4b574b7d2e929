"""What is known of many named things, each told again when it changed and forgotten when it went quiet.

The form that workers, queues and ledgers share; how each is put together is theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

import msgspec
from jobtide.streams.snapshots import SEPARATOR, HotWrite, SnapshotKind

encode = msgspec.json.Encoder().encode

Entry = TypeVar("Entry")
Key = tuple[str, ...]  # the tenant, then the parts of the hot state's field


class Board(ABC, Generic[Entry]):
    """Entries by key, and which of them the hot state does not have yet."""

    kind: ClassVar[SnapshotKind]
    kept_us: ClassVar[int]  # quiet for longer: forgotten

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._changed: dict[Key, None] = {}

    @abstractmethod
    def snapshot(self, key: Key, entry: Entry) -> msgspec.Struct:
        """The entry as the hot state shows it."""

    @abstractmethod
    def heard_us(self, entry: Entry) -> int:
        """When the entry was last heard of."""

    def holds(self, key: Key) -> bool:
        return key in self._entries or key in self._changed

    def keys(self) -> Iterable[Key]:
        return self._entries.keys()

    def touch(self, key: Key) -> None:
        self._changed[key] = None

    def touch_all(self) -> None:
        self._changed.update(dict.fromkeys(self._entries))

    def forget_before(self, now_us: int) -> None:
        """Drop what has been quiet for too long at watermark `now_us`."""
        for key in [key for key, entry in self._entries.items() if now_us - self.heard_us(entry) > self.kept_us]:
            self.forget(key)

    def forget(self, key: Key) -> None:
        del self._entries[key]
        self._changed[key] = None

    def take_changes(self, version: int) -> list[HotWrite]:
        """What changed since the last call; None for what was forgotten."""
        changed, self._changed = self._changed, {}
        out = []
        for key in changed:
            entry = self._entries.get(key)
            value = None if entry is None else encode(self.snapshot(key, entry))
            out.append(HotWrite(self.kind, key[0], SEPARATOR.join(key[1:]), version, value))
        return out
