"""State that a checkpoint record holds as it is. Plain data, in a module of its own since msgspec structs cannot be compiled."""

from __future__ import annotations

import msgspec
from jobtide.streams.folds.counters import Counters
from jobtide.streams.folds.facts import FactsRecord


class Lane(msgspec.Struct, array_like=True):
    """`next`: one past the highest number seen; `holes`: [first, last, noticed at µs] of numbers below it not seen, oldest first."""

    next: int = 0
    holes: list[list[int]] = []


class Epoch(msgspec.Struct, array_like=True):
    """What arrived of one emitter epoch in one source partition. Times are append times in µs."""

    source: str = ""
    tenant: str = ""
    system: str = ""
    received: int = 0
    duplicates: int = 0
    given_up: int = 0  # numbers in holes dropped at MAX_HOLES
    last_us: int = 0
    clean: bool = False
    announced: bool = False  # the emitter has said how many events it made
    lanes: dict[int, Lane] = {}


class Ended(msgspec.Struct, array_like=True, gc=False):
    """An ended attempt in the checkpoint, and in memory once it has been saved. `series_class`: "" = that of the facts."""

    series_class: str
    closed_us: int
    closed_no: int
    facts: FactsRecord


class Open(msgspec.Struct, array_like=True, gc=False):
    """An open attempt in the checkpoint (its key is the record's). They are put back in the order of `opened_no`."""

    series_class: str
    facts: FactsRecord
    opened_no: int = 0


class Chunk(msgspec.Struct, array_like=True):
    """The attempts that ended (or were revised after it) between two checkpoints, with their keys; later `hashes` only, 8 bytes each."""

    newest_us: int
    newest_no: int
    keys: list[bytes]
    ended: list[msgspec.Raw]
    hashes: bytes = b""


class Applied(msgspec.Struct, array_like=True):
    """`version`: the source offset up to which everything saved is folded."""

    version: int
    high_us: int
    append_us: int
    idle_us: int
    watermark_us: int
    published_us: int
    closed_total: int
    counters: Counters
