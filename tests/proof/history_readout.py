"""What history says, to be compared with the ledger: minute rollups, executions and events in ClickHouse, and
`/v1/classes`.

Asks ClickHouse over HTTP with statements of its own, so that neither the sinks' nor the query's code is believed.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

import httpx
import orjson

from tests.proof.ledger import BySpan, Counted, Series

_COUNTS = ("enqueued", "started", "finished", "failed", "cancelled", "discarded", "retried", "dead", "negative_waits")
_SUMS = ("wait", "run_ok", "run_failed")
_ROLLUPS = f"""
SELECT tenant, environment, system, queue, job_class, toUnixTimestamp(minute) AS start_s, {", ".join(_COUNTS)},
  {", ".join(f"arraySum(mapValues({name}_hist)) AS {name}_n, {name}_sum_us" for name in _SUMS)}
FROM rollups FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0"""
_EXECUTIONS = """
SELECT tenant, environment, system, queue, job_class, countIf(enqueued_at IS NOT NULL) AS enqueued,
  countIf(started_at IS NOT NULL) AS started, countIf(outcome = 'finished') AS finished, countIf(outcome = 'failed') AS failed,
  countIf(dead) AS dead, countIf(retried) AS retried, countIf(wait_us IS NOT NULL) AS wait, countIf(wait_us < 0) AS negative_waits,
  countIf(outcome = 'finished' AND run_us IS NOT NULL) AS run_ok, countIf(outcome = 'failed' AND run_us IS NOT NULL) AS run_failed,
  sumIf(wait_us, wait_us > 0) AS wait_us_sum, sumIf(run_us, outcome = 'finished') AS run_ok_us_sum,
  sumIf(run_us, outcome = 'failed') AS run_failed_us_sum
FROM executions GROUP BY ALL FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0"""
_EVENTS = "SELECT count() AS rows, uniqExact(event_id) AS ids FROM job_events FINAL FORMAT JSONEachRow"


class ClickHouse:
    """Read-only questions to one database."""

    def __init__(self, url: str, database: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, params={"database": database}, timeout=60)

    async def close(self) -> None:
        await self._client.aclose()

    async def _rows(self, statement: str) -> list[dict[str, Any]]:
        reply = await self._client.post("/", content=statement)
        reply.raise_for_status()
        return [orjson.loads(line) for line in reply.content.splitlines()]

    async def rollups(self) -> BySpan:
        found: BySpan = {}
        for row in await self._rows(_ROLLUPS):
            counted = found[_series(row), row["start_s"]] = Counted()
            counted.counts.update({name: row[name] for name in _COUNTS})
            counted.counts.update({name: row[f"{name}_n"] for name in _SUMS})
            counted.sums_us.update({name: row[f"{name}_sum_us"] for name in _SUMS})
        return found

    async def executions(self) -> dict[Series, Counted]:
        found: dict[Series, Counted] = {}
        for row in await self._rows(_EXECUTIONS):
            counted = found[_series(row)] = Counted()
            names = ("enqueued", "started", "finished", "failed", "retried", "dead", "negative_waits", *_SUMS)
            counted.counts.update({name: row[name] for name in names})
            counted.sums_us.update({name: row[f"{name}_us_sum"] or 0 for name in _SUMS})
        return found

    async def events(self) -> tuple[int, int]:
        """(rows, different event ids)"""
        row = (await self._rows(_EVENTS))[0]
        return int(row["rows"]), int(row["ids"])


async def classes(client: httpx.AsyncClient, **span: str) -> dict[Series, Counted]:
    """`/v1/classes` over all pages."""
    found: dict[Series, Counted] = defaultdict(Counted)
    cursor: dict[str, str] = {}
    while True:
        reply = await client.get("/v1/classes", params={"limit": "7", **span, **cursor})
        reply.raise_for_status()
        page = reply.json()
        for row in page["items"]:
            counted = found[_series(row)]
            counted.counts.update({name: row[name] for name in _COUNTS})
            for name in _SUMS:
                counted.counts[name] = row[f"{name}_ms"]["count"]
        if page["next_cursor"] is None:
            return dict(found)
        cursor = {"cursor": page["next_cursor"]}


def without_sums(counted: dict[Series, Counted]) -> dict[Series, Counted]:
    """As `classes` tells it."""
    return {series: Counted(each.counts) for series, each in counted.items()}


def _series(row: dict[str, Any]) -> Series:
    return row["tenant"], row["environment"], row["system"], row["queue"], row["job_class"]


async def per_minute(client: httpx.AsyncClient, metric: str, **span: str) -> dict[int, int]:
    """`/v1/series`: start of the minute in s → count, over all classes."""
    reply = await client.get("/v1/series", params={"metric": metric, "step": "1m", **span})
    reply.raise_for_status()
    points = reply.json()["items"][0]["points"]
    return {round(datetime.fromisoformat(point["at"]).timestamp()): round(point["value"]) for point in points}
