"""Where Ruby workers run in tests: a gateway, Ruby processes here or in another system, the oracle they write, the topic they fill."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.worker_place import WorkerPlace

RUBY = Path(__file__).parents[2] / "emitters" / "ruby"
DEADLINE_S = 60
# Sidekiq adds up to ten seconds to each retry and looks for them every ten: too long for a test.
HASTY = """
require "SHOP/sidekiq_app.rb"
require "sidekiq/job_retry"
Sidekiq.configure_server { |config| (config.respond_to?(:capsules) ? config : Sidekiq.options)[:poll_interval_average] = 0.3 }
class Sidekiq::JobRetry; def rand(*) = 0; end
"""


class Place(WorkerPlace):
    """One test's servers and files, and how to run Ruby there."""

    def __init__(self, broker: str, prefix: str, directory: Path, root: Path | None = None) -> None:
        super().__init__(broker, prefix, directory)
        self._root = root
        self.ruby_code = shutil.copytree(RUBY, directory / "ruby") if root else RUBY
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

    def hasty(self) -> str:
        """The shop's file for a worker that does not wait long."""
        (self.directory / "hasty.rb").write_text(HASTY.replace("SHOP", self.shop))
        return self.inside(self.directory / "hasty.rb")

    @contextmanager
    def worker(self, *argv: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Ruby worker, asked to end at the end, and ending in order."""
        with self.process(self._there(list(argv)), self.ruby_env | env, "worker") as process:
            yield process

    def ruby(self, *argv: str, **env: str) -> None:
        with (self.directory / "drive.log").open("wb") as log:
            subprocess.run(self._there(["ruby", *argv]), env=self.ruby_env | env, stdout=log, stderr=log, check=True, timeout=DEADLINE_S)

    def oracle(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.oracle_path.read_text().splitlines()] if self.oracle_path.exists() else []
