"""D4: workers join and leave under load: one, then four, then two; in the long form also one more and one less every 30
s for 5 min.

    python -m tests.proof.d4_rebalance [--full]

Passes when nothing is lost or doubled, and the workers are again at most 3 s behind the end of the log within 60 s
after the last change.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.proof.command import Figures, Servers, main
from tests.proof.installation import Fleet, Installation, Progress
from tests.proof.readout import members
from tests.proof.verdict import judge
from tests.servers import create_topics

SEED = 5
BEHIND_S = 3.0
CLEARED_S = 60.0
EVERY_S = 30.0


def run(full: bool, servers: Servers) -> Figures:
    return asyncio.run(_run(10 if full else 0, servers))


async def _run(changes: int, servers: Servers) -> Figures:
    prefix = f"d4{uuid.uuid4().hex[:6]}."
    installation = Installation(servers.broker, servers.redis_url, prefix, servers.directory)
    await create_topics(installation.broker, prefix, installation.partitions)
    load, stop = installation.load(SEED), asyncio.Event()
    cleared: list[float] = []
    async with Fleet(installation) as fleet, Progress(installation) as progress:
        fleet.add("worker0")
        sending = asyncio.create_task(load.run(stop))
        await progress.beyond({}, 60)
        for number in (1, 2, 3):
            fleet.add(f"worker{number}")
        cleared.append(await _caught_up(installation, fleet, progress))
        await asyncio.gather(fleet.remove("worker0"), fleet.remove("worker2"))  # the one that had everything, and another
        cleared.append(await _caught_up(installation, fleet, progress))
        for number in range(changes):
            changed_s = time.monotonic()
            if number % 2:
                await fleet.remove(f"worker{3 + number}")
            else:
                fleet.add(f"worker{4 + number}")
            cleared.append(await _caught_up(installation, fleet, progress))
            await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - changed_s)))
        stop.set()
        await sending
        verdict = await judge(installation, load)
        restarts = fleet.restarts
    return {
        "seed": SEED,
        "events sent": load.sent,
        "changes": len(cleared),
        "workers that ended by themselves": restarts,
        "cleared_s max": round(max(cleared), 1),
        "cleared_s after the last": round(cleared[-1], 1),
        **verdict.figures(),
        "passed": verdict.exact and max(cleared) <= CLEARED_S and restarts == 0,
    }


async def _caught_up(installation: Installation, fleet: Fleet, progress: Progress) -> float:
    """Seconds until all workers have joined and every partition has moved and is not behind where the log ended `BEHIND_S` ago."""
    started_s, ends = time.monotonic(), deque[tuple[float, dict[int, int]]]()
    while await members(installation) != len(fleet):
        if time.monotonic() - started_s > CLEARED_S:
            raise TimeoutError(f"not all of {len(fleet)} workers have joined")
        await asyncio.sleep(0.25)
    joined_s = time.monotonic() - started_s
    await progress.beyond(dict(progress.applied), 2 * CLEARED_S)
    consumer = AIOKafkaConsumer(bootstrap_servers=installation.broker)
    await consumer.start()
    try:
        tps = [TopicPartition(installation.events, p) for p in range(installation.partitions)]
        while True:
            now_s = time.monotonic()
            ends.append((now_s, {tp.partition: end for tp, end in (await consumer.end_offsets(tps)).items()}))
            while len(ends) > 1 and ends[1][0] <= now_s - BEHIND_S:
                ends.popleft()
            behind = [p for p, end in ends[0][1].items() if progress.applied.get(p, -1) + 1 < end]
            if not behind:
                took_s = time.monotonic() - started_s
                print(f"  {len(fleet)} workers: joined after {joined_s:.1f} s, caught up after {took_s:.1f} s", flush=True)
                return took_s
            if now_s - started_s > 2 * CLEARED_S:
                raise TimeoutError(f"partitions {behind} are behind after {now_s - started_s:.0f} s")
            await asyncio.sleep(0.25)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    main("D4: workers join and leave under load", run)
