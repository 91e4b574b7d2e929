"""`GET /v1/completeness`: the ledger of what emitters numbered and what arrived."""

from __future__ import annotations

from fastapi import APIRouter
from jobtide.query.fleet_answers import CompletenessPage, EpochRow
from jobtide.query.paging import Opened, opened
from jobtide.query.params import Listed
from jobtide.query.problems import out_of_reach
from jobtide.query.readers import Progress, Unavailable
from jobtide.query.selection import Key, Selection
from jobtide.query.sources import Chosen, Sources, envelope, instead


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["completeness"])

    @routes.get("/v1/completeness", summary="What emitters numbered, what arrived, what is missing or lost")
    async def completeness(params: Listed) -> CompletenessPage:
        """One row per start of an emitter process, in the order of tenant, system and epoch. Live (`last=1m` to `1h`)
        these are the epochs the stream remembers; otherwise those with events in the range. An event that never came
        cannot say its queue, so `environment`, `queue` and `job_class` select, from history, the epochs that sent
        events of them."""
        page = opened(sources, "completeness", params, "1h")
        selection = params.selection()
        found, more, chosen = await _read(sources, page, selection, params.limit)
        try:
            progress = await chosen.reader.progress()
        except Unavailable:
            progress = Progress()
        return CompletenessPage(
            items=found,
            next_cursor=page.next_cursor(_key(found[-1]), page.range) if more else None,
            # Nobody knows whose a refused or late event was: of one tenant they say nothing.
            rejected=progress.rejected if selection.tenant is None else None,
            live_late_dropped=progress.late_dropped if selection.tenant is None else None,
            partitions=list(progress.partitions),
            **await envelope(chosen, selection, page.range),
        )

    return routes


def _key(row: EpochRow) -> Key:
    return (row.tenant, row.system, row.epoch)


async def _read(
    sources: Sources, page: Opened, selection: Selection, limit: int
) -> tuple[list[EpochRow], bool, Chosen]:
    after = tuple(str(part) for part in page.after)
    narrow = any((selection.environment, selection.queue, selection.job_class))
    degraded: tuple[str, ...] = ()
    missing: Unavailable | None = None
    if page.range.window is not None and not narrow:
        try:
            live = [row for key, row in sources.live.epochs(selection) if key > after]
            return live[:limit], len(live) > limit, Chosen(sources.live, "live")
        except Unavailable as error:
            missing, degraded = error, (instead(error),)
    try:
        found, more = await sources.history.epochs(selection, page.range, after, limit)
    except Unavailable as also_missing:
        raise out_of_reach(*([missing] if missing else []), also_missing) from also_missing
    return found, more, Chosen(sources.history, "history", degraded)
