"""Which reader answers: live for the four windows, history for everything else and when Redis is away; and what the
answer says of itself.

The only place that decides between the two. Routes ask here; readers do the reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobtide.query.answers import Source, optional_text, range_out
from jobtide.query.insight import Insight
from jobtide.query.problems import out_of_reach
from jobtide.query.ranges import SECOND_US, Range
from jobtide.query.readers import (
    HistoryReader,
    LiveReader,
    Progress,
    TotalsQuestion,
    TotalsReader,
    TotalsReading,
    Unavailable,
)
from jobtide.query.selection import Selection


@dataclass(frozen=True, slots=True)
class Sources:
    """What the routes stand on. `now_us`: the clock. `cursor_key`: signs cursors."""

    live: LiveReader
    history: HistoryReader
    insight: Insight
    now_us: Callable[[], int]
    cursor_key: bytes


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who answered, and why it was not the one it should have been."""

    reader: TotalsReader
    source: Source
    degraded: tuple[str, ...] = ()


async def totals(sources: Sources, question: TotalsQuestion) -> tuple[TotalsReading, Chosen]:
    """Answer from hot state if the range is one of its windows, else or without it from history. Raises Problem 503
    if neither can.
    """
    if question.range.window is None:
        return await sources.history.totals(question), Chosen(sources.history, "history")
    try:
        return await sources.live.totals(question), Chosen(sources.live, "live")
    except Unavailable as missing:
        try:
            reading = await sources.history.totals(question)
        except Unavailable as also_missing:
            raise out_of_reach(missing, also_missing) from also_missing
        return reading, Chosen(sources.history, "history", (instead(missing),))


def instead(missing: Unavailable) -> str:
    """What an answer says when history stands in for hot state."""
    return f"{missing.store} is out of reach ({missing.detail}): answered from history, which is a few seconds behind"


async def of_history(sources: Sources, selection: Selection, range_: Range) -> dict[str, Any]:
    """The fields of Answer for what only history can answer."""
    return await envelope(Chosen(sources.history, "history"), selection, range_)


async def envelope(chosen: Chosen, selection: Selection, range_: Range) -> dict[str, Any]:
    """The fields of Answer. What cannot be had is null and named in `degraded`: the numbers themselves are there
    already.
    """
    degraded = list(chosen.degraded)
    progress, completeness = await asyncio.gather(
        _or_none(chosen.reader.progress(), degraded), _or_none(chosen.reader.completeness(selection, range_), degraded)
    )
    reached = progress or Progress()
    if reached.stale:
        degraded.append(reached.stale)
    if completeness is None and not degraded:
        degraded.append("completeness is not known for a range that begins before workers' events are deleted")
    return {
        "range": range_out(range_),
        "watermark": optional_text(reached.watermark_us),
        "complete_until": optional_text(reached.complete_until_us),
        "completeness": completeness,
        "source": chosen.source,
        "degraded": degraded,
    }


async def _or_none(asked: Any, degraded: list[str]) -> Any:
    try:
        return await asked
    except Unavailable as missing:
        degraded.append(f"{missing.store}: {missing.detail}")
        return None


def passed_s(range_: Range, now_us: int) -> float:
    """How many seconds of the range have passed: what rates divide by."""
    return max(0, min(range_.to_us, now_us) - range_.from_us) / SECOND_US
