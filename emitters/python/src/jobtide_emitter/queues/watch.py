"""A worker's thread that asks the backend how long its queues are, and says it if this process is the elected one.

Elected is whoever holds a key of two intervals' life in the backend's own Redis, one per tenant, environment and queue; when it goes,
another takes it over. Nothing of a job waits for this thread, and what fails in it is tried again the next time.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from jobtide_emitter import bounds
from jobtide_emitter.guard import guarded
from jobtide_emitter.moments import text_of
from jobtide_emitter.ring import Rank
from jobtide_emitter.settings import Settings

_GOES_AWAY_AFTER = 2.5  # intervals


class Snapshot(NamedTuple):
    """What a backend says of one queue; None is what it does not know."""

    ready: int
    scheduled: int | None = None
    running: int | None = None
    dead: int | None = None
    oldest_us: int | None = None
    paused: bool | None = None

    def data(self) -> dict[str, Any]:
        """As contract data."""
        found = {**self._asdict(), "oldest_ready_at": None if self.oldest_us is None else text_of(self.oldest_us)}
        del found["oldest_us"]
        return {name: value for name, value in found.items() if value is not None}


class Counts(Protocol):
    """What a backend's module gives: its Redis, and the counts of a queue."""

    system: str
    redis: Any

    def snapshot(self, queue: str) -> Snapshot:
        """Asks the backend."""


class Sayer(Protocol):
    """What the watch needs of the emitter."""

    settings: Settings

    def emit(self, kind: str, data: dict[str, Any], *, partitionkey: str, subject: str, rank: int) -> None:
        """Takes one event."""


class Watch:
    """Watches some queues of one backend. `make` connects, in the thread, and may raise."""

    def __init__(self, emitter: Sayer, make: Callable[[], Counts], queues: Iterable[str]) -> None:
        self._emitter = emitter
        self._make = make
        self._queues = sorted(queues)
        self._counts: Counts | None = None
        self._me = f"{socket.gethostname()}:{os.getpid()}:{id(self):x}".encode()
        self._stop = threading.Event()

    def start(self) -> None:
        """Begins the thread."""
        threading.Thread(target=self._run, name="jobtide-queues", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread, soon; does not wait."""
        self._stop.set()

    def _run(self) -> None:
        interval_s = self._emitter.settings.snapshot_ms / 1000
        while not self._stop.wait(interval_s):
            _look(self)

    def look(self) -> None:
        """Says what the backend says of each queue that this process is elected for."""
        if self._counts is None:
            self._counts = self._make()
        settings, counts = self._emitter.settings, self._counts
        for queue in self._queues:
            if not self._elected(counts, queue):
                continue
            name = bounds.name(queue)
            data = {"system": counts.system, "queue": name, **counts.snapshot(queue).data()}
            key = f"{settings.tenant}/{counts.system}/q/{name}"
            self._emitter.emit("queue.snapshot.v1", data, partitionkey=key, subject=name, rank=Rank.BEAT)

    def _elected(self, counts: Counts, queue: str) -> bool:
        settings = self._emitter.settings
        key = f"jobtide:queues:{settings.tenant}:{settings.environment}:{counts.system}:{queue}"
        life_ms = int(settings.snapshot_ms * _GOES_AWAY_AFTER)
        if counts.redis.set(key, self._me, nx=True, px=life_ms):
            return True
        if _bytes(counts.redis.get(key)) != self._me:
            return False
        counts.redis.pexpire(key, life_ms)
        return True


def watched(emitter: Any, make: Callable[[], Counts], queues: Iterable[str]) -> None:
    """Watches queues for as long as the emitter's worker is online."""
    if emitter.enabled:
        emitter.watch(Watch(emitter, make, queues))


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


@guarded("queues.look")
def _look(watch: Watch) -> None:
    watch.look()
