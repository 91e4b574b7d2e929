"""From what the user asked for to the processes `up` runs: addresses, environments, stages. Starts nothing.

Four neighbouring ports: HTTP, then Kafka, its controller, Valkey, and a worker's health. A fixed rule instead of free
ports, so that an emitter's configuration stays right over restarts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobtide.cli.embedded import kafka, ports, tansu, valkey
from jobtide.cli.embedded.process import Command, Process
from jobtide.cli.up import demo_parts
from jobtide.cli.up.data import DataDirectory
from jobtide.cli.up.readiness import edge_answers, worker_answers
from jobtide.streams.errors import ConfigError

READY_S = 120.0


@dataclass(frozen=True)
class Asked:
    """The command line of `jobtide up`."""

    data: Path
    host: str
    port: int
    broker: str | None = None
    redis: str | None = None
    clickhouse: str | None = None
    ephemeral: bool = False
    demo: bool = False
    rebuild: bool = False


@dataclass
class Part:
    """One process of the set: how to tell that it works, and whether its end is a crash or its purpose (`once`)."""

    process: Process
    answers: Callable[[], bool] = lambda: True
    deadline_s: float = READY_S
    once: bool = False


@dataclass
class Plan:
    """Stages are started in order and stopped in reverse; the parts of a stage together."""

    addresses: dict[str, str]
    stages: list[list[Part]] = field(default_factory=list)
    after_ready: list[Part] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def make(asked: Asked, tell: Callable[[str], None]) -> Plan:
    """The plan. Jars are fetched and ports checked here, so that what is missing is said before anything starts."""
    directory = DataDirectory(asked.data)
    ports.require_free(asked.port, "HTTP", "give another --port")
    host = ports.LOOPBACK if asked.host in ("0.0.0.0", "::") else asked.host  # noqa: S104  # asked for, and only with keys
    plan = Plan({"http": f"http://{f'[{host}]' if ':' in host else host}:{asked.port}"})
    servers = [*_broker(asked, directory, plan, tell), *_redis(asked, directory, plan)]
    plan.addresses["clickhouse"] = asked.clickhouse or f"chdb://{directory.history.absolute()}"
    environment = plan.environment | _environment(asked, directory, plan)
    if servers:
        plan.stages.append(servers)
    plan.stages.append([_part("topics", ["topics", "create"], directory, environment, once=True)])
    if asked.rebuild:
        plan.stages.append([_part("rebuild", ["rebuild", "--yes"], directory, environment, once=True)])
    plan.stages.append(_jobtide(asked, directory, environment, plan))
    if asked.demo:
        _demo(asked, directory, plan)
    directory.addresses.write_text(json.dumps(plan.addresses))
    return plan


def _broker(asked: Asked, directory: DataDirectory, plan: Plan, tell: Callable[[str], None]) -> list[Part]:
    if asked.broker is not None:
        plan.addresses["broker"] = asked.broker
        return []
    port = asked.port + 1
    plan.addresses["broker"] = f"{ports.LOOPBACK}:{port}"
    ports.require_free(port, "Kafka, --port + 1", "give another --port, or --broker HOST:PORT of a running Kafka")
    if not asked.ephemeral:
        ports.require_free(port + 1, "Kafka's controller, --port + 2", "give another --port")
        try:
            return [_kafka(port, directory, tell)]
        except ConfigError as missing:
            if (directory.kafka / "log").exists():
                raise  # an empty broker in its place would hide the user's data
            plan.warnings.append(f"{missing}. Going on with the in-memory broker")
    plan.warnings.append("the in-memory broker keeps nothing over a restart but history: for a quick look only")
    plan.environment["JOBTIDE_BROKER_IN_MEMORY"] = "1"
    broker = tansu.Tansu(directory.root / "tansu", port)
    return [Part(broker.process(directory.run, directory.logs), broker.answers, tansu.READY_S)]


def _kafka(port: int, directory: DataDirectory, tell: Callable[[str], None]) -> Part:
    broker = kafka.Kafka(directory.kafka, port, port + 1)
    return Part(broker.process(directory.run, directory.logs, tell), broker.answers, READY_S)


def _redis(asked: Asked, directory: DataDirectory, plan: Plan) -> list[Part]:
    if asked.redis is not None:
        plan.addresses["redis"] = asked.redis
        return []
    port = asked.port + 3
    ports.require_free(port, "Valkey, --port + 3", "give another --port, or --redis URL of a running server")
    store = valkey.Valkey(directory.valkey, port)
    plan.addresses["redis"] = store.url
    return [Part(store.process(directory.run, directory.logs), store.answers, valkey.READY_S)]


def _environment(asked: Asked, directory: DataDirectory, plan: Plan) -> dict[str, str]:
    return {
        "JOBTIDE_BROKER": plan.addresses["broker"],
        "JOBTIDE_REDIS_URL": plan.addresses["redis"],
        "JOBTIDE_CLICKHOUSE_URL": plan.addresses["clickhouse"],
        "JOBTIDE_HTTP_HOST": asked.host,
        "JOBTIDE_HTTP_PORT": str(asked.port),
        "JOBTIDE_DATA_DIR": str(directory.root.absolute()),
        "JOBTIDE_API_URL": plan.addresses["http"],
        "JOBTIDE_PUBLIC_URL": os.environ.get("JOBTIDE_PUBLIC_URL", plan.addresses["http"]),
    }


def _jobtide(asked: Asked, directory: DataDirectory, environment: Mapping[str, str], plan: Plan) -> list[Part]:
    edge = _part("edge", ["edge"], directory, environment)
    edge.answers = edge_answers(plan.addresses["http"])
    worker = _part("worker", ["worker"], directory, environment)
    worker.answers = worker_answers(plan.addresses["http"])
    parts = [edge, worker, _part("notifier", ["notifier"], directory, environment)]
    if not environment["JOBTIDE_CLICKHOUSE_URL"].startswith("chdb:"):
        parts.append(_part("sink", ["sink"], directory, environment))
    return parts


def _demo(asked: Asked, directory: DataDirectory, plan: Plan) -> None:
    if asked.redis is not None:
        raise ConfigError("--demo keeps its queues in the Valkey that `up` starts: leave out --redis")
    http = plan.addresses["http"]
    commands = demo_parts.workers(demo_parts.environment(http, plan.addresses["redis"]))
    plan.stages.append([Part(Process(command, directory.run, directory.logs)) for command in commands])
    view = demo_parts.table(http, str(directory.notes.absolute()))
    plan.after_ready.append(Part(Process(view, directory.run, directory.logs)))


def _part(name: str, arguments: list[str], directory: DataDirectory, environment: Mapping[str, str], once: bool = False) -> Part:
    argv = [sys.executable, "-m", "jobtide.cli", *arguments]
    # Unbuffered, so that the last line before a crash is in the log.
    command = Command(name, argv, {**environment, "PYTHONUNBUFFERED": "1"})
    return Part(Process(command, directory.run, directory.logs), once=once)
