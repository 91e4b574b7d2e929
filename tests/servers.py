"""Real servers for tests, started by the same code as `jobtide up`: Apache Kafka and Valkey on free loopback ports.

Not fakes, not containers. Each context manager yields a running server and ends it; the session fixtures in
`conftest.py` share one of each between all tests, which keep apart by prefixes of topics, keys and consumer groups.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jobtide.cli.embedded import kafka as embedded_kafka
from jobtide.cli.embedded import ports
from jobtide.cli.embedded import valkey as embedded_valkey
from jobtide.cli.embedded.process import Process
from jobtide.streams.agents.kafka import ensure_topics
from jobtide.streams.settings import load


@dataclass(frozen=True)
class Server:
    """A running server: its address for clients, its process for tests that kill, stop or restart it."""

    address: str
    process: Process
    answers: Callable[[], bool]

    def start(self, deadline_s: float = 60.0) -> None:
        """Start (again) and wait until it answers; AssertionError with the end of its log otherwise."""
        self.process.start()
        if not ports.wait_until(self.answers, self.process.ended, deadline_s):
            raise AssertionError(f"{self.process.command.name} did not come up:\n{self.process.last_lines(20)}")


@contextlib.contextmanager
def kafka(directory: Path) -> Iterator[Server]:
    """One Apache Kafka node with its data in `directory`."""
    first = ports.free_block(2)
    broker = embedded_kafka.Kafka(directory, first, first + 1)
    with _running(Server(broker.address, broker.process(), broker.answers)) as server:
        yield server


@contextlib.contextmanager
def valkey(directory: Path) -> Iterator[Server]:
    """One Valkey server; `address` is its redis:// URL."""
    store = embedded_valkey.Valkey(directory, ports.free_block(1))
    with _running(Server(store.url, store.process(), store.answers)) as server:
        yield server


@contextlib.contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.process.stop()


async def create_topics(address: str, prefix: str = "", partitions: int = 8) -> None:
    """Make all of jobtide's topics under a prefix."""
    await ensure_topics(load({}, broker=address, topic_prefix=prefix, partitions=partitions))
