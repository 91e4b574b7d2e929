"""What the tool about alerts answers: what fires now and what fired lately, in one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobtide.query.alert_answers import AlertRow, PastAlert
from jobtide.query.answers import Page
from pydantic import BaseModel, Field


class AlertsTold(BaseModel):
    """Alerts now and in the range."""

    now: list[AlertRow] | None = Field(description="What fires or is pending now, worst first; null if that cannot be read: see `degraded`.")
    recent: list[PastAlert] = Field(description="Changes of alerts in the range, newest first; `state` says into what.")
    more: bool = Field(description="There are more changes in the range than `limit`.")
    complete_until: str | None = Field(description="Before it no change is missing in `recent`; null if that is not known.")
    degraded: list[str]


def told(now: Sequence[AlertRow] | None, missing: str | None, past: Page[PastAlert], wanted: Mapping[str, str | None]) -> AlertsTold:
    """`wanted`: labels that what fires now has to have; None for any. `missing`: why `now` is not known."""
    kept = None if now is None else [row for row in now if all(value is None or row.labels.get(name) == value for name, value in wanted.items())]
    degraded = past.degraded if missing is None else [*past.degraded, f"what fires now is not known: {missing}"]
    return AlertsTold(now=kept, recent=past.items, more=past.next_cursor is not None, complete_until=past.complete_until, degraded=degraded)
