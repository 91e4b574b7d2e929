"""Rules under SIGKILL: stage 2 killed while alerts flap, also between a transition and the state that says it was made.

    python -m tests.proof.alerts_kills [--full]

Panes of flapping series are written to job.panes over a minute or three. Passes when the transitions in job.alerts, each id once, are
exactly those of one process that reads the log in one go, with the same times and values, and each alert's story is in order.
"""

from __future__ import annotations

import asyncio
import uuid
from random import Random

import msgspec
from aiokafka import TopicPartition
from jobtide.streams.agents.kafka import new_producer, new_reader
from jobtide.streams.agents.ruling import STATUS_KEY
from jobtide.streams.alerts.transitions import Transition, decode
from jobtide.streams.folds.records import LEDGER, TICK, Record, Tick, encode, panes_partition, parse_pane_key
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERTS, PANES
from msgspec import structs

from tests.chaos.crashing_ruler import AT
from tests.proof.command import Figures, Servers, main
from tests.proof.installation import Fleet, Installation
from tests.properties.alert_series import ABOUT_US, RULES, each_once, random_log, rules, straight
from tests.servers import create_topics

SEED = 11
PARTITIONS = 2
RULER = ("-m", "tests.chaos.crashing_ruler")


def run(full: bool, servers: Servers) -> Figures:
    """20 kills over 3 minutes, or 4 in half a minute."""
    return asyncio.run(_run(20 if full else 4, 2400 if full else 900, servers))


async def _run(kills: int, length_s: int, servers: Servers) -> Figures:
    installation = Installation(servers.broker, servers.redis_url, f"al{uuid.uuid4().hex[:6]}.", servers.directory, PARTITIONS, 6_000)
    await create_topics(installation.broker, installation.prefix, PARTITIONS)
    rule_file = servers.directory / f"{installation.prefix}rules.yaml"
    rule_file.write_text(RULES + ABOUT_US)
    settings = Settings(broker=servers.broker, topic_prefix=installation.prefix, partitions=PARTITIONS)
    logs = {
        p: [each for record in random_log(SEED + p, 40 * PARTITIONS, length_s, prefix=f"p{p}") if _at_home(record, p) for each in _both(record)]
        for p in range(PARTITIONS)
    }
    random, done = Random(SEED), asyncio.Event()
    async with Fleet(installation, RULER) as fleet:
        for name in ("ruler0", "ruler1"):
            fleet.add(name, JOBTIDE_STAGES="2", JOBTIDE_RULES=str(rule_file), JOBTIDE_FLUSH_MS="300", JOBTIDE_PUBLISH_MS="50")
        writing = asyncio.create_task(_write(settings, logs, kills * 6.0, done))
        for number in range(kills):
            await asyncio.sleep(random.uniform(2, 5))
            name, how = f"ruler{number % 2}", random.choice(["at random", *AT])
            before = fleet.starts(name)
            if how in AT:
                fleet.signal(name, AT[how])
            else:
                fleet.kill(name)
            await fleet.until_restarted(name, before, 90)
            print(f"  killed {name} ({how})", flush=True)
        await writing
        expected = {p: each_once(straight(log, rules(), p, PARTITIONS)) for p, log in logs.items()}
        wanted = {id_: each for found in expected.values() for id_, each in found.items()}
        found = await _until(settings, set(wanted), 120)
        restarts = fleet.restarts
    once = each_once(found)  # the same id always says the same
    wrong = [f"missing {wanted[id_]}" for id_ in wanted.keys() - once.keys()]
    wrong += [f"not expected {once[id_]}" for id_ in once.keys() - wanted.keys()]
    wrong += [f"differs {once[id_]} {wanted[id_]}" for id_ in once.keys() & wanted.keys() if once[id_] != wanted[id_]]
    wrong += _out_of_order(found)
    return {
        "seed": SEED, "SIGKILLs": kills, "restarts": restarts, "transitions": len(wanted), "sent again": len(found) - len(once),
        "wrong": wrong[:10], "passed": not wrong and len(wanted) > 100 and restarts >= kills,
    }  # fmt: skip


def _at_home(record: Record, partition: int) -> bool:
    """Whether a partition has to believe it: what is of another one's series it ignores."""
    key = record[0]
    if key[:1] == LEDGER:
        return panes_partition(b"acme", PARTITIONS) == partition
    return key[:1] == TICK or panes_partition(parse_pane_key(key)[3], PARTITIONS) == partition


def _both(record: Record) -> list[Record]:
    """The ticks of both source partitions."""
    key, value = record
    if key[:1] != TICK or value is None:
        return [record]
    tick = msgspec.msgpack.decode(value, type=Tick)
    return [(TICK + b"\x1f1", encode(structs.replace(tick, partition=1))), record]


async def _write(settings: Settings, logs: dict[int, list[Record]], over_s: float, done: asyncio.Event) -> None:
    producer = new_producer(settings)
    await producer.start()
    try:
        steps = max(1, int(over_s / 0.1))
        for step in range(steps):
            for partition, log in logs.items():
                for key, value in log[len(log) * step // steps : len(log) * (step + 1) // steps]:
                    await producer.send(settings.topic(PANES), value, key=key, partition=partition)
            await producer.flush()
            await asyncio.sleep(0.1)
    finally:
        await producer.stop()
        done.set()


async def _until(settings: Settings, wanted: set[str], deadline_s: float) -> list[Transition]:
    """Everything in job.alerts, in order, once all that is wanted is there (and whatever else came in two seconds)."""
    reader, found = new_reader(settings), []
    await reader.start()
    try:
        tps = [TopicPartition(settings.topic(ALERTS), p) for p in range(settings.partitions)]
        reader.assign(tps)
        await reader.seek_to_beginning(*tps)
        until = asyncio.get_running_loop().time() + deadline_s
        while asyncio.get_running_loop().time() < until:
            for records in (await reader.getmany(timeout_ms=500)).values():
                found += [decode(r.value) for r in records if not (r.key or b"").startswith(STATUS_KEY)]
            if wanted <= {each.id for each in found} and until > asyncio.get_running_loop().time() + 2:
                until = asyncio.get_running_loop().time() + 2
    finally:
        await reader.stop()
    return found


def _out_of_order(found: list[Transition]) -> list[str]:
    """First sightings of one alert go forward in time."""
    wrong, newest, seen = [], dict[str, int](), set[str]()
    for each in found:
        if each.id not in seen and each.at_us < newest.get(each.fingerprint, 0):
            wrong.append(f"out of order: {each}")
        seen.add(each.id)
        newest[each.fingerprint] = max(newest.get(each.fingerprint, 0), each.at_us)
    return wrong


if __name__ == "__main__":
    main("Alerts: stage 2 killed while rules flap", run)
