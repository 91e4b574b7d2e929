"""D15, an outage in the middle of work: broker and gateway are gone for two minutes while workers in three languages go on.

    python -m tests.proof.outage [--full]

Dramatiq and BullMQ send to Kafka, Sidekiq to the gateway, jobs come at a steady pace. Each process may keep a hundred events in memory, so what
happens in the outage has to go to its spool. Required: no job fails or waits for it, memory stays where it was, the spool is used and
empty in the end, every count is the oracle's, no number is missing. Then processes of the same three languages that may spool far less than
they tell of: what they say they dropped is exactly what is missing of their numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from jobtide.cli.embedded import ports
from jobtide.cli.embedded.process import Command, Process

from tests import servers
from tests.proof import d1_languages, languages, raw_log, report
from tests.proof.answers import wait_for
from tests.proof.recount import Attempt, quantile
from tests.proof.shop import Shop

DRIVERS = Path(__file__).parent / "drivers"
TENANT, SEED = "shop", 47
BACKENDS = ("dramatiq", "sidekiq", "bullmq")
BEFORE_S, OUTAGE_S, AFTER_S = {False: 3, True: 30}, {False: 8, True: 120}, {False: 7, True: 20}
PER_SECOND = {False: 10, True: 20}  # jobs of each backend
TOO_MANY, SMALL_BYTES = 3000, 1 << 20  # jobs of each language, three events each, and a spool that is too small for them
MORE_RSS_BYTES = 32 << 20
# AFTER_S: longer than the longest pause of an emitter, so that no driver ends while it believes that nobody listens.
# How much longer a job may wait in the outage, in the median: what the emitter could cost. A short form runs beside other things.
MORE_WAIT_MS = {False: 250.0, True: 20.0}
BOUNDED = {
    "JOBTIDE_EMITTER_QUEUE_EVENTS": "100", "JOBTIDE_EMITTER_HEARTBEAT_MS": "1000", "JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS": "30000",
}  # fmt: skip
EMIT = {
    "python": [sys.executable, str(DRIVERS / "emit.py")],
    "ruby": ["ruby", "-I", str(languages.RUBY / "lib"), str(DRIVERS / "emit.rb")],
    "node": ["node", str(DRIVERS / "emit.mjs")],
}


class PacedPython(languages.PythonShop):
    def drive_argv(self) -> list[str]:
        return [sys.executable, str(DRIVERS / "shop.py"), self.backend, *pace(self)]


class PacedNode(languages.NodeShop):
    def drive_argv(self) -> list[str]:
        return ["node", str(DRIVERS / "shop.mjs"), self.backend, *pace(self)]

    def counters(self) -> dict[str, int]:
        return {}  # the paced driver does not wait for the end


class PacedSidekiq(languages.SidekiqShop):
    def drive_argv(self) -> list[str]:
        return ["ruby", str(DRIVERS / "shop.rb"), *pace(self)]


def pace(shop: Shop) -> list[str]:
    """What the paced drivers are told: seed, jobs a second, and the file that ends them."""
    return [str(shop.seed), str(shop.concurrency), str(shop.folder / "over")]


PACED = {"dramatiq": PacedPython, "sidekiq": PacedSidekiq, "bullmq": PacedNode}


@dataclass
class Place:
    """Kafka with a gateway before it, both of which can go away and come back."""

    folder: Path
    kafka: servers.Server
    gateway: Process
    gateway_port: int

    def go(self) -> None:
        self.gateway.kill()
        self.kafka.process.stop()

    def come(self) -> None:
        self.kafka.start()
        self.gateway.start()
        assert wait_for(self._answers, 60, 0.2), self.gateway.last_lines(8)

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.gateway_port}/readyz", timeout=2).status_code == 200
        return False

    def target(self, language: str) -> dict[str, str]:
        if language == "Ruby":
            return {"JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{self.gateway_port}/v1/events"}
        return {"JOBTIDE_EMITTER_BROKER": self.kafka.address}


@dataclass
class Watch:
    """Memory of each shop's workers and bytes in each spool, ten times a second while it runs."""

    shops: list[Shop]
    rss: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))
    spooled: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._run, args=(over,), daemon=True)
        thread.start()
        yield
        over.set()
        thread.join()

    def _run(self, over: threading.Event) -> None:
        while not over.wait(0.5):
            for shop in self.shops:
                pids = [pid for process in shop.processes if process.pid for pid in tree(process.pid)]
                self.rss[shop.backend].append((time.time(), sum(map(_rss_bytes, pids))))
                self.spooled[shop.backend] = max(self.spooled[shop.backend], spool_bytes(shop.folder / "spool"))

    def most(self, backend: str, from_s: float, to_s: float) -> int:
        return max(size for at, size in self.rss[backend] if from_s <= at < to_s)


def run(full: bool) -> report.Result:
    """See the module."""
    languages.build_node()
    with place() as where:
        found = _work(where, full) + _too_small(where)
    return report.result("D15 outage", found, wrong=[line for row in found for line in row.get("wrong", ())], seed=SEED)


@contextlib.contextmanager
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="jobtide-outage-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        kafka = stack.enter_context(servers.kafka(folder / "kafka"))
        asyncio.run(servers.create_topics(kafka.address))
        port = ports.free_block(1)
        environment = {"JOBTIDE_BROKER": kafka.address, "JOBTIDE_HTTP_PORT": str(port), "JOBTIDE_LOG_LEVEL": "warning"}
        gateway = Process(Command("gateway", [sys.executable, "-m", "jobtide.cli", "gateway"], environment), folder / "run", folder / "log")
        made = Place(folder, kafka, gateway, port)
        gateway.start()
        stack.callback(gateway.kill)
        assert wait_for(made._answers, 60, 0.2), gateway.last_lines(8)
        yield made


def _work(where: Place, full: bool) -> list[report.Result]:
    shops = []
    for number, backend in enumerate(BACKENDS):
        folder = where.folder / backend
        folder.mkdir()
        target = where.target(languages.language(backend))
        shop = PACED[backend](backend, "", folder, target, 0, 1, PER_SECOND[full], TENANT, SEED + number)
        shop.more_environment = BOUNDED | {"JOBTIDE_EMITTER_SPOOL_DIR": str(folder / "spool")}
        shops.append(shop)
    watch = Watch(shops)
    with contextlib.ExitStack() as stack:
        for shop in shops:
            shop.redis_url = stack.enter_context(servers.valkey(shop.folder / "valkey")).address
            stack.enter_context(shop.working())
        stack.enter_context(watch.running())
        drivers = [stack.enter_context(shop.drive()) for shop in shops]
        assert wait_for(lambda: all([shop.last_ends() > PER_SECOND[full] for shop in shops]), 60), "the workers do not work"
        begun = time.time()
        time.sleep(BEFORE_S[full])
        where.go()
        gone = time.time()
        time.sleep(OUTAGE_S[full])
        back = time.time()
        where.come()
        time.sleep(AFTER_S[full])
        for shop in shops:
            (shop.folder / "over").touch()
        assert [driver.wait(60) for driver in drivers] == [0] * len(drivers)
        for shop in shops:
            shop.jobs = len(shop.lines("enqueued" if shop.backend == "sidekiq" else "enqueue"))
        done = wait_for(lambda: all([shop.last_ends() >= shop.jobs for shop in shops]), 240)
        broken = [shop.failed() for shop in shops if shop.failed()]
        assert done and not broken, (broken, {shop.backend: f"{shop.ended}/{shop.jobs}" for shop in shops})
        drained = wait_for(lambda: all(spool_bytes(shop.folder / "spool") == 0 for shop in shops), 60)
        counters = d1_languages.counted_by_backends(shops)
    events = raw_log.everything(where.kafka.address)
    attempts = {shop.backend: shop.attempts() for shop in shops}
    return [
        _counts_row(attempts, counters, events), _numbers_row(events),
        _spool_row(watch, drained), _memory_row(watch, begun, gone, back), _waits_row(attempts, begun, gone, back, full),
    ]  # fmt: skip


def told(events: list[dict[str, Any]]) -> Counter[tuple[tuple[str, str, str], str]]:
    """(series, what) -> how many attempts came to it, by the contract's rules, from plain JSON."""
    names = {"job.enqueued.v1": "enqueued", "job.scheduled.v1": "enqueued", "job.started.v1": "started", "job.finished.v1": "finished",
             "job.failed.v1": "failed", "job.dead.v1": "dead", "job.retry_scheduled.v1": "retried"}  # fmt: skip
    once = set()
    for event in events:
        if event["type"] in names:
            data = event["data"]
            attempt = ((data["system"], data["queue"], data["job_class"]), data["job_id"])
            once.add((*attempt, data["attempt"], names[event["type"]]))
            if event["type"] == "job.retry_scheduled.v1":
                once.add((*attempt, data["attempt"] + 1, "enqueued"))
    return Counter((series, what) for series, _, _, what in once)


def missing(events: list[dict[str, Any]]) -> dict[str, tuple[int | None, int, int]]:
    """epoch -> (numbers that never came, drops it spoke of, events that came); None: it never said how many there are."""
    seen: dict[str, set[tuple[int, int]]] = defaultdict(set)
    following: dict[str, dict[int, int]] = defaultdict(dict)
    dropped: dict[str, int] = defaultdict(int)
    for event in events:
        if event.get("epoch"):
            seen[event["epoch"]].add((event["lane"], event["seq"]))
        if event["type"] == "emitter.stats.v1" and event["data"]["clean"]:
            epoch = event["data"].get("epoch") or event["epoch"]
            following[epoch] |= {int(lane): number for lane, number in event["data"]["next"].items()}
            dropped[epoch] = max(dropped[epoch], event["data"]["dropped"])
    lost = {epoch: sum(following[epoch].values()) - len(came) if epoch in following else None for epoch, came in seen.items()}
    return {epoch: (lost[epoch], dropped[epoch], len(came)) for epoch, came in seen.items()}


def _counts_row(attempts: dict[str, list[Attempt]], counters: dict[str, dict[str, int]], events: list[dict[str, Any]]) -> report.Result:
    right = Counter((attempt.series, what) for own in attempts.values() for attempt in own for what, _ in attempt.moments())
    said = told([event for event in events if event["type"].startswith("job.") and event["data"]["tenant"] == TENANT])
    wrong = [f"{key}: oracle {right[key]}, told {said[key]}" for key in sorted(right.keys() | said.keys()) if right[key] != said[key]]
    wrong += d1_languages.own_counters(attempts, counters).wrong
    measured = f"{sum(right.values())} transitions of {len(right)} kinds, {len(wrong)} wrong; backends' counters {counters}"
    return report.row("D15 outage, every count", "exact, no job failed by it", measured, not wrong, wrong=wrong)


def _numbers_row(events: list[dict[str, Any]]) -> report.Result:
    by_epoch = missing(events)
    who = {event["epoch"]: f"{event['source']}, {event['type']} of {event['data'].get('system')}" for event in reversed(events) if event.get("epoch")}
    holes = {epoch: (lost, dropped) for epoch, (lost, dropped, _) in by_epoch.items() if (lost, dropped) != (0, 0)}
    wrong = [f"epoch {epoch} of {who[epoch]}: missing {lost}, dropped {dropped}" for epoch, (lost, dropped) in holes.items()]
    measured = f"{len(by_epoch)} epochs, {sum(came for _, _, came in by_epoch.values())} numbers, {len(wrong)} epochs with holes or no clean end"
    return report.row("D15 outage, numbers", "0 missing, all ends clean", measured, not wrong, wrong=wrong)


def _spool_row(watch: Watch, drained: bool) -> report.Result:
    unused = [name for name in BACKENDS if watch.spooled[name] == 0]
    most = ", ".join(f"{name} {watch.spooled[name] / 1024:.0f} KiB" for name in BACKENDS)
    measured = f"{most} at most; {'empty' if drained else 'NOT EMPTY'} in the end"
    return report.row("D15 outage, spool", "used by all, then empty", measured, drained and not unused)


def _memory_row(watch: Watch, begun: float, gone: float, back: float) -> report.Result:
    more = {name: watch.most(name, gone, back) - watch.most(name, begun, gone) for name in BACKENDS}
    measured = ", ".join(f"{name} {size / 2**20:+.1f} MiB" for name, size in more.items())
    return report.row("D15 outage, workers' memory", f"≤ {MORE_RSS_BYTES >> 20} MiB more than before", measured, max(more.values()) <= MORE_RSS_BYTES)


def _waits_row(attempts: dict[str, list[Attempt]], begun: float, gone: float, back: float, full: bool) -> report.Result:
    """First attempts only: a retry's wait has the backend's own back-off in it."""
    said, more_ms = [], []
    for backend, own in attempts.items():
        firsts = [(a.enqueued_us / 1e6, a.wait_us) for a in own if a.number == 1 and a.wait_us is not None and a.eligible_us is None]
        before = sorted(wait for at, wait in firsts if begun <= at < gone)
        during = sorted(wait for at, wait in firsts if gone <= at < back)
        medians = [quantile(waits, 0.5) / 1000 for waits in (before, during)]
        tails = [quantile(waits, 0.99) / 1000 for waits in (before, during)]
        more_ms.append(medians[1] - medians[0])
        said.append(f"{backend} p50 {medians[0]:.1f}→{medians[1]:.1f}, p99 {tails[0]:.0f}→{tails[1]:.0f}")
    required = f"median ≤ {MORE_WAIT_MS[full]:.0f} ms more"
    return report.row("D15 outage, jobs' waits before → in it, ms", required, "; ".join(said), max(more_ms) <= MORE_WAIT_MS[full])


def _too_small(where: Place) -> list[report.Result]:
    """Processes that tell of more than their spool takes, while nobody listens."""
    before = set(missing(raw_log.everything(where.kafka.address)))
    where.go()
    processes = {}
    for name, argv in EMIT.items():
        spool = where.folder / f"small-{name}"
        environment = os.environ | BOUNDED | where.target(name.capitalize()) | {
            "JOBTIDE_EMITTER_TENANT": "small", "JOBTIDE_EMITTER_SPOOL_DIR": str(spool), "JOBTIDE_EMITTER_SPOOL_BYTES": str(SMALL_BYTES),
        }  # fmt: skip
        processes[name] = subprocess.Popen([*argv, str(TOO_MANY)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        for process in processes.values():
            assert process.stdout is not None and process.stdout.readline() == b"told\n"
        where.come()
        assert wait_for(lambda: _arriving(where) >= set(EMIT), 120), f"only {_arriving(where)} found the broker again"
        assert wait_for(lambda: all(spool_bytes(where.folder / f"small-{name}") == 0 for name in EMIT), 120), "a spool was not drained"
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write(b"end\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes.values()] == [0] * len(processes)
    finally:
        for process in processes.values():
            process.kill()
    events = raw_log.everything(where.kafka.address)
    by_epoch = {epoch: found for epoch, found in missing(events).items() if epoch not in before}
    class_of = {e["epoch"]: e["data"]["job_class"] for e in events if e.get("epoch") in by_epoch and e["type"].startswith("job.")}
    rows = []
    for name in EMIT:
        ((lost, dropped, came),) = [found for epoch, found in by_epoch.items() if class_of.get(epoch) == name]
        measured = f"{came} events came, {dropped} said to be dropped, {lost} numbers missing"
        rows.append(report.row(f"D15 outage, spool too small, {name.capitalize()}", "drops > 0, all of them holes", measured, 0 < dropped == lost))
    return rows


def _arriving(where: Place) -> set[str]:
    finished = [event["data"] for event in raw_log.everything(where.kafka.address) if event["type"] == "job.finished.v1"]
    return {data["job_class"] for data in finished if data["tenant"] == "small"}


def spool_bytes(directory: Path) -> int:
    """What waits there; a file with a header only is empty."""
    size = 0
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            with contextlib.suppress(OSError):
                size += max(0, path.stat().st_size - 32)
    return size


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def _rss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


if __name__ == "__main__":
    report.main(run)
