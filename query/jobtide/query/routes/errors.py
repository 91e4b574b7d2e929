"""`GET /v1/errors` and `GET /v1/failures`: failed attempts, by cause and one by one. From history."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from jobtide.query.answers import Page
from jobtide.query.insight_answers import ErrorGroup, FailureRow
from jobtide.query.paging import opened
from jobtide.query.params import ErrorsListed, FailuresListed
from jobtide.query.sources import Sources, of_history


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["causes"])

    @routes.get("/v1/errors", summary="Errors by cause: how often, since when, where, and whether a retry helped")
    async def errors(params: ErrorsListed) -> Page[ErrorGroup]:
        """Failed attempts of the range (default: the last 24 hours) with the same class and masked message are one group; most
        failures first."""
        page = opened(sources, "errors", params, "24h", params.error_class, params.category)
        selection = params.selection()
        (found, more), told = await asyncio.gather(
            sources.insight.errors(selection, page.range, params.error_class, params.category, page.after, params.limit),
            of_history(sources, selection, page.range),
        )
        last = found[-1] if found else None
        return Page[ErrorGroup](
            items=found,
            next_cursor=page.next_cursor((-last.failures, last.tenant, last.error_class, last.fingerprint), page.range) if last and more else None,
            **told,
        )

    @routes.get("/v1/failures", summary="Failed attempts, newest first")
    async def failures(params: FailuresListed) -> Page[FailureRow]:
        """Attempts that failed in the range (default: the last 24 hours), whatever became of their jobs: `recovered` says whether a later
        attempt finished."""
        filters = {name: getattr(params, name) for name in ("error_class", "fingerprint", "category", "host", "dead", "recovered")}
        page = opened(sources, "failures", params, "24h", *filters.values())
        selection = params.selection()
        (found, more, key), told = await asyncio.gather(
            sources.insight.failures(selection, page.range, filters, page.after, params.limit), of_history(sources, selection, page.range)
        )
        return Page[FailureRow](
            items=found,
            next_cursor=page.next_cursor(key, page.range) if more else None,
            **told,
        )

    return routes
