"""Does the set work from end to end? Asked over its own HTTP port, with the standard library only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from jobtide.cli import identity


def edge_answers(http_address: str) -> Callable[[], bool]:
    """Ready to answer questions, and to take events (an empty request is taken only when Kafka could take events)."""
    return lambda: _exchange(http_address, "GET", "/readyz")[0] == 200 and _exchange(http_address, "POST", "/v1/events")[0] == 202


def worker_answers(http_address: str) -> Callable[[], bool]:
    """A worker has said how far its live numbers have come: while it has not, history answers in their place."""

    def answers() -> bool:
        status, answer = _exchange(http_address, "GET", "/v1/classes?last=1m&limit=1")
        return status == 200 and answer.get("source") == "live" and answer.get("complete_until") is not None

    return answers


def _exchange(http_address: str, method: str, path: str) -> tuple[int, dict[str, Any]]:
    """(status, JSON object) of an answer; (0, {}) without one."""
    parts = urlsplit(http_address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=3)
    try:
        connection.request(method, path, headers=identity.headers())
        reply = connection.getresponse()
        body = json.loads(reply.read())
        return reply.status, body if isinstance(body, dict) else {}
    except (OSError, ValueError, http.client.HTTPException):
        return 0, {}
    finally:
        connection.close()
