"""Recomputes minute rollups from executions (`recompute.sql`), and then their hours from them (`recompute_hours.sql`). Blocking; which
minutes is the caller's decision.

A rollup row is replaced by one with a higher version. The version is the server's clock before the recomputation reads anything: of two
writers that recompute the same minute, the one with the higher version read later than every row the other one had written.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from importlib import resources
from math import log

from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.moves import Minute
from jobtide.streams.sketches.histogram import GAMMA

MINUTES_AT_ONCE = 1_440  # (tenant, minute) pairs in one statement: bounds its memory
GAP_S = 1_800  # minutes further apart than this belong to different ranges: a statement joins the attempts of whole ranges
RANGES_AT_ONCE = 32  # in one statement: each is a comparison for every row, and every statement costs about 50 ms
SWEEP_HOURS = 3
_DAY_S = 86_400
_KEY = "tenant, environment, system, queue, job_id, attempt"
_OF_ATTEMPTS = f"({_KEY}) IN (SELECT {_KEY} FROM job_executions WHERE {{}})"


class Rollups:
    """`executions_kept_days`: older minutes may have lost executions to retention and are never lowered."""

    def __init__(self, db: ClickHouse, executions_kept_days: int) -> None:
        self._db = db
        self._kept_s = executions_kept_days * _DAY_S
        self._sql = resources.files("jobtide.sinks").joinpath("clickhouse/recompute.sql").read_text("utf-8")
        self._hours_sql = resources.files("jobtide.sinks").joinpath("clickhouse/recompute_hours.sql").read_text("utf-8")
        self._version: int | None = None

    def recompute(self, minutes: Collection[Minute], budget_s: float) -> list[Minute]:
        """Recompute minutes, the newest first, until done or `budget_s` is used up; those it did. Raises TransientError."""
        until = time.monotonic() + budget_s
        done: list[Minute] = []
        for ranges in statements(minutes):
            self._recompute(ranges, in_ranges(ranges))
            done.extend(minute for run in ranges for minute in run)
            if time.monotonic() > until:
                break
        return done

    def sweep(self) -> int:
        """Recompute the last hours of every tenant from all that was ever written of the attempts in them; how many minutes."""
        tenants = self._db.rows(f"SELECT DISTINCT tenant FROM job_executions WHERE last_at >= now() - INTERVAL {SWEEP_HOURS} HOUR")
        [(now_s,)] = self._db.rows("SELECT toUnixTimestamp(toStartOfMinute(now()))")
        minutes = {(tenant, now_s - 60 * i) for (tenant,) in tenants for i in range(SWEEP_HOURS * 60)}
        for ranges in statements(minutes):
            self._recompute(ranges, _OF_ATTEMPTS.format(in_ranges(ranges)))
        return len(minutes)

    def _recompute(self, ranges: Sequence[Sequence[Minute]], rows: str) -> None:
        version = self._next_version()
        parameters = {
            "dirty": [minute for run in ranges for minute in run],
            "version": version,
            "per_ln": 1 / log(GAMMA),
            "kept_since": max(version // 1_000_000 - self._kept_s, 0),
        }
        self._db.command(self._sql.replace("/* rows */", rows), parameters)
        # With a version taken after the minutes were written: of two writers, the one with the higher version has read the other's minutes.
        hours = sorted({(tenant, minute - minute % 3600) for run in ranges for tenant, minute in run})
        times = [hour for _, hour in hours]
        bounds = {"since": min(times), "until": max(times) + 3600}
        self._db.command(self._hours_sql, {"dirty": hours, "version": self._next_version(), **bounds})

    def _next_version(self) -> int:
        if self._version is None:
            [(self._version,)] = self._db.rows("SELECT greatest((SELECT max(version) FROM rollup_1m), (SELECT max(version) FROM rollup_1h))")
        [(now_us,)] = self._db.rows("SELECT toUnixTimestamp64Micro(now64(6))")
        self._version = max(int(now_us), self._version + 1)  # a clock set back must not lose to what is there
        return self._version


def statements(minutes: Collection[Minute]) -> Iterator[list[list[Minute]]]:
    """The minutes, newest first, in ranges without long gaps; as many ranges together as one statement takes.

    >>> list(statements({("a", 0), ("a", 60), ("b", 60), ("a", 7200)}))
    [[[('a', 7200)], [('a', 60), ('b', 60), ('a', 0)]]]
    """
    ranges: list[list[Minute]] = []
    count = 0
    for minute in sorted(minutes, key=lambda m: (-m[1], m[0])):
        far = not ranges or ranges[-1][-1][1] - minute[1] > GAP_S
        if count >= MINUTES_AT_ONCE or (far and len(ranges) >= RANGES_AT_ONCE):
            yield ranges
            ranges, count, far = [], 0, True
        if far:
            ranges.append([])
        ranges[-1].append(minute)
        count += 1
    if ranges:
        yield ranges


def in_ranges(ranges: Sequence[Sequence[Minute]]) -> str:
    """The condition on rows of job_executions that overlap one of the ranges. The outer bounds are for the indexes."""
    bounds = [(run[-1][1], run[0][1] + 60) for run in ranges]
    each = " OR ".join(map(_overlaps, bounds))
    return each if len(bounds) == 1 else f"{_overlaps((bounds[-1][0], bounds[0][1]))} AND ({each})"


def _overlaps(bounds: tuple[int, int]) -> str:
    return f"(last_at >= toDateTime({bounds[0]}, 'UTC') AND first_at < toDateTime({bounds[1]}, 'UTC'))"
