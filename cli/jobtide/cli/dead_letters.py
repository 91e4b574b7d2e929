"""Dead letters: read from job.events.dlq, summed up by reason, and their events sent to job.events again.

A letter is the whole Kafka value that held a refused event, with the faults in its headers
(`jobtide.streams.agents.stage1` writes it). Its key is where it came from, so a letter that was written twice counts
once. Sending again is safe: the events carry their own identities.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from jobtide.gateway.placement import ONE, place
from jobtide.streams.agents.kafka import ensure_topics, new_producer, new_reader
from jobtide.streams.errors import ContractError
from jobtide.streams.events import check_lane, decode, split
from jobtide.streams.settings import Settings
from jobtide.streams.topics import DEAD_LETTERS, EVENTS

_FAULTS_KEPT = 100  # per letter, by who writes them
_IN_FLIGHT = 500


@dataclass(frozen=True)
class Fault:
    """One refused event of a letter: its place in the pack, why, and what exactly."""

    index: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Letter:
    """One Kafka value with refused events. `key`: "partition:offset" of where it came from; `at_ms`: when refused."""

    key: str
    at_ms: int
    value: bytes
    faults: tuple[Fault, ...]

    def has(self, reasons: Iterable[str]) -> bool:
        """True when a fault has one of the reasons, or none are asked for."""
        asked = set(reasons)
        return not asked or any(fault.reason in asked for fault in self.faults)


@dataclass
class Summary:
    """Counts by reason, with the newest letters of each as samples."""

    letters: int = 0
    events: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[tuple[Letter, Fault]]] = field(default_factory=dict)

    def add(self, letter: Letter, samples: int) -> None:
        """Count a letter; of each reason the last `samples` are kept."""
        self.letters += 1
        for fault in letter.faults:
            self.events[fault.reason] += 1
            kept = self.samples.setdefault(fault.reason, [])
            kept.append((letter, fault))
            del kept[: max(0, len(kept) - samples)]


@dataclass
class Replayed:
    """What became of the events of the chosen letters."""

    sent: int = 0
    still_refused: Counter[str] = field(default_factory=Counter)


def parse(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]], at_ms: int) -> Letter:
    """A letter from its Kafka record."""
    named = dict(headers)
    try:
        faults = tuple(Fault(index, reason, detail) for index, reason, detail in orjson.loads(named["faults"]))
    except (KeyError, ValueError, TypeError):
        faults = (Fault(0, named.get("reason", b"unknown").decode(), named.get("detail", b"").decode(errors="replace")),)
    return Letter((key or b"").decode(errors="replace"), at_ms, value or b"", faults)


def pieces(letter: Letter) -> list[bytes]:
    """The bytes of the letter's refused events; all of the value when it cannot be taken apart."""
    try:
        parts = split(letter.value)
    except ContractError:
        return [letter.value]
    if len(letter.faults) >= _FAULTS_KEPT:
        return parts
    return [parts[fault.index] for fault in letter.faults if fault.index < len(parts)]


def mended(piece: bytes, partitions: int) -> list[tuple[int, bytes]]:
    """(partition, bytes) of a refused event that the contract now accepts. ContractError when it still does not."""
    event = decode(piece)[0]
    check_lane(event)
    return place(event, piece, partitions)


async def letters(settings: Settings) -> AsyncIterator[Letter]:
    """Every letter in the topic now, each once. TransientError when Kafka is away."""
    await ensure_topics(settings)
    consumer = new_reader(settings)
    await consumer.start()
    try:
        partitions = [TopicPartition(settings.topic(DEAD_LETTERS), number) for number in range(settings.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        seen: set[str] = set()
        async for letter in _until(consumer, ends):
            if letter.key not in seen:
                seen.add(letter.key)
                yield letter
    finally:
        await consumer.stop()


async def _until(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> AsyncIterator[Letter]:
    waiting = set(ends)
    while waiting := {tp for tp in waiting if await consumer.position(tp) < ends[tp]}:
        for records in (await consumer.getmany(*waiting, timeout_ms=500)).values():
            for record in records:
                yield parse(record.key, record.value, record.headers, record.timestamp)


async def summary(settings: Settings, reasons: Iterable[str], samples: int) -> Summary:
    """The summary of all letters with one of the reasons."""
    total = Summary()
    async for letter in letters(settings):
        if letter.has(reasons):
            total.add(letter, samples)
    return total


async def replay(settings: Settings, reasons: Iterable[str], dry_run: bool) -> Replayed:
    """Send the refused events that the contract accepts now to job.events; wait until Kafka has them."""
    done = Replayed()
    producer = new_producer(settings, idempotent=not settings.broker_in_memory)
    await producer.start()
    waiting = []
    try:
        async for letter in letters(settings):
            for piece in pieces(letter) if letter.has(reasons) else ():
                try:
                    placed = mended(piece, settings.partitions)
                except ContractError as refused:
                    done.still_refused[refused.reason.value] += 1
                    continue
                done.sent += 1
                for partition, line in () if dry_run else placed:
                    headers = [("content-type", ONE), ("sent_at", b"%d" % (time.time_ns() // 1_000_000))]
                    topic = settings.topic(EVENTS)
                    waiting.append(await producer.send(topic, line, partition=partition, headers=headers))
            while len(waiting) > _IN_FLIGHT:
                await waiting.pop(0)
        for future in waiting:
            await future
    finally:
        await producer.stop()
    return done
