"""The records stage 1 leaves in Kafka, as bytes: keys and values of `job.panes` and of the checkpoint.

Only the form. What is in them and when they are written is decided by the folds; sending them is the agents' work. Keys are text parts
joined by U+001F, so that compaction keeps the newest of each; values are msgpack. A change of a value's shape means a new topic name.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec
from jobtide.streams.folds.panes import Pane

SEPARATOR: Final = "\x1f"
_SEPARATOR_BYTES = b"\x1f"

PANE, TICK, GAUGE, WORKER, QUEUE, LEDGER, WATCH, SUM = b"p", b"t", b"g", b"w", b"q", b"l", b"x", b"s"

encode = msgspec.msgpack.Encoder().encode
decode_pane = msgspec.msgpack.Decoder(Pane).decode


Record = tuple[bytes, bytes | None]  # key, value of one Kafka record; a value of None deletes the key


class SeriesKey(NamedTuple):
    """The unit of live numbers: one class of one queue."""

    tenant: str
    environment: str
    system: str
    queue: str
    job_class: str


class Tick(msgspec.Struct, array_like=True):
    """Everything of source `partition` before `watermark_us` has been published. `state`: active, idle or lagging."""

    partition: int
    version: int
    watermark_us: int
    state: str
    late_dropped: int = 0
    rejected: int = 0
    told_us: int = 0  # the clock of whoever told it: what the watermark is behind


class Gauge(msgspec.Struct, array_like=True):
    """Attempts of a series that run or wait at `version`, as one source partition counts them."""

    version: int
    running: int
    waiting: int


class PaneRecord(msgspec.Struct, array_like=True):
    """A pane as published: everything of it up to source offset `version`, and the series' gauges then."""

    version: int
    running: int
    waiting: int
    pane: Pane


class LedgerRecord(msgspec.Struct, array_like=True):
    """One emitter epoch as one source partition sees it at `version`; see sequences.Epoch."""

    version: int
    epoch: str
    source: str
    tenant: str
    system: str
    received: int
    duplicates: int
    missing: int
    lost: int
    clean: bool
    last_us: int
    expected: int | None
    lost_lately: int = 0  # of `lost`, what became it within the last hour


def join_key(parts: tuple[Any, ...]) -> bytes:
    return SEPARATOR.join(map(str, parts)).encode()


def pane_key(size_s: int, start_s: int, partition: int, series: bytes) -> bytes:
    return b"p\x1f%d\x1f%d\x1f%d\x1f%b" % (size_s, start_s, partition, series)


def sum_key(start_s: int, partition: int, name: bytes) -> bytes:
    """Like a pane's: of the minute of a whole system, environment or tenant."""
    return b"s\x1f60\x1f%d\x1f%d\x1f%b" % (start_s, partition, name)


def scopes_of(key: SeriesKey) -> tuple[bytes, bytes, bytes]:
    """The names of the system, the environment and the tenant that a series is in: series without a queue, which no real one can be.

    >>> scopes_of(SeriesKey("acme", "prod", "celery", "mail", "Send"))
    (b'acme\\x1fprod\\x1fcelery\\x1f\\x1f', b'acme\\x1fprod\\x1f\\x1f\\x1f', b'acme\\x1f\\x1f\\x1f\\x1f')
    """
    tenant, environment, system = key.tenant, key.environment, key.system
    return (
        join_key((tenant, environment, system, "", "")),
        join_key((tenant, environment, "", "", "")),
        join_key((tenant, "", "", "", "")),
    )


def parse_pane_key(key: bytes) -> tuple[int, int, int, bytes]:
    """(size in s, start in s, source partition, series)"""
    _, size, start, partition, series = key.split(_SEPARATOR_BYTES, 4)
    return int(size), int(start), int(partition), series


def series_from(text: bytes) -> SeriesKey:
    return SeriesKey(*text.decode().split(SEPARATOR))


def panes_partition(name: bytes, partitions: int) -> int:
    """The partition of job.panes that holds everything of a series, queue or worker, by the first four parts of its name.

    So all classes of a queue, and what its backend says of it, meet in one place, where a rule can look at them together.
    """
    parts = name.split(_SEPARATOR_BYTES, 4)
    return crc32(_SEPARATOR_BYTES.join(parts[:4]) if len(parts) > 4 else name) % partitions
