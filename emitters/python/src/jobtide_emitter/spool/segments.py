"""One file of the spool: a header with the epoch, then numbered events, each with its length and CRC32.

Written by one process, without fsync: it outlives the process, not a power cut. Whoever holds the file's lock owns it: the
writer while it lives, then the process that delivers it. A torn or damaged tail is ignored; its numbers are holes.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

from jobtide_emitter.ring import Record

try:
    import fcntl
except ImportError:  # no such locks on this system: no spool
    fcntl = None  # type: ignore[assignment]

available = fcntl is not None
_MAGIC = b"JTSPOOL1"
_HEAD = struct.Struct("<II")  # length and crc32 of the body
_NUMBER = struct.Struct("<bQ")  # lane and seq, then the event
_LARGEST_BODY = 1 << 20


class Segment:
    """An open file whose lock is held. Made by `create` and `adopt`."""

    def __init__(self, path: Path, descriptor: int, epoch: str, size: int) -> None:
        self.path = path
        self.epoch = epoch
        self.bytes = size
        self._descriptor = descriptor

    def append(self, records: Sequence[Record]) -> None:
        """Writes records behind the others, in one write. Raises OSError and leaves the file as it was when the disk
        does not take them all."""
        batch = b"".join(_encoded(record) for record in records)
        try:
            written = os.write(self._descriptor, batch)
        except OSError:
            self._cut()
            raise
        if written < len(batch):
            self._cut()
            raise OSError(f"{self.path}: the disk took {written} of {len(batch)} bytes")
        self.bytes += len(batch)

    def records(self) -> list[Record]:
        """All whole events, in order."""
        return _decoded(os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0), self.epoch)

    def remove(self) -> None:
        """All of it has been delivered."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.leave()

    def leave(self) -> None:
        """Gives the file up: the lock goes when every process that has it open has closed it."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self.bytes)


def create(path: Path, epoch: str) -> Segment | None:
    """A new file, locked; None when another process was faster to take it for abandoned. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        if not locked(descriptor):
            os.close(descriptor)
            return None
        header = _header(epoch)
        if os.write(descriptor, header) < len(header):
            raise OSError(f"{path}: the disk is full")
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)
        raise
    return Segment(path, descriptor, epoch, len(header))


def adopt(path: Path) -> Segment | None:
    """The file of a process that is gone, locked; None while its writer lives, or if it is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError:
        return None
    try:
        if locked(descriptor):
            beginning = os.pread(descriptor, len(_MAGIC) + 256, 0)
            epoch = _epoch_in(beginning)
            return Segment(path, descriptor, epoch, os.fstat(descriptor).st_size)
    except OSError:
        pass
    os.close(descriptor)
    return None


def locked(descriptor: int) -> bool:
    """Takes the lock if nobody has it, and the file if nobody has removed it meanwhile."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _header(epoch: str) -> bytes:
    name = epoch.encode()
    return _MAGIC + bytes((len(name),)) + name


def _epoch_in(data: bytes) -> str:
    """The epoch of a header; empty when it is torn, and then nothing follows it either."""
    if not data.startswith(_MAGIC) or len(data) <= len(_MAGIC):
        return ""
    end = len(_MAGIC) + 1 + data[len(_MAGIC)]
    return data[len(_MAGIC) + 1 : end].decode("ascii", "replace") if len(data) >= end else ""


def _encoded(record: Record) -> bytes:
    body = _NUMBER.pack(record.lane, record.seq) + record.raw
    return _HEAD.pack(len(body), crc32(body)) + body


def _decoded(data: bytes, epoch: str) -> list[Record]:
    found: list[Record] = []
    for _, body in bodies(data, len(_header(epoch)) if epoch else len(data), _HEAD, _LARGEST_BODY):
        if len(body) <= _NUMBER.size:
            break
        lane, seq = _NUMBER.unpack_from(body)
        found.append(Record(len(found), lane, seq, body[_NUMBER.size :]))
    return found


def bodies(data: bytes, at: int, head: struct.Struct, largest: int) -> Iterator[tuple[int, bytes]]:
    """(where its record begins, body) of each record from `at` on. One that is torn or damaged ends them."""
    while at + head.size <= len(data):
        length, checksum = head.unpack_from(data, at)
        body = data[at + head.size : at + head.size + length]
        if length > largest or len(body) < length or crc32(body) != checksum:
            return
        yield at, body
        at += head.size + length
