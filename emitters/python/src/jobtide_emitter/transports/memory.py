"""A transport that keeps events in a list: for the tests of apps that use the emitter, and for our own.

Behaves like Kafka with `partitions` partitions; `down` makes it refuse, `refuse` lets it lose receipts of some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from jobtide_emitter.errors import TransportDown
from jobtide_emitter.packs import Pack, packs_of
from jobtide_emitter.ring import Record


class MemoryTransport:
    """Delivered packs in `packs`, their events in `events`."""

    def __init__(self, partitions: int | None = 8) -> None:
        self.partitions = partitions
        self.packs: list[Pack] = []
        self.down = False
        self.closed = False
        self.abandoned = False

    def connect(self) -> None:
        """Raises TransportDown while `down`."""
        if self.down:
            raise TransportDown("told to be down")

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        """Keeps all of them."""
        self.connect()
        self.packs.extend(packs_of(records, epoch, self.partitions or 1))
        return ()

    def close(self, timeout_s: float) -> None:
        """Notes that it was closed."""
        self.closed = True

    def abandon(self) -> None:
        """Notes that a fork left it behind."""
        self.abandoned = True

    @property
    def events(self) -> list[dict[str, Any]]:
        """All delivered events, decoded, in order of delivery."""
        found: list[dict[str, Any]] = []
        for pack in self.packs:
            value = orjson.loads(pack.value)
            found.extend(value if isinstance(value, list) else [value])
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Delivered events of one type, without its version: "job.started"."""
        return [event for event in self.events if event["type"] == f"{kind}.v1"]
