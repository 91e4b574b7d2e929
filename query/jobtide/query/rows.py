"""Totals to the rows of `/v1/classes` and `/v1/queues`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobtide.query.answers import ClassRow, Now, QueueRow, named, numbers
from jobtide.query.measures import percentiles_ms
from jobtide.query.readers import Group, LiveReader
from jobtide.query.selection import Key


def class_rows(groups: Sequence[Group], now: Mapping[Key, Now] | None, seconds: float) -> list[ClassRow]:
    return [ClassRow(**named(g.key), **numbers(g.totals, now[g.key] if now else None, seconds)) for g in groups]


def queue_rows(
    groups: Sequence[Group], now: Mapping[Key, Now] | None, seconds: float, live: LiveReader
) -> list[QueueRow]:
    return [
        QueueRow(
            **named(g.key), **numbers(g.totals, now[g.key] if now else None, seconds), classes=g.classes,
            paused=live.paused(g.key), depth=live.depth(g.key),
        )
        for g in groups
    ]  # fmt: skip


def slowest(groups: Sequence[Group], n: int) -> list[Group]:
    """The `n` with the longest p95 of wait time; those without waits are left out."""
    waited = [(percentiles_ms(group.totals.wait)["p95"], group) for group in groups]
    ranked = sorted(
        ((p95, group) for p95, group in waited if p95 is not None), key=lambda found: (-found[0], found[1].key)
    )
    return [group for _, group in ranked[:n]]
