"""`jobtide up` under live HTTP load: its children killed in turn, `up` itself killed and started again on the same
data.

    python -m tests.proof.up_kills [--full]

A fifth of the events is sent twice, and more when a request's answer is lost with its server. Passes when `/v1` from
the hot state and from history, per class and per minute, equals the ledger exactly. It starts all its servers
itself.
"""

from __future__ import annotations

import asyncio
import time
from random import Random

import httpx

from tests.proof.command import Figures, Servers, main
from tests.proof.history_readout import classes, per_minute, without_sums
from tests.proof.ledger import Ledger, by_series
from tests.proof.load import Load
from tests.proof.to_gateway import ToGateway
from tests.proof.traffic import rfc3339
from tests.proof.verdict import Verdict
from tests.up_process import UpProcess, up

SEED = 7
EVENTS_PER_S = 1000
CHILDREN = ("worker", "edge", "kafka", "valkey")
BACK_S = 30.0
EXACT_S = 120.0
METRICS = ("enqueued", "started", "finished", "failed", "retried", "dead")


def run(full: bool, servers: Servers) -> Figures:
    """Each child and `up` itself five times, or once."""
    with up(servers.directory / "up") as process:
        return asyncio.run(_run(5 if full else 1, process, servers))


async def _run(rounds: int, process: UpProcess, servers: Servers) -> Figures:
    url = f"http://127.0.0.1:{process.port}"
    sender, random, stop = ToGateway(url), Random(SEED), asyncio.Event()
    load, back_s, ready_s = Load(sender, servers.directory / "up.ledger", SEED, EVENTS_PER_S), list[float](), list[float]()
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        sending = asyncio.create_task(load.run(stop))
        for _ in range(rounds):
            for name in CHILDREN:
                await asyncio.sleep(random.uniform(2, 5))
                back_s.append(await _kill(process, client, name))
            await asyncio.sleep(random.uniform(2, 5))
            await asyncio.to_thread(process.kill)
            ready_s.append(await asyncio.to_thread(process.start))
            print(f"  killed up: a second one is ready after {ready_s[-1]:.1f} s", flush=True)
        await asyncio.sleep(3)
        stop.set()
        await sending
        started_s, verdict = time.monotonic(), Verdict()
        while not (verdict := await _compared(load, client)).exact and time.monotonic() < started_s + EXACT_S:
            await asyncio.sleep(1)
        verdict.settled_s = time.monotonic() - started_s
        await asyncio.sleep(3)  # what would be counted twice would come now
        verdict.add(await _compared(load, client))
    return {
        "seed": SEED,
        "events sent": load.sent,
        "different events": load.made,
        "requests repeated": sender.again,
        "SIGKILLs of children": len(back_s),
        "SIGKILLs of up": len(ready_s),
        "answers again_s max": round(max(back_s), 1),
        "second up ready_s max": round(max(ready_s), 1),
        **verdict.figures(),
        "passed": verdict.exact and max(back_s) <= BACK_S and max(ready_s) <= 60,
    }


async def _kill(process: UpProcess, client: httpx.AsyncClient, name: str) -> float:
    """Seconds until another one has taken its place and the API has all it needs."""
    killed_s = time.monotonic()
    await asyncio.to_thread(process.kill_child, name)
    while True:
        try:
            if (await client.get("/readyz")).status_code == 200:
                break
        except httpx.TransportError:
            pass
        if time.monotonic() > killed_s + 3 * BACK_S:
            raise TimeoutError(f"not ready {3 * BACK_S:.0f} s after {name} was killed:\n{process.text()}")
        await asyncio.sleep(0.1)
    took_s = time.monotonic() - killed_s
    print(f"  killed {name}: ready again after {took_s:.1f} s", flush=True)
    return took_s


async def _compared(load: Load, client: httpx.AsyncClient) -> Verdict:
    verdict, minutes = Verdict(), Ledger(load.ledger_path).truth(60)
    should = without_sums(by_series(minutes))
    verdict.facts = sum(n for counted in minutes.values() for n in counted.counts.values())
    first_s, last_s = min(start for _, start in minutes), max(start for _, start in minutes) + 60
    span = {"from": rfc3339(first_s * 1_000_000), "to": rfc3339(last_s * 1_000_000)}
    verdict.compare("/v1/classes, live", should, await classes(client, last="1h"))
    verdict.compare("/v1/classes, history", should, await classes(client, **span))
    for metric in METRICS:
        by_minute = dict.fromkeys(range(first_s, last_s, 60), 0)
        for (_, start_s), counted in minutes.items():
            by_minute[start_s] += counted.counts.get(metric, 0)
        if (told := await per_minute(client, metric, **span)) != by_minute:
            verdict.differences.append(f"/v1/series of {metric} by minute: {by_minute} should be, found {told}")
    return verdict


if __name__ == "__main__":
    main("jobtide up: its children and itself killed under HTTP load", run)
