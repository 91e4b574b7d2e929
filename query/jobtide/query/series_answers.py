"""The shape of `/v1/series`. Models only."""

from __future__ import annotations

from jobtide.query.answers import Page
from pydantic import BaseModel, Field


class Point(BaseModel):
    at: str = Field(description="Start of the step.")
    value: float | None


class SeriesRow(BaseModel):
    """One line: the parts of the key it is `by`, others null, and a value per step."""

    tenant: str | None = None
    environment: str | None = None
    system: str | None = None
    queue: str | None = None
    job_class: str | None = None
    points: list[Point]


class SeriesPage(Page[SeriesRow]):
    metric: str = Field(examples=["throughput"])
    unit: str = Field(description="attempts, attempts/s, ratio or ms.", examples=["attempts/s"])
    step_s: int = Field(examples=[60])
