"""The data directory of `jobtide up`: its layout, and the lock that lets one `up` at a time use it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from jobtide.cli.embedded import claim
from jobtide.streams.errors import ConfigError

DEFAULT = "jobtide-data"


@dataclass(frozen=True)
class DataDirectory:
    """Everything `up` keeps, under one directory."""

    root: Path

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def history(self) -> Path:
        return self.root / "history"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def addresses(self) -> Path:
        """JSON {"http", "broker", "redis", "clickhouse"} of the running set, for the other commands."""
        return self.root / "addresses.json"

    @property
    def notes(self) -> Path:
        """What `up` told since it was ready, one line each."""
        return self.logs / "up.log"

    def lock(self) -> int:
        """Take the directory for this process until it ends. ConfigError in one sentence when it cannot be had."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # what jobs said is nobody else's business
            self.run.mkdir(exist_ok=True)
            path = self.run / "up.lock"
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"data directory {self.root} cannot be used ({error.strerror}): give --data DIR") from None
        if not claim.locked(fd):
            raise ConfigError(
                f"data directory {self.root} is in use by another `jobtide up` (process {claim.holder(path)}): stop it, or give --data DIR"
            )
        os.ftruncate(fd, 0)
        claim.sign(fd, os.getpid())
        return fd


def end_leftovers(directory: DataDirectory, grace_s: float) -> None:
    """End the processes that an `up` on this directory left behind when it was killed: before ports are looked at."""
    claims = sorted(directory.run.glob("*.claim"))
    for path in claims:
        claim.end_if_held(path)
    for path in claims:
        os.close(claim.take(path, grace_s))


def read_addresses(root: Path) -> dict[str, str]:
    """What `up` on this directory last wrote; empty when nothing runs there."""
    try:
        found = json.loads(DataDirectory(root).addresses.read_text())
    except (OSError, ValueError):
        return {}
    return {name: text for name, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}
