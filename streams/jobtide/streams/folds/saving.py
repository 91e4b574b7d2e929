"""A source partition's state as checkpoint records, and back.

`save` gives the touched keys and one record that says up to which offset they are folded; the agent writes them as one Kafka record
batch, which is whole or absent. `load` and `finish` rebuild the fold from whatever keys compaction has left.
"""

from __future__ import annotations

from typing import Final

import msgspec
from jobtide.streams.folds import sequences
from jobtide.streams.folds.counters import Counters
from jobtide.streams.folds.facts import AttemptFacts
from jobtide.streams.folds.memory import Tracked, series_of
from jobtide.streams.folds.notices import Notice
from jobtide.streams.folds.records import Record, encode, parse_pane_key, series_from
from jobtide.streams.folds.remarks import Remark, Worker
from jobtide.streams.folds.source import SourceFold
from jobtide.streams.folds.state import Applied, Chunk, Epoch, Open

APPLIED: Final = b"applied"
MOST_EXPIRED: Final = 20_000  # panes a checkpoint may drop: one Kafka batch has to hold them all


_decode_applied = msgspec.msgpack.Decoder(Applied).decode
_decode_epoch = msgspec.msgpack.Decoder(Epoch).decode
_decode_open = msgspec.msgpack.Decoder(Open).decode
_decode_chunk = msgspec.msgpack.Decoder(Chunk).decode
_decode_notice = msgspec.msgpack.Decoder(Notice).decode
_decode_remark = msgspec.msgpack.Decoder(Remark).decode
_decode_silent = msgspec.msgpack.Decoder(list[tuple[Worker, int]]).decode
_decode_ids = msgspec.msgpack.Decoder(tuple[int, list[tuple[str, int]]]).decode


def save(fold: SourceFold) -> list[Record]:
    """Everything touched since the last call, deletions included, and last the applied offset. Panes that are due must be published before."""
    now_us = fold.append_us
    out: list[Record] = []
    table = fold.lifecycles.table
    watermark_us = fold.watermark_us
    for cell in table.take_unsaved(watermark_us):
        out.append((cell.key, cell.freeze()))
    for key in table.expire(watermark_us, MOST_EXPIRED):
        out.append((key, None))
    for name, epoch in fold.unsaved_epochs.items():
        epoch.last_us = now_us
        out.append((b"e" + name.encode(), encode(epoch)))
    fold.unsaved_epochs.clear()
    for name in [name for name, epoch in fold.epochs.items() if sequences.expired(epoch, now_us)]:
        del fold.epochs[name]
        out.append((b"e" + name.encode(), None))
    out.extend(fold.lifecycles.memory.save(now_us))
    out.extend(fold.lifecycles.remarks.save(fold.lifecycles.memory.open))
    out.extend(fold.identities.save(now_us))
    out.extend(fold.notices.save(now_us))
    applied = Applied(
        fold.version, fold.high_us, now_us, fold.idle_us, watermark_us, fold.published_us, fold.lifecycles.memory.closed_total, fold.counters
    )
    out.append((APPLIED, encode(applied)))
    return out


class Restorer:
    """Collects checkpoint records, in log order, into a fresh fold. Attempts need series and chunks their order: `finish` does those."""

    def __init__(self, fold: SourceFold) -> None:
        self.fold = fold
        self._latest: dict[bytes, bytes] = {}
        self._watermark_us = 0

    def load(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._latest.pop(key, None)
        else:
            self._latest[key] = value

    def finish(self) -> None:
        """Build the state. Without an applied record the fold stays at its beginning."""
        applied = self._latest.pop(APPLIED, None)
        if applied is None:
            self._latest.clear()
            return
        self._resume(_decode_applied(applied))
        for key in sorted(self._latest):  # chunk keys sort by number
            self._restore(key[:1], key, self._latest[key])
        self.fold.lifecycles.memory.order_open()
        self._latest.clear()
        self.fold.lifecycles.table.close(self._watermark_us)

    def _resume(self, applied: Applied) -> None:
        fold = self.fold
        fold.version, fold.high_us, fold.append_us = applied.version, applied.high_us, applied.append_us
        # The watermark does not go back, not even if the disorder bound is larger now: panes behind it have been closed.
        fold.idle_us, fold.published_us = max(applied.idle_us, applied.watermark_us), applied.published_us
        self._watermark_us = applied.watermark_us
        fold.lifecycles.memory.closed_total = applied.closed_total
        for name in Counters.__struct_fields__:
            setattr(fold.counters, name, getattr(applied.counters, name))

    def _restore(self, kind: bytes, key: bytes, value: bytes) -> None:
        fold, lifecycles = self.fold, self.fold.lifecycles
        if kind == b"p":
            size_s, start_s, _, name = parse_pane_key(key)
            lifecycles.table.restore(series_from(name), size_s, start_s, value, self._watermark_us, fold.published_us)
        elif kind == b"a":
            stored, attempt_key = _decode_open(value), key[1:].decode()
            series = lifecycles.table.kept(series_of(attempt_key, stored.series_class))
            attempt = Tracked(attempt_key, AttemptFacts(*stored.facts), series, series.key)
            lifecycles.memory.load_open(attempt, stored.opened_no)
            lifecycles.resume(attempt)
        elif kind == b"t":
            lifecycles.memory.load_chunk(int(key[1:], 16), _decode_chunk(value))
        elif kind == b"e":
            fold.epochs[key[1:].decode()] = _decode_epoch(value)
        elif kind == b"i":
            fold.identities.load(int(key[1:], 16), *_decode_ids(value))
        elif kind == b"r":
            lifecycles.remarks.load(key[1:], _decode_remark(value))
        elif kind == b"s":
            lifecycles.remarks.load_silent(_decode_silent(value))
        elif kind == b"n":
            fold.notices.load(key[1:], _decode_notice(value))
