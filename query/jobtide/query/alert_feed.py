"""What the API knows of alerts: the newest state of each, from job.alerts, and silences, from job.alert.commands.

Follows both topics from their beginnings in the background; small, because both are compacted. Bounded: beyond `MOST` alerts the oldest
resolved ones are let go. Not the notifier's letters: those are read when asked for (`sinks.webhook.letters`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from jobtide.query.readers import Unavailable
from jobtide.sinks.webhook.letters import put_command
from jobtide.sinks.webhook.silences import Silence
from jobtide.streams.agents.kafka import new_producer, new_reader
from jobtide.streams.agents.ruling import STATUS_KEY
from jobtide.streams.alerts.transitions import Transition, decode
from jobtide.streams.folds.records import SEPARATOR
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERTS, COMMANDS

STORE = "Kafka"
MOST = 50_000
RECENT = 20_000
AGAIN_S = 5.0
_SILENCE = f"silence{SEPARATOR}"

log = logging.getLogger(__name__)


class AlertFeed:
    """`alerts` by fingerprint, `silences` by id, `recent` transitions in the order they came, `statuses`: which rules each partition's owner uses."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.alerts: dict[str, Transition] = {}
        self.silences: dict[str, Silence] = {}
        self.recent: deque[Transition] = deque(maxlen=RECENT)
        self.statuses: dict[str, dict[str, Any]] = {}
        self._missing = "the topics have not been read yet"
        self._ids: set[str] = set()
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    def ready(self) -> None:
        """Raises Unavailable until everything that is there has been read."""
        if self._missing:
            raise Unavailable(STORE, self._missing)

    async def run(self) -> None:
        """Until cancelled; tries again while Kafka is away."""
        said = ""
        while True:
            reader = new_reader(self.settings)
            try:
                await reader.start()
                await self._follow(reader)
            except (KafkaError, OSError) as error:
                self._missing = f"{type(error).__name__}: {error}"[:200]
                if said != self._missing:
                    log.warning("alerts cannot be followed now: %s", self._missing)
                    said = self._missing
            finally:
                await reader.stop()
            await asyncio.sleep(AGAIN_S)

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        partitions = range(self.settings.partitions)
        tps = [TopicPartition(self.settings.topic(name), p) for name in (ALERTS, COMMANDS) for p in partitions]
        reader.assign(tps)
        await reader.seek_to_beginning(*tps)
        ends = await reader.end_offsets(tps)
        waiting = set(tps)
        while True:
            waiting = {tp for tp in waiting if await reader.position(tp) < ends[tp]}
            if not waiting:
                self._missing = ""
            for tp, records in (await reader.getmany(timeout_ms=500)).items():
                for record in records:
                    self.take(tp.topic == self.settings.topic(COMMANDS), record.key or b"", record.value)

    def take(self, command: bool, key: bytes, value: bytes | None) -> None:
        """One record."""
        if command:
            name = key.decode(errors="replace")
            if name.startswith(_SILENCE):
                if value is None:
                    self.silences.pop(name.removeprefix(_SILENCE), None)
                else:
                    self.silences[name.removeprefix(_SILENCE)] = msgspec.json.decode(value, type=Silence)
        elif key.startswith(STATUS_KEY):
            self.statuses[key.removeprefix(STATUS_KEY).decode()] = msgspec.json.decode(value) if value else {}
        elif value is not None:
            self._alert(decode(value))

    def _alert(self, transition: Transition) -> None:
        known = self.alerts.get(transition.fingerprint)
        if transition.id in self._ids:
            return
        self._ids.add(transition.id)
        if len(self._ids) > 3 * RECENT:
            self._ids = {each.id for each in self.recent}
        self.recent.append(transition)
        if known is None or transition.at_us >= known.at_us:
            self.alerts[transition.fingerprint] = transition
        if len(self.alerts) > MOST:
            over = sorted((each for each in self.alerts.values() if each.state in ("resolved", "inactive")), key=lambda each: each.at_us)
            for each in over[: MOST // 10]:
                del self.alerts[each.fingerprint]

    async def send(self, kind: str, name: str, value: bytes | None) -> None:
        """Put a command; returns when Kafka has it. Raises Unavailable."""
        try:
            async with self._starting:
                if self._producer is None:
                    producer = new_producer(self.settings, idempotent=not self.settings.broker_in_memory)
                    await producer.start()
                    self._producer = producer
            await put_command(self._producer, self.settings, kind, name, value)
        except (KafkaError, OSError) as error:
            raise Unavailable(STORE, f"{type(error).__name__}: {error}"[:200]) from error

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.stop()
