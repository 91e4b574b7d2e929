"""The history writer's process: it ends in peace when it is stopped, and with what went wrong in either of its two parts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from jobtide.sinks import history
from jobtide.sinks.patience import Stopped
from jobtide.streams.errors import StoreRejected
from jobtide.streams.settings import load


@pytest.mark.parametrize("part", ["HistoryWriter", "AlertHistory"])
@pytest.mark.parametrize("error", [Stopped(), StoreRejected("no such table")])
async def test_either_part_ends_both(part: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def fake(name: str) -> Any:
        class Part:
            def __init__(self, *_: object) -> None: ...

            async def run(self, _: asyncio.Event) -> None:
                try:
                    await asyncio.sleep(0 if name == part else 3600)
                    raise error
                finally:
                    ended.append(name)

        return Part

    monkeypatch.setattr(history.migrate, "prepare", lambda _: None)
    for name in ("HistoryWriter", "AlertHistory"):
        monkeypatch.setattr(history, name, fake(name))
    running = history.run(load({}), asyncio.Event())
    if isinstance(error, Stopped):
        await running
    else:
        with pytest.raises(StoreRejected, match="no such table"):
            await running
    assert sorted(ended) == ["AlertHistory", "HistoryWriter"]
