"""`GET /v1/workers`: what each worker last said of itself."""

from __future__ import annotations

from fastapi import APIRouter
from jobtide.query.answers import Page
from jobtide.query.fleet_answers import WorkerRow
from jobtide.query.paging import Opened, opened
from jobtide.query.params import Listed
from jobtide.query.problems import out_of_reach
from jobtide.query.ranges import Range
from jobtide.query.readers import Unavailable
from jobtide.query.selection import Key, Selection
from jobtide.query.sources import Chosen, Sources, envelope, instead


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["workers"])

    @routes.get("/v1/workers", summary="Workers: status, load, what they hold")
    async def workers(params: Listed) -> Page[WorkerRow]:
        """Workers heard of in the range (default: the last hour), in the order of tenant, environment, system and id.
        `queue` selects those that serve it, `job_class` those that ran it in the range. What they hold is known live
        only."""
        page = opened(sources, "workers", params, "1h")
        selection = params.selection()
        found, more, chosen = await _read(sources, page, selection, params.limit)
        return Page[WorkerRow](
            items=found,
            next_cursor=page.next_cursor(_key(found[-1]), page.range) if more and found else None,
            **await envelope(chosen, selection, page.range),
        )

    return routes


def _key(row: WorkerRow) -> Key:
    return (row.tenant, row.environment, row.system, row.worker_id)


async def _read(
    sources: Sources, page: Opened, selection: Selection, limit: int
) -> tuple[list[WorkerRow], bool, Chosen]:
    after = tuple(str(part) for part in page.after)
    only = await sources.history.worker_ids(selection, page.range) if selection.job_class is not None else None
    if page.range.window is None:
        found, more = await _from_history(sources, selection, page.range, after, limit, only)
        return found, more, Chosen(sources.history, "history")
    try:
        live = sources.live.workers(selection, sources.now_us())
    except Unavailable as missing:
        try:
            found, more = await _from_history(sources, selection, page.range, after, limit, only)
        except Unavailable as also_missing:
            raise out_of_reach(missing, also_missing) from also_missing
        return found, more, Chosen(sources.history, "history", (instead(missing),))
    heard_ms = (page.range.to_us - page.range.from_us) / 1000
    kept = [
        row for key, row in live
        if key > after and row.heartbeat_age_ms <= heard_ms and (only is None or key in only)
    ]  # fmt: skip
    return kept[:limit], len(kept) > limit, Chosen(sources.live, "live")


async def _from_history(
    sources: Sources, selection: Selection, range_: Range, after: Key, limit: int, only: set[Key] | None
) -> tuple[list[WorkerRow], bool]:
    """One page; `only` is applied page by page, until one is full or there are no more."""
    kept: list[WorkerRow] = []
    while True:
        found, more = await sources.history.workers(selection, range_, after, 1000)
        kept += [row for row in found if only is None or _key(row) in only]
        if len(kept) > limit or not more:
            return kept[:limit], len(kept) > limit
        after = _key(found[-1])
