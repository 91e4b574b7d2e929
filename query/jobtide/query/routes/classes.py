"""`GET /v1/classes`: one row per job class of a queue."""

from __future__ import annotations

from fastapi import APIRouter
from jobtide.query.answers import ClassRow, Page
from jobtide.query.paging import opened
from jobtide.query.params import Listed
from jobtide.query.readers import TotalsQuestion
from jobtide.query.rows import class_rows
from jobtide.query.selection import CLASS_DEPTH
from jobtide.query.sources import Sources, envelope, passed_s, totals


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["numbers"])

    @routes.get("/v1/classes", summary="Job classes with their counts, wait and run times")
    async def classes(params: Listed) -> Page[ClassRow]:
        """In the order of tenant, environment, system, queue and job class. Live lists also show classes that only
        run or wait now.
        """
        page = opened(sources, "classes", params, "15m")
        question = TotalsQuestion(params.selection(), page.range, CLASS_DEPTH, params.limit, _texts(page.after))
        reading, chosen = await totals(sources, question)
        keys = [group.key for group in reading.groups]
        now = sources.live.now(question.selection, CLASS_DEPTH, keys)
        return Page[ClassRow](
            items=class_rows(reading.groups, now, passed_s(reading.range, sources.now_us())),
            next_cursor=page.next_cursor(keys[-1], reading.range) if reading.more else None,
            **await envelope(chosen, question.selection, reading.range),
        )

    return routes


def _texts(after: tuple[str | int, ...]) -> tuple[str, ...]:
    return tuple(str(part) for part in after)
