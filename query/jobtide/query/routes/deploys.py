"""`GET /v1/deploys` and `GET /v1/deploys/compare`: releases, and what changed with one. From history."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fastapi import APIRouter
from jobtide.query.answers import Page
from jobtide.query.before_after import MIN_SAMPLE, Verdict, compare
from jobtide.query.insight_answers import Compared, ComparedRow, DeployRow
from jobtide.query.insight_rows import compared as compared_row
from jobtide.query.measures import Totals
from jobtide.query.paging import opened
from jobtide.query.params import ComparedAsked, DeploysListed
from jobtide.query.problems import Problem
from jobtide.query.ranges import MAX_US, SECOND_US, ParamError, Range, duration_s
from jobtide.query.readers import TotalsQuestion
from jobtide.query.selection import CLASS_DEPTH, Key, Selection
from jobtide.query.sources import Sources, of_history

MAX_WINDOW_S = 7 * 86_400
MAX_CLASSES = 1000
ORDER = (Verdict.WORSE, Verdict.BETTER, Verdict.SAME, Verdict.TOO_FEW)


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["courses"])

    @routes.get("/v1/deploys", summary="Releases as they were marked, newest first")
    async def deploys(params: DeploysListed) -> Page[DeployRow]:
        """Of the range (default: the last 30 days). A deploy without a system or queue is of all, and shown whichever is asked for."""
        page = opened(sources, "deploys", params, "30d", params.release)
        selection = params.selection()
        found, more, key = await sources.insight.deploys(selection, page.range, params.release, page.after, params.limit)
        return Page[DeployRow](
            items=[row for row, _ in found],
            next_cursor=page.next_cursor(key, page.range) if more else None,
            **await of_history(sources, selection, page.range),
        )

    @routes.get("/v1/deploys/compare", summary="Failure rates and run times before and after a deploy, class by class")
    async def compare_deploy(params: ComparedAsked) -> Compared:
        """A class got better or worse if the difference is both unlikely by chance (p < 0.01 after correction for all tests made) and large
        enough to matter; with fewer than 30 attempts on a side there is no verdict. Times before and after the deploy can differ for
        other reasons too. 404 if no such deploy is known."""
        window_s = duration_s(params.window, "window")
        if window_s > MAX_WINDOW_S:
            raise ParamError("window", f"{params.window} is longer than 7d")
        selection = params.selection()
        found, _, _ = await sources.insight.deploys(selection, Range(0, MAX_US), params.release, (), 1)
        if not found:
            raise Problem(404, f"no deploy of release {params.release!r} is in history")
        deploy, at_us = found[0]
        selection = replace(selection, tenant=deploy.tenant, environment=deploy.environment)
        selection = replace(selection, system=deploy.system or selection.system, queue=deploy.queue or selection.queue)
        end_us = min(at_us + window_s * SECOND_US, max(sources.now_us(), at_us + 1))
        before, after = await asyncio.gather(
            _by_class(sources, selection, Range(max(0, at_us - window_s * SECOND_US), at_us)), _by_class(sources, selection, Range(at_us, end_us))
        )
        items = _items(before, after)
        return Compared(
            deploy=deploy,
            min_sample=MIN_SAMPLE,
            worse=sum(1 for row in items if "worse" in _verdicts(row)),
            better=sum(1 for row in items if "better" in _verdicts(row)),
            items=items,
            **await of_history(sources, selection, Range(max(0, at_us - window_s * SECOND_US), end_us)),
        )

    return routes


async def _by_class(sources: Sources, selection: Selection, range_: Range) -> dict[Key, Totals]:
    reading = await sources.history.totals(TotalsQuestion(selection, range_, CLASS_DEPTH, MAX_CLASSES))
    return {group.key: group.totals for group in reading.groups}


def _items(before: dict[Key, Totals], after: dict[Key, Totals]) -> list[ComparedRow]:
    keys = sorted(before.keys() | after.keys())
    pairs = [(before.get(key, Totals()), after.get(key, Totals())) for key in keys]
    rows = [compared_row(key, *pair, found) for key, pair, found in zip(keys, pairs, compare(pairs), strict=True)]
    return sorted(rows, key=lambda row: min(ORDER.index(Verdict(verdict)) for verdict in _verdicts(row)))


def _verdicts(row: ComparedRow) -> tuple[str, str]:
    return row.failure_rate.verdict, row.run_p50_ms.verdict
