"""The spool's directory: which files belong to our target, how much room is left, whose process is gone.

Files are named `<crc32 of the target>-<epoch>-<number>.spool`: processes that send elsewhere leave them alone. The bound
is for all files of a target together; processes that write at the same moment may pass it by a batch each.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from zlib import crc32

from jobtide_emitter.errors import ConfigError
from jobtide_emitter.spool import segments
from jobtide_emitter.spool.segments import Segment


class SpoolDirectory:
    """The files of one target in one directory."""

    def __init__(self, path: str, target: str, max_bytes: int) -> None:
        if not segments.available:
            raise ConfigError("JOBTIDE_EMITTER_SPOOL_DIR needs POSIX file locks, which this system has not: leave it empty")
        self._path = Path(path)
        self._prefix = f"{crc32(target.encode()):08x}-"
        self._max_bytes = max_bytes
        self._numbered = 0

    def room_bytes(self) -> int:
        """How much may still be written."""
        used = 0
        for path in self._files():
            with contextlib.suppress(OSError):  # delivered by another process meanwhile
                used += path.stat().st_size
        return self._max_bytes - used

    def create(self, epoch: str) -> Segment:
        """A new file of this process. Raises OSError."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            self._numbered += 1
            segment = segments.create(self._path / f"{self._prefix}{epoch}-{self._numbered}.spool", epoch)
            if segment is not None:
                return segment

    def abandoned(self, own_epoch: str) -> list[Segment]:
        """The files whose processes are gone; they are ours to deliver now."""
        found = []
        for path in sorted(self._files()):
            if own_epoch not in path.name and (segment := segments.adopt(path)) is not None:
                found.append(segment)
        return found

    def _files(self) -> list[Path]:
        try:
            return [path for path in self._path.iterdir() if path.name.startswith(self._prefix) and path.suffix == ".spool"]
        except OSError:
            return []
