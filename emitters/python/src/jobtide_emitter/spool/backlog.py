"""What a process has in the spool: its own events that did not fit the ring, and those of processes that are gone.

The writer's thread puts in, the flusher's thread takes out, oldest file first; a file goes when all of it has been
acknowledged. Whatever is taken twice, after a crash in between, goes out under the same epoch and number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from threading import Lock

from jobtide_emitter.ring import Record, Ring
from jobtide_emitter.settings import Settings
from jobtide_emitter.spool.directory import SpoolDirectory
from jobtide_emitter.spool.segments import Segment
from jobtide_emitter.spool.writer import Writer

BATCH_BYTES = 256 << 10
_ROOM_BYTES = BATCH_BYTES * 5 // 4  # for a batch, its heads, and the event that passes its limit
_LOOK_S = 10.0
_LARGEST_SEGMENT = 4 << 20


class Spool:
    """The spool as one process sees it; one epoch, one ring."""

    def __init__(self, settings: Settings, ring: Ring) -> None:
        self.spooled = 0  # events of this epoch that were written to disk
        self.owes = False  # events of this epoch are, or are about to be, in the spool and nowhere else
        self._directory = SpoolDirectory(settings.spool_dir, settings.target, settings.spool_bytes)
        self._segment_bytes = min(_LARGEST_SEGMENT, settings.spool_bytes // 4)
        self._ring = ring
        self._lock = Lock()
        self._open: Segment | None = None
        self._waiting: deque[Segment] = deque()
        self._reading: Segment | None = None
        self._rest: deque[Record] = deque()
        self._kept_order = 0  # of the last event of a window that was kept
        self._closed = False
        self._next_look = 0.0
        self._writer = Writer(self.spill)
        ring.when_crowded(self._writer.wake)

    def spill(self) -> bool:
        """Moves events from the ring to disk until it is a quarter full. False when there is no room for more."""
        low_events, low_bytes = self._ring.max_events // 4, self._ring.max_bytes // 4
        while self._ring.events > low_events or self._ring.bytes > low_bytes:
            if not self._spill_batch():
                return False
        return True

    def keep(self, window: Sequence[Record]) -> bool:
        """Everything that is not acknowledged, for a process that may end: `window` is what the flusher holds. False when
        there was no room for all; the rest stays in the ring."""
        with self._lock:
            if window and window[-1].order > self._kept_order:
                if not self._has_room():
                    return False
                self._write(window)
                self._kept_order = window[-1].order
        while self._ring.events:
            if not self._spill_batch():
                return False
        return True

    def _spill_batch(self) -> bool:
        with self._lock:
            if not self._has_room():
                return False
            self.owes = True
            records = self._ring.take(BATCH_BYTES)
            try:
                self._write(records)
            except OSError:
                self._ring.dropped += len(records)
                raise
            return True

    def _has_room(self) -> bool:
        return not self._closed and self._directory.room_bytes() >= _ROOM_BYTES

    def _write(self, records: Sequence[Record]) -> None:
        if not records:
            return
        if self._open is None:
            self._open = self._directory.create(self._ring.epoch)
        self.owes = True
        self._open.append(records)
        self.spooled += len(records)
        if self._open.bytes >= self._segment_bytes:
            self._waiting.append(self._open)
            self._open = None

    def look(self, now: float) -> float:
        """Takes over the files of processes that are gone, if it is time; returns when to come again."""
        if now >= self._next_look:
            self._next_look = now + _LOOK_S
            found = self._directory.abandoned(self._ring.epoch)
            with self._lock:
                mine = {segment.path for segment in self._all()}
                self._waiting.extend(segment for segment in found if segment.path not in mine)
        return self._next_look

    @property
    def waits(self) -> bool:
        """Whether there is anything to deliver."""
        return bool(self._rest or self._waiting or self._open is not None)

    def take(self, max_bytes: int) -> tuple[list[Record], str]:
        """The next events to deliver, and their epoch. For the flusher's thread."""
        while not self._rest and self._advance():
            continue
        records: list[Record] = []
        size = 0
        while self._rest and size < max_bytes:
            records.append(self._rest.popleft())
            size += len(records[-1].raw)
        return records, self._reading.epoch if self._reading is not None else self._ring.epoch

    def _advance(self) -> bool:
        """Opens the next file; False if there is none."""
        self.delivered()
        with self._lock:
            if not self._waiting and self._open is not None:
                self._waiting.append(self._open)
                self._open = None
            if not self._waiting:
                return False
            self._reading = self._waiting.popleft()
        self._rest.extend(self._reading.records())
        return True

    def delivered(self) -> None:
        """All that was taken is acknowledged."""
        with self._lock:
            if not self._rest and self._reading is not None:
                self._reading.remove()
                self._reading = None
            self.owes = self.owes and any(segment.epoch == self._ring.epoch for segment in self._all())

    def _all(self) -> list[Segment]:
        return [segment for segment in (*self._waiting, self._open, self._reading) if segment is not None]

    def close(self, *, leave: bool) -> None:
        """Nothing is written any more. `leave` says that the flusher has ended, so that the files may be given up."""
        with self._lock:
            self._closed = True
            if leave:
                self.leave()

    def leave(self) -> None:
        """Gives the files up, for whoever takes them over. In a forked child the parent keeps them."""
        for segment in self._all():
            segment.leave()
        self._open = self._reading = None
        self._waiting.clear()
        self._rest.clear()
