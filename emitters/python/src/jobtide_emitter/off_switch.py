"""The off switch that needs no restart: while a file exists, nothing is told. Looked for once a second, by whoever tells then."""

from __future__ import annotations

import os
import time

_LOOK_S = 1.0


class OffSwitch:
    """One file. An emitter without one has no switch, and pays nothing for it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._next = 0.0
        self._found = False

    def off(self) -> bool:
        """Whether the file is there, as of the last look."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LOOK_S
            self._found = os.path.exists(self._path)  # noqa: PTH110 - that of Path raises: a name too long, a folder that is not ours
        return self._found
