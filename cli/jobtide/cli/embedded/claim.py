"""A claim: the right to run one kind of process on one data directory, held by the process itself.

It is an flock on a file, taken by the starter and inherited by the child, so the kernel keeps it exactly as long as the
child or anything it started lives, whatever happened to the starter. The file's text says who that is. No daemon, no
polling of process tables; pid files alone would be wrong after a reboot or a SIGKILL at the wrong moment.
"""

import contextlib
import errno
import fcntl
import json
import os
import signal
import time
from pathlib import Path

from jobtide.streams.errors import ConfigError

_POLL_S = 0.05


def take(path: Path, grace_s: float) -> int:
    """Take the claim and return its file descriptor; end a process that an earlier, killed starter left behind.

    The left-over gets SIGTERM, `grace_s` seconds later SIGKILL with its whole group. ConfigError if it holds on.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + grace_s
    if not locked(fd):
        end(path, signal.SIGTERM)
        while not locked(fd):
            if time.monotonic() > deadline + grace_s:
                os.close(fd)
                raise ConfigError(f"a process of an earlier run still holds {path} and does not end: stop it ({path.read_text()})")
            if time.monotonic() > deadline:
                end(path, signal.SIGKILL)
            time.sleep(_POLL_S)
    os.ftruncate(fd, 0)
    return fd


def end_if_held(path: Path) -> None:
    """SIGTERM to the holder, if some process holds the claim, without waiting for its end."""
    fd = os.open(path, os.O_RDWR)
    try:
        if not locked(fd):
            end(path, signal.SIGTERM)
    finally:
        os.close(fd)


def locked(fd: int) -> bool:
    """Try to lock the file without waiting; True when it is ours."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def sign(fd: int, pid: int) -> None:
    """Write down which process holds the claim."""
    os.pwrite(fd, json.dumps({"pid": pid, "started": start_ticks(pid)}).encode(), 0)


def holder(path: Path) -> int | None:
    """The pid written in the claim, if that very process (not a later one with its number) may still be there."""
    try:
        text = json.loads(path.read_text() or "{}")
    except (OSError, ValueError):
        return None
    pid = text.get("pid")
    if pid is None or (alive(pid) and start_ticks(pid) != text.get("started")):
        return None
    return int(pid)


def end(path: Path, how: signal.Signals) -> None:
    """Signal the holder: SIGTERM to it alone, SIGKILL to its whole group (it leads one)."""
    pid = holder(path)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        if how is signal.SIGKILL:
            os.killpg(pid, how)
        else:
            os.kill(pid, how)


def alive(pid: int) -> bool:
    """True while a process has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid its identity. None where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])
