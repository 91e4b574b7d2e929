"""Numbered events to Kafka values: the events of one partition become one JSON array, at most 256 KiB.

Pure. Takes records from the ring, gives packs to a transport; the text of an event is completed here, off the hot path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobtide_emitter.lanes import partition_of
from jobtide_emitter.ring import Record

MAX_PACK_BYTES = 256 * 1024
SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
WHOLE = -1  # the seq of a record whose text needs nothing more: another emitter made it (see `agent`)


@dataclass(frozen=True, slots=True)
class Pack:
    """One Kafka value and what is in it."""

    partition: int
    value: bytes
    records: Sequence[Record]

    @property
    def content_type(self) -> str:
        return SINGLE if len(self.records) == 1 else BATCH


def text_of(record: Record, epoch: str) -> bytes:
    """The whole event: `raw` with the attributes that depend on its number. The number makes the id unique."""
    if record.seq == WHOLE:
        return record.raw
    if record.lane < 0:
        return b'%b,"id":"%b-u-%d"}' % (record.raw[:-1], epoch.encode(), record.seq)
    name = epoch.encode()
    lane, seq = record.lane, record.seq
    return b'%b,"id":"%b-%d-%d","epoch":"%b","lane":%d,"seq":%d}' % (record.raw[:-1], name, lane, seq, name, lane, seq)


def packs_of(records: Iterable[Record], epoch: str, partitions: int) -> list[Pack]:
    """Packs in the order of their first event; the events of a partition keep their order."""
    packs: list[Pack] = []
    open_packs: dict[int, tuple[list[bytes], list[Record], int]] = {}
    for record in records:
        partition = partition_of(record.lane, partitions)
        text = text_of(record, epoch)
        texts, members, size = open_packs.get(partition, ([], [], 2))
        if texts and size + len(text) + 1 > MAX_PACK_BYTES:
            packs.append(_pack(partition, texts, members))
            texts, members, size = [], [], 2
        texts.append(text)
        members.append(record)
        open_packs[partition] = (texts, members, size + len(text) + 1)
    packs.extend(_pack(partition, texts, members) for partition, (texts, members, _) in open_packs.items())
    return packs


def _pack(partition: int, texts: list[bytes], members: list[Record]) -> Pack:
    value = texts[0] if len(texts) == 1 else b"[" + b",".join(texts) + b"]"
    return Pack(partition, value, tuple(members))
