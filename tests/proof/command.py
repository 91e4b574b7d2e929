"""The command line of every proof: runs it, prints its figures, exits 1 if it failed.

    python -m tests.proof.<name> [--full] [--broker HOST:PORT --redis URL]

Without addresses it starts an Apache Kafka and a Valkey of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import servers

Figures = dict[str, Any]


@dataclass(frozen=True)
class Servers:
    """Where a proof runs: real servers, and a directory for logs and ledgers."""

    broker: str
    redis_url: str
    directory: Path


@contextlib.contextmanager
def own_servers() -> Iterator[Servers]:
    with (
        tempfile.TemporaryDirectory(prefix="jobtide-proof-") as name,
        servers.kafka(Path(name) / "kafka") as kafka,
        servers.valkey(Path(name) / "valkey") as valkey,
    ):
        yield Servers(kafka.address, valkey.address, Path(name))


def show(title: str, figures: Figures) -> None:
    """A small table."""
    print(f"\n{title}")
    for name, value in figures.items():
        print(f"  {name:<28} {'; '.join(map(str, value)) if isinstance(value, list) else value}")


def main(title: str, run: Callable[[bool, Servers], Figures]) -> None:
    """Figures must have `passed`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave every process that was started ended
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--full", action="store_true", help="the long form")
    parser.add_argument("--broker", help="a running Kafka")
    parser.add_argument("--redis", help="the URL of a running Redis or Valkey")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if options.broker and options.redis:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="jobtide-proof-"))
            where = Servers(options.broker, options.redis, Path(name))
        else:
            where = stack.enter_context(own_servers())
        figures = run(options.full, where)
    show(title, figures)
    sys.exit(0 if figures["passed"] else 1)
