"""The fault runs can fail: workers with one guarantee taken out, under the same load and the same judge, are found to
be wrong.

    python -m tests.proof.mutations [--full]

A mutant passes when a run of it loses or doubles something. One run may end well by luck, so there are up to six,
each with another seed. With --full also the one that needs a zombie.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import uuid
from collections.abc import Awaitable, Callable

from tests.chaos.mutant_worker import ARM
from tests.proof.command import Figures, Servers, main
from tests.proof.installation import Fleet, Installation, Progress
from tests.proof.verdict import Verdict, judge
from tests.servers import create_topics

TRIES = 6
SESSION_MS = 3000  # nothing is measured here: let the dead be replaced soon
Fault = Callable[[Fleet, Progress, Callable[[], Awaitable[None]]], Awaitable[None]]  # the last ends the load


def run(full: bool, servers: Servers) -> Figures:
    """Per mutant: what the judge found, and in which try."""
    figures: Figures = {}
    for mutant in FAULTS if full else SHORT:
        figures[mutant] = asyncio.run(caught(mutant, FAULTS[mutant], servers))
    figures["passed"] = all(figures.values())
    return figures


async def caught(mutant: str, fault: Fault, servers: Servers) -> str:
    """What was found, or "" if nothing was in any try."""
    for seed in range(1, TRIES + 1):
        verdict = await _try(mutant, fault, seed, servers)
        found = f"{verdict.lost} lost, {verdict.doubled} doubled of {verdict.facts}, try {seed}"
        print(f"  mutant {mutant}: {found}", flush=True)
        if verdict.lost or verdict.doubled:
            return found
    return ""


async def _try(mutant: str, fault: Fault, seed: int, servers: Servers) -> Verdict:
    prefix = f"mu{uuid.uuid4().hex[:6]}."
    installation = Installation(servers.broker, servers.redis_url, prefix, servers.directory, session_timeout_ms=SESSION_MS)
    await create_topics(installation.broker, prefix, installation.partitions)
    load, stop = installation.load(seed), asyncio.Event()
    async with Fleet(installation, ("-m", "tests.chaos.mutant_worker", mutant)) as fleet, Progress(installation) as progress:
        fleet.add("worker0")
        fleet.add("worker1")
        sending = asyncio.create_task(load.run(stop))
        await progress.beyond({}, 60)
        await asyncio.sleep(3)

        async def end_load() -> None:
            stop.set()
            await sending

        await fault(fleet, progress, end_load)
        return await judge(installation, load)


async def _under_load(fleet: Fleet, progress: Progress, end_load: Callable[[], Awaitable[None]]) -> None:
    """One worker ends where its mutant says."""
    starts = fleet.starts("worker0")
    fleet.signal("worker0", ARM)
    await fleet.until_restarted("worker0", starts)
    await asyncio.sleep(0.3)
    await progress.beyond(dict(progress.applied), 60)
    await end_load()


async def _at_the_end(fleet: Fleet, progress: Progress, end_load: Callable[[], Awaitable[None]]) -> None:
    """As the last events are folded: under load a later event of the same minute would make up for what was not sent."""
    await end_load()
    starts = {name: fleet.starts(name) for name in ("worker0", "worker1")}
    for name in starts:
        fleet.signal(name, ARM)
    for name, before in starts.items():
        with contextlib.suppress(TimeoutError):  # the last minutes may all have gone out between two flushes
            await fleet.until_restarted(name, before, deadline_s=10)


async def _zombie(fleet: Fleet, progress: Progress, end_load: Callable[[], Awaitable[None]]) -> None:
    """Worker 0 stands still inside a flush until worker 1 has its partitions, and goes on."""
    fleet.signal("worker0", ARM)
    await asyncio.sleep(SESSION_MS / 1000 * 2)
    await progress.beyond(dict(progress.applied), 60)
    await asyncio.sleep(2)
    starts = fleet.starts("worker0")
    fleet.signal("worker0", signal.SIGCONT)
    await fleet.until_restarted("worker0", starts)  # its watchdog
    starts = fleet.starts("worker1")
    fleet.kill("worker1")  # only who recovers reads what the zombie wrote
    await fleet.until_restarted("worker1", starts)
    await progress.beyond(dict(progress.applied), 60)
    await end_load()


FAULTS: dict[str, Fault] = {"split": _under_load, "outputs-last": _at_the_end, "no-owners": _zombie}
SHORT = ("split", "outputs-last")

if __name__ == "__main__":
    main("Mutants: the judge notices", run)
