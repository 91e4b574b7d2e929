"""D1 over every backend that runs here at once: workers in Python, Ruby and Node through Apache Kafka into ClickHouse, against what the
jobs wrote down themselves.

    python -m tests.proof.d1_languages [--full]

Half of each language's backends send straight to Kafka, half to the gateway. Live, history and plain SQL must give the oracle's counts
exactly, per class; what the backends count themselves must be the same. Counts only: percentiles are in `d1_backends`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests import postgres_server, servers
from tests.proof import d1_backends, languages, report
from tests.proof.answers import Api, Comparison, wait_for
from tests.proof.recount import Attempt
from tests.proof.shop import Shop
from tests.proof.trace import text
from tests.up_process import UpProcess

SEED = 43
JOBS = {False: 40, True: 600}  # of each backend; RQ, which forks for each, a quarter
DEADLINE_S = {False: 200, True: 1500}
TENANT = "languages"
OWN_COUNTERS_S = 15.0  # not for jobtide: Sidekiq writes its counters down every five seconds
# Every count is to be exact, however busy the machine is: a broker that is slow is no outage. With a spool, as in production: a driver that ends
# while it cannot deliver leaves there what the workers then deliver.
PATIENT = {"JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS": "30000", "JOBTIDE_EMITTER_REQUEST_TIMEOUT_MS": "30000"}


def run(full: bool) -> report.Result:
    """See the module."""
    from_us = time.time_ns() // 1000
    with d1_backends.installation() as (process, clickhouse, folder), contextlib.ExitStack() as stack:
        api = Api(process.port)
        made = _shops(process, folder, full, stack.enter_context(postgres_server.postgres()))
        counters = _work(made, DEADLINE_S[full])
        attempts = {shop.backend: shop.attempts() for shop in made}
        every = [attempt for own in attempts.values() for attempt in own]
        live, _ = d1_backends._live(api, every, TENANT)
        history = _history(api, made, attempts, from_us, time.time_ns() // 1000 + 60_000_000)
        sql = d1_backends._sql(clickhouse, every, TENANT) if clickhouse else None
    spoken = defaultdict(list)
    for shop in made:
        spoken[languages.language(shop.backend)].append(shop.backend)
    said = f"{len(made)}: " + "; ".join(f"{name} {', '.join(of)}" for name, of in spoken.items())
    found = [report.row("D1 languages, at once", "≥ 8 backends, 3 languages", said, len(made) >= 8 and len(spoken) == 3)]
    found += [_row("live", live), _row("history", history), _row("backends' own counters", own_counters(attempts, counters))]
    if sql is not None:
        found.append(_row("SQL on job_events", sql))
    wrong = [line for each in found for line in each.get("wrong", ())]
    counted = Counter(what for attempt in every for what, _ in attempt.moments())
    return report.result(
        "D1 languages", found, wrong=wrong, jobs=sum(shop.jobs for shop in made), attempts=len(every), counted=dict(counted), counters=counters,
        took_s=round(time.time() - from_us / 1e6), seed=SEED,
    )  # fmt: skip


def backends(full: bool) -> list[str]:
    """All that run here. The short form leaves out three of which `d1_backends` asks the same, in the same run, with ten times the jobs."""
    return [name for name in languages.available() if full or name not in d1_backends.JOBS[False]]


def _shops(process: UpProcess, folder: Path, full: bool, postgres: str) -> list[Shop]:
    ways: list[dict[str, str]] = [
        {"JOBTIDE_EMITTER_BROKER": f"127.0.0.1:{process.port + 1}"},
        {"JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{process.port}/v1/events"},
    ]
    if any(languages.language(backend) == "Node" for backend in backends(full)):
        languages.build_node()
    made = []
    for number, backend in enumerate(backends(full)):
        own = folder / backend
        own.mkdir()
        jobs = JOBS[full] // 4 if backend == "rq" and full else JOBS[full]
        made.append(languages.shop(backend, own, ways[number % 2], jobs=jobs, concurrency=2, tenant=TENANT, seed=SEED + number, postgres=postgres))
        made[-1].more_environment = PATIENT | {"JOBTIDE_EMITTER_SPOOL_DIR": str(own / "spool")}
    return made


def _work(made: list[Shop], deadline_s: float) -> dict[str, dict[str, int]]:
    """All jobs of all backends at the same time, to their last end; the backends' counters then."""
    with contextlib.ExitStack() as stack:
        for shop in made:
            shop.redis_url = stack.enter_context(servers.valkey(shop.folder / "valkey")).address
            shop.prepare()
            stack.enter_context(shop.working())
        drivers = {shop.backend: stack.enter_context(shop.drive()) for shop in made}
        begun = told = time.monotonic()
        while any([shop.last_ends() < shop.jobs for shop in made]) or any(driver.poll() is None for driver in drivers.values()):
            ended = {shop.backend: f"{shop.ended}/{shop.jobs}" for shop in made}
            broken = [shop.failed() for shop in made if shop.failed()]
            assert not broken, broken
            bad = [name for name, driver in drivers.items() if driver.poll() not in (None, 0)]
            assert not bad, {shop.backend: (shop.folder / f"{shop.backend}-drive.log").read_text()[-800:] for shop in made if shop.backend in bad}
            assert time.monotonic() - begun < deadline_s, f"not done after {deadline_s} s: {ended}"
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(f"  jobs ended: {ended}", file=sys.stderr, flush=True)
            time.sleep(0.25)
        return counted_by_backends(made)


def _history(api: Api, made: list[Shop], attempts: dict[str, list[Attempt]], from_us: int, to_us: int) -> Comparison:
    """Counts of all; the jobs that died, by name, where the oracle knows the backend's ids."""
    comparison = Comparison()
    every = [attempt for own in attempts.values() for attempt in own]
    _, rows = api.classes(tenant=TENANT, from_=text(from_us), to=text(to_us))
    comparison.counts(d1_backends.recount.totals(every, 0, 1 << 62), rows, "history")
    for shop in made:
        own = attempts[shop.backend]
        system = own[0].series[0]
        listed = api.items("/v1/jobs", tenant=TENANT, system=system, state="dead", from_=text(from_us), to=text(to_us))
        dead = [(a.job_id, a.number) for a in own if a.dead]
        if languages.language(shop.backend) == "Ruby":  # its oracle knows jobs by a key of its own
            comparison.equal(f"{system}: dead jobs listed", len(dead), len({item["job_id"] for item in listed}))
        else:
            comparison.equal(f"{system}: dead jobs listed", sorted(dead), sorted((item["job_id"], item["attempt"]) for item in listed))
    return comparison


def wait_for_own(shop: Shop) -> None:
    """Until Sidekiq has written down what it counted; if it counted something else, that is what its counters will say."""
    if shop.backend == "sidekiq":
        attempts = {shop.backend: shop.attempts()}
        wait_for(lambda: not own_counters(attempts, {shop.backend: shop.counters()}).wrong, OWN_COUNTERS_S, 0.2)


def counted_by_backends(shops: Sequence[Shop]) -> dict[str, dict[str, int]]:
    """What the backends that count say, once they have counted the last job."""
    time.sleep(1)  # not for jobtide: most backends count a job a moment after its body, and some cannot be asked whether they have
    for shop in shops:
        wait_for_own(shop)
    return {shop.backend: counters for shop in shops if (counters := shop.counters())}


def own_counters(attempts: dict[str, list[Attempt]], counters: dict[str, dict[str, int]]) -> Comparison:
    """The oracle beside what the backends count themselves: two witnesses that know nothing of each other."""
    comparison = Comparison()
    for backend, own in counters.items():
        whole = Counter(what for attempt in attempts[backend] for what, _ in attempt.moments())
        for name, count in own.items():
            comparison.equal(f"{backend} {name}", whole[name], count)
    return comparison


def _row(what: str, comparison: Comparison) -> report.Result:
    measured = f"{comparison.compared} compared, {len(comparison.wrong)} wrong"
    return report.row(f"D1 languages, {what}", "exact", measured, not comparison.wrong, wrong=comparison.wrong)



if __name__ == "__main__":
    report.main(run)
