"""Puts a `job_world.World` into the real stores, as history writer and stage 2 would have: ClickHouse rows, Redis hot
state.

ClickHouse is filled by the writer's own pure code and statements. Hot state is counted here, by hand, in the form of
the snapshots, so that what reads it is checked against something else than what writes it in production.
"""

from math import ceil, log
from typing import Any

import orjson
from jobtide.sinks import alert_rows, batch
from jobtide.sinks.clickhouse import migrate
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.clickhouse.history_store import HistoryStore
from jobtide.sinks.clickhouse.rollups import Rollups
from jobtide.sinks.inserts import insert as insert_of
from jobtide.sinks.keys import field
from jobtide.sinks.redis.hot_state import RedisHotState
from jobtide.streams.alerts.transitions import State, Transition, encode, fingerprint, transition_id
from jobtide.streams.settings import Settings
from jobtide.streams.snapshots import HotWrite

from tests.fakes.job_world import EPOCHS, World, counted, grouped
from tests.proof.job_events import MINUTE, SECOND, lane_of, value_of

PARTITIONS = 8
LENGTHS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}


def fill_history(settings: Settings, world: World, extra: list[dict[str, Any]] | None = None) -> None:
    """Migrate, insert all events, recompute all minutes, note the progress. Closes what it opens."""
    migrate.prepare(settings)
    db = ClickHouse(settings)
    try:
        records = []
        for offset, event in enumerate([*world.events, *(extra or [])]):
            partition = lane_of(event["partitionkey"]) % PARTITIONS if "lane" not in event else event["lane"] % PARTITIONS
            records.append(batch.Record(partition, offset, world.until_us, value_of(event)))
        prepared = batch.prepare(records, PARTITIONS)
        assert not prepared.refused, prepared.refused
        for insert in prepared.inserts([pair for found in prepared.attempts.values() for pair in found.items()]):
            db.insert(insert)
        tenants = {f.tenant for f in world.facts}
        first, last = world.start_us // MINUTE * 60, world.until_us // MINUTE * 60
        minutes = [(tenant, minute) for tenant in tenants for minute in range(first, last + 60, 60)]
        assert len(Rollups(db, settings.retention_executions_days).recompute(minutes, 60)) == len(minutes)
        progress = [(p, 100, world.until_us, world.until_us, world.until_us, "active", world.until_us) for p in range(PARTITIONS)]
        HistoryStore(db).progress(progress)
        told = alerts_of(world)
        db.insert(alert_rows.prepare(alert_rows.AlertRecord(b"", encode(each), world.until_us) for each in told).insert())
        read = [v for p in range(PARTITIONS) for v in (p, world.until_us + MINUTE, world.until_us)]
        db.insert(insert_of("alerts_progress", ("kafka_partition", "read_until", "updated_at"), read))
    finally:
        db.close()


def alerts_of(world: World) -> list[Transition]:
    """Of every queue two alerts: one that began, fired and is over, with a job as an example, and one that still fires."""
    found = []
    for key, facts in grouped(world.facts, 4):
        labels = dict(zip(("tenant", "environment", "system", "queue"), key, strict=True))
        stories: list[tuple[str, str, list[State]]] = [("Failing", "warning", ["pending", "firing", "resolved"]), ("Backlog", "critical", ["firing"])]
        for rule, severity, states in stories:
            print_, began_us = fingerprint(rule, labels), world.start_us + MINUTE
            for minute, state in enumerate(states, 1):
                at_us = world.start_us + minute * 5 * MINUTE
                value, examples = (None, []) if state == "resolved" else (0.25, [{"job_id": facts[0].job_id, "attempt": "1"}])
                made = Transition(
                    id=transition_id(rule, print_, began_us, state), rule=rule, kind="ratio", fingerprint=print_, labels=labels, severity=severity,
                    state=state, reason="held", episode_us=began_us, at_us=at_us, value=value, samples=40, examples=examples,
                    condition="attempt_failure_rate > 0.1", from_us=at_us - 5 * MINUTE, to_us=at_us, query=f"/v1/queues?queue={key[3]}",
                )  # fmt: skip
                found.append(made)
    return found


async def fill_hot_state(settings: Settings, world: World) -> None:
    """Everything stage 2 would have told at the watermark `world.until_us`, with version 1."""
    state = RedisHotState(settings)
    try:
        await state.lost_everything()
        await state.write([*series_writes(world), *worker_writes(world), *queue_writes(world), *ledger_writes(world), progress(world)])
    finally:
        await state.close()


def series_writes(world: World, version: int = 1) -> list[HotWrite]:
    return [
        HotWrite("series", key[0], field(*key[1:]), version, orjson.dumps(snapshot(world, key), option=orjson.OPT_NON_STR_KEYS))
        for key, _ in grouped(world.facts, 5)
    ]


def snapshot(world: World, key: tuple[str, ...]) -> dict[str, Any]:
    """One series at the end of the world, counted by hand."""
    facts = [f for f in world.facts if f.key == key]
    to_us = world.until_us
    seconds: dict[int, list[int]] = {}
    for f in facts:
        if f.ended_us is not None and f.ended_us >= to_us - MINUTE:
            entry = seconds.setdefault(f.ended_us // SECOND, [0, 0])
            entry[0] += 1
            entry[1] += f.outcome == "failed"
    return {
        **dict(zip(("tenant", "environment", "system", "queue", "job_class"), key, strict=True)),
        "at": to_us,
        "in_flight": sum(1 for f in facts if f.state == "running"),
        "waiting": sum(1 for f in facts if f.state == "waiting"),
        "oldest_waiting_us": min((f.enqueued_us for f in facts if f.state == "waiting"), default=None),
        "windows": {name: _window(facts, *window_of(world, name)) for name in LENGTHS},
        "per_second": [[second, *entry] for second, entry in sorted(seconds.items())],
    }


def window_of(world: World, name: str) -> tuple[int, int]:
    """[from, to): the last minute by the second, longer ones from a whole minute."""
    to_us = world.until_us // SECOND * SECOND
    start_us = to_us if name == "1m" else to_us // MINUTE * MINUTE
    return start_us - LENGTHS[name] * SECOND, to_us


def _window(facts: list[Any], from_us: int, to_us: int) -> dict[str, Any]:
    found = counted(facts, from_us, to_us)
    counts = {n: found[n] for n in ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "retried", "dead")}
    return {
        "from": from_us,
        "to": to_us,
        **counts,
        "negative_waits": 0,
        **{name: _histogram(found[name]) for name in ("wait", "run_ok", "run_failed")},
    }


def _histogram(values: list[int]) -> dict[str, Any]:
    buckets: dict[int, int] = {}
    for us in values:
        index = ceil(log(us) / log(1.02)) if us > 0 else -1
        buckets[index] = buckets.get(index, 0) + 1
    return {"n": len(values), "sum": sum(values), "b": sorted(buckets.items())}


def worker_writes(world: World) -> list[HotWrite]:
    """Each worker of the world, heard of at its end; the last one a day earlier."""
    found = sorted({(f.tenant, "default", f.system, f.worker_id) for f in world.facts})
    writes = []
    for number, key in enumerate(found):
        running = [f for f in world.facts if f.state == "running" and (f.tenant, "default", f.system, f.worker_id) == key]
        worker = {
            **dict(zip(("tenant", "environment", "system", "worker_id"), key, strict=True)),
            "status": "busy" if running else "idle",
            "last_seen_us": world.until_us - (86_400 * SECOND if number == len(found) - 1 else 0),
            "queues": sorted({f.queue for f in world.facts if f.tenant == key[0] and f.system == key[2]}),
            "busy": len(running),
            "running": [{"queue": f.queue, "job_id": f.job_id, "attempt": f.attempt} for f in running],
        }
        writes.append(HotWrite("workers", key[0], field(*key[1:]), 1, orjson.dumps(worker)))
    return writes


def queue_writes(world: World) -> list[HotWrite]:
    """The backend's own words about one queue that is known otherwise, and about one that is not."""
    common = {"tenant": "acme", "environment": "default", "system": "celery", "at_us": world.until_us - SECOND}
    mail = {**common, "queue": "mail", "ready": 17, "paused": True}
    empty = {**common, "queue": "never-used", "ready": 0}
    return [HotWrite("queues", "acme", field("default", "celery", q["queue"]), 1, orjson.dumps(q)) for q in (mail, empty)]


def ledger_writes(world: World) -> list[HotWrite]:
    """Per partition and epoch what arrived: three numbers are missing in all, one of them for long."""
    writes = []
    for number, epoch in enumerate(EPOCHS):
        for partition in (0, 1):
            line = {
                "partition": partition, "epoch": epoch, "source": f"/host/{number}", "tenant": "acme" if number < 2 else "globex",
                "system": "celery", "received": 100 * (number + 1), "duplicates": number, "missing": number if partition else 0,
                "lost": 1 if number == 2 and partition else 0, "last_us": world.until_us, "clean": number == 0, "expected": None,
            }  # fmt: skip
            writes.append(HotWrite("ledger", line["tenant"], field(partition, epoch), 1, orjson.dumps(line)))  # type: ignore[arg-type]
    return writes


def progress(world: World, partition: int = 0, version: int = 1) -> HotWrite:
    sources = {str(p): {"watermark": world.until_us + p, "state": "idle" if p else "active"} for p in range(PARTITIONS)}
    value = {"partition": partition, "complete_until": world.until_us, "sources": sources, "live_late_dropped": 2, "rejected": 5}
    return HotWrite("progress", "", str(partition), version, orjson.dumps(value))
