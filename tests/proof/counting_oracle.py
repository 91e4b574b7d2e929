"""What a list of job events counts for, recomputed the slow and obvious way: the judge of the stream, sharing no code with it.

All events of an attempt are put side by side and each question is asked of the whole list. Nothing is incremental, so nothing can depend
on the order. Times are parsed by `datetime`, buckets are found by comparing with powers of γ.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Series = tuple[str, str, str, str, str]  # tenant, environment, system, queue, job class
Attempt = tuple[str, str, str, str, str, int]  # tenant, environment, system, queue, job id, attempt
Event = dict[str, Any]

RANKS = {"finished": 4, "failed": 3, "cancelled": 2, "discarded": 1}
_POWERS = [1.02**index for index in range(2_000)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Minute:
    """What one series counts in one minute; samples are kept one by one."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    waits: list[int] = field(default_factory=list)
    ok: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


def recount(events: Iterable[Event]) -> dict[tuple[Series, int], Minute]:
    """(series, start of the minute in s) -> what it counts. Events that come twice (the same id) are one event."""
    of_attempt: defaultdict[Attempt, dict[str, Event]] = defaultdict(dict)
    for event in events:
        kind, data = _kind(event), event["data"]
        if kind in ("heartbeat", "progress") or event.get("backfill"):
            continue  # they count for nothing
        key = (data["tenant"], data.get("environment", "default"), data["system"], data["queue"], data["job_id"], data["attempt"])
        of_attempt[key][event["id"]] = event
        if kind == "retry_scheduled":  # it also enqueues the next attempt
            of_attempt[(*key[:5], key[5] + 1)][event["id"]] = event
    minutes: defaultdict[tuple[Series, int], Minute] = defaultdict(Minute)
    for attempt, told in of_attempt.items():
        _count(attempt, list(told.values()), minutes)
    return dict(minutes)


def _count(attempt: Attempt, told: list[Event], minutes: defaultdict[tuple[Series, int], Minute]) -> None:
    number = attempt[5]
    own = [e for e in told if e["data"]["attempt"] == number]
    retried_before = [e for e in told if e["data"]["attempt"] == number - 1]
    series = (*attempt[:4], min(e["data"]["job_class"] for e in told))

    def minute(at_us: int) -> Minute:
        return minutes[series, at_us // 60_000_000 * 60]

    enqueues = [_us(e["time"]) for e in own if _kind(e) in ("enqueued", "scheduled")] + [_us(e["time"]) for e in retried_before]
    if enqueues:
        minute(min(enqueues)).counts["enqueued"] += 1
    start_us, measured = _start(own)
    if start_us is not None:
        minute(start_us).counts["started"] += 1
        said = [_us(e["data"]["enqueued_at"]) for e in own if "enqueued_at" in e["data"]]
        if measured and (enqueues or said):
            ready = [_us(e["data"]["run_at"]) for e in own if "run_at" in e["data"] and _kind(e) != "retry_scheduled"]
            ready += [_us(e["data"]["run_at"]) for e in retried_before]
            minute(start_us).waits.append(start_us - max([min(enqueues + said), *ready]))
    _count_outcome(own, start_us if measured else None, minute)
    for kind, name in (("dead", "dead"), ("retry_scheduled", "retried")):
        times = [_us(e["time"]) for e in own if _kind(e) == kind]
        if times:
            minute(min(times)).counts[name] += 1


def _start(own: list[Event]) -> tuple[int | None, bool]:
    """When the attempt started, and whether anything measured it: an end without start or duration only says "no later than now"."""
    started = [_us(e["time"]) for e in own if _kind(e) == "started"]
    if started:
        return min(started), True
    implied: list[tuple[int, bool]] = []
    for e in own:
        kind, data, at_us = _kind(e), e["data"], _us(e["time"])
        if kind in RANKS and "started_at" in data:
            start_us = _us(data["started_at"])
            implied.append((min(start_us, at_us), start_us < at_us))  # nothing starts after it ended
        elif kind in RANKS and "duration_ms" in data:
            implied.append((at_us - round(data["duration_ms"] * 1000), True))
        elif kind in ("finished", "failed"):
            implied.append((at_us, False))
    return min(implied, default=(None, False))


def _count_outcome(own: list[Event], start_us: int | None, minute: Any) -> None:
    ends = [e for e in own if _kind(e) in RANKS]
    if not ends:
        return
    best = max(RANKS[_kind(e)] for e in ends)
    end_us, _, duration_us = min(
        (_us(e["time"]), d is None, 0 if d is None else round(d * 1000))
        for e in ends if RANKS[_kind(e)] == best for d in [e["data"].get("duration_ms")]
    )  # fmt: skip
    of_best = [e for e in ends if RANKS[_kind(e)] == best and _us(e["time"]) == end_us]
    known = any("duration_ms" in e["data"] for e in of_best)
    name = _kind(of_best[0])
    minute(end_us).counts[name] += 1
    if name not in ("finished", "failed"):
        return
    samples = minute(end_us).ok if name == "finished" else minute(end_us).failed
    if known:
        samples.append(duration_us)
    elif start_us is not None:
        samples.append(end_us - start_us)


def histogram(samples: list[int]) -> dict[int, int]:
    """Buckets of (γ^(i-1), γ^i] µs with γ = 1.02; what is not above 0 is in bucket -1."""
    buckets: defaultdict[int, int] = defaultdict(int)
    for sample in samples:
        buckets[bisect_left(_POWERS, sample) if sample > 0 else -1] += 1
    return dict(buckets)


def _kind(event: Event) -> str:
    return str(event["type"]).removeprefix("job.").removesuffix(".v1")


def _us(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
