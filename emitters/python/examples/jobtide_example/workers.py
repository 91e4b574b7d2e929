"""Command lines that start a worker of each backend; and `python -m jobtide_example.workers celery` to run one."""

from __future__ import annotations

import os
import sys

BACKENDS = ("celery", "rq", "dramatiq", "huey", "arq", "taskiq", "procrastinate")


def command(backend: str, concurrency: int = 4) -> list[str]:
    """The command that starts one worker process (RQ: with one job at a time, whatever `concurrency` says)."""
    python = sys.executable
    redis = os.environ.get("JOBTIDE_EXAMPLE_REDIS", "redis://127.0.0.1:6379/0")
    if backend == "celery":
        options = ["--loglevel=WARNING", f"--concurrency={concurrency}", "--without-mingle", "--without-gossip"]
        name = f"--hostname=shop-{os.getpid()}@%h"
        return [python, "-m", "celery", "-A", "jobtide_example.celery_app", "worker", name, *options]
    if backend == "rq":
        worker = ["-w", "jobtide_emitter.rq.Worker", "--with-scheduler", "--quiet", "--url", redis]
        return [python, "-m", "rq.cli", "worker", *worker, "shop"]
    if backend == "dramatiq":
        return [python, "-m", "dramatiq", "jobtide_example.dramatiq_app", "-p", "1", "-t", str(concurrency)]
    if backend == "huey":
        return [python, "-m", "huey.bin.huey_consumer", "jobtide_example.huey_app.huey", "-w", str(concurrency), "-d", "0.02", "-q"]
    if backend == "arq":
        return [python, "-m", "arq", "jobtide_example.arq_app.WorkerSettings"]
    if backend == "taskiq":
        options = ["--workers", "1", "--max-async-tasks", str(concurrency), "--log-level", "WARNING"]
        return [python, "-m", "taskiq", "worker", "jobtide_example.taskiq_app:broker", *options]
    if backend == "procrastinate":
        return [python, "-m", "procrastinate", "--app", "jobtide_example.procrastinate_app.app", "worker", "--concurrency", str(concurrency)]
    raise ValueError(f"backend {backend!r}: use one of {', '.join(BACKENDS)}")


def main() -> None:
    """Becomes the worker that the first argument names."""
    argv = command(sys.argv[1] if len(sys.argv) > 1 else "celery")
    os.execv(argv[0], argv)  # noqa: S606  our own command


if __name__ == "__main__":
    main()
