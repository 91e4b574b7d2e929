"""The reader over ClickHouse: what happened, for any range, as far as the history writer has come.

Not live: for the last minutes hot state is ahead of it by a second or two, and by `rollup_every_ms` for minute
numbers. Asks `sql/*.sql` through `engine`; `history_rows` says what the rows mean. Every method raises Unavailable
while ClickHouse is out of reach.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

from jobtide.query import history_rows
from jobtide.query.answers import Completeness
from jobtide.query.brief import Brief
from jobtide.query.engine import Engine
from jobtide.query.fleet_answers import EpochRow, WorkerRow
from jobtide.query.questions import ALL_COUNTED, Counted
from jobtide.query.ranges import MAX_US, MINUTE_US, SECOND_US, Range, ceil, floor, whole_minutes
from jobtide.query.readers import (
    Attempt,
    Group,
    JobEvent,
    JobsQuestion,
    Progress,
    Seen,
    SeriesPoints,
    TotalsQuestion,
    TotalsReading,
    Unavailable,
)
from jobtide.query.selection import SERIES_PARTS, Key, Selection
from jobtide.query.steps import Steps
from jobtide.streams.sketches.histogram import GAMMA

HOUR_US = 60 * MINUTE_US
PER_LN = 1 / math.log(GAMMA)
DAY_US = 86_400 * SECOND_US
ENDS = frozenset({"finished", "failed", "cancelled", "discarded"})  # states that an event of that name brings about
# How far back to look for the newest, at how many events and how many attempts for each row of a page. Looking up attempts is what costs; some
# are looked up in vain, because they ended after the range.
NEWEST = ((HOUR_US, 8, 1.6), (DAY_US, 8, 4), (30 * DAY_US, 16, 16))
# Every answer tells both, and they cost a query: answers of one moment may share them.
PROGRESS_KEPT_S = 0.25
COMPLETENESS_KEPT_S = 2.0


class ClickHouseHistory:
    """See the module. `worker_days`: how long workers' events are kept, without which completeness cannot be judged; `event_days`: how long
    those of jobs are."""

    def __init__(self, engine: Engine, worker_days: int, event_days: int) -> None:
        self._event_days = event_days
        self._engine = engine
        self._worker_days = worker_days
        self._progress: Brief[Progress] = Brief(PROGRESS_KEPT_S)
        self._completeness: Brief[Completeness] = Brief(COMPLETENESS_KEPT_S)

    async def totals(self, question: TotalsQuestion) -> TotalsReading:
        range_ = question.range
        if range_.last is not None:  # "about the last day" need not look at single attempts at its two ends
            range_ = whole_minutes(range_)
        parameters, parts = counted(question.selection, range_)
        parameters |= {
            "depth": question.depth,
            "after": _padded(question.after),
            "failed_first": int(question.failed_first),
            "limit": question.limit + 1,
        }
        rows = await self._engine.ask("totals", parameters, parts)
        depth = question.depth
        groups = [
            Group(row[:depth], history_rows.totals(row[5:20]), row[20], row[21]) for row in rows[: question.limit]
        ]
        return TotalsReading(range_, groups, len(rows) > question.limit)

    async def series(
        self, selection: Selection, steps: Steps, depth: int, samples: str, after: Key, limit: int
    ) -> tuple[list[SeriesPoints], bool]:
        parameters, parts = counted(selection, steps.range, steps.step_s * SECOND_US)
        parameters |= {
            "depth": depth,
            "after": _padded(after),
            "samples": samples,
            "limit": limit + 1,
            "step_us": steps.step_s * SECOND_US,
        }
        found: dict[Key, SeriesPoints] = {}
        for row in await self._engine.ask("series", parameters, parts):
            points = found.setdefault(row[:depth], SeriesPoints(row[:depth]))
            points.steps[row[5]] = history_rows.totals(row[6:21])
        return list(found.values())[:limit], len(found) > limit

    async def progress(self) -> Progress:
        return await self._progress.get(None, self._ask_progress)

    async def _ask_progress(self) -> Progress:
        return history_rows.progress(await self._engine.ask("progress", {}))

    async def completeness(self, selection: Selection, range_: Range) -> Completeness | None:
        if range_.from_us < range_.to_us - self._worker_days * DAY_US:
            return None  # workers' events share the numbers and are gone by then: every one would look like a loss
        parameters = _owner(selection) | ends(range_)
        return await self._completeness.get(tuple(parameters.items()), lambda: self._ask_completeness(parameters))

    async def _ask_completeness(self, parameters: dict[str, Any]) -> Completeness:
        return history_rows.completeness(*(await self._engine.ask("completeness", parameters))[0])

    async def epochs(self, selection: Selection, range_: Range, after: Key, limit: int) -> tuple[list[EpochRow], bool]:
        parameters = asdict(selection) | ends(range_) | {"after": list(after), "limit": limit + 1}
        rows = await self._engine.ask("epochs", parameters)
        return [history_rows.epoch(row) for row in rows[:limit]], len(rows) > limit

    async def jobs(self, question: JobsQuestion) -> tuple[list[Attempt], bool]:
        after = question.after or (MAX_US + 1, "", "", "", "", "", 0)
        parameters = (
            asdict(question.selection)
            | ends(question.range)
            | {
                "job_id": question.job_id,
                "worker_id": question.worker_id,
                "error_class": question.error_class,
                "states": list(question.states),
                "limit": question.limit + 1,
                "wide": int(question.range.from_us == 0),
                "after_at_us": after[0],
                "after_6": after[6],
                **{f"after_{n}": after[n] for n in range(1, 6)},
            }
        )
        rows = await self._newest(question, parameters) or await self._engine.ask("jobs", parameters)
        return [history_rows.attempt(row) for row in rows[: question.limit]], len(rows) > question.limit

    async def _newest(self, question: JobsQuestion, parameters: dict[str, Any]) -> list[tuple[Any, ...]] | None:
        """A full page by way of the newest events, looking further back and at more of them each time; None where that gives none."""
        if question.job_id is not None:
            return None
        top_us = min(question.range.to_us, parameters["after_at_us"] + 1)
        kept_from_us = time.time_ns() // 1000 - self._event_days * DAY_US
        types = [f"job.{state}" for state in question.states] if set(question.states) <= ENDS else []
        for back_us, events, attempts in NEWEST:
            seen_from_us = max(question.range.from_us, top_us - back_us)
            if seen_from_us < kept_from_us:
                return None
            most = {"events": events * (question.limit + 1), "attempts": math.ceil(attempts * (question.limit + 1))}
            seen = await self._engine.ask("jobs_seen", parameters | most | {"seen_from_us": seen_from_us, "types": types})
            found = history_rows.seen_attempts(seen, most["events"], most["attempts"], seen_from_us)
            rows = await self._engine.ask("jobs_newest", parameters | found) if seen else []
            if len(rows) > question.limit:
                return rows
            if seen_from_us == question.range.from_us and back_us == NEWEST[0][0]:
                return None  # little is there: the other way is as fast
        return None

    async def attempts(self, job_id: str, selection: Selection, limit: int) -> list[Attempt]:
        rows = await self._engine.ask("timeline_attempts", asdict(selection) | {"job_id": job_id, "limit": limit})
        return [history_rows.attempt(row) for row in rows]

    async def events(
        self, job_id: str, selection: Selection, after: tuple[int, str, str], limit: int
    ) -> tuple[list[JobEvent], bool]:
        at_us, type_, event_id = after
        parameters = asdict(selection) | {
            "job_id": job_id,
            "limit": limit + 1,
            "after_at_us": at_us,
            "after_type": type_,
            "after_id": event_id,
        }
        rows = await self._engine.ask("timeline_events", parameters)
        return [history_rows.event(row) for row in rows[:limit]], len(rows) > limit

    async def seen(self, job_id: str, selection: Selection) -> Seen:
        rows = await self._engine.ask("timeline_seen", asdict(selection) | {"job_id": job_id})
        return {tuple(row[:5]): frozenset(row[5]) for row in rows}

    async def workers(
        self, selection: Selection, range_: Range, after: Key, limit: int
    ) -> tuple[list[WorkerRow], bool]:
        parameters = asdict(selection) | ends(range_) | {"after": list(after), "limit": limit + 1}
        rows = await self._engine.ask("workers", parameters)
        return [history_rows.worker(row, range_.to_us) for row in rows[:limit]], len(rows) > limit

    async def worker_ids(self, selection: Selection, range_: Range) -> set[Key]:
        return {tuple(row) for row in await self._engine.ask("worker_ids", asdict(selection) | ends(range_))}

    async def ready(self) -> str | None:
        try:
            await self._ask_progress()
        except Unavailable as error:
            return error.detail
        return None


def ends(range_: Range) -> dict[str, Any]:
    return {"from_us": range_.from_us, "to_us": range_.to_us}


def _owner(selection: Selection) -> dict[str, Any]:
    """Only tenant and system: what a missing event belonged to beyond them nobody knows."""
    return {
        **dict.fromkeys(("environment", "queue", "job_class")),
        "tenant": selection.tenant,
        "system": selection.system,
    }


def counted(selection: Selection, range_: Range, step_us: int = HOUR_US) -> tuple[dict[str, Any], Counted]:
    """Parameters of what is summed over a range, and from where: its whole hours and minutes from rollups, as far as they are not coarser
    than a step, the rest from single attempts."""
    minutes = _whole(range_.from_us, range_.to_us, MINUTE_US if step_us % MINUTE_US == 0 else None)
    hours = _whole(*minutes, HOUR_US if step_us % HOUR_US == 0 else None)
    nothing_left = {"attempts": minutes == (range_.from_us, range_.to_us), "minutes": hours == minutes, "hours": hours[0] == hours[1]}
    bounds = {"minutes_from_us": minutes[0], "minutes_to_us": minutes[1], "hours_from_us": hours[0], "hours_to_us": hours[1], "per_ln": PER_LN}
    return asdict(selection) | ends(range_) | bounds, tuple(part for part in ALL_COUNTED if not nothing_left[part]) or ("minutes",)


def _whole(from_us: int, to_us: int, unit_us: int | None) -> tuple[int, int]:
    """The whole units in a range; an empty range at its start if there are none, or no unit."""
    if unit_us is not None:
        first, last = ceil(from_us, unit_us), floor(to_us, unit_us)
        if first < last:
            return first, last
    return from_us, from_us


def _padded(after: Key) -> list[str]:
    """A key of any depth as the questions have it: with empty parts for those that are not asked. Nothing is before
    all keys.
    """
    return [*after, *[""] * (len(SERIES_PARTS) - len(after))] if after else []
