"""`jobtide replay` into a running `jobtide up`: history twice is history once; a live run is counted as it was, faster."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jobtide.streams.events import time_text, time_us

from tests.up_process import UpProcess, up

JOBS = 2_000
BEGIN_US = time_us("2013-03-01T00:00:00Z")
SPEED = 60


def write_file(path: Path, seed: int = 20130301) -> list[float]:
    """Jobs over ten minutes of 2013, in the order of jobs, not of time; returns their run times in ms."""
    dice = random.Random(seed)
    runs: list[float] = []
    with path.open("w") as file:
        for number in range(JOBS):
            enqueued_us = BEGIN_US + dice.randrange(600_000_000)
            started_us = enqueued_us + dice.randrange(5_000_000)
            runs.append(round(dice.lognormvariate(7, 1), 3))
            base = {"tenant": "grid", "system": "pbs", "queue": "q", "job_class": "trace", "job_id": f"j{number}"}
            events: list[dict[str, Any]] = [
                {"type": "job.enqueued", "time": time_text(enqueued_us)},
                {"type": "job.started", "time": time_text(started_us), "worker_id": "w"},
                {"type": "job.finished", "time": time_text(started_us + int(runs[-1] * 1000)), "worker_id": "w", "duration_ms": runs[-1]},
            ]
            file.writelines(json.dumps(event | base) + "\n" for event in events)
    return runs


def replay(process: UpProcess, path: Path, *arguments: str) -> str:
    """The command as a user gives it, with the data directory to find the port by."""
    argv = [sys.executable, "-m", "jobtide.cli", "replay", str(path), "--data", str(process.data), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def row(process: UpProcess, span: str) -> dict[str, Any]:
    """The class's row, or an empty one."""
    items = process.get(f"/v1/classes?{span}&tenant=grid")["items"]
    return dict(items[0]) if items else {"enqueued": 0, "started": 0, "finished": 0}


def until(condition: Callable[[], bool], describe: Callable[[], object], deadline_s: float = 120) -> None:
    limit = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < limit, describe()
        time.sleep(0.5)


@pytest.mark.slow
def test_history_and_live(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    runs = sorted(write_file(path))
    then = f"from={time_text(BEGIN_US)}&to={time_text(BEGIN_US + 3_600_000_000)}"

    def exact(span: str) -> Callable[[], bool]:
        return lambda: [row(process, span)[name] for name in ("enqueued", "started", "finished")] == [JOBS] * 3

    with up(tmp_path / "data") as process:
        for _ in range(2):
            assert f"{3 * JOBS} events accepted" in replay(process, path, "--history")
            until(exact(then), lambda: row(process, then))
        assert row(process, "last=1h")["finished"] == 0, "history must not change live numbers"

        assert f"{3 * JOBS} events accepted" in replay(process, path, "--live", "--speed", str(SPEED))
        until(exact("last=15m"), lambda: row(process, "last=15m"))
        found = row(process, "last=15m")
        for quantile, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (1.0, "max")):
            wanted = runs[max(1, -int(-quantile * JOBS // 1)) - 1] / SPEED
            assert abs(found["run_ms"][name] / wanted - 1) < 0.011, (name, found["run_ms"][name], wanted)
        complete = process.get("/v1/classes?last=15m&tenant=grid")["completeness"]
        assert (complete["missing"], complete["lost"], complete["unclean_epochs"]) == (0, 0, 0)
        assert row(process, then)["finished"] == JOBS
