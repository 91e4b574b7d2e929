"""Refusals of whole requests as RFC 9457 problem+json. Events refused one by one are part of a 202 instead."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from fastapi import Response


class Problem(Exception):
    """A request that is answered with `status`, one sentence, and (429, 503) when to come back."""

    def __init__(self, status: int, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after_s = retry_after_s

    def response(self) -> Response:
        """The HTTP answer."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return Response(orjson.dumps(body), self.status, headers, media_type="application/problem+json")
