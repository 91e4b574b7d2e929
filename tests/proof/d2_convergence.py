"""D2 without servers: one log in order, shuffled, with duplicates, crashed over, must end in the same numbers, and in the right ones.

    python -m tests.proof.d2_convergence [--full]

Folds the log of `job_log` with stage 1's own code, one fold per source partition, in the order of each arrangement. Compared are the
read-outs of the folds and the 60 s panes as a reader of job.panes would hold them (replaced by key and version); the panes also with
`counting_oracle`. Kafka, Faust and stage 2 are proved elsewhere.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from hashlib import sha256
from random import Random
from typing import Any

import msgspec
import orjson
from jobtide.streams.folds.attempts import FIELDS
from jobtide.streams.folds.counters import Limits
from jobtide.streams.folds.panes import Pane, merge
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.records import PaneRecord, parse_pane_key
from jobtide.streams.folds.saving import Restorer, save
from jobtide.streams.folds.source import SourceFold

from tests.proof import counting_oracle
from tests.proof.job_events import MINUTE
from tests.proof.job_log import (
    PARTITIONS,
    Arrangement,
    Message,
    Sent,
    duplicated,
    in_order,
    job_log,
    shuffled,
    shuffled_and_duplicated,
)

ARRANGEMENTS: dict[str, tuple[Arrangement, bool]] = {  # and whether it crashes on the way
    "in order": (in_order, False),
    "shuffled": (shuffled, False),
    "duplicated": (duplicated, False),
    "crashed": (in_order, True),
    "shuffled, duplicated, crashed": (shuffled_and_duplicated, True),
}
_decode_record = msgspec.msgpack.Decoder(PaneRecord).decode


class ContradictionError(Exception):
    """The same pane was published with two contents under one version."""


class Published:
    """job.panes as a reader holds it: the newest version of each key."""

    def __init__(self) -> None:
        self.panes: dict[bytes, PaneRecord] = {}
        self.seen: dict[tuple[bytes, int], PaneRecord] = {}

    def take(self, outputs: list[list[Any]]) -> None:
        for records in outputs:
            for key, value in records:
                if key[:1] != b"p":
                    continue
                record = _decode_record(value)
                if self.seen.setdefault((key, record.version), record) != record:
                    raise ContradictionError(f"{key!r} at version {record.version}")
                known = self.panes.get(key)
                if known is None or record.version >= known.version:
                    self.panes[key] = record

    def minutes(self) -> dict[tuple[bytes, int], Pane]:
        """(series, start in s) -> the 60 s panes summed over source partitions, without empty ones."""
        sums: defaultdict[tuple[bytes, int], Pane] = defaultdict(Pane)
        for key, record in self.panes.items():
            size_s, start_s, _, series = parse_pane_key(key)
            if size_s == 60:
                merge(sums[series, start_s], record.pane)
        return {key: pane for key, pane in sums.items() if any(pane.counts)}


class Worker:
    """One source partition in a process that may die: what it has sent is out, what it has not saved is gone."""

    def __init__(self, partition: int, log: list[Message], published: Published, limits: Limits | None = None) -> None:
        self.partition, self.log, self.published, self.limits = partition, log, published, limits
        self.checkpoint: dict[bytes, bytes] = {}
        self.start()

    def start(self) -> None:
        """Recover, as after a crash or at the first start."""
        self.fold = SourceFold(self.partition, PARTITIONS, self.limits)
        restorer = Restorer(self.fold)
        for key, value in self.checkpoint.items():
            restorer.load(key, value)
        restorer.finish()
        self.publisher = Publisher(self.fold)

    def advance(self, count: int) -> None:
        """Fold the next `count` messages."""
        first = self.fold.version + 1
        messages = self.log[first : first + count]
        self.fold.fold(range(first, first + len(messages)), [m.append_us for m in messages], [m.value for m in messages])

    def publish(self) -> None:
        self.published.take(self.publisher.collect("active"))

    def flush(self) -> None:
        self.publish()
        self.save()

    def save(self) -> None:
        for key, value in save(self.fold):
            if value is None:
                self.checkpoint.pop(key, None)
            else:
                self.checkpoint[key] = value

    @property
    def done(self) -> bool:
        return self.fold.version + 1 >= len(self.log)


def drive(worker: Worker, random: Random, crashes: bool, step: int = 60) -> None:
    """Fold a partition's whole log in steps of up to `step` messages; a crash may come after folding, publishing, or the checkpoint."""
    while not worker.done:
        worker.advance(random.randint(1, step))
        crash = random.random() < 0.2 if crashes else False
        if crash and random.random() < 0.3:
            worker.start()
            continue
        if random.random() < 0.5:
            worker.publish()
            if crash and random.random() < 0.5:
                worker.start()
                continue
        if random.random() < 0.7:
            worker.flush()
        if crash:
            worker.start()
    worker.flush()


def converge(logs: list[list[Message]], random: Random, crashes: bool) -> tuple[Published, list[dict[str, object]], list[Worker]]:
    """Fold all partitions; returns what was published, with the read-outs before the last panes were closed by silence."""
    published = Published()
    workers = [Worker(partition, log, published) for partition, log in enumerate(logs)]
    for worker in workers:
        drive(worker, random, crashes)
    readouts = [worker.fold.read() for worker in workers]
    for worker in workers:
        worker.fold.caught_up(worker.fold.append_us + 5 * MINUTE)
        worker.publish()
    return published, readouts, workers


def digest(published: Published, readouts: list[dict[str, object]]) -> str:
    """A hash of everything final: panes, open attempts, gauges; no offsets, no versions, no append times."""
    numbers = [sorted((repr(key), repr(_sorted(value))) for key, value in part.items()) for readout in readouts for part in _parts(readout)]
    panes = sorted((key[0].hex(), key[1], repr(_sorted(msgspec.to_builtins(pane)))) for key, pane in published.minutes().items())
    return sha256(repr((numbers, panes)).encode()).hexdigest()


def _parts(readout: dict[str, object]) -> list[dict[Any, Any]]:
    return [part for _, part in sorted(readout.items()) if isinstance(part, dict)]


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list | tuple):
        return [_sorted(v) for v in value]
    return value


def differences(published: Published, sent: list[Sent]) -> list[str]:
    """Where the published minutes are not what the events count for; empty if they are."""
    expected = counting_oracle.recount(s.event for s in sent)
    found = {(tuple(series.decode().split("\x1f")), start_s): pane for (series, start_s), pane in published.minutes().items()}
    wrong = [f"only {'published' if key in found else 'expected'}: {key}" for key in sorted(set(expected) ^ set(found))]
    for key in sorted(set(expected) & set(found)):
        minute, pane = expected[key], found[key]
        right = (
            [minute.counts[name] for name in FIELDS],
            sum(wait < 0 for wait in minute.waits),
            *(sum(max(0, v) for v in samples) for samples in (minute.waits, minute.ok, minute.failed)),
            *(counting_oracle.histogram(samples) for samples in (minute.waits, minute.ok, minute.failed)),
        )
        got = (
            pane.counts, pane.negative_waits, pane.wait_sum_us, pane.ok_sum_us, pane.failed_sum_us, pane.wait, pane.run_ok, pane.run_failed
        )  # fmt: skip
        if right != got:
            wrong.append(f"{key}: expected {right}, published {got}")
    return wrong


def run(full: bool) -> dict[str, Any]:
    """The bar's numbers: `passes`, the hash of each arrangement per seed, and how many events were folded."""
    seeds, jobs = (range(1, 11), 10_000) if full else (range(1, 3), 1_200)
    events = wrong = 0
    hashes: dict[int, dict[str, str]] = {}
    for seed in seeds:
        sent = job_log(seed, jobs)
        hashes[seed] = {}
        for name, (arrange, crashes) in ARRANGEMENTS.items():
            random = Random(f"{seed} {name}")
            published, readouts, workers = converge(arrange(random, sent), random, crashes)
            hashes[seed][name] = digest(published, readouts)
            events += sum(worker.fold.counters.events for worker in workers)
            wrong += len(differences(published, sent))
    identical = all(len(set(of_seed.values())) == 1 for of_seed in hashes.values())
    return {
        "bar": "D2 offline", "passes": identical and not wrong, "identical": identical, "minutes_unlike_oracle": wrong,
        "events_folded": events, "seeds": list(seeds), "hashes": {str(seed): of_seed for seed, of_seed in hashes.items()},
    }  # fmt: skip


if __name__ == "__main__":
    result = run("--full" in sys.argv)
    print(orjson.dumps(result, option=orjson.OPT_INDENT_2).decode())
    sys.exit(0 if result["passes"] else 1)
