"""Exports: a few at a time, and the place of one is free again however it ends."""

import asyncio
import threading
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from jobtide.query.analyst import MAX_EXPORTS, Analyst, Busy, Failed
from jobtide.query.routes.query import Download
from jobtide.streams.settings import load

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "asgi": {"spec_version": "2.4"}}


class Source:
    def __init__(self) -> None:
        self.pieces, self.closed = [b"a", b"b", b""], threading.Event()

    def read(self, size: int) -> bytes:
        return self.pieces.pop(0)

    def close(self) -> None:
        assert not self.closed.is_set(), "closed twice"
        self.closed.set()


class Faked(Analyst):
    """The real one, but for what it opens."""

    def __init__(self) -> None:
        super().__init__(load({}))
        self.sources: list[Source] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None

    def _opened(self, *arguments: Any) -> Any:
        self.gate.wait(60)
        if self.fault is not None:
            raise self.fault
        self.sources.append(Source())
        return self.sources[-1]

    async def ask(self) -> Any:
        return await self.export("SELECT 1", None, "CSV", {})

    async def free(self) -> None:
        """Waits until every place is free."""
        async with asyncio.timeout(60):
            while self._exports._value != MAX_EXPORTS:
                await asyncio.sleep(0.01)
        assert all(source.closed.is_set() for source in self.sources)


async def test_no_more_than_a_few_and_closing_one_makes_room() -> None:
    analyst = Faked()
    found = [await analyst.ask() for _ in range(MAX_EXPORTS)]
    with pytest.raises(Busy, match="under way"):
        await analyst.ask()
    assert [piece async for piece in found[0]] == [b"a", b"b"]
    for each in found:
        each.close()
        each.close()
    await analyst.free()
    (await analyst.ask()).close()
    await analyst.free()
    analyst.close()


@pytest.mark.parametrize("leaves", ["never", "at the start", "before the body"])
async def test_it_is_closed_whenever_the_client_leaves(leaves: str) -> None:
    analyst, sent = Faked(), list[Any]()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if leaves == "at the start" or (leaves == "before the body" and message["type"] == "http.response.body"):
            raise OSError("gone")

    response = Download(await analyst.ask(), "text/csv", {})
    try:
        await response(SCOPE, receive, send)
    except Exception:
        assert leaves != "never"
    await analyst.free()
    if leaves == "never":
        assert b"".join(message.get("body", b"") for message in sent) == b"ab"
    analyst.close()


async def test_one_that_is_given_up_while_it_opens_is_closed_when_it_is_open() -> None:
    analyst = Faked()
    analyst.gate.clear()
    asking = asyncio.create_task(analyst.ask())
    await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    analyst.gate.set()
    await analyst.free()
    analyst.close()


async def test_one_that_cannot_be_opened_leaves_its_place() -> None:
    analyst = Faked()
    analyst.fault = DatabaseError("Code: 241")
    for _ in range(2 * MAX_EXPORTS):
        with pytest.raises(Failed):
            await analyst.ask()
    await analyst.free()
    analyst.close()
