"""Stage 2 after a take-over: what an earlier owner left in the hot state and the log no longer speaks of goes, and nothing else."""

from __future__ import annotations

import time

import pytest
from jobtide.sinks.keys import field
from jobtide.streams.agents.stage2 import Stage2
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.source import SourceFold
from jobtide.streams.settings import load
from jobtide.streams.snapshots import HotWrite
from jobtide.streams.windows.fold import WindowFold
from jobtide.streams.windows.strangers import home_of

from tests.fakes.hot_state import FakeHotState
from tests.proof.job_events import SECOND, START_US, job_event, value_of

PARTITIONS = 8
ENDED_AT = 5_000  # where the log of each partition ends


class Replaying(Stage2):
    """Replays what it is given instead of a Kafka log."""

    def __init__(self, sink: FakeHotState, replayed: dict[int, WindowFold]) -> None:
        super().__init__(load({}), sink)
        self.replayed = replayed

    async def _replay(self, folds: dict[int, WindowFold], ruled: object) -> int:
        for partition in folds:
            folds[partition] = self.replayed.get(partition, folds[partition])
            self._starts[partition] = ENDED_AT
        return 0


def told() -> tuple[dict[int, WindowFold], dict[int, list[HotWrite]]]:
    """The folds of job.panes after two events of a job, and what each of them tells."""
    events = [job_event(kind, START_US + n * SECOND, numbered=("epoch-0001", n)) for n, kind in enumerate(("enqueued", "started"))]
    source, values = SourceFold(events[0]["lane"] % PARTITIONS, PARTITIONS), [value_of(event) for event in events]
    source.fold(range(len(values)), [START_US + 2 * SECOND] * len(values), values)
    source.caught_up(START_US + 60 * SECOND)
    folds, changes = {p: WindowFold(p) for p in range(PARTITIONS)}, {}
    for p, records in enumerate(Publisher(source).collect("idle")):
        folds[p].fold([key for key, _ in records], [value for _, value in records], range(len(records)))
        changes[p] = folds[p].take_changes()
    return folds, changes


def test_a_field_comes_from_the_partition_that_its_record_was_sent_to() -> None:
    _, changes = told()
    known = [(p, w) for p, writes in changes.items() for w in writes if w.kind != "progress"]
    assert {w.kind for _, w in known} >= {"series", "ledger"}
    assert all(home_of((w.kind, w.tenant, w.field), PARTITIONS) == p for p, w in known)


async def test_what_is_over_is_removed_and_what_is_known_stays() -> None:
    folds, changes = told()
    sink = FakeHotState()
    living = [w for writes in changes.values() for w in writes]
    over = [
        HotWrite("series", "acme", field("production", "celery", "mail", f"Gone{n}"), ENDED_AT - 1 - n, b"{}") for n in range(20)
    ] + [HotWrite("workers", "acme", field("production", "celery", f"w{n}"), n, b"{}") for n in range(20)]
    await sink.write([*living, *over])
    stage = Replaying(sink, folds)
    await stage.recover(set(range(PARTITIONS)))
    await stage.publish()
    assert sorted(await sink.fields()) == sorted((w.kind, w.tenant, w.field) for w in living if w.kind != "progress")


async def test_the_partitions_of_others_are_left_alone_and_an_absent_store_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = FakeHotState()
    over = [HotWrite("series", "acme", field("production", "celery", f"mail{n}", "Gone"), 1, b"{}") for n in range(40)]
    await sink.write(over)
    stage = Replaying(sink, {})
    mine = {0, 1, 2, 3}
    await stage.recover(mine)
    sink.away = True
    await stage.publish()
    sink.away = False
    assert len(await sink.fields()) == 40
    now_s = time.monotonic() + 60
    monkeypatch.setattr("jobtide.streams.agents.stage2.monotonic", lambda: now_s)
    await stage.publish()
    left = await sink.fields()
    assert left == [f for f in (("series", "acme", w.field) for w in over) if home_of(f, PARTITIONS) not in mine]
    assert 0 < len(left) < 40
