"""A real Apache Kafka on one machine: one KRaft node, broker and controller in one JVM, loopback only.

Its data survives restarts and SIGKILL of the JVM (not a power cut: the page cache is trusted). Comes from jars (`jars`)
and a Java (`java`); goes to `<directory>/log` and one log file.
"""

import base64
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from signal import SIGTERM

from jobtide.cli.embedded import jars, java, ports
from jobtide.cli.embedded.process import Command, Process
from jobtide.streams.errors import ConfigError

READY_S = 60.0
GRACE_S = 20.0
_API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, 1, 0)

# What differs from Kafka's defaults, and why.
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={directory}/log
# One node: nothing can be replicated.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A typo must not become a topic with one partition.
auto.create.topics.enable=false
# A worker that comes back must not wait for others that will not come.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A checkpoint is one record batch of up to 16 MiB.
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
# A bounded heap: the default cleaner buffer alone is 128 MB.
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=33554432
num.network.threads=2
num.io.threads=4
# Back within seconds after a SIGKILL: the controller forgets the dead registration sooner than in 9 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# An idle node writes to its disk every 5 s instead of twice a second.
metadata.max.idle.interval.ms=5000
"""

_JVM = (
    "-Xms128m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)  # fmt: skip


@dataclass(frozen=True)
class Kafka:
    """One broker: where its data is, and its two loopback ports."""

    directory: Path
    port: int
    controller_port: int

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{ports.LOOPBACK}:{self.port}"

    def process(self, run_dir: Path | None = None, log_dir: Path | None = None, tell: Callable[[str], None] = lambda line: None) -> Process:
        """The process, not started; jars and Java found, storage formatted once. ConfigError says what is missing."""
        program, libs = java.find(), jars.find(tell)
        directory = self.directory.absolute()
        directory.mkdir(parents=True, exist_ok=True)
        properties = directory / "server.properties"
        properties.write_text(_PROPERTIES.format(host=ports.LOOPBACK, port=self.port, controller_port=self.controller_port, directory=directory))
        log4j2 = directory / "log4j2.xml"
        log4j2.write_text((files(__package__) / "log4j2.xml").read_text())
        base = [str(program), *_JVM, f"-Dlog4j2.configurationFile={log4j2}", "-cp", f"{libs}/*"]
        self._format([*base, "kafka.tools.StorageTool"], properties)
        command = Command(name="kafka", argv=[*base, "kafka.Kafka", str(properties)], grace_s=GRACE_S, orphan_signal=SIGTERM)
        return Process(command, run_dir or self.directory, log_dir or self.directory)

    def answers(self) -> bool:
        """True when the broker answers requests."""
        try:
            with socket.create_connection((ports.LOOPBACK, self.port), timeout=1) as connection:
                connection.settimeout(2)
                connection.sendall(_API_VERSIONS_REQUEST)
                return len(connection.recv(8)) == 8
        except OSError:
            return False

    def _format(self, tool: list[str], properties: Path) -> None:
        if (self.directory / "log" / "meta.properties").exists():
            return
        # A cluster id is 16 bytes in base64; one that begins with "-" would be read as an option.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        command = [*tool, "format", "-t", cluster, "-c", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # fixed arguments
        if done.returncode:
            raise ConfigError(f"Kafka could not format {self.directory}: {(done.stdout + done.stderr).strip()}")
