"""A command as a job: `jobtide emit -- CMD…`, or `python -m jobtide_emitter.command -- CMD…` where only the emitter is.

Started, a heartbeat while it runs, finished or failed by its exit status. The command has the terminal, the pipes and the
environment it would have without; signals are passed on; the exit code is its own (128 + n when signal n ended it). It
runs and its exit code is the same when nothing can be told.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobtide_emitter import own_jobs
from jobtide_emitter.errors import ConfigError
from jobtide_emitter.guard import guarded
from jobtide_emitter.process import close, configure, emitter
from jobtide_emitter.runs import Run

SYSTEM = "command"
LOCAL_GATEWAY = "http://127.0.0.1:8321/v1/events"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as shells have it
_PASSED_ON = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGQUIT")
_FROM_TERMINAL = ("SIGINT", "SIGQUIT")  # a terminal sends them to the command itself


def run(command: Sequence[str], *, queue: str, name: str = "", job_id: str = "", system: str = SYSTEM, **more: Any) -> int:
    """Runs the command to its end; returns the exit code. `more` is optional data of the contract."""
    job_class = name or Path(command[0]).name
    more.setdefault("traceparent", os.environ.get("TRACEPARENT"))  # of whoever runs us
    told = own_jobs.begin(system, queue, job_class, job_id or uuid.uuid4().hex, 1, more)
    try:
        code, failure = _run(command)
        _tell(told, failure)
    finally:
        _close()
    return code


def use_local_gateway(environ: MutableMapping[str, str]) -> None:
    """Where no setting says where events go, they go to the gateway of this machine."""
    if not environ.get("JOBTIDE_EMITTER_URL") and not environ.get("JOBTIDE_EMITTER_BROKER"):
        environ["JOBTIDE_EMITTER_URL"] = LOCAL_GATEWAY


def _run(command: Sequence[str]) -> tuple[int, dict[str, str] | None]:
    """The exit code, and how it failed if it did."""
    try:
        process = subprocess.Popen(command)  # noqa: S603  what we are here for
    except FileNotFoundError:
        sys.stderr.write(f"{command[0]}: command not found\n")
        return _NOT_FOUND, {"class": "CommandNotFound", "message": f"{command[0]}: command not found"}
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_EXECUTABLE, {"class": "CommandNotExecutable", "message": f"{command[0]}: {error.strerror}"}
    with _passing_signals_to(process):
        status = process.wait()
    if status < 0:
        killer = signal.Signals(-status).name if -status in signal.valid_signals() else str(-status)
        return 128 - status, {"class": "Signal", "message": f"ended by {killer}"}
    return status, {"class": "ExitStatus", "message": f"exit status {status}"} if status else None


@contextmanager
def _passing_signals_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """What this process is sent goes to the command; what is ignored here (nohup) stays ignored in both."""

    def pass_on(number: int, _frame: object) -> None:
        at_terminal = signal.Signals(number).name in _FROM_TERMINAL and sys.stdin is not None and sys.stdin.isatty()
        if not at_terminal:
            process.send_signal(number)

    before = {}
    for name in _PASSED_ON:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@guarded("command.tell")
def _tell(told: Run | None, failure: dict[str, str] | None) -> None:
    if told is None:
        return
    if failure is None:
        told.finished()
    else:
        told.failed(failure)
        emitter().job_dead(told.job, failure, at_us=told.ended_us, worker_id=told.worker_id)


@guarded("command.close")
def _close() -> None:
    close()


def main() -> int:
    """`python -m jobtide_emitter.command [--queue Q] [--name N] -- CMD…`"""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m jobtide_emitter.command", description="Runs a command and tells jobtide of it.")
    parser.add_argument("--queue", default="cron")
    parser.add_argument("--name", default="", help="job class; by default the command's name")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    use_local_gateway(os.environ)
    try:
        configure()
    except ConfigError as error:
        sys.stderr.write(f"jobtide: nothing is told: {error}\n")
    return run(options.command, queue=options.queue, name=options.name)


if __name__ == "__main__":
    sys.exit(main())
