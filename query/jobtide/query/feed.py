"""Tells every subscriber of `/v1/live` what changed: numbered changes, a ring to resume from, and bounded queues.

Numbers are of this process: an id is `<boot>:<n>`, and another process has another boot. The ring keeps which keys
changed, not what they were: values are absolute, so a client that comes back is told the present of everything that
changed meanwhile, in one delta. A client that cannot follow is let go; it comes back and resumes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from jobtide.query import sse
from jobtide.query.frames import Change, Changes, Frames, Topic
from jobtide.query.mirror import Mirror
from jobtide.query.selection import Key
from jobtide.streams.snapshots import SnapshotKind

TICK_S = 0.1  # changes are gathered for so long: well within the 250 ms that clients may be behind
CHECK_S = 1.0  # between two looks at whether Redis is there
HEARTBEAT_S = 10.0
MAX_FRAMES = 64  # a client this far behind is let go: 6 s of changes
MAX_RING = 4096  # numbers to resume from: 7 minutes of constant change
MAX_RING_KEYS = 400_000
MAX_CLIENTS = 2000


class Tick(NamedTuple):
    n: int
    changed: frozenset[Change]


class Subscriber:
    """One client: its topic and the frames it has not been sent."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.frames: asyncio.Queue[bytes] = asyncio.Queue(MAX_FRAMES)
        self.lost = False

    def offer(self, frame: bytes) -> None:
        """Queue a frame; a client whose queue is full is lost."""
        try:
            self.frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.lost = True


class Feed:
    """`run` until cancelled. `boot`: random per process, so that numbers of another one are not taken for ours."""

    def __init__(self, mirror: Mirror, frames: Frames, boot: str, now_us: Callable[[], int]) -> None:
        self.n = 0
        self.boot = boot
        self.dropped = 0
        self.subscribers: dict[Subscriber, None] = {}
        self._mirror = mirror
        self._frames = frames
        self._now_us = now_us
        self._ring: deque[Tick] = deque()
        self._ring_keys = 0
        self._changed: dict[Change, None] = {}
        self._wake = asyncio.Event()
        self._ticking = asyncio.Lock()  # frames of one change must not be overtaken by those of the next
        self._told_unavailable = mirror.unavailable
        mirror.listeners.append(self._note)

    def _note(self, kind: SnapshotKind, key: Key) -> None:
        self._changed[kind, key] = None
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), CHECK_S)
                await asyncio.sleep(TICK_S)
            except TimeoutError:
                pass
            await self.tick()

    async def tick(self) -> None:
        """Number what changed since the last tick, and tell whoever it concerns."""
        async with self._ticking:
            self._wake.clear()
            changed, self._changed = frozenset(self._changed), {}
            news = self._mirror.unavailable != self._told_unavailable
            self._told_unavailable = self._mirror.unavailable
            if changed:
                self._number(changed)
            if changed or news:
                await self._tell(changed, news)

    def _number(self, changed: frozenset[Change]) -> None:
        self.n += 1
        self._ring.append(Tick(self.n, changed))
        self._ring_keys += len(changed)
        while len(self._ring) > MAX_RING or (self._ring_keys > MAX_RING_KEYS and len(self._ring) > 1):
            self._ring_keys -= len(self._ring.popleft().changed)

    async def _tell(self, changed: frozenset[Change], news: bool) -> None:
        topics: dict[Topic, list[Subscriber]] = {}
        for subscriber in self.subscribers:
            topics.setdefault(subscriber.topic, []).append(subscriber)
        self._frames.keep(topic.window for topic in topics)
        n = self.n
        for topic, subscribers in topics.items():
            changes = self._frames.changes(topic, changed)
            if changes or news:
                frame = await self._frame("delta", topic, changes, n)
                for subscriber in subscribers:
                    subscriber.offer(frame)
        for subscriber in [s for s in self.subscribers if s.lost]:
            self.dropped += 1
            del self.subscribers[subscriber]

    async def _frame(self, event: str, topic: Topic, changes: Changes, n: int) -> bytes:
        return sse.frame(
            event, f"{self.boot}:{n}", await self._frames.body(topic, changes, self._now_us(), self._degraded())
        )

    def _degraded(self) -> list[str]:
        missing = self._mirror.unavailable
        return [f"Redis is out of reach ({missing}): these are the last values known"] if missing else []

    async def stream(self, topic: Topic, last_event_id: str | None) -> AsyncGenerator[bytes, None]:
        """The frames of one client, from a snapshot or from where it was, until it is lost."""
        await self.tick()  # what changed before it came is for the others
        subscriber = Subscriber(topic)
        self.subscribers[subscriber] = None
        try:
            async for frame in self._beginning(topic, last_event_id):
                yield frame
            while not subscriber.lost:
                try:
                    yield await asyncio.wait_for(subscriber.frames.get(), HEARTBEAT_S)
                except TimeoutError:
                    yield sse.heartbeat(f"{self.boot}:{self.n}")
        finally:
            self.subscribers.pop(subscriber, None)

    async def _beginning(self, topic: Topic, last_event_id: str | None) -> AsyncGenerator[bytes, None]:
        # What changes while this is made is queued behind it, whole and newer.
        n = self.n
        if last_event_id is not None:
            changed = self._since(last_event_id)
            if changed is not None:
                if changes := self._frames.changes(topic, changed):
                    yield await self._frame("delta", topic, changes, n)
                return
            yield sse.frame(
                "reset", f"{self.boot}:{n}", b'{"reason":"too long ago, or another server: forget what you have"}'
            )
        yield await self._frame("snapshot", topic, self._frames.everything(topic), n)

    def _since(self, last_event_id: str) -> set[Change] | None:
        """What changed after an id of ours; None if that cannot be told."""
        boot, _, number = last_event_id.partition(":")
        if boot != self.boot or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        last, oldest = int(number), self._ring[0].n if self._ring else self.n + 1
        if not oldest - 1 <= last <= self.n:
            return None
        return {change for tick in self._ring if tick.n > last for change in tick.changed}
