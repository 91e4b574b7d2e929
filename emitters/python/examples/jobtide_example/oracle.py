"""The log that every job writes itself: what really happened, whatever any emitter says.

One JSON object per line, appended to the file that JOBTIDE_ORACLE names. `what` is
  plan    before a job is handed to the backend, fsync'd: what it will do
  enqueue right before the hand-over: `t` is the enqueue time
  start   first thing in the body, fsync'd: `t` is the start time
  end     the body has done its work, fsync'd: `outcome` ok | retry | dead, `retry_ms` a retry waits
  left    the body's last act: `t` is the end time, `run_us` the run time by the monotonic clock, `asked_us` when a retry was asked for
The lines that carry the times are not the ones that wait for the disk, but `start`: its wait is part of the run.
Times are µs since the epoch.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

PATH = "JOBTIDE_ORACLE"

_open: dict[int, int] = {}  # pid -> descriptor: a fork opens its own


def write(what: str, *, durable: bool = False, t: int | None = None, **facts: Any) -> None:
    """Appends one line, in one write; waits for the disk if `durable`. Without JOBTIDE_ORACLE it does nothing."""
    path = os.environ.get(PATH)
    if not path:
        return
    pid = os.getpid()
    if pid not in _open:
        _open[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    line = json.dumps({"what": what, "t": now_us() if t is None else t, "pid": pid, **facts}, separators=(",", ":"))
    os.write(_open[pid], line.encode() + b"\n")
    if durable:
        os.fsync(_open[pid])


def read(path: str | Path) -> list[dict[str, Any]]:
    """All lines; a torn last line, left by a kill, is ignored."""
    lines = Path(path).read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


def now_us() -> int:
    """Wall clock, µs since the epoch."""
    return time.time_ns() // 1000
