"""D1 on real workers: Celery, RQ and Dramatiq with jobs that succeed, fail, are retried and die, against the log that their bodies write.

    python -m tests.proof.d1_backends [--full]

Real `jobtide up` (Apache Kafka, Valkey), and a real ClickHouse server where it runs, so that plain SQL can be asked beside the API.
Celery and Dramatiq send to Kafka, RQ to the gateway. Live, history and SQL must give the oracle's counts exactly. An attempt n that is
retried enqueues attempt n + 1, so `enqueued` counts attempts.

Bodies cannot see what lies between them and the hooks around them. So each attempt's run time and start as emitted are first paired with
the body's own (`hooks`: how far they are apart, a bar of its own), and percentiles are compared twice: with what was emitted, read back
from Kafka, within 1 % and nothing else; and with the bodies' own clock, within 1 % and that gap (wait: 50 ms).
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect

from tests import clickhouse_server, servers
from tests.proof import agreement, hooks, raw_log, recount, report
from tests.proof.answers import Api, Comparison, sums, wait_for
from tests.proof.recount import COUNTED, Attempt, Series
from tests.proof.shop import Shop
from tests.proof.trace import text
from tests.up_process import UpProcess, up

TENANT, SEED = "shop", 41
WAIT_SLACK_MS = 50.0
LEDGERS_S = 25.0  # the live ledger is told every 10 s
JOBS = {  # backend: (jobs, worker processes, jobs at a time in each), short and full
    False: {"celery": (400, 1, 4), "rq": (100, 2, 1), "dramatiq": (400, 1, 4)},
    True: {"celery": (24_000, 1, 8), "rq": (2_500, 3, 1), "dramatiq": (24_000, 1, 16)},
}
DEADLINE_S = {False: 240, True: 1500}

SQL = """
SELECT system, queue, job_class,
  uniqExactIf((job_id, attempt + (type = 'job.retry_scheduled')), type IN ('job.enqueued', 'job.scheduled', 'job.retry_scheduled')),
  uniqExactIf((job_id, attempt), type = 'job.started'),
  uniqExactIf((job_id, attempt), type = 'job.finished'),
  uniqExactIf((job_id, attempt), type = 'job.failed'),
  uniqExactIf((job_id, attempt), type = 'job.retry_scheduled'),
  uniqExactIf((job_id, attempt), type = 'job.dead')
FROM {database}.job_events WHERE tenant = %(tenant)s AND job_class != '' GROUP BY ALL
"""


def run(full: bool) -> report.Result:
    """See the module."""
    from_us = time.time_ns() // 1000
    with installation() as (process, clickhouse, folder):
        api = Api(process.port)
        shops = _shops(process, folder, full)
        counters = _work(shops, DEADLINE_S[full])
        attempts = [attempt for shop in shops for attempt in shop.attempts()]
        emitted = hooks.Emitted(raw_log.read(f"127.0.0.1:{process.port + 1}", TENANT))
        gaps = emitted.gaps(attempts)
        live, rows = _live(api, attempts, TENANT)
        agreed = agreement.compare(api, ("1h", "15m"), tenant=TENANT)
        history = _history(api, attempts, from_us, time.time_ns() // 1000 + 60_000_000)
        sql = _sql(clickhouse, attempts, TENANT) if clickhouse else None
    found = [
        _row("live", live), _row("history", history), _percentiles("percentiles of what was emitted", emitted.attempts(attempts), rows, None),
        _percentiles("percentiles by the bodies' clock", attempts, rows, gaps), agreement.row("D1 backends, live = history", agreed),
        hooks.row("D1 backends, hooks beside bodies", gaps), _row("backends' own counters", _own_counters(attempts, counters)),
    ]  # fmt: skip
    if sql is not None:
        found.append(_row("SQL on job_events", sql))
    wrong = [line for each in found for line in each["wrong"]]
    return report.result(
        "D1 backends", found, wrong=wrong, jobs=sum(shop.jobs for shop in shops), attempts=len(attempts), counters=counters,
        took_s=round(time.time() - from_us / 1e6), seed=SEED,
    )  # fmt: skip


Installed = tuple[UpProcess, str | None, Path]
_shared: list[Installed] = []


@contextlib.contextmanager
def sharing() -> Iterator[None]:
    """One installation for all proofs that run inside, apart by tenants and folders: starting one takes as long as a short form does."""
    with installation() as made:
        _shared.append(made)
        try:
            yield
        finally:
            _shared.pop()


@contextlib.contextmanager
def installation() -> Iterator[Installed]:
    """(jobtide, ClickHouse's URL if it is a server, a folder of one's own)."""
    if _shared:
        process, url, folder = _shared[-1]
        yield process, url, Path(tempfile.mkdtemp(dir=folder))
        return
    with tempfile.TemporaryDirectory() as root, contextlib.ExitStack() as stack:
        folder = Path(root)
        arguments, url = [], None
        if clickhouse_server.why_not() is None:
            (folder / "clickhouse").mkdir()
            url = stack.enter_context(clickhouse_server.clickhouse(folder / "clickhouse")).address
            arguments = ["--clickhouse", url]
        yield stack.enter_context(up(folder / "up", *arguments)), url, folder


def _shops(process: UpProcess, folder: Path, full: bool) -> list[Shop]:
    kafka = {"JOBTIDE_EMITTER_BROKER": f"127.0.0.1:{process.port + 1}"}
    gateway = {"JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{process.port}/v1/events"}
    shops = []
    for backend, (jobs, workers, concurrency) in JOBS[full].items():
        own = folder / backend
        own.mkdir()
        shops.append(Shop(backend, "", own, gateway if backend == "rq" else kafka, jobs, workers, concurrency, TENANT, SEED))
    return shops


def _work(shops: list[Shop], deadline_s: float) -> dict[str, dict[str, int]]:
    """All jobs of all backends, at the same time, to their last end; the backends' counters at that moment."""
    with contextlib.ExitStack() as stack:
        for shop in shops:
            shop.redis_url = stack.enter_context(servers.valkey(shop.folder / "valkey")).address
            stack.enter_context(shop.working())
        drivers = [stack.enter_context(shop.drive()) for shop in shops]
        begun = told = time.monotonic()
        while any([shop.last_ends() < shop.jobs for shop in shops]):  # a list: each of them reads on
            ended = {shop.backend: f"{shop.ended}/{shop.jobs}" for shop in shops}
            broken = [shop.failed() for shop in shops if shop.failed()]
            assert not broken, broken
            assert all(driver.poll() in (None, 0) for driver in drivers), "a driver failed"
            assert time.monotonic() - begun < deadline_s, f"not done after {deadline_s} s: {ended}"
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(f"  jobs ended: {ended}", file=sys.stderr, flush=True)
            time.sleep(0.25)
        time.sleep(1)  # not for jobtide: backends count a job a moment after its body
        return {shop.backend: shop.counters() for shop in shops}


def _row(what: str, comparison: Comparison) -> report.Result:
    measured = f"{comparison.compared} counts, {len(comparison.wrong)} wrong"
    return report.row(f"D1 backends, {what}", "exact", measured, not comparison.wrong, wrong=comparison.wrong)


def _percentiles(what: str, attempts: list[Attempt], rows: dict[Series, dict[str, Any]], gaps: hooks.Gaps | None) -> report.Result:
    """The live answer's percentiles beside those of `attempts`; `gaps`: how far hooks and bodies are apart."""
    comparison = Comparison()
    for series, total in recount.totals(attempts, 0, 1 << 62).items():
        slack = gaps.slack_ms(series) if gaps else {}
        for kind, values in (("wait", total.waits), ("run", total.runs)):
            right = recount.percentiles(values)
            for name in recount.QUANTILES:
                slack_ms = 0.0 if gaps is None else WAIT_SLACK_MS if kind == "wait" else slack.get(name, 0.0)
                stats = rows.get(series, {}).get(f"{kind}_ms", {})
                comparison.percentile(f"{what}: {series} {kind} {name}", right.get(name), stats.get(name), slack_ms, kind)
    required = "within 1 %" if gaps is None else f"within 1 %, or wait {WAIT_SLACK_MS:.0f} ms, run the hooks' gap"
    measured = (
        f"{comparison.compared}, {len(comparison.wrong)} wrong; worst wait {comparison.worst_wait:.2%} ({comparison.worst_wait_ms:.1f} ms), "
        f"run {comparison.worst_run:.2%} ({comparison.worst_run_ms:.1f} ms)"
    )
    return report.row(f"D1 backends, {what}", required, measured, not comparison.wrong, wrong=comparison.wrong)


def _live(api: Api, attempts: list[Attempt], tenant: str) -> tuple[Comparison, dict[Series, dict[str, Any]]]:
    comparison = Comparison()
    total = sum(1 for attempt in attempts for _ in attempt.moments())
    if not wait_for(lambda: sums(api.classes(tenant=tenant, last="1h")[1].values()) >= total, 60):
        comparison.wrong.append(f"live did not come to {total} transitions")
    head, rows = api.classes(tenant=tenant, last="1h")
    comparison.equal("source", "live", head["source"])
    comparison.counts(recount.totals(attempts, 0, 1 << 62), rows, "live")
    for series, row in rows.items():
        comparison.equal(f"{series} in flight and waiting at the end", (0, 0), (row["in_flight"], row["waiting"]))
    comparison.equal("missing, lost", (0, 0), (head["completeness"]["missing"], head["completeness"]["lost"]))
    wait_for(lambda: not _unclean(api, tenant), LEDGERS_S)
    for epoch in _unclean(api, tenant):  # no bar: killed processes are allowed to be, and this says who was
        print(f"  unclean epoch: {epoch}", file=sys.stderr)
    return comparison, rows


def _unclean(api: Api, tenant: str) -> list[dict[str, Any]]:
    return [epoch for epoch in api.items("/v1/completeness", tenant=tenant, last="1h") if not epoch["clean"]]


def _history(api: Api, attempts: list[Attempt], from_us: int, to_us: int) -> Comparison:
    comparison = Comparison()
    _, rows = api.classes(tenant=TENANT, from_=text(from_us), to=text(to_us))
    comparison.counts(recount.totals(attempts, 0, 1 << 62), rows, "history")
    for state, mark in (("dead", "dead"), ("retried", "retried")):
        listed = api.items("/v1/jobs", tenant=TENANT, state=state, from_=text(from_us), to=text(to_us))
        right = sorted((a.job_id, a.number) for a in attempts if getattr(a, mark))
        comparison.equal(f"/v1/jobs?state={state}", right, sorted((item["job_id"], item["attempt"]) for item in listed))
    return comparison


def _sql(url: str, attempts: list[Attempt], tenant: str) -> Comparison:
    comparison = Comparison()
    client: Any = clickhouse_connect.get_client(dsn=url)
    rows = client.query(SQL.format(database="jobtide"), parameters={"tenant": tenant}).result_rows
    found: dict[Series, tuple[int, ...]] = {tuple(row[:3]): tuple(row[3:]) for row in rows}
    expected = recount.totals(attempts, 0, 1 << 62)
    comparison.equal("SQL series", sorted(expected), sorted(found))
    for series, total in expected.items():
        for name, count in zip(COUNTED, found.get(series, ()), strict=False):
            comparison.equal(f"SQL {series} {name}", total.counts[name], count)
    return comparison


def _own_counters(attempts: list[Attempt], counters: dict[str, dict[str, int]]) -> Comparison:
    """The oracle beside what the backends themselves count: two witnesses that know nothing of each other."""
    comparison = Comparison()
    for backend, own in counters.items():
        whole: Counter[str] = Counter(what for a in attempts if a.series[0] == backend for what, _ in a.moments())
        for name, count in own.items():
            comparison.equal(f"{backend} {name}", whole[name], count)
    return comparison


if __name__ == "__main__":
    report.main(run)
