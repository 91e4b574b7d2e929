"""`GET /v1/reruns`, `/v1/reconciliation/…` and `/v1/completeness/steps`: whether what is told can be right. From history."""

from __future__ import annotations

from fastapi import APIRouter
from jobtide.query.answers import Page
from jobtide.query.insight_answers import CompletenessSteps, QueueCounters, RerunRow, WorkerCounters
from jobtide.query.paging import opened
from jobtide.query.params import Listed, Stepped
from jobtide.query.ranges import resolve
from jobtide.query.sources import Sources, of_history
from jobtide.query.steps import cut


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["checks"])

    @routes.get("/v1/reruns", summary="Attempts that were started more than once")
    async def reruns(params: Listed) -> Page[RerunRow]:
        """Started again in the range (default: the last 24 hours) by another worker, or at another time by the same; a first start is looked
        for up to a day earlier. Newest first."""
        page = opened(sources, "reruns", params, "24h")
        selection = params.selection()
        found, more, key = await sources.insight.reruns(selection, page.range, page.after, params.limit)
        return Page[RerunRow](
            items=found, next_cursor=page.next_cursor(key, page.range) if more else None, **await of_history(sources, selection, page.range)
        )

    @routes.get("/v1/reconciliation/workers", summary="Workers' own counters beside history's")
    async def workers(params: Listed) -> Page[WorkerCounters]:
        """For workers whose heartbeats carry counters: what they counted between the first and last in the range (default: the last 24
        hours), and what history knows of them for that time. The largest difference first; `queue` and `job_class` do not apply."""
        page = opened(sources, "worker counters", params, "24h")
        selection = params.selection()
        found, more, key = await sources.insight.worker_counters(selection, page.range, page.after, params.limit)
        return Page[WorkerCounters](
            items=found, next_cursor=page.next_cursor(key, page.range) if more else None, **await of_history(sources, selection, page.range)
        )

    @routes.get("/v1/reconciliation/queues", summary="Backends' snapshots of queues beside history's view of that moment")
    async def queues(params: Listed) -> Page[QueueCounters]:
        """The last snapshot of each queue in the range (default: the last 24 hours), and what history has waiting and running at that
        very moment."""
        page = opened(sources, "queue counters", params, "24h")
        selection, after = params.selection(), tuple(str(part) for part in page.after)
        found, more, key = await sources.insight.queue_counters(selection, page.range, after, params.limit)
        return Page[QueueCounters](
            items=found, next_cursor=page.next_cursor(key, page.range) if more else None, **await of_history(sources, selection, page.range)
        )

    @routes.get("/v1/completeness/steps", summary="How much of the stream arrived, step by step")
    async def completeness(params: Stepped) -> CompletenessSteps:
        """Over all queues (default: the last 24 hours): an event that never came cannot say its queue, so only `tenant` and `system` apply."""
        steps = cut(resolve(params.last, params.from_, params.to, sources.now_us(), "24h"), params.step)
        selection = params.selection()
        items = await sources.insight.completeness(selection, steps)
        return CompletenessSteps(step_s=steps.step_s, items=items, **await of_history(sources, selection, steps.range))

    return routes
