"""`GET /v1/live`: what changes, as it changes, by server-sent events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from jobtide.query.feed import MAX_CLIENTS, Feed
from jobtide.query.frames import Topic
from jobtide.query.params import Followed
from jobtide.query.problems import Problem
from jobtide.query.sse import EventStream

LastEventId = Annotated[
    str | None, Header(max_length=200, description="The id of the last event that was seen; browsers send it.")
]


def router(feed: Feed) -> APIRouter:
    routes = APIRouter(tags=["live"])

    @routes.get(
        "/v1/live",
        summary="Rows of classes, queues and workers as they change (server-sent events)",
        response_class=EventStream,
        responses={
            200: {
                "description": "See LiveEvent for the data of `snapshot` and `delta`.",
                "content": {"text/event-stream": {}},
            }
        },
    )
    async def live(params: Followed, last_event_id: LastEventId = None) -> Response:
        """First `snapshot` with every row, then `delta` with the rows that changed, whole, and the keys of those that
        are gone: replace, never add. Ids are `<boot>:<n>`; with Last-Event-ID the stream goes on from there, or, if
        that is too long ago, sends `reset` and a snapshot. A client that does not keep up is disconnected and
        resumes. Comments keep the connection open."""
        if len(feed.subscribers) >= MAX_CLIENTS:
            raise Problem(503, f"{MAX_CLIENTS} clients follow already", headers={"Retry-After": "10"})
        return EventStream(feed.stream(Topic(params.selection(), params.last), last_event_id))

    return routes
