"""The live feed without a network: numbering, the ring, lost clients, who is told what; and the response that notices a client that hangs."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest
from jobtide.query import feed as feed_module
from jobtide.query import sse
from jobtide.query.feed import Feed
from jobtide.query.frames import Frames, Topic
from jobtide.query.live import MirrorLive
from jobtide.query.mirror import Entry, Mirror
from jobtide.query.selection import Selection

ALL = Topic(Selection(), "1m")


def series(name: str, in_flight: int = 0, tenant: str = "t") -> Entry:
    empty = {"n": 0, "sum": 0, "b": []}
    names = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "retried", "dead", "negative_waits")
    window = {"from": 0, "to": 60_000_000, **dict.fromkeys(names, 0), "wait": empty, "run_ok": empty, "run_failed": empty}
    value = {
        "tenant": tenant, "environment": "e", "system": "s", "queue": "q", "job_class": name, "at": 0, "in_flight": in_flight, "waiting": 0,
        "oldest_waiting_us": None, "windows": {"1m": window}, "per_second": [],
    }  # fmt: skip
    return Entry("series", tenant, f"e\x1fs\x1fq\x1f{name}", orjson.dumps(value))


class Bench:
    """A mirror and its feed; `told` reads frames of a stream that are there already."""

    def __init__(self) -> None:
        self.mirror = Mirror()
        self.mirror.unavailable = None
        self.feed = Feed(self.mirror, Frames(self.mirror, MirrorLive(self.mirror)), "boot", lambda: 0)

    async def change(self, *entries: Entry) -> None:
        for entry in entries:
            self.mirror.apply(entry)
        await self.feed.tick()

    async def told(self, stream: AsyncGenerator[bytes, None]) -> tuple[str, str, Any]:
        frame = await asyncio.wait_for(anext(stream), 2)
        event, event_id, data = (line.split(b": ", 1)[1] for line in frame.strip().split(b"\n"))
        return event.decode(), event_id.decode(), orjson.loads(data)


async def test_numbers_count_changes_and_each_frame_has_its_own() -> None:
    bench = Bench()
    await bench.change(series("A"))
    stream = bench.feed.stream(ALL, None)
    assert (await bench.told(stream))[:2] == ("snapshot", "boot:1")
    await bench.feed.tick()  # nothing changed: no number, nobody is told
    await bench.change(series("A", 1))
    await bench.change(series("A", 1))  # the same value is no change
    await bench.change(series("A", 2), series("B", 1))
    event, event_id, data = await bench.told(stream)
    assert (event, event_id, [r["in_flight"] for r in data["classes"]]) == ("delta", "boot:2", [1])
    event, event_id, data = await bench.told(stream)
    assert (event, event_id, sorted(r["job_class"] for r in data["classes"])) == ("delta", "boot:3", ["A", "B"])


async def test_only_those_are_told_whom_it_concerns() -> None:
    bench = Bench()
    await bench.change(series("A"), series("Z", tenant="other"))
    mine = bench.feed.stream(Topic(Selection(tenant="t"), "1m"), None)
    assert [r["job_class"] for r in (await bench.told(mine))[2]["classes"]] == ["A"]
    await bench.change(series("Z", 5, tenant="other"))
    await bench.change(series("A", 5))
    assert (await bench.told(mine))[1] == "boot:3"


async def test_resuming_tells_the_present_of_all_that_changed_once() -> None:
    bench = Bench()
    await bench.change(series("A"), series("B"), series("C"))
    await bench.change(series("A", 1))
    await bench.change(series("A", 2), series("B", 1))
    await bench.change(Entry("series", "t", "e\x1fs\x1fq\x1fC", None))
    event, event_id, data = await bench.told(bench.feed.stream(ALL, "boot:1"))
    assert (event, event_id) == ("delta", "boot:4")
    assert {r["job_class"]: r["in_flight"] for r in data["classes"]} == {"A": 2, "B": 1}
    assert data["removed"]["classes"] == [["t", "e", "s", "q", "C"]]
    stream = bench.feed.stream(ALL, "boot:4")  # it has seen everything: it waits for what comes
    waiting = asyncio.create_task(bench.told(stream))
    await asyncio.sleep(0)
    await bench.change(series("A", 9))
    assert (await waiting)[:2] == ("delta", "boot:5")


async def test_the_ring_is_bounded_by_changes_and_by_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    monkeypatch.setattr(feed_module, "MAX_RING_KEYS", 5)
    await bench.change(*[series(f"A{n}") for n in range(4)])
    await bench.change(series("A0", 1))
    await bench.change(series("A0", 2))
    assert (await bench.told(bench.feed.stream(ALL, "boot:0")))[0] == "reset"
    assert (await bench.told(bench.feed.stream(ALL, "boot:1")))[0] == "delta"
    await bench.change(*[series(f"B{n}") for n in range(9)])  # more than the bound at once: kept, alone
    assert (await bench.told(bench.feed.stream(ALL, "boot:3")))[0] == "delta"
    assert (await bench.told(bench.feed.stream(ALL, "boot:2")))[0] == "reset"


async def test_who_does_not_follow_is_let_go_with_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_FRAMES", 4)
    bench = Bench()
    slow, quick = bench.feed.stream(ALL, None), bench.feed.stream(ALL, None)
    await bench.told(slow)
    await bench.told(quick)
    for n in range(1, 7):
        await bench.change(series("A", n))
        assert (await bench.told(quick))[2]["classes"][0]["in_flight"] == n
    assert (len(bench.feed.subscribers), bench.feed.dropped) == (1, 1)
    with pytest.raises(StopAsyncIteration):
        for _ in range(6):
            await anext(slow)


async def test_everyone_is_told_when_redis_goes_and_when_it_is_back() -> None:
    bench = Bench()
    stream = bench.feed.stream(ALL, None)
    assert (await bench.told(stream))[2]["degraded"] == []
    bench.mirror.unavailable = "gone fishing"
    await bench.feed.tick()
    assert "gone fishing" in (await bench.told(stream))[2]["degraded"][0]
    bench.mirror.unavailable = None
    await bench.feed.tick()
    assert (await bench.told(stream))[2]["degraded"] == []


async def test_reading_everything_again_tells_only_differences() -> None:
    bench = Bench()
    await bench.change(series("A"), series("B"))
    stream = bench.feed.stream(ALL, None)
    await bench.told(stream)
    bench.mirror.replace([series("A"), series("C")])
    await bench.feed.tick()
    data = (await bench.told(stream))[2]
    assert [r["job_class"] for r in data["classes"]] == ["C"]
    assert data["removed"]["classes"] == [["t", "e", "s", "q", "B"]]


def test_what_cannot_be_understood_changes_nothing() -> None:
    mirror = Mirror()
    assert mirror.apply(series("A"))
    assert not mirror.apply(Entry("series", "t", series("A").field, b'{"no": "series"}'))
    assert not mirror.apply(Entry("gauges", "t", "f", b"{}"))  # type: ignore[arg-type]  # of a later version
    assert list(mirror.series) == [("t", "e", "s", "q", "A")]


async def test_a_client_whose_socket_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "SEND_TIMEOUT_S", 0.02)
    monkeypatch.setattr(sse, "END_TIMEOUT_S", 0.02)
    closed = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x" * 10
        finally:
            closed.set()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Any:
        await asyncio.Event().wait()

    await asyncio.wait_for(sse.EventStream(frames())({"type": "http"}, receive, send), 2)
    assert closed.is_set()


async def test_a_client_that_leaves_ends_its_stream_at_once() -> None:
    bench, sent, gone = Bench(), [], asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    response = asyncio.create_task(sse.EventStream(bench.feed.stream(ALL, None))({"type": "http"}, receive, send))
    while len(sent) < 2:
        await asyncio.sleep(0)
    assert len(bench.feed.subscribers) == 1
    gone.set()
    await asyncio.wait_for(response, 2)
    assert not bench.feed.subscribers
