"""How events leave the process. One interface, used by the flusher's background thread only; one module per way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Protocol

from jobtide_emitter.errors import ConfigError
from jobtide_emitter.ring import Record
from jobtide_emitter.settings import Settings


class Transport(Protocol):
    """Delivers events. Its calls may wait, but never longer than `request_timeout_ms` a few times over."""

    @property
    def partitions(self) -> int | None:
        """Kafka partitions of the topic once `connect` has returned; None where the receiver places events."""

    def connect(self) -> None:
        """Learns what is needed before the first event. Raises TransportDown; may be called again."""

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        """Sends events and waits for their receipts. Returns those to try again; raises TransportDown if it is all."""

    def close(self, timeout_s: float) -> None:
        """Gives up its connections. The emitter has flushed before."""

    def abandon(self) -> None:
        """Called in a forked child on what it inherited: touch no thread, no connection, and never be finalized."""


def transport_class(settings: Settings) -> Callable[[Settings], Transport]:
    """The transport the settings ask for, imported. Raises ConfigError when its package is not installed."""
    if settings.url:
        from jobtide_emitter.transports.http import HttpTransport

        return HttpTransport
    if settings.client in ("auto", "confluent") and find_spec("confluent_kafka"):
        from jobtide_emitter.transports.confluent import ConfluentTransport

        return ConfluentTransport
    if settings.client in ("auto", "aiokafka") and find_spec("aiokafka"):
        from jobtide_emitter.transports.aio import AiokafkaTransport

        return AiokafkaTransport
    wanted = "kafka" if settings.client != "aiokafka" else "aiokafka"
    raise ConfigError(f"JOBTIDE_EMITTER_BROKER needs a Kafka client: pip install 'jobtide-emitter[{wanted}]'")


def checked_partitions(count: int, topic: str) -> int:
    """The topic's partition count, if lanes can live on it: it divides 64. Raises ConfigError otherwise."""
    if count < 1 or 64 % count:
        raise ConfigError(f"topic {topic} has {count} partitions; jobtide needs a number that divides 64")
    return count
