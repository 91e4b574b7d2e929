"""Blocking calls of asynchronous code: each kind in a thread of its own, repeated while the store is away.

A ClickHouse client belongs to its thread, hence one thread per kind of call. Only TransientError is waited for; anything else comes out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from jobtide.sinks.history_metrics import HistoryMetrics
from jobtide.streams.errors import TransientError

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0


class Stopped(Exception):  # not an error: the answer to a call that is not wanted any more
    """The call was given up, because the process stops or the caller's `wanted` says no."""


class Patience:
    """`stop` ends every wait with Stopped."""

    def __init__(self, stop: asyncio.Event, metrics: HistoryMetrics) -> None:
        self._stop = stop
        self._metrics = metrics
        self._threads: dict[str, ThreadPoolExecutor] = {}

    async def once(self, kind: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One call in the thread of its kind."""
        thread = self._threads.get(kind)
        if thread is None:
            thread = self._threads[kind] = ThreadPoolExecutor(1, thread_name_prefix=f"history-{kind}")
        return await asyncio.get_running_loop().run_in_executor(thread, lambda: function(*args, **kwargs))

    async def call(self, kind: str, wanted: Callable[[], bool], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same until it succeeds. Raises Stopped."""
        wait_s = FIRST_WAIT_S
        while True:
            if (self._stop.is_set() and wait_s > FIRST_WAIT_S) or not wanted():
                raise Stopped
            try:
                done = await self.once(kind, function, *args, **kwargs)
            except TransientError as error:
                self._metrics.retries += 1
                self._metrics.last_error = str(error)
                log.warning("history writer waits", extra={"call": kind, "reason": str(error), "wait_s": wait_s})
            else:
                self._metrics.last_error = ""
                return done
            await pause(self._stop, wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    def close(self) -> None:
        """Waits for calls that are running."""
        for thread in self._threads.values():
            thread.shutdown(wait=True, cancel_futures=True)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not longer than until `stop`."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
