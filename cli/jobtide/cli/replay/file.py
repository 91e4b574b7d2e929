"""Reads events from a file: JSON lines, gzipped or not, or standard input. Judges nothing."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jobtide.streams.errors import ConfigError

_GZIP_MAGIC = b"\x1f\x8b"


class EventFile:
    """A file being read: its lines, and how far it is (`read_bytes` of `total_bytes`, which is 0 when unknown)."""

    def __init__(self, raw: IO[bytes], total_bytes: int) -> None:
        self._raw = raw
        self.total_bytes = total_bytes

    @property
    def read_bytes(self) -> int:
        return self._raw.tell() if self._raw.seekable() else 0

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(number from 1, line) of every line that is not blank. ConfigError when a gzipped file is cut off."""
        gzipped = self._raw.seekable() and self._raw.peek(2)[:2] == _GZIP_MAGIC  # type: ignore[attr-defined]
        stream = gzip.GzipFile(fileobj=self._raw) if gzipped else self._raw
        try:
            for number, line in enumerate(stream, 1):
                if line := line.strip():
                    yield number, line
        except (EOFError, gzip.BadGzipFile, OSError) as error:
            raise ConfigError(f"the file cannot be read to its end ({error}): check it") from None


@contextmanager
def opened(path: str) -> Iterator[EventFile]:
    """The file at `path`; "-" is standard input. ConfigError, one sentence, when it cannot be opened."""
    if path == "-":
        yield EventFile(sys.stdin.buffer, 0)
        return
    try:
        size = Path(path).stat().st_size
        raw = Path(path).open("rb")  # noqa: SIM115  # closed below; only the opening may fail this way
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    with raw:
        yield EventFile(raw, size)
