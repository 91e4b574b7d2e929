"""Workers, each put together from its slices: to each source partition it tells which of that one's jobs it runs.

The slice with the newest time speaks for the worker itself; what it runs is the union of all slices.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobtide.streams.events import Kind
from jobtide.streams.folds.notices import KEPT_US, Notice
from jobtide.streams.snapshots import WorkerSnapshot
from jobtide.streams.windows.boards import Board, Key

_OWN = ("hostname", "pid", "tag", "queues", "concurrency", "busy", "rss_bytes", "cpu_percent", "processed", "failed",
        "version", "interval_ms")  # fmt: skip
_OF_RUNNING = ("queue", "job_id", "attempt", "started_at")

Slices = dict[int, tuple[int, Notice]]  # (version, notice) by source partition


class Workers(Board[Slices]):
    """Every worker heard of in the last 24 hours."""

    kind = "workers"
    kept_us = KEPT_US

    def fold(self, source: int, key: Key, version: int, notice: Notice) -> None:
        slices = self._entries.setdefault(key, {})
        known = slices.get(source)
        if known is not None and (known[0] > version or known == (version, notice)):
            return
        slices[source] = (version, notice)
        self.touch(key)

    def find(self, key: Key) -> WorkerSnapshot | None:
        entry = self._entries.get(key)
        return None if entry is None else self.snapshot(key, entry)

    def heard_us(self, entry: Slices) -> int:
        return _newest(entry).time_us

    def snapshot(self, key: Key, entry: Slices) -> WorkerSnapshot:
        tenant, environment, system, worker_id = key
        newest = _newest(entry)
        running = [] if newest.kind == Kind.WORKER_OFFLINE else _running(notice for _, notice in entry.values())
        own = {name: newest.data[name] for name in _OWN if newest.data.get(name) is not None}
        return WorkerSnapshot(
            tenant=tenant,
            environment=environment,
            system=system,
            worker_id=worker_id,
            status=_status(newest, bool(running)),
            last_seen_us=newest.time_us,
            running=running,
            clock_lag_us=min((notice.lag_us for _, notice in entry.values() if notice.lag_us is not None), default=None),
            **own,  # type: ignore[arg-type]
        )


def _newest(slices: Slices) -> Notice:
    """The last that was said; of one moment the last kind (offline after stopping), then the highest partition."""
    source = max(slices, key=lambda source: (slices[source][1].time_us, slices[source][1].kind, source))
    return slices[source][1]


def _status(newest: Notice, runs: bool) -> str:
    if newest.kind == Kind.WORKER_OFFLINE:
        return "offline"
    if newest.kind == Kind.WORKER_STOPPING:
        return "stopping"
    data: dict[str, Any] = newest.data
    return data.get("status") or ("busy" if data.get("busy") or runs else "idle")


def _running(notices: Iterable[Notice]) -> list[dict[str, str | int]]:
    """The attempts of all slices, each once, in an order that does not depend on the partitions."""
    found: dict[tuple[Any, ...], dict[str, str | int]] = {}
    for notice in notices:
        data: dict[str, Any] = notice.data
        for job in data.get("running") or ():
            known = {name: job[name] for name in _OF_RUNNING if job.get(name) is not None}
            found[job["queue"], job["job_id"], job["attempt"]] = known
    return [found[key] for key in sorted(found)]
