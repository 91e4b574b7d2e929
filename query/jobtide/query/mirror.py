"""Hot state in memory: the newest snapshot of every series, queue, worker, emitter epoch and partition.

Plain data and a word to whoever listens for changes; no Redis (`follow` fills it), no questions (`live` answers
them). Values are absolute, so that a missed change is healed by the next one and reading everything again is
harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
from jobtide.query.hot_series import Series
from jobtide.query.selection import QUEUE_DEPTH, Key
from jobtide.query.signals.state import QueueSignals
from jobtide.sinks.keys import PROGRESS, parts
from jobtide.streams.snapshots import (
    LedgerSnapshot,
    ProgressSnapshot,
    QueueSnapshot,
    SeriesStuck,
    SnapshotKind,
    WorkerSnapshot,
)

log = logging.getLogger(__name__)

_DECODERS: dict[SnapshotKind, msgspec.json.Decoder[Any]] = {
    "series": msgspec.json.Decoder(Series),
    "queues": msgspec.json.Decoder(QueueSnapshot),
    "workers": msgspec.json.Decoder(WorkerSnapshot),
    "ledger": msgspec.json.Decoder(LedgerSnapshot),
    "stuck": msgspec.json.Decoder(SeriesStuck),
    "signals": msgspec.json.Decoder(QueueSignals),
    "progress": msgspec.json.Decoder(ProgressSnapshot),
}


class Entry(NamedTuple):
    """One value of hot state, JSON; None removes the field."""

    kind: SnapshotKind
    tenant: str
    field: str
    value: bytes | None


class Mirror:
    """Tables by key: a series' five parts (what is stuck in it, too), a queue's four, (tenant, environment, system, worker_id),
    (tenant, partition, epoch), (partition,)."""

    def __init__(self) -> None:
        self.series: dict[Key, Series] = {}
        self.queues: dict[Key, QueueSnapshot] = {}
        self.workers: dict[Key, WorkerSnapshot] = {}
        self.ledger: dict[Key, LedgerSnapshot] = {}
        self.stuck: dict[Key, SeriesStuck] = {}
        self.signals: dict[Key, QueueSignals] = {}
        self.progress: dict[Key, ProgressSnapshot] = {}
        self.unavailable: str | None = (
            "it has not been read yet"  # why nothing should be answered from here; None = fresh
        )
        self.ends_us = 0  # where the newest windows end
        self.shape = 0  # changes whenever a key comes or goes
        self.classes: dict[Key, dict[Key, None]] = {}  # series by queue, in no order
        self.listeners: list[Callable[[SnapshotKind, Key], None]] = []
        self._tables: dict[SnapshotKind, dict[Key, Any]] = {
            "series": self.series,
            "queues": self.queues,
            "workers": self.workers,
            "ledger": self.ledger,
            "stuck": self.stuck,
            "signals": self.signals,
            "progress": self.progress,
        }

    def apply(self, entry: Entry) -> bool:
        """Take one value; False if it changes nothing, or cannot be understood (its writer is of another version:
        logged).
        """
        table = self._tables.get(entry.kind)
        if table is None:
            return False
        key = key_of(entry)
        if entry.value is None:
            return self._remove(entry.kind, key)
        try:
            value = _DECODERS[entry.kind].decode(entry.value)
        except msgspec.DecodeError as error:
            log.warning(
                "hot state not understood", extra={"kind": entry.kind, "field": entry.field, "reason": str(error)}
            )
            return False
        if isinstance(value, Series):
            self.ends_us = max(self.ends_us, *(window.to_us for window in value.windows.values()), 0)
        known = table.get(key)
        if known == value:
            return False
        if known is None:
            self._appeared(entry.kind, key)
        table[key] = value
        self._changed(entry.kind, key)
        return True

    def replace(self, entries: Iterable[Entry]) -> None:
        """Everything that the store holds, at one time: what it does not name is gone."""
        self.ends_us = 0
        seen: set[tuple[SnapshotKind, Key]] = set()
        for entry in entries:
            seen.add((entry.kind, key_of(entry)))
            self.apply(entry)
        for kind, table in self._tables.items():
            for key in [key for key in table if (kind, key) not in seen]:
                self._remove(kind, key)

    def _remove(self, kind: SnapshotKind, key: Key) -> bool:
        if self._tables[kind].pop(key, None) is None:
            return False
        self.shape += 1
        if kind == "series" and (siblings := self.classes.get(key[:QUEUE_DEPTH])) is not None:
            siblings.pop(key, None)
            if not siblings:
                del self.classes[key[:QUEUE_DEPTH]]
        self._changed(kind, key)
        return True

    def _appeared(self, kind: SnapshotKind, key: Key) -> None:
        self.shape += 1
        if kind == "series":
            self.classes.setdefault(key[:QUEUE_DEPTH], {})[key] = None

    def _changed(self, kind: SnapshotKind, key: Key) -> None:
        for listener in self.listeners:
            listener(kind, key)


def key_of(entry: Entry) -> Key:
    """The key of an entry in its table."""
    return parts(entry.field) if entry.kind == PROGRESS else (entry.tenant, *parts(entry.field))
