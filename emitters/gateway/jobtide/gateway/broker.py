"""The gateway's way into Kafka: acknowledged by all replicas, or a TransientError. A thin shell over aiokafka.

Not a buffer: what is not acknowledged in time is the client's to send again (stage 1 removes the repetition). The
producer is connected in the background and replaced when it breaks, so the gateway starts and stays up without Kafka.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from jobtide.streams.agents.kafka import connection
from jobtide.streams.errors import ConfigError, TransientError
from jobtide.streams.settings import Settings
from jobtide.streams.topics import EVENTS

log = logging.getLogger(__name__)
ACK_S = 10.0
_RECONNECT_S = 1.0
_BATCH_BYTES = 1 << 20
_REQUEST_BYTES = 16 << 20


class Broker:
    """Sends messages to `job.events`; `problem` says why it cannot right now, None when it can."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.topic(EVENTS)
        self._producer: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._overdue: set[asyncio.Future[object]] = set()
        self._problem = "not connected to Kafka yet"
        self.misfit: ConfigError | None = None

    async def start(self) -> None:
        """Connect; go on trying in the background when Kafka is away. ConfigError when the topic does not fit."""
        try:
            await self._connect()
        except TransientError as error:
            self._away(str(error))

    async def stop(self) -> None:
        """Let go of the producer; waits a few seconds for what is under way."""
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        await _close(self._producer)
        self._producer = None

    @property
    def problem(self) -> str | None:
        """Why nothing can be sent at the moment."""
        if self._producer is None:
            return self._problem
        return "Kafka has not acknowledged earlier events yet" if self._overdue else None

    async def send(self, messages: Iterable[tuple[int, bytes, bytes]], sent_at_ms: bytes) -> None:
        """Send (partition, value, content type)s and wait until all are acknowledged; TransientError otherwise."""
        producer = self._producer
        if producer is None or self._overdue:
            raise TransientError(self.problem or "Kafka is away")
        waiting: list[asyncio.Future[object]] = []
        try:
            async with asyncio.timeout(ACK_S):
                for partition, value, content_type in messages:
                    headers = [("content-type", content_type), ("sent_at", sent_at_ms)]
                    waiting.append(await producer.send(self._topic, value, partition=partition, headers=headers))
                await asyncio.gather(*(asyncio.shield(future) for future in waiting))
        except TimeoutError:
            for future in waiting:
                if not future.done():
                    self._overdue.add(future)
                    future.add_done_callback(self._arrived)
            raise TransientError(f"Kafka did not acknowledge within {ACK_S:.0f} s") from None
        except KafkaError as error:
            for future in waiting:
                future.add_done_callback(_heard)
            self._away(f"Kafka refused: {error!r}")
            raise TransientError(f"Kafka refused: {error!r}") from error

    def _arrived(self, future: asyncio.Future[object]) -> None:
        self._overdue.discard(future)
        if not future.cancelled() and future.exception() is not None:
            self._away(f"Kafka refused: {future.exception()!r}")

    def _away(self, problem: str) -> None:
        """Drop the producer and connect anew in the background."""
        broken, self._producer, self._problem = self._producer, None, problem
        self._overdue.clear()
        log.warning("gateway cannot reach kafka", extra={"problem": problem})
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._reconnect(broken))

    async def _reconnect(self, broken: AIOKafkaProducer | None) -> None:
        await _close(broken)
        while True:
            try:
                return await self._connect()
            except TransientError as error:
                self._problem = str(error)
            except ConfigError as error:
                self._problem, self.misfit = str(error), error
                log.error("gateway does not fit the topic", extra={"problem": str(error)})
            await asyncio.sleep(_RECONNECT_S)

    async def _connect(self) -> None:
        producer = AIOKafkaProducer(
            **connection(self._settings),
            acks="all",
            enable_idempotence=not self._settings.broker_in_memory,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
            request_timeout_ms=int(ACK_S * 1000),
        )
        try:
            await producer.start()
            await self._check(producer)
        except KafkaError as error:
            await _close(producer)
            raise TransientError(f"Kafka at {self._settings.broker} cannot be reached: {error}") from error
        except BaseException:
            await _close(producer)
            raise
        self._producer = producer
        log.info("gateway connected", extra={"broker": self._settings.broker, "topic": self._topic})

    async def _check(self, producer: AIOKafkaProducer) -> None:
        found = (await producer.client.fetch_all_metadata()).partitions_for_topic(self._topic)
        if found is None:
            raise TransientError(f"topic {self._topic} does not exist yet: run `jobtide topics create`")
        if len(found) != self._settings.partitions:
            raise ConfigError(
                f"topic {self._topic} has {len(found)} partitions, not JOBTIDE_PARTITIONS={self._settings.partitions}: "
                "set it to what the topic has (changing a topic needs a new one after a drain)"
            )


def _heard(future: asyncio.Future[object]) -> None:
    """Take note of a failure that the first one already told the client about."""
    if not future.cancelled():
        future.exception()


async def _close(producer: AIOKafkaProducer | None) -> None:
    if producer is None:
        return
    begun = time.monotonic()
    try:
        async with asyncio.timeout(5):
            await producer.stop()
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("kafka producer did not close", extra={"after_s": time.monotonic() - begun, "problem": repr(error)})
