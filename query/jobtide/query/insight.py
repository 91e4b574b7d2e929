"""The reader of questions about causes and courses: which errors, since when, what it cost, what a deploy changed. From history.

Beside `history`, which answers about numbers and single jobs; both ask `sql/*.sql` through `engine`. `insight_rows` says what the rows
mean. Every method raises Unavailable while ClickHouse is out of reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from jobtide.query import insight_rows
from jobtide.query.alert_answers import PastAlert
from jobtide.query.engine import Engine
from jobtide.query.history import counted, ends
from jobtide.query.insight_answers import (
    BatchRow,
    CompletenessStep,
    CostRow,
    DeployRow,
    ErrorGroup,
    FailureRow,
    PeakRow,
    QueueCounters,
    RerunRow,
    WorkerCounters,
)
from jobtide.query.ranges import SECOND_US, Range
from jobtide.query.selection import Key, Selection
from jobtide.query.slow_facts import Window
from jobtide.query.steps import Steps

After = tuple[str | int, ...]
R = TypeVar("R")

LARGEST = 1 << 62  # in the place of the leading number of a sort key, before all rows that come in falling order
FROM_TOP: After = (LARGEST, "", "", "", "", "", 0)
FROM_BOTTOM: After = (-LARGEST, "", "", "", "", "")


class Insight:
    """`partitions`: of the Kafka topics."""

    def __init__(self, engine: Engine, partitions: int) -> None:
        self._engine, self._partitions = engine, partitions

    async def errors(
        self, selection: Selection, range_: Range, error_class: str | None, category: str | None, after: After, limit: int
    ) -> tuple[list[ErrorGroup], bool]:
        chosen = {"error_class": error_class, "category": category}
        parameters = asdict(selection) | ends(range_) | chosen | _after(after or FROM_BOTTOM, 4)
        return await self._page("errors", parameters, limit, insight_rows.error_group)

    async def failures(
        self, selection: Selection, range_: Range, chosen: dict[str, Any], after: After, limit: int
    ) -> tuple[list[FailureRow], bool, After]:
        """`chosen`: error_class, fingerprint, category, host, dead and recovered, None for any. Also the last row's sort key."""
        flags = {name: value if value is None else int(value) for name, value in chosen.items() if name in ("dead", "recovered")}
        parameters = asdict(selection) | ends(range_) | chosen | flags | _attempt_after(after or FROM_TOP)
        rows = await self._engine.ask("failures", parameters | {"limit": limit + 1})
        kept = rows[:limit]
        return [insight_rows.failure(row) for row in kept], len(rows) > limit, _attempt_key(kept[-1]) if kept else ()

    async def peaks(self, selection: Selection, range_: Range, depth: int, after: After, limit: int) -> tuple[list[PeakRow], bool, After]:
        """Of the whole minutes in the range."""
        parameters, _ = counted(selection, range_)
        rows = await self._engine.ask("peaks", parameters | {"depth": depth, "limit": limit + 1} | _after(after or FROM_BOTTOM, 6))
        kept = rows[:limit]
        key = (-kept[-1][5], *kept[-1][:5]) if kept else ()
        return [insight_rows.peak(row, depth) for row in kept], len(rows) > limit, key

    async def cost(self, selection: Selection, range_: Range, after: After, limit: int) -> tuple[list[CostRow], bool, After]:
        parameters, parts = counted(selection, range_)
        rows = await self._engine.ask("cost", parameters | {"limit": limit + 1} | _after(after or FROM_BOTTOM, 6), parts)
        kept = rows[:limit]
        key = (-kept[-1][5], *kept[-1][:5]) if kept else ()
        return [insight_rows.cost(row) for row in kept], len(rows) > limit, key

    async def deploys(
        self, selection: Selection, range_: Range, release: str | None, after: After, limit: int
    ) -> tuple[list[tuple[DeployRow, int]], bool, After]:
        """Each with its time in µs."""
        parameters = asdict(selection) | ends(range_) | {"release": release, "limit": limit + 1} | _after(after or FROM_TOP[:3], 3)
        rows = await self._engine.ask("deploys", parameters)
        kept = rows[:limit]
        key = (kept[-1][5], kept[-1][0], kept[-1][9]) if kept else ()
        return [(insight_rows.deploy(row), row[5]) for row in kept], len(rows) > limit, key

    async def alerts(
        self, selection: Selection, range_: Range, chosen: dict[str, Any], after: After, limit: int
    ) -> tuple[list[PastAlert], bool, After]:
        """`chosen`: rule and fingerprint, None for any; states and severities, empty for all."""
        parameters = asdict(selection) | ends(range_) | chosen | {"limit": limit + 1} | _after(after or FROM_TOP[:3], 3)
        rows = await self._engine.ask("alerts", parameters)
        kept = rows[:limit]
        key = (kept[-1][10], kept[-1][0], kept[-1][8]) if kept else ()
        return [insight_rows.past_alert(row) for row in kept], len(rows) > limit, key

    async def alerts_until_us(self) -> int | None:
        """Alerts that were said before it are in history; None if that is not known."""
        [(partitions, until_us)] = await self._engine.ask("alerts_progress", {"partitions": self._partitions})
        return until_us if partitions == self._partitions else None

    async def batches(
        self, selection: Selection, range_: Range, batch_id: str | None, after: After, limit: int
    ) -> tuple[list[BatchRow], bool, After]:
        parameters = asdict(selection) | ends(range_) | {"batch": batch_id, "limit": limit + 1} | _after(after or FROM_TOP[:4], 4)
        rows = await self._engine.ask("batches", parameters)
        kept = rows[:limit]
        key = (kept[-1][8], *kept[-1][:3]) if kept else ()
        return [insight_rows.batch(row) for row in kept], len(rows) > limit, key

    async def reruns(self, selection: Selection, range_: Range, after: After, limit: int) -> tuple[list[RerunRow], bool, After]:
        parameters = asdict(selection) | ends(range_) | {"limit": limit + 1} | _attempt_after(after or FROM_TOP)
        rows = await self._engine.ask("twice", parameters)
        kept = rows[:limit]
        key = (kept[-1][8], *kept[-1][:6]) if kept else ()
        return [insight_rows.rerun(row) for row in kept], len(rows) > limit, key

    async def worker_counters(self, selection: Selection, range_: Range, after: After, limit: int) -> tuple[list[WorkerCounters], bool, After]:
        parameters = asdict(selection) | ends(range_) | {"limit": limit + 1} | _after(after or FROM_BOTTOM[:5], 5)
        rows = await self._engine.ask("worker_counters", parameters)
        kept = rows[:limit]
        key = (-kept[-1][10], *kept[-1][:4]) if kept else ()
        return [insight_rows.worker_counters(row) for row in kept], len(rows) > limit, key

    async def queue_counters(self, selection: Selection, range_: Range, after: Key, limit: int) -> tuple[list[QueueCounters], bool, After]:
        rows = await self._engine.ask("queue_counters", asdict(selection) | ends(range_) | {"after": list(after), "limit": limit + 1})
        kept = rows[:limit]
        return [insight_rows.queue_counters(row) for row in kept], len(rows) > limit, tuple(kept[-1][:4]) if kept else ()

    async def completeness(self, selection: Selection, steps: Steps) -> list[CompletenessStep]:
        parameters = asdict(selection) | ends(steps.range) | {"step_us": steps.step_s * SECOND_US}
        return [insight_rows.completeness_step(row) for row in await self._engine.ask("completeness_steps", parameters)]

    async def slow(self, name: str, queue: Key, w: Window, more: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one of the questions `slow_*.sql` about one queue."""
        of = dict(zip(("tenant", "environment", "system", "queue"), queue, strict=True))
        bounds = {"base_from_us": w.base_from_us, "from_us": w.from_us, "to_us": w.to_us, "step_us": w.step_us}
        return await self._engine.ask(name, of | bounds | (more or {}))

    async def _page(self, name: str, parameters: dict[str, Any], limit: int, row_of: Callable[[Any], R]) -> tuple[list[R], bool]:
        rows = await self._engine.ask(name, parameters | {"limit": limit + 1})
        return [row_of(row) for row in rows[:limit]], len(rows) > limit


def _after(after: After, parts: int) -> dict[str, Any]:
    """A sort key as parameters after_0, after_1, …; one that is too short is padded with empty texts."""
    return {f"after_{n}": after[n] if n < len(after) else "" for n in range(parts)}


def _attempt_after(after: After) -> dict[str, Any]:
    """The same for (time, attempt key)."""
    return {"after_at_us": after[0], **{f"after_{n}": after[n] for n in range(1, 7)}}


def _attempt_key(row: Sequence[Any]) -> After:
    return (row[6], *row[:6])


