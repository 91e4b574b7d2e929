"""D19: the API under what it was not made for: schemathesis, a thousand live clients, other tenants' names.

    python -m tests.proof.d19_api [--full] [--only fuzz|live|tenants]

Real `jobtide api` processes over a real Valkey and ClickHouse server, filled with a small world of two tenants. `fuzz` runs schemathesis
with all checks against an open API and against one with keys (with an admin's key); it leaves out /v1/live, which never ends, and, where there
is no Kafka (the short form in CI), what is read from it (alerts, rules, silences, messages: tests/integration/test_alerts_api), and lets a
422 answer valid parameters: that `last` and `from` exclude each other, or that a cursor is signed, no schema can say. `live` follows
/v1/live with many clients while series change four times a second: how far behind is the slowest, how large does the process get. `tenants`
asks every route as one tenant about the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx
import orjson
from jobtide.access.caller import Role
from jobtide.access.keyring import KeyFile
from jobtide.access.keys import Key
from jobtide.cli.embedded import ports
from jobtide.sinks.keys import field as hot_field
from jobtide.sinks.redis.connection import connect
from jobtide.sinks.redis.hot_state import RedisHotState
from jobtide.streams.agents.kafka import new_producer
from jobtide.streams.alerts.transitions import Transition, encode
from jobtide.streams.settings import Settings, load
from jobtide.streams.snapshots import HotWrite
from jobtide.streams.topics import ALERTS

from tests import clickhouse_server
from tests.fakes.job_world import World, grouped
from tests.fakes.job_world_stores import alerts_of, fill_history, fill_hot_state, snapshot
from tests.proof.command import Figures, Servers, main
from tests.proof.installation import Installation
from tests.proof.job_events import MINUTE, SECOND
from tests.servers import create_topics

FUZZ_S = {False: 10, True: 150}  # each of two runs: 5 minutes together
CLIENTS = {False: 100, True: 1000}
LIVE_S = {False: 5, True: 60}
# Of the checks' expectations: a 422 may answer valid parameters (above); an address that was refused often is told to wait, with or without a
# key; a backtest over a day takes as long as it takes, one at a time.
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429"]
missing_required_header.expected-statuses = ["401", "403", "429"]

[[operations]]
include-path = "/v1/rules/backtest"
checks.max_response_time = 120
"""
NO_BROKER = "127.0.0.1:1"  # says that there is no Kafka
SERIES, CHANGED, EVERY_S = 200, 10, 0.25
MARK = 1_000_000  # in_flight of a changed series is this plus the number of the change
BEHIND_BAR_S, RSS_BAR_MB = 3.0, 400.0
_MARKED = re.compile(rb'"in_flight":1(\d{6})\b')


@dataclass
class Place:
    """One running `jobtide api`."""

    url: str
    pid: int
    settings: Settings
    world: World
    keys: dict[str, str] = field(default_factory=dict)
    kafka: bool = False

    def headers(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[name]}"}

    @property
    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("the process is gone")


@contextlib.contextmanager
def serving(servers: Servers, clickhouse: str, name: str, guarded: bool) -> Iterator[Place]:
    """A filled installation and its API process."""
    world = World((time.time_ns() // 1000 - 30 * MINUTE) // MINUTE * MINUTE + 17_345_678, 25, 300)
    port, prefix = ports.free_block(1), f"d19-{name}-"
    settings = load({}, redis_url=servers.redis_url, redis_prefix=prefix, clickhouse_url=clickhouse, clickhouse_database=f"d19_{name}")
    fill_history(settings, world)
    asyncio.run(fill_hot_state(settings, world))
    kafka = servers.broker != NO_BROKER
    if kafka:
        asyncio.run(create_topics(servers.broker, prefix))
        asyncio.run(tell(servers.broker, prefix, alerts_of(world)))
    keys: dict[str, str] = {}
    environment = {
        "JOBTIDE_HTTP_PORT": str(port), "JOBTIDE_REDIS_PREFIX": prefix, "JOBTIDE_CLICKHOUSE_URL": clickhouse,
        "JOBTIDE_CLICKHOUSE_DATABASE": settings.clickhouse_database,
    }  # fmt: skip
    if guarded:
        file = KeyFile(servers.directory / f"{name}.json")
        for title, role, tenants in (("admin", Role.ADMIN, None), ("globex", Role.VIEWER, ("globex",)), ("viewer", Role.VIEWER, None)):
            keys[title] = file.create(Key(id="", sha256="", name=title, role=role, tenants=tenants, rate_per_minute=0, created_us=0))
        environment["JOBTIDE_KEYS_FILE"] = str(file.path)
    installation = Installation(servers.broker, servers.redis_url, prefix, servers.directory)
    process = installation.process(name, ["-m", "jobtide.cli", "api"], **environment)
    process.start()
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 60
        paths = ["/readyz", *(["/v1/alerts"] if kafka else [])]
        while not all(_answers(url + path, keys.get("viewer")) for path in paths):
            assert process.ended() is None and time.monotonic() < until, process.last_lines(20)
            time.sleep(0.1)
        yield Place(url, process.pid or 0, settings, world, keys, kafka)
    finally:
        process.kill()


def _answers(url: str, key: str | None) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, headers={"authorization": f"Bearer {key}"} if key else {}).status_code == 200
    return False


async def tell(broker: str, prefix: str, changes: list[Transition]) -> None:
    """What the rules have said."""
    settings = load({}, broker=broker, topic_prefix=prefix)
    producer = new_producer(settings)
    await producer.start()
    for each in changes:
        key = each.fingerprint.encode()
        await producer.send_and_wait(settings.topic(ALERTS), encode(each), key=key, partition=crc32(key) % settings.partitions)
    await producer.stop()


# --- schemathesis ---


def fuzz(place: Place, seconds: int, directory: Path) -> Figures:
    """Failures that schemathesis found, and how many requests it made."""
    report = directory / f"fuzz-{'keys' if place.keys else 'open'}.json"
    config = directory / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run",
        f"{place.url}/openapi.json", "--checks", "all", "--max-time", str(seconds),
        "--exclude-path", "/v1/live", *(() if place.kafka else ("--exclude-path-regex", "^/v1/(alerts$|silences|notifications|rules|status)")),
        "--request-timeout", "60", "--report", "json", "--report-json-path", str(report), "--seed", "19",
        "--continue-on-failure", "--suppress-health-check", "all", "--no-color", "--warnings", "off",
    ]  # fmt: skip
    if place.keys:
        command += ["--header", f"Authorization: Bearer {place.keys['admin']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds * 4 + 300, cwd=directory)
    output = done.stdout + done.stderr
    (directory / f"{report.stem}.txt").write_text(output)
    cases = re.search(r"(\d[\d,]*) generated", output)
    return {
        "exit": done.returncode,
        "cases": int(cases[1].replace(",", "")) if cases else 0,
        "wrong": [] if done.returncode == 0 else [line[:300] for line in output[output.find("= FAILURES") :].splitlines() if line.strip()][:60],
    }


@contextlib.contextmanager
def beside(place: Place) -> Iterator[None]:
    """What a real installation has and this place has not: a worker, which writes again what an erased tenant took from the hot state. And
    the throttle of refused requests forgets, else schemathesis would be told to wait where it asks whether a key is wanted at all."""
    stop = threading.Event()

    async def turn() -> None:
        state, client = RedisHotState(place.settings), connect(place.settings)
        try:
            await state.lost_everything()
            while not stop.is_set():
                if await state.lost_everything():
                    await fill_hot_state(place.settings, place.world)
                async for key in client.scan_iter(match=f"{place.settings.redis_prefix}rate:refused:*"):
                    await client.delete(key)
                await asyncio.sleep(0.1)
        finally:
            await state.close()
            await client.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(turn()), name="worker beside")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# --- live clients ---


@dataclass
class Audience:
    """What the clients saw: the longest that any was behind, and how many changes all of them got."""

    sent: dict[int, float] = field(default_factory=dict)
    behind_s: list[float] = field(default_factory=list)
    newest: dict[int, int] = field(default_factory=dict)
    connected: int = 0
    ended: int = 0

    def saw(self, client: int, chunk: bytes) -> None:
        """Changes that came together count as their oldest: rows are absolute, so a busy server may tell several at once."""
        marks = _MARKED.findall(chunk)
        if marks and (at := self.sent.get(int(min(marks)))) is not None:
            self.behind_s.append(time.monotonic() - at)
            self.newest[client] = max(self.newest.get(client, 0), int(max(marks)))


async def live(place: Place, clients: int, seconds: int) -> Figures:
    """Clients follow one selection while its series change; in the end each knows the last change."""
    audience, stop = Audience(), asyncio.Event()
    world = place.world
    base = snapshot(world, next(grouped(world.facts, 5))[0])
    before_mb = place.rss_mb
    followers = []
    for number in range(clients):
        followers.append(asyncio.create_task(_follow(number, place, audience, stop)))
        if number % 50 == 49:
            await asyncio.sleep(0.1)
    until = time.monotonic() + 120
    while audience.connected < clients:
        assert time.monotonic() < until, f"{audience.connected} of {clients} got a snapshot"
        await asyncio.sleep(0.1)
    audience.behind_s.clear()
    publishing = asyncio.create_task(_publish(place, base, audience, seconds))
    peak_mb = 0.0
    while not publishing.done():
        peak_mb = max(peak_mb, place.rss_mb)
        await asyncio.sleep(0.25)
    changes = publishing.result()
    await asyncio.sleep(BEHIND_BAR_S)
    peak_mb = max(peak_mb, place.rss_mb)
    stop.set()
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    times = sorted(audience.behind_s)
    return {
        "clients": clients, "changes": changes, "told_the_last": sum(newest == changes for newest in audience.newest.values()),
        "ended_early": audience.ended, "rss_before_mb": round(before_mb, 1),
        "rss_peak_mb": round(peak_mb, 1), "behind_p50_s": round(times[len(times) // 2], 3) if times else None,
        "behind_p99_s": round(times[len(times) * 99 // 100], 3) if times else None, "behind_max_s": round(times[-1], 3) if times else None,
    }  # fmt: skip


async def _follow(number: int, place: Place, audience: Audience, stop: asyncio.Event) -> None:
    """One client, reading bytes as fast as they come; what they mean is of no interest but for the marks."""
    host, _, port = place.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
    key = f"Authorization: Bearer {place.keys['viewer']}\r\n" if place.keys else ""
    writer.write(f"GET /v1/live?last=5m&queue=d19 HTTP/1.1\r\nHost: localhost\r\n{key}\r\n".encode())
    tail, seen = b"", False
    try:
        while chunk := await reader.read(1 << 16):
            tail = tail[-64:] + chunk
            if not seen and b"event: snapshot" in tail:
                seen = True
                audience.connected += 1
            audience.saw(number, tail)
            tail = tail[-32:] if _MARKED.search(tail) is None else b""
        if not stop.is_set():
            audience.ended += 1
    finally:
        writer.close()


async def _publish(place: Place, base: dict[str, Any], audience: Audience, seconds: int) -> int:
    """CHANGED of SERIES series change every EVERY_S, as stage 2 would write them. The number of changes."""
    state = RedisHotState(place.settings)
    number = 0
    begun = time.monotonic()
    try:
        while time.monotonic() - begun < seconds:
            number += 1
            writes = []
            for slot in range(CHANGED):
                name = f"Class{(number * CHANGED + slot) % SERIES:03d}"
                row = base | {"queue": "d19", "job_class": name, "in_flight": MARK + number, "at": base["at"] + number * SECOND}
                value = orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS)
                writes.append(HotWrite("series", row["tenant"], hot_field(row["environment"], row["system"], "d19", name), number + 1, value))
            audience.sent[number] = time.monotonic()
            await state.write(writes)
            await asyncio.sleep(max(0.0, begun + number * EVERY_S - time.monotonic()))
    finally:
        await state.close()
    return number


# --- tenants ---


def tenants(place: Place) -> Figures:
    """Answers to one tenant's key that hold anything of the other; every GET of the OpenAPI document, many ways to ask."""
    theirs = secrets_of(place.world, "acme")
    leaks: list[str] = []
    answers: dict[int, int] = {}
    acme_job = next(f.job_id for f in place.world.facts if f.tenant == "acme")
    with httpx.Client(base_url=place.url, headers=place.headers("globex"), timeout=60) as client:
        paths = client.get("/openapi.json").json()["paths"]
        for path, operations in paths.items():
            if "get" not in operations or not path.startswith("/v1/") or path == "/v1/live":
                continue
            required = [p["name"] for p in operations["get"].get("parameters", []) if p.get("required") and p["in"] == "query"]
            base = {name: {"metric": "finished", "release": "v1", "queue": "mail"}.get(name, "x") for name in required}
            for query in queries(base):
                answer = client.get(path.replace("{job_id}", acme_job) + query)
                answers[answer.status_code] = answers.get(answer.status_code, 0) + 1
                found = [text for text in theirs if text in answer.text]
                no_kafka = not place.kafka and answer.status_code == 503 and "Kafka" in answer.text
                if found or (answer.status_code >= 500 and not no_kafka):
                    leaks.append(f"{path}{query}: {answer.status_code} {found[:5]}")
    return {"asked": sum(answers.values()), "answers": answers, "leaks": leaks}


def queries(base: dict[str, str]) -> Iterator[str]:
    """Ways to ask, honest and not."""
    rest = "".join(f"&{name}={value}" for name, value in base.items())
    for span in ("last=5m", "last=1h", "last=25h", "from=2020-01-01T00:00:00Z"):
        yield f"?{span}{rest}"
    for claim in (
        "tenant=globex", "tenant=acme", "tenant=", "tenant=%61cme", "t%65nant=acme", "tenant=globex&tenant=acme", "tenant=acme&tenant=globex",
        "tenant=acme%00", "tenant=acme%20", "tenant=*", "tenant=globex%27%20OR%20%271%27=%271", "Tenant=acme", "tenant[]=acme", "tenant.x=acme",
    ):  # fmt: skip
        yield f"?last=1h&{claim}{rest}"
    for name in ("queue", "job_class", "system", "environment"):
        yield f"?last=1h&{name}=%27%20OR%20tenant=%27acme{rest}"
    yield f"?last=1h&by=tenant{rest}"


def secrets_of(world: World, tenant: str) -> set[str]:
    """Texts that only this tenant's data holds, as they stand in JSON."""

    def texts(mine: bool) -> set[str]:
        facts = [f for f in world.facts if (f.tenant == tenant) is mine]
        return {text for f in facts for text in (f.queue, f.job_class, f.worker_id)} | {f'"{f.job_id}"' for f in facts}

    own = {text if text.startswith('"') else json.dumps(text, ensure_ascii=False)[1:-1] for text in texts(True) - texts(False)}
    return own | {f'"tenant":"{tenant}"'}


def run(full: bool, servers: Servers, only: str = "") -> Figures:
    """All three, over one Valkey and one ClickHouse."""
    figures: Figures = {}
    wrong: list[str] = []
    directory = servers.directory / "d19"
    directory.mkdir(exist_ok=True)
    with clickhouse_server.clickhouse(directory) as clickhouse:
        if only in ("", "tenants"):
            with serving(servers, clickhouse.address, "tenants", guarded=True) as place:
                found = tenants(place)
            wrong += found["leaks"]
            figures |= {"asked as another tenant": found["asked"], "leaks": len(found["leaks"]), "answers": str(found["answers"])}
        if only in ("", "live"):
            with serving(servers, clickhouse.address, "live", guarded=True) as place:
                found = asyncio.run(live(place, CLIENTS[full], LIVE_S[full]))
            figures |= found
            if found["told_the_last"] < found["clients"] or found["ended_early"]:
                wrong.append(f"{found['told_the_last']} of {found['clients']} clients know the last change, {found['ended_early']} were lost")
            if full and (found["behind_max_s"] is None or found["behind_max_s"] > BEHIND_BAR_S):  # the short form runs on busy machines
                wrong.append(f"a client was {found['behind_max_s']} s behind")
            if found["rss_peak_mb"] > RSS_BAR_MB:
                wrong.append(f"the process took {found['rss_peak_mb']} MB")
        if only in ("", "fuzz"):
            for name, guarded in (("open", False), ("keys", True))[0 if full else 1 :]:
                with serving(servers, clickhouse.address, f"fuzz_{name}", guarded) as place, beside(place):
                    found = fuzz(place, FUZZ_S[full], directory)
                figures |= {f"fuzz {name} cases": found["cases"], f"fuzz {name} exit": found["exit"]}
                wrong += found["wrong"]
                if not found["cases"]:
                    wrong.append(f"schemathesis made no request ({name})")
    return figures | {"wrong": wrong, "passed": not wrong}


if __name__ == "__main__":
    only = next((argument for argument in ("fuzz", "live", "tenants") if argument in sys.argv), "")
    sys.argv = [argument for argument in sys.argv if argument not in ("--only", only)]
    main("D19: the API under fuzzing, many live clients, and other tenants' names", lambda full, servers: run(full, servers, only))
