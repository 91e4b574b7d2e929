"""`GET /v1/health/queues`, `/v1/scaling` and `/v1/forecast`: what the live numbers of queues mean, now."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter
from jobtide.query import live_rows, signal_rows
from jobtide.query.answers import Page
from jobtide.query.cursors import Position, write
from jobtide.query.live import STORE
from jobtide.query.paging import position_of
from jobtide.query.params import HealthListed, NowListed, NowParams
from jobtide.query.problems import out_of_reach
from jobtide.query.ranges import SECOND_US, Range
from jobtide.query.readers import Unavailable
from jobtide.query.selection import Key, Selection, scope
from jobtide.query.signal_answers import ForecastRow, QueueHealthPage, QueueHealthRow, ScalingRow
from jobtide.query.signal_keeper import SignalKeeper
from jobtide.query.signals import health
from jobtide.query.signals.state import nothing_yet
from jobtide.query.sources import Chosen, Sources, envelope
from jobtide.streams.snapshots import WorkerSnapshot

SKEW_US = 2 * SECOND_US  # as much as the default disorder bound forgives: beyond it such a worker's events are late, or hold nothing back
STALE_US = 60 * SECOND_US  # a pipeline that is further behind says little about now


def router(sources: Sources, keeper: SignalKeeper) -> APIRouter:
    routes = APIRouter(tags=["attention"])

    def page(name: str, params: NowParams, keys: list[Key], *filters: object) -> tuple[list[Key], str | None]:
        """The keys on the page, and the cursor for what follows."""
        bound = scope(name, params.selection(), *filters)
        after: tuple[Any, ...] = () if params.cursor is None else position_of(params.cursor, bound, sources.cursor_key).after
        rest = [key for key in keys if key > after]
        told = rest[: params.limit]
        more = len(rest) > len(told)
        return told, write(Position(told[-1], 0, 0), bound, sources.cursor_key) if more else None

    async def about(params: NowParams) -> dict[str, Any]:
        range_ = sources.live.range(Range(0, 300 * SECOND_US, "5m", "5m"))
        return await envelope(Chosen(sources.live, "live"), params.selection(), range_)

    def known(params: NowParams) -> list[Key]:
        """The selected queues. Raises Problem 503 while hot state is out of reach."""
        if keeper.unavailable is not None:
            raise out_of_reach(Unavailable(STORE, keeper.unavailable))
        selection = params.selection()
        return sorted(key for key in keeper.facts if selection.matches(key))

    @routes.get("/v1/health/queues", summary="Is each queue healthy, and why not")
    async def queue_health(params: HealthListed) -> QueueHealthPage:
        """By the last five minutes: p95 of waiting time 60 s / 300 s, jobs waiting 1 000 / 10 000, failed attempts 5 % / 25 %
        (of at least 20), jobs whose worker is gone. In the order of tenant, environment, system and queue."""
        rows: dict[Key, QueueHealthRow] = {key: signal_rows.health_row(key, keeper.facts[key]) for key in known(params)}
        counts = Counter(row.status for row in rows.values())
        wanted = [key for key, row in rows.items() if not params.status or row.status in params.status]
        told, cursor = page("health", params, wanted, sorted(params.status))
        return QueueHealthPage(
            items=[rows[key] for key in told],
            next_cursor=cursor,
            status=health.worst(counts),
            healthy=counts["healthy"],
            warning=counts["warning"],
            critical=counts["critical"],
            pipeline=await _pipeline(sources, params.selection()),
            **await about(params),
        )

    @routes.get("/v1/scaling", summary="How many workers each queue wants, and why")
    async def scaling(params: NowListed) -> Page[ScalingRow]:
        """+2 with more than 100 jobs waiting; +1 when workers are busier than 85 %, 1.5 times as many jobs come as are processed,
        or p95 of waiting time is over a minute; -1 with fewer than 10 waiting and workers less than 30 % busy. An advice stands
        for 300 s. The same as gauges in `/metrics`, for an autoscaler."""
        told, cursor = page("scaling", params, known(params))
        return Page[ScalingRow](
            items=[signal_rows.scaling_row(key, keeper.facts[key], keeper.signals.get(key) or nothing_yet(key)) for key in told],
            next_cursor=cursor,
            **await about(params),
        )

    @routes.get("/v1/forecast", summary="When each backlog is gone, and how good such forecasts were")
    async def forecast(params: NowListed) -> Page[ForecastRow]:
        """Jobs waiting divided by how fast they get fewer, over five minutes; the interval spans what the last 1, 5 and 15 minutes
        say. Each is compared later with when the backlog was really gone."""
        told, cursor = page("forecast", params, known(params))
        return Page[ForecastRow](
            items=[signal_rows.forecast_row(key, keeper.facts[key], keeper.signals.get(key) or nothing_yet(key)) for key in told],
            next_cursor=cursor,
            **await about(params),
        )

    return routes


async def _pipeline(sources: Sources, selection: Selection) -> list[str]:
    """What is wrong with the numbers themselves."""
    try:
        progress = await sources.live.progress()
        complete = live_rows.completeness(sources.live.epochs(selection), progress.watermark_us)
    except Unavailable as missing:
        return [f"{missing.store} is out of reach: {missing}"]
    found = []
    behind_us = sources.now_us() - (progress.complete_until_us or 0)
    if progress.complete_until_us is None or behind_us > STALE_US:
        found.append(f"the numbers are {behind_us / 1e6:.0f} s behind" if progress.complete_until_us else "nothing is complete yet")
    if complete.lost:
        found.append(f"{complete.lost} events are lost")
    if complete.unclean_epochs:
        found.append(f"{complete.unclean_epochs} emitter processes are gone without goodbye")
    wrong = [w.worker_id for w in sources.live.stuck(selection)[1].values() if selection.tenant in (None, w.tenant) and _skewed(w, sources.now_us())]
    if wrong:
        found.append(f"clocks are off by more than {SKEW_US / 1e6:.0f} s: {', '.join(sorted(wrong)[:5])}{' and others' if len(wrong) > 5 else ''}")
    return found


def _skewed(worker: WorkerSnapshot, now_us: int) -> bool:
    return worker.clock_lag_us is not None and abs(worker.clock_lag_us) > SKEW_US and live_rows.worker(worker, now_us).alive
