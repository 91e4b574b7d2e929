"""`GET /v1/batches`: how far batches of jobs are. From history."""

from __future__ import annotations

from fastapi import APIRouter
from jobtide.query.answers import Page
from jobtide.query.insight_answers import BatchRow
from jobtide.query.paging import opened
from jobtide.query.params import BatchesListed
from jobtide.query.sources import Sources, of_history


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["jobs"])

    @routes.get("/v1/batches", summary="Batches: total, completed, failed, pending, percent, success rate")
    async def batches(params: BatchesListed) -> Page[BatchRow]:
        """Batches that did anything in the range (default: the last 24 hours; with `batch_id`, everything), the last begun first. The
        numbers are of the whole batch, as far as its jobs have been enqueued. `queue`, `job_class` and `system` select batches with such
        jobs."""
        page = opened(sources, "batches", params, "24h" if params.batch_id is None else None, params.batch_id)
        selection = params.selection()
        found, more, key = await sources.insight.batches(selection, page.range, params.batch_id, page.after, params.limit)
        return Page[BatchRow](
            items=found,
            next_cursor=page.next_cursor(key, page.range) if more else None,
            **await of_history(sources, selection, page.range),
        )

    return routes
