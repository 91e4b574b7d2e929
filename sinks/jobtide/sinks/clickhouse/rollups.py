"""Recomputes minute rollups from executions (`recompute.sql`). Blocking; which minutes is the caller's decision.

A rollup row is replaced by one with a higher version. The version is the server's clock before the recomputation reads anything: of two
writers that recompute the same minute, the one with the higher version read later than every row the other one had written.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from importlib import resources

from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.moves import Minute
from jobtide.streams.sketches.histogram import GAMMA

from math import log

MINUTES_AT_ONCE = 1_440  # (tenant, minute) pairs in one statement: bounds its memory
SWEEP_HOURS = 3
_DAY_S = 86_400


class Rollups:
    """`executions_kept_days`: older minutes may have lost executions to retention and are never lowered."""

    def __init__(self, db: ClickHouse, executions_kept_days: int) -> None:
        self._db = db
        self._kept_s = executions_kept_days * _DAY_S
        self._sql = resources.files("jobtide.sinks").joinpath("clickhouse/recompute.sql").read_text("utf-8")
        self._version: int | None = None

    def recompute(self, minutes: Collection[Minute], budget_s: float) -> list[Minute]:
        """Recompute minutes, the newest first, until done or `budget_s` is used up; those it did. Raises TransientError."""
        until = time.monotonic() + budget_s
        done: list[Minute] = []
        for chunk in _chunks(minutes):
            version = self._next_version()
            parameters = {
                "dirty": chunk,
                "first": min(minute for _, minute in chunk),
                "last": max(minute for _, minute in chunk) + 60,
                "version": version,
                "per_ln": 1 / log(GAMMA),
                "kept_since": max(version // 1_000_000 - self._kept_s, 0),
            }
            self._db.command(self._sql, parameters)
            done.extend(chunk)
            if time.monotonic() > until:
                break
        return done

    def recent(self) -> set[Minute]:
        """The minutes of the last hours, of every tenant that had anything in them: for the hourly sweep."""
        tenants = self._db.rows(f"SELECT DISTINCT tenant FROM job_executions WHERE last_at >= now() - INTERVAL {SWEEP_HOURS} HOUR")
        [(now_s,)] = self._db.rows("SELECT toUnixTimestamp(toStartOfMinute(now()))")
        return {(tenant, now_s - 60 * i) for (tenant,) in tenants for i in range(SWEEP_HOURS * 60)}

    def _next_version(self) -> int:
        if self._version is None:
            [(self._version,)] = self._db.rows("SELECT max(version) FROM rollup_1m")
        [(now_us,)] = self._db.rows("SELECT toUnixTimestamp64Micro(now64(6))")
        self._version = max(int(now_us), self._version + 1)  # a clock set back must not lose to what is there
        return self._version


def _chunks(minutes: Collection[Minute]) -> Iterator[Sequence[Minute]]:
    newest_first = sorted(minutes, key=lambda m: (-m[1], m[0]))
    for start in range(0, len(newest_first), MINUTES_AT_ONCE):
        yield newest_first[start : start + MINUTES_AT_ONCE]
