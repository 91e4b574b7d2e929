"""Remembers answers for a moment, and lets everyone who asks meanwhile wait for the same one.

For what every answer needs and costs a query: progress and completeness. Not a cache of answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

MAX_ENTRIES = 512


class Brief(Generic[V]):
    """`keep_s`: how old an answer may be, counted from when it was asked for."""

    def __init__(self, keep_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._tasks: dict[Hashable, tuple[float, asyncio.Task[V]]] = {}

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer to `key`, from `ask` if there is none young enough. An error goes to all that wait and is not
        kept.
        """
        now = self._clock()
        found = self._tasks.get(key)
        if found is None or now - found[0] >= self._keep_s or _failed(found[1]):
            self._forget(now)
            found = self._tasks[key] = (now, asyncio.ensure_future(_run(ask)))
        # Shielded: one caller that goes away must not take the answer from the others.
        return await asyncio.shield(found[1])

    def _forget(self, now: float) -> None:
        for key in [key for key, (at, task) in self._tasks.items() if task.done() and now - at >= self._keep_s]:
            del self._tasks[key]
        while len(self._tasks) >= MAX_ENTRIES:
            del self._tasks[next(iter(self._tasks))]


async def _run(ask: Callable[[], Awaitable[V]]) -> V:
    return await ask()


def _failed(task: asyncio.Task[V]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
