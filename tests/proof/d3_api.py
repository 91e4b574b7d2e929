"""D3 for the query API: killed under load. It keeps nothing, so what counts is that it answers again, and right.

    python -m tests.proof.d3_api [--full]

The stack and the judge are those of `d3_history`.
"""

from __future__ import annotations

import asyncio
import time

from tests.proof.command import Figures, Servers, main
from tests.proof.d3_history import RECOVERY_S, Stack, killing


def run(full: bool, servers: Servers) -> Figures:
    """20 kills, or 3."""
    return asyncio.run(killing(kill_api, 20 if full else 3, servers))


async def kill_api(stack: Stack) -> float:
    starts = stack.fleet.starts("api")
    stack.fleet.kill("api")
    started_s = await stack.fleet.until_restarted("api", starts)
    await stack.answers(2 * RECOVERY_S)
    return time.monotonic() - started_s


if __name__ == "__main__":
    main("D3: the query API killed under load", run)
