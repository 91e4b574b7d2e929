"""The background thread of a process: takes events from the ring, delivers them, tries again, and keeps time for beats.

Started with the first event, once per process; a fork starts without it. Hooks only ever call `wake`, which neither
waits nor allocates a lock that a signal handler could find taken. What was taken and not acknowledged stays in the
window, at most 256 KiB, and goes again under the same numbers: the stream knows a repeat when it sees one.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence

from jobtide_emitter.errors import ConfigError, TransportDown
from jobtide_emitter.guard import guarded, log
from jobtide_emitter.ring import Record, Ring
from jobtide_emitter.spool import Spool
from jobtide_emitter.transports import Transport

WINDOW_BYTES = 256 << 10  # small: whoever packs a window holds the interpreter for that long
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_LONGEST_SLEEP_S = 3600.0
_CLOSE_S = 0.5
_KNOWN_DOWN_S = 0.05  # how long a flush waits when the last delivery failed


class Flusher:
    """Delivers one ring, and what of it or of dead processes is in the spool, through one transport."""

    def __init__(
        self, ring: Ring, make_transport: Callable[[], Transport], linger_ms: int, spool: Spool | None = None
    ) -> None:  # fmt: skip
        self.ring = ring
        self._spool = spool
        self.awake = False
        self.down = False
        self.beats: list[Callable[[float], float]] = []  # called with the monotonic time; returns when to call again
        self._make_transport = make_transport
        self._linger_s = linger_ms / 1000
        self._transport: Transport | None = None
        self._window: Sequence[Record] = ()
        self._window_epoch = ""  # the window came from the spool if this is not empty
        self._window_order = 0  # of the last event the ring's window had when it was taken
        self._taken = 0  # all events up to this order are delivered, dropped, spooled, in that order
        self._settled = 0  # all events up to this order are delivered or dropped
        self._signal = threading.Lock()  # a binary semaphore: taken while there is nothing to do
        self._signal.acquire()
        self._hurry = False
        self._stop = False
        self._thread: threading.Thread | None = None
        self._complained = ""

    @property
    def partitions(self) -> int | None:
        """Kafka partitions, once connected; None before, and where the receiver places events."""
        return self._transport.partitions if self._transport is not None else None

    @property
    def connected(self) -> bool:
        """Whether the transport has been reached since the process started."""
        return self._transport is not None

    def wake(self) -> None:
        """Makes the thread look at the ring; starts it if there is none yet."""
        self.awake = True
        if self._thread is None:
            self._start()
        self._release()

    def flush(self, timeout_s: float) -> bool:
        """Waits until what is in the ring now has been acknowledged. False: not in time, or known to be down."""
        target = self.ring.last_order
        started = time.monotonic()
        if self._settled < target:
            self._hurry = True
            self.wake()
        while self._settled < target:
            waited = time.monotonic() - started
            if waited >= timeout_s or (self.down and waited >= _KNOWN_DOWN_S):
                return False
            time.sleep(0.001)
        return True

    @property
    def unacknowledged(self) -> Sequence[Record]:
        """What has left the ring and is nowhere else."""
        return () if self._window_epoch else self._window

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread, and with it the transport; what is still in the ring is left. A thread that cannot end in
        time (a receiver hangs) is left to end later or with the process, and False is returned."""
        self._stop = True
        self._release()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
            return not self._thread.is_alive()
        return self._thread is None

    def abandon(self) -> None:
        """In a forked child: nothing of the parent's may be touched."""
        if self._transport is not None:
            self._transport.abandon()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="jobtide-emitter", daemon=True)
        self._thread.start()

    def _release(self) -> None:
        try:
            self._signal.release()
        except RuntimeError:  # not taken: the thread will look anyway
            return

    def _run(self) -> None:
        while not self._stop:
            if _step(self) is None:
                self._signal.acquire(timeout=_LONGEST_PAUSE_S)
        if self._transport is not None:
            self._transport.close(_CLOSE_S)

    def step(self) -> bool:
        """One turn of the thread: beat, then sleep or deliver."""
        due = self._beat()
        if not self.ring.events and not self._window and not self._spool_waits():
            self._sleep(due)
            return True
        if not self._hurry and not self._window and self.ring.events:
            self._signal.acquire(timeout=self._linger_s)
        self._deliver()
        return True

    def _sleep(self, due: float) -> None:
        """Until somebody wakes the thread or a beat is due. An event put meanwhile is seen, whoever comes first."""
        self._taken = max(self._taken, self.ring.empty_order())
        self._settle()
        self._hurry = False
        self.awake = False
        if not self.ring.events:
            self._signal.acquire(timeout=max(0.0, due - time.monotonic()))
        self.awake = True

    def _beat(self) -> float:
        """Runs the beats that are due; returns when the next one is."""
        now = time.monotonic()
        return min([now + _LONGEST_SLEEP_S, *(_beat(beat, now) or now + 1.0 for beat in self.beats)])

    def _deliver(self) -> None:
        """Until the ring is empty. A failure pauses, longer each time; flush and stop cut the pause short."""
        pause_s = _FIRST_PAUSE_S
        while not self._stop:
            if not self._window:
                self._refill()
                if not self._window:
                    return
            done = _attempt(self)
            if done:
                pause_s = _FIRST_PAUSE_S
                continue
            self.down = self.down or done is None
            self._signal.acquire(timeout=pause_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter, not a secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            self._beat()

    def _refill(self) -> None:
        """The next window: from ring and spool in turns, so that neither waits for the end of the other."""
        if self._spool is not None and self._spool.waits and not (self._window_epoch and self.ring.events):
            self._window, self._window_epoch = self._spool.take(WINDOW_BYTES)
            if self._window:
                return
        self._window_epoch = ""
        self._window = self.ring.take(WINDOW_BYTES)
        if self._window:
            self._window_order = self._window[-1].order

    def _spool_waits(self) -> bool:
        return self._spool is not None and self._spool.waits

    def _settle(self) -> None:
        if self._spool is None or not self._spool.owes:
            self._settled = max(self._settled, self._taken)

    def attempt(self) -> bool:
        """Tries to deliver the window once; what remains of it goes again."""
        transport = self.reached()
        if transport is None:
            return False
        try:
            self._window = transport.deliver(self._window, self._window_epoch or self.ring.epoch)
        except TransportDown as error:
            self._complain(error)
            return False
        if self._window:
            return False
        self.down = False
        self._complained = ""
        if self._spool is not None and self._window_epoch:
            self._spool.delivered()
        else:
            self._taken = max(self._taken, self._window_order)
        self._settle()
        return True

    def reached(self) -> Transport | None:
        """The transport, connected; None if that cannot be done now. May wait: for the background thread only."""
        if self._transport is None:
            try:
                transport = self._make_transport()
                transport.connect()
            except (TransportDown, ConfigError) as error:
                self._complain(error)
                return None
            self._transport = transport
        return self._transport

    def _complain(self, error: Exception) -> None:
        """Once per outage and cause: the events wait in the buffer, and the log is the app's."""
        self.down = True
        if self._complained != str(error):
            self._complained = str(error)
            log.warning("jobtide: events wait in the buffer: %s", error)


@guarded("flusher.step")
def _step(flusher: Flusher) -> bool:
    return flusher.step()


@guarded("flusher.deliver")
def _attempt(flusher: Flusher) -> bool:
    return flusher.attempt()


@guarded("flusher.beat")
def _beat(beat: Callable[[float], float], now: float) -> float:
    return beat(now)
