"""Real Node workers (BullMQ, Bull, Bee-Queue, pg-boss) into real Kafka: what the emitter told is what the jobs wrote down themselves.

The example shop of `emitters/node` runs as an app would: one process works, another adds. Some go through the gateway, some
straight to Kafka. The oracle is the log of the jobs' bodies. The package's own tests run here too, on the same servers.
"""

import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests import postgres_server, servers
from tests.e2e.worker_place import PARTITIONS, WorkerPlace, check_lanes
from tests.e2e.worker_place import until as until_within

NODE = Path(__file__).parents[2] / "emitters" / "node"
SHOP = NODE / "example" / "shop.mjs"
JOBS = 100
DEADLINE_S = 90

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


def until(what: str, done: Callable[[], Any], deadline_s: float = DEADLINE_S) -> None:
    until_within(what, done, deadline_s)


@pytest.fixture(scope="module")
def package() -> Path:
    """The package, installed and built."""
    if not (NODE / "node_modules" / "typescript").exists():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=NODE, check=True, timeout=300)
    subprocess.run(["npm", "run", "build", "--silent"], cwd=NODE, check=True, timeout=120)
    return NODE


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this module's own."""
    if postgres_server.program("pg_ctl") is None and os.environ.get("CI") != "true":
        pytest.skip("postgresql is not installed")
    with postgres_server.postgres() as url:
        yield url


@pytest.fixture
def redis_of_its_own(tmp_path: Path) -> Iterator[str]:
    """The example's queues have one name on every server."""
    with servers.valkey(tmp_path / "valkey") as server:
        yield server.address


class Place(WorkerPlace):
    """One test's servers and files, and how to run the shop there."""

    def __init__(self, broker: str, prefix: str, directory: Path) -> None:
        super().__init__(broker, prefix, directory)
        self.env = self.rest | {
            "JOBTIDE_ORACLE": str(self.oracle_path), "JOBTIDE_EMITTER_TENANT": "acme",
            "JOBTIDE_EMITTER_HEARTBEAT_MS": "1000", "JOBTIDE_EMITTER_SNAPSHOT_MS": "1000", "JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS": "10000",
        }  # fmt: skip

    def through_gateway(self) -> None:
        self.env["JOBTIDE_EMITTER_URL"] = self.gateway_url

    def straight_to_kafka(self, client: str) -> None:
        self.env |= {"JOBTIDE_EMITTER_BROKER": self.broker, "JOBTIDE_EMITTER_TOPIC": self.topic, "JOBTIDE_EMITTER_CLIENT": client}

    @contextmanager
    def worker(self, backend: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process, asked to end at the end, and ending in order."""
        with self.process(["node", str(SHOP), "work", backend], self.env, "worker") as process:
            until("the worker works", lambda: b"working" in (self.directory / "worker.log").read_bytes())
            yield process

    def drive(self, backend: str, jobs: int, seed: int = 7) -> dict[str, int]:
        """Adds jobs and waits for their end; what the backend itself counted."""
        argv = ["node", str(SHOP), "drive", backend, str(jobs), str(seed)]
        done = subprocess.run(argv, env=self.env, capture_output=True, check=False, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def metrics(self, backend: str) -> dict[str, int]:
        """What the backend's own metrics have counted since it began."""
        done = subprocess.run(["node", str(SHOP), "metrics", backend], env=self.env, check=True, capture_output=True, timeout=DEADLINE_S)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def oracle(self, what: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.oracle_path.read_text().splitlines()]
        return [line for line in lines if line["what"] == what]


@pytest.fixture
def place(kafka_broker: str, prefix: str, tmp_path: Path, package: Path) -> Place:
    asyncio.run(servers.create_topics(kafka_broker, prefix, PARTITIONS))
    return Place(kafka_broker, prefix, tmp_path)


Counts = Counter[tuple[str, str]]


def class_of(line: dict[str, Any]) -> str:
    """Bee-Queue's and pg-boss's jobs have no names: their class is their queue."""
    return "shop" if line["backend"] in ("bee-queue", "pg-boss") else str(line["job_class"])


def expected(place: Place) -> Counts:
    """(class, what) -> how often, from what the bodies wrote."""
    counts: Counts = Counter()
    for line in place.oracle("enqueue"):
        counts[class_of(line), "scheduled" if line["delay_ms"] else "enqueued"] += 1
    for line in place.oracle("start"):
        counts[class_of(line), "started"] += 1
    for line in place.oracle("end"):
        counts[class_of(line), "finished" if line["outcome"] == "ok" else "failed"] += 1
        if line["outcome"] != "ok":
            counts[class_of(line), "dead" if line["outcome"] == "dead" else "retry_scheduled"] += 1
    return counts


def told(events: list[dict[str, Any]]) -> Counts:
    return Counter((event["data"]["job_class"], event["type"].split(".")[1]) for event in events if event["type"].startswith("job."))


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def check_times(place: Place, events: list[dict[str, Any]]) -> None:
    """Starts, put-off times and waits within 50 ms of the oracle, run times within 2 ms: in the median of a busy machine."""
    starts = {(line["id"], line["attempt"]): line["t"] / 1e6 for line in place.oracle("start")}
    runs = {(line["id"], line["attempt"]): line["run_us"] / 1e3 for line in place.oracle("left")}
    added = {line["id"]: (line["t"] / 1e6, line["delay_ms"] / 1e3) for line in place.oracle("enqueue")}
    first = {event["subject"]: event for event in events if event["type"] in ("job.enqueued.v1", "job.scheduled.v1")}
    begun = {(e["subject"], e["data"]["attempt"]): seconds(e["time"]) for e in events if e["type"] == "job.started.v1"}
    assert begun.keys() == starts.keys()
    assert statistics.median(abs(begun[key] - starts[key]) for key in starts) < 0.05
    eligible = {key: seconds(event["data"].get("run_at") or event["time"]) for key, event in first.items()}
    assert statistics.median(abs(eligible[key] - at - delay) for key, (at, delay) in added.items()) < 0.05
    off = [abs((begun[key, 1] - eligible[key]) - (starts[key, 1] - at - delay)) for key, (at, delay) in added.items()]
    assert statistics.median(off) < 0.05
    ends = [event for event in events if event["type"] in ("job.finished.v1", "job.failed.v1")]
    assert statistics.median(abs(e["data"]["duration_ms"] - runs[e["subject"], e["data"]["attempt"]]) for e in ends) < 2


def check_all(place: Place, counted: dict[str, int], epochs: int) -> None:
    events = place.events()
    assert told(events) == expected(place)
    check_lanes(events, epochs)
    check_times(place, events)
    finished = sum(number for (_, what), number in told(events).items() if what == "finished")
    dead = sum(number for (_, what), number in told(events).items() if what == "dead")
    assert {"completed": finished, "failed": dead} == counted  # the backend's own counters
    workers = Counter(event["type"] for event in events if event["type"].startswith("worker."))
    assert workers["worker.online.v1"] == workers["worker.stopping.v1"] == workers["worker.offline.v1"] == PARTITIONS
    assert workers["worker.heartbeat.v1"] >= PARTITIONS
    assert {event["data"]["queue"] for event in events if event["type"] == "queue.snapshot.v1"} == {"shop"}


# Each backend goes one way, so that every way is gone; JOBTIDE_TEST_ALL_WAYS=1 for all of them.
WAYS = [("bullmq", "gateway"), ("bull", "platformatic"), ("bee-queue", "kafkajs")]
if os.environ.get("JOBTIDE_TEST_ALL_WAYS"):
    WAYS = list(itertools.product([backend for backend, _ in WAYS], [way for _, way in WAYS]))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("backend", "way"), WAYS)
def test_to_the_last_job_on_redis(backend: str, way: str, place: Place, redis_of_its_own: str) -> None:
    place.env["JOBTIDE_EXAMPLE_REDIS"] = redis_of_its_own
    with contextlib.ExitStack() as stack:
        if way == "gateway":
            place.through_gateway()
            stack.enter_context(place.gateway())
        else:
            place.straight_to_kafka(way)
        with place.worker(backend):
            counted = place.drive(backend, JOBS)
        check_all(place, counted, epochs=2)
        if backend == "bullmq":  # its own metrics: another count of the same, made by Redis
            assert place.metrics(backend) == counted


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_to_the_last_job_on_postgres(place: Place, postgres_url: str) -> None:
    place.through_gateway()
    place.env["JOBTIDE_EXAMPLE_POSTGRES"] = postgres_url
    with place.gateway():
        with place.worker("pg-boss"):
            counted = place.drive("pg-boss", 60)
        check_all(place, counted, epochs=2)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_outage_costs_no_job_and_no_event(place: Place, redis_of_its_own: str) -> None:
    """Nobody listens while all jobs run, and the buffer holds a tenth of what they say: the rest waits on disk."""
    place.through_gateway()
    spool = place.directory / "spool"
    place.env |= {"JOBTIDE_EXAMPLE_REDIS": redis_of_its_own, "JOBTIDE_EMITTER_QUEUE_EVENTS": "100", "JOBTIDE_EMITTER_SPOOL_DIR": str(spool)}
    with place.worker("bullmq"):
        counted = place.drive("bullmq", JOBS)
        assert counted["completed"] + counted["failed"] == JOBS
        assert sum(path.stat().st_size for path in spool.iterdir()) > 50_000
        with place.gateway():
            until("the spool is empty", lambda: not list(spool.iterdir()))
            until("all is told", lambda: told(place.events()) == expected(place), 30)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_killed_worker_is_a_hole_and_nothing_else(place: Place, redis_of_its_own: str) -> None:
    """SIGKILL: what was told stands, what was in memory is missing, its epoch never said it ended; the next worker's all arrives."""
    place.through_gateway()
    place.env["JOBTIDE_EXAMPLE_REDIS"] = redis_of_its_own
    with place.gateway():
        argv = ["node", str(SHOP), "work", "bee-queue"]
        with (place.directory / "killed.log").open("wb") as log:
            killed = subprocess.Popen(argv, env=place.env, stdout=log, stderr=log)
        driver = subprocess.Popen(["node", str(SHOP), "drive", "bee-queue", str(JOBS)], env=place.env, stdout=subprocess.DEVNULL)
        try:
            until("some jobs have ended", lambda: place.oracle_path.exists() and len(place.oracle("end")) > 30)
            killed.kill()
            killed.wait(10)
            with place.worker("bee-queue"):
                assert driver.wait(DEADLINE_S) == 0
        finally:
            driver.kill()
            killed.kill()
        events = place.events()
    of_killed = {line["pid"] for line in place.oracle("start")} & {killed.pid}
    assert of_killed
    ended = {(e["subject"], e["data"]["attempt"]) for e in events if e["type"] in ("job.finished.v1", "job.failed.v1")}
    missing = [line for line in place.oracle("left") if (line["id"], line["attempt"]) not in ended]
    assert all(line["pid"] == killed.pid for line in missing), missing
    clean = {e["source"] for e in events if e["type"] == "emitter.stats.v1" and e["data"]["clean"]}
    assert not any(source.endswith(f"/{killed.pid}") for source in clean)
    assert len(clean) == 2


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_the_packages_own_tests(package: Path, redis_url: str, postgres_url: str, kafka_broker: str) -> None:
    env = os.environ | {"JOBTIDE_TEST_REDIS": redis_url, "JOBTIDE_TEST_POSTGRES": postgres_url, "JOBTIDE_TEST_KAFKA": kafka_broker}
    tests = sorted(str(path) for path in (package / "test").glob("*.test.mjs"))
    done = subprocess.run(
        ["node", "--test", "--test-concurrency=4", "--test-force-exit", *tests],
        cwd=package,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=420,
    )
    blocks = [block[:1500] for block in done.stdout.split("# Subtest: ") if "\nnot ok" in block or "    not ok" in block]
    assert done.returncode == 0, "\n".join(blocks)[-6000:]
    assert "# skipped 0" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_package_can_be_packed_and_used_both_ways(package: Path, tmp_path: Path) -> None:
    packed = subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(tmp_path)], cwd=package, check=True, capture_output=True, text=True, timeout=100
    )
    folder = tmp_path / "app" / "node_modules" / "@jobtide" / "emitter"
    folder.mkdir(parents=True)
    subprocess.run(["tar", "xzf", str(tmp_path / packed.stdout.strip().splitlines()[-1]), "--strip-components=1", "-C", str(folder)], check=True)
    assert {path.name for path in folder.iterdir()} == {"package.json", "dist", "README.md", "CHANGELOG.md"}
    app = tmp_path / "app"
    (app / "node_modules" / "bullmq").symlink_to(package / "node_modules" / "bullmq")
    exported = json.loads((folder / "package.json").read_bytes())["exports"]
    paths = sorted("@jobtide/emitter" + path.removeprefix(".") for path in exported if path != "./package.json")
    assert len(paths) >= 7
    # Every path, as an ES module and as CommonJS, has the same names.
    (app / "a.mjs").write_text(f"for (const path of {json.dumps(paths)}) console.log(path, Object.keys(await import(path)).sort().join());")
    (app / "b.cjs").write_text(f"for (const path of {json.dumps(paths)}) console.log(path, Object.keys(require(path)).sort().join());")
    ways = [subprocess.run(["node", str(app / name)], check=True, capture_output=True, text=True).stdout for name in ("a.mjs", "b.cjs")]
    named = [[[name for name in line.split(" ")[1].split(",") if name != "default"] for line in way.splitlines()] for way in ways]
    assert named[0] == named[1] and all(named[0]), ways
    # Types, from both; and the lines of the README's start, as a program.
    start = re.findall(r"```js\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[0]
    calls = "export const many: number[] = [laneOf('a'), emitter().ring.events]; export const one: Settings['tenant'] = 'x';\n"
    imports = "import {{ emitter, laneOf, type Settings }} from '@jobtide/emitter';\n{}" + calls
    others = "".join(f"import * as m{number} from '{path}'; void m{number};\n" for number, path in enumerate(paths))
    (app / "c.mts").write_text(imports.format(others))
    (app / "d.cts").write_text(imports.format(others))
    (app / "e.mts").write_text(
        "import { Queue, Worker } from 'bullmq';\nconst connection = { host: '127.0.0.1' };\nconst send = async () => 1;\n" + start
        + "\nexport const kept: string[] = [queue.name, worker.name, (await queue.add('a', {})).name];\n"
    )  # fmt: skip
    options = ["--noEmit", "--skipLibCheck", "--strict", "--module", "nodenext", "--target", "es2022", "--types", ""]
    programs = [str(app / name) for name in ("c.mts", "d.cts", "e.mts")]
    compiler = str(package / "node_modules" / ".bin" / "tsc")
    checked = subprocess.run([compiler, *options, *programs], cwd=app, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_lanes_are_pythons(package: Path) -> None:
    from jobtide_emitter.lanes import lane_of

    ids = ("1", "ü", "日本", "😀", "a b", "x" * 300, *map(str, range(200)))
    keys = [f"acme/{system}/{job_id}" for system in ("bullmq", "celery") for job_id in ids]
    code = 'import { laneOf } from "@jobtide/emitter"; console.log(JSON.stringify(JSON.parse(process.argv[1]).map(laneOf)));'
    done = subprocess.run(["node", "--input-type=module", "-e", code, json.dumps(keys)], cwd=package, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [lane_of(key) for key in keys]
