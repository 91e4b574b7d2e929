"""The newest word of each worker and queue in one source partition: passed on whole, since these events are absolute already.

Not counted and not joined: the event with the later time wins. Stage 2 puts a worker's slices from all partitions together.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from jobtide.streams.events import Event, Kind, QueueEvent, WorkerEvent
from jobtide.streams.folds.records import QUEUE, SEPARATOR, WORKER, encode, join_key

KEPT_US = 24 * 3600 * 1_000_000
FORGIVEN_US = 100_000  # per event: a clock that was set right is believed again after some


class Notice(msgspec.Struct, array_like=True):
    """`kind` is the event's Kind; `data` its data as a plain mapping.

    `lag_us`: how far the sender's clock is behind the broker's, the way included: the least of its last events, so that one that waited in a
    spool does not look like a clock that is wrong. Below zero its clock is ahead.
    """

    kind: int
    time_us: int
    data: dict[str, object]
    lag_us: int | None = None


class Notices:
    """At most one notice per worker, queue, and pause state of a queue."""

    def __init__(self) -> None:
        self._newest: dict[bytes, Notice] = {}
        self._workers: dict[bytes, tuple[str, str, str, str]] = {}  # the names in the keys
        self._unsaved: dict[bytes, None] = {}
        self._unpublished: dict[bytes, None] = {}

    def note(self, event: Event, time_us: int, append_us: int | None = None) -> None:
        """Keep a worker or queue event if it is not older than what is known; others (deploy marks) are history's."""
        key = _key(event)
        if key is None:
            return
        known = self._newest.get(key)
        if known is not None and known.time_us > time_us:
            return
        data = {k: v for k, v in msgspec.to_builtins(event.data).items() if v is not None}
        lag_us = None if append_us is None else append_us - event.time_us
        if lag_us is not None and known is not None and known.lag_us is not None:
            lag_us = min(lag_us, known.lag_us + FORGIVEN_US)
        self._newest[key] = Notice(event.kind, time_us, data, lag_us)
        self._unsaved[key] = self._unpublished[key] = None
        self._name(key)

    def _name(self, key: bytes) -> None:
        if key.startswith(WORKER) and key not in self._workers:
            _, tenant, environment, system, worker_id = key.decode().split(SEPARATOR)
            self._workers[key] = (tenant, environment, system, worker_id)

    def workers(self) -> Iterator[tuple[tuple[str, str, str, str], Notice]]:
        """The newest word of every worker: ((tenant, environment, system, worker_id), notice)."""
        newest = self._newest
        return ((name, newest[key]) for key, name in self._workers.items())

    def take_unpublished(self) -> list[tuple[bytes, Notice]]:
        keys, self._unpublished = self._unpublished, {}
        return [(key, self._newest[key]) for key in keys if key in self._newest]

    def save(self, now_us: int) -> list[tuple[bytes, bytes | None]]:
        keys, self._unsaved = self._unsaved, {}
        out: list[tuple[bytes, bytes | None]] = [(b"n" + k, encode(self._newest[k])) for k in keys]
        for key in [k for k, n in self._newest.items() if now_us - n.time_us > KEPT_US]:
            del self._newest[key]
            self._workers.pop(key, None)
            out.append((b"n" + key, None))
        return out

    def load(self, key: bytes, notice: Notice) -> None:
        self._newest[key] = notice
        self._unpublished[key] = None
        self._name(key)


def _key(event: Event) -> bytes | None:
    if isinstance(event, WorkerEvent):
        return join_key((WORKER.decode(), event.data.tenant, event.data.environment, event.data.system, event.data.worker_id))
    if isinstance(event, QueueEvent):
        about = "size" if event.kind == Kind.QUEUE_SNAPSHOT else "pause"
        return join_key((QUEUE.decode(), event.data.tenant, event.data.environment, event.data.system, event.data.queue, about))
    return None
