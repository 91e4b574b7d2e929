"""The processes of `up --demo`: Celery and RQ workers, the load, the table. Only command lines and environments."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from jobtide.cli import identity
from jobtide.cli.embedded.process import Command

CELERY_APP = "jobtide.cli.demo.celery_app"
_CELERY_PROCESSES = 3


def environment(http: str, redis_server: str) -> dict[str, str]:
    """What the shop is told: where its broker is (database 1, apart from the hot state) and where events go."""
    return {
        "DEMO_REDIS_URL": f"{redis_server.rpartition('/')[0]}/1",
        "JOBTIDE_EMITTER_URL": f"{http}/v1/events",
        "JOBTIDE_EMITTER_TENANT": "demo",
        "JOBTIDE_EMITTER_TOKEN": identity.key() or "",
        "JOBTIDE_EMITTER_HEARTBEAT_MS": "5000",
        "PYTHONUNBUFFERED": "1",
    }


def workers(env: Mapping[str, str]) -> list[Command]:
    """Two real worker processes and what feeds them."""
    quiet = ["--loglevel=WARNING", "--without-mingle", "--without-gossip"]
    celery = ["celery", "-A", CELERY_APP, "worker", "--hostname=shop@%h", f"--concurrency={_CELERY_PROCESSES}", *quiet]
    rq = ["rq.cli", "worker", "-w", "jobtide_emitter.rq.Worker", "--with-scheduler", "--quiet"]
    return [
        Command("celery", [sys.executable, "-m", *celery], env, grace_s=5),
        Command("rq", [sys.executable, "-m", *rq, "--url", env["DEMO_REDIS_URL"], "warehouse"], env, grace_s=5),
        Command("load", [sys.executable, "-m", "jobtide.cli", "demo", "load"], env, grace_s=2),
    ]


def table(http: str, notes: str) -> Command:
    """The table, on the terminal of `up`."""
    argv = [sys.executable, "-m", "jobtide.cli", "demo", "view", "--url", http, "--notes", notes]
    return Command("view", argv, {"PYTHONUNBUFFERED": "1"}, grace_s=2, terminal=True)
