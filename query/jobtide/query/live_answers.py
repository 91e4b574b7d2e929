"""The shape of the events of `/v1/live`. Models only; `frames` fills them."""

from __future__ import annotations

from jobtide.query.answers import Answer, ClassRow, QueueRow
from jobtide.query.fleet_answers import WorkerRow
from jobtide.query.stuck_answers import StuckSeriesRow
from pydantic import BaseModel, Field


class Removed(BaseModel):
    """Keys of rows that are gone: the parts of their keys in order."""

    classes: list[list[str]] = []
    queues: list[list[str]] = []
    workers: list[list[str]] = []
    stuck: list[list[str]] = []


class LiveHead(Answer):
    """What both events begin with."""

    removed: Removed = Field(description="Empty in a snapshot.")


class LiveEvent(LiveHead):
    """The data of `snapshot` (every row) and `delta` (the rows that changed, whole: put each in the place of the old
    one).
    """

    classes: list[ClassRow]
    queues: list[QueueRow]
    workers: list[WorkerRow]
    stuck: list[StuckSeriesRow]
