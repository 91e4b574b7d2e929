"""D3 for the stages: workers killed under load, also inside the flush; and one that sleeps past its session and goes
on.

    python -m tests.proof.d3_kills [--full]

Two workers share the partitions. They are killed in turn: at random, and at each point between a flush's effects. At
last one is frozen in the middle of a flush for longer than its session, so that the other takes over, and wakes up
with a checkpoint to send: a zombie. Passes when nothing is lost or doubled and each time all partitions move again
within 30 s.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from random import Random
from statistics import median

from tests.chaos.crashing_worker import FREEZE_AT_PUBLISHED, KILL_AT
from tests.proof.command import Figures, Servers, main
from tests.proof.installation import Fleet, Installation, Progress
from tests.proof.verdict import judge
from tests.servers import create_topics

SEED = 3
RECOVERY_S = 30.0
FROZEN_S = 15.0
CRASHING = ("-m", "tests.chaos.crashing_worker")
WORKERS = ("worker0", "worker1")
HOW = ("published", "submitted", "at random", "durable")


def run(full: bool, servers: Servers) -> Figures:
    """20 kills and 2 zombies, or 3 and 1."""
    return asyncio.run(_run(20 if full else 3, 2 if full else 1, servers))


async def _run(kills: int, zombies: int, servers: Servers) -> Figures:
    installation = Installation(servers.broker, servers.redis_url, f"d3{uuid.uuid4().hex[:6]}.", servers.directory)
    await create_topics(installation.broker, installation.prefix, installation.partitions)
    load, stop = installation.load(SEED), asyncio.Event()
    random, recoveries, woken = Random(SEED), [], []
    async with Fleet(installation, CRASHING) as fleet, Progress(installation) as progress:
        for name in WORKERS:
            fleet.add(name)
        sending = asyncio.create_task(load.run(stop))
        await progress.beyond({}, 60)
        for number in range(kills):
            await asyncio.sleep(random.uniform(1, 3))
            recoveries.append(await _kill(fleet, progress, WORKERS[number % 2], HOW[number % len(HOW)]))
        for number in range(zombies):
            await asyncio.sleep(random.uniform(2, 4))
            woken.append(await _zombie(fleet, progress, WORKERS[number % 2]))
        stop.set()
        await sending
        verdict = await judge(installation, load)
        restarts = fleet.restarts
    return {
        "seed": SEED,
        "events sent": load.sent,
        "SIGKILLs": kills,
        "zombies": zombies,
        "restarts": restarts,
        "recovery_s median": round(median(recoveries), 1),
        "recovery_s max": round(max(recoveries), 1),
        "recovery_s after zombies": [round(s, 1) for s in woken],
        **verdict.figures(),
        "passed": verdict.exact and max(*recoveries, *woken) <= RECOVERY_S and restarts >= kills + zombies,
    }


async def _kill(fleet: Fleet, progress: Progress, name: str, how: str) -> float:
    """Seconds from the new start until every partition moves."""
    starts = fleet.starts(name)
    if how in KILL_AT:
        fleet.signal(name, KILL_AT[how])
    else:
        fleet.kill(name)
    started_s = await fleet.until_restarted(name, starts)
    await asyncio.sleep(0.3)  # what was on its way has arrived by now
    await progress.beyond(dict(progress.applied), 2 * RECOVERY_S)
    took_s = time.monotonic() - started_s
    print(f"  killed {name} ({how}): all partitions move again after {took_s:.1f} s", flush=True)
    return took_s


async def _zombie(fleet: Fleet, progress: Progress, name: str) -> float:
    """Seconds from waking up until every partition moves."""
    fleet.signal(name, FREEZE_AT_PUBLISHED)
    await asyncio.sleep(FROZEN_S)
    await progress.beyond(dict(progress.applied), 2 * RECOVERY_S)  # the other worker has them all
    starts, woken_s = fleet.starts(name), time.monotonic()
    fleet.signal(name, signal.SIGCONT)
    await fleet.until_restarted(name, starts)
    await asyncio.sleep(3)  # its last write ends the other too, which then cannot know what else was overwritten
    await progress.beyond(dict(progress.applied), 2 * RECOVERY_S)
    took_s = time.monotonic() - woken_s
    print(f"  {name} woke up: all partitions move again after {took_s:.1f} s", flush=True)
    return took_s


if __name__ == "__main__":
    main("D3: workers killed, frozen and woken under load", run)
