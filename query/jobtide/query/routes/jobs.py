"""`GET /v1/jobs` and `GET /v1/jobs/{job_id}/timeline`: attempts, and the story of one job. From history."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path
from jobtide.query.answers import Page
from jobtide.query.cursors import Position, write
from jobtide.query.job_answers import JobRow, Timeline
from jobtide.query.paging import opened, position_of
from jobtide.query.params import JobsListed, Traced
from jobtide.query.problems import Problem
from jobtide.query.ranges import Range
from jobtide.query.readers import Attempt, JobEvent, JobsQuestion
from jobtide.query.selection import Selection, scope
from jobtide.query.sources import Chosen, Sources, envelope
from jobtide.query.timeline import attempt_rows, event_rows, summary

MAX_ATTEMPTS = 1000
FROM_THE_START = (-1, "", "")

JobId = Annotated[
    str, Path(min_length=1, max_length=1024, description="The job's id; every backend and queue that used it is shown.")
]


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["jobs"])

    @routes.get("/v1/jobs", summary="Attempts of jobs, newest first")
    async def jobs(params: JobsListed) -> Page[JobRow]:
        """One row per attempt, ordered by `at`, when it came into its state. The range is about `at` too; without
        one, everything that history holds. A failed attempt of a job that succeeded later is still a failed attempt:
        `job_id` shows all of a job's."""
        filters = (sorted(params.state), params.job_id, params.worker_id, params.error_class)
        page = opened(sources, "jobs", params, None, *filters)
        question = JobsQuestion(
            params.selection(),
            page.range,
            params.limit,
            params.state,
            params.job_id,
            params.worker_id,
            params.error_class,
            page.after,
        )
        (found, more), told = await asyncio.gather(
            sources.history.jobs(question), envelope(Chosen(sources.history, "history"), question.selection, page.range)
        )
        return Page[JobRow](
            items=[attempt.row for attempt in found],
            next_cursor=page.next_cursor(_sort_key(found[-1]), page.range) if more else None,
            **told,
        )

    @routes.get(
        "/v1/jobs/{job_id:path}/timeline", summary="Everything that happened to one job, over all attempts and backends"
    )
    async def timeline(job_id: JobId, params: Traced) -> Timeline:
        """All attempts with waits, runs, gaps and back-off, and the events in order. 404 if no event names this job."""
        selection = params.selection()
        bound = scope("timeline", selection, job_id)
        after = (
            FROM_THE_START
            if params.cursor is None
            else _event_key(position_of(params.cursor, bound, sources.cursor_key))
        )
        attempts, (events, more), seen = await asyncio.gather(
            sources.history.attempts(job_id, selection, MAX_ATTEMPTS),
            sources.history.events(job_id, selection, after, params.limit),
            sources.history.seen(job_id, selection),
        )
        if not attempts and not events and params.cursor is None:
            raise Problem(404, f"no event of a job {job_id!r} is in history{_of(selection)}")
        range_ = _spanned(attempts, events)
        return Timeline(
            job_id=job_id,
            attempts=attempt_rows(attempts, seen),
            events=event_rows(events),
            next_cursor=_cursor(events[-1], bound, sources.cursor_key) if more else None,
            **summary(attempts),
            **await envelope(Chosen(sources.history, "history"), selection, range_),
        )

    return routes


def _sort_key(attempt: Attempt) -> tuple[str | int, ...]:
    return (attempt.at_us, *attempt.key)


def _event_key(position: Position) -> tuple[int, str, str]:
    at_us, type_, event_id = position.after
    return int(at_us), str(type_), str(event_id)


def _cursor(event: JobEvent, bound: str, key: bytes) -> str:
    return write(Position((event.at_us, event.row.type, event.row.event_id), 0, 0), bound, key)


def _of(selection: Selection) -> str:
    given = [f"{name}={value}" for name, value in selection.given().items()]
    return f" with {', '.join(given)}" if given else ""


def _spanned(attempts: list[Attempt], events: list[JobEvent]) -> Range:
    """From the first to just after the last that is known."""
    times = [e.at_us for e in events]
    for a in attempts:
        times += [us for us in (a.at_us, a.enqueued_us, a.started_us, a.finished_us) if us is not None]
    return Range(min(times, default=0), max(times, default=0) + 1)
