"""A PostgreSQL server for tests, of Debian's package: on a free loopback port, by a URL that every language's client understands."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jobtide.cli.embedded import ports


def program(name: str) -> Path | None:
    """A program of PostgreSQL, which Debian keeps off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")) or [Path(path) for path in [shutil.which(name)] if path]
    return found[-1] if found else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Its URL. AssertionError where PostgreSQL is not installed."""
    assert program("pg_ctl") is not None, "apt-get install postgresql"
    directory = Path(tempfile.mkdtemp(prefix="jobtide-postgres-", dir="/tmp"))
    directory.chmod(0o777)
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # PostgreSQL refuses to run as root
    control = [*as_user, str(program("pg_ctl")), "-D", str(directory / "data")]
    port = ports.free_block(1)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} -c fsync=off"
    try:
        subprocess.run([*control, "initdb", "-o", "-A trust -U postgres --no-sync"], check=True, capture_output=True, cwd="/")
        with (directory / "start.log").open("wb") as log:
            subprocess.run([*control, "start", "-w", "-o", options], check=True, stdout=log, stderr=log, cwd="/")
        try:
            yield f"postgres://postgres@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "stop", "-m", "immediate"], check=True, capture_output=True, cwd="/")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
