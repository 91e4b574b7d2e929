"""D14: the same log gives the same alerts; rules over history say what they said live.

    python -m tests.proof.d14_replay [--full]

A day of events runs at 200 times its speed (20 minutes at 50 in the short form) through Kafka, both stages, rules and the history writer. Then
(1) the log of job.panes is read again by one process, in one go: same ids, times, values; (2) the API backtests the same rules over history:
the same, but for differences that it lists. Nothing is late here, so there must be none. In a second run, beside the first, some events come
minutes late: then every difference between the backtest and what was said live must be in the list, and the list must not be longer.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from dataclasses import replace
from random import Random

import httpx
from aiokafka import AIOKafkaProducer, TopicPartition
from jobtide.query.app import create_app
from jobtide.streams.agents.kafka import new_reader
from jobtide.streams.agents.ruling import STATUS_KEY
from jobtide.streams.alerts.loading import load_rules
from jobtide.streams.alerts.partition import RuledPartition
from jobtide.streams.alerts.transitions import Transition, decode
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERTS, PANES

from tests.integration.query_server import serving
from tests.proof.command import Figures, Servers, main
from tests.proof.installation import Fleet, Installation
from tests.proof.job_events import SECOND, job_event, lane_of, value_of
from tests.properties import alert_series
from tests.properties.alert_series import each_once
from tests.servers import create_topics

PARTITIONS = 2
PER_SECOND = 2  # jobs, of event time
CLASSES = 12
RULES = alert_series.RULES.replace("value: 0.3, min_samples: 15, no_data: keep", "value: 0.02, min_samples: 40")  # quiet while all goes well
QUIET_S = 2 * 3600  # at most so long, of event time, everything goes well: until the worker is at work


def run(full: bool, servers: Servers) -> Figures:
    """24 hours of events at 200 times their speed (JOBTIDE_TEST_HOURS for fewer), beside them two with late ones; or 20 minutes at 50, none late."""
    hours = float(os.environ.pop("JOBTIDE_TEST_HOURS", "24")) if full else 1 / 3
    return asyncio.run(_both(hours, 200 if full else 50, {"in time": 0.0, "late": 0.01} if full else {"in time": 0.0}, servers))


async def _both(hours: float, speed: int, shares: dict[str, float], servers: Servers) -> Figures:
    one_engine = asyncio.Lock()  # a process can have one directory of chDB open
    # The API lists at most a thousand differences: with late events two hours have fewer.
    found = await asyncio.gather(*(_run(min(hours, 2) if late else hours, speed, late, one_engine, servers) for late in shares.values()))
    runs = dict(zip(shares, found, strict=True))
    wrong = [f"{name}: {line}" for name, each in runs.items() for line in each.pop("wrong")]
    return {"hours": hours, "speed": speed, **{name: str(each) for name, each in runs.items()}, "wrong": wrong[:10], "passed": not wrong}


async def _run(hours: float, speed: int, late: float, one_engine: asyncio.Lock, servers: Servers) -> Figures:
    servers = replace(servers, directory=servers.directory / f"d14-{late}")  # processes of one name in one directory end each other
    servers.directory.mkdir()
    installation = Installation(servers.broker, servers.redis_url, f"rp{uuid.uuid4().hex[:6]}.", servers.directory, PARTITIONS)
    await create_topics(installation.broker, installation.prefix, PARTITIONS)
    file, history = (servers.directory / f"{installation.prefix}{name}" for name in ("rules.yaml", "history"))
    file.write_text(RULES)
    length_s = int(hours * 3600)
    start_us = (time.time_ns() // 1000 - (length_s + QUIET_S) * SECOND) // SECOND * SECOND
    more = {"broker": servers.broker, "topic_prefix": installation.prefix, "partitions": PARTITIONS, "rules": str(file)}
    settings = Settings(**more, redis_url=servers.redis_url, redis_prefix=installation.prefix, clickhouse_url=f"chdb://{history}")  # type: ignore[arg-type]
    async with Fleet(installation) as fleet:
        at_work = asyncio.Event()
        sending = asyncio.create_task(_send(installation, start_us, length_s, speed, late, at_work))
        await asyncio.sleep(0.5)  # the first events are there: an empty partition would be taken for idle
        fleet.add("worker", JOBTIDE_RULES=str(file))
        fleet.add("sink", ("-m", "jobtide.cli", "sink"), JOBTIDE_CLICKHOUSE_URL=settings.clickhouse_url, JOBTIDE_ROLLUP_EVERY_MS="500")
        await _first_tick(settings)
        at_work.set()
        await sending
        live = await _quiet(settings)
        await asyncio.sleep(3)
        await fleet.remove("sink")  # one process owns the engine's directory
        await fleet.remove("worker")
    once = each_once(live)
    again = each_once(await _replayed(settings))
    async with one_engine:
        answer = await asyncio.to_thread(_backtest, settings, f"{(length_s + QUIET_S) // 60}m")
    wrong = [f"replayed otherwise: {once.get(id_) or again[id_]}" for id_ in once.keys() ^ again.keys()]
    wrong += [f"replayed with another value: {again[id_]}" for id_ in once.keys() & again.keys() if once[id_] != again[id_]]
    listed = {each["id"] for each in answer["differences"]}
    if not late:
        wrong += [f"backtest differs: {each}" for each in answer["differences"]]
    wrong += [] if answer["compared"] == len(once) else [f"compared with {answer['compared']} of {len(once)}"]
    wrong += [] if len(once) > 20 else [f"only {len(once)} transitions"]
    fired = sum(1 for each in once.values() if each.state == "firing" and each.id not in listed)
    shown = sum(1 for each in answer["episodes"] if each["fired_at"])
    extra = sum(1 for each in answer["differences"] if each["where"] == "only_backtest" and each["state"] == "firing")
    whole = len(answer["episodes"]) == answer["episodes_total"]  # of many only the newest are shown; all of them were compared by their ids
    wrong += [] if not whole or shown == fired + extra else [f"{shown} episodes in the backtest, {fired} live and {extra} listed as new"]
    return {"transitions": len(once), "differences": len(listed), "wrong": wrong}


async def _first_tick(settings: Settings) -> None:
    """Until the rules see a watermark."""
    reader = new_reader(settings)
    await reader.start()
    try:
        tps = [TopicPartition(settings.topic(PANES), p) for p in range(settings.partitions)]
        while not all((await reader.end_offsets(tps)).values()):
            await asyncio.sleep(0.2)
    finally:
        await reader.stop()


async def _send(installation: Installation, start_us: int, length_s: int, speed: int, late: float, at_work: asyncio.Event) -> None:
    """Jobs of a few classes, failing in phases once the worker is at work; a share of the outcomes is told two to five minutes late."""
    random, epoch, sequence = Random(7), f"d14-{uuid.uuid4().hex[:8]}", dict[int, int]()
    producer = AIOKafkaProducer(bootstrap_servers=installation.broker, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    due: dict[int, list[dict[str, object]]] = {}
    begun_s = time.monotonic()
    try:
        second, end = -1, QUIET_S
        while (second := second + 1) < end:
            if at_work.is_set() and end == QUIET_S:
                end = second + length_s
            for number in range(PER_SECOND):
                index = random.randrange(CLASSES)
                bad = 0.8 if end != QUIET_S and (second // 150 + index) % 4 == 0 else 0.0
                at_us = start_us + second * SECOND + number * SECOND // PER_SECOND
                failed, name = random.random() < bad, f"j{second}-{number}"
                about = {"job_id": name, "queue": f"q{index // 3}", "job_class": f"Class{index}"}
                events = [job_event("enqueued", at_us, **about), job_event("started", at_us + random.randrange(1000, 400_000), **about)]  # type: ignore[arg-type]
                for kind in ("failed", "dead") if failed else ("finished",):
                    events.append(job_event(kind, at_us + 450_000, **about))  # type: ignore[arg-type]
                now, then = (events, []) if random.random() >= late else (events[:2], events[2:])
                due.setdefault(second, []).extend(now)
                if then:
                    due.setdefault(second + random.randrange(120, 300), []).extend(then)
            for event in sorted(due.pop(second, []), key=lambda each: str(each["time"])):
                lane = lane_of(str(event["partitionkey"]))
                event |= {"epoch": epoch, "lane": lane, "seq": sequence.get(lane, 0)}
                sequence[lane] = sequence.get(lane, 0) + 1
                await producer.send(installation.events, value_of(event), partition=lane % PARTITIONS)
            await asyncio.sleep(max(0.0, begun_s + second / speed - time.monotonic()))
        await producer.flush()
    finally:
        await producer.stop()


async def _quiet(settings: Settings) -> list[Transition]:
    """Everything in job.alerts once nothing more was said for a while."""
    reader, found, last_s = new_reader(settings), list[Transition](), time.monotonic()
    await reader.start()
    try:
        tps = [TopicPartition(settings.topic(ALERTS), p) for p in range(settings.partitions)]
        reader.assign(tps)
        await reader.seek_to_beginning(*tps)
        while time.monotonic() - last_s < 12:
            for records in (await reader.getmany(timeout_ms=500)).values():
                found += [decode(r.value) for r in records if not (r.key or b"").startswith(STATUS_KEY)]
                last_s = time.monotonic()
    finally:
        await reader.stop()
    return found


async def _replayed(settings: Settings) -> list[Transition]:
    """One process reads job.panes from its beginning."""
    out: list[Transition] = []
    reader = new_reader(settings)
    await reader.start()
    try:
        for partition in range(settings.partitions):
            tp = TopicPartition(settings.topic(PANES), partition)
            reader.assign([tp])
            await reader.seek_to_beginning(tp)
            end = (await reader.end_offsets([tp]))[tp]
            ruled = RuledPartition(partition, settings.partitions, load_rules(RULES, "d14").rules)
            ruled.watch_from_here()
            while await reader.position(tp) < end:
                for records in (await reader.getmany(tp, timeout_ms=1000)).values():
                    ruled.fold_records([r.key for r in records], [r.value for r in records], [r.offset for r in records])
            out += ruled.take()[0]
    finally:
        await reader.stop()
    return out


def _backtest(settings: Settings, last: str) -> Figures:
    with serving(create_app(settings)) as api:
        until = time.monotonic() + 60
        while api.client.get("/v1/alerts").status_code != 200 and time.monotonic() < until:
            time.sleep(0.2)
        answer = httpx.post(f"{api.url}/v1/rules/backtest", json={"rules": RULES, "last": last}, timeout=300)
        assert answer.status_code == 200, answer.text
        found: Figures = answer.json()
        return found


if __name__ == "__main__":
    main("D14: replay and backtest", run)
