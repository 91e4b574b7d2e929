"""`GET /v1/series`: one number over time, step by step."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from jobtide.query.answers import named
from jobtide.query.paging import opened
from jobtide.query.params import Charted
from jobtide.query.ranges import ParamError
from jobtide.query.readers import SeriesPoints, Unavailable
from jobtide.query.selection import SERIES_PARTS, Key, Selection
from jobtide.query.series_answers import Point, SeriesPage, SeriesRow
from jobtide.query.series_values import FROM_SECONDS, samples_of, seconds_points, unit_of, value_points
from jobtide.query.sources import Chosen, Sources, envelope
from jobtide.query.steps import MINUTE_S, Steps, cut
from jobtide.streams.events import time_text

MAX_FINE_S = 6 * 3600  # steps under a minute look at single attempts


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["numbers"])

    @routes.get("/v1/series", summary="One number over time, in aligned steps without gaps")
    async def series(params: Charted) -> SeriesPage:
        """Both ends of the range move outwards to whole steps. Steps in which nothing happened are 0; a rate of
        failures or a percentile of nothing is null. The last step is as far as it has come. Steps under a minute are
        for ranges up to six hours; over the last minute, `throughput` and `failed` come live."""
        page = opened(sources, "series", params, "1h", params.metric, params.step, params.by)
        steps = cut(page.range, params.step)
        if steps.fine and steps.range.seconds > MAX_FINE_S:
            raise ParamError(
                "step", f"{params.step} is no whole number of minutes: that is possible for ranges up to six hours only"
            )
        selection, depth = params.selection(), 0 if params.by == "total" else SERIES_PARTS.index(params.by) + 1
        after = tuple(str(part) for part in page.after)
        until_us = sources.now_us()
        found = _from_seconds(sources, selection, steps, params.metric, depth)
        if found is not None:
            steps, points, chosen = found
            keys = [key for key in sorted(points) if not after or key > after]
            lines, more = (
                [(key, seconds_points(points[key], steps, params.metric)) for key in keys[: params.limit]],
                len(keys) > params.limit,
            )
        else:
            chosen = Chosen(sources.history, "history")
            read, more = await sources.history.series(
                selection, steps, depth, samples_of(params.metric), after, params.limit
            )
            read = read or ([SeriesPoints(())] if depth == 0 else [])
            lines = [(line.key, value_points(line.steps, steps, params.metric, until_us)) for line in read]
        return SeriesPage(
            metric=params.metric,
            unit=unit_of(params.metric),
            step_s=steps.step_s,
            items=[_row(key, steps, values) for key, values in lines],
            next_cursor=page.next_cursor(lines[-1][0], page.range) if more else None,
            **await envelope(chosen, selection, steps.range),
        )

    return routes


def _from_seconds(
    sources: Sources, selection: Selection, steps: Steps, metric: str, depth: int
) -> tuple[Steps, Mapping[Key, Mapping[int, tuple[int, int]]], Chosen] | None:
    """The last minute by seconds from hot state, if that is what is asked and there."""
    if steps.range.window != "1m" or steps.step_s >= MINUTE_S or metric not in FROM_SECONDS:
        return None
    try:
        points = sources.live.seconds(selection, depth)
    except Unavailable:
        return None
    if not any(points.values()):
        return None
    return cut(sources.live.range(steps.range), f"{steps.step_s}s"), points, Chosen(sources.live, "live")


def _row(key: Key, steps: Steps, values: list[float | None]) -> SeriesRow:
    points = [Point(at=time_text(at_us), value=value) for at_us, value in zip(steps.starts_us, values, strict=True)]
    return SeriesRow(**named(key), points=points)
