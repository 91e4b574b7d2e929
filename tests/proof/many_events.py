"""Millions of events of a made-up week in history, in seconds: the facts as arrays, and INSERT … SELECT for the tables the writer fills.

Not the writer's path (`d16_history` is about that): this is for proofs about questions, which need much history and not how it got there. The
facts are arrays of numpy, so that pandas can answer the same questions without our code and without ClickHouse. An attempt's row comes in two
inserts, what was known at its start and all, so that there is something to merge.
"""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jobtide.sinks.clickhouse import migrate
from jobtide.sinks.clickhouse.connection import ClickHouse, connect
from jobtide.sinks.clickhouse.history_store import HistoryStore
from jobtide.sinks.clickhouse.rollups import Rollups
from jobtide.sinks.executions import COLUMNS, NO_DURATION_US
from jobtide.sinks.fingerprints import fingerprint
from jobtide.streams.settings import Settings

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
DAYS = 7
SHORT_DAYS = 1
PARTITIONS = 8
BATCH_JOBS = 200
ERRORS = [
    ("Net::ReadTimeout", "execution expired after {} s"),
    ("ConnectionRefused", "Connection refused - connect(2) for 10.0.0.{}:6379"),
    ("ValidationError", "field 'amount' of invoice {} is invalid"),
    ("NoMemoryError", "failed to allocate {} bytes"),
    ("KeyError", "key not found: {}"),
    ("RuntimeError", "something broke in step {}"),
]
DEPLOYS = [(1, "v41"), (3, "v42"), (5, "v43")]  # day, release; v42 makes class C03 fail more and run longer


def facts(events: int, start_us: int, seed: int, days: int = DAYS) -> pd.DataFrame:
    """About so many events: one row per attempt, times in µs, -1 for what did not happen."""
    r = np.random.default_rng(seed)
    n = int(events / 3.27)
    number = np.arange(n)
    cls = (60 * r.random(n) ** 2).astype(np.int64)  # some classes are busier
    span = days * DAY - 2 * 3600 * SECOND
    enqueued = start_us + np.sort((span * r.random(n)).astype(np.int64))
    day = (enqueued - start_us) / DAY
    broken = (cls == 3) & (day >= DEPLOYS[1][0] * days / DAYS)
    fail = r.random(n) < np.where(broken, 0.3, 0.08)
    wait = np.exp(r.normal(13, 1.5, n)).astype(np.int64) + 1
    run = (np.exp(r.normal(12, 1.0, n)) * (1 + cls / 6) * np.where(broken, 2, 1)).astype(np.int64) + 1
    eligible = np.where(r.random(n) < 0.05, enqueued + 30 * SECOND, -1)
    frame = pd.DataFrame({
        "tenant": np.where(cls % 3 == 0, "globex", "acme"),
        "system": np.where(cls % 2 == 0, "sidekiq", "celery"),
        "queue": np.char.add("q", (cls % 12).astype(str)),
        "job_class": np.char.add("C", np.char.zfill(cls.astype(str), 2)),
        "number": number,
        "attempt": 1,
        "worker": r.integers(0, 40, n),
        "enqueued": enqueued,
        "eligible": eligible,
        "started": np.maximum(enqueued, eligible) + wait,
        "run": run,
        "outcome": np.where(fail, 3, 4),
        "error": np.where(fail, np.minimum((len(ERRORS) * r.random(n) ** 1.5).astype(np.int64), len(ERRORS) - 1), -1),
        "variant": r.integers(1, 99, n),
        "batch": np.where((number // BATCH_JOBS) % 20 == 0, number // BATCH_JOBS, -1),
    })  # fmt: skip
    frame["ended"] = frame["started"] + frame["run"]
    again = frame[fail & (r.random(n) < 0.6)].copy()
    frame["retried"] = -1
    frame.loc[again.index, "retried"] = frame.loc[again.index, "ended"] + 1000
    frame["dead"] = np.where(fail & (frame["retried"] < 0), frame["ended"] + 1000, -1)
    m = len(again)
    again["attempt"] = 2
    again["enqueued"] = again["ended"] + 1000
    again["eligible"] = again["enqueued"] + 15 * SECOND
    again["started"] = again["eligible"] + np.exp(r.normal(13, 1.5, m)).astype(np.int64) + 1
    again["ended"] = again["started"] + again["run"]
    still = r.random(m) < 0.3
    again["outcome"] = np.where(still, 3, 4)
    again["error"] = np.where(still, again["error"], -1)
    again["retried"] = -1
    again["dead"] = np.where(still, again["ended"] + 1000, -1)
    whole = pd.concat([frame, again], ignore_index=True)
    mixed = (whole["number"].to_numpy() * 2_654_435_761) % 2**32  # ids that do not follow time, as UUIDs do not
    whole["job_id"] = [f"{m:08x}-{k:08d}" for m, k in zip(mixed, whole["number"], strict=True)]
    return whole


def event_count(frame: pd.DataFrame) -> int:
    """enqueued (first attempts), started, ended, and retry_scheduled or dead."""
    return int((frame["attempt"] == 1).sum() + 2 * len(frame) + (frame["retried"] >= 0).sum() + (frame["dead"] >= 0).sum())


def error_class(index: int) -> str:
    return ERRORS[index][0]


def error_message(index: int, variant: int) -> str:
    return ERRORS[index][1].format(variant)


def error_group(index: int) -> str:
    """The fingerprint as the writer makes it."""
    return fingerprint(error_class(index), error_message(index, 7))


def fill(settings: Settings, frame: pd.DataFrame, start_us: int, days: int = DAYS, log: Any = None) -> None:
    """Migrate and fill every table a question reads. The facts go in as Parquet, the rest is SQL."""
    migrate.prepare(settings)
    say = log or (lambda text: None)
    db = ClickHouse(settings)
    try:
        _load(settings, db, frame)
        say("facts")
        known = "m.worker_id, m.enqueued_at, m.queued_at, m.eligible_at"
        all_columns = ", ".join(COLUMNS)
        for rank, condition in ((0, "m.number % 2 = 0"), (1, "1")):  # half of them first as they were at the start
            ended = "m.outcome" if rank else f"(0, 0, {NO_DURATION_US}, '', '', '')"
            later = "m.dead_at, m.retried_at" if rank else "NULL, NULL"
            last = "m.last_at" if rank else "assumeNotNull(m.started_at)"
            db.command(
                f"INSERT INTO job_executions ({all_columns})"
                f" SELECT m.tenant, 'default', m.system, m.queue, m.job_id, m.attempt, m.job_class, {known},"
                f" m.started_at, NULL, {ended}, {later}, m.first_at, {last}, toDateTime(m.last_at), m.batch_id FROM made AS m WHERE {condition}"
            )
        say("executions")
        for name, batch, condition in (
            ("'trouble'", "''", "attempt > 1 OR tupleElement(outcome, 'rank') = 3"), ("'batch'", "batch_id", "batch_id != ''"),
        ):  # fmt: skip
            copied = f"SELECT {name}, {batch}, {all_columns} FROM job_executions WHERE {condition}"
            db.command(f"INSERT INTO execution_lists (list, batch, {all_columns}) {copied}")
        earlier = "tenant, environment, system, queue, job_id, arrayJoin(range(1, attempt)), job_class"
        db.command(
            "INSERT INTO execution_lists (list, batch, tenant, environment, system, queue, job_id, attempt, job_class, outcome, first_at,"
            f" last_at, ingested_at, recovered)"
            f" SELECT 'trouble', '', {earlier}, (0, 0, {NO_DURATION_US}, '', '', ''), first_at, last_at, ingested_at, 1"
            " FROM job_executions WHERE attempt > 1 AND tupleElement(outcome, 'rank') = 4"
        )
        [taken_over] = [m for m in migrate.shipped() if m.name.endswith("_failures.sql")]
        for statement in taken_over.statements():  # filled as from an earlier version, which a test holds to be what the writer writes
            db.command(statement)
        say("lists")
        db.command(_EVENTS)
        say("events")
        _beside(db, start_us, days)
        first = start_us // MINUTE * 60
        last = int(frame["ended"].max()) // MINUTE * 60
        minutes = [(tenant, minute) for tenant in ("acme", "globex") for minute in range(first, last + 120, 60)]
        assert len(Rollups(db, settings.retention_executions_days).recompute(minutes, 3600)) == len(minutes)
        say("rollups")
        end_us = start_us + days * DAY
        HistoryStore(db).progress([(p, 100, end_us, end_us, end_us, "active", end_us) for p in range(PARTITIONS)])
        db.command("DROP TABLE made")
    finally:
        db.close()


def _load(settings: Settings, db: ClickHouse, frame: pd.DataFrame) -> None:
    texts = pd.DataFrame({
        "tenant": frame["tenant"], "system": frame["system"], "queue": frame["queue"], "job_class": frame["job_class"], "job_id": frame["job_id"],
        "number": frame["number"], "attempt": frame["attempt"].astype(np.uint32), "worker": frame["worker"].astype(np.uint16),
        "enqueued": frame["enqueued"], "eligible": frame["eligible"], "started": frame["started"], "ended": frame["ended"],
        "run": frame["run"], "rank": frame["outcome"].astype(np.uint8), "error": frame["error"].astype(np.int8),
        "variant": frame["variant"].astype(np.uint16), "batch": frame["batch"], "retried": frame["retried"], "dead": frame["dead"],
    })  # fmt: skip
    db.command("DROP TABLE IF EXISTS raw_facts")
    db.command(
        "CREATE TABLE raw_facts (tenant String, system String, queue String, job_class String, job_id String, number Int64, attempt UInt32,"
        " worker UInt16, enqueued Int64, eligible Int64, started Int64, ended Int64, run Int64, rank UInt8, error Int8, variant UInt16, batch Int64,"
        " retried Int64, dead Int64) ENGINE = MergeTree ORDER BY tuple()"
    )
    client = connect(settings, settings.clickhouse_database, 300)
    try:
        for begin in range(0, len(texts), 500_000):
            out = io.BytesIO()
            pq.write_table(pa.Table.from_pandas(texts.iloc[begin : begin + 500_000], preserve_index=False), out)
            client.raw_insert("raw_facts", list(texts.columns), out.getvalue(), None, "Parquet")
    finally:
        client.close()
    classes = [error for error, _ in ERRORS]
    before = [text.split("{}")[0] for _, text in ERRORS]
    after = [text.split("{}")[1] for _, text in ERRORS]
    prints = [error_group(index) for index in range(len(ERRORS))]
    db.command("DROP TABLE IF EXISTS made")
    db.command(
        "CREATE TABLE made ENGINE = MergeTree ORDER BY tuple() AS SELECT tenant, system, queue, job_class, job_id, number, attempt, rank, run,"
        " concat('host-', toString(modulo(worker, 10)), ':', toString(worker)) AS worker_id,"
        " fromUnixTimestamp64Micro(enqueued, 'UTC') AS enqueued_at, fromUnixTimestamp64Micro(enqueued, 'UTC') AS queued_at,"
        " if(eligible < 0, NULL, fromUnixTimestamp64Micro(eligible, 'UTC')) AS eligible_at, fromUnixTimestamp64Micro(started, 'UTC') AS started_at,"
        " fromUnixTimestamp64Micro(ended, 'UTC') AS ended_at,"
        " error + 1 AS e, if(e = 0, '', %(classes)s[e]) AS error_class,"
        " if(e = 0, '', concat(%(before)s[e], toString(variant), %(after)s[e])) AS error_message,"
        " if(e = 0, '', %(prints)s[e]) AS error_fingerprint,"
        " (rank, -ended, -run, error_class, error_message, error_fingerprint) AS outcome,"
        " if(dead < 0, NULL, fromUnixTimestamp64Micro(dead, 'UTC')) AS dead_at,"
        " if(retried < 0, NULL, fromUnixTimestamp64Micro(retried, 'UTC')) AS retried_at,"
        " enqueued_at AS first_at, fromUnixTimestamp64Micro(greatest(ended, dead, retried), 'UTC') AS last_at,"
        " if(batch < 0, '', concat('batch-', toString(batch))) AS batch_id FROM raw_facts",
        {"classes": classes, "before": before, "after": after, "prints": prints},
    )
    db.command("DROP TABLE raw_facts")


_EVENTS = """
INSERT INTO job_events (tenant, environment, system, queue, job_class, job_id, attempt, type, time, event_id, epoch, lane, seq, worker_id,
  enqueued_at, started_at, run_at, duration_us, error_class, error_message, backfill, data, source, kafka_partition, kafka_offset, ingested_at)
SELECT tenant, 'default', system, queue, job_class, job_id, attempt, e.1, assumeNotNull(e.2),
  concat(substring(e.1, 5), '-', job_id, '-', toString(attempt)), '', NULL,
  NULL, if(e.1 IN ('job.started', 'job.finished', 'job.failed'), worker_id, ''), enqueued_at, started_at, eligible_at,
  if(e.1 IN ('job.finished', 'job.failed'), run, NULL), if(e.1 = 'job.failed', error_class, ''), if(e.1 = 'job.failed', error_message, ''), 0, '{}',
  '/made', number % 8, number, assumeNotNull(e.2)
FROM made
ARRAY JOIN arrayFilter(x -> x.2 IS NOT NULL, [
  ('job.enqueued', if(attempt = 1, enqueued_at, NULL)), ('job.started', started_at), (if(rank = 4, 'job.finished', 'job.failed'), ended_at),
  ('job.retry_scheduled', retried_at), ('job.dead', dead_at)]) AS e
"""


def _beside(db: ClickHouse, start_us: int, days: int) -> None:
    for day, release in DEPLOYS:
        for tenant in ("acme", "globex"):
            at = f"fromUnixTimestamp64Micro({deployed_us(start_us, day, days)}, 'UTC')"
            name = f"'deploy-{tenant}-{release}'"
            db.command(f"INSERT INTO deploys VALUES ('{tenant}', 'default', '', '', '{release}', {at}, 'ci', '', '', {name}, {at})")


def deployed_us(start_us: int, day: int, days: int) -> int:
    """When the release of that day of the week was deployed; the week may be a short one."""
    return start_us + day * days * DAY // DAYS // MINUTE * MINUTE


def week_start_us() -> int:
    """So long ago that the whole week is over, at a whole day."""
    return (time.time_ns() // 1000 - (DAYS + 1) * DAY) // DAY * DAY
