"""Is an HTTP endpoint of a child answering 200? Standard library only, to keep the supervisor small."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from urllib.parse import urlsplit


def http_ok(url: str) -> Callable[[], bool]:
    """A function that asks once."""
    parts = urlsplit(url)

    def answers() -> bool:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=3)
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return answers
