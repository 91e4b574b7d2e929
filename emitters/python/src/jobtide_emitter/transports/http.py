"""HTTP to the gateway, with the standard library only: gzipped NDJSON, one connection that is kept.

Used by the flusher's thread only. 429 and 5xx come back as TransportDown, after the Retry-After the gateway asked for;
events that the gateway refuses one by one are its to report and are not sent again. Broadcasts go unnumbered
(`partitions` is None): the gateway knows the topic, this does not.
"""

from __future__ import annotations

import gzip
import http.client
import ssl
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import orjson

from jobtide_emitter.errors import TransportDown
from jobtide_emitter.guard import log
from jobtide_emitter.packs import text_of
from jobtide_emitter.ring import Record
from jobtide_emitter.settings import Settings

MAX_BODY_BYTES = 512 << 10
_LONGEST_RETRY_AFTER_S = 60.0
_UNACCEPTABLE = (
    400,
    413,
    422,
)  # the body, not the moment: smaller ones may pass, and a single event that does not is lost


class HttpTransport:
    """One connection to one gateway."""

    partitions: int | None = None

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url
        parts = urlsplit(settings.url)
        self._timeout_s = settings.request_timeout_ms / 1000
        self._path = parts.path or "/v1/events"
        self._host, self._port = parts.hostname or "", parts.port
        self._tls = ssl.create_default_context(cafile=settings.tls_ca or None) if parts.scheme == "https" else None
        self._headers = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}
        if settings.token:
            self._headers["authorization"] = f"Bearer {settings.token}"
        self._connection: http.client.HTTPConnection | None = None
        self._not_before = 0.0
        self._refused = 0
        self._body_bytes = MAX_BODY_BYTES

    def connect(self) -> None:
        """Nothing to learn: the first post tells."""

    def deliver(self, records: Sequence[Record], epoch: str) -> Sequence[Record]:
        """Posts the records, a body full at a time; returns what is left when one of the posts fails."""
        left = list(records)
        while left:
            lines = self._body(left, epoch)
            try:
                self._post(b"\n".join(lines), len(lines))
            except TransportDown:
                if len(left) == len(records):
                    raise
                break
            del left[: len(lines)]
        return left

    def _body(self, records: Sequence[Record], epoch: str) -> list[bytes]:
        lines: list[bytes] = []
        size = 0
        for record in records:
            text = text_of(record, epoch)
            if lines and size + len(text) > self._body_bytes:
                break
            lines.append(text)
            size += len(text) + 1
        return lines

    def _post(self, body: bytes, count: int) -> None:
        if time.monotonic() < self._not_before:
            raise TransportDown(f"{self._url} asked to wait")
        status, answer, retry_after = self._exchange(body)
        if status in (200, 202):
            self._note_refused(answer)
        elif status in _UNACCEPTABLE and count == 1:
            self._note_refused(orjson.dumps({"rejected": [{"status": status}]}))
        else:
            if status in _UNACCEPTABLE:
                self._body_bytes = max(1024, self._body_bytes // 4)
            self._not_before = time.monotonic() + _retry_after_s(retry_after)
            raise TransportDown(f"{self._url} answered {status}: {answer[:200].decode('utf-8', 'replace')}")

    def _exchange(self, body: bytes) -> tuple[int, bytes, str | None]:
        headers = {**self._headers, "sent-at": str(time.time_ns() // 1_000_000)}
        try:
            if self._connection is None:
                self._connection = self._open()
            self._connection.request("POST", self._path, gzip.compress(body, 1), headers)
            response = self._connection.getresponse()
            return response.status, response.read(), response.getheader("retry-after")
        except (OSError, http.client.HTTPException) as error:
            self._drop_connection()
            raise TransportDown(f"{self._url}: {error!r}") from error

    def _note_refused(self, answer: bytes) -> None:
        try:
            refused = orjson.loads(answer).get("rejected") or []
        except (orjson.JSONDecodeError, AttributeError):
            return
        if refused and not self._refused:
            log.warning("jobtide: %s refused %d events, the first because of %s", self._url, len(refused), refused[0])
        self._refused += len(refused)

    def _open(self) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self, timeout_s: float) -> None:
        """Closes the connection."""
        self._drop_connection()

    def abandon(self) -> None:
        """The parent's connection: closing our copy of the descriptor says nothing to the gateway."""
        self._connection = None


def _retry_after_s(header: str | None) -> float:
    """Seconds to wait: what the gateway says, in seconds (a date is taken as ten), at most a minute; else none."""
    if header is None:
        return 0.0
    try:
        return min(max(0.0, float(header)), _LONGEST_RETRY_AFTER_S)
    except ValueError:
        return 10.0
