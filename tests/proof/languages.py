"""The example shops of emitters/ruby and emitters/node run for a proof, beside those of emitters/python (`shop`): same interface.

Their jobs keep their own oracles, in their own words; `attempts` says what really happened, as for any other shop. Nothing that an
emitter said is read.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import redis

from tests.proof.recount import Attempt
from tests.proof.shop import Line, Shop

EMITTERS = Path(__file__).parents[2] / "emitters"
NODE, RUBY = EMITTERS / "node", EMITTERS / "ruby"
PYTHON = ("celery", "rq", "dramatiq", "huey", "arq", "taskiq", "procrastinate")
ON_POSTGRES = ("procrastinate", "pg-boss")
# Sidekiq adds up to ten seconds to each retry and looks for them every ten: too long for a proof.
HASTY = """
require "SHOP/sidekiq_app.rb"
require "sidekiq/job_retry"
Sidekiq.configure_server { |config| (config.respond_to?(:capsules) ? config : Sidekiq.options)[:poll_interval_average] = 0.3 }
class Sidekiq::JobRetry; def rand(*) = 0; end
"""


@dataclass
class PythonShop(Shop):
    """All seven backends, without any wait before a retry."""

    postgres: str = ""
    retry_ms: int = 0

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "JOBTIDE_EXAMPLE_POSTGRES": self.postgres}

    def prepare(self) -> None:
        """procrastinate keeps its queue in PostgreSQL."""
        if self.backend == "procrastinate":
            argv = [sys.executable, "-m", "procrastinate", "--app", "jobtide_example.procrastinate_app.app", "schema", "--apply"]
            environment = {**os.environ, **self.environment(), "JOBTIDE_EMITTER_DISABLED": "1"}
            subprocess.run(argv, env=environment, check=True, timeout=60)

    def counters(self) -> dict[str, int]:
        if self.backend == "procrastinate":
            sql = "SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY 1"
            return _by_state(self.postgres, sql, {"succeeded": "finished", "failed": "dead"})
        return super().counters() if self.backend in ("celery", "rq", "dramatiq") else {}


@dataclass
class NodeShop(Shop):
    """BullMQ, Bull, Bee-Queue, pg-boss."""

    postgres: str = ""

    @property
    def system(self) -> str:
        return self.backend.replace("-", "_")

    def worker_argv(self, number: int) -> list[str]:
        return ["node", str(NODE / "example" / "shop.mjs"), "work", self.backend]

    def drive_argv(self) -> list[str]:
        return ["node", str(NODE / "example" / "shop.mjs"), "drive", self.backend, str(self.jobs), str(self.seed)]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "JOBTIDE_EXAMPLE_POSTGRES": self.postgres}

    def job_class(self, line: Line) -> str:
        """Bee-Queue's and pg-boss's jobs have no names: their class is their queue."""
        return "shop" if self.backend in ("bee-queue", "pg-boss") else str(line["job_class"])

    def attempts(self) -> list[Attempt]:
        added = {line["id"]: line for line in self.lines("enqueue")}
        ends = {(line["id"], line["attempt"]): line for line in self.lines("end")}
        left = {(line["id"], line["attempt"]): line for line in self.lines("left")}
        found = []
        for start in self.lines("start"):
            key = job_id, number = start["id"], start["attempt"]
            add, outcome = added[job_id], ends[key]["outcome"]
            at_us = add["t"] if number == 1 else left[job_id, number - 1]["t"]
            found.append(
                Attempt(
                    (self.system, "shop", self.job_class(start)), job_id, number, at_us,
                    eligible_us=add["t"] + add["delay_ms"] * 1000 if number == 1 and add["delay_ms"] else None,
                    started_us=start["t"], ended_us=left[key]["t"], run_us=round(left[key]["run_us"]),
                    outcome="finished" if outcome == "ok" else "failed", retried=outcome == "retry", dead=outcome == "dead",
                )
            )  # fmt: skip
        assert len({(a.job_id, a.number) for a in found}) == len(found), f"{self.backend}: an attempt ran twice"
        return found

    def is_last_end(self, line: Line) -> bool:
        return bool(line["what"] == "end" and line["outcome"] in ("ok", "dead"))

    def counters(self) -> dict[str, int]:
        """What the backend's own queue says: the driver printed it when all jobs had ended."""
        printed = (self.folder / f"{self.backend}-drive.log").read_text().splitlines()
        (counted,) = [json.loads(line) for line in printed if line.startswith("{")]
        for line in printed:
            if not line.startswith("{"):
                print(f"  {self.backend}'s driver: {line}", file=sys.stderr)
        return {"finished": counted["completed"], "dead": counted["failed"]}


@dataclass
class RubyShop(Shop):
    """What Sidekiq and DelayedJob have in common. Their jobs are known by a key of their own, not by the backend's id."""

    tries: ClassVar[Mapping[str, int]]
    queues: ClassVar[Mapping[str, str]]

    @property
    def examples(self) -> Path:
        return RUBY / "examples" / "shop"

    def environment(self) -> dict[str, str]:
        client = {"JOBTIDE_EMITTER_CLIENT": "ffi"} if "JOBTIDE_EMITTER_BROKER" in self.target else {}
        return {**super().environment(), "RUBYLIB": str(RUBY / "lib"), **client}

    def is_last_end(self, line: Line) -> bool:
        return bool(line["what"] == "finished" or (line["what"] == "failed" and line["attempt"] == self.tries[line["class"]]))

    def attempts(self) -> list[Attempt]:
        added = {line["key"]: line for line in self.lines("enqueued")}
        ends: dict[tuple[str, int], Line] = {(line["key"], line["attempt"]): line for what in ("finished", "failed") for line in self.lines(what)}
        found = []
        for start in self.lines("started"):
            key, number, name = start["key"], start["attempt"], start["class"]
            end = ends[key, number]
            failed, last = end["what"] == "failed", number == self.tries[name]
            first = added[key]
            at_us = _us(first["before"] if number == 1 else ends[key, number - 1]["at"])
            found.append(
                Attempt(
                    (self.backend, self.queues[name], name), key, number, at_us,
                    eligible_us=at_us + round(first["delay_s"] * 1e6) if number == 1 and first["delay_s"] else None,
                    started_us=_us(start["at"]), ended_us=_us(end["at"]), run_us=_us(end["at"]) - _us(start["at"]),
                    outcome="failed" if failed else "finished", retried=failed and not last, dead=failed and last,
                )
            )  # fmt: skip
        assert len({(a.job_id, a.number) for a in found}) == len(found), f"{self.backend}: an attempt ran twice"
        return found


@dataclass
class SidekiqShop(RubyShop):
    """Sidekiq 6.4."""

    tries: ClassVar[Mapping[str, int]] = {"Shop::Invoice": 3, "Shop::Mail": 1}
    queues: ClassVar[Mapping[str, str]] = {"Shop::Invoice": "default", "Shop::Mail": "mail"}
    more_jobs = 10  # the driver pushes so many in bulk besides

    def worker_argv(self, number: int) -> list[str]:
        hasty = self.folder / "hasty.rb"
        hasty.write_text(HASTY.replace("SHOP", str(self.examples)))
        return ["sidekiq", "-r", str(hasty), "-c", str(self.concurrency), "-q", "default", "-q", "mail"]

    def drive_argv(self) -> list[str]:
        return ["ruby", str(self.examples / "sidekiq_drive.rb"), str(self.jobs - self.more_jobs), str(self.seed)]

    def counters(self) -> dict[str, int]:
        with redis.Redis.from_url(self.redis_url) as client:
            processed, failed = (int(client.get(f"stat:{name}") or 0) for name in ("processed", "failed"))  # type: ignore[arg-type]
        return {"failed": failed, "finished": processed - failed}


@dataclass
class DelayedJobShop(RubyShop):
    """DelayedJob on SQLite."""

    tries: ClassVar[Mapping[str, int]] = {"Shop::Parcel": 3}
    queues: ClassVar[Mapping[str, str]] = {"Shop::Parcel": "default"}

    @cached_property
    def _app(self) -> list[str]:
        return ["ruby", str(self.examples / "delayed_app.rb"), str(self.folder / "shop.sqlite3")]

    def prepare(self) -> None:
        """The table, before worker and driver would make it at the same time."""
        subprocess.run([*self._app, "drive", "0"], env={**os.environ, **self.environment(), "JOBTIDE_EMITTER_DISABLED": "1"}, check=True, timeout=60)

    def worker_argv(self, number: int) -> list[str]:
        return [*self._app, "work"]

    def drive_argv(self) -> list[str]:
        return [*self._app, "drive", str(self.jobs)]

    def counters(self) -> dict[str, int]:
        return {}  # it deletes what is done, and what failed for good


def available() -> list[str]:
    """The backends that can run here, all languages."""
    found = [name for name in PYTHON if _importable(name)]
    if shutil.which("node") and (NODE / "node_modules" / "bullmq").exists():
        found += ["bullmq", "bull", "bee-queue", "pg-boss"]
    found += ["sidekiq"] if shutil.which("sidekiq") else []
    found += ["delayed_job"] if shutil.which("ruby") and _gem("delayed_job_active_record") and _gem("sqlite3") else []
    return found


def shop(backend: str, folder: Path, target: Mapping[str, str], *, jobs: int, concurrency: int, tenant: str, seed: int, postgres: str) -> Shop:
    """A shop of any language; its Redis, if it needs one, is set later."""
    common: dict[str, Any] = {
        "backend": backend, "redis_url": "", "folder": folder, "target": target, "jobs": jobs, "workers": 1, "concurrency": concurrency,
        "tenant": tenant, "seed": seed,
    }  # fmt: skip
    if backend in PYTHON:
        return PythonShop(**common, postgres=postgres)
    if backend == "sidekiq":
        return SidekiqShop(**common)
    if backend == "delayed_job":
        return DelayedJobShop(**common)
    return NodeShop(**common, postgres=postgres)


def language(backend: str) -> str:
    return "Python" if backend in PYTHON else "Ruby" if backend in ("sidekiq", "delayed_job") else "Node"


def build_node() -> None:
    """The package as apps import it, if it is not built from what is there; proofs may run side by side."""
    with (NODE / "tsconfig.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        built = NODE / "dist" / "esm" / "index.js"
        newest = max(path.stat().st_mtime for path in [*NODE.glob("src/**/*.ts"), NODE / "package.json"])
        if not built.exists() or built.stat().st_mtime < newest:
            subprocess.run(["npm", "run", "build", "--silent"], cwd=NODE, check=True, timeout=120)


def _by_state(postgres: str, sql: str, names: Mapping[str, str]) -> dict[str, int]:
    import psycopg

    with psycopg.connect(postgres) as connection:
        found: dict[str, int] = defaultdict(int, dict(connection.execute(sql).fetchall()))
    return {ours: found[theirs] for theirs, ours in names.items()}


def _importable(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _gem(name: str) -> bool:
    return subprocess.run(["ruby", "-e", f"gem {name!r}"], capture_output=True, check=False).returncode == 0


def _us(seconds: float) -> int:
    return round(seconds * 1e6)


