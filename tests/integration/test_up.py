"""`jobtide up` as a user runs it: numbers by one command, one sentence for what is missing, exact through kills."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from jobtide.cli.embedded import ports
from jobtide.streams.events import time_text

from tests.up_process import PORTS, UpProcess, up

READY_BAR_S = 60
FIRST_ROW_BAR_S = 10


def job(number: int, now_us: int) -> list[dict[str, Any]]:
    """The three events of one job, short form: waited 2 ms, ran 5 ms."""
    base = {"system": "load", "queue": "q", "job_class": "C", "job_id": f"j{number}"}
    times = [time_text(now_us - back) for back in (7_000, 5_000, 0)]
    return [
        {"type": "job.enqueued", "time": times[0], **base},
        {"type": "job.started", "time": times[1], "worker_id": "w", "enqueued_at": times[0], **base},
        {"type": "job.finished", "time": times[2], "worker_id": "w", "duration_ms": 5, **base},
    ]


class Load(threading.Thread):
    """Posts jobs, every request a second time, and some jobs a third; counts what it knows to be accepted."""

    def __init__(self, process: UpProcess) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._done = threading.Event()
        self.jobs = 0
        self.error: BaseException | None = None
        self.first_us = time.time_ns() // 1000

    def run(self) -> None:
        try:
            while not self._done.is_set():
                now_us = time.time_ns() // 1000
                numbers = range(self.jobs, self.jobs + 20)
                events = [event for number in numbers for event in job(number, now_us)]
                self._process.post(events)
                self._process.post(events[:30][::-1] + events[:3])
                self.jobs += 20
                time.sleep(0.05)
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        self._done.set()
        self.join(120)
        assert self.error is None and not self.is_alive(), self.error

    def grown(self, by: int) -> None:
        """Wait for that many more jobs."""
        target, limit = self.jobs + by, time.monotonic() + 90
        while self.jobs < target:
            assert self.error is None and time.monotonic() < limit, self.error
            time.sleep(0.05)


def counts(process: UpProcess, span: str) -> dict[str, int]:
    """What the API says of the load's class in a range."""
    items = process.get(f"/v1/classes?{span}&job_class=C")["items"]
    names = ("enqueued", "started", "finished", "failed", "in_flight", "waiting")
    found = {name: items[0][name] for name in names} if items else dict.fromkeys(names, 0)
    return found | {"waits": items[0]["wait_ms"]["count"], "runs": items[0]["run_ms"]["count"]} if items else found


@pytest.mark.slow
def test_exact_through_sigkill_of_every_part_and_of_up_itself(tmp_path: Path) -> None:
    with up(tmp_path / "data") as process:
        load = Load(process)
        load.start()
        for name in ("worker", "edge", "valkey", "kafka", "worker", "edge"):
            load.grown(200)
            process.kill_child(name)
        load.grown(200)
        process.kill()
        assert process.start() < READY_BAR_S
        load.grown(200)
        load.finish()
        exact = dict.fromkeys(("enqueued", "started", "finished", "waits", "runs"), load.jobs)
        exact |= {"failed": 0, "in_flight": 0, "waiting": 0}
        span = f"from={time_text(load.first_us - 60_000_000)}&to={time_text(time.time_ns() // 1000 + 60_000_000)}"
        limit = time.monotonic() + 60
        while (found := (counts(process, "last=1h"), counts(process, span))) != (exact, exact):
            assert time.monotonic() < limit, f"live and history {found}, sent {exact}"
            time.sleep(0.5)
        time.sleep(3)  # nothing may be added afterwards either: repetitions would come now
        assert (counts(process, "last=1h"), counts(process, span)) == (exact, exact)


@pytest.mark.slow
def test_ctrl_c_ends_everything_and_a_second_up_continues(tmp_path: Path) -> None:
    process = UpProcess(tmp_path / "data")
    assert process.start() < READY_BAR_S
    try:
        process.post([event for number in range(100) for event in job(number, time.time_ns() // 1000)])
        assert process.interrupt() == 0
        assert process.leftovers() == []
        assert process.text().rstrip().endswith("stopping\nstopped")
        process.start()
        assert process.get("/v1/classes?last=1m")["source"] == "live"
        until_counted(process, 100)
        assert "ok  kafka" in health(process, 0) and "BAD" not in health(process, 0)
        second = UpProcess(tmp_path / "data")
        second.launch()
        assert second.wait() == 2
        assert "is in use by another `jobtide up` (process " in second.text() and second.text().count("\n") <= 2
        process.interrupt()
        assert "BAD http" in health(process, 1)
        again = UpProcess(tmp_path / "data", "--rebuild", port=process.port)
        process = again
        again.start()
        assert "\n  rebuild ready" in again.text()
        until_counted(again, 100)
    finally:
        process.interrupt()


def until_counted(process: UpProcess, jobs: int) -> None:
    """Wait for the live count to be that of all jobs."""
    limit = time.monotonic() + 60
    while (found := counts(process, "last=1h"))["finished"] != jobs:
        assert time.monotonic() < limit, found
        time.sleep(0.5)


def health(process: UpProcess, code: int) -> str:
    """What `jobtide health` prints of it."""
    argv = [sys.executable, "-m", "jobtide.cli", "health", "--data", str(process.data)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_demo_shows_its_first_row_in_time_and_all_kinds_of_ends(tmp_path: Path) -> None:
    with up(tmp_path / "data", "--demo") as process:
        begun = time.monotonic()
        while "\n  system " not in process.text():
            assert time.monotonic() - begun < FIRST_ROW_BAR_S, process.text()
            time.sleep(0.1)
        limit = time.monotonic() + 60
        while True:
            rows = process.get("/v1/classes?last=5m&tenant=demo")["items"]
            systems = {row["system"] for row in rows}
            if systems == {"celery", "rq"} and all(sum(row[what] for row in rows) for what in ("finished", "failed", "retried")):
                break
            assert time.monotonic() < limit, rows
            time.sleep(0.5)


def refused(tmp_path: Path, *arguments: str, port: int | None = None, **environment: str) -> str:
    """The sentence of an `up` that does not start."""
    process = UpProcess(tmp_path / "data", *arguments, port=port, **environment)
    process.launch()
    try:
        assert process.wait() == 2, process.text()
    finally:
        process.kill()
    sentence = process.text().strip()
    assert sentence.startswith("jobtide: ") and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_a_busy_port_is_one_sentence(tmp_path: Path, offset: int) -> None:
    first = ports.free_block(PORTS)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + offset))
        taken.listen()
        sentence = refused(tmp_path, port=first)
    assert f"port {first + offset} " in sentence and "--port" in sentence


def test_missing_java_goes_on_in_memory_with_a_plain_warning_but_never_hides_data(tmp_path: Path) -> None:
    no_java = {"PATH": str(tmp_path / "nothing"), "JAVA_HOME": ""}
    process = UpProcess(tmp_path / "data", **no_java)
    process.start()
    try:
        assert "warning: Apache Kafka needs Java 17" in process.text()
        assert "in-memory broker keeps nothing over a restart" in process.text()
        now_us = time.time_ns() // 1000
        process.post([event for number in range(50) for event in job(number, now_us)])
        span = f"from={time_text(now_us - 60_000_000)}&to={time_text(now_us + 60_000_000)}"
        limit = time.monotonic() + 30
        while {counts(process, asked)["finished"] for asked in ("last=1h", span)} != {50}:
            assert time.monotonic() < limit
            time.sleep(0.2)
    finally:
        process.interrupt()
    (tmp_path / "data" / "kafka" / "log").mkdir(parents=True)
    assert "needs Java 17" in refused(tmp_path, **no_java)


def test_wrong_settings_are_one_sentence(tmp_path: Path) -> None:
    assert "JOBTIDE_DISORDR_MS" in refused(tmp_path, JOBTIDE_DISORDR_MS="1")
    assert "without API keys" in refused(tmp_path, JOBTIDE_HTTP_HOST="0.0.0.0")
    assert "leave out --redis" in refused(tmp_path, "--demo", "--redis", "redis://127.0.0.1:1/0")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data").write_text("")
    assert "cannot be used" in refused(tmp_path / "other")


def test_the_parent_is_small(tmp_path: Path) -> None:
    """It lives as long as the machine is up: no Kafka client, web server or engine in it."""
    program = "import sys, jobtide.cli.commands.up, jobtide.cli.up.supervisor, jobtide.cli.up.plan; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiokafka", "faust", "fastapi", "uvicorn", "redis", "chdb", "rich", "clickhouse_connect"} & set(modules)
