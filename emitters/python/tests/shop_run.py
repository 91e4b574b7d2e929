"""Runs the example shop on a real worker process and brings back both stories: the oracle's and the emitter's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import kafka_reader
from jobtide_emitter.moments import us_of_text

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
Key = tuple[str, int]
DATABASES = {"celery": 5, "rq": 6, "dramatiq": 7, "huey": 8, "arq": 9, "taskiq": 10, "procrastinate": 11}


@dataclass
class Shop:
    """One backend with its own Redis database, topic and oracle; worker processes come and go."""

    backend: str
    redis: str
    kafka: str
    topic: str
    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    postgres: str = ""

    def __post_init__(self) -> None:
        import redis

        self.oracle = self.directory / "oracle.jsonl"
        self.log = self.directory / "worker.log"
        self.oracle.touch()
        redis.Redis.from_url(self.url).flushdb()
        if self.postgres:
            self._new_schema()

    def _new_schema(self) -> None:
        import psycopg

        with psycopg.connect(self.postgres, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        command = [sys.executable, "-m", "procrastinate", "--app", "jobtide_example.procrastinate_app.app", "schema", "--apply"]
        off = {"JOBTIDE_EMITTER_DISABLED": "1"}
        subprocess.run(command, env={**self.environ, **off}, check=True, timeout=60, capture_output=True)

    @property
    def url(self) -> str:
        return f"{self.redis}/{DATABASES[self.backend]}"

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": f"{EXAMPLES}:{HERE}",
            "JOBTIDE_EXAMPLE_REDIS": self.url,
            "JOBTIDE_EXAMPLE_POSTGRES": self.postgres,
            "JOBTIDE_ORACLE": str(self.oracle),
            "JOBTIDE_EMITTER_BROKER": self.kafka,
            "JOBTIDE_EMITTER_TOPIC": self.topic,
            "JOBTIDE_EMITTER_HEARTBEAT_MS": "1000",
            "JOBTIDE_EMITTER_SNAPSHOT_MS": "500",
            **self.settings,
        }

    def command(self, concurrency: int = 2) -> list[str]:
        from jobtide_example import workers

        with patch.dict(os.environ, JOBTIDE_EXAMPLE_REDIS=self.url):  # for this call only: jobtide refuses settings that it does not know
            return workers.command(self.backend, concurrency)

    @contextmanager
    def worker(self, command: list[str] | None = None, stop_s: float = 30.0) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process; ended by SIGTERM, and it must end in time by itself."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(command or self.command(), env=self.environ, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
            self._stop(process, stop_s)
        except BaseException:
            sys.stderr.write(self.log.read_text()[-3000:])
            raise
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _stop(self, process: subprocess.Popen[bytes], stop_s: float) -> None:
        process.send_signal(signal.SIGTERM)
        if self.backend == "arq":  # redis-py 8, which arq does not claim to support, may swallow the cancellation
            deadline = time.monotonic() + stop_s
            while process.poll() is None and time.monotonic() < deadline:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(3)
                process.send_signal(signal.SIGTERM)
        process.wait(stop_s)

    def drive(self, jobs: int, *arguments: str) -> None:
        """Enqueues planned jobs, in a process of its own, and waits for the end of all, by the oracle."""
        command = [sys.executable, "-m", "jobtide_example.drive", "--backend", self.backend, "--jobs", str(jobs)]
        subprocess.run([*command, "--wait-s", "120", *arguments], env=self.environ, check=True, timeout=180)

    def call(self, code: str) -> str:
        """Runs Python in a process of its own, with the app at hand as `app`; returns what it printed."""
        script = f"import jobtide_example.{self.backend}_app as app\nfrom jobtide_example.plan import Plan\n{code}"
        done = subprocess.run([sys.executable, "-c", script], env=self.environ, check=True, timeout=60, capture_output=True, text=True)
        return done.stdout.strip()

    def lines(self, what: str) -> list[dict[str, Any]]:
        """The oracle's lines of one kind."""
        from jobtide_example import oracle

        return [line for line in oracle.read(self.oracle) if line["what"] == what]

    def events(self) -> list[dict[str, Any]]:
        """All events in Kafka now."""
        return kafka_reader.events(self.kafka, self.topic)

    def wait_for(self, kind: str, count: int = 1, **data: Any) -> list[dict[str, Any]]:
        """Waits until that many events of a kind with this data are in Kafka."""
        return until(lambda: enough([e for e in of(self.events(), kind) if data.items() <= e["data"].items()], count))


def enough(found: list[Any], count: int) -> list[Any]:
    return found if len(found) >= count else []


def until(true: Callable[[], Any], deadline_s: float = 40.0) -> Any:
    """Waits for something true and returns it."""
    end = time.monotonic() + deadline_s
    while not (found := true()):
        assert time.monotonic() < end, "not within the deadline"
        time.sleep(0.1)
    return found


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Events of one type, without its version."""
    return [event for event in events if event["type"] == f"{kind}.v1"]


def key(event: dict[str, Any]) -> Key:
    return event["data"]["job_id"], event["data"]["attempt"]


def by_key(events: list[dict[str, Any]], *kinds: str) -> dict[Key, dict[str, Any]]:
    """Events of some types by attempt; each attempt at most once."""
    found: dict[Key, dict[str, Any]] = {}
    for kind in kinds:
        for event in of(events, kind):
            assert key(event) not in found, (kind, key(event))
            found[key(event)] = event
    return found


def us(event: dict[str, Any], member: str | None = None) -> int:
    """A time of an event in µs."""
    return us_of_text(event["time"] if member is None else event["data"][member])
