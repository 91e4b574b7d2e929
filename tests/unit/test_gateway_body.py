"""Reading a request body: bounded in bytes and time whatever comes, whole when it is whole."""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from jobtide.gateway import body

PLAIN = b'{"x": 1}\n' * 1000


async def chunks(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def take(data: bytes, encoding: str = "identity", limit: int = 1 << 20, size: int = 7) -> tuple[bytes, int]:
    """(body, bytes accounted for)."""
    counted: list[int] = []
    return await body.read(chunks(data, size), encoding, limit, counted.append), sum(counted)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
async def test_whole_bodies_come_out_whole_and_are_accounted_for(size: int) -> None:
    assert await take(PLAIN, size=size) == (PLAIN, len(PLAIN))
    assert await take(gzip.compress(PLAIN), "gzip", size=size) == (PLAIN, len(PLAIN))
    members = gzip.compress(PLAIN) + gzip.compress(b"more")
    assert await take(members, "gzip", size=size) == (PLAIN + b"more", len(PLAIN) + 4)
    assert await take(b"", "gzip") == (b"", 0)


@pytest.mark.parametrize("size", [7, 1 << 20])
async def test_the_limit_is_exact_before_and_after_gunzip(size: int) -> None:
    for data, encoding in ((PLAIN, "identity"), (gzip.compress(PLAIN), "gzip")):
        assert (await take(data, encoding, limit=len(PLAIN), size=size))[0] == PLAIN
        with pytest.raises(body.BodyTooLarge):
            await take(data, encoding, limit=len(PLAIN) - 1, size=size)


async def test_a_decompression_bomb_costs_the_limit_and_no_more() -> None:
    bomb = gzip.compress(bytes(100 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(body.BodyTooLarge):
            await take(bomb, "gzip", limit=200_000, size=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


async def test_broken_and_cut_streams_are_told_apart_from_whole_ones() -> None:
    whole = gzip.compress(PLAIN)
    for data in (b"nonsense", whole[:-1], whole[: len(whole) // 2], whole + b"tail"):
        with pytest.raises(body.BodyBroken):
            await take(data, "gzip")


async def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    monkeypatch.setattr(body, "READ_S", 0.02)
    with pytest.raises(body.BodyTooSlow):
        await body.read(trickle(), "identity", 100, lambda count: None)
