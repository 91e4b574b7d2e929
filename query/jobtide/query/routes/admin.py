"""`/v1/admin/…`: who did what, and erasure of a job or a tenant. For admins; a confined one for its tenants only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from jobtide.access.audit import Trail
from jobtide.access.guard import caller_of, record
from jobtide.query.admin_answers import AuditPage, AuditRow, Erased
from jobtide.query.engine import STORE, Engine
from jobtide.query.openapi import REF
from jobtide.query.params import Name
from jobtide.query.problems import MEDIA_TYPE, Problem, ProblemOut, wrong
from jobtide.query.readers import Unavailable
from jobtide.sinks.erasure import Erasure
from jobtide.streams.errors import ContractError, StoreRejected, TransientError
from jobtide.streams.events import time_text, time_us

KAFKA_KEEPS = (
    "Kafka keeps the events until the retention of its topics is over (7 days by default); emitters that still send, and"
    " `jobtide rebuild`, bring them back."
)
TenantAsked = Annotated[str, Query(min_length=1, max_length=1024, description="The tenant of the job.")]


def router(erasure: Erasure, trail: Trail, engine: Engine) -> APIRouter:
    routes = APIRouter(tags=["admin"])

    problem = {MEDIA_TYPE: {"schema": {"$ref": REF + ProblemOut.__name__}}}

    async def erased(request: Request, erase: Callable[[], dict[str, int]]) -> Erased:
        # Written before it happens: an erasure that nobody knows of must not be possible.
        try:
            await trail.note_now(record(request.scope, caller_of(request), 0, "begins to erase"))
            rows = await asyncio.to_thread(erase)
        except (TransientError, StoreRejected) as error:
            raise Unavailable(STORE, f"{error}; what is erased so far stays erased: ask again"[:300]) from error
        return Erased(erased=rows, kept=KAFKA_KEEPS)

    @routes.delete("/v1/admin/jobs/{job_id:path}", summary="Erase one job: its events and attempts")
    async def erase_job(
        request: Request,
        job_id: Annotated[str, Path(min_length=1, max_length=1024, description="The job to erase.")],
        tenant: TenantAsked,
    ) -> Erased:
        """Minute numbers stay: they hold no job. What is erased is gone when this answers."""
        return await erased(request, lambda: erasure.job(tenant, job_id))

    @routes.delete(
        "/v1/admin/tenants/{tenant}",
        summary="Erase a tenant: everything of it, live and history",
        responses={409: {"description": "`confirm` is not the tenant's name.", "content": problem}},
    )
    async def erase_tenant(
        request: Request,
        tenant: Annotated[str, Path(min_length=1, max_length=1024, description="The tenant to erase.")],
        confirm: Annotated[str, Query(max_length=1024, description="The tenant's name once more.")],
    ) -> Erased:
        """What is erased is gone when this answers."""
        if not caller_of(request).sees(tenant):
            raise Problem(403, f"the key is not for tenant {tenant!r}")
        if confirm != tenant:
            raise Problem(409, f"confirm: must be the tenant's name, {tenant!r}")
        return await erased(request, lambda: erasure.tenant(tenant))

    @routes.get("/v1/admin/audit", summary="Who did what, newest first")
    async def audit(
        before: Annotated[str | None, Query(max_length=40, description="Only older than this moment, RFC 3339.")] = None,
        caller: Annotated[Name | None, Query(description="Only what this one did.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Most rows in the answer.")] = 100,
    ) -> AuditPage:
        """Changes, questions in SQL, exports, and refusals. For the next page give the last row's `at` as `before`."""
        before_us = _moment(before)
        rows = await engine.ask("audit", {"before_us": before_us, "caller": caller, "limit": limit})
        return AuditPage(items=[AuditRow(**dict(zip(AuditRow.model_fields, (time_text(row[0]), *row[1:]), strict=True))) for row in rows])

    return routes


def _moment(text: str | None) -> int:
    if text is None:
        return 2**62
    try:
        return time_us(text)
    except ContractError as error:
        raise wrong("before", error.detail or "not a time: write RFC 3339 with Z, like 2026-11-22T04:00:00Z") from None
