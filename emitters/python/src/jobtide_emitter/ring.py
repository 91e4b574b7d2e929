"""The buffer between hooks and delivery: bounded in events and bytes, it never blocks and never grows.

`put` gives an event its number (per lane, from 0) and keeps it. When the buffer is full the least important and oldest
event goes: heartbeats first, ends of attempts last. A dropped event has had its number, so the drop is a hole that the
stream sees; before that, `when_crowded` gives somebody the chance to take events elsewhere. Knows nothing of Kafka; one
ring belongs to one process and one epoch.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from itertools import count
from threading import RLock
from typing import NamedTuple

from jobtide_emitter.lanes import LANES

UNNUMBERED = -1  # the lane of events that the receiver places (see `workers`): no epoch, lane and seq on the wire
_BITE = 32  # events taken under one hold of the lock: a hook waits for no more than that


class Rank(IntEnum):
    """How long an event is kept when not all can be."""

    BEAT = 0  # said again in a few seconds
    STEP = 1  # a step of an attempt that its outcome mostly implies
    END = 2  # how an attempt ended: said once


class Record(NamedTuple):
    """A numbered event. `order` counts all events of the ring; `raw` is its JSON without id, epoch, lane and seq."""

    order: int
    lane: int
    seq: int
    raw: bytes


class Ring:
    """Events of one epoch on their way out. Safe for threads, and for a signal handler that strikes within `put`."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.epoch = secrets.token_hex(8)
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.events = 0
        self.bytes = 0
        self.dropped = 0
        self.last_order = 0  # events numbered so far, dropped ones included
        self._high_events = max_events  # above this, `put` does more than keep the event
        self._high_bytes = max_bytes
        self._relief: Callable[[], None] | None = None
        self.next: list[int] = [0] * LANES
        # RLock and counters rather than `next[lane] += 1`: a signal handler that emits runs inside `put` of its own
        # thread; a plain lock would deadlock there, and a read-then-write could give one number twice.
        self._lock = RLock()
        self._numbers = [count() for _ in range(LANES + 1)]  # the last one is for UNNUMBERED
        self._orders = count(1)
        self._queues: tuple[deque[tuple[int, int, int, bytes]], ...] = tuple(deque() for _ in Rank)

    def put(self, raw: bytes, lane: int, rank: int) -> None:
        """Numbers an event and keeps it, dropping others if it must."""
        with self._lock:
            self._queues[rank].append((*self._number(lane), raw))
            self.events += 1
            self.bytes += len(raw)
            if self.events > self._high_events or self.bytes > self._high_bytes:
                self._crowded()

    def when_crowded(self, relief: Callable[[], None]) -> None:
        """From now on `relief` is called with every event that finds the ring three quarters full. It must not wait."""
        self._relief = relief
        self._high_events = self.max_events * 3 // 4
        self._high_bytes = self.max_bytes * 3 // 4

    def lose(self, lane: int) -> None:
        """Numbers an event that was lost on its way here, so that the stream sees the hole."""
        with self._lock:
            self._number(lane)
            self.dropped += 1

    def take(self, max_bytes: int) -> list[Record]:
        """Removes the oldest events, in order, up to `max_bytes` of them (at least one, if there is any)."""
        taken: list[Record] = []
        size = 0
        while size < max_bytes and self.events:
            with self._lock:
                for _ in range(_BITE):
                    waiting = [queue for queue in self._queues if queue]
                    if not waiting or size >= max_bytes:
                        break
                    record = Record(*min(waiting, key=_first_order).popleft())
                    self.events -= 1
                    self.bytes -= len(record.raw)
                    size += len(record.raw)
                    taken.append(record)
            time.sleep(0)  # lets a job's thread have the interpreter
        return taken

    def empty_order(self) -> int:
        """The order of the last event numbered, if all have been taken or dropped; 0 if some wait."""
        with self._lock:
            return 0 if self.events else self.last_order

    def _number(self, lane: int) -> tuple[int, int, int]:
        seq = next(self._numbers[lane])
        order = next(self._orders)
        self.last_order = order
        if lane >= 0 and self.next[lane] <= seq:
            self.next[lane] = seq + 1
        return order, lane, seq

    def _crowded(self) -> None:
        if self._relief is not None:
            self._relief()
        self._drop()

    def _drop(self) -> None:
        while self.events > self.max_events or self.bytes > self.max_bytes:
            queue = next((queue for queue in self._queues if queue), None)
            if queue is None:
                return
            self.events -= 1
            self.bytes -= len(queue.popleft()[3])
            self.dropped += 1


def _first_order(queue: deque[tuple[int, int, int, bytes]]) -> int:
    return queue[0][0]
