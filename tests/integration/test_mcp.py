"""The MCP server with the SDK's own client: on the API's port, with keys, and over standard input and output."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zlib import crc32

import httpx2
import jsonschema_rs
import msgspec
import pytest
from jobtide.access.caller import Role
from jobtide.access.keyring import KeyFile
from jobtide.access.keys import Key
from jobtide.query.app import create_app
from jobtide.query.selection import SERIES_PARTS
from jobtide.sinks.keys import field
from jobtide.sinks.redis.hot_state import RedisHotState
from jobtide.streams.agents.kafka import new_producer
from jobtide.streams.alerts.transitions import Transition, encode
from jobtide.streams.settings import Settings, load
from jobtide.streams.snapshots import HotWrite, SeriesStuck, StuckAttempt
from jobtide.streams.topics import ALERTS
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.fakes.job_world import World, grouped
from tests.fakes.job_world_stores import alerts_of, fill_history, fill_hot_state
from tests.integration.query_server import Api, serving
from tests.integration.test_access import secrets_of
from tests.integration.test_query_api import NOW
from tests.proof.job_events import MINUTE
from tests.servers import create_topics

WORLD = World((NOW - 30 * MINUTE) // MINUTE * MINUTE + 17_345_678, 28, 300)
FACT = next(f for f in WORLD.facts if f.outcome == "failed")
CALLS: dict[str, dict[str, Any]] = {
    "what_needs_attention": {"last": "1h"},
    "list_queues": {"last": "1h"},
    "queue_stats": {"queue": "mail", "last": "1h"},
    "list_failed_jobs": {"last": "2h"},
    "job_timeline": {"job_id": FACT.job_id},
    "list_workers": {},
    "stuck_jobs": {"verdict": ["late", "slow", "lost"]},
    "why_slow": {"queue": "reports", "last": "1h"},
    "alerts": {"last": "24h"},
}


STUCK_PATH = "/v1/stuck?" + urlencode(dict(zip((*SERIES_PARTS, "verdict"), (*FACT.key, "lost"), strict=True)))


async def tell(settings: Settings, alerts: list[Transition]) -> None:
    """What the rules said, in the order of time."""
    producer = new_producer(settings)
    await producer.start()
    for each in sorted(alerts, key=lambda each: each.at_us):
        key = each.fingerprint.encode()
        await producer.send_and_wait(settings.topic(ALERTS), encode(each), key=key, partition=crc32(key) % settings.partitions)
    await producer.stop()


async def fill_stuck(settings: Settings, world: World) -> None:
    """One attempt whose worker is gone since three hours."""
    since_us = world.until_us - 180 * MINUTE
    lost = StuckAttempt(
        job_id="lost-1", attempt=1, worker_id="w-1", verdict="lost", since_us=since_us, limit_us=25_000_000, limit_source="heartbeat",
        severity="critical", last_event_us=since_us, p99_us=None, reason="silent", heartbeat_us=since_us,
    )  # fmt: skip
    state = RedisHotState(settings)
    try:
        snapshot = SeriesStuck(*FACT.key, {"lost": 1}, 0, [lost])
        await state.write([HotWrite("stuck", FACT.tenant, field(*FACT.key[1:]), 1, msgspec.json.encode(snapshot))])
    finally:
        await state.close()


@dataclass(frozen=True)
class Place:
    api: Api
    all_tenants: str
    globex: str
    ingest: str

    @asynccontextmanager
    async def client(self, token: str) -> AsyncIterator[Client]:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(f"{self.api.url}/mcp", http_client=http)) as client,
        ):
            yield client


@pytest.fixture(scope="module")
def place(kafka_broker: str, redis_url: str, chdb_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    file = KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")

    def key(role: Role, *tenants: str) -> str:
        return file.create(Key(id="", sha256="", name=role.value, role=role, tenants=tenants or None, rate_per_minute=0, created_us=0))

    everything, globex, ingest = key(Role.VIEWER), key(Role.VIEWER, "globex"), key(Role.INGEST, "acme")
    settings = load({}, redis_url=redis_url, redis_prefix="mcp-", clickhouse_url=chdb_url, clickhouse_database="mcp_tests", keys_file=str(file.path),
                    broker=kafka_broker, topic_prefix="mcp.", partitions=2)  # fmt: skip
    asyncio.run(create_topics(kafka_broker, "mcp.", 2))
    asyncio.run(tell(settings, alerts_of(WORLD)))
    fill_history(settings, WORLD)
    asyncio.run(fill_hot_state(settings, WORLD))
    asyncio.run(fill_stuck(settings, WORLD))
    with serving(create_app(settings)) as api:
        api.client.headers["authorization"] = f"Bearer {everything}"
        api.wait_for("/readyz")
        api.wait_for("/v1/alerts")
        while api.get("/v1/classes", last="5m")["source"] != "live":
            pass
        yield Place(api, everything, globex, ingest)


async def called(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The typed result of a call that must succeed, checked against the schema the tool announced."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def test_every_tool_is_listed_as_reading_only_and_gives_what_its_schema_says(place: Place) -> None:
    async with place.client(place.all_tenants) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == set(CALLS)
        for name, tool in tools.items():
            assert tool.annotations is not None and tool.annotations.read_only_hint and not tool.annotations.destructive_hint
            assert tool.description and tool.output_schema is not None and "ctx" not in tool.input_schema["properties"]
            jsonschema_rs.validator_for(tool.output_schema).validate(await called(client, name, CALLS[name]))
        timeline = await called(client, "job_timeline", CALLS["job_timeline"])
        assert timeline["job_id"] == FACT.job_id and timeline["attempts"] and timeline["events"]
        queues = await called(client, "list_queues", CALLS["list_queues"])
        theirs = place.api.get("/v1/queues", last="1h")["items"]
        assert isinstance(theirs, list)
        assert [(q["queue"], q["finished"]) for q in queues["items"]] == [(q["queue"], q["finished"]) for q in theirs]
        failed = await called(client, "list_failed_jobs", {"last": "2h", "job_class": FACT.job_class})
        assert FACT.job_id in {job["job_id"] for job in failed["items"]}
        attention = await called(client, "what_needs_attention", CALLS["what_needs_attention"])
        dead = {f.job_class for f in WORLD.facts if f.dead_us is not None}
        assert dead <= {f["what"].split(" on ")[0] for f in attention["findings"] if f["kind"] == "dead_jobs"}
        lost = [f for f in attention["findings"] if f["kind"] == "stuck"]
        assert [(f["severity"], f["ask_next"]) for f in lost] == [("critical", STUCK_PATH)] and "is lost, for up to 180 min" in lost[0]["what"]
        assert place.api.get(STUCK_PATH)["items"], "the path that it names shows it"
        rules = Counter(f["what"].split()[1] for f in attention["findings"] if f["kind"] == "alert")
        assert rules == {"Backlog": len(list(grouped(WORLD.facts, 4)))}, "what is over or silenced needs no attention"


async def test_alerts_are_told_as_they_are_now_and_as_they_were(place: Place) -> None:
    told = alerts_of(WORLD)
    async with place.client(place.all_tenants) as client:
        answer = await called(client, "alerts", {"last": "24h", "limit": 500})
        assert {row["id"] for row in answer["recent"]} == {each.id for each in told} and answer["more"] is False
        assert {row["id"] for row in answer["now"]} == {each.id for each in told if each.rule == "Backlog"}
        mail = await called(client, "alerts", {"rule": "Failing", "tenant": "acme", "system": "celery", "queue": "mail", "limit": 1})
        assert mail["now"] == [] and mail["more"] is True
        assert [(row["state"], row["labels"]["system"], row["labels"]["queue"]) for row in mail["recent"]] == [("resolved", "celery", "mail")]
        backlog = await called(client, "alerts", {"rule": "Backlog", "queue": "reports"})
        assert {row["labels"]["queue"] for row in (*backlog["now"], *backlog["recent"])} == {"reports"} and len(backlog["now"]) == 1


async def test_errors_are_told_as_the_api_tells_them(place: Place) -> None:
    async with place.client(place.all_tenants) as client:
        for name, arguments, words in (
            ("list_queues", {"last": "15"}, "'15' is not a duration"),
            ("job_timeline", {"job_id": "no such/job?x=1&tenant=acme"}, "no event of a job"),
            ("list_queues", {"limit": 0}, "greater than or equal to 1"),
            ("erase_tenant", {"tenant": "acme"}, "erase_tenant"),
        ):
            result = await client.call_tool(name, arguments)
            assert result.is_error and words in json.dumps([part.model_dump() for part in result.content]), result.content


async def test_a_confined_key_sees_its_tenant_only(place: Place) -> None:
    theirs = secrets_of(WORLD, "acme")
    async with place.client(place.globex) as client:
        for name, arguments in CALLS.items():
            if name == "job_timeline":
                continue
            text = json.dumps(await called(client, name, arguments | ({"queue": "reports"} if name == "queue_stats" else {})), ensure_ascii=False)
            assert not {secret for secret in theirs if secret in text}, name
            if name not in ("what_needs_attention", "stuck_jobs"):
                assert "globex" in text
            foreign = await client.call_tool(name, arguments | {"tenant": "acme"})
            assert foreign.is_error and "not for tenant 'acme'" in json.dumps([part.model_dump() for part in foreign.content])


def test_nobody_and_nothing_that_only_sends_events_gets_in(place: Place) -> None:
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for headers, status in (({"authorization": ""}, 401), ({"authorization": f"Bearer {place.ingest}"}, 403)):
        assert place.api.client.post("/mcp", json=hello, headers=headers).status_code == status
    assert place.api.client.delete("/mcp").status_code == 403  # a viewer


async def test_over_standard_input_and_output(place: Place, tmp_path: Path) -> None:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("JOBTIDE_")}
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "jobtide.cli", "mcp", "--url", place.api.url],
        env=clean | {"JOBTIDE_KEY": place.globex},
    )
    async with Client(program) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == set(CALLS)
        queues = await called(client, "list_queues", {"last": "1h"})
        assert {queue["tenant"] for queue in queues["items"]} == {"globex"}
        assert (await client.call_tool("list_queues", {"tenant": "acme"})).is_error
