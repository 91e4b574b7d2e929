"""The example shop of emitters/python run for a proof: real workers of one backend, a driver, and the log their jobs write.

Reads nothing that an emitter said. `attempts` turns the oracle's lines into what really happened; `counters` is what the backend says.
The shops of the other languages (`languages`) are run the same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from jobtide.cli.embedded.process import Command, Process

from tests.proof.answers import wait_for
from tests.proof.recount import Attempt

EXAMPLES = Path(__file__).parents[2] / "emitters" / "python" / "examples"
Line = dict[str, Any]  # of the oracle
LAST = ("ok", "dead")
RETRY_MS = {"celery": 1000, "rq": 0, "dramatiq": 1000}  # RQ keeps whole seconds, which the oracle could not tell exactly
RUN_MS = 60.0
GRACE_S = 30.0


@dataclass
class Shop:
    """One backend's workers on a Valkey of their own database, sending to `target` (JOBTIDE_EMITTER_URL or _BROKER)."""

    backend: str
    redis_url: str
    folder: Path
    target: Mapping[str, str]
    jobs: int
    workers: int
    concurrency: int
    tenant: str
    seed: int
    ended: int = 0
    retry_ms: int | None = None  # what a retry waits; None: RETRY_MS of the backend
    more_environment: Mapping[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    _read: int = 0

    @property
    def oracle(self) -> Path:
        return self.folder / f"{self.backend}.oracle.jsonl"

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Workers run; ended in order, so that they say their last words."""
        for number in range(self.workers):
            command = Command(f"{self.backend}-{number}", self.worker_argv(number), self.environment(), grace_s=GRACE_S)
            self.processes.append(Process(command, self.folder, self.folder))
        try:
            for process in self.processes:
                process.start()
            yield
        finally:
            for process in self.processes:
                process.ask_to_stop()  # once: the second SIGTERM means "at once" to Celery and Dramatiq
            wait_for(lambda: all(process.ended() is not None for process in self.processes), GRACE_S, 0.1)
            for process in self.processes:
                process.kill()

    def prepare(self) -> None:
        """What must be there before the workers."""

    def worker_argv(self, number: int) -> list[str]:
        """A worker's command."""
        become = f"import os; from jobtide_example.workers import command; c = command({self.backend!r}, {self.concurrency}); os.execv(c[0], c)"
        return [sys.executable, "-c", become]

    def drive_argv(self) -> list[str]:
        """The driver's command: enqueues all jobs."""
        argv = [sys.executable, "-m", "jobtide_example.drive", "--backend", self.backend, "--jobs", str(self.jobs), "--seed", str(self.seed)]
        return [*argv, "--run-ms", str(RUN_MS), "--retry-ms", str(self._retry_ms)]

    @property
    def _retry_ms(self) -> int:
        return RETRY_MS[self.backend] if self.retry_ms is None else self.retry_ms

    def drive(self) -> subprocess.Popen[bytes]:
        """Enqueue all jobs, in a process of its own."""
        with (self.folder / f"{self.backend}-drive.log").open("wb") as log:
            return subprocess.Popen(self.drive_argv(), env=os.environ | self.environment(), stdout=log, stderr=log)

    def environment(self) -> dict[str, str]:
        """What workers and driver get besides this process's own."""
        return {
            "PYTHONPATH": str(EXAMPLES), "JOBTIDE_EXAMPLE_REDIS": self.redis_url, "JOBTIDE_ORACLE": str(self.oracle),
            "JOBTIDE_EMITTER_TENANT": self.tenant, **self.target, **self.more_environment,
        }  # fmt: skip

    def last_ends(self) -> int:
        """How many jobs have come to their last end so far; reads only what is new in the oracle."""
        if self.oracle.exists():
            with self.oracle.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            new = new[: new.rfind(b"\n") + 1]
            self._read += len(new)
            self.ended += sum(map(self.is_last_end, map(json.loads, new.splitlines())))
        return self.ended

    def is_last_end(self, line: Line) -> bool:
        """Whether a line of the oracle says that a job is done."""
        return bool(line["what"] == "left" and line["outcome"] in LAST)

    def lines(self, what: str) -> list[Line]:
        """The oracle's lines of one kind."""
        lines = [json.loads(line) for line in self.oracle.read_bytes().splitlines()] if self.oracle.exists() else []
        return [line for line in lines if line["what"] == what]

    def failed(self) -> str:
        """The end of the log of a worker that has ended, or nothing."""
        return "\n".join(process.last_lines(8) for process in self.processes if process.ended() is not None)

    def attempts(self) -> list[Attempt]:
        """What happened, by the oracle. AssertionError if an attempt ran twice: then there is no one truth."""
        enqueued: dict[str, dict[str, Any]] = {}
        started: dict[tuple[str, int], dict[str, Any]] = {}
        left: dict[tuple[str, int], dict[str, Any]] = {}
        for line in map(json.loads, self.oracle.read_bytes().splitlines()):
            if line["what"] == "enqueue":
                enqueued[line["job_id"]] = line
            elif line["what"] in ("start", "left"):
                lines, key = (started if line["what"] == "start" else left), (line["job_id"], line["attempt"])
                assert key not in lines, f"{self.backend}: attempt {key} ran twice"
                lines[key] = line
        return [self._attempt(enqueued, left, start) for start in started.values()]

    def _attempt(self, enqueued: dict[str, Line], left: dict[tuple[str, int], Line], start: Line) -> Attempt:
        job_id, number = start["job_id"], start["attempt"]
        first, end = enqueued[job_id], left[job_id, number]
        at_us = first["t"] if number == 1 else left[job_id, number - 1]["t"]
        eligible_us = first.get("run_at") if number == 1 else left[job_id, number - 1].get("asked_us", at_us) + self._retry_ms * 1000
        return Attempt(
            (self.backend, first["queue"], start["job_class"]), job_id, number, at_us,
            eligible_us=eligible_us, started_us=start["t"], ended_us=end["t"], run_us=end["run_us"],
            outcome="finished" if end["outcome"] == "ok" else "failed", retried=end["outcome"] == "retry", dead=end["outcome"] == "dead",
        )  # fmt: skip

    def counters(self) -> dict[str, int]:
        """The backend's own numbers, while its workers run."""
        return {"celery": self._celery, "rq": self._rq, "dramatiq": self._dramatiq}[self.backend]()

    def _celery(self) -> dict[str, int]:
        argv = [sys.executable, "-m", "celery", "-A", "jobtide_example.celery_app", "inspect", "stats", "--json", "--timeout", "10"]
        done = subprocess.run(argv, env=os.environ | self.environment(), capture_output=True, timeout=60, check=True)
        stats = json.loads(done.stdout[done.stdout.index(b"{") :])
        return {"started": sum(count for worker in stats.values() for count in worker["total"].values())}

    def _rq(self) -> dict[str, int]:
        with redis.Redis.from_url(self.redis_url) as client:
            workers: Any = client.smembers("rq:workers")
            counts = [client.hmget(name, "successful_job_count", "failed_job_count") for name in workers]
        return {"finished": sum(int(ok or 0) for ok, _ in counts), "failed": sum(int(failed or 0) for _, failed in counts)}

    def _dramatiq(self) -> dict[str, int]:
        with redis.Redis.from_url(self.redis_url) as client:
            return {"dead": int(client.zcard("dramatiq:shop.XQ"))}
