"""The examples of emitters/http, executed: curl and PHP tell a real gateway, and what arrives is what happened.

Laravel and Glueful are stand-ins (`php/`) that fire their events in the order of the real workers; the frameworks are not installed.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.e2e.worker_place import PARTITIONS, WorkerPlace

HTTP = Path(__file__).parents[2] / "emitters" / "http"
README = (HTTP / "README.md").read_text()
STAND_INS = Path(__file__).parent / "php"
DEADLINE_S = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
Told = Counter[tuple[str, str, int]]


@pytest.fixture
def place(kafka_broker: str, prefix: str, tmp_path: Path) -> Iterator[WorkerPlace]:
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    place = WorkerPlace(kafka_broker, prefix, tmp_path)
    with place.gateway():
        yield place


def example(language: str) -> str:
    """The one block of the README in that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return str(found)


def run(argv: list[str], url: str, cwd: Path = HTTP) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, cwd=cwd, env={**os.environ, "JOBTIDE_URL": url}, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def told(events: list[dict[str, Any]]) -> Told:
    jobs = [event for event in events if event["type"].startswith("job.")]
    return Counter((e["data"]["job_id"], e["type"].removeprefix("job.").removesuffix(".v1"), e["data"]["attempt"]) for e in jobs)


def of(events: list[dict[str, Any]], job_id: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == f"job.{kind}.v1" and event["data"]["job_id"] == job_id]


def test_curl(place: WorkerPlace) -> None:
    done = run(["bash", "-euo", "pipefail", "-c", example("sh")], place.gateway_url)
    assert [int(number) for number in re.findall(r'"accepted":(\d+)', done.stdout)] == [1, 1, 1, 4, 1, 1]
    assert done.stdout.count('"rejected":[]') == 6
    events = place.events()
    assert told(events) == Counter({
        ("backup-1", "enqueued", 1): 1, ("backup-2", "started", 1): 1, ("backup-2", "finished", 1): 1,
        ("report-1", "failed", 1): 1, ("report-1", "retry_scheduled", 1): 1, ("report-1", "started", 2): 1, ("report-1", "finished", 2): 1,
    })  # fmt: skip
    (finished,) = of(events, "backup-2", "finished")
    assert finished["data"]["started_at"] == of(events, "backup-2", "started")[0]["time"]
    assert 100 <= finished["data"]["duration_ms"] < 30_000
    kinds = Counter(event["type"] for event in events)
    assert kinds["queue.snapshot.v1"] == 1
    assert kinds["deploy.marked.v1"] == PARTITIONS


def test_a_plain_php_program(place: WorkerPlace) -> None:
    code = "<?php\n" + example("php") + "echo $sent;"
    (place.directory / "Jobtide.php").write_text((HTTP / "php" / "Jobtide.php").read_text())
    (place.directory / "app.php").write_text(code)
    assert run(["php", "app.php"], place.gateway_url, place.directory).stdout == "5"
    events = place.events()
    assert told(events) == Counter({("welcome-1", kind, 1): 1 for kind in ("enqueued", "started", "finished")})
    assert of(events, "welcome-1", "finished")[0]["data"]["started_at"] == of(events, "welcome-1", "started")[0]["time"]


def test_laravels_events(place: WorkerPlace) -> None:
    assert run(["php", str(STAND_INS / "laravel_worker.php"), str(HTTP / "php")], place.gateway_url).stdout == "0\n"
    events = place.events()
    assert told(events) == Counter({
        ("ok", "enqueued", 1): 1, ("ok", "started", 1): 1, ("ok", "finished", 1): 1,
        ("later", "scheduled", 1): 1,
        ("second", "enqueued", 1): 1, ("second", "started", 1): 1, ("second", "failed", 1): 1, ("second", "retry_scheduled", 1): 1,
        ("second", "started", 2): 1, ("second", "finished", 2): 1,
        ("dead", "enqueued", 1): 1, ("dead", "started", 1): 1, ("dead", "failed", 1): 1, ("dead", "retry_scheduled", 1): 1,
        ("dead", "started", 2): 1, ("dead", "failed", 2): 1, ("dead", "dead", 2): 1,
        ("itself", "enqueued", 1): 1, ("itself", "started", 1): 1, ("itself", "failed", 1): 1, ("itself", "dead", 1): 1,
        ("released", "enqueued", 1): 1, ("released", "started", 1): 1, ("released", "discarded", 1): 1, ("released", "retry_scheduled", 1): 1,
        ("slow", "enqueued", 1): 1, ("slow", "started", 1): 1, ("slow", "failed", 1): 1,
    })  # fmt: skip
    for event in events:
        assert (event["data"]["system"], event["data"]["queue"], event["data"]["job_class"]) == ("laravel", "mail", "App\\Jobs\\Send")
        assert event["data"]["environment"] == "testing"
    (finished,) = of(events, "ok", "finished")
    assert 20 <= finished["data"]["duration_ms"] < 30_000
    assert finished["data"]["started_at"] == of(events, "ok", "started")[0]["time"]
    assert of(events, "dead", "dead")[0]["data"]["error"] == {"class": "DomainException"}
    assert "hunter2" not in str(events)


def test_gluefuls_worker(place: WorkerPlace) -> None:
    run(["php", str(STAND_INS / "glueful_worker.php"), str(HTTP / "php")], place.gateway_url)
    events = place.events()
    assert told(events) == Counter({
        ("ok", "enqueued", 1): 1, ("ok", "started", 1): 1, ("ok", "finished", 1): 1,
        ("later", "scheduled", 1): 1,
        ("second", "enqueued", 1): 1, ("second", "started", 1): 1, ("second", "failed", 1): 1, ("second", "retry_scheduled", 1): 1,
        ("second", "started", 2): 1, ("second", "finished", 2): 1,
        ("dead", "enqueued", 1): 1, ("dead", "started", 1): 1, ("dead", "failed", 1): 1, ("dead", "retry_scheduled", 1): 1,
        ("dead", "started", 2): 1, ("dead", "failed", 2): 1, ("dead", "dead", 2): 1,
    })  # fmt: skip
    assert of(events, "dead", "dead")[0]["data"]["error"] == {"class": "TypeError"}
    first, second = of(events, "second", "started")[0]["data"], of(events, "second", "started")[1]["data"]
    assert {first["attempt"], second["attempt"]} == {1, 2}
    again = next(data for data in (first, second) if data["attempt"] == 2)
    assert "run_at" in again and "enqueued_at" not in again
    assert again["batch_id"] == "batch-1"
    assert "hunter2" not in str(events)


def test_php_when_nobody_listens_costs_no_job(tmp_path: Path) -> None:
    """Every job runs and returns; what the client keeps is bounded, the rest is counted."""
    code = f"""<?php require '{HTTP}/php/Jobtide.php';
    $jobtide = new Jobtide\\Client(getenv('JOBTIDE_URL'), 'mailer');
    $sum = 0;
    for ($n = 0; $n < 700; $n++) $sum += $jobtide->run('mail', 'C', "$n", fn () => 1);
    try {{ $jobtide->run('mail', 'C', 'x', function () {{ throw new DomainException('mine'); }}); }} catch (DomainException $e) {{ $sum += 1000; }}
    $jobtide->emit("job.enqueued", ["job_id" => NAN]); // no JSON: the client's own trouble
    echo $sum, ' ', $jobtide->dropped;"""
    (tmp_path / "app.php").write_text(code)
    assert run(["php", "app.php"], "http://127.0.0.1:1/v1/events", tmp_path).stdout.endswith("1700 402")
