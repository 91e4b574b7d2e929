"""A worker process as the stream sees it: online, a heartbeat with what it holds every ten seconds, stopping, offline.

The backend's hook says what the worker is and what it holds; the flusher's thread calls `beat`. A step that comes
before the first contact with Kafka waits here, because only then the number of partitions is known.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from jobtide_emitter import bounds
from jobtide_emitter.broadcasts import Held, worker_slices
from jobtide_emitter.moments import now_us
from jobtide_emitter.ring import UNNUMBERED, Rank
from jobtide_emitter.settings import Settings

_STATM = Path("/proc/self/statm")


class Broadcaster(Protocol):
    """What a worker needs of the emitter."""

    settings: Settings

    @property
    def partitions(self) -> int | None:
        """Kafka partitions of the topic; None where the receiver places events."""

    def reach(self) -> bool:
        """Whether the receiver has been reached; waits for one try."""

    def wake(self) -> None:
        """Makes the background thread look for what is due."""

    def emit(self, kind: str, data: dict[str, Any], *, partitionkey: str, lane: int, subject: str, at_us: int, rank: int) -> None:
        """Takes one event."""


class Worker:
    """One worker of one backend. `held` is called in another thread and returns what it holds now."""

    def __init__(
        self, emitter: Broadcaster, system: str, worker_id: str, queues: Sequence[str], concurrency: int,
        held: Callable[[], Sequence[Held]], version: str,
    ) -> None:  # fmt: skip
        settings = emitter.settings
        self._emitter = emitter
        self._held = held
        self._release = bounds.name(settings.release) if settings.release else ""
        self._interval_s = settings.heartbeat_ms / 1000
        self._facts: dict[str, Any] = {
            "tenant": settings.tenant,
            "environment": settings.environment,
            "system": system,
            "worker_id": bounds.name(worker_id),
            "hostname": bounds.name(socket.gethostname()),
            "pid": os.getpid(),
            "queues": [bounds.name(queue) for queue in queues][:64],
            "concurrency": concurrency,
            "interval_ms": settings.heartbeat_ms,
            "version": bounds.name(version, 128),
        }
        if settings.tag:
            self._facts["tag"] = bounds.name(settings.tag)
        self._key = f"{settings.tenant}/{system}/w/{self._facts['worker_id']}"
        self._steps: deque[tuple[str, str, int]] = deque()
        self._next_beat = 0.0
        self._cpu = (time.monotonic(), time.process_time())
        self._stopping = False
        self._step("online", "idle")

    def _step(self, kind: str, status: str) -> None:
        self._steps.append((f"worker.{kind}.v1", status, now_us()))

    def stopping(self) -> None:
        """The worker takes no more jobs; said at once by the background thread. Safe in a signal handler."""
        self._stopping = True
        self._step("stopping", "stopping")
        self._next_beat = 0.0
        self._emitter.wake()

    def beat(self, now: float) -> float:
        """Says what is due at the monotonic time `now`; returns when to come again."""
        if not self._emitter.reach():
            return now + 1.0
        self._say_steps()
        self._say_release()
        if now >= self._next_beat:
            self._next_beat = now + self._interval_s
            self._say("worker.heartbeat.v1", Rank.BEAT, self._usage(now), now_us())
        return self._next_beat

    def _say_release(self) -> None:
        """The release that this worker runs, to every partition."""
        release, self._release = self._release, ""
        if not release:
            return
        partitions = self._emitter.partitions
        tenant, system = self._facts["tenant"], self._facts["system"]
        for lane in (UNNUMBERED,) if partitions is None else range(partitions):
            data = {"release": release, "system": system}
            self._emitter.emit("deploy.marked.v1", data, partitionkey=tenant, lane=lane, subject=release, at_us=now_us(), rank=Rank.END)

    def end(self) -> None:
        """The worker is gone: said at once, in the thread that ends the process."""
        self._step("offline", "offline")
        self._say_steps()

    def _say_steps(self) -> None:
        while self._steps:
            kind, status, at_us = self._steps.popleft()
            self._say(kind, Rank.END, {"status": status}, at_us)

    def _say(self, kind: str, rank: int, more: dict[str, Any], at_us: int) -> None:
        held, complete = self._holding()
        more.setdefault("status", "stopping" if self._stopping else "busy" if held else "idle")
        facts = {**self._facts, **more}
        for lane, data in worker_slices(facts, held, complete, self._emitter.partitions):
            self._emitter.emit(kind, data, partitionkey=self._key, lane=lane, subject=facts["worker_id"], at_us=at_us, rank=rank)

    def _holding(self) -> tuple[list[Held], bool]:
        """What the worker holds. Backends keep it in sets that other threads change: a few tries, else incomplete."""
        for _ in range(5):
            try:
                return list(self._held()), True
            except RuntimeError:  # changed size during iteration
                continue
        return [], False

    def _usage(self, now: float) -> dict[str, Any]:
        """Memory and processor time of this process (not of children)."""
        wall, cpu = self._cpu
        self._cpu = (now, time.process_time())
        usage: dict[str, Any] = {}
        if now > wall:
            usage["cpu_percent"] = round(max(0.0, (self._cpu[1] - cpu) / (now - wall) * 100), 1)
        if _STATM.exists():
            usage["rss_bytes"] = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return usage
