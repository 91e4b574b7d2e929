"""The notifier under SIGKILL: killed while alerts flap, also between sending and noting that it was sent.

    python -m tests.proof.notifier_kills [--full]

Passes when a receiver that takes each webhook-id once was told every transition exactly once, each alert's in order, every repetition had the
same bytes, and the standardwebhooks library verified every signature.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from random import Random

from jobtide.streams.agents.kafka import new_producer
from jobtide.streams.alerts.transitions import Transition, encode
from jobtide.streams.settings import Settings
from jobtide.streams.topics import ALERTS

from tests.chaos.crashing_notifier import AT
from tests.proof.command import Figures, Servers, main
from tests.proof.endpoints import Endpoint
from tests.proof.installation import Fleet, Installation
from tests.properties.alert_series import random_log, rules, straight
from tests.servers import create_topics

SEED = 5
PARTITIONS = 2
NOTIFIER = ("-m", "tests.chaos.crashing_notifier")
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def run(full: bool, servers: Servers) -> Figures:
    """20 kills, or 4."""
    return asyncio.run(_run(20 if full else 4, 3000 if full else 900, servers))


def receivers(url: str, interval: str = "0") -> str:
    return f"""
receivers: [{{name: hook, kind: webhook, url: "{url}", secrets: ["{SECRET}"]}}]
routes: [{{receivers: [hook], interval: "{interval}"}}]
inhibit: []
"""


async def _run(kills: int, length_s: int, servers: Servers) -> Figures:
    installation = Installation(servers.broker, servers.redis_url, f"no{uuid.uuid4().hex[:6]}.", servers.directory, PARTITIONS, 6_000)
    await create_topics(installation.broker, installation.prefix, PARTITIONS)
    settings = Settings(broker=servers.broker, topic_prefix=installation.prefix, partitions=PARTITIONS)
    story = straight(random_log(SEED, 40, length_s), rules())
    wanted = [each for each in story if each.state in ("firing", "resolved")]
    random = Random(SEED)
    async with Endpoint(SECRET, lambda _: (204, {}, random.uniform(0, 0.02))) as hook:
        file = servers.directory / f"{installation.prefix}receivers.yaml"
        file.write_text(receivers(hook.url))
        async with Fleet(installation, NOTIFIER) as fleet:
            for name in ("notifier0", "notifier1"):
                fleet.add(name, JOBTIDE_RECEIVERS=str(file), JOBTIDE_WEBHOOK_ALLOW="127.0.0.0/8")
            telling = asyncio.create_task(_tell(settings, story, kills * 5.0, random))
            for number in range(kills):
                await asyncio.sleep(random.uniform(3, 5))
                how, name = random.choice(["at random", *AT]), f"notifier{number % 2}"
                before = fleet.starts(name)
                if how in AT:
                    fleet.signal(name, AT[how])
                    await asyncio.sleep(2)
                if fleet.starts(name) == before:  # the one that stands by has nothing to do where it could be killed
                    fleet.kill(name)
                await fleet.until_restarted(name, before, 90)
                print(f"  killed {name} ({how})", flush=True)
            await telling
            until = asyncio.get_running_loop().time() + 120
            while len(hook.alerts()) < len(wanted) and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(0.5)
            await asyncio.sleep(2)
            restarts = fleet.restarts
    told = hook.alerts()
    wrong = _compared(wanted, [each["id"] for each in told])
    return {
        "seed": SEED, "SIGKILLs": kills, "restarts": restarts, "transitions": len(wanted), "requests": len(hook.seen),
        "repeated": len(hook.seen) - len({each.id for each in hook.seen}), "bad signatures": hook.bad_signatures,
        "same id, other bytes": len(hook.changed_bytes()), "wrong": wrong[:10],
        "passed": not wrong and not hook.bad_signatures and not hook.changed_bytes() and restarts >= kills and len(wanted) > 100,
    }  # fmt: skip


async def _tell(settings: Settings, story: list[Transition], over_s: float, random: Random) -> None:
    """Transitions as stage 2 sends them: now and then some come twice."""
    from zlib import crc32

    producer = new_producer(settings)
    await producer.start()
    try:
        at = 0
        while at < len(story):
            batch = story[at : at + max(1, int(len(story) / over_s / 5))]
            for each in [*batch, *(batch if random.random() < 0.1 else ())]:
                key = each.fingerprint.encode()
                await producer.send(settings.topic(ALERTS), encode(each), key=key, partition=crc32(key) % settings.partitions)
            at += len(batch)
            await asyncio.sleep(0.2)
        await producer.flush()
    finally:
        await producer.stop()


def _compared(wanted: list[Transition], told: list[str]) -> list[str]:
    by_id = {each.id: each for each in wanted}
    wrong = [f"told {told.count(id_)} times: {by_id[id_].rule} {by_id[id_].state}" for id_ in by_id if told.count(id_) != 1]
    wrong += [f"nobody said {id_}" for id_ in told if id_ not in by_id]
    newest: dict[str, int] = {}
    for id_ in told:
        each = by_id.get(id_)
        if each is not None:
            if each.at_us < newest.get(each.fingerprint, 0):
                wrong.append(f"out of order: {each.rule} {each.state}")
            newest[each.fingerprint] = each.at_us
    return wrong


if __name__ == "__main__":
    main("Alerts: the notifier killed while it tells", run)
