"""A `jobtide up` process for tests: started as a user would, watched through its output, its port and its claims."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from jobtide.cli.embedded import claim, ports

PORTS = 5


class UpProcess:
    """One data directory and port; `start` may be called again after the process ended."""

    def __init__(self, data: Path, *arguments: str, port: int | None = None, **environment: str) -> None:
        self.data = data
        self.port = port or ports.free_block(PORTS)
        self.output = data.with_suffix(".output")
        self._argv = [
            sys.executable,
            "-m",
            "jobtide.cli",
            "up",
            "--data",
            str(data),
            "--port",
            str(self.port),
            *arguments,
        ]
        self._environment = {name: text for name, text in os.environ.items() if not name.startswith("JOBTIDE_")}
        self._environment |= environment
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=15)

    def start(self, deadline_s: float = 90) -> float:
        """Start and wait for the ready line; returns the seconds it took. AssertionError with the output otherwise."""
        begun = time.monotonic()
        self.launch()
        assert self._process is not None
        while "\nready after" not in self.text():
            assert self._process.poll() is None, f"up ended with {self._process.returncode}:\n{self.text()}"
            assert time.monotonic() - begun < deadline_s, f"not ready after {deadline_s} s:\n{self.text()}"
            time.sleep(0.1)
        return time.monotonic() - begun

    def launch(self) -> None:
        """Start without waiting."""
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(self._argv, stdout=output, stderr=subprocess.STDOUT, env=self._environment, start_new_session=True)

    def text(self) -> str:
        """What it printed since it was last started."""
        return "\n" + self.output.read_text(errors="replace")

    def wait(self, deadline_s: float = 60) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(deadline_s)

    def interrupt(self) -> int:
        """Ctrl-C, and its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL of `up` alone: its children are not told."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def child(self, name: str) -> int | None:
        """The pid of a part, while it lives."""
        pid = claim.holder(self.data / "run" / f"{name}.claim")
        return pid if pid is not None and claim.alive(pid) else None

    def kill_child(self, name: str, deadline_s: float = 30) -> None:
        """SIGKILL of one part; returns when another process has taken its place."""
        pid = self.child(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)
        limit = time.monotonic() + deadline_s
        while self.child(name) in (None, pid):
            assert time.monotonic() < limit, f"{name} was not started again:\n{self.text()}"
            time.sleep(0.02)

    def leftovers(self) -> list[str]:
        """Names of parts that some process still holds a claim of."""
        held = []
        for path in sorted((self.data / "run").glob("*.claim")):
            fd = os.open(path, os.O_RDWR)
            if not claim.locked(fd):
                held.append(path.stem)
            os.close(fd)
        return held

    def get(self, path: str) -> dict[str, Any]:
        """A JSON answer; AssertionError for anything but 200."""
        reply = self.client.get(path)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def post(self, events: list[dict[str, Any]], deadline_s: float = 90) -> None:
        """Send until accepted, as a client that loses nothing would. AssertionError when an event is refused."""
        body = "\n".join(map(json.dumps, events))
        limit = time.monotonic() + deadline_s
        while True:
            with contextlib.suppress(httpx.TransportError):
                reply = self.client.post("/v1/events", content=body)
                if reply.status_code == 202:
                    assert reply.json()["rejected"] == [], reply.text
                    return
                assert reply.status_code in (429, 503), reply.text
            assert time.monotonic() < limit, "not accepted in time"
            time.sleep(0.1)


@contextlib.contextmanager
def up(data: Path, *arguments: str, **environment: str) -> Iterator[UpProcess]:
    """A running `jobtide up`, ended at the end."""
    process = UpProcess(data, *arguments, **environment)
    process.start()
    try:
        yield process
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.interrupt()
        process.kill()
        process.client.close()
