"""Work that many ask for at once is done once: whoever asks while it is under way gets the same answer. Not a cache: what is over is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Of one event loop."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._under_way: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """One that leaves does not take the answer from the others."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._work())
        return await asyncio.shield(self._under_way)
