"""Receivers for the delivery proofs: real HTTP servers on loopback that note what comes, and answer as they are told to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook


@dataclass
class Seen:
    """One request: when (monotonic s), its webhook-id, its bytes."""

    at_s: float
    id: str
    body: bytes
    headers: dict[str, str]


Answer = tuple[int, dict[str, str], float]  # status, headers, seconds to wait before it
OK: Answer = (204, {}, 0)


@dataclass
class Endpoint:
    """`answer(number)` says what request number 0, 1, … gets. Bodies are verified against `secret` by the standardwebhooks library."""

    secret: str
    answer: Callable[[int], Answer] = lambda _: OK
    seen: list[Seen] = field(default_factory=list)
    bad_signatures: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> Endpoint:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            number = len(self.seen)
            self.seen.append(Seen(time.monotonic(), headers.get("webhook-id", ""), body, headers))
            try:
                Webhook(self.secret).verify(body, headers)
            except Exception:
                self.bad_signatures += 1
            status, more, wait_s = self.answer(number)
            await asyncio.sleep(wait_s)
            lines = [f"HTTP/1.1 {status} X", "content-length: 0", *(f"{name}: {value}" for name, value in more.items())]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def alerts(self) -> list[dict[str, Any]]:
        """What a receiver that takes each webhook-id once has been told, in order."""
        told, ids = [], set[str]()
        for each in self.seen:
            if each.id not in ids:
                ids.add(each.id)
                told += json.loads(each.body)["data"]["alerts"]
        return told

    def changed_bytes(self) -> list[str]:
        """Webhook-ids that came with different bytes."""
        first: dict[str, bytes] = {}
        return [each.id for each in self.seen if first.setdefault(each.id, each.body) != each.body]
