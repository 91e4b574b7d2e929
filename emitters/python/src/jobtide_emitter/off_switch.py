"""The off switch that needs no restart: while a file exists, nothing is told. Looked for once a second, by whoever tells then."""

from __future__ import annotations

import time
from pathlib import Path

_LOOK_S = 1.0


class OffSwitch:
    """One file. An emitter without one has no switch, and pays nothing for it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._next = 0.0
        self._found = False

    def off(self) -> bool:
        """Whether the file is there, as of the last look."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LOOK_S
            self._found = self._path.exists()
        return self._found
