"""D10: the wait that jobtide says of each attempt beside the oracle's, in three languages, where emitters usually go wrong.

    python -m tests.proof.d10_waits [--full]

- plain jobs (Sidekiq: by its float stamps);
- jobs put off by ten hours: their enqueue happens in a process whose clock is ten hours behind, so that they come due now;
- retries with a back-off of two seconds, which is not waiting;
- a work horse killed in the middle of its job (RQ), which the worker enqueues again: by RQ's own stamp of that;
- clocks that are five seconds ahead, in the app and its workers: waits stay right, what was sent is seen to come from the future by
  the header `sent_at` beside the broker's own clock, and jobtide itself flags these workers, and no others: `clock_lag_ms` of
  /v1/workers, and in words in /v1/health/queues.

What jobtide says is `wait_us` of its executions in ClickHouse, and of live numbers the longest wait of each class; what is right comes from the
lines that job bodies and drivers wrote. Oracle and hook must mean the same moment: a driver connects before its first job (Celery's pool processes
do a task first), and a retry's delay counts from when the body asked for it. Otherwise what a client or a process does only once, such as a
connection of a quarter of a second for Celery, would lie between the two stamps.

The proof can fail: at the end ClickHouse's view is made to count each wait from the enqueue, whatever the job was put off to, and the same
comparison must then miss every job that was. Breaking stage 1's fold alone is not seen in history, which has the rule in SQL: hence the live numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import redis
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests import clickhouse_server, servers
from tests.proof import d1_backends, languages, raw_log, report
from tests.proof.answers import Api, wait_for
from tests.proof.shop import Shop
from tests.up_process import UpProcess

DRIVERS = Path(__file__).parent / "drivers"
SHIFTED = DRIVERS / "shifted"
SEED = 59
JOBS = {False: 8, True: 40}
LATER_S, DUE_S = 36_000, 4  # put off by so much, and due so long after it is enqueued by the right clock
BACKOFF_MS = 2000
SKEW_S = 5
WITHIN_MS = 50.0
BACKENDS = {False: ("celery", "sidekiq", "bullmq"), True: ("celery", "dramatiq", "arq", "sidekiq", "bullmq")}
KINDS = ("plain", "later", "retry", "skew")
WARM = "celery.accumulate"  # what Celery's pool processes do before anything is measured
RULE = "multiIf(basis_us IS NULL, NULL, eligible_us > basis_us, eligible_us, basis_us) AS ready_us"
Waits = dict[tuple[str, int], int]  # (job, attempt): µs


@dataclass
class WaitShop(Shop):
    """A shop whose driver enqueues one kind of job; clocks of driver and workers may be wrong."""

    kind: str = "plain"
    driver_shift_s: float = 0.0
    worker_shift_s: float = 0.0

    def worker_argv(self, number: int) -> list[str]:
        if self.backend == "sidekiq":
            return ["sidekiq", "-r", str(DRIVERS / "waits.rb"), "-c", "4", "-q", "shop"]
        return ["node", str(DRIVERS / "waits.mjs"), "work"] if self.backend == "bullmq" else super().worker_argv(number)

    def drive_argv(self) -> list[str]:
        what = ["retry" if self.kind == "retry" else "later" if self.kind == "later" else "long" if self.kind == "orphan" else "plain"]
        what += [str(self.jobs), str(BACKOFF_MS), str(LATER_S + DUE_S)]
        if self.backend == "sidekiq":
            return ["ruby", str(DRIVERS / "waits.rb"), *what]
        if self.backend == "bullmq":
            return ["node", str(DRIVERS / "waits.mjs"), *what]
        return [sys.executable, str(DRIVERS / "waits.py"), self.backend, *what]

    def environment(self) -> dict[str, str]:
        more = {"RUBYLIB": str(languages.RUBY / "lib"), "BACKOFF_MS": str(BACKOFF_MS)}
        return {**super().environment(), **more, **_shift(self.worker_shift_s, super().environment()["PYTHONPATH"])}

    def drive(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.environment(), **_shift(self.driver_shift_s, super().environment()["PYTHONPATH"])}
        with (self.folder / f"{self.backend}-drive.log").open("wb") as log:
            return subprocess.Popen(self.drive_argv(), env=environment, stdout=log, stderr=log)


def _shift(seconds: float, path: str) -> dict[str, str]:
    """Environment of a process whose wall clock is wrong, in any of the languages."""
    return {
        "SHIFT_S": str(seconds), "PYTHONPATH": f"{SHIFTED}:{path}", "RUBYOPT": f"-r{SHIFTED}/shift.rb", "NODE_OPTIONS": f"--import file://{SHIFTED}/shift.mjs",
    }  # fmt: skip


def run(full: bool) -> report.Result:
    """See the module."""
    if clickhouse_server.why_not() is not None:
        return report.skipped("D10 waits", clickhouse_server.why_not() or "")
    languages.build_node()
    measured: dict[str, Waits] = {}
    with d1_backends.installation() as (process, clickhouse, folder):
        assert clickhouse is not None
        cases: list[Callable[[], list[report.Result]]] = [
            _case(process, clickhouse, folder, backend, kind, full, measured) for backend in BACKENDS[full] for kind in KINDS
        ]  # fmt: skip
        cases.append(lambda: [_orphan(process, clickhouse, folder, full)])
        with ThreadPoolExecutor(1 if full else 4) as threads:  # the long form judges every attempt: nothing else may start beside it
            rows = [row for found in threads.map(lambda case: case(), cases) for row in found]
        rows += [_seen_to_be_ahead(process), _mutation(clickhouse, measured)]
    return report.result("D10 waits", rows, wrong=[line for row in rows for line in row.get("wrong", ())], seed=SEED)


def _case(
    process: UpProcess, clickhouse: str, folder: Path, backend: str, kind: str, full: bool, measured: dict[str, Waits]
) -> Callable[[], list[report.Result]]:  # fmt: skip
    def case() -> list[report.Result]:
        shop = _shop(process, folder, backend, kind, JOBS[full])
        what = f"{languages.language(backend)}: {backend}, {kind}"
        with _work(shop, process):
            assert wait_for(lambda: shop.last_ends() >= shop.jobs, 180), f"{backend} {kind}: {shop.ended}/{shop.jobs} {shop.failed()}"
            flagged = _flag(process, shop, what)
        waits = {(attempt.job_id, attempt.number): attempt.wait_us for attempt in shop.attempts() if attempt.wait_us is not None}
        measured[shop.tenant] = waits
        rows = [_row(what, waits, _said(clickhouse, shop.tenant, len(waits)), full), flagged]
        if kind != "later":  # an enqueue that comes ten hours late, as this one pretends to, is for history only
            rows.append(_live(process, shop.tenant, what, waits))
        return rows

    return case


def _flag(process: UpProcess, shop: WaitShop, what: str) -> report.Result:
    """Whether jobtide says of the worker that its clock is wrong: of one that is five seconds ahead it must, of others it must not."""
    api, wrong = Api(process.port), shop.worker_shift_s != 0

    def lags_s() -> list[float]:
        return [row["clock_lag_ms"] / 1000 for row in api.items("/v1/workers", tenant=shop.tenant) if row["clock_lag_ms"] is not None]

    def flags() -> list[str]:
        return [reason for reason in api.get("/v1/health/queues", tenant=shop.tenant)["pipeline"] if "clocks are off" in reason]

    wait_for(lambda: bool(lags_s()) and bool(flags()) == wrong, 30)
    lag, flag = min(lags_s(), default=float("nan")), flags()
    measured = f"clock {-lag:+.2f} s, " + (f"flagged: {flag[0]}" if flag else "not flagged")
    passes = bool(flag) == wrong and (not wrong or abs(-lag - SKEW_S) < 1)
    return report.row(f"D10, flag of {what}", f"{SKEW_S} s flagged" if wrong else "not flagged", measured, passes)


def _live(process: UpProcess, tenant: str, what: str, right: Waits) -> report.Result:
    """The longest wait by live numbers: within the sketch's 1 % and as much as any other."""
    api = Api(process.port)

    def told() -> list[dict[str, Any]]:
        found = api.classes(tenant=tenant, last="1h")[1]
        return [row["wait_ms"] for (_, _, name), row in found.items() if row["wait_ms"]["count"] and name != WARM]

    wait_for(lambda: sum(stats["count"] for stats in told()) >= len(right), 60)
    found, longest_ms = told(), max(right.values()) / 1000
    count, most_ms = sum(stats["count"] for stats in found), max((stats["max"] for stats in found), default=float("inf"))
    passes = count == len(right) and abs(most_ms - longest_ms) <= WITHIN_MS + 0.01 * longest_ms
    seen = f"{count} waits, longest {most_ms:.0f}, right {longest_ms:.0f} ms"
    return report.row(f"D10, live, {what}", f"all, the longest within {WITHIN_MS:.0f} ms + 1 %", seen, passes)


def _mutation(clickhouse: str, measured: dict[str, Waits]) -> report.Result:
    """The same comparison with a view that counts waits from the enqueue: it must miss the jobs that were put off, and only those."""
    client: Any = clickhouse_connect.get_client(dsn=clickhouse)
    ((view,),) = client.query("SELECT create_table_query FROM system.tables WHERE database = 'jobtide' AND name = 'executions'").result_rows
    original = view.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1)
    mutant = original.replace(RULE, "basis_us AS ready_us")
    assert mutant != original, view
    client.command(mutant)
    try:
        missed = {tenant for tenant, right in measured.items() if not _row(tenant, right, _said(clickhouse, tenant, len(right)), True)["passes"]}
    finally:
        client.command(original)  # others may share the installation
    put_off = {tenant for tenant in measured if tenant.endswith(("-later", "-retry"))}
    seen = f"{len(missed & put_off)} of {len(put_off)} such cases missed"
    return report.row("D10, mutation: waits counted from the enqueue", "jobs put off and retries are missed", seen, put_off <= missed)


def _orphan(process: UpProcess, clickhouse: str, folder: Path, full: bool) -> report.Result:
    """RQ's worker finds its work horse killed, and enqueues the job again: attempt 2 waits from then on."""
    shop = _shop(process, folder, "rq", "orphan", 1)
    with _work(shop, process):
        assert wait_for(lambda: bool(shop.lines("start")), 120, 0.05), shop.failed()
        os.kill(shop.lines("start")[0]["pid"], signal.SIGKILL)
        assert wait_for(lambda: len(shop.lines("start")) == 2, 120, 0.05), "the orphan was not rescued"
        (job_id,) = {line["job_id"] for line in shop.lines("start")}
        with redis.Redis.from_url(shop.redis_url) as client:
            stamp = client.hget(f"rq:job:{job_id}", "enqueued_at")
        assert isinstance(stamp, bytes)
        enqueued = datetime.fromisoformat(stamp.decode()).astimezone(UTC)
        assert wait_for(lambda: shop.last_ends() >= 1, 60), shop.failed()
    second = next(line for line in shop.lines("start") if line["attempt"] == 2)
    waits = {(job_id, 2): second["t"] - round(enqueued.timestamp() * 1e6)}
    said = {key: wait for key, wait in _said(clickhouse, shop.tenant, 2).items() if key in waits}
    return _row("Python: rq, orphan rescued", waits, said, full)


def _shop(process: UpProcess, folder: Path, backend: str, kind: str, jobs: int) -> WaitShop:
    own = folder / f"{backend}-{kind}"
    own.mkdir()
    target = {"JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{process.port}/v1/events"} if backend == "sidekiq" else {
        "JOBTIDE_EMITTER_BROKER": f"127.0.0.1:{process.port + 1}"
    }  # fmt: skip
    shop = WaitShop(backend, "", own, target, jobs, 1, 4, f"{backend}-{kind}", SEED, retry_ms=BACKOFF_MS if kind == "retry" else 0, kind=kind)
    shop.more_environment = {"JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS": "30000"}
    shop.driver_shift_s = -LATER_S if kind == "later" else SKEW_S if kind == "skew" else 0
    shop.worker_shift_s = SKEW_S if kind == "skew" else 0
    return shop


@contextlib.contextmanager
def _work(shop: WaitShop, process: UpProcess) -> Iterator[None]:
    with servers.valkey(shop.folder / "valkey") as valkey:
        shop.redis_url = valkey.address
        with shop.working():
            if shop.kind != "later":  # a worker that still starts lets jobs wait, and is no subject here
                assert wait_for(lambda: bool(Api(process.port).items("/v1/workers", tenant=shop.tenant)), 60), shop.failed()
            driver = shop.drive()
            assert driver.wait(120) == 0, (shop.folder / f"{shop.backend}-drive.log").read_text()[-1500:]
            yield


def _said(clickhouse: str, tenant: str, attempts: int) -> Waits:
    """(job, attempt) -> the wait jobtide says, µs, once it knows of all."""
    client: Any = clickhouse_connect.get_client(dsn=clickhouse)
    sql = "SELECT job_id, attempt, wait_us FROM jobtide.executions WHERE tenant = %(tenant)s AND wait_us IS NOT NULL AND job_class != %(warm)s"

    def rows() -> list[Any]:
        return list(client.query(sql, parameters={"tenant": tenant, "warm": WARM}).result_rows)

    wait_for(lambda: len(rows()) >= attempts, 60)
    return {(job_id, attempt): wait_us for job_id, attempt, wait_us in rows()}


def _row(what: str, right: Waits, said: Waits, full: bool) -> report.Result:
    """A loaded machine lies between hook and body: the short form judges the median, the long one every attempt."""
    off = sorted(abs(said[key] - wait) / 1000 for key, wait in right.items() if key in said)
    wrong = [f"{what}: {key}: no wait is said" for key in right.keys() - said.keys()]
    judged = (off[-1] if full else statistics.median(off)) if off else float("inf")
    if judged > WITHIN_MS:
        wrong += [f"{what} {key}: right {right[key] / 1000:.1f} ms, said {said[key] / 1000:.1f} ms" for key in right if key in said][:5]
    longest = max(right.values()) / 1000
    measured = f"{len(off)} waits (up to {longest:.0f} ms), off by p50 {statistics.median(off) if off else 0:.2f}, max {off[-1] if off else 0:.2f} ms"
    return report.row(f"D10, {what}", f"within {WITHIN_MS:.0f} ms" + ("" if full else " in the median"), measured, not wrong, wrong=wrong)


def _seen_to_be_ahead(process: UpProcess) -> report.Result:
    """How far `sent_at` is ahead of the broker's clock, for tenants whose clocks are five seconds ahead, and for others."""
    found = asyncio.run(_ahead_s(f"127.0.0.1:{process.port + 1}"))
    ahead, others = [statistics.median(found[key]) if found[key] else float("nan") for key in (True, False)]
    measured = f"shifted clocks {ahead:+.2f} s in the median of {len(found[True])} packs, others {others:+.2f} s of {len(found[False])}"
    return report.row("D10, skew in sent_at beside append time", f"{SKEW_S} s seen", measured, abs(ahead - SKEW_S) < 1 and abs(others) < 1)


async def _ahead_s(broker: str) -> dict[bool, list[float]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    await consumer.start()
    found: dict[bool, list[float]] = {True: [], False: []}
    try:
        tps = [TopicPartition(raw_log.TOPIC, number) for number in range(8)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await consumer.end_offsets(tps)
        while waiting := [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            for records in (await consumer.getmany(*waiting, timeout_ms=500)).values():
                for record in records:
                    sent = dict(record.headers).get("sent_at")
                    # An emitter's own pack is of one tenant; the gateway's may be of several, and bears the gateway's clock.
                    tenants = {name for name in (b'"tenant":"celery-skew"', b'"tenant":"bullmq-skew"') if name in (record.value or b"")}
                    if sent and b'-later"' not in (record.value or b"") and b"sidekiq" not in (record.value or b""):
                        found[bool(tenants)].append(int(sent) / 1000 - record.timestamp / 1000)
    finally:
        await consumer.stop()
    return found



if __name__ == "__main__":
    report.main(run)
