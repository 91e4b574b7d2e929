"""What `jobtide health` looks at: each check says that something works, with a number, or what is wrong and what to do.

Only asks; repairs nothing. The HTTP port is asked as a client would; Kafka, Redis and ClickHouse are asked directly when
their addresses are known, so that the cause is named and not only the symptom.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jobtide.cli import identity
from jobtide.streams.errors import ConfigError, TransientError
from jobtide.streams.settings import Settings

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    what: str
    good: bool
    detail: str


async def all_findings(settings: Settings, url: str) -> list[Finding]:
    """Every check, side by side; one that hangs is bad after TIMEOUT_S."""
    checks: dict[str, Callable[[], Awaitable[str]]] = {
        f"http {url}": lambda: asyncio.to_thread(readiness, url),
        "live numbers": lambda: asyncio.to_thread(freshness, url),
        f"kafka {settings.broker}": lambda: topics(settings),
        "redis": lambda: redis_answers(settings),
    }
    if not settings.clickhouse_url.startswith("chdb:"):
        checks["clickhouse"] = lambda: asyncio.to_thread(clickhouse_answers, settings)
    return list(await asyncio.gather(*(_finding(what, check) for what, check in checks.items())))


async def _finding(what: str, check: Callable[[], Awaitable[str]]) -> Finding:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return Finding(what, True, await check())
    except TimeoutError:
        return Finding(what, False, f"no answer within {TIMEOUT_S:.0f} s")
    except (ConfigError, TransientError) as error:
        return Finding(what, False, str(error))


def readiness(url: str) -> str:
    """The edge or API answers, and has what it needs."""
    status, answer = _get(url, "/readyz")
    if status != 200:
        raise TransientError(f"not ready: {json.dumps(answer.get('missing') or answer.get('detail') or status)}")
    return "ready"


def freshness(url: str) -> str:
    """A worker has spoken; says how far its numbers have come and what they have seen."""
    status, answer = _get(url, "/v1/classes?last=1m&limit=1")
    if status != 200:
        raise TransientError(f"no answer to /v1/classes: {answer.get('detail', status)}")
    if answer.get("complete_until") is None:
        raise TransientError("no stream worker has published anything yet: run `jobtide worker`")
    if answer.get("degraded"):
        raise TransientError("; ".join(answer["degraded"]))
    ratio = (answer.get("completeness") or {}).get("ratio")
    seen = "" if ratio is None else f", {ratio:.4%} of numbered events seen"
    return f"complete until {answer['complete_until']}{seen}"


async def topics(settings: Settings) -> str:
    """Kafka answers and the topics are there, with the partitions the settings say."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError
    from jobtide.streams.agents.kafka import connection
    from jobtide.streams.topics import TOPICS

    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    except KafkaError as error:
        raise TransientError(f"out of reach: {error}") from error
    finally:
        await admin.close()
    names = [settings.topic(topic.name) for topic in TOPICS]
    missing = [name for name in names if name not in found]
    if missing:
        raise TransientError(f"no topic {', '.join(missing)}: run `jobtide topics create`")
    for name in names:
        if found[name] != settings.partitions:
            raise ConfigError(f"{name} has {found[name]} partitions, JOBTIDE_PARTITIONS says {settings.partitions}")
    return f"{len(names)} topics with {settings.partitions} partitions each"


async def redis_answers(settings: Settings) -> str:
    """Redis answers PING."""
    from jobtide.sinks.redis.connection import connect
    from redis.exceptions import RedisError

    client = connect(settings)
    try:
        await client.ping()
        return "answers"
    except (RedisError, OSError) as error:
        raise TransientError(f"out of reach: {error}") from error
    finally:
        await client.aclose()


def clickhouse_answers(settings: Settings) -> str:
    """The ClickHouse server answers, and has our tables."""
    from jobtide.sinks.clickhouse.connection import ClickHouse

    db = ClickHouse(settings)
    try:
        ((events,),) = db.rows("SELECT sum(rows) FROM system.parts WHERE active AND table = 'job_events'")
        return f"{events} stored events"
    except Exception as error:  # whatever its driver raises: this is a report
        raise TransientError(f"{error}"[:300]) from error
    finally:
        db.close()


def _get(url: str, path: str) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path, headers=identity.headers())
        reply = connection.getresponse()
        body = json.loads(reply.read())
        return reply.status, body if isinstance(body, dict) else {}
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise TransientError(f"no answer: {error}") from error
    finally:
        connection.close()
