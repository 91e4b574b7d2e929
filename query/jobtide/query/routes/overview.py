"""`GET /v1/overview`: everything, or a selected part, at a glance."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fastapi import APIRouter
from jobtide.query import stuck_rows
from jobtide.query.answers import Numbers, numbers
from jobtide.query.fleet_answers import Overview, WorkerCounts
from jobtide.query.measures import Totals
from jobtide.query.params import Ranged
from jobtide.query.ranges import resolve
from jobtide.query.readers import Group, TotalsQuestion, Unavailable
from jobtide.query.rows import class_rows, queue_rows, slowest
from jobtide.query.selection import CLASS_DEPTH, QUEUE_DEPTH, Selection
from jobtide.query.sources import Sources, envelope, passed_s, totals
from jobtide.query.stuck_answers import StuckCounts

TOP = 5
MAX_QUEUES = 5000  # among which the slowest are looked for


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["numbers"])

    @routes.get("/v1/overview", summary="Totals, what is stuck, the slowest queues, the classes that fail most, workers")
    async def overview(params: Ranged) -> Overview:
        """Sums over all selected classes; percentiles are those of all their attempts together."""
        selection = params.selection()
        whole = TotalsQuestion(selection, resolve(params.last, params.from_, params.to, sources.now_us(), "15m"), 0, 1)
        (reading, chosen), (by_queue, _), (by_class, _) = await asyncio.gather(
            totals(sources, whole),
            totals(sources, replace(whole, depth=QUEUE_DEPTH, limit=MAX_QUEUES)),
            totals(sources, replace(whole, depth=CLASS_DEPTH, limit=TOP, failed_first=True)),
        )
        total = reading.groups[0] if reading.groups else Group((), Totals(), 0, 0)
        seconds = passed_s(reading.range, sources.now_us())
        slow, failing = slowest(by_queue.groups, TOP), by_class.groups
        live = sources.live
        now = live.now(selection, 0, [()])
        slow_now = live.now(selection, QUEUE_DEPTH, [group.key for group in slow])
        failing_now = live.now(selection, CLASS_DEPTH, [group.key for group in failing])
        return Overview(
            totals=Numbers(**numbers(total.totals, now[()] if now else None, seconds)),
            queues=total.queues,
            classes=total.classes,
            workers=_workers(sources, selection),
            stuck=_stuck(sources, selection),
            slowest_queues=queue_rows(slow, slow_now, seconds, live),
            failing_classes=class_rows(failing, failing_now, seconds),
            **await envelope(chosen, selection, reading.range),
        )

    return routes


def _stuck(sources: Sources, selection: Selection) -> StuckCounts | None:
    try:
        return stuck_rows.counts(sources.live.stuck(selection)[0])
    except Unavailable:
        return None


def _workers(sources: Sources, selection: Selection) -> WorkerCounts | None:
    try:
        found = [worker for _, worker in sources.live.workers(selection, sources.now_us())]
    except Unavailable:
        return None
    alive = [worker for worker in found if worker.alive]
    return WorkerCounts(total=len(found), alive=len(alive), busy=sum(1 for w in alive if w.busy or w.status == "busy"))
