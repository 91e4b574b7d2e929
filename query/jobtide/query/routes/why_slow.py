"""`GET /v1/why-slow`: what made the attempts of a queue wait. From history."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter
from jobtide.query import slow_facts
from jobtide.query.answers import QueueKey, named
from jobtide.query.measures import Totals
from jobtide.query.params import SlowAsked
from jobtide.query.problems import wrong
from jobtide.query.ranges import ParamError, Range, resolve
from jobtide.query.readers import TotalsQuestion
from jobtide.query.selection import CLASS_DEPTH, QUEUE_DEPTH, Key, Selection
from jobtide.query.slow_facts import Window
from jobtide.query.sources import Sources, of_history
from jobtide.query.why_slow import Finding, Reason, Step, explain
from jobtide.query.why_slow_answers import CauseOut, Pressure, WhySlow

MAX_RANGE_S = 24 * 3600
MAX_CLASSES = 2000
SATURATED, MEMORY_FULL, STORAGE_SLOW_MS = 0.9, 0.8, 100.0


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["causes"])

    @routes.get("/v1/why-slow", summary="Why attempts of a queue waited: paused, no workers, slots held by others, a burst, retries, slow runs")
    async def why_slow(params: SlowAsked) -> WhySlow:
        """The waiting of the range (default: the last hour, at most 24 hours) taken apart into causes, compared with the time before it,
        three times as long. The verdict is the largest cause; its confidence falls with what is not known. If several backends have a queue
        of this name, `tenant`, `environment` and `system` must say which."""
        range_ = resolve(params.last, params.from_, params.to, sources.now_us(), "1h")
        if range_.seconds > MAX_RANGE_S:
            raise ParamError("last" if range_.last else "from", "at most 24 hours")
        selection = Selection(params.tenant, params.environment, params.system, params.queue)
        w = slow_facts.window(Range(range_.from_us, min(range_.to_us, max(sources.now_us(), range_.from_us + 1))))
        queue = await _queue(sources, selection, w)
        begun = time.monotonic()
        progress = await sources.history.progress()
        storage_ms = (time.monotonic() - begun) * 1000
        if queue is None:
            finding, steps, workers = Finding(Reason.UNKNOWN, 0.0, ["the queue did nothing in or before the range"]), [], []
        else:
            (before, now), (steps, workers), complete = await asyncio.gather(
                _totals(sources, Selection(*queue[:3]), w), _steps(sources, queue, w), sources.history.completeness(Selection(*queue[:3]), range_)
            )
            facts = slow_facts.facts(
                w, queue, steps, before, now, progress.complete_until_us, sources.now_us(), complete.ratio if complete is not None else None
            )
            finding = explain(facts)
        return WhySlow(
            queue=QueueKey(**named(queue)) if queue is not None else None,
            verdict=finding.reason.value,
            confidence=finding.confidence,
            evidence=list(finding.evidence),
            causes=[CauseOut(reason=c.reason.value, share=round(c.share, 4), evidence=list(c.evidence)) for c in finding.causes],
            pressures=_pressures(steps[w.before :], workers, params.worker_memory_mb, storage_ms),
            **await of_history(sources, selection, range_),
        )

    return routes


async def _queue(sources: Sources, selection: Selection, w: Window) -> Key | None:
    """The one queue that is meant; None if there is none. Raises Problem 422 if there are several."""
    reading = await sources.history.totals(TotalsQuestion(selection, Range(w.base_from_us, w.to_us), QUEUE_DEPTH, 5))
    keys = [group.key for group in reading.groups]
    if len(keys) > 1:
        raise wrong("queue", f"there are several: say which tenant, environment and system of {', '.join('/'.join(key[:3]) for key in keys)}")
    return keys[0] if keys else None


async def _totals(sources: Sources, selection: Selection, w: Window) -> tuple[dict[Key, Totals], dict[Key, Totals]]:
    questions = [TotalsQuestion(selection, Range(*ends), CLASS_DEPTH, MAX_CLASSES) for ends in ((w.base_from_us, w.from_us), (w.from_us, w.to_us))]
    before, now = await asyncio.gather(*(sources.history.totals(question) for question in questions))
    return {g.key: g.totals for g in before.groups}, {g.key: g.totals for g in now.groups}


async def _steps(sources: Sources, queue: Key, w: Window) -> tuple[list[Step], list[tuple[Any, ...]]]:
    lines, workers, pauses = await asyncio.gather(
        sources.insight.slow("slow_steps", queue, w), sources.insight.slow("slow_workers", queue, w), sources.insight.slow("slow_pauses", queue, w)
    )
    heard = {row[0]: row[2] if row[4] else row[2] + slow_facts.HEARD_US for row in workers}
    slots = await sources.insight.slow("slow_slots", queue, w, {"workers": list(heard), "heard_us": list(heard.values())})
    return slow_facts.steps(w, lines, workers, slots, pauses), list(workers)


def _pressures(now: list[Step], workers: list[tuple[Any, ...]], memory_mb: int | None, storage_ms: float) -> list[Pressure]:
    held = sum(sum(s.held.values()) for s in now if s.capacity is not None)
    capacity = sum(s.capacity for s in now if s.capacity is not None)
    used = [row[5] / (memory_mb * 2**20) for row in workers if row[5] is not None] if memory_mb else []
    values = (held / capacity if capacity else None, max(used, default=None), round(storage_ms, 1))
    limits = (SATURATED, MEMORY_FULL, STORAGE_SLOW_MS)
    names = ("worker_saturation", "worker_memory", "storage_ms")
    return [
        Pressure.model_validate({"name": name, "value": value, "limit": limit, "over": value is not None and value > limit})
        for name, value, limit in zip(names, values, limits, strict=True)
    ]
