"""The thread that moves events from a crowded ring to the spool. No hook waits for the disk: hooks only wake it.

Begun when the ring is three quarters full, until it is a quarter full. When the spool has no room the ring drops as it
would without one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from jobtide_emitter.guard import guarded, log

_RETRY_S = 5.0


class Writer:
    """Calls `spill` when woken. `spill` returns False when the spool took nothing."""

    def __init__(self, spill: Callable[[], bool]) -> None:
        self._spill = spill
        self._signal = threading.Lock()
        self._signal.acquire()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0

    def wake(self) -> None:
        """Called by the ring, in whoever emits: neither waits nor raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="jobtide-spool", daemon=True)
            self._thread.start()
        try:
            self._signal.release()
        except RuntimeError:  # it has been woken already
            return

    def _run(self) -> None:
        while True:
            self._signal.acquire()
            if time.monotonic() >= self._not_before and not _spill(self):
                self._not_before = time.monotonic() + _RETRY_S

    def spill(self) -> bool:
        """One round."""
        try:
            return self._spill()
        except OSError as error:
            log.warning("jobtide: the spool cannot be written, events may be dropped: %s", error)
            return False


@guarded("spool.spill")
def _spill(writer: Writer) -> bool:
    return writer.spill()
