"""Ids of events behind an alert's number, asked of the query API while the alert's message is written.

Best effort, with a short deadline: history may be a few seconds behind, and an alert must not wait for it. What was found goes into the
message once; it is not asked again for a repetition of the same bytes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import aiohttp
from jobtide.streams.alerts.transitions import Transition

DEADLINE_S = 1.5
EXAMPLES = 3
AT_ONCE = 8  # messages whose examples are asked for at the same time; who does not get a turn before the deadline goes without
log = logging.getLogger(__name__)
# By metric, or by kind of rule: the state of the attempts that make the number what it is.
STATES = {
    "job_failure_rate": "dead", "attempt_failure_rate": "failed", "success_rate": "dead", "burn_rate": "failed", "dead": "dead", "failed": "failed",
}  # fmt: skip


def question(each: Transition) -> str:
    """The list of attempts that the number is about; empty for workers and queues, which have none."""
    parts = urlsplit(each.query)
    if not parts.path.startswith(("/v1/classes", "/v1/queues")):
        return ""
    given = dict(parse_qsl(parts.query))
    given.pop("last", None)
    metric = each.condition.split(" ", 1)[0]
    state = STATES.get(metric) or STATES.get(each.kind, "")
    return "/v1/jobs?" + urlencode({**given, **({"state": state} if state else {}), "limit": EXAMPLES})


class Evidence:
    """`api_url` empty: nobody is asked."""

    def __init__(self, api_url: str, key: str = "", deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._base = api_url.rstrip("/")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    async def add(self, transitions: list[Transition]) -> None:
        """Put examples into firing transitions."""
        if not self._base:
            return
        firing = [each for each in transitions if each.state == "firing" and not each.examples][:5]
        try:
            async with asyncio.timeout(self._deadline_s), self._turns, aiohttp.ClientSession(headers=self._headers, trust_env=False) as session:
                for each, found in zip(firing, await asyncio.gather(*(self._examples(session, each) for each in firing)), strict=True):
                    each.examples = found
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            log.info("no examples for %d alerts: %r", len(firing), error)

    async def _examples(self, session: aiohttp.ClientSession, each: Transition) -> list[dict[str, str]]:
        asked = question(each)
        if not asked:
            return []
        rows = (await self._get(session, asked))["items"]
        return list(await asyncio.gather(*(self._example(session, row) for row in rows)))

    async def _example(self, session: aiohttp.ClientSession, row: dict[str, Any]) -> dict[str, str]:
        said = {name: row[name] for name in ("tenant", "environment", "system", "queue")}
        path = f"/v1/jobs/{quote(row['job_id'], safe='')}/timeline?{urlencode({**said, 'limit': 100})}"
        events = (await self._get(session, path))["events"]
        of_attempt = [event for event in events if event.get("attempt") == row["attempt"]] or events
        return {"job_id": row["job_id"], "attempt": str(row["attempt"]), "event_id": of_attempt[-1]["event_id"] if of_attempt else ""}

    async def _get(self, session: aiohttp.ClientSession, path: str) -> Any:
        async with session.get(self._base + path) as answer:
            if answer.status != 200:
                raise ValueError(f"{path}: HTTP {answer.status}")
            return await answer.json()
