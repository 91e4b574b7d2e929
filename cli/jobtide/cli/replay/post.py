"""Sends lines to a gateway and waits until they are accepted. Standard library HTTP, one connection per sender.

It repeats what may be repeated (429, 503, a broken connection) for a while; the gateway and stage 1 make that harmless.
It does not judge events: refusals come back with their line numbers.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson
from jobtide.cli import identity
from jobtide.streams.errors import ConfigError, TransientError

PATIENCE_S = 60.0
_BACK_OFF_S = 0.5


@dataclass
class Outcome:
    """What became of the lines: how many were accepted, and (line, reason, detail) of the others."""

    accepted: int = 0
    refused: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Count another outcome in."""
        self.accepted += other.accepted
        self.refused += other.refused


class Sender:
    """One connection to `POST {url}/v1/events`, for one thread at a time; `give_up` ends its patience early."""

    def __init__(self, url: str, give_up: threading.Event) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise ConfigError(f"--url must be http://host:port of a gateway, not {url!r}")
        self._address = (parts.hostname, parts.port or 80)
        self._path = parts.path.rstrip("/") + "/v1/events"
        self._connection: http.client.HTTPConnection | None = None
        self._give_up = give_up

    def send(self, lines: Sequence[tuple[int, bytes]]) -> Outcome:
        """Send (number, line)s as one request. TransientError after a minute without success."""
        if not lines:
            return Outcome()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status, wait_s, body = self._post(b"\n".join(line for _, line in lines))
            if status == 202:
                return _outcome(body, lines)
            if status == 413 and len(lines) > 1:
                half = len(lines) // 2
                outcome = self.send(lines[:half])
                outcome.add(self.send(lines[half:]))
                return outcome
            if status not in (0, 429, 503) and status < 500:
                raise ConfigError(f"{self._address[0]}:{self._address[1]}{self._path} answered {status}: {_detail(body)}")
            if self._give_up.wait(wait_s) or time.monotonic() > deadline:
                raise TransientError(f"no success for {PATIENCE_S:.0f} s: {_detail(body)}")

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes) -> tuple[int, float, bytes]:
        """(status, seconds to wait before a repetition, body); status 0 when there was no answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self._address, timeout=30)
        try:
            self._connection.request("POST", self._path, body, {"Content-Type": "application/x-ndjson", **identity.headers()})
            reply = self._connection.getresponse()
            answer = reply.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return 0, _BACK_OFF_S, f"no answer from {self._address[0]}:{self._address[1]} ({error})".encode()
        wait = reply.headers.get("Retry-After", "")
        return reply.status, float(wait) if wait.isdigit() else _BACK_OFF_S, answer


def _outcome(body: bytes, lines: Sequence[tuple[int, bytes]]) -> Outcome:
    answer = orjson.loads(body)
    refused = [(lines[one["line"] - 1][0], one["reason"], one["detail"]) for one in answer["rejected"]]
    return Outcome(answer["accepted"], refused)


def _detail(body: bytes) -> str:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return body[:200].decode(errors="replace")
    return str(answer.get("detail", answer))[:200] if isinstance(answer, dict) else str(answer)[:200]
