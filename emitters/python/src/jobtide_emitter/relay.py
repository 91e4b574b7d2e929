"""Events of short-lived children, handed to the parent that outlives them.

A backend that forks for every job (RQ) would have to connect, send and wait in each child, and a child that is killed
would take its events along. So the parent keeps one datagram socket pair: a child writes each event at once, without
waiting, the parent gives it its number. What the child could not write (the socket is full) it keeps, at most 1 000
events, and tries again; beyond that it tells the parent which lanes lost one, so that the loss is a hole.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from jobtide_emitter.guard import guarded

MAX_WAITING = 1_000
_LARGEST = 1 << 16
_RETRY_S = 0.001
_BARRIER = b"\xff"

Take = Callable[[bytes, int, int], None]
Lose = Callable[[int], None]


class ParentGone(Exception):
    """Nobody reads any more: the child is on its own."""


class Relay:
    """Made in the parent before it forks. `take(raw, lane, rank)` and `lose(lane)` are called in a parent's thread."""

    def __init__(self, take: Take, lose: Lose) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self._reader, self._writer):
            with contextlib.suppress(OSError):  # the default is fine too
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._writer.setblocking(False)
        self._take = take
        self._lose = lose
        self.is_child = False
        self._waiting: deque[bytes] = deque()
        self._lost: deque[int] = deque()
        self._reached = threading.Event()
        threading.Thread(target=self._read, name="jobtide-relay", daemon=True).start()

    def enter_child(self) -> bool:
        """In a forked child: only the writing end is ours. True if the relay can be used."""
        with contextlib.suppress(OSError):
            self._reader.close()  # else nobody would notice that the parent is gone
        self._waiting.clear()
        self._lost.clear()
        self.is_child = True
        return True

    def send(self, raw: bytes, lane: int, rank: int) -> None:
        """Hands an event over, now or with a later one; never waits. Raises ParentGone."""
        self._waiting.append(bytes((rank, lane)) + raw)
        if not self._write_waiting() and len(self._waiting) > MAX_WAITING:
            self._lost.append(self._waiting.popleft()[1])

    def drain(self, timeout_s: float) -> bool:
        """In a child: writes what waits. In the parent: waits until all that was written before is taken."""
        deadline = time.monotonic() + timeout_s
        if not self.is_child:
            return self._barrier(deadline)
        with contextlib.suppress(ParentGone):
            while not self._write_waiting():
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_RETRY_S)
            return True
        return False

    def leftovers(self) -> list[tuple[bytes, int, int]]:
        """What the child still holds, for its own ring."""
        events = [(frame[2:], frame[1], frame[0]) for frame in self._waiting if len(frame) > 2]
        self._waiting.clear()
        return events

    def _write_waiting(self) -> bool:
        try:
            while self._waiting:
                self._writer.send(self._waiting[0])
                self._waiting.popleft()
            while self._lost:
                self._writer.send(bytes((0, self._lost[0])))
                self._lost.popleft()
        except BlockingIOError:
            return False
        except OSError as error:  # refused, broken pipe: the parent ended; or a datagram this system does not take
            raise ParentGone(str(error)) from error
        return True

    def _barrier(self, deadline: float) -> bool:
        self._reached.clear()
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                self._writer.send(_BARRIER)
                break
            time.sleep(_RETRY_S)
        return self._reached.wait(max(0.0, deadline - time.monotonic()))

    def _read(self) -> None:
        while True:
            try:
                frame = self._reader.recv(_LARGEST)
            except OSError:
                return
            _received(self, frame)

    def received(self, frame: bytes) -> None:
        """One datagram, in the parent."""
        if frame == _BARRIER:
            self._reached.set()
        elif len(frame) > 2:
            self._take(frame[2:], frame[1], frame[0])
        elif len(frame) == 2:
            self._lose(frame[1])


@guarded("relay.read")
def _received(relay: Relay, frame: bytes) -> None:
    relay.received(frame)
