"""Sends events over HTTP, as an emitter that loses nothing would: again and again until the gateway has accepted them.

What was accepted but not answered, because something was killed in between, is thereby sent twice.
"""

from __future__ import annotations

import asyncio
import time
from random import Random

import httpx
import orjson

from tests.proof.load import Waiting
from tests.proof.traffic import Arrival

AT_ONCE = 4  # requests
GIVE_UP_S = 120.0


class ToGateway:
    """`POST /v1/events` at `url`. `again` counts the requests that had to be repeated."""

    def __init__(self, url: str) -> None:
        self._url, self._slots = url, asyncio.Semaphore(AT_ONCE)
        self.again = 0

    async def __aenter__(self) -> ToGateway:
        self._client = httpx.AsyncClient(base_url=self._url, timeout=15)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(self, due: list[Arrival], random: Random) -> Waiting:
        tasks: Waiting = set()
        for start in range(0, len(due), 500):
            values = [arrival.value for arrival in due[start : start + 500]]
            tasks.add(asyncio.create_task(self._post(values, as_array=random.random() < 0.5)))
        return tasks

    async def _post(self, values: list[bytes], as_array: bool) -> None:
        body = b"[" + b",".join(values) + b"]" if as_array else b"\n".join(values)
        async with self._slots:
            limit_s = time.monotonic() + GIVE_UP_S
            while True:
                try:
                    reply = await self._client.post("/v1/events", content=body)
                    if reply.status_code == 202:
                        return _check(reply.json(), values)
                    if reply.status_code not in (429, 503):
                        raise ValueError(f"{reply.status_code}: {reply.text}")
                except httpx.TransportError:
                    pass
                if time.monotonic() > limit_s:
                    raise TimeoutError(f"nothing was accepted for {GIVE_UP_S:.0f} s")
                self.again += 1
                await asyncio.sleep(0.2)


def _check(answer: dict[str, object], values: list[bytes]) -> None:
    """All that keep the contract were accepted, and no other."""
    good = sum(not orjson.loads(value)["id"].startswith("broken") for value in values)
    if answer["accepted"] != good:
        raise ValueError(f"{good} of {len(values)} events keep the contract, but {answer}")
