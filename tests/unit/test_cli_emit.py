"""`jobtide emit -- CMD…` as a process of its own, against a plain HTTP receiver: what is told, and what passes through."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Receiver(ThreadingHTTPServer):
    """Keeps the events that are posted to it."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/events"

    def story(self) -> list[str]:
        return [event["type"].removesuffix(".v1") for event in self.events if event["type"].startswith("job.")]

    def of(self, kind: str) -> dict[str, Any]:
        (event,) = [event for event in self.events if event["type"] == f"{kind}.v1"]
        return event["data"]  # type: ignore[no-any-return]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
        self.server.events.extend(json.loads(line) for line in body.split(b"\n"))
        self.send_response(202)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def _interruptible() -> None:
    """Else a test run started in the background would hand an ignored SIGINT down, and `emit` rightly leaves ignored what was."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def emit(url: str, *arguments: str, **more: Any) -> "subprocess.Popen[bytes]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith("JOBTIDE_")}
    environ |= {"JOBTIDE_EMITTER_URL": url, "JOBTIDE_EMITTER_HEARTBEAT_MS": "200"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "jobtide.cli", "emit", *arguments], env=environ, **{**pipes, **more}, preexec_fn=_interruptible)


def test_a_command_that_succeeds(receiver: Receiver) -> None:
    process = emit(receiver.url, "--queue", "nightly", "--expected-ms", "5000", "--", "sh", "-c", "cat; echo seen >&2")
    out, err = process.communicate(b"from stdin", timeout=30)
    assert (process.returncode, out, err) == (0, b"from stdin", b"seen\n")
    assert receiver.story() == ["job.started", "job.finished"]
    facts = receiver.of("job.finished")
    assert (facts["system"], facts["queue"], facts["job_class"], facts["expected_ms"]) == ("command", "nightly", "sh", 5000)
    assert facts["duration_ms"] > 0


@pytest.mark.parametrize("code", [1, 3, 42, 255])
def test_a_command_that_fails_leaves_its_exit_code(receiver: Receiver, code: int) -> None:
    process = emit(receiver.url, "--name", "backup", "--job-id", "2026-11-22", "--", "sh", "-c", f"exit {code}")
    process.communicate(timeout=30)
    assert process.returncode == code
    assert receiver.story() == ["job.started", "job.failed", "job.dead"]
    failed = receiver.of("job.failed")
    assert (failed["job_class"], failed["job_id"]) == ("backup", "2026-11-22")
    assert failed["error"] == {"class": "ExitStatus", "message": f"exit status {code}"} | (
        {"fingerprint": failed["error"]["fingerprint"]} if "fingerprint" in failed["error"] else {}
    )


def test_options_behind_the_command_are_the_commands(receiver: Receiver) -> None:
    process = emit(receiver.url, "echo", "--queue", "x", "-h")
    assert process.communicate(timeout=30)[0] == b"--queue x -h\n"
    assert receiver.of("job.finished")["queue"] == "cron"


def test_a_command_that_is_not_there(receiver: Receiver) -> None:
    process = emit(receiver.url, "--", "no-such-command-here")
    assert b"not found" in process.communicate(timeout=30)[1]
    assert process.returncode == 127
    assert receiver.of("job.failed")["error"]["class"] == "CommandNotFound"


def test_a_file_that_cannot_be_run(receiver: Receiver) -> None:
    process = emit(receiver.url, "--", "/etc/passwd")
    process.communicate(timeout=30)
    assert process.returncode == 126


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(receiver: Receiver, number: signal.Signals) -> None:
    script = f"import signal, sys, time; signal.signal({int(number)}, lambda *_: sys.exit(7)); print('up', flush=True); time.sleep(60)"
    process = emit(receiver.url, "--", sys.executable, "-c", script)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 7
    assert receiver.of("job.failed")["error"]["class"] == "ExitStatus"


def test_a_command_that_a_signal_ended(receiver: Receiver) -> None:
    process = emit(receiver.url, "--", "sh", "-c", "kill -9 $$")
    process.communicate(timeout=30)
    assert process.returncode == 128 + 9
    assert receiver.of("job.failed")["error"]["message"] == "ended by SIGKILL"


def test_a_long_command_has_heartbeats(receiver: Receiver) -> None:
    process = emit(receiver.url, "--", "sh", "-c", "read line")
    deadline = time.monotonic() + 20
    while receiver.story().count("job.heartbeat") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.communicate(b"go\n", timeout=30)
    assert process.returncode == 0
    assert receiver.story()[-1] == "job.finished"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1/events", "not a url"])
def test_without_anybody_to_tell_the_command_runs_all_the_same(url: str) -> None:
    process = emit(url, "--", "sh", "-c", "echo done; exit 5")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (5, b"done\n")
    assert (b"nothing is told" in err) == (url == "not a url")


def test_the_emitter_alone_does_it_too(receiver: Receiver) -> None:
    environ = {**os.environ, "JOBTIDE_EMITTER_URL": receiver.url}
    command = [sys.executable, "-m", "jobtide_emitter.command", "--queue", "q", "--", "sh", "-c", "exit 4"]
    assert subprocess.run(command, env=environ, check=False, timeout=30).returncode == 4
    assert receiver.story() == ["job.started", "job.failed", "job.dead"]
