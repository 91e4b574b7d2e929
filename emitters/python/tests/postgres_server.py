"""A PostgreSQL of the tests' own, from the system's package: on a Unix socket in a directory, without durability."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """Starts one, gives its connection string, stops it. PostgreSQL refuses to run as root: then it runs as `postgres`."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not found:
        if os.environ.get("CI"):
            pytest.fail("CI needs PostgreSQL: apt-get install postgresql, or JOBTIDE_TEST_POSTGRES")
        pytest.skip("install PostgreSQL, or set JOBTIDE_TEST_POSTGRES")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    home = Path("/tmp") / f"jobtide-postgres-{os.getpid()}"  # a path that the other user may enter, and short: it is a socket's
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    data, log = home / "data", directory / "postgres.log"
    try:
        control(as_user, found[-1], "initdb", "-D", str(data), "-o", "-A trust -U postgres -E UTF8 --no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={home} -c fsync=off -c max_connections=60"
        with log.open("wb") as output:
            subprocess.run(
                [*as_user, str(found[-1]), "start", "-w", "-D", str(data), "-o", options], check=True, timeout=60, stdout=output, stderr=output
            )
        try:
            yield f"host={home} user=postgres dbname=postgres"
        finally:
            control(as_user, found[-1], "stop", "-D", str(data), "-m", "immediate")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def control(as_user: list[str], program: Path, *arguments: str) -> None:
    subprocess.run([*as_user, str(program), *arguments], check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
