"""Where Ruby workers run in tests: a gateway, Ruby processes here or in another system, the oracle they write, the topic they fill.

`here` is this machine's Ruby (in CI Debian 12's: Sidekiq 6.4, ActiveJob 6.1), `debian-13` the folder that `.ci/debian-13` makes
(Sidekiq 7.3, ActiveJob 7.2); what runs there sees the folder as its root.
"""

import functools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.worker_place import WorkerPlace

RUBY = Path(__file__).parents[2] / "emitters" / "ruby"
DEBIAN_13 = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jobtide" / "debian-13-ruby"
SYSTEMS = ["here", "debian-13"]
DEADLINE_S = 60
# Sidekiq adds up to ten seconds to each retry and looks for them every ten: too long for a test.
HASTY = """
require "SHOP/APP"
require "sidekiq/job_retry"
Sidekiq.configure_server { |config| (config.respond_to?(:capsules) ? config : Sidekiq.options)[:poll_interval_average] = 0.3 }
class Sidekiq::JobRetry; def rand(*) = 0; end
"""


@functools.cache
def has_gem(name: str) -> bool:
    return shutil.which("ruby") is not None and subprocess.run(["ruby", "-e", f"gem {name!r}"], capture_output=True, check=False).returncode == 0


def needs(gem: str, system: str = "here") -> None:
    """Skips where a system is not set up. In CI that is a failure, not a skip."""
    there = has_gem(gem) if system == "here" else os.geteuid() == 0 and (DEBIAN_13 / ".made-of").exists()
    if not there:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"{system}: no {gem}; `make setup-test` installs it")


@contextmanager
def a_place(system: str, broker: str, prefix: str, directory: Path) -> Iterator["Place"]:
    """A place on one of the SYSTEMS."""
    if system == "here":
        yield Place(broker, prefix, directory)
        return
    inside = DEBIAN_13 / "tmp" / prefix.rstrip(".")
    inside.mkdir(parents=True)
    try:
        yield Place(broker, prefix, inside, DEBIAN_13)
    finally:
        shutil.rmtree(inside)


class Place(WorkerPlace):
    """One test's servers and files, and how to run Ruby there."""

    def __init__(self, broker: str, prefix: str, directory: Path, root: Path | None = None) -> None:
        super().__init__(broker, prefix, directory)
        self._root = root
        self.is_here = root is None
        self.ruby_code = shutil.copytree(RUBY, directory / "emitters" / "ruby") if root else RUBY
        self.shop = self.inside(self.ruby_code / "examples" / "shop")
        self.ruby_env = self.rest | {
            "RUBYLIB": self.inside(self.ruby_code / "lib"), "JOBTIDE_ORACLE": self.inside(self.oracle_path), "JOBTIDE_EMITTER_TENANT": "acme",
            "JOBTIDE_EMITTER_URL": self.gateway_url,
            "JOBTIDE_EMITTER_HEARTBEAT_MS": "1000", "JOBTIDE_EMITTER_SNAPSHOT_MS": "1000",
        }  # fmt: skip

    def inside(self, path: Path) -> str:
        """The path as Ruby sees it."""
        return f"/{path.relative_to(self._root)}" if self._root else str(path)

    def _there(self, argv: list[str]) -> list[str]:
        return ["chroot", str(self._root), *argv] if self._root else argv

    def hasty(self, app: str = "sidekiq_app.rb") -> str:
        """A file of the shop for a worker that does not wait long."""
        (self.directory / "hasty.rb").write_text(HASTY.replace("SHOP", self.shop).replace("APP", app))
        return self.inside(self.directory / "hasty.rb")

    @contextmanager
    def worker(self, *argv: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Ruby worker, asked to end at the end, and ending in order."""
        with self.process(self._there(list(argv)), self.ruby_env | env, "worker") as process:
            yield process

    @contextmanager
    def doomed_worker(self, *argv: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Ruby worker that the test kills."""
        with self.process(self._there(list(argv)), self.ruby_env | env, "doomed", (-signal.SIGKILL,)) as process:
            yield process

    def ruby(self, *argv: str, **env: str) -> None:
        with (self.directory / "drive.log").open("wb") as log:
            subprocess.run(self._there(["ruby", *argv]), env=self.ruby_env | env, stdout=log, stderr=log, check=True, timeout=DEADLINE_S)

    def rake_test(self) -> str:
        """The output of the gem's own tests, in a copy; with what they read of the repository beside it."""
        shutil.copytree(RUBY.parent / "contract", self.directory / "emitters" / "contract")
        (self.directory / "emitters" / "python").mkdir()
        shutil.copy(RUBY.parent / "python" / "README.md", self.directory / "emitters" / "python")
        argv = self._there(["sh", "-c", f"cd {self.inside(self.ruby_code)} && rake test 2>&1"])
        env = {name: value for name, value in self.ruby_env.items() if not name.startswith("JOBTIDE_")}
        return subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=False, timeout=300).stdout

    def oracle(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.oracle_path.read_text().splitlines()] if self.oracle_path.exists() else []
