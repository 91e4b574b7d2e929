"""A client of the query API with the standard library: JSON answers, streams, and one sentence for everything that goes wrong.

Not a retry policy: a command asks once, and a person repeats it. `Stream` alone comes back by itself.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from jobtide.cli import identity
from jobtide.streams.errors import ConfigError, TransientError

TIMEOUT_S = 40.0
QUIET_S = 25.0  # a live stream says something every 10 s

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    id: str
    data: dict[str, Any]


class Api:
    """One jobtide. ConfigError: the question or the key is wrong; TransientError: it cannot be answered now."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--url must be http(s)://host:port of a jobtide, not {url!r}")
        self.url, self._timeout_s = url.rstrip("/"), timeout_s
        self._parts = parts

    def get(self, path: str, params: Params | None = None) -> dict[str, Any]:
        """A JSON object."""
        return self._json("GET", path, params)

    def delete(self, path: str, params: Params | None = None) -> dict[str, Any]:
        return self._json("DELETE", path, params)

    def post(self, path: str, body: Any, params: Params | None = None) -> dict[str, Any]:
        return self._json("POST", path, params, json.dumps(body).encode())

    def pieces(self, method: str, path: str, params: Params | None = None, body: bytes | None = None) -> Iterator[bytes]:
        """An answer of any length, as it comes."""
        with self._answer(method, path, params, body) as reply:
            while piece := reply.read(1 << 16):
                yield piece

    def events(self, path: str, params: Params | None = None) -> Iterator[Event]:
        """The events of one stream until it ends; TransientError when it falls silent."""
        with self._answer("GET", path, params, None, QUIET_S) as reply:
            fields: dict[str, str] = {}
            for raw in _lines(reply):
                if raw == "":
                    if "data" in fields:
                        yield Event(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
                    fields = {}
                elif not raw.startswith(":"):
                    name, _, value = raw.partition(":")
                    fields[name] = value.removeprefix(" ")

    def _json(self, method: str, path: str, params: Params | None = None, body: bytes | None = None) -> dict[str, Any]:
        with self._answer(method, path, params, body) as reply:
            try:
                found = json.loads(reply.read())
            except ValueError:
                raise ConfigError(f"{self.url} answers something else than a jobtide: is the address right?") from None
        return found if isinstance(found, dict) else {"items": found}

    @contextmanager
    def _answer(
        self, method: str, path: str, params: Params | None, body: bytes | None, timeout_s: float | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection(timeout_s if timeout_s is not None else self._timeout_s)
        target = self._parts.path.rstrip("/") + path + _query(params)
        headers = identity.headers() | ({"Content-Type": "application/json"} if body is not None else {})
        try:
            connection.request(method, target, body, headers)
            reply = connection.getresponse()
            if reply.status >= 300:
                raise _problem(self.url, reply.status, reply.read(1 << 16))
            yield reply
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"no answer from {self.url} ({error or type(error).__name__}): is it running? `jobtide health` says more") from None
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=timeout_s)


def path_of(*parts: str) -> str:
    """A path of parts that may hold anything.

    >>> path_of("v1", "jobs", "a/b ü", "timeline")
    '/v1/jobs/a/b%20%C3%BC/timeline'
    """
    return "/" + "/".join(quote(part, safe="/") for part in parts)


def _query(params: Params | None) -> str:
    pairs = [(name, value) for name, value in (params or {}).items() if value not in (None, [], ())]
    return "?" + urlencode(pairs, doseq=True) if pairs else ""


def _lines(reply: http.client.HTTPResponse) -> Iterator[str]:
    while raw := reply.readline():
        yield raw.decode("utf-8", "replace").rstrip("\r\n")


def _problem(url: str, status: int, body: bytes) -> Exception:
    """What the server said, as what the caller has to do."""
    try:
        detail = str(json.loads(body).get("detail", ""))
    except (ValueError, AttributeError):
        detail = body[:200].decode(errors="replace")
    if status == 401:
        return ConfigError(f"{url} asks for an API key: set JOBTIDE_KEY or give --key ({detail})")
    if status in (429, 502, 503, 504) or status >= 500:
        return TransientError(f"{url} cannot answer now ({status}): {detail}")
    return ConfigError(detail or f"{url} answered {status}")
