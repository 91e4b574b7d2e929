"""One installation under test: its names on the shared servers, and its processes, each in a session of its own.

`Fleet` starts processes, kills, stops and continues them, and starts again what has ended: the supervisor that a
worker needs. `Progress` sees in the checkpoint topic how far each source partition has come.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from jobtide.cli.embedded.process import Command, Process
from jobtide.streams.folds.saving import APPLIED, Applied
from jobtide.streams.topics import CHECKPOINT, DEAD_LETTERS, EVENTS, PANES

from tests.proof.load import Load, ToKafka

ROOT = Path(__file__).parents[2]
WORKER = ("-m", "jobtide.cli", "worker")
_decode_applied = msgspec.msgpack.Decoder(Applied).decode


@dataclass(frozen=True)
class Installation:
    """`prefix` names its topics, its consumer groups and its Redis keys."""

    broker: str
    redis_url: str
    prefix: str
    directory: Path
    partitions: int = 8
    session_timeout_ms: int = 10_000

    @property
    def environment(self) -> dict[str, str]:
        """The settings of every process."""
        return {
            "JOBTIDE_BROKER": self.broker,
            "JOBTIDE_TOPIC_PREFIX": self.prefix,
            "JOBTIDE_PARTITIONS": str(self.partitions),
            "JOBTIDE_REDIS_URL": self.redis_url,
            "JOBTIDE_REDIS_PREFIX": self.prefix,
            "JOBTIDE_SESSION_TIMEOUT_MS": str(self.session_timeout_ms),
        }

    @property
    def events(self) -> str:
        return self.prefix + EVENTS

    @property
    def panes(self) -> str:
        return self.prefix + PANES

    @property
    def dead_letters(self) -> str:
        return self.prefix + DEAD_LETTERS

    @property
    def group(self) -> str:
        return self.prefix + "jobtide-streams"

    def load(self, seed: int) -> Load:
        """Traffic for it, with a ledger of its own."""
        return Load(ToKafka(self.broker, self.events, self.partitions), self.directory / f"{self.prefix}ledger", seed)

    def process(self, name: str, arguments: Sequence[str], **environment: str) -> Process:
        """A Python process of this installation, not started; it dies with this one."""
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        env = {**self.environment, "PYTHONPATH": path, **environment}
        command = Command(name, [sys.executable, *arguments], env)
        return Process(command, self.directory / "run", self.directory / "log")


class Fleet:
    """Processes by name. An async context: what has ended is started again until its end, when all are killed."""

    def __init__(self, installation: Installation, worker: Sequence[str] = WORKER) -> None:
        self._installation, self._worker = installation, worker
        self._processes: dict[str, Process] = {}
        self._started: defaultdict[str, list[float]] = defaultdict(list)  # monotonic s
        self._keeping: asyncio.Task[None] | None = None
        self.restarts = 0

    async def __aenter__(self) -> Fleet:
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, failed: object, *_: object) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        for name, process in self._processes.items():
            process.kill()
            if failed is not None:
                print(f"\n{name}:\n{self.log(name)}", flush=True)

    def __len__(self) -> int:
        return len(self._processes)

    def add(self, name: str, arguments: Sequence[str] | None = None, **environment: str) -> None:
        """Start a process; without arguments a worker."""
        self._processes[name] = self._installation.process(name, arguments or self._worker, **environment)
        self._start(name)

    def _start(self, name: str) -> None:
        self._processes[name].start()
        self._started[name].append(time.monotonic())

    def kill(self, name: str) -> None:
        """SIGKILL; it is started again."""
        self._processes[name].kill()

    def signal(self, name: str, what: int) -> None:
        pid = self._processes[name].pid
        if pid is None:
            raise ProcessLookupError(f"{name} does not run")
        os.kill(pid, what)

    async def remove(self, name: str) -> None:
        """SIGTERM, and wait until it has left; SIGKILL after 20 s."""
        process = self._processes.pop(name)
        process.ask_to_stop()
        deadline_s = time.monotonic() + 20
        while process.ended() is None and time.monotonic() < deadline_s:
            await asyncio.sleep(0.05)
        process.kill()

    def log(self, name: str, lines: int = 30) -> str:
        """The end of what it said."""
        return self._processes[name].last_lines(lines)

    def starts(self, name: str) -> int:
        """How often it was started."""
        return len(self._started[name])

    async def until_restarted(self, name: str, before: int, deadline_s: float = 60) -> float:
        """When it was started for the (`before` + 1)th time, in monotonic s."""
        limit_s = time.monotonic() + deadline_s
        while self.starts(name) <= before:
            if time.monotonic() > limit_s:
                raise TimeoutError(f"{name} did not end within {deadline_s} s")
            await asyncio.sleep(0.02)
        return self._started[name][before]

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for name, process in list(self._processes.items()):
                if process.ended() is not None:
                    self.restarts += 1
                    self._start(name)


class Progress:
    """The newest applied offset of each source partition, followed from now on. Use as an async context."""

    def __init__(self, installation: Installation) -> None:
        self._partitions = [TopicPartition(installation.prefix + CHECKPOINT, p) for p in range(installation.partitions)]
        self._consumer = AIOKafkaConsumer(bootstrap_servers=installation.broker, max_partition_fetch_bytes=16 << 20)
        self._reading: asyncio.Task[None] | None = None
        self.applied: dict[int, int] = {}

    async def __aenter__(self) -> Progress:
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
        await self._consumer.stop()

    async def _read(self) -> None:
        async for record in self._consumer:
            if record.key == APPLIED and record.value:
                applied = _decode_applied(record.value).version
                self.applied[record.partition] = max(applied, self.applied.get(record.partition, -1))

    async def beyond(self, before: dict[int, int], deadline_s: float) -> float:
        """Seconds until every partition is further than `before`. TimeoutError after `deadline_s`."""
        started_s = time.monotonic()
        while True:
            partitions = [tp.partition for tp in self._partitions]
            behind = [p for p in partitions if self.applied.get(p, -1) <= before.get(p, -1)]
            took_s = time.monotonic() - started_s
            if not behind:
                return took_s
            if took_s > deadline_s:
                raise TimeoutError(f"no progress of source partitions {behind} for {took_s:.0f} s")
            if self._reading is not None and self._reading.done():
                self._reading.result()
            await asyncio.sleep(0.05)
