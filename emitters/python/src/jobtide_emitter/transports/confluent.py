"""Kafka through confluent-kafka (librdkafka), for processes that block: idempotent, acks=all, partition = lane % P.

Used by the flusher's thread only. librdkafka keeps no backlog of ours: a window is handed over, its receipts are waited
for, and what failed comes back to be sent again under the same numbers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer

from jobtide_emitter.errors import TransportDown
from jobtide_emitter.packs import Pack, packs_of
from jobtide_emitter.ring import Record
from jobtide_emitter.settings import Settings
from jobtide_emitter.transports import checked_partitions
from jobtide_emitter.transports.handles import never_finalize

_POLL_S = 0.002  # short polls with sleeps between, not one long poll: a gevent hub goes on meanwhile
_GRACE_S = 2.0  # after librdkafka's own limit


class ConfluentTransport:
    """One producer of this process."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic
        self._timeout_s = settings.request_timeout_ms / 1000
        self._config = _config(settings)
        self._producer: Producer | None = None
        self.partitions: int | None = None

    def connect(self) -> None:
        """Asks for the topic's partitions. Raises TransportDown, ConfigError if their number is no divisor of 64."""
        if self._producer is None:
            self._producer = Producer(self._config, logger=_quiet_logger())
        try:  # all topics, because asking for one that is not there could make it, with the wrong partitions
            topics = self._producer.list_topics(timeout=self._timeout_s).topics
        except KafkaException as error:
            raise TransportDown(f"Kafka at {self._config['bootstrap.servers']}: {_text(error)}") from error
        topic = topics.get(self._topic)
        if topic is None or not topic.partitions:
            raise TransportDown(f"Kafka at {self._config['bootstrap.servers']} has no topic {self._topic}")
        self.partitions = checked_partitions(len(topic.partitions), self._topic)

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        """Sends the records packed; returns those without a receipt, in order."""
        assert self._producer is not None
        assert self.partitions is not None
        failed: list[Pack] = []
        open_packs = 0
        last_error = ""
        fatal = False

        def receipt(pack: Pack, error: Any) -> None:
            nonlocal open_packs, last_error, fatal
            open_packs -= 1
            if error is not None:
                failed.append(pack)
                last_error = error.str()
                fatal = fatal or error.fatal()

        packs = packs_of(records, epoch, self.partitions)
        for index, pack in enumerate(packs):
            try:
                self._produce(pack, receipt)
            except (BufferError, KafkaException) as error:
                failed.extend(packs[index:])
                last_error = _text(error)
                fatal = isinstance(error, KafkaException)
                break
            open_packs += 1
        deadline = time.monotonic() + self._timeout_s + _GRACE_S
        while open_packs and time.monotonic() < deadline:
            if not self._producer.poll(0):
                time.sleep(_POLL_S)
        if open_packs or fatal:
            self._renew()
        if open_packs:
            return records
        if failed and len(failed) == len(packs):
            raise TransportDown(f"Kafka at {self._config['bootstrap.servers']}: {last_error}")
        missing = {record.order for pack in failed for record in pack.records}
        return [record for record in records if record.order in missing]

    def _produce(self, pack: Pack, receipt: Any) -> None:
        headers: dict[str, str | bytes | None] = {
            "content-type": pack.content_type,
            "sent_at": str(time.time_ns() // 1_000_000),
        }
        assert self._producer is not None
        self._producer.produce(
            self._topic,
            pack.value,
            partition=pack.partition,
            headers=headers,
            on_delivery=lambda error, _message: receipt(pack, error),
        )

    def _renew(self) -> None:
        """A producer that lost track of its messages is no good any more; the numbers make repeats harmless."""
        old, self._producer = self._producer, Producer(self._config, logger=_quiet_logger())
        if old is not None:
            old.purge()

    def close(self, timeout_s: float) -> None:
        """Lets the producer go; the emitter has flushed before."""
        if self._producer is not None:
            self._producer.flush(min(timeout_s, 0.5))
            self._producer = None

    def abandon(self) -> None:
        """The handle's threads stayed in the parent: it can be neither used nor destroyed here."""
        if self._producer is not None:
            never_finalize(self._producer)


def _config(settings: Settings) -> dict[str, Any]:
    wanted = {
        "bootstrap.servers": settings.broker,
        "client.id": "jobtide-emitter",
        "security.protocol": settings.security_protocol,
        "sasl.mechanism": settings.sasl_mechanism,
        "sasl.username": settings.sasl_username,
        "sasl.password": settings.sasl_password,
        "ssl.ca.location": settings.tls_ca,
        "enable.idempotence": True,  # implies acks=all and keeps the order within a partition
        "linger.ms": 0,  # the packs are made already
        "compression.type": "lz4",
        "message.timeout.ms": settings.request_timeout_ms,  # a receipt, good or bad, within this
        "socket.timeout.ms": settings.request_timeout_ms,
        "reconnect.backoff.max.ms": 2000,
        "message.max.bytes": 2 << 20,
        "queue.buffering.max.kbytes": 16 << 10,
        "socket.keepalive.enable": True,
        "log_level": 2,
    }
    return {name: value for name, value in wanted.items() if value != ""}


def _quiet_logger() -> logging.Logger:
    """librdkafka reports each broken connection; the flusher says once that Kafka is away."""
    logger = logging.getLogger("jobtide_emitter.librdkafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    return logger


def _text(error: BaseException) -> str:
    inner = error.args[0] if error.args else error
    return inner.str() if hasattr(inner, "str") else str(inner)
