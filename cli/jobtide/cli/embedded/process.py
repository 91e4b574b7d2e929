"""One supervised operating-system process: started with a claim, its output in a bounded log file, stopped in order.

Not a supervisor: it decides nothing about restarts. It runs in its own session, so Ctrl-C at the terminal reaches the
supervisor only, and on Linux it dies with the thread that started it (so start it from one that stays: the main one).
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from jobtide.cli.embedded import claim

_PR_SET_PDEATHSIG = 1
LOG_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True)
class Command:
    """What to run and how it ends. `grace_s`: seconds between SIGTERM and SIGKILL. `terminal`: it prints to ours.

    `orphan_signal`: what Linux sends it when the starter dies: SIGTERM for a server with files of its own, SIGKILL for
    what is made to crash.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = 10.0
    orphan_signal: signal.Signals = signal.SIGKILL
    terminal: bool = False


class Process:
    """Starts, watches and stops one command; `start` may be called again after it ended."""

    def __init__(self, command: Command, run_dir: Path, log_dir: Path) -> None:
        self.command = command
        self.log_path = log_dir.absolute() / f"{command.name}.log"
        self.claim_path = run_dir.absolute() / f"{command.name}.claim"
        self._popen: subprocess.Popen[bytes] | None = None
        run_dir.mkdir(parents=True, exist_ok=True)
        log_dir.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    def start(self) -> None:
        """Start it; what an earlier starter left running under this claim is ended first."""
        held = claim.take(self.claim_path, self.command.grace_s)
        try:
            trim(self.log_path)
            with self.log_path.open("ab") as log:
                self._popen = subprocess.Popen(  # noqa: S603  # commands come from this package, never from a user
                    list(self.command.argv),
                    env={**os.environ, **self.command.env},
                    cwd=self.claim_path.parent,  # what a process leaves in its directory stays in ours
                    stdin=subprocess.DEVNULL,
                    stdout=None if self.command.terminal else log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(held,),
                    preexec_fn=_die_with_parent(os.getpid(), self.command.orphan_signal),
                )
            claim.sign(held, self._popen.pid)
        finally:
            os.close(held)

    def ended(self) -> int | None:
        """The exit code (negative: killed by that signal) once it has ended, with its whole group gone; else None."""
        if self._popen is None:
            return None
        code = self._popen.poll()
        if code is not None:
            self.end_group()
        return code

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting."""
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def stop(self) -> int | None:
        """SIGTERM, wait `grace_s`, then SIGKILL the group. Returns the exit code; None if it never ran."""
        if self._popen is None:
            return None
        self.ask_to_stop()
        try:
            self._popen.wait(self.command.grace_s)
        except subprocess.TimeoutExpired:
            self.end_group()
        code = self._popen.wait()
        self.end_group()
        return code

    def kill(self) -> None:
        """SIGKILL the whole group and wait until it is gone."""
        self.end_group()
        if self._popen is not None:
            self._popen.wait()

    def last_lines(self, count: int = 5) -> str:
        """The end of its log, for the sentence that says why it ended."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-count:])

    def end_group(self) -> None:
        """SIGKILL it and whatever it started, without waiting."""
        if self._popen is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)


def trim(path: Path, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
    """Keep the newer half of a log that outgrew the limit. Its writer appends, so it needs not reopen the file."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size <= limit_bytes:
        return
    with path.open("r+b") as log:
        log.seek(size - limit_bytes // 2)
        tail = log.read()
        log.truncate(0)
    with path.open("ab") as log:
        log.write(tail[tail.find(b"\n") + 1 :])


def _die_with_parent(parent: int, how: signal.Signals) -> Callable[[], None] | None:
    """Runs in the child between fork and exec: asks Linux to signal it when `parent` ends, also by SIGKILL."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def set_death_signal() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return set_death_signal
