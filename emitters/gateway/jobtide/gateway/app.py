"""The gateway's HTTP face: `POST /v1/events`. Thin: body → `intake` → `placement` → `broker`.

Not the query API; `up` puts both on one port through `Gateway.join`. Whatever a client sends, the answer is 202 with
what was accepted, or a problem+json that says whether and when to send it again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from jobtide.access.guard import Access, caller_of, install, takes_tenant
from jobtide.gateway import body, meters
from jobtide.gateway.broker import Broker
from jobtide.gateway.intake import MAX_EVENTS, Arrival, Intake, TooMany, judge, lines
from jobtide.gateway.owner import Owner, owner_of
from jobtide.gateway.placement import messages
from jobtide.gateway.problems import Problem
from jobtide.streams.errors import ContractError, TransientError
from jobtide.streams.events import Reason, time_text
from jobtide.streams.settings import Settings
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect

RETRY_S = 2
_YIELD_EVERY = 500
_DESCRIPTION = (
    "NDJSON or a JSON array of events, full CloudEvents or the flat short form, optionally gzipped. "
    "202 is sent only after Kafka has acknowledged every accepted event; a repeated request is harmless."
)


class Gateway:
    """One gateway: its broker connection and how many bytes it is holding."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.broker = Broker(settings)
        self._in_flight = 0

    def join(self, app: FastAPI) -> None:
        """Add the route to an application, and the broker connection to its life."""
        router = APIRouter(tags=["ingest"])
        router.add_api_route(
            "/v1/events",
            self._route,
            methods=["POST"],
            status_code=202,
            description=_DESCRIPTION,
            openapi_extra=_REQUEST,
        )
        app.include_router(router)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def both(app: FastAPI) -> AsyncIterator[Any]:
            await self.broker.start()
            try:
                async with inner(app) as state:
                    yield state
            finally:
                await self.broker.stop()

        app.router.lifespan_context = both

    async def _route(self, request: Request) -> Response:
        try:
            answer = await self._take(request)
        except Problem as problem:
            answer = problem.response()
        meters.requests.labels(str(answer.status_code)).inc()
        return answer

    async def _take(self, request: Request) -> Response:
        if (problem := self.broker.problem) is not None:
            raise Problem(503, problem, RETRY_S)
        with self._held() as held:
            content = await self._read(request, held)
            intake = await self._judge(content, owner_of(caller_of(request)))
            sent_at = request.headers.get("sent-at", "")
            stamp = sent_at if sent_at.isascii() and sent_at.isdigit() else str(time.time_ns() // 1_000_000)
            try:
                await self.broker.send(messages(intake.placed), stamp.encode())
            except TransientError as error:
                raise Problem(503, f"{error}; nothing counts as accepted, send it again", RETRY_S) from error
        return _accepted(intake)

    async def _read(self, request: Request, held: Held) -> bytes:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("gzip", "identity", ""):
            raise Problem(415, f"Content-Encoding {encoding!r} is not understood: send gzip or none")
        limit = self._settings.gateway_max_body_bytes
        if int(request.headers.get("content-length", "0")) > limit:
            raise _too_large(limit)
        try:
            return await body.read(request.stream(), encoding, limit, held.add)
        except body.BodyTooLarge:
            raise _too_large(limit) from None
        except body.BodyTooSlow:
            raise Problem(408, f"the body did not arrive within {body.READ_S:.0f} s") from None
        except body.BodyBroken as error:
            raise Problem(400, str(error)) from None
        except ClientDisconnect:
            raise Problem(400, "the client went away") from None

    async def _judge(self, content: bytes, owner: Owner) -> Intake:
        now_us = time.time_ns() // 1000
        arrival = Arrival(self._settings.partitions, time_text(now_us), uuid.uuid4().hex, owner)
        intake = Intake()
        try:
            for count, (number, line) in enumerate(lines(content), 1):
                judge(number, line, arrival, intake)
                if count % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        except TooMany:
            raise Problem(413, f"more than {MAX_EVENTS} events in one request: send fewer") from None
        except ContractError as error:
            raise Problem(413 if error.reason is Reason.TOO_DEEP else 400, str(error)) from None
        return intake

    @contextmanager
    def _held(self) -> Iterator[Held]:
        held = Held(self)
        try:
            yield held
        finally:
            held.release()

    def hold(self, count: int) -> None:
        """Account for `count` more bytes (fewer when negative); Problem 429 over the limit."""
        self._in_flight += count
        meters.in_flight_bytes.set(self._in_flight)
        if count > 0 and self._in_flight > self._settings.gateway_max_inflight_bytes:
            raise Problem(429, "Kafka is slower than what comes in: send it again later", RETRY_S)


class Held:
    """The bytes one request occupies, given back when it ends however it ends."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._count = 0

    def add(self, count: int) -> None:
        self._count += count
        self._gateway.hold(count)

    def release(self) -> None:
        self._gateway.hold(-self._count)


def _accepted(intake: Intake) -> Response:
    meters.accepted.inc(intake.accepted)
    for refused in intake.rejected:
        meters.rejected.labels(refused.reason).inc()
    rejected = [{"line": r.line, "reason": r.reason, "detail": r.detail} for r in intake.rejected]
    return Response(orjson.dumps({"accepted": intake.accepted, "rejected": rejected}), 202, media_type="application/json")


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is over {limit} bytes (JOBTIDE_GATEWAY_MAX_BODY_BYTES): send fewer events at a time")


_REQUEST = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string"}} for kind in ("application/x-ndjson", "application/json")},
    }
}


def create_app(settings: Settings) -> FastAPI:
    """The gateway as an application of its own, with /healthz, /readyz and /metrics."""
    gateway = Gateway(settings)
    app = FastAPI(title="jobtide gateway", version="1", dependencies=[Depends(takes_tenant)])
    gateway.join(app)
    install(app, Access(settings))

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/readyz")
    async def readyz() -> Response:
        problem = gateway.broker.problem
        return Response(b'{"status":"ready"}', media_type="application/json") if problem is None else Problem(503, problem, RETRY_S).response()

    return app
