"""Events that go to every Kafka partition: what a worker holds, what an emitter has sent.

Each partition's readers see only their own lanes, so each gets its own event, in a lane of its own, with its slice. A
receiver that places events itself (the gateway) gets one event, without a number, with everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jobtide_emitter.lanes import LANES, lane_of, lanes_of, partition_of
from jobtide_emitter.ring import UNNUMBERED

MAX_RUNNING = 256


class Slice(NamedTuple):
    """One event of a broadcast: the lane it goes in (or UNNUMBERED) and its data."""

    lane: int
    data: dict[str, Any]


class Held(NamedTuple):
    """An attempt a worker holds now. `started_at` is the text of the started event's time."""

    queue: str
    job_id: str
    attempt: int
    started_at: str | None


def worker_slices(facts: dict[str, Any], held: list[Held], complete: bool, partitions: int | None) -> Iterator[Slice]:
    """A worker's facts for each partition, with the attempts that live there. More than 256 are not complete."""
    if partitions is None:
        yield Slice(UNNUMBERED, {**facts, **_running(held, complete)})
        return
    by_partition: dict[int, list[Held]] = {partition: [] for partition in range(partitions)}
    for attempt in held:
        key = f"{facts['tenant']}/{facts['system']}/{attempt.job_id}"
        by_partition[partition_of(lane_of(key), partitions)].append(attempt)
    for partition, mine in by_partition.items():
        yield Slice(partition, {**facts, **_running(mine, complete)})


def _running(held: list[Held], complete: bool) -> dict[str, Any]:
    return {
        "busy": len(held),
        "running": [{member: value for member, value in attempt._asdict().items() if value is not None} for attempt in held[:MAX_RUNNING]],
        "complete": complete and len(held) <= MAX_RUNNING,
    }


def stats_slices(
    next_of: list[int], announced: list[int], totals: Callable[[], dict[str, Any]], epoch: str, partitions: int | None
) -> Iterator[Slice]:
    """For each partition with news since `announced`: the next number of each of its lanes, as it will be once this
    event is sent. Marks in `announced` what it says."""
    if partitions is None:
        if next_of != announced:
            announced[:] = next_of
            yield Slice(UNNUMBERED, {**totals(), "epoch": epoch, "next": _next(next_of, range(LANES))})
        return
    for partition in range(partitions):
        lanes = lanes_of(partition, partitions)
        if all(next_of[lane] == announced[lane] for lane in lanes):
            continue
        after = list(next_of)
        after[partition] += 1  # the event itself
        for lane in lanes:
            announced[lane] = after[lane]
        yield Slice(partition, {**totals(), "next": _next(after, lanes)})


def _next(next_of: list[int], lanes: range) -> dict[str, int]:
    return {str(lane): next_of[lane] for lane in lanes if next_of[lane]}
