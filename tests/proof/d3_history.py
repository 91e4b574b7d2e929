"""D3 for the history writer: killed under load in the middle of its work, against a real ClickHouse server.

    python -m tests.proof.d3_history [--full]

A worker, the writer and the API run. Passes when events, executions and minute rollups in ClickHouse, and the API's
answers from history and live, equal the ledger exactly, and the writer commits again within 30 s of each new start.
`d3_api` kills the API instead.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import httpx
from jobtide.cli.embedded import ports

from tests.clickhouse_server import clickhouse
from tests.proof.command import Figures, Servers, main
from tests.proof.history_readout import ClickHouse, classes, without_sums
from tests.proof.installation import Fleet, Installation
from tests.proof.ledger import Ledger, by_series
from tests.proof.load import Load
from tests.proof.readout import committed
from tests.proof.traffic import rfc3339
from tests.proof.verdict import Verdict, judge
from tests.servers import create_topics

SEED = 6
RECOVERY_S = 30.0
HISTORY_S = 90.0  # the last minutes are recomputed within
DATABASE = "jobtide"


def run(full: bool, servers: Servers) -> Figures:
    """20 kills, or 3."""
    return asyncio.run(killing(kill_writer, 20 if full else 3, servers))


@dataclass
class Stack:
    """What runs, for those who kill it."""

    installation: Installation
    fleet: Fleet
    client: httpx.AsyncClient

    async def answers(self, deadline_s: float) -> None:
        """Wait until the API answers both from the hot state and from history."""
        limit_s = time.monotonic() + deadline_s
        while True:
            try:
                live = await self.client.get("/v1/classes", params={"last": "1h"})
                history = await self.client.get("/v1/classes", params={"last": "2h"})
                if live.status_code == history.status_code == 200 and not live.json()["degraded"]:
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > limit_s:
                raise TimeoutError(f"the API does not answer after {deadline_s:.0f} s")
            await asyncio.sleep(0.1)


Kill = Callable[[Stack], Awaitable[float]]  # gives the seconds from the new start until it works


async def kill_writer(stack: Stack) -> float:
    group = stack.installation.prefix + "jobtide-history"
    starts = stack.fleet.starts("sink")
    stack.fleet.kill("sink")
    before = await committed(stack.installation, group)
    started_s = await stack.fleet.until_restarted("sink", starts)
    while any(offset <= before.get(p, -1) for p, offset in (await committed(stack.installation, group)).items()):
        if time.monotonic() - started_s > 2 * RECOVERY_S:
            raise TimeoutError(f"the history writer commits nothing after {2 * RECOVERY_S:.0f} s")
        await asyncio.sleep(0.2)
    return time.monotonic() - started_s


async def killing(kill: Kill, kills: int, servers: Servers) -> Figures:
    with clickhouse(servers.directory / "clickhouse") as server:
        return await _run(kill, kills, server.address, servers)


async def _run(kill: Kill, kills: int, clickhouse_url: str, servers: Servers) -> Figures:
    port, prefix = ports.free_block(1), f"hi{uuid.uuid4().hex[:6]}."
    installation = Installation(servers.broker, servers.redis_url, prefix, servers.directory)
    await create_topics(installation.broker, prefix, installation.partitions)
    history = {"JOBTIDE_CLICKHOUSE_URL": clickhouse_url, "JOBTIDE_CLICKHOUSE_DATABASE": DATABASE}
    load, stop, random, took_s = installation.load(SEED), asyncio.Event(), Random(SEED), list[float]()
    async with Fleet(installation) as fleet, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        stack = Stack(installation, fleet, client)
        fleet.add("worker")
        fleet.add("sink", ("-m", "jobtide.cli", "sink"), **history)
        fleet.add("api", ("-m", "jobtide.cli", "api", "--port", str(port)), **history)
        sending = asyncio.create_task(load.run(stop))
        await stack.answers(60)
        for _ in range(kills):
            await asyncio.sleep(random.uniform(1, 4))
            took_s.append(await kill(stack))
            print(f"  killed: works again after {took_s[-1]:.1f} s", flush=True)
        stop.set()
        await sending
        verdict = await judge(installation, load)
        await stack.answers(60)
        await _history(load, ClickHouse(clickhouse_url, DATABASE), client, verdict)
        restarts = fleet.restarts
    return {
        "seed": SEED,
        "events sent": load.sent,
        "different events": load.made,
        "SIGKILLs": kills,
        "restarts": restarts,
        "recovery_s max": round(max(took_s), 1),
        **verdict.figures(),
        "passed": verdict.exact and max(took_s) <= RECOVERY_S and restarts == kills,
    }


async def _history(load: Load, found: ClickHouse, client: httpx.AsyncClient, verdict: Verdict) -> None:
    """Add what history says to the verdict: what it says at last counts, for it follows by a recomputation."""
    deadline_s = time.monotonic() + HISTORY_S
    while True:
        now = await _compared(load, found, client)
        if now.exact or time.monotonic() > deadline_s:
            break
        await asyncio.sleep(1)
    await found.close()
    verdict.add(now)


async def _compared(load: Load, found: ClickHouse, client: httpx.AsyncClient) -> Verdict:
    ledger, verdict = Ledger(load.ledger_path), Verdict()
    minutes = ledger.truth(60)
    should = by_series(minutes)
    first_s, last_s = min(start for _, start in minutes), max(start for _, start in minutes) + 60
    verdict.facts = sum(n for counted in minutes.values() for n in counted.counts.values())
    verdict.compare("rollups", minutes, await found.rollups())
    verdict.compare("executions", should, await found.executions())
    span = {"from": rfc3339(first_s * 1_000_000), "to": rfc3339(last_s * 1_000_000)}
    verdict.compare("/v1/classes, history", without_sums(should), await classes(client, **span))
    verdict.compare("/v1/classes, live", without_sums(should), await classes(client, last="1h"))
    if (told := await found.events()) != (load.made, load.made):
        verdict.differences.append(f"job_events: {told} rows and ids, {load.made} sent")
    return verdict


if __name__ == "__main__":
    main("D3: the history writer killed under load", run)
