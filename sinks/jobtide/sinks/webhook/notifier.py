"""The notifier process: reads job.alerts, writes letters, sends them. One is at work at a time; others stand by.

The order of effects: what was decided is saved as one batch (positions, groups, letters), then letters are sent, then their fate is saved. A
kill between the last two sends a letter again, under the same id with the same bytes. Who is at work is decided by Kafka's group (whoever has
partition 0), and made safe by the checkpoint's claims: one that was replaced notices at its next save and stops.
"""

from __future__ import annotations

import asyncio
import logging
from random import random
from time import monotonic, time, time_ns
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from jobtide.sinks.webhook import http, retrying, signing, smtp
from jobtide.sinks.webhook.addresses import Network, networks
from jobtide.sinks.webhook.desk import Desk, Letter
from jobtide.sinks.webhook.evidence import Evidence
from jobtide.sinks.webhook.http import Answer
from jobtide.sinks.webhook.receivers import Alertmanager, Email, ReceiversFile, Webhook
from jobtide.sinks.webhook.receivers_file import WatchedReceivers
from jobtide.streams.agents.kafka import connection, new_producer, new_reader
from jobtide.streams.agents.ruling import STATUS_KEY
from jobtide.streams.alerts.transitions import decode
from jobtide.streams.app import wait_for_kafka
from jobtide.streams.checkpoint.log import CheckpointLog, Lost
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERTS, COMMANDS, NOTIFIER
from prometheus_client import Counter, Gauge

GROUP = "jobtide-notifier"
STALE_MS = 10 * 60_000  # on its very first start a notifier does not tell old stories
POLL_MS = 100
ATTEMPTS = Counter("jobtide_notifier_attempts", "Attempts to deliver a letter.", ["receiver", "outcome"])
WAITING = Gauge("jobtide_notifier_letters", "Letters by state.", ["state"])
OPEN = Gauge("jobtide_notifier_breaker_open", "1 while a receiver's breaker is open.", ["receiver"])

log = logging.getLogger(__name__)


def allow_of(settings: Settings) -> tuple[Network, ...]:
    try:
        return networks(settings.webhook_allow)
    except ValueError as error:
        raise ConfigError(f"JOBTIDE_WEBHOOK_ALLOW: {error}; write networks such as 10.1.0.0/16, comma separated") from None


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Stand by or work until `stop` is set. Raises ConfigError for a receivers file with a mistake."""
    file, allow = WatchedReceivers(settings), allow_of(settings)
    log.info("%d receivers", len(file.current.receivers))
    ready, stopped = asyncio.ensure_future(wait_for_kafka(settings)), asyncio.ensure_future(stop.wait())
    await asyncio.wait({ready, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.done():
        ready.cancel()
        return
    ready.result()
    member = AIOKafkaConsumer(
        settings.topic(ALERTS), **connection(settings), group_id=settings.topic(GROUP), enable_auto_commit=False,
        session_timeout_ms=settings.session_timeout_ms, heartbeat_interval_ms=settings.session_timeout_ms // 5, auto_offset_reset="latest",
    )  # fmt: skip
    await member.start()
    producer = new_producer(settings, idempotent=not settings.broker_in_memory)
    await producer.start()
    try:
        await _lead(settings, file, allow, member, producer, stop)
    finally:
        await member.stop()
        await producer.stop()


async def _lead(
    settings: Settings, file: WatchedReceivers, allow: tuple[Network, ...], member: AIOKafkaConsumer, producer: AIOKafkaProducer, stop: asyncio.Event
) -> None:
    """Other receivers are taken as another notifier would be: who is at work stops, and goes on with them from what was saved."""
    first = TopicPartition(settings.topic(ALERTS), 0)
    working: asyncio.Task[None] | None = None
    while not stop.is_set():
        member.pause(*member.assignment())
        await member.getmany(timeout_ms=200)  # keeps the membership; the records are read by the one at work
        leads = first in member.assignment()
        other = await asyncio.to_thread(file.changed)
        if working is not None and (working.done() or not leads or other):
            working.cancel()
            try:
                await working
            except asyncio.CancelledError:
                pass
            except (Lost, KafkaError) as error:
                log.warning("stopped being the notifier at work: %s", error)
                await asyncio.sleep(1)
            working = None
        if leads and working is None:
            working = asyncio.create_task(Work(settings, file.current, allow, producer).run())
    if working is not None:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


class Work:
    """What the one at work does."""

    def __init__(self, settings: Settings, file: ReceiversFile, allow: tuple[Network, ...], producer: AIOKafkaProducer) -> None:
        self.settings, self.allow, self.producer = settings, allow, producer
        self.desk = Desk(file, settings.public_url)
        self.evidence = Evidence(settings.api_url, settings.api_key or settings.up_key)
        self._checkpoint = CheckpointLog(producer, lambda: new_reader(settings), settings.topic(NOTIFIER))
        self._began_ms = _now_ms()
        self._fresh = False  # nothing was saved before: an older story is not told
        self._wake: dict[str, asyncio.Event] = {each.name: asyncio.Event() for each in file.receivers}

    async def run(self) -> None:
        """Until cancelled. Raises Lost when another notifier has taken over, KafkaError when Kafka is away."""
        started_s = monotonic()
        count = await self._checkpoint.recover([0], lambda _, key, value: self.desk.load(key, value))
        self._fresh = not self.desk.positions
        log.info("notifier at work; %d records, %d letters waiting, in %.1f s", count, self._waiting(), monotonic() - started_s)
        reader = await self._reader()
        try:
            async with asyncio.TaskGroup() as tasks:
                for receiver in self.desk.receivers():
                    tasks.create_task(self._deliver(receiver))
                tasks.create_task(self._read(reader))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await reader.stop()

    def _waiting(self) -> int:
        return sum(1 for each in self.desk.letters.values() if each.state == "waiting")

    async def _reader(self) -> AIOKafkaConsumer:
        reader = new_reader(self.settings)
        await reader.start()
        alerts = [TopicPartition(self.settings.topic(ALERTS), p) for p in range(self.settings.partitions)]
        commands = [TopicPartition(self.settings.topic(COMMANDS), p) for p in range(self.settings.partitions)]
        reader.assign([*alerts, *commands])
        await reader.seek_to_beginning(*commands)
        beginnings = await reader.beginning_offsets(alerts)
        for tp in alerts:
            reader.seek(tp, max(self.desk.positions.get(tp.partition, 0), beginnings[tp]))
        await self._read_commands(reader, commands, alerts)
        return reader

    async def _read_commands(self, reader: AIOKafkaConsumer, commands: list[TopicPartition], alerts: list[TopicPartition]) -> None:
        """All silences have to be known before the first alert is told."""
        ends = await reader.end_offsets(commands)
        reader.pause(*alerts)
        while any([await reader.position(tp) < ends[tp] for tp in commands]):
            for tp, records in (await reader.getmany(*commands, timeout_ms=200)).items():
                await self._take(tp, records)
        reader.resume(*alerts)

    async def _read(self, reader: AIOKafkaConsumer) -> None:
        while True:
            for tp, records in (await reader.getmany(timeout_ms=POLL_MS, max_records=500)).items():
                await self._take(tp, records)
            now_ms = _now_ms()
            told = self.desk.due(now_ms)
            await asyncio.gather(*(self.evidence.add(each.transitions) for each in told))
            for each in told:
                self.desk.write(each, now_ms)
            await self._save()

    async def _take(self, tp: TopicPartition, records: list[Any]) -> None:
        now_ms = _now_ms()
        for record in records:
            key = record.key or b""
            if tp.topic == self.settings.topic(COMMANDS):
                try:
                    self.desk.command(key.decode(), record.value, now_ms)
                except ValueError as error:
                    log.error("a command that cannot be read is left out: %r: %s", key, error)
            else:
                transition = None if key.startswith(STATUS_KEY) or record.value is None else decode(record.value)
                stale = self._fresh and record.timestamp < self._began_ms - STALE_MS
                self.desk.read(tp.partition, record.offset, transition, now_ms, stale)
            if self.desk.heavy:
                await self._save()

    async def _save(self) -> None:
        if not self.desk.dirty:
            return
        records = self.desk.take_unsaved()
        self.point("decided")
        await self._checkpoint.write(0, records)
        self.desk.saved()
        self.point("saved")
        states = [each.state for each in self.desk.letters.values()]
        for state in ("waiting", "delivered", "dead"):
            WAITING.labels(state).set(states.count(state))
        for event in self._wake.values():
            event.set()

    def point(self, name: str) -> None:
        """A named moment; the crash tests stop the process here."""

    # -- sending

    async def _deliver(self, receiver: Any) -> None:
        """One receiver's letters, one at a time, with a breaker of its own: nobody waits for another's endpoint."""
        breaker, wake = retrying.Breaker(), self._wake[receiver.name]
        while True:
            now_ms = _now_ms()
            letter = self.desk.next_letter(receiver.name, now_ms)
            if letter is None or not breaker.lets(now_ms):
                wake.clear()
                try:
                    async with asyncio.timeout(0.5):
                        await wake.wait()
                except TimeoutError:
                    pass
                continue
            answer = await self._send(receiver, letter)
            self.point("sent")
            now_ms = _now_ms()
            decision = retrying.decide(answer.status, answer.error, letter.attempts + 1, answer.retry_after, now_ms, random())  # noqa: S311 - jitter
            if answer.status in (429, 503):
                breaker.pause(now_ms + min(retrying.asked(answer.retry_after, now_ms), retrying.LONGEST_MS))
            breaker.note(decision.outcome is retrying.Outcome.DELIVERED, now_ms)
            OPEN.labels(receiver.name).set(breaker.state == "open")
            ATTEMPTS.labels(receiver.name, decision.outcome.value).inc()
            if decision.outcome is not retrying.Outcome.DELIVERED:
                log.warning("letter %s to %s: %s, %s", letter.request.id, receiver.name, decision.reason, decision.outcome.value)
            self.desk.note(letter, decision, now_ms)

    async def _send(self, receiver: Any, letter: Letter) -> Answer:
        request = letter.request
        if isinstance(receiver, Email):
            return await smtp.send(receiver, request, self.allow)
        headers = {"content-type": "application/json"}
        if isinstance(receiver, Webhook):
            headers |= signing.headers(request.id, int(time()), request.body, [each.get_secret_value() for each in receiver.secrets])
        base = receiver.url.get_secret_value()
        url = base.rstrip("/") + request.path if isinstance(receiver, Alertmanager) else base
        return await http.post(url, request.body, headers, self.allow)


def _now_ms() -> int:
    return time_ns() // 1_000_000


__all__ = ["GROUP", "Work", "run"]
