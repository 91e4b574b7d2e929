"""`GET /v1/queues`: one row per queue, its classes merged."""

from __future__ import annotations

from fastapi import APIRouter
from jobtide.query.answers import Page, QueueRow
from jobtide.query.paging import opened
from jobtide.query.params import Listed
from jobtide.query.readers import TotalsQuestion
from jobtide.query.rows import queue_rows
from jobtide.query.selection import QUEUE_DEPTH
from jobtide.query.sources import Sources, envelope, passed_s, totals


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["numbers"])

    @routes.get("/v1/queues", summary="Queues with their counts, wait and run times, and the backend's own depth")
    async def queues(params: Listed) -> Page[QueueRow]:
        """In the order of tenant, environment, system and queue. Percentiles are those of all attempts of the queue
        together.
        """
        page = opened(sources, "queues", params, "15m")
        after = tuple(str(part) for part in page.after)
        question = TotalsQuestion(params.selection(), page.range, QUEUE_DEPTH, params.limit, after)
        reading, chosen = await totals(sources, question)
        keys = [group.key for group in reading.groups]
        now = sources.live.now(question.selection, QUEUE_DEPTH, keys)
        return Page[QueueRow](
            items=queue_rows(reading.groups, now, passed_s(reading.range, sources.now_us()), sources.live),
            next_cursor=page.next_cursor(keys[-1], reading.range) if reading.more else None,
            **await envelope(chosen, question.selection, reading.range),
        )

    return routes
