"""Which attempts are remembered, how long, and within which bounds; and that only the log decides it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.streams.folds.attempts import ENQUEUED, FINISHED, STARTED
from jobtide.streams.folds.counters import Limits
from jobtide.streams.folds.lifecycle import occupies
from jobtide.streams.folds.memory import FORGOTTEN_MINUTES, RECENT_US, AttemptMemory, named
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.records import PaneRecord
from jobtide.streams.folds.saving import Restorer, save
from jobtide.streams.folds.source import SourceFold

from tests.proof.job_events import MINUTE, SECOND, START_US, job_event, value_of
from tests.properties.searching import searching


@dataclass
class Rig:
    """One source partition that is handed events one by one; `flush` publishes and saves as the worker does."""

    limits: Limits = field(default_factory=Limits)
    checkpoint: dict[bytes, bytes] = field(default_factory=dict)
    published: dict[tuple[bytes, int], PaneRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.number = 0
        self.recover()

    def recover(self) -> None:
        self.fold = SourceFold(0, 1, self.limits)
        restorer = Restorer(self.fold)
        for key, value in self.checkpoint.items():
            restorer.load(key, value)
        restorer.finish()
        self.publisher = Publisher(self.fold)

    def hear(self, append_us: int, *events: dict[str, Any]) -> None:
        for event in events:
            value = value_of({**event, "id": f"event-{self.number:012d}"})
            self.fold.fold([self.number], [append_us], [value])
            self.number += 1

    def flush(self) -> None:
        for key, value in self.publisher.collect("active")[0]:
            if key[:1] == b"p":
                self.published[key, self.fold.version] = msgspec.msgpack.decode(value or b"", type=PaneRecord)
        for key, value in save(self.fold):
            if value is None:
                self.checkpoint.pop(key, None)
            else:
                self.checkpoint[key] = value

    @property
    def memory(self) -> AttemptMemory:
        return self.fold.lifecycles.memory

    def counts(self) -> list[int]:
        """The counts of all minutes together."""
        minutes: Any = self.fold.read()["minutes"]
        return [sum(column) for column in zip(*(pane[0] for pane in minutes.values()), strict=True)]


def whole(job_id: str, at_us: int) -> list[dict[str, Any]]:
    """Enqueued, started and finished within a second."""
    return [
        job_event("enqueued", at_us, job_id=job_id),
        job_event("started", at_us + 1_000, job_id=job_id),
        job_event("finished", at_us + SECOND, job_id=job_id, duration_ms=999),
    ]


OVER_US = FORGOTTEN_MINUTES * MINUTE


@pytest.mark.parametrize("kind", ["enqueued", "started", "scheduled"])
@pytest.mark.parametrize("age_us", [RECENT_US + SECOND, RECENT_US + 5 * MINUTE, OVER_US - SECOND])
@pytest.mark.parametrize("flushed", [True, False])
def test_a_straggler_opens_nothing_after_the_facts_were_forgotten(kind: str, age_us: int, flushed: bool) -> None:
    rig = Rig()
    rig.hear(START_US + 2 * SECOND, *whole("a", START_US))
    rig.flush()
    rig.hear(START_US + age_us, *whole("b", START_US + age_us - SECOND))
    if flushed:
        rig.flush()
    before = rig.counts()
    rig.hear(START_US + 2 * SECOND + age_us, job_event(kind, START_US + 500, job_id="a"))
    assert rig.counts() == before
    assert rig.fold.counters.after_end == 1
    assert not rig.memory.open


@pytest.mark.parametrize("flushed", [True, False])
def test_within_35_minutes_a_late_event_still_revises(flushed: bool) -> None:
    rig = Rig()
    rig.hear(START_US + 2 * SECOND, *whole("a", START_US))
    rig.flush()
    rig.hear(START_US + RECENT_US, *whole("b", START_US + RECENT_US - SECOND))
    if flushed:
        rig.flush()
    assert (rig.counts()[ENQUEUED], rig.counts()[STARTED], rig.counts()[FINISHED]) == (2, 2, 2)
    rig.hear(START_US + 2 * SECOND + RECENT_US, job_event("enqueued", START_US - 3 * MINUTE, job_id="a"))
    (enqueued,) = [pane for (_, start_s), pane in rig.fold.read()["minutes"].items() if start_s * SECOND == START_US - 3 * MINUTE]  # type: ignore[attr-defined]
    assert enqueued[0][ENQUEUED] == 1
    assert rig.counts()[ENQUEUED] == 2, "moved, not doubled"
    assert rig.fold.counters.after_end == 0


def test_at_the_count_limit_facts_go_first_and_hashes_stay() -> None:
    rig = Rig(Limits(recent_attempts=3))
    for n in range(10):
        rig.hear(START_US + n * SECOND, *whole(f"j{n}", START_US + n * SECOND - SECOND))
        rig.flush()
    assert len(rig.memory.ended) <= 4
    before = rig.counts()
    for n in range(7):
        rig.hear(START_US + 14 * MINUTE, job_event("enqueued", START_US + n * SECOND - 2 * SECOND, job_id=f"j{n}"))
    assert rig.counts() == before
    assert rig.fold.counters.after_end == 7
    rig.hear(START_US + 14 * MINUTE, job_event("enqueued", START_US - MINUTE, job_id="j9"))
    assert rig.counts() == before, "the newest are still known: its enqueue moved to an earlier minute"
    assert rig.fold.counters.after_end == 7


def test_hashes_go_too_in_the_end_and_nothing_of_an_attempt_stays() -> None:
    rig = Rig()
    rig.hear(START_US, *whole("a", START_US - SECOND))
    rig.flush()
    for minute in range(1, 70):
        rig.hear(START_US + minute * MINUTE, job_event("heartbeat", START_US + minute * MINUTE, job_id="beat"))
        rig.flush()
        kept = [key for key in rig.checkpoint if key[:1] == b"t"]
        assert bool(kept) == (minute <= FORGOTTEN_MINUTES), minute
    assert not rig.memory.ended
    assert not rig.memory.forgotten._by_minute


# -- only the log decides


@dataclass(frozen=True)
class Step:
    """One message of a made log: an attempt's whole life, or a straggler of an earlier one."""

    gap_us: int
    straggler: int | None  # of the attempt made that many attempts ago
    kind: str


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from([SECOND, 7 * SECOND, 20 * SECOND, 3 * MINUTE, 11 * MINUTE]),
        st.none() | st.integers(0, 8),
        st.sampled_from(["enqueued", "started", "finished", "failed", "dead"]),
    ),
    min_size=2,
    max_size=40,
)


def messages(told: list[Step]) -> list[tuple[int, list[dict[str, Any]]]]:
    """(append time, events) of each step; stragglers around the age at which hashes are dropped are left out (it is judged in minutes)."""
    now_us, ends, log = START_US, list[int](), list[tuple[int, list[dict[str, Any]]]]()
    for step in told:
        now_us += step.gap_us
        if step.straggler is None or step.straggler >= len(ends):
            log.append((now_us, whole(f"j{len(ends)}", now_us - 2 * SECOND)))
            ends.append(now_us)
            continue
        number = len(ends) - 1 - step.straggler
        if not OVER_US - MINUTE < now_us - ends[number] < OVER_US + 3 * MINUTE:
            log.append((now_us, [job_event(step.kind, ends[number] - 2 * SECOND + 300_000, job_id=f"j{number}")]))
    return log


def replay(log: list[tuple[int, list[dict[str, Any]]]], limits: Limits, flushes: list[bool], crashes: bool) -> Rig:
    """Fold the log; flush where `flushes` says so, and before every pause, as a worker would have."""
    rig = Rig(limits)
    for index, (append_us, events) in enumerate(log):
        rig.hear(append_us, *events)
        pause_us = log[index + 1][0] - append_us if index + 1 < len(log) else MINUTE
        if pause_us >= 20 * SECOND or flushes[index % len(flushes)]:
            rig.flush()
            if crashes:
                rig.recover()
    return rig


@searching(150)
@given(steps, st.lists(st.booleans(), min_size=1, max_size=5), st.sampled_from([1, 3, 48_000]))
def test_when_it_is_saved_changes_nothing(told: list[Step], flushes: list[bool], recent: int) -> None:
    log, limits = messages(told), Limits(recent_attempts=recent)
    often = replay(log, limits, [True], crashes=False)
    others = [replay(log, limits, flushes, crashes=False), replay(log, limits, [True], crashes=True), replay(log, limits, flushes, crashes=True)]
    for other in others:
        assert other.fold.read() == often.fold.read()
        assert other.fold.counters == often.fold.counters
        same = other.published.keys() & often.published.keys()
        assert {key: other.published[key] for key in same} == {key: often.published[key] for key in same}


# -- bounds


def test_open_attempts_are_bounded_and_what_is_given_up_is_counted() -> None:
    rig = Rig(Limits(open_attempts=10))
    for n in range(40):
        kind = "enqueued" if n % 3 else "started"
        rig.hear(START_US + n * SECOND, job_event(kind, START_US + n * SECOND, job_id=f"j{n}"))
        assert len(rig.memory.open) <= 10
        if n % 7 == 0:
            rig.flush()
    rig.flush()
    assert rig.fold.counters.open_given_up == 30
    assert [named(key).job_id for key in rig.memory.open] == [f"j{n}" for n in range(30, 40)], "the oldest go"
    occupied = [occupies(attempt.facts) for attempt in rig.memory.open.values()]
    (gauge,) = rig.fold.read()["gauges"].values()  # type: ignore[attr-defined]
    assert gauge == (sum(runs for _, runs in occupied), sum(waits for waits, _ in occupied))
    assert len([key for key in rig.checkpoint if key.startswith(b"aacme")]) == 10, "given-up attempts leave the checkpoint"
    rig.recover()
    assert rig.fold.read()["gauges"] == {key: gauge for key in rig.fold.read()["gauges"]}  # type: ignore[attr-defined]


@pytest.mark.parametrize("recovering", [False, True])
def test_who_is_given_up_does_not_depend_on_a_crash(recovering: bool) -> None:
    rig = Rig(Limits(open_attempts=4))
    for job_id in ("d", "b", "c", "a"):
        rig.hear(START_US, job_event("enqueued", START_US, job_id=job_id))
    rig.flush()
    if recovering:
        rig.recover()
    rig.hear(START_US, job_event("enqueued", START_US, job_id="e"), job_event("enqueued", START_US, job_id="f"))
    assert sorted(named(key).job_id for key in rig.memory.open) == ["a", "c", "e", "f"]


@pytest.mark.parametrize("recent", [100, 48_000])
def test_three_hours_of_attempts_leave_a_bounded_state(recent: int) -> None:
    rig, every_us = Rig(Limits(recent_attempts=recent)), 3 * SECOND
    most_records = most_ended = 0
    for n in range(3 * 3600 * SECOND // every_us):
        now_us = START_US + n * every_us
        rig.hear(now_us, *whole(f"j{n}", now_us - SECOND))
        if n % 5 == 0:
            rig.flush()
        most_ended = max(most_ended, len(rig.memory.ended))
        if n * every_us > 2 * 3600 * SECOND:
            most_records = max(most_records, len(rig.checkpoint))
    kept_us = RECENT_US + 5 * every_us
    assert most_ended <= min(recent, kept_us // every_us) + 6
    assert len(rig.memory.forgotten._by_minute) <= FORGOTTEN_MINUTES + 1
    assert len(rig.fold.lifecycles.table.by_key) == 1
    (series,) = rig.fold.lifecycles.table.by_key.values()
    assert len(series.minutes) <= 65 + 3
    seconds = len(series.seconds) + len(series.at_rest())
    assert seconds <= 180 + 60 + 20  # a pack of seconds goes as a whole
    flushes = 5 * every_us
    chunks = OVER_US // flushes + 5, 65 * MINUTE // flushes + 5  # of attempts, and of the ids of 65 minutes
    assert most_records <= sum(chunks) + len(series.minutes) + seconds + 5
