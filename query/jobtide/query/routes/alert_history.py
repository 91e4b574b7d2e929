"""`GET /v1/alerts/history`: what fired, since when, until when. From history; what fires now is `/v1/alerts`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from jobtide.query.alert_answers import PastAlert
from jobtide.query.answers import Page, optional_text
from jobtide.query.paging import opened
from jobtide.query.params import PastAlertsListed
from jobtide.query.ranges import SECOND_US, Range
from jobtide.query.readers import Unavailable
from jobtide.query.selection import Selection
from jobtide.query.sources import Sources, of_history

SAYING_US = 5 * SECOND_US  # an alert is decided when the live watermark passes it, and said within this


def router(sources: Sources) -> APIRouter:
    routes = APIRouter(tags=["courses"])

    @routes.get("/v1/alerts/history", summary="Changes of alerts in a range, newest first")
    async def alerts_history(params: PastAlertsListed) -> Page[PastAlert]:
        """One row for each state an alert came into (default: the last 24 hours), with the number that decided it; rows of one episode have the
        same `started_at`. Up to `complete_until` nothing is missing. An alert of a whole queue or worker has no class: `job_class` leaves it out."""
        chosen = {"rule": params.rule, "fingerprint": params.fingerprint, "states": params.state, "severities": params.severity}
        page = opened(sources, "alerts", params, "24h", *chosen.values())
        selection = params.selection()
        found, more, key = await sources.insight.alerts(selection, page.range, chosen, page.after, params.limit)
        return Page[PastAlert](
            items=found, next_cursor=page.next_cursor(key, page.range) if more else None, **await _envelope(sources, selection, page.range)
        )

    return routes


async def _envelope(sources: Sources, selection: Selection, range_: Range) -> dict[str, Any]:
    """As of all history, but for how far it is complete: as far as rules have looked, and what they said is written."""
    fields = await of_history(sources, selection, range_)
    written_us = await sources.insight.alerts_until_us()
    try:
        judged_us = (await sources.live.progress()).complete_until_us
    except Unavailable as missing:
        judged_us = None
        fields["degraded"].append(f"{missing.store} is out of reach ({missing.detail}): how far alerts are complete is not known")
    known = written_us is not None and judged_us is not None
    fields["complete_until"] = optional_text(max(0, min(written_us, judged_us) - SAYING_US)) if known else None  # type: ignore[type-var,operator]
    return fields
