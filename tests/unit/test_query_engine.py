"""The engine: identical questions at one time are one, others are not, errors reach all that wait, and callers may go away."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from jobtide.query.engine import MAX_WAITING, Engine
from jobtide.query.readers import Unavailable
from jobtide.streams.errors import TransientError
from jobtide.streams.settings import load


class Slow:
    """In the place of ClickHouse: answers when it is let go, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.go = threading.Event()
        self.error: Exception | None = None

    def rows(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        self.asked.append(parameters)
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error
        return [(len(self.asked),)]

    def close(self) -> None:
        self.go.set()


@pytest.fixture
def store() -> Slow:
    return Slow()


@pytest.fixture
def engine(store: Slow) -> Engine:
    made = Engine(load({}))
    made._clickhouse = store  # type: ignore[assignment]
    return made


async def test_identical_questions_are_asked_once_and_only_while_one_runs(engine: Engine, store: Slow) -> None:
    same = [asyncio.ensure_future(engine.ask("deploys", {"tenant": "a", "x": n // 5})) for n in range(10)]
    await asyncio.sleep(0)
    same[0].cancel()  # one that goes away takes nothing from the others
    store.go.set()
    answers = await asyncio.gather(*same[1:])
    assert len(store.asked) == 2
    assert all(rows for rows in answers)
    await engine.ask("deploys", {"tenant": "a", "x": 0})
    assert len(store.asked) == 3, "an answer is not kept"
    engine.close()


async def test_an_error_reaches_all_that_wait(engine: Engine, store: Slow) -> None:
    store.error = TransientError("ClickHouse: away")
    waiting = [asyncio.ensure_future(engine.ask("deploys", {})) for _ in range(3)]
    await asyncio.sleep(0)
    store.go.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(error) for error in found] == ["away"] * 3
    assert all(isinstance(error, Unavailable) for error in found)
    engine.close()


async def test_too_many_different_questions_are_refused(engine: Engine, store: Slow) -> None:
    waiting = [asyncio.ensure_future(engine.ask("deploys", {"n": n})) for n in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="waiting"):
        await engine.ask("deploys", {"n": -1})
    store.go.set()
    await asyncio.gather(*waiting)
    engine.close()
