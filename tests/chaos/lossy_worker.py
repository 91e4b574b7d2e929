"""A worker whose Faust loses some of what it fetched, and hands other batches over twice: `python -m tests.chaos.lossy_worker`.

Faust has done both around rebalances. Nothing else is changed: the stages have to notice.
"""

from __future__ import annotations

import sys
from random import Random
from typing import Any

from jobtide.streams.agents.coalescing import CoalescingConsumer

LOST, TWICE = 0.05, 0.05
random = Random(8)


def install() -> None:
    fetch = CoalescingConsumer._wait_next_records

    async def unreliable(self: CoalescingConsumer, timeout: float) -> tuple[Any, Any]:
        records, active = await fetch(self, timeout)
        kept = {}
        for tp, fetched in (records or {}).items():
            if random.random() >= LOST:
                kept[tp] = fetched * 2 if random.random() < TWICE else fetched
        return kept, active

    CoalescingConsumer._wait_next_records = unreliable  # type: ignore[method-assign]


if __name__ == "__main__":
    from jobtide.cli.main import main

    install()
    sys.argv[1:] = ["worker"]
    main()
