"""What processes that are gone left in a spool directory, in the three formats there are, each taken by its own rule of ownership.

  <crc32 of the target>-<epoch>-<number>.spool   Python: the lock of the file says that its writer lives
  <crc32 of the target>-<epoch>.jtspool          Ruby: the same
  <host>~<pid>~<start>~<epoch>.nspool            Node: the process that is named; who takes it renames it to its own name

Ruby and Node keep whole events, one record each: length and CRC32, big endian, then the text. A torn or damaged tail is ignored; its
numbers are holes. Knows nothing of delivery.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from zlib import crc32

from jobtide_emitter.guard import log
from jobtide_emitter.packs import WHOLE
from jobtide_emitter.ring import Record
from jobtide_emitter.spool import segments

_MAGIC = b"JTSPOOL1"
_HEAD = struct.Struct(">II")
_LARGEST_TEXT = 64 << 10
_LANE = re.compile(rb',"lane":(\d+),"seq":\d+}$')
_NODE = re.compile(r"(?P<host>[^~]+)~(?P<pid>\d+)~(?P<start>\d+)~(?P<epoch>[0-9A-Za-z]+)\.nspool")
_ELSEWHERE_S = 300.0  # a file of another host that was not touched for that long has no owner


class LeftBehind(Protocol):
    """One file, ours as long as we hold it."""

    path: Path
    epoch: str

    def windows(self, max_bytes: int) -> Iterator[list[Record]]:
        """Its events, in order. Raises OSError."""

    def remove(self) -> None:
        """All of it has been delivered."""

    def leave(self) -> None:
        """Gives it up, for whoever comes next."""


def abandoned(directory: Path, target: str) -> Iterator[LeftBehind]:
    """The files nobody who lives owns, one after the other, taken over as they are asked for."""
    for path in _files(directory):
        found: LeftBehind | None = None
        if path.suffix == ".nspool":
            found = _claimed(path)
        elif path.name.startswith(_prefix(target)):
            found = _python(path) if path.suffix == ".spool" else _ruby(path)
        if found is not None:
            yield found


def foreign(directory: Path, target: str) -> int:
    """How many files are bound elsewhere. Node's do not say."""
    return sum(path.suffix != ".nspool" and not path.name.startswith(_prefix(target)) for path in _files(directory))


def _prefix(target: str) -> str:
    return f"{crc32(target.encode()):08x}-"


def _files(directory: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in directory.iterdir() if path.suffix in (".spool", ".jtspool", ".nspool"))
    return []


class _Segment:
    """A file of the Python emitter."""

    def __init__(self, segment: segments.Segment) -> None:
        self.path, self.epoch = segment.path, segment.epoch
        self._segment = segment
        self.remove, self.leave = segment.remove, segment.leave

    def windows(self, max_bytes: int) -> Iterator[list[Record]]:
        window: list[Record] = []
        size = 0
        for record in self._segment.records():
            window.append(record)
            size += len(record.raw)
            if size >= max_bytes:
                yield window
                window, size = [], 0
        if window:
            yield window


class _Texts:
    """A file of whole events, which name their epochs themselves."""

    epoch = ""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def windows(self, max_bytes: int) -> Iterator[list[Record]]:
        at = len(_MAGIC) if os.pread(self._descriptor, len(_MAGIC), 0) == _MAGIC else 0
        while at:
            window, after = self._window(at, max_bytes)
            if not window:
                break
            yield window
            at = after
        left = os.fstat(self._descriptor).st_size - at
        if left:
            log.warning("jobtide agent: %d bytes at the end of %s are torn", left, self.path.name)

    def _window(self, at: int, max_bytes: int) -> tuple[list[Record], int]:
        data = os.pread(self._descriptor, max_bytes + _HEAD.size + _LARGEST_TEXT, at)
        window: list[Record] = []
        after = 0
        for here, text in segments.bodies(data, 0, _HEAD, _LARGEST_TEXT):
            if here >= max_bytes:
                break
            lane = _LANE.search(text)
            window.append(Record(at + here, int(lane[1]) if lane else -1, WHOLE, text))
            after = here + _HEAD.size + len(text)
        return window, at + after

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.leave()

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _python(path: Path) -> LeftBehind | None:
    segment = segments.adopt(path)
    return None if segment is None else _Segment(segment)


def _ruby(path: Path) -> LeftBehind | None:
    with contextlib.suppress(OSError):  # another reader was faster
        descriptor = os.open(path, os.O_RDWR)
        if segments.locked(descriptor):
            return _Texts(path, descriptor)
        os.close(descriptor)
    return None


def _claimed(path: Path) -> LeftBehind | None:
    """Node has no locks of files: one of several readers wins the renaming."""
    named = _NODE.fullmatch(path.name)
    if named is None or not _ownerless(named, path):
        return None
    mine = path.with_name(f"{_host()}~{os.getpid()}~{_start_of('self')}~{named['epoch']}.nspool")
    try:
        path.rename(mine)
        return _Texts(mine, os.open(mine, os.O_RDONLY))
    except OSError:
        return None


def _ownerless(named: re.Match[str], path: Path) -> bool:
    if named["host"] != _host():
        with contextlib.suppress(OSError):
            return path.stat().st_mtime < time.time() - _ELSEWHERE_S
        return False
    pid, mine = int(named["pid"]), named["start"] == _start_of("self")
    return (pid == os.getpid() and mine) or not _lives(pid) or _start_of(named["pid"]) != named["start"]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _start_of(pid: str) -> str:
    """When a process began, in the kernel's ticks; "0" where the system does not tell."""
    with contextlib.suppress(OSError, IndexError):
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[19]
    return "0"


def _host() -> str:
    """As Node writes it."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()) or "host"
