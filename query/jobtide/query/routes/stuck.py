"""`GET /v1/stuck`: attempts that are late, slow, lost or run twice, now."""

from __future__ import annotations

from fastapi import APIRouter
from jobtide.query import stuck_rows
from jobtide.query.paging import opened
from jobtide.query.params import StuckListed
from jobtide.query.problems import out_of_reach
from jobtide.query.readers import Unavailable
from jobtide.query.sources import Chosen, Sources, envelope
from jobtide.query.stuck_answers import StuckPage


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["attention"])

    @routes.get("/v1/stuck", summary="Attempts that are late, slow, lost or run twice, the longest first")
    async def stuck(params: StuckListed) -> StuckPage:
        """What is stuck now, with the evidence and what to do next. A range selects by when they started (late ones: could
        have started); without one all are shown. At most 200 attempts of a class are listed, `counts` has all. Only live:
        history does not know who is gone."""
        page = opened(sources, "stuck", params, None, params.verdict, params.severity)
        selection = params.selection()
        try:
            found, workers = sources.live.stuck(selection)
        except Unavailable as missing:
            raise out_of_reach(missing) from missing
        within = [
            entry for entry in stuck_rows.ordered(found)
            if entry[0] > page.after and page.range.from_us <= entry[0][0] < page.range.to_us
            and (not params.verdict or entry[2].verdict in params.verdict)
            and (not params.severity or entry[2].severity in params.severity)
        ]  # fmt: skip
        told = within[: params.limit]
        about = await envelope(Chosen(sources.live, "live"), selection, page.range)
        now_us = sources.now_us()
        watermark_us = sources.live.watermark_us() or now_us
        return StuckPage(
            items=[stuck_rows.row(series, attempt, workers, now_us, watermark_us) for _, series, attempt in told],
            next_cursor=page.next_cursor(told[-1][0], page.range) if len(within) > len(told) else None,
            counts=stuck_rows.counts(found),
            **about,
        )

    return routes
