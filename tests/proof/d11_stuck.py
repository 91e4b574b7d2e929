"""D11: stuck work among 10 000 jobs is found, named rightly, and nothing else is.

    python -m tests.proof.d11_stuck [--full]

An hour of a shop is sent as it happened, then goes on live: quick classes; long classes whose jobs always take minutes, hundreds of them
running at the end; planted among them jobs that hang (slow) and jobs that nobody starts (late). Real Celery workers hold further jobs and are
killed by SIGKILL (lost). The planted lists are the oracle; what jobtide says is read from the hot state. Then stage 2 and stage 1 are killed
and must come to the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import redis
from aiokafka import AIOKafkaProducer
from jobtide.streams.events import time_text
from jobtide.streams.snapshots import SeriesStuck, StuckAttempt

from tests.proof import report
from tests.proof.command import Servers, main
from tests.proof.installation import Fleet, Installation
from tests.proof.job_events import MINUTE, SECOND, job_event, lane_of, value_of
from tests.proof.shop import EXAMPLES
from tests.servers import create_topics

SEED = 11
TENANT, SYSTEM, QUEUE = "acme", "celery", "shop"
WORKERS = 20
FOUND_S = 90.0  # for what was sent to be found; the bar for lost work is its own
LOST_S = 30.0


@dataclass(frozen=True)
class Size:
    """How many of each; `killed` workers hold `lost / killed` jobs each."""

    quick: int
    long: int
    slow: int
    late: int
    lost: int
    killed: int
    heartbeat_ms: int

    @property
    def jobs(self) -> int:
        return self.quick + self.long + self.slow + self.late + self.lost


SIZES = {True: Size(8_850, 1_000, 50, 50, 50, 5, 10_000), False: Size(900, 100, 10, 10, 8, 2, 2_000)}


@dataclass
class Plan:
    """What happens, and what is true at the end: `expected` says the verdict of every job that is stuck."""

    size: Size
    now_us: int
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # time, event
    expected: dict[str, str] = field(default_factory=dict)
    held: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # by worker: (job, start) of what runs at the end

    def __post_init__(self) -> None:
        dice = Random(SEED)
        size, now_us = self.size, self.now_us
        for n in range(size.quick):
            start = now_us - dice.randint(2 * SECOND, 58 * MINUTE)
            self._run(dice, f"quick-{n}", f"Quick{n % 10}", start, dice.randint(20_000, min(5 * SECOND, now_us - start)))
        for n in range(size.long):  # six in ten have ended; the others run for less time than their class takes
            usual = (3 + n % 10) * MINUTE
            takes = round(usual * dice.uniform(0.9, 1.1))
            if n // 10 % 10 < 6:
                self._run(dice, f"long-{n}", f"Report{n % 10}", now_us - dice.randint(takes + 3 * MINUTE, 58 * MINUTE), takes)
            else:
                self._run(dice, f"long-{n}", f"Report{n % 10}", now_us - round(0.85 * takes * dice.random()), None)
        for n in range(size.slow):
            job_id = f"slow-{n}"
            self.expected[job_id] = "slow"
            if n % 5 == 0:  # never seen before, but it said how long it would take
                self._run(dice, job_id, f"Rare{n}", now_us - dice.randint(2, 9) * MINUTE, None, expected_ms=30_000)
            elif n % 5 == 1:  # never seen before
                self._run(dice, job_id, f"Unknown{n}", now_us - dice.randint(12, 55) * MINUTE, None)
            elif n % 5 == 2:
                self._run(dice, job_id, f"Report{n % 10}", now_us - dice.randint(45, 57) * MINUTE, None)
            else:
                self._run(dice, job_id, f"Quick{n % 10}", now_us - dice.randint(2, 55) * MINUTE, None)
        for n in range(size.late):
            at_us = now_us - dice.randint(3, 55) * MINUTE
            self.expected[f"late-{n}"] = "late"
            self._say(at_us, "enqueued", f"late-{n}", f"Quick{n % 10}")
        self.events.sort(key=lambda event: event[0])

    def _run(self, dice: Random, job_id: str, job_class: str, start_us: int, takes_us: int | None, **said: Any) -> None:
        worker_id = f"sim-{dice.randrange(WORKERS)}"
        self._say(start_us - dice.randint(0, 2 * SECOND), "enqueued", job_id, job_class)
        self._say(start_us, "started", job_id, job_class, worker_id=worker_id, **said)
        if takes_us is None:
            self.held.setdefault(worker_id, []).append((job_id, start_us))
        else:
            self._say(start_us + takes_us, "finished", job_id, job_class, worker_id=worker_id, duration_ms=takes_us / 1000)

    def _say(self, at_us: int, kind: str, job_id: str, job_class: str, **more: Any) -> None:
        event_id = f"{kind}-{job_id}".ljust(16, "-")
        event = job_event(kind, at_us, job_id=job_id, job_class=job_class, queue=QUEUE, tenant=TENANT, system=SYSTEM, event_id=event_id, **more)
        self.events.append((at_us, event))

    def heartbeats(self, at_us: int, partitions: int) -> Iterator[tuple[int, bytes]]:
        """(partition, value): what every simulated worker says at this time, in slices as emitters send them."""
        for worker_id in (f"sim-{n}" for n in range(WORKERS)):
            for partition in range(partitions):
                running = [
                    {"queue": QUEUE, "job_id": job_id, "attempt": 1, "started_at": time_text(start_us)}
                    for job_id, start_us in self.held.get(worker_id, ())
                    if start_us < at_us and lane_of(f"{TENANT}/{SYSTEM}/{job_id}") % partitions == partition
                ]
                event = job_event("enqueued", at_us, tenant=TENANT, event_id=f"beat-{worker_id}-{partition}-{at_us}")
                data = {
                    "tenant": TENANT, "system": SYSTEM, "worker_id": worker_id, "status": "busy", "interval_ms": 10_000, "complete": True,
                    "running": running,
                }  # fmt: skip
                yield partition, value_of(event | {"type": "worker.heartbeat.v1", "data": data})


def run(full: bool, servers: Servers) -> report.Result:
    """10 000 jobs, or a tenth."""
    return asyncio.run(_run(SIZES[full], servers))


async def _run(size: Size, servers: Servers) -> report.Result:
    installation = Installation(servers.broker, servers.redis_url, f"d11{uuid.uuid4().hex[:6]}.", servers.directory)
    await create_topics(installation.broker, installation.prefix, installation.partitions)
    hot = HotState(servers.redis_url, installation.prefix)
    async with Fleet(installation) as fleet, Sending(installation) as sending:
        with contextlib.ExitStack() as stack:
            plan = Plan(size, time.time_ns() // 1000)
            await sending.send(plan)
            crew = stack.enter_context(_crew(installation, size))
            fleet.add("stage1", JOBTIDE_STAGES="1")  # after the hour was written: else all of it would come late, and teach nothing
            fleet.add("stage2", JOBTIDE_STAGES="2")
            found_s = await hot.until(lambda stuck: plan.expected.items() <= _verdicts(stuck).items(), FOUND_S)
            await asyncio.to_thread(crew.all_run)
            killed_us = time.time_ns() // 1000
            crew.kill()
            plan.expected |= dict.fromkeys(crew.jobs, "lost")
            detected = await hot.detected({job_id: killed_us for job_id in crew.jobs}, FOUND_S)
            stuck = await hot.settled()
            before = _verdicts(stuck)
            hot.forget()
            fleet.kill("stage2")
            again_s = await hot.until(lambda found: _verdicts(found) == before, FOUND_S)
            flapped: set[str] = set()
            starts = fleet.starts("stage1")
            fleet.kill("stage1")
            await fleet.until_restarted("stage1", starts)
            until_s = time.monotonic() + 20
            while time.monotonic() < until_s:
                flapped |= {job_id for job_id, _ in before.items() ^ _verdicts(hot.read()).items()}
                await asyncio.sleep(0.25)
    return _judged(size, plan.expected, stuck, detected, found_s, again_s, flapped)


def _verdicts(stuck: dict[str, StuckAttempt]) -> dict[str, str]:
    return {job_id: attempt.verdict for job_id, attempt in stuck.items()}


def _judged(
    size: Size, expected: dict[str, str], stuck: dict[str, StuckAttempt], detected: dict[str, float], found_s: float | None,
    again_s: float | None, flapped: set[str],
) -> report.Result:  # fmt: skip
    found = _verdicts(stuck)
    hits = expected.keys() & found.keys()
    rightly = sum(found[job_id] == expected[job_id] for job_id in hits)
    false = sorted(found.keys() - expected.keys())
    allowed = max(1, size.jobs // 10_000)
    slowest = max(detected.values(), default=float("inf")) if len(detected) == size.lost else float("inf")
    rows = [
        report.row("D11 recall", "≥ 98 %", f"{len(hits)} of {len(expected)} planted", len(hits) >= 0.98 * len(expected)),
        report.row("D11 right verdict", "≥ 95 %", f"{rightly} of {len(hits)}", rightly >= 0.95 * max(1, len(hits))),
        report.row("D11 false verdicts", f"≤ {allowed}", f"{len(false)} among {size.jobs} jobs", len(false) <= allowed),
        report.row("D11 lost found", f"≤ {LOST_S:.0f} s", f"{slowest:.1f} s after SIGKILL at most", slowest <= LOST_S),
        report.row("D11 the same after killing stage 2", "same verdicts", _after(again_s), again_s is not None),
        report.row("D11 the same while stage 1 is replaced", "same verdicts", f"{len(flapped)} flapped", not flapped),
    ]
    wrong = [f"{job_id}: {right} expected, {found.get(job_id)} found" for job_id, right in sorted(expected.items()) if right != found.get(job_id)]
    wrong += [f"{job_id}: nothing expected, {found[job_id]} found: {stuck[job_id]}" for job_id in false]
    return report.result(
        "D11", rows, wrong=[*wrong, *(f"{job_id} flapped" for job_id in sorted(flapped))], passed=all(r["passes"] for r in rows), seed=SEED,
        jobs=size.jobs, found_s=found_s, median_lost_s=sorted(detected.values())[len(detected) // 2] if detected else None,
    )  # fmt: skip


def _after(seconds: float | None) -> str:
    return "not the same" if seconds is None else f"the same after {seconds:.1f} s"


class HotState:
    """What jobtide says is stuck."""

    def __init__(self, url: str, prefix: str) -> None:
        self._redis, self._key = redis.Redis.from_url(url), f"{prefix}stuck:{TENANT}"

    def read(self) -> dict[str, StuckAttempt]:
        values: Any = self._redis.hvals(self._key)
        found = [msgspec.json.decode(value.partition(b"|")[2], type=SeriesStuck) for value in values]
        return {attempt.job_id: attempt for series in found for attempt in series.attempts}

    def forget(self) -> None:
        """Everything told so far: what is read afterwards was told afterwards."""
        self._redis.delete(self._key)

    async def until(self, right: Any, deadline_s: float) -> float | None:
        """Seconds until it is; None if it is not in time."""
        begun_s = time.monotonic()
        while not right(self.read()):
            if time.monotonic() - begun_s > deadline_s:
                return None
            await asyncio.sleep(0.25)
        return time.monotonic() - begun_s

    async def detected(self, killed_us: dict[str, int], deadline_s: float) -> dict[str, float]:
        """Seconds from the kill until each job was called lost."""
        seen: dict[str, float] = {}
        until_s = time.monotonic() + deadline_s
        while len(seen) < len(killed_us) and time.monotonic() < until_s:
            found, now_us = self.read(), time.time_ns() // 1000
            for job_id in killed_us.keys() - seen.keys():
                if job_id in found and found[job_id].verdict == "lost":
                    seen[job_id] = (now_us - killed_us[job_id]) / SECOND
            await asyncio.sleep(0.1)
        return seen

    async def settled(self) -> dict[str, StuckAttempt]:
        """What is stuck once nothing has changed for three seconds."""
        seen, since_s = self.read(), time.monotonic()
        until_s = since_s + 30
        while time.monotonic() - since_s < 3 and time.monotonic() < until_s:
            await asyncio.sleep(0.25)
            now = self.read()
            if _verdicts(now) != _verdicts(seen):
                since_s = time.monotonic()
            seen = now
        return seen


class Sending:
    """The hour, and then the heartbeats of the simulated workers for as long as this is open."""

    def __init__(self, of: Installation) -> None:
        self._of = of
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Sending:
        self._producer = AIOKafkaProducer(bootstrap_servers=self._of.broker, acks="all", linger_ms=5)
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._beating is not None:
            self._beating.cancel()
        await self._producer.stop()

    async def send(self, plan: Plan) -> None:
        waiting, beat_us = [], plan.now_us - 5 * MINUTE
        for at_us, event in plan.events:
            while beat_us <= at_us:
                waiting += [await self._put(partition, value) for partition, value in plan.heartbeats(beat_us, self._of.partitions)]
                beat_us += 10 * SECOND
            waiting.append(await self._put(lane_of(event["partitionkey"]) % self._of.partitions, value_of(event)))
        await asyncio.gather(*waiting)
        self._beating = asyncio.create_task(self._beat(plan))

    async def _put(self, partition: int, value: bytes) -> Any:
        return await self._producer.send(self._of.events, value, partition=partition)

    async def _beat(self, plan: Plan) -> None:
        while True:
            for partition, value in plan.heartbeats(time.time_ns() // 1000, self._of.partitions):
                await self._put(partition, value)
            await asyncio.sleep(10)


@dataclass
class Crew:
    """Real Celery workers on a Valkey of the shop's own, each holding some jobs that take an hour."""

    size: Size
    environment: dict[str, str]
    oracle: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    def all_run(self) -> None:
        """Wait until each job's body has begun, and every worker has had the time to say so twice."""
        until_s = time.monotonic() + 120
        while len(self._starts()) < self.size.lost:
            assert time.monotonic() < until_s, f"{len(self._starts())} of {self.size.lost} jobs run"
            time.sleep(0.2)
        time.sleep(2.2 * self.size.heartbeat_ms / 1000)
        self.jobs = self._starts()

    def _starts(self) -> list[str]:
        if not self.oracle.exists():
            return []
        return [line["job_id"] for line in map(json.loads, self.oracle.read_text().splitlines()) if line["what"] == "start"]

    def kill(self) -> None:
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)


_DRIVE = """
import sys
from jobtide_example.celery_app import app
from jobtide_example.plan import Plan
jobs, workers = map(int, sys.argv[1:])
for n in range(jobs):
    plan = Plan(number=n, job_class="report", kind="ok", failures=0, retries=0, run_ms=3_600_000, retry_ms=0)
    app.send_task("shop.report", (plan.as_argument(),), queue=f"crew-{n % workers}")
"""


@contextlib.contextmanager
def _crew(of: Installation, size: Size) -> Iterator[Crew]:
    folder = of.directory / "crew"
    folder.mkdir()
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("JOBTIDE_")},
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]),
        "JOBTIDE_EXAMPLE_REDIS": of.redis_url.rsplit("/", 1)[0] + "/7", "JOBTIDE_ORACLE": str(folder / "oracle.jsonl"),
        "JOBTIDE_EMITTER_TENANT": TENANT, "JOBTIDE_EMITTER_BROKER": of.broker, "JOBTIDE_EMITTER_TOPIC": of.events,
        "JOBTIDE_EMITTER_HEARTBEAT_MS": str(size.heartbeat_ms),
    }  # fmt: skip
    crew = Crew(size, environment, folder / "oracle.jsonl")
    each = size.lost // size.killed  # in a queue for each worker, since Celery fetches more than it runs
    with (folder / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", _DRIVE, str(size.lost), str(size.killed)], env=environment, stdout=log, stderr=log, check=True)
        for number in range(size.killed):
            options = ["-P", "threads", f"--concurrency={each}", "-Q", f"crew-{number}", "--without-mingle", "--without-gossip"]
            argv = [sys.executable, "-m", "celery", "-A", "jobtide_example.celery_app", "worker", f"--hostname=crew-{number}@%h", *options]
            crew.processes.append(subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True))
        try:
            yield crew
        finally:
            for process in crew.processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


if __name__ == "__main__":
    main("D11: late, slow and lost among jobs that are only long", run)
