"""CPU of stage 1's fold, publication and checkpoint, without Kafka: the part of `tests.bench.stage1` that is ours, in seconds instead of minutes.

The same workload, folded in batches of a partition as the consumer hands them over; published every 250 ms and saved every second of event
time, records appended to batches as the agents do. For comparing changes on one machine; the figure that counts is `tests.bench.stage1`.

    python -m tests.bench.fold [--events 400000] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import resource
import time
from collections.abc import Callable, Iterator

from aiokafka.producer.message_accumulator import BatchBuilder
from jobtide.streams.events import time_us
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.saving import save
from jobtide.streams.folds.source import SourceFold

from tests.bench import stage1

EVENTS_PER_S = 60_000  # of event time: decides how many panes there are
BATCH = 1200  # ~1 MB


class Clock:
    """Stands in for the clock of the generator: event time goes on by the rate above."""

    def __init__(self) -> None:
        self.us = 1_795_000_000_000_000

    def time_ns(self) -> int:
        self.us += 1_000_000 // EVENTS_PER_S
        return self.us * 1000


def batches(total: int) -> Iterator[tuple[int, list[int], list[int], list[bytes]]]:
    """(partition, offsets, append times, values), in the order of a consumer that is never behind by much."""
    clock, real = Clock(), stage1.time
    stage1.time = clock  # type: ignore[assignment]
    waiting: list[tuple[list[int], list[int], list[bytes]]] = [([], [], []) for _ in range(stage1.PARTITIONS)]
    offsets = [0] * stage1.PARTITIONS
    try:
        for partition, value in stage1.events(total):
            held = waiting[partition]
            held[0].append(offsets[partition])
            held[1].append(clock.us // 1000 * 1000)
            held[2].append(value)
            offsets[partition] += 1
            if len(held[0]) == BATCH:
                yield partition, *held
                waiting[partition] = ([], [], [])
    finally:
        stage1.time = real
    for partition, held in enumerate(waiting):
        if held[0]:
            yield partition, *held


def timed(spent: dict[str, float], name: str, do: Callable[[], object]) -> object:
    started = time.process_time()
    result = do()
    spent[name] = spent.get(name, 0.0) + time.process_time() - started
    return result


def appended(records: list[tuple[bytes, bytes | None]], headers: list[tuple[str, bytes]]) -> int:
    """Bytes of the records as Kafka batches."""
    size = 0
    batch = BatchBuilder(15 << 20, 0, is_transactional=False)
    for key, value in records:
        if batch.append(timestamp=1_795_000_000_000, key=key, value=value, headers=headers) is None:
            size += batch.size()
            batch = BatchBuilder(15 << 20, 0, is_transactional=False)
            batch.append(timestamp=1_795_000_000_000, key=key, value=value, headers=headers)
    return size + batch.size()


def run(total: int) -> dict[str, float]:
    """µs of CPU an event, by part."""
    made = list(batches(total))
    count = sum(len(values) for *_, values in made)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    folds = [SourceFold(p, stage1.PARTITIONS) for p in range(stage1.PARTITIONS)]
    publishers = [Publisher(fold) for fold in folds]
    spent: dict[str, float] = {}
    sizes = {"panes": 0, "checkpoint": 0, "panes_records": 0, "checkpoint_records": 0}
    next_publication = next_flush = 0
    for partition, offsets, appends_us, values in made:
        timed(spent, "fold", lambda: folds[partition].fold(offsets, appends_us, values))  # noqa: B023 - called at once
        now = appends_us[-1]
        if now >= next_publication:
            next_publication = now + 250_000
            out: list[list[tuple[bytes, bytes | None]]] = [[] for _ in range(stage1.PARTITIONS)]
            for publisher in publishers:
                for to, more in enumerate(timed(spent, "publish", lambda: publisher.collect("active"))):  # type: ignore[arg-type, var-annotated]  # noqa: B023
                    out[to].extend(more)
            for records in out:
                sizes["panes_records"] += len(records)
                sizes["panes"] += timed(spent, "append", lambda: appended(records, []))  # type: ignore[operator]  # noqa: B023
        if now >= next_flush:
            next_flush = now + 1_000_000
            for fold in folds:
                saved = timed(spent, "save", lambda: save(fold))  # noqa: B023
                sizes["checkpoint_records"] += len(saved)  # type: ignore[arg-type]
                sizes["checkpoint"] += timed(spent, "append", lambda: appended(saved, [("owner", b"12345678")]))  # type: ignore[operator, arg-type]  # noqa: B023
    result = {f"{name}_us": round(seconds * 1e6 / count, 2) for name, seconds in spent.items()}
    result |= {"total_us": round(sum(spent.values()) * 1e6 / count, 2), "events": count}
    result |= {f"{name}_per_event": round(size / count, 2) for name, size in sizes.items()}
    result["state_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) // 1024
    result["open"] = sum(len(fold.lifecycles.memory.open) for fold in folds)
    assert not any(fold.counters.rejected for fold in folds), "the workload is made of valid events"
    assert int(time_us("2026-11-22T04:18:07Z")) > 0
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--profile", action="store_true", help="which functions take the time (all of it is slower)")
    options = parser.parse_args()
    profile = cProfile.Profile()
    result = profile.runcall(run, options.events) if options.profile else run(options.events)
    for name, value in result.items():
        print(f"{name:28} {value:>12,}")
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
