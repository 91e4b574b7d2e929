"""What every hot state promises: absolute values, only newer versions replace, accepted writes are published. Fake and real Redis."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import redis.asyncio
from jobtide.sinks.keys import Keys, field, parse
from jobtide.sinks.redis.hot_state import BYTES_AT_ONCE, ENTRIES_AT_ONCE, RedisHotState, chunks
from jobtide.streams.errors import StoreRejected, TransientError
from jobtide.streams.settings import Settings
from jobtide.streams.snapshots import HotStateSink, HotWrite, SnapshotKind

from tests import servers
from tests.fakes.hot_state import FakeHotState

SERIES = field("production", "celery", "mail", "Send")


class RealHotState(RedisHotState):
    """The real one, with what the tests look at: contents by a client of their own, messages by a subscription."""

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(Settings(redis_url=url, redis_prefix=prefix))
        self.keys = Keys(prefix)
        self.client = redis.asyncio.Redis.from_url(url)
        self.listener = self.client.pubsub()

    async def stored(self, kind: SnapshotKind, tenant: str = "") -> dict[str, tuple[int, bytes]]:
        found = await self.client.hgetall(self.keys.hash(kind, tenant))
        return {name.decode(): parse(text) for name, text in found.items()}

    async def flush(self) -> None:
        async for key in self.client.scan_iter(f"{self.keys.prefix}*"):
            await self.client.delete(key)


@pytest.fixture(params=["fake", "redis"])
async def hot(request: pytest.FixtureRequest) -> AsyncIterator[FakeHotState | RealHotState]:
    if request.param == "fake":
        yield FakeHotState("t:")
        return
    state = RealHotState(request.getfixturevalue("redis_url"), f"t{uuid.uuid4().hex[:8]}:")
    await state.listener.psubscribe(f"{state.keys.prefix}updates*")
    yield state
    await state.flush()
    await state.listener.aclose()
    await state.client.aclose()
    await state.close()


async def heard(hot: FakeHotState | RealHotState, count: int) -> list[tuple[str, object]]:
    """The next `count` messages as (channel, decoded)."""
    if isinstance(hot, FakeHotState):
        return [(channel, orjson.loads(text)) for channel, text in hot.published[-count:]]
    messages: list[tuple[str, object]] = []
    async with asyncio.timeout(5):
        while len(messages) < count:
            message = await hot.listener.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message is not None:
                messages.append((message["channel"].decode(), orjson.loads(message["data"])))
    return messages


def series(version: int, value: bytes | None, tenant: str = "acme", name: str = SERIES) -> HotWrite:
    return HotWrite("series", tenant, name, version, value)


async def test_is_a_hot_state_sink(hot: FakeHotState | RealHotState) -> None:
    sink: HotStateSink = hot
    await sink.write([])


async def test_newer_replaces_older_does_not(hot: FakeHotState | RealHotState) -> None:
    await hot.write([series(5, b'{"n":5}')])
    await hot.write([series(4, b'{"n":4}')])
    assert await hot.stored("series", "acme") == {SERIES: (5, b'{"n":5}')}
    await hot.write([series(5, b'{"n":"five"}')])
    assert await hot.stored("series", "acme") == {SERIES: (5, b'{"n":"five"}')}
    await hot.write([series(6, b'{"n":6}')])
    assert await hot.stored("series", "acme") == {SERIES: (6, b'{"n":6}')}


async def test_versions_are_compared_as_numbers(hot: FakeHotState | RealHotState) -> None:
    newest = 9_007_199_254_740_991
    await hot.write([series(10, b"10"), series(9, b"9", name="b"), series(newest, b"1", name="c")])
    await hot.write([series(9, b"9"), series(10, b"10", name="b"), series(newest - 1, b"2", name="c")])
    assert await hot.stored("series", "acme") == {SERIES: (10, b"10"), "b": (10, b"10"), "c": (newest, b"1")}


async def test_within_one_call_the_newest_wins(hot: FakeHotState | RealHotState) -> None:
    await hot.write([series(2, b"2"), series(3, b"3"), series(1, b"1")])
    assert await hot.stored("series", "acme") == {SERIES: (3, b"3")}


async def test_a_field_is_removed_unless_it_is_newer(hot: FakeHotState | RealHotState) -> None:
    await hot.write([series(5, b"5"), series(5, b"5", name="b")])
    await hot.write([series(4, None), series(6, None, name="b")])
    assert await hot.stored("series", "acme") == {SERIES: (5, b"5")}


async def test_accepted_writes_are_published_by_tenant(hot: FakeHotState | RealHotState) -> None:
    await hot.write([series(5, b"{}"), series(1, b"{}", tenant="other")])
    await heard(hot, 2)
    progress = HotWrite("progress", "", "0", 9, b'{"complete_until":1}')
    awkward = 'a"b/c\\ü\u2028'
    await hot.write([series(4, b"1"), series(6, None), series(1, b'["\\u001f"]', name=awkward), progress])
    messages = dict(await heard(hot, 2))
    assert messages == {
        hot.keys.updates("acme"): [["series", SERIES, None], ["series", awkward, ["\x1f"]]],
        hot.keys.updates(): [["progress", "0", {"complete_until": 1}]],
    }


async def test_each_kind_has_its_hash_and_tenants_are_listed(hot: FakeHotState | RealHotState) -> None:
    kinds: list[SnapshotKind] = ["series", "workers", "queues", "ledger"]
    await hot.write([HotWrite(kind, "acme", "f", 1, b'"%b"' % kind.encode()) for kind in kinds])
    for kind in kinds:
        assert await hot.stored(kind, "acme") == {"f": (1, b'"%b"' % kind.encode())}
    if isinstance(hot, RealHotState):
        assert await hot.client.smembers(hot.keys.tenants) == {b"acme"}
    else:
        assert hot.tenants == {"acme"}


async def test_more_entries_than_one_call_takes(hot: FakeHotState | RealHotState) -> None:
    entries = [series(n, b"%d" % n, name=f"s{n}") for n in range(2 * ENTRIES_AT_ONCE + 1)]
    await hot.write(entries)
    assert await hot.stored("series", "acme") == {e.field: (e.version, e.value) for e in entries}


async def test_names_what_is_stored(hot: FakeHotState | RealHotState) -> None:
    worker = HotWrite("workers", "acme", field("production", "celery", "w1"), 1, b"{}")
    progress = HotWrite("progress", "", field(0), 1, b"{}")
    await hot.write([series(1, b"1"), series(1, b"1", tenant="other"), worker, progress, series(1, b"1", name="gone")])
    await hot.write([series(2, None, name="gone")])
    assert sorted(await hot.fields()) == [("series", "acme", SERIES), ("series", "other", SERIES), ("workers", "acme", worker.field)]


async def test_says_once_that_everything_is_lost(hot: FakeHotState | RealHotState) -> None:
    assert await hot.lost_everything()
    assert not await hot.lost_everything()
    await hot.write([series(5, b"5")])
    await hot.flush()
    assert await hot.lost_everything()
    assert not await hot.lost_everything()
    await hot.write([series(1, b"1")])
    assert await hot.stored("series", "acme") == {SERIES: (1, b"1")}


async def test_every_writer_learns_of_the_loss(redis_url: str) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}:"
    one, two = RealHotState(redis_url, prefix), RealHotState(redis_url, prefix)
    assert await one.lost_everything()
    assert await two.lost_everything()
    await one.flush()
    assert await one.lost_everything()
    assert await two.lost_everything()
    assert not await one.lost_everything()
    for state in (one, two):
        await state.client.aclose()
        await state.close()


async def test_down_is_transient_and_a_restart_is_survived(tmp_path: Path) -> None:
    with servers.valkey(tmp_path) as server:
        state = RealHotState(server.address, "t:")
        await state.write([series(5, b"5")])
        server.process.kill()
        with pytest.raises(TransientError):
            await state.write([series(6, b"6")])
        with pytest.raises(TransientError):
            await state.lost_everything()
        server.start()
        await state.write([series(6, b"6")])  # the server has forgotten the script
        assert (await state.stored("series", "acme"))[SERIES] == (6, b"6")
        await state.client.aclose()
        await state.close()


async def test_a_refusal_is_not_transient(redis_url: str) -> None:
    state = RealHotState(redis_url, f"t{uuid.uuid4().hex[:8]}:")
    await state.client.set(state.keys.hash("series", "acme"), "not a hash")
    with pytest.raises(StoreRejected, match="WRONGTYPE"):
        await state.write([series(5, b"5")])
    await state.flush()
    await state.client.aclose()
    await state.close()


def test_chunks_keep_order_and_bounds() -> None:
    entries = [series(n, b"x" * 3_000_000) for n in range(3)] + [series(n, b"") for n in range(3, ENTRIES_AT_ONCE + 4)]
    cut = list(chunks(entries))
    assert [e.version for chunk in cut for e in chunk] == list(range(len(entries)))
    assert all(len(chunk) <= ENTRIES_AT_ONCE for chunk in cut)
    assert all(sum(len(e.value or b"") for e in chunk) <= BYTES_AT_ONCE for chunk in cut)
    assert list(chunks([series(1, b"x" * (BYTES_AT_ONCE + 1))])) != []
