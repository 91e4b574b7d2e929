"""`/v1/live` over a real Valkey: snapshot, absolute deltas, resume, reset, slow clients; and what happens when Redis goes and comes back."""

import asyncio
import dataclasses
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import redis
from jobtide.query import feed
from jobtide.query.app import create_app
from jobtide.sinks.keys import field
from jobtide.sinks.redis.hot_state import RedisHotState
from jobtide.streams.settings import Settings, load
from jobtide.streams.snapshots import HotWrite

from tests import servers
from tests.fakes.job_world import World, assert_row, grouped
from tests.fakes.job_world_stores import fill_hot_state, ledger_writes, progress, series_writes, snapshot, window_of
from tests.integration.query_server import Api, serving
from tests.proof.job_events import MINUTE

START = time.time_ns() // 1000 // MINUTE * MINUTE - 60 * MINUTE
NOWHERE = "http://127.0.0.1:9"  # no ClickHouse: nothing live may need it


@dataclass(frozen=True)
class Set:
    api: Api
    world: World
    settings: Settings


@contextmanager
def running(redis_url: str, prefix: str, world: World) -> Iterator[Set]:
    settings = load({}, redis_url=redis_url, redis_prefix=prefix, clickhouse_url=NOWHERE)
    asyncio.run(fill_hot_state(settings, world))
    with serving(create_app(settings)) as api:
        api.wait_for("/v1/classes?last=5m")
        yield Set(api, world, settings)


@pytest.fixture
def live(redis_url: str, prefix: str) -> Iterator[Set]:
    with running(redis_url, prefix, World(START, 30, 120)) as found:
        yield found


def write(settings: Settings, writes: list[HotWrite]) -> None:
    async def send() -> None:
        state = RedisHotState(settings)
        try:
            await state.write(writes)
        finally:
            await state.close()

    asyncio.run(send())


@dataclass
class Event:
    event: str
    id: str
    data: Any


class Stream:
    """One client of /v1/live: events one by one, heartbeats counted and left out."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.heartbeats = 0
        self.last_id = ""

    def next(self) -> Event:
        fields: dict[str, str] = {}
        for line in self._lines:
            if line.startswith(":"):
                self.heartbeats += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    return Event(fields["event"], fields["id"], orjson.loads(fields["data"]))
                fields = {}
        raise EOFError

    def until(self, event: str) -> Event:
        """The next event of this kind."""
        while (found := self.next()).event != event:
            pass
        return found


@contextmanager
def following(api: Api, last_event_id: str | None = None, **params: str) -> Iterator[Stream]:
    headers = {"last-event-id": last_event_id} if last_event_id else {}
    with httpx.stream("GET", f"{api.url}/v1/live", params=params, headers=headers, timeout=20) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer.iter_lines())


def keys(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in ("tenant", "environment", "system", "queue", "job_class") if name in row) for row in rows]


def test_a_snapshot_has_every_row_of_the_window(live: Set) -> None:
    for window in ("1m", "1h"):
        with following(live.api, last=window) as stream:
            found = stream.next()
        assert found.event == "snapshot"
        wanted = dict(grouped(live.world.facts, 5))
        assert keys(found.data["classes"]) == list(wanted)
        for row, facts in zip(found.data["classes"], wanted.values(), strict=True):
            assert_row(row, facts, *window_of(live.world, window))
        queues = {**dict(grouped(live.world.facts, 4)), ("acme", "default", "celery", "never-used"): []}
        assert keys(found.data["queues"]) == sorted(queues)
        for row in found.data["queues"]:
            assert_row(row, queues[keys([row])[0]], *window_of(live.world, window))
        assert found.data["completeness"]["missing"] == 3
        assert len(found.data["workers"]) == len({(f.tenant, f.system, f.worker_id) for f in live.world.facts})


def test_a_stream_shows_only_what_is_selected(live: Set) -> None:
    with following(live.api, tenant="acme", queue="mail", job_class="Welcome") as stream:
        found = stream.next()
    assert {(r["tenant"], r["queue"], r["job_class"]) for r in found.data["classes"]} == {("acme", "mail", "Welcome")}
    for row in found.data["queues"]:
        facts = live.world.chosen(tenant="acme", queue="mail", job_class="Welcome", system=row["system"])
        assert_row(row, facts, *window_of(live.world, "5m"))


def test_deltas_are_whole_rows_of_what_changed_and_of_its_queue(live: Set) -> None:
    world, key = live.world, ("acme", "default", "celery", "mail", "Digest")
    with following(live.api, last="1h") as stream:
        first = stream.next()
        fact = next(f for f in world.facts if f.key == key and f.ended_us and f.ended_us > window_of(world, "1h")[0])
        world.facts.append(dataclasses.replace(fact, job_id="another"))
        sent = time.monotonic()
        write(live.settings, [w for w in series_writes(world, 2) if w.field.endswith("Digest")])
        delta = stream.until("delta")
        assert time.monotonic() - sent < 2  # 250 ms are promised; the rest is for a busy machine
        assert keys(delta.data["classes"]) == [key]
        assert_row(delta.data["classes"][0], world.chosen(job_class="Digest"), *window_of(world, "1h"))
        assert keys(delta.data["queues"]) == [key[:4]]
        assert_row(delta.data["queues"][0], world.chosen(tenant="acme", system="celery", queue="mail"), *window_of(world, "1h"))
        assert delta.data["workers"] == []
        boot, n = delta.id.split(":")
        assert first.id.split(":") == [boot, str(int(n) - 1)]


def test_what_is_removed_is_named(live: Set) -> None:
    gone = next(w for w in series_writes(live.world) if w.field.endswith("Monthly"))
    with following(live.api) as stream:
        stream.next()
        write(live.settings, [HotWrite("series", gone.tenant, gone.field, 2, None)])
        delta = stream.until("delta")
    assert delta.data["removed"]["classes"] == [["globex", "default", "rq", "reports", "Monthly"]]
    assert delta.data["removed"]["queues"] == []
    assert keys(delta.data["queues"]) == [("globex", "default", "rq", "reports")]


def test_a_client_that_comes_back_is_told_only_what_changed_meanwhile(live: Set) -> None:
    with following(live.api) as stream:
        seen = stream.next().id
        for version in (2, 3):  # two changes while it is away, told as one
            live.world.facts.append(dataclasses.replace(live.world.chosen(job_class="Import")[0], job_id=f"n{version}"))
            write(live.settings, [w for w in series_writes(live.world, version) if w.field.endswith("Import")])
            stream.until("delta")
    with following(live.api, seen) as stream:
        delta = stream.next()
    assert delta.event == "delta"
    assert keys(delta.data["classes"]) == [("acme", "default", "celery", "bulk", "Import")]
    assert_row(delta.data["classes"][0], live.world.chosen(job_class="Import"), *window_of(live.world, "5m"))


@pytest.mark.parametrize("seen", ["0123456789ab:1", "nonsense", "{boot}:999999", "{boot}:-1", "{boot}:", "{boot}:" + "9" * 60])
def test_what_cannot_be_resumed_is_reset(live: Set, seen: str) -> None:
    with following(live.api) as stream:
        boot = stream.next().id.split(":")[0]
    with following(live.api, seen.format(boot=boot)) as stream:
        assert stream.next().event == "reset"
        assert stream.next().event == "snapshot"


def test_past_the_ring_a_client_is_reset(live: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_RING", 2)
    with following(live.api) as stream:
        seen = stream.next().id
        for version in range(2, 6):
            write(live.settings, [progress(live.world, version=version), *_changed_ledger(live.world, version)])
            stream.until("delta")
        recent = stream.last_id
    with following(live.api, seen) as stream:
        assert [stream.next().event, stream.next().event] == ["reset", "snapshot"]
    with following(live.api, recent) as stream:
        write(live.settings, _changed_ledger(live.world, 9))
        assert stream.next().event == "delta"


def _changed_ledger(world: World, version: int) -> list[HotWrite]:
    first = ledger_writes(world)[0]
    assert first.value is not None
    value = orjson.loads(first.value) | {"received": 1000 + version}
    return [HotWrite("ledger", first.tenant, first.field, version, orjson.dumps(value))]


def test_heartbeats_move_the_place_to_resume_from(live: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT_S", 0.05)
    with following(live.api, tenant="nobody") as stream:
        first = stream.next()
        write(live.settings, [w for w in series_writes(live.world, 2) if w.field.endswith("Import")][:0] + _changed_ledger(live.world, 5))
        until = time.monotonic() + 10
        while stream.heartbeats < 3:
            assert time.monotonic() < until
            line = next(stream._lines)
            stream.heartbeats += line.startswith(":")
        assert first.id


def test_a_client_that_does_not_read_is_let_go_and_the_others_are_not(live: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_FRAMES", 3)
    host, port = live.api.url.removeprefix("http://").split(":")
    lazy = socket.socket()
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.connect((host, int(port)))
    lazy.sendall(f"GET /v1/live HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    with following(live.api, system="celery") as stream:
        stream.next()
        version = 2
        while "jobtide_live_clients_dropped_total 1.0" not in live.api.client.get("/metrics").text:
            assert version < 30
            write(live.settings, [*_many(live.world, version), *_changed_ledger(live.world, version)])
            stream.until("delta")
            version += 1
        assert "jobtide_live_clients 1.0" in live.api.client.get("/metrics").text
        write(live.settings, _changed_ledger(live.world, version))
        assert stream.until("delta")
    lazy.close()


def _many(world: World, version: int) -> list[HotWrite]:
    """A thousand classes of another system: 1.5 MB of rows, more than sockets swallow for a client that does not read them."""
    value = snapshot(world, world.facts[0].key) | {"system": "loud", "in_flight": version}
    return [
        HotWrite("series", value["tenant"], field("default", "loud", value["queue"], f"C{n}"), version, orjson.dumps(value | {"job_class": f"C{n}"}))
        for n in range(1000)
    ]


def test_without_clickhouse_live_is_whole_and_history_says_what_is_missing(live: Set) -> None:
    for path in ("/v1/classes", "/v1/queues", "/v1/overview", "/v1/workers", "/v1/completeness"):
        assert live.api.get(path, last="5m")["source"] == "live"
    for path in ("/v1/classes?last=2h", "/v1/jobs", "/v1/jobs/x/timeline", "/v1/series?metric=finished", "/v1/overview?last=2h"):
        answer = live.api.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert "ClickHouse" in answer.json()["detail"]
        assert answer.headers["retry-after"]
    ready = live.api.client.get("/readyz")
    assert ready.status_code == 503
    assert list(ready.json()["missing"]) == ["ClickHouse"]
    assert live.api.get("/healthz") == {"status": "ok"}


def test_emptied_and_written_again_nothing_stays_wrong(live: Set) -> None:
    """FLUSHALL: the numbers known stay until stage 2 has written everything under a new boot id; what it does not write again goes."""
    client = redis.Redis.from_url(live.settings.redis_url)
    with following(live.api, last="1h") as stream:
        before = stream.next().data["classes"]
        for key in client.scan_iter(f"{live.settings.redis_prefix}*"):
            client.delete(key)
        assert live.api.get("/v1/classes", last="1h")["items"]
        live.world.facts = [f for f in live.world.facts if f.job_class != "Monthly"]
        asyncio.run(fill_hot_state(live.settings, live.world))
        until = time.monotonic() + 15
        while len(live.api.get("/v1/classes", last="1h", limit=1000)["items"]) == len(before):  # type: ignore[arg-type]
            assert time.monotonic() < until
            time.sleep(0.05)
        assert stream.until("delta").data["removed"]["classes"] == [["globex", "default", "rq", "reports", "Monthly"]]
    left = {k[4]: f for k, f in grouped(live.world.facts, 5)}
    rows: Any = live.api.get("/v1/classes", last="1h", limit=1000)["items"]
    assert {row["job_class"] for row in rows} == set(left)


def test_redis_that_goes_and_comes_back(tmp_path: Path, prefix: str) -> None:
    """Its clients are told, live answers need history meanwhile (there is none: 503 names both), and all is well afterwards."""
    with (
        servers.valkey(tmp_path) as valkey,
        running(valkey.address, prefix, World(START, 30, 60)) as live,
        following(live.api, last="1h") as stream,
    ):
        before = stream.next().data["classes"]
        valkey.process.kill()
        delta = stream.until("delta")
        assert "Redis" in delta.data["degraded"][0]
        assert delta.data["classes"] == []
        problem: Any = live.api.get("/v1/classes", 503, last="5m")
        assert "Redis" in problem["detail"]
        assert "ClickHouse" in problem["detail"]
        assert "jobtide_hot_state_up 0.0" in live.api.client.get("/metrics").text
        assert set(live.api.client.get("/readyz").json()["missing"]) == {"Redis", "ClickHouse"}
        valkey.start()
        asyncio.run(fill_hot_state(live.settings, live.world))
        while delta.data["degraded"]:
            delta = stream.until("delta")
        live.api.wait_for("/v1/classes?last=5m")
        answer: Any = live.api.get("/v1/classes", last="1h", limit=1000)
        assert [{**r, "throughput_per_s": 0} for r in answer["items"]] == [
            {**r, "throughput_per_s": 0} for r in before if r["enqueued"] or r["started"] or r["in_flight"] or r["waiting"]
        ]
