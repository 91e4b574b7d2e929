"""D15, how processes end: forks that end by `exit!` or `os._exit`, `process.exit`, SIGTERM and SIGKILL in the middle of work, in three languages.

    python -m tests.proof.ends [--full]

Whatever way its process ended afterwards, a job that ended normally has its terminal event in Kafka. A killed process loses what it had in memory
at that moment; jobtide's own ledger says so: its epoch never ended in order, and no epoch of any other process is like that.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import servers
from tests.proof import d1_backends, languages, raw_log, report
from tests.proof.answers import Api, wait_for
from tests.proof.outage import DRIVERS, PACED, PacedPython, tree
from tests.proof.shop import Shop
from tests.up_process import UpProcess

SEED = 53
PER_SECOND = 15
FORKS = {False: 20, True: 200}
ROUNDS = {False: 1, True: 6}  # how often a worker is ended in the middle of its work
BETWEEN = 25  # jobs that end before the next
BACKENDS = {False: ("dramatiq", "sidekiq", "bullmq"), True: ("dramatiq", "celery", "sidekiq", "bullmq")}
ENDS = ("job.finished.v1", "job.failed.v1")
HARD = {  # language: (how it ends, the program)
    "Python": ("fork, os._exit", [sys.executable, str(DRIVERS / "ends.py")]),
    "Ruby": ("fork, exit!", ["ruby", "-I", str(languages.RUBY / "lib"), str(DRIVERS / "ends.rb")]),
    "Node": ("process.exit, spool, agent", ["node", str(DRIVERS / "ends.mjs")]),
}


def run(full: bool) -> report.Result:
    """See the module."""
    languages.build_node()
    with d1_backends.installation() as (process, _, folder):
        hard: list[Callable[[], report.Result]] = [functools.partial(_hard, process, folder, language, FORKS[full]) for language in HARD]
        hard.append(functools.partial(_work_horses, process, folder, FORKS[full]))
        with ThreadPoolExecutor(1 if full else len(hard)) as threads:
            rows = list(threads.map(lambda case: case(), hard))
        cases = [(backend, number) for backend in BACKENDS[full] for number in (signal.SIGTERM, signal.SIGKILL)]
        with ThreadPoolExecutor(len(cases)) as threads:
            rows += threads.map(lambda case: _ended(process, folder, *case, ROUNDS[full]), cases)
    return report.result("D15 ends", rows, wrong=[line for row in rows for line in row.get("wrong", ())], seed=SEED)


def _hard(process: UpProcess, folder: Path, language: str, jobs: int) -> report.Result:
    """Processes that end without any of the runtime's own last words."""
    how, argv = HARD[language]
    tenant = f"hard-{language.lower()}"
    target = _gateway(process) if language == "Node" else _kafka(process)
    environment = os.environ | target | {
        "JOBTIDE_EMITTER_TENANT": tenant, "JOBTIDE_EMITTER_SPOOL_DIR": str(folder / tenant), "JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS": "30000",
    }  # fmt: skip
    done = subprocess.run([*argv, str(jobs)], env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    if language == "Node":
        subprocess.run([sys.executable, "-m", "jobtide.cli", "agent", "--once"], env=environment, check=True, capture_output=True, timeout=60)
    told = _told(process, tenant)
    measured = f"{jobs} jobs ended, {len(told)} with their terminal event"
    return report.row(f"D15 ends, {language}: {how}", "all have their terminal event", measured, len(told) == jobs)


def _work_horses(process: UpProcess, folder: Path, jobs: int) -> report.Result:
    """RQ: a fork for each job, which ends by os._exit."""
    own = folder / "rq-horses"
    own.mkdir()
    shop = languages.shop("rq", own, _kafka(process), jobs=jobs, concurrency=1, tenant="rq-horses", seed=SEED, postgres="")
    with servers.valkey(own / "valkey") as valkey:
        shop.redis_url = valkey.address
        with shop.working(), shop.drive():
            assert wait_for(lambda: shop.last_ends() >= jobs, 240), f"{shop.ended}/{jobs} {shop.failed()}"
    ended = {(line["job_id"], line["attempt"]) for line in shop.lines("left")}
    told = _told(process, "rq-horses")
    measured = f"{len(ended)} work horses' jobs ended, {len(ended & told)} with their terminal event"
    return report.row("D15 ends, Python: RQ's work horses", "all have their terminal event", measured, ended == told)


def _ended(process: UpProcess, folder: Path, backend: str, number: signal.Signals, rounds: int) -> report.Result:
    """A worker of this backend is ended in the middle of its work, and another one goes on, `rounds` times."""
    tenant = f"{backend}-{number.name.lower()}"
    own = folder / tenant
    own.mkdir()
    target = _gateway(process) if backend == "sidekiq" else _kafka(process)
    shop = PACED.get(backend, PacedPython)(backend, "", own, target, 0, 1, PER_SECOND, tenant, SEED)
    shop.more_environment = {"JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS": "30000", "JOBTIDE_EMITTER_HEARTBEAT_MS": "1000"}
    killed: set[int] = set()
    with servers.valkey(own / "valkey") as valkey:
        shop.redis_url = valkey.address
        with shop.working():
            driver = shop.drive()
            try:
                for _ in range(rounds):
                    before = shop.last_ends()
                    assert wait_for(lambda: shop.last_ends() >= before + BETWEEN, 120, 0.1), f"{tenant}: {shop.failed() or 'no jobs end'}"  # noqa: B023
                    # One that is killed before it ever told anything leaves no epoch to be unclean: only the jobs it held are missed.
                    assert wait_for(lambda: _known(process, shop), 60), f"{tenant}: nothing was told"
                    _end(shop, number, killed)
                before = shop.last_ends()
                assert wait_for(lambda: shop.last_ends() >= before + BETWEEN, 120, 0.1), f"{tenant}: {shop.failed() or 'no jobs end'}"
                (own / "over").touch()
                assert driver.wait(60) == 0, tenant
            finally:
                driver.kill()
            _quiet(shop)
            last = shop.processes[0].pid
            assert last is not None, f"{tenant}: {shop.failed()}"
    told, ended = _told(process, tenant), _normal_ends(shop)
    without = len(ended) - len(told) if languages.language(backend) == "Ruby" else len(ended - told)
    unclean = _unclean(process, tenant, last, killed, rounds)
    wrong = [f"{tenant}: unclean {source}, which nobody killed" for source in unclean if _pid(source) not in killed]
    if number == signal.SIGTERM and without:
        wrong.append(f"{tenant}: {without} jobs without a terminal event")
    if number == signal.SIGKILL and len(unclean) < rounds:
        wrong.append(f"{tenant}: {rounds} workers killed, {len(unclean)} epochs reported unclean")
    required = "all have their terminal event" if number == signal.SIGTERM else "the killed ones are holes, no other is"
    measured = f"{rounds}× in the middle of {len(ended)} jobs: {without} without terminal event, {len(unclean)} epochs unclean"
    return report.row(f"D15 ends, {languages.language(backend)}: {backend}, {number.name}", required, measured, not wrong, wrong=wrong)


def _known(process: UpProcess, shop: Shop) -> bool:
    """Whether jobtide's ledger has an epoch of the worker that runs now, or of a process that it started."""
    (worker,) = shop.processes
    pids = set(tree(worker.pid)) if worker.pid is not None else set()
    told = Api(process.port).items("/v1/completeness", tenant=shop.tenant, last="1h")
    return any(_pid(epoch["source"]) in pids for epoch in told)


def _end(shop: Shop, number: signal.Signals, killed: set[int]) -> None:
    """Ends the worker in this way, and starts it again."""
    (worker,) = shop.processes
    assert worker.pid is not None
    if number == signal.SIGTERM:
        worker.ask_to_stop()
        assert wait_for(lambda: worker.ended() is not None, 60, 0.1), f"{shop.backend} does not end"
    else:
        killed.update(tree(worker.pid))
        worker.kill()
    worker.start()


def _quiet(shop: Shop) -> None:
    """Waits until no more jobs end: what a killed worker held may come back much later, or never."""
    limit = time.monotonic() + 60
    before, since = shop.last_ends(), time.monotonic()
    while time.monotonic() < limit and time.monotonic() - since < 3:
        time.sleep(0.2)
        if shop.last_ends() > before:
            before, since = shop.last_ends(), time.monotonic()


def _normal_ends(shop: Shop) -> set[tuple[str, int]]:
    """The attempts whose bodies came to their end."""
    if languages.language(shop.backend) == "Ruby":
        return {(line["key"], line["attempt"]) for what in ("finished", "failed") for line in shop.lines(what)}
    member = "id" if languages.language(shop.backend) == "Node" else "job_id"
    return {(line[member], line["attempt"]) for line in shop.lines("left")}


def _told(process: UpProcess, tenant: str) -> set[tuple[str, int]]:
    """The attempts that have a terminal event in Kafka."""
    events = raw_log.read(f"127.0.0.1:{process.port + 1}", tenant)
    return {(event["data"]["job_id"], event["data"]["attempt"]) for event in events if event["type"] in ENDS}


def _unclean(process: UpProcess, tenant: str, last: int, killed: set[int], rounds: int) -> list[str]:
    """Sources of epochs that did not end in order, by jobtide's ledger, once it knows how the last worker ended; it is told every ten seconds."""
    api = Api(process.port)

    def found(clean: bool) -> list[str]:
        return [epoch["source"] for epoch in api.items("/v1/completeness", tenant=tenant, last="1h") if epoch["clean"] is clean]

    def settled() -> bool:
        unclean = list(map(_pid, found(False)))
        return last in map(_pid, found(True)) and killed.issuperset(unclean) and (not killed or len(unclean) >= rounds)

    wait_for(settled, 40)
    return found(False)


def _pid(source: str) -> int:
    return int(source.rsplit("/", 1)[1])


def _kafka(process: UpProcess) -> dict[str, str]:
    return {"JOBTIDE_EMITTER_BROKER": f"127.0.0.1:{process.port + 1}"}


def _gateway(process: UpProcess) -> dict[str, str]:
    return {"JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{process.port}/v1/events"}


if __name__ == "__main__":
    report.main(run)
