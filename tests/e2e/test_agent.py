"""`jobtide agent` on what killed processes of three languages left in one directory: everything arrives, once, under the numbers it had."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.worker_place import until

ROOT = Path(__file__).parents[2]
JOBS = 600
AGENT = [sys.executable, "-m", "jobtide.cli", "agent"]

# Each says that all jobs are enqueued, and then waits to be killed.
WRITERS = {
    "python": [
        sys.executable, "-c",
        "import sys, time, jobtide_emitter\ne = jobtide_emitter.emitter()\nfor n in range(int(sys.argv[1])):\n"
        "    e.job_enqueued(e.job('cron', 'q', 'python', str(n)))\n    time.sleep(0.001)\nprint('told', flush=True)\ntime.sleep(600)",
    ],
    "ruby": [
        "ruby", "-I", str(ROOT / "emitters" / "ruby" / "lib"), "-e",
        "require 'jobtide'\ne = Jobtide.emitter\nInteger(ARGV[0]).times { |n| e.job_enqueued(e.job('cron', 'q', 'ruby', n.to_s)); sleep 0.001 }\n"
        "puts 'told'\n$stdout.flush\nsleep 600",
    ],
    "node": [
        "node", "--input-type=module", "-e",
        "import { emitter } from '@jobtide/emitter';\nconst e = emitter();\nfor (let n = 0; n < Number(process.argv[1]); n++) {\n"
        "  e.jobEnqueued(e.job('cron', 'q', 'node', String(n)));\n  await new Promise((done) => setTimeout(done, 1));\n}\n"
        "console.log('told');\nsetTimeout(() => {}, 600_000);",
    ],
}  # fmt: skip


class Receiver(ThreadingHTTPServer):
    """A gateway that is away until it is told to be there."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.away = True
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/events"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
        if not self.server.away:
            self.server.events.extend(json.loads(line) for line in body.split(b"\n"))
        self.send_response(503 if self.server.away else 202)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def environment(receiver: Receiver, spool: Path) -> dict[str, str]:
    rest = {name: value for name, value in os.environ.items() if not name.startswith("JOBTIDE_")}
    return rest | {
        "JOBTIDE_EMITTER_URL": receiver.url, "JOBTIDE_EMITTER_SPOOL_DIR": str(spool), "JOBTIDE_EMITTER_QUEUE_EVENTS": "100",
        "JOBTIDE_EMITTER_TENANT": "acme",
    }  # fmt: skip


def killed(language: str, env: dict[str, str]) -> None:
    process = subprocess.Popen([*WRITERS[language], str(JOBS)], env=env, cwd=ROOT / "emitters" / "node", stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"told\n"
    finally:
        process.kill()
        process.wait()


def once(env: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*AGENT, "--once", *more], env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
def test_what_killed_processes_of_three_languages_left_arrives_once(receiver: Receiver, tmp_path: Path) -> None:
    assert all(shutil.which(program) for program in ("ruby", "node"))
    subprocess.run(["npm", "run", "build", "--silent"], cwd=ROOT / "emitters" / "node", check=True, timeout=120)
    spool = tmp_path / "spool"
    env = environment(receiver, spool)
    for language in WRITERS:
        killed(language, env)
    left = {path.suffix for path in spool.iterdir()}
    assert left == {".spool", ".jtspool", ".nspool"}

    done = once(env)
    assert done.returncode == 1 and "events stay on disk" in done.stderr, done.stderr
    assert {path.suffix for path in spool.iterdir()} == left
    receiver.away = False
    done = once(env)
    assert done.returncode == 0, done.stderr
    assert list(spool.iterdir()) == []

    numbers = Counter((event["epoch"], event["lane"], event["seq"]) for event in receiver.events if "seq" in event)
    assert set(numbers.values()) == {1}
    by_language = {name: {int(e["subject"]) for e in receiver.events if e.get("data", {}).get("job_class") == name} for name in WRITERS}
    for language, jobs in by_language.items():  # the rest was in memory and died with the process
        assert len(jobs) > JOBS / 2, (language, len(jobs))
        assert jobs <= set(range(JOBS))
    assert len({event["epoch"] for event in receiver.events if "epoch" in event}) == len(WRITERS)


@pytest.mark.slow
def test_it_leaves_what_lives_and_goes_on_until_it_is_told_to_stop(receiver: Receiver, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    env = environment(receiver, spool)
    living = subprocess.Popen([*WRITERS["python"], str(JOBS)], env=env, stdout=subprocess.PIPE)
    agent = subprocess.Popen([*AGENT, "--spool-dir", str(spool)], env=env, stderr=(tmp_path / "agent.log").open("w"))
    try:
        assert living.stdout is not None
        assert living.stdout.readline() == b"told\n"
        waiting = set(spool.iterdir())
        assert waiting
        receiver.away = False
        # Without its writer nobody knows what is in its memory: the agent leaves the file to it.
        until("the writer delivers its own", lambda: len(receiver.events) >= JOBS)
        receiver.events.clear()
        killed("python", env | {"JOBTIDE_EMITTER_URL": "http://127.0.0.1:9/v1/events"})
        assert list(spool.iterdir())  # bound for elsewhere: they stay
        receiver.away = True
        killed("python", env)
        receiver.away = False
        until("the agent delivers what the killed one left", lambda: len({e["subject"] for e in receiver.events}) > JOBS / 2)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0, (tmp_path / "agent.log").read_text()
    finally:
        for process in (living, agent):
            process.kill()
            process.wait()
    assert "watches" in (tmp_path / "agent.log").read_text()
    assert once(env).returncode == 0


@pytest.mark.parametrize(
    ("setting", "text", "said"),
    [
        ("SPOOL_DIR", "", "JOBTIDE_EMITTER_SPOOL_DIR is empty: name the directory"),
        ("DISABLED", "1", "JOBTIDE_EMITTER_DISABLED is set"),
        ("URL", "", "JOBTIDE_EMITTER_URL and JOBTIDE_EMITTER_BROKER are empty"),
    ],
)
@pytest.mark.parametrize("program", [AGENT, [sys.executable, "-m", "jobtide_emitter.agent"]], ids=["jobtide", "emitter"])
def test_what_cannot_work_is_one_sentence(program: list[str], setting: str, text: str, said: str, receiver: Receiver, tmp_path: Path) -> None:
    env = environment(receiver, tmp_path) | {f"JOBTIDE_EMITTER_{setting}": text}
    done = subprocess.run([*program, "--once"], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and said in done.stderr, done.stderr
