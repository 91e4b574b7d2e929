"""Workers whose Faust loses one fetched batch in twenty and repeats another: every hole is read again.

    python -m tests.proof.lossy_delivery [--full]
"""

from __future__ import annotations

import asyncio
import uuid

from tests.proof.command import Figures, Servers, main
from tests.proof.installation import Fleet, Installation, Progress
from tests.proof.verdict import judge
from tests.servers import create_topics

SEED = 8


def run(full: bool, servers: Servers) -> Figures:
    """60 s of load, or 10."""
    return asyncio.run(_run(60 if full else 10, servers))


async def _run(seconds: float, servers: Servers) -> Figures:
    prefix = f"lo{uuid.uuid4().hex[:6]}."
    installation = Installation(servers.broker, servers.redis_url, prefix, servers.directory)
    await create_topics(installation.broker, prefix, installation.partitions)
    load, stop = installation.load(SEED), asyncio.Event()
    async with Fleet(installation, ("-m", "tests.chaos.lossy_worker")) as fleet, Progress(installation) as progress:
        fleet.add("worker0")
        fleet.add("worker1")
        sending = asyncio.create_task(load.run(stop))
        await progress.beyond({}, 60)
        await asyncio.sleep(seconds)
        stop.set()
        await sending
        verdict = await judge(installation, load)
        holes = sum(fleet.log(name, 100_000).count("reading again") for name in ("worker0", "worker1"))
        restarts = fleet.restarts
    return {
        "seed": SEED,
        "events sent": load.sent,
        "holes read again": holes,
        "workers that ended by themselves": restarts,
        **verdict.figures(),
        "passed": verdict.exact and holes > 0 and restarts == 0,
    }


if __name__ == "__main__":
    main("Fetched batches lost and repeated", run)
