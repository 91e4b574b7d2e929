"""`GET /v1/trends`, `/v1/peaks`, `/v1/latency`, `/v1/slowest` and `/v1/cost`: the course of things, and what it cost. From history."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from jobtide.query.answers import Page, named
from jobtide.query.drift import drift
from jobtide.query.insight_answers import CostRow, Latency, LatencyLine, PeakRow, SlowRow, Trends
from jobtide.query.insight_rows import changed, trend
from jobtide.query.measures import QUANTILES, Totals
from jobtide.query.paging import opened
from jobtide.query.params import Listed, Ranked, Selected, SlowestListed, Stepped
from jobtide.query.ranges import MINUTE_US, ParamError, Range, duration_s, floor, resolve, whole_minutes
from jobtide.query.readers import TotalsQuestion
from jobtide.query.selection import CLASS_DEPTH, SERIES_PARTS, Key, Selection
from jobtide.query.series_answers import Point
from jobtide.query.series_values import value_points
from jobtide.query.sources import Sources, of_history
from jobtide.query.steps import cut
from jobtide.streams.events import time_text
from jobtide.streams.sketches import histogram

PERIODS = ("24h", "7d", "30d")
LINES = ("wait_p50", "wait_p95", "run_p50", "run_p95")
MAX_CLASSES = 5000  # among which the slowest are looked for


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["courses"])

    @routes.get("/v1/trends", summary="The last day, week and month beside the ones before")
    async def trends(params: Selected) -> Trends:
        """Each period ends at the last whole minute; the one before it is of the same length and ends where it begins."""
        selection, end_us = params.selection(), floor(sources.now_us(), MINUTE_US)
        ranges: list[Range] = []
        for period in PERIODS:
            length_us = duration_s(period, "period") * 1_000_000
            ranges += [Range(end_us - length_us, end_us), Range(end_us - 2 * length_us, end_us - length_us)]
        found = await asyncio.gather(*(_total(sources, selection, range_) for range_ in ranges))
        sides = list(zip(ranges, found, strict=True))
        items = [trend(period, sides[2 * n], sides[2 * n + 1]) for n, period in enumerate(PERIODS)]
        return Trends(items=items, **await of_history(sources, selection, ranges[-2]))

    @routes.get("/v1/peaks", summary="The busiest minute of each queue or class, or of everything")
    async def peaks(params: Ranked) -> Page[PeakRow]:
        """By attempts that ended in a whole minute of the range (default: the last 24 hours); the highest first."""
        page = opened(sources, "peaks", params, "24h", params.by)
        selection, depth = params.selection(), 0 if params.by == "total" else SERIES_PARTS.index(params.by) + 1
        found, more, key = await sources.insight.peaks(selection, page.range, depth, page.after, params.limit)
        return Page[PeakRow](
            items=found,
            next_cursor=page.next_cursor(key, page.range) if more else None,
            **await of_history(sources, selection, page.range),
        )

    @routes.get("/v1/latency", summary="How wait and run times went, and which way they go")
    async def latency(params: Stepped) -> Latency:
        """Medians and 95th percentiles per step (default: the last 24 hours), of all selected attempts together."""
        steps = cut(resolve(params.last, params.from_, params.to, sources.now_us(), "24h"), params.step)
        if steps.fine:
            raise ParamError("step", f"{params.step} is no whole number of minutes")
        selection = params.selection()
        readings = await asyncio.gather(*(sources.history.series(selection, steps, 0, kind, (), 1) for kind in ("wait", "run")))
        of_kind = {kind: reading[0][0].steps if reading[0] else {} for kind, reading in zip(("wait", "run"), readings, strict=True)}
        lines = []
        for name in LINES:
            values = value_points(of_kind[name.partition("_")[0]], steps, name, sources.now_us())
            direction, change = drift(values)
            points = [Point(at=time_text(at_us), value=value) for at_us, value in zip(steps.starts_us, values, strict=True)]
            lines.append(LatencyLine.model_validate({"name": name, "direction": direction.value, "change": change, "points": points}))
        return Latency(step_s=steps.step_s, lines=lines, **await of_history(sources, selection, steps.range))

    @routes.get("/v1/slowest", summary="The slowest classes, beside how slow they were before")
    async def slowest(params: SlowestListed) -> Page[SlowRow]:
        """By run or wait times of the range (default: the last 24 hours), compared with the range of the same length before it."""
        page = opened(sources, "slowest", params, "24h", params.measure)
        selection = params.selection()
        now = whole_minutes(page.range)
        length_us = now.to_us - now.from_us
        before = Range(max(0, now.from_us - length_us), now.from_us)
        readings = await asyncio.gather(*(_by_class(sources, selection, range_) for range_ in (Range(now.from_us, now.to_us), before)))
        rows = _ranked(readings[0], readings[1], params.measure)
        if page.after:
            rows = [(key, row) for key, row in rows if key > page.after]
        shown = rows[: params.limit]
        return Page[SlowRow](
            items=[row for _, row in shown],
            next_cursor=page.next_cursor(shown[-1][0], page.range) if len(rows) > len(shown) else None,
            **await of_history(sources, selection, page.range),
        )

    @routes.get("/v1/cost", summary="How long each class kept workers busy, and how much of it failed")
    async def cost(params: Listed) -> Page[CostRow]:
        """Run times of attempts that ended in the range (default: the last 24 hours); the costliest first."""
        page = opened(sources, "cost", params, "24h")
        selection = params.selection()
        range_ = whole_minutes(page.range) if page.range.last is not None else page.range
        found, more, key = await sources.insight.cost(selection, range_, page.after, params.limit)
        return Page[CostRow](
            items=found,
            next_cursor=page.next_cursor(key, page.range) if more else None,
            **await of_history(sources, selection, range_),
        )

    return routes


async def _total(sources: Sources, selection: Selection, range_: Range) -> Totals:
    reading = await sources.history.totals(TotalsQuestion(selection, range_, 0, 1))
    return reading.groups[0].totals if reading.groups else Totals()


async def _by_class(sources: Sources, selection: Selection, range_: Range) -> dict[Key, Totals]:
    reading = await sources.history.totals(TotalsQuestion(selection, range_, CLASS_DEPTH, MAX_CLASSES))
    return {group.key: group.totals for group in reading.groups}


def _ranked(now: dict[Key, Totals], before: dict[Key, Totals], measure: str) -> list[tuple[tuple[str | int, ...], SlowRow]]:
    """With the sort key of each, which is in whole µs: a cursor holds no fractions."""
    kind, _, quantile = measure.partition("_")
    rows: list[tuple[tuple[str | int, ...], SlowRow]] = []
    for key, totals in now.items():
        was = before.get(key, Totals())
        values, past = (totals.wait, was.wait) if kind == "wait" else (totals.run, was.run)
        value_us, before_us = (histogram.quantiles(each, [QUANTILES[quantile]])[0] for each in (values, past))
        if value_us is None:
            continue
        growth = changed(value_us, before_us)
        row = SlowRow(
            **named(key), value_ms=value_us / 1000, before_ms=None if before_us is None else before_us / 1000,
            ratio=None if growth is None else growth + 1, count=histogram.count(values),
        )  # fmt: skip
        rows.append(((-round(value_us), *key), row))
    return sorted(rows, key=lambda pair: pair[0])
