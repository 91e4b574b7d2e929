"""Kafka through aiokafka, for processes that may load no C client: idempotent, acks=all, partition = lane % P.

It has an event loop and a thread of its own: an app's loop never waits for it, and emitting from a coroutine is the
same plain call as anywhere else. Used by the flusher's thread only.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from jobtide_emitter.errors import TransportDown
from jobtide_emitter.packs import Pack, packs_of
from jobtide_emitter.ring import Record
from jobtide_emitter.settings import Settings
from jobtide_emitter.transports import checked_partitions
from jobtide_emitter.transports.handles import never_finalize

T = TypeVar("T")


class AiokafkaTransport:
    """One producer in one loop in one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout_s = settings.request_timeout_ms / 1000
        self._producer: Any = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="jobtide-aiokafka", daemon=True).start()
        self.partitions: int | None = None

    def connect(self) -> None:
        """Starts the producer and asks for the topic's partitions. Raises TransportDown or ConfigError."""
        self.partitions = checked_partitions(self._wait(self._connect()), self._settings.topic)

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        """Sends the records packed; returns those without a receipt, in order."""
        assert self.partitions is not None
        packs = packs_of(records, epoch, self.partitions)
        receipts = self._wait(self._send(packs))
        failed = [pack for pack, error in zip(packs, receipts, strict=True) if error is not None]
        if packs and len(failed) == len(packs):
            raise TransportDown(f"Kafka at {self._settings.broker}: {receipts[0]!r}")
        missing = {record.order for pack in failed for record in pack.records}
        return [record for record in records if record.order in missing]

    def close(self, timeout_s: float) -> None:
        """Stops the producer, as far as the time allows, and the loop."""
        try:
            if self._producer is not None:
                asyncio.run_coroutine_threadsafe(self._producer.stop(), self._loop).result(max(timeout_s, 0.1))
        except (KafkaError, OSError, TimeoutError):
            return
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def abandon(self) -> None:
        """The thread stayed in the parent, and the epoll set is the parent's too."""
        never_finalize(self._loop)
        never_finalize(self._producer)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(self._timeout_s + 2.0)
        except (KafkaError, OSError, TimeoutError) as error:
            future.cancel()
            raise TransportDown(f"Kafka at {self._settings.broker}: {error!r}") from error

    async def _connect(self) -> int:
        settings = self._settings
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=settings.broker,
                client_id="jobtide-emitter",
                enable_idempotence=True,
                acks="all",
                request_timeout_ms=settings.request_timeout_ms,
                retry_backoff_ms=200,
                max_batch_size=1 << 20,
                max_request_size=2 << 20,
                **_security(settings),
            )
            try:
                await asyncio.wait_for(producer.start(), self._timeout_s)
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return len(await asyncio.wait_for(self._producer.partitions_for(settings.topic), self._timeout_s))

    async def _send(self, packs: Sequence[Pack]) -> list[BaseException | None]:
        sent = await asyncio.gather(*(self._receipt(pack) for pack in packs), return_exceptions=True)
        return [result if isinstance(result, BaseException) else None for result in sent]

    async def _receipt(self, pack: Pack) -> None:
        headers = [
            ("content-type", pack.content_type.encode()),
            ("sent_at", str(time.time_ns() // 1_000_000).encode()),
        ]
        receipt = self._producer.send_and_wait(self._settings.topic, pack.value, partition=pack.partition, headers=headers)
        await asyncio.wait_for(receipt, self._timeout_s)


def _security(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"security_protocol": settings.security_protocol}
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=settings.tls_ca or None)
    if settings.sasl_mechanism:
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password
    return options
