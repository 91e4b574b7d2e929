"""The attempts of one source partition that triage should look at: old ones, and those whose worker is gone. Pure.

Stage 1 knows attempts and, since every heartbeat goes to every partition, the workers that hold them; stage 2 knows what is normal for
a class. So this picks the few that have been running or waiting for long (or are lost, whatever their age) and tells stage 2 of them;
verdicts are given there (`streams.triage`). Nothing happens per event: the open attempts are walked, at most once a second and less often
the more there are. What is told is absolute: one record per partition of job.panes holds everything there is to watch.

An attempt is taken for lost when its worker said goodbye, when the worker has been silent for SILENT_BEATS of its intervals, or when two
complete heartbeats did not name it any more. Silence only counts while time is seen to pass: a watermark that leaps, as after an outage of
the broker or a restart, says nothing about the workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import msgspec
from jobtide.streams.events import Kind
from jobtide.streams.folds.memory import AttemptMemory, Key, Tracked, named
from jobtide.streams.folds.notices import Notice, Notices
from jobtide.streams.folds.records import SEPARATOR, WATCH, Record, encode, panes_partition
from jobtide.streams.folds.remarks import Remark, Remarks

FLOOR_US: Final = 60_000_000  # younger attempts are nobody's business, unless lost or expected to be over
LOOK_EVERY_US: Final = 1_000_000
LOOK_US_PER_OPEN: Final = 50  # 250 000 open attempts are walked every 12.5 s
TELL_EVERY_US: Final = 60_000_000  # told again although nothing changed: stage 2 replays only the last 70 minutes
PER_SERIES: Final = 200  # running and waiting attempts told of one series, the oldest (lost ones first); the rest is a number
SILENT_BEATS: Final = 2.5  # two heartbeats missed, and half an interval for the way: found within 30 s at the usual 10 s
DEFAULT_INTERVAL_US: Final = 20_000_000  # of workers that do not say how often they speak
STEP_US: Final = 5_000_000  # what one leap of the watermark counts for as silence, at most
OFFLINE, STOPPING, HEARTBEAT = int(Kind.WORKER_OFFLINE), int(Kind.WORKER_STOPPING), int(Kind.WORKER_HEARTBEAT)

Gone = Literal["", "offline", "silent", "dropped"]
Name = tuple[str, str, str, str]  # tenant, environment, system, worker_id


class Watched(msgspec.Struct, array_like=True, gc=False):
    """One attempt that triage should look at. `since_us`: its start if it runs, else when it could have started."""

    series: bytes
    job_id: str
    attempt: int
    worker_id: str
    running: bool
    since_us: int
    last_event_us: int
    expected_us: int | None = None
    gone: Gone = ""
    heartbeat_us: int | None = None  # the last of a worker that is gone
    patience_us: int = 0  # how long that was waited for
    others: list[str] = []  # further workers that run it now


class WatchRecord(msgspec.Struct, array_like=True):
    """All watched attempts of one source partition that belong to one partition of job.panes; replaces what was told before."""

    version: int
    watched: list[Watched]
    left_out: dict[bytes, int] = {}  # by series: further old attempts, over PER_SERIES


class Holder(NamedTuple):
    """A worker as its newest notice shows it."""

    notice: Notice
    heard_us: int  # observed time
    gone: Gone
    patience_us: int
    complete: bool
    holds: dict[Key, int | None]  # attempt -> start as it says


class Watch:
    """Remembers of one source partition what was told, and how long workers have been silent."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._holders: dict[Name, Holder] = {}
        self._observed_us = self._watermark_us = 0
        self._look_us = self._walk_us = self._tell_us = 0
        self._told: list[bytes | None] = [None] * partitions

    def look(
        self, partition: int, version: int, watermark_us: int, memory: AttemptMemory, notices: Notices, remarks: Remarks
    ) -> Iterator[tuple[int, Record]]:
        """(partition of job.panes, record) of what is to be told at this watermark."""
        if watermark_us < self._look_us:
            return
        self._observed_us += min(max(0, watermark_us - self._watermark_us), STEP_US)
        self._watermark_us, self._look_us = watermark_us, watermark_us + LOOK_EVERY_US
        if not self._look_at_workers(notices, remarks) and watermark_us < self._walk_us:
            return
        self._walk_us = watermark_us + LOOK_US_PER_OPEN * len(memory.open)
        remarks.prune(memory.open)
        again = watermark_us >= self._tell_us
        if again:
            self._tell_us = watermark_us + TELL_EVERY_US
        for to, (watched, left_out) in enumerate(self._by_partition(memory, remarks)):
            told = encode((watched, left_out))
            if again or told != self._told[to]:
                self._told[to] = told
                yield to, (WATCH + b"\x1f%d" % partition, encode(WatchRecord(version, watched, left_out)))

    # -- workers

    def _look_at_workers(self, notices: Notices, remarks: Remarks) -> bool:
        """Judge every worker. True if one has just gone: its attempts are looked for at once."""
        before, self._holders = self._holders, {}
        newly_gone = False
        for name, notice in notices.workers():
            known = before.get(name)
            if known is None or known.notice is not notice:
                known = _holder(name, notice, self._observed_us)
            gone = known.gone or ("silent" if remarks.silent.get(name) == notice.time_us else self._silent(known))
            if gone != known.gone:
                known = known._replace(gone=gone)
            newly_gone |= bool(gone) and not (name in before and before[name].gone)
            self._holders[name] = known
        remarks.tell_silent({name: holder.notice.time_us for name, holder in self._holders.items() if holder.gone == "silent"})
        return newly_gone

    def _silent(self, holder: Holder) -> Gone:
        patience_us = holder.patience_us
        quiet = self._observed_us - holder.heard_us >= patience_us and self._watermark_us - holder.notice.time_us >= patience_us
        return "silent" if quiet else ""

    # -- attempts

    def _by_partition(self, memory: AttemptMemory, remarks: Remarks) -> list[tuple[list[Watched], dict[bytes, int]]]:
        out: list[tuple[list[Watched], dict[bytes, int]]] = [([], {}) for _ in range(self._partitions)]
        for series, (found, more) in sorted(self._by_series(memory, remarks).items()):
            watched, left_out = out[panes_partition(series, self._partitions)]
            kept = found if len(found) <= PER_SERIES else nsmallest(PER_SERIES, found, key=_urgency)
            watched += sorted(kept, key=attrgetter("since_us", "job_id", "attempt"))
            if more + len(found) > len(kept):
                left_out[series] = more + len(found) - len(kept)
        return out

    def _by_series(self, memory: AttemptMemory, remarks: Remarks) -> dict[bytes, tuple[list[Watched], int]]:
        """What there is to watch, and how many more are waiting that were not looked at."""
        found: dict[bytes, tuple[list[Watched], int]] = {}
        waiting: dict[bytes, int] = {}
        old_us = self._watermark_us - FLOOR_US
        held = self._held()
        for key, attempt in memory.open.items():
            f = attempt.facts
            if f.dead_us is not None or f.retried_us is not None:  # its end was lost, but it is over
                continue
            watched: Watched | None
            if f.started_us is not None:
                watched = self._running(key, attempt, f.started_us, f.worker_id, remarks)
            elif f.enqueued_us is None:
                continue
            else:
                since_us = f.enqueued_us if f.eligible_us is None or f.eligible_us < f.enqueued_us else f.eligible_us
                if since_us > old_us:
                    continue
                series = attempt.series.name
                holder = held.get(key)
                if holder is not None:  # its start was lost, but a worker says that it holds it
                    worker_id, started_us = holder
                    watched = self._running(key, attempt, max(since_us, started_us or since_us), worker_id, remarks)
                elif waiting.get(series, 0) >= PER_SERIES:  # opened in this order, more or less: these are the younger ones
                    watches, more = found[series]
                    found[series] = (watches, more + 1)
                    continue
                else:
                    waiting[series] = waiting.get(series, 0) + 1
                    attempt_key = named(key)
                    watched = Watched(series, attempt_key.job_id, attempt_key.attempt, "", False, since_us, f.enqueued_us)
            if watched is not None:
                found.setdefault(watched.series, ([], 0))[0].append(watched)
        return found

    def _running(self, key: Key, attempt: Tracked, started_us: int, worker_id: str, remarks: Remarks) -> Watched | None:
        """What to tell of an attempt that runs, None if nothing."""
        now_us, remark = self._watermark_us, remarks.by_key.get(key)
        expected_us = remark.expected_us if remark is not None else None
        starts = remark.starts if remark is not None and remark.starts else [(worker_id, started_us)]
        judged = [(self._gone(attempt, worker, start_us, remark, remarks), worker, start_us) for worker, start_us in starts]
        alive = [j for j in judged if not j[0]]
        gone, worker_id, started_us = alive[0] if alive else judged[-1]
        floor_us = FLOOR_US if expected_us is None or expected_us > FLOOR_US else expected_us
        if not gone and len(alive) < 2 and now_us - started_us < floor_us:
            return None
        heard_us = started_us if remark is None else max(started_us, remark.beat_us)
        attempt_key = named(key)
        watched = Watched(
            attempt.series.name, attempt_key.job_id, attempt_key.attempt, worker_id, True, started_us, heard_us, expected_us, gone
        )
        watched.others = [worker for _, worker, _ in alive[1:]]
        holder = self._holders.get((*attempt.series_key[:3], worker_id))
        if gone and holder is not None:
            watched.heartbeat_us, watched.patience_us = holder.notice.time_us, holder.patience_us
        elif gone and remark is not None:
            watched.heartbeat_us, watched.patience_us = remark.beat_us, round(SILENT_BEATS * remark.gap_us)
        return watched

    def _gone(self, attempt: Tracked, worker_id: str, started_us: int, remark: Remark | None, remarks: Remarks) -> Gone:
        """Whether this worker cannot hold the attempt any more. One that never spoke of itself is not judged."""
        holder = self._holders.get((*attempt.series_key[:3], worker_id))
        if holder is None:
            return self._fell_silent(remark)
        notice, now_us = holder.notice, self._watermark_us
        if holder.gone == "offline":
            return "offline" if started_us <= notice.time_us else ""
        if holder.gone:
            return holder.gone if now_us - started_us >= holder.patience_us else ""
        if not holder.complete or started_us >= notice.time_us:
            return ""
        if attempt.key in holder.holds:
            if remark is not None and remark.missing_us:
                remarks.present(attempt.key, remark)
            return ""
        return "dropped" if notice.time_us > remarks.missing(attempt.key, notice.time_us) else ""

    def _fell_silent(self, remark: Remark | None) -> Gone:
        """The job's own heartbeats have stopped. It takes two to know how often they come."""
        if remark is None or not remark.gap_us:
            return ""
        return "silent" if self._watermark_us - remark.beat_us >= SILENT_BEATS * remark.gap_us else ""

    def _held(self) -> dict[Key, tuple[str, int | None]]:
        """Who says that it holds which attempt, since when: attempt -> (worker, start)."""
        return {
            key: (name[3], started_us)
            for name, holder in self._holders.items() if not holder.gone
            for key, started_us in holder.holds.items()
        }  # fmt: skip


def _urgency(watched: Watched) -> tuple[bool, bool, int]:
    return (not watched.gone, not watched.others, watched.since_us)


def _holder(name: Name, notice: Notice, observed_us: int) -> Holder:
    data: dict[str, Any] = notice.data
    interval_ms = data.get("interval_ms")
    interval_us = round(interval_ms * 1000) if interval_ms else DEFAULT_INTERVAL_US
    running: Iterable[dict[str, Any]] = data.get("running") or ()
    return Holder(
        notice,
        observed_us,
        "offline" if notice.kind == OFFLINE else "",
        round(SILENT_BEATS * interval_us),
        bool(data.get("complete")) and notice.kind in (HEARTBEAT, STOPPING),
        {SEPARATOR.join((*name[:3], job["queue"], job["job_id"], str(job["attempt"]))): job.get("started_us") for job in running},
    )
