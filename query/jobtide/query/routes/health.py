"""`/healthz`, `/readyz` and `/metrics`: for supervisors and Prometheus, not for people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from fastapi import APIRouter, Request, Response
from jobtide.access.caller import NOBODY
from jobtide.access.guard import caller_of
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from pydantic import BaseModel

CHECK_S = 5.0

Check = Callable[[], Awaitable[str | None]]


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    """`missing`: what is out of reach, by name, and what it said."""

    status: Literal["ready", "not ready"]
    missing: dict[str, str]


def router(checks: Mapping[str, Check], registry: CollectorRegistry) -> APIRouter:
    """`checks` by the name of what they look for; None is well. `registry` holds what this application measures."""
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz", summary="Does the process answer?")
    async def healthz() -> Health:
        return Health(status="ok")

    @routes.get(
        "/readyz",
        summary="Can it answer questions?",
        responses={503: {"model": Readiness, "description": "Something is missing."}},
    )
    async def readyz(request: Request, response: Response) -> Readiness:
        said = await asyncio.gather(*(_said(check) for check in checks.values()))
        missing = {name: text for name, text in zip(checks, said, strict=True) if text is not None}
        if missing:
            response.status_code = 503
        if caller_of(request) is NOBODY:  # what a store said may hold addresses
            missing = dict.fromkeys(missing, "out of reach")
        return Readiness(status="not ready" if missing else "ready", missing=missing)

    @routes.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
    async def metrics() -> Response:  # on the event loop: nothing may change meanwhile
        # The process-wide registry as well: the gateway, when it shares the port, counts there.
        return Response(generate_latest(registry) + generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return routes


async def _said(check: Check) -> str | None:
    try:
        return await asyncio.wait_for(check(), CHECK_S)
    except TimeoutError:
        return f"no answer within {CHECK_S:.0f} s"
