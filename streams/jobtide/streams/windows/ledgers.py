"""What each source partition received of each emitter epoch, passed on while it is news."""

from __future__ import annotations

from collections.abc import Iterable

from jobtide.streams.folds.records import LedgerRecord
from jobtide.streams.folds.sequences import EXPIRY_US
from jobtide.streams.snapshots import LedgerSnapshot
from jobtide.streams.windows.boards import Board, Key

Line = tuple[int, LedgerRecord]  # with the watermark at which it last changed, µs


class Ledgers(Board[Line]):
    """One line per source partition and epoch; gone when unchanged for as long as stage 1 remembers an epoch."""

    kind = "ledger"
    kept_us = EXPIRY_US

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[tuple[str, str], dict[str, dict[Key, None]]] = {}  # (tenant, system) → source → the lines' keys

    def fold(self, source: int, record: LedgerRecord, now_us: int) -> None:
        """`now_us` is the watermark, 0 if it is not known: then the epoch's last event says how old the line is."""
        key = (record.tenant, str(source), record.epoch)
        known = self._entries.get(key)
        if known is not None and (known[1].version > record.version or known[1] == record):
            return
        if known is not None:
            self._unlist(key, known[1])
        self._entries[key] = (max(now_us, record.last_us), record)
        self._of.setdefault((record.tenant, record.system), {}).setdefault(record.source, {})[key] = None
        self.touch(key)

    def _unlist(self, key: Key, record: LedgerRecord) -> None:
        sources = self._of[record.tenant, record.system]
        del sources[record.source][key]
        if not sources[record.source]:
            del sources[record.source]
        if not sources:
            del self._of[record.tenant, record.system]

    def of(self, key: Key) -> list[LedgerRecord]:
        """The lines of a (tenant, system), or of one source of it."""
        tenant, system, *source = key
        sources = self._of.get((tenant, system), {})
        chosen = [sources.get(source[0], {})] if source else sources.values()
        return [self._entries[each][1] for lines in chosen for each in lines]

    def sources(self) -> Iterable[Key]:
        """The (tenant, system, source) of all lines."""
        return [(*system, source) for system, sources in self._of.items() for source in sources]

    def heard_us(self, entry: Line) -> int:
        return entry[0]

    def forget(self, key: Key) -> None:
        self._unlist(key, self._entries[key][1])
        super().forget(key)

    def snapshot(self, key: Key, entry: Line) -> LedgerSnapshot:
        _, record = entry
        return LedgerSnapshot(
            partition=int(key[1]),
            epoch=record.epoch,
            source=record.source,
            tenant=record.tenant,
            system=record.system,
            received=record.received,
            duplicates=record.duplicates,
            missing=record.missing,
            lost=record.lost,
            last_us=record.last_us,
            clean=record.clean,
            expected=record.expected,
        )
