"""The facts of an attempt: a join-semilattice, and what they count for; the hot path of `Lifecycles` counts the same."""

from __future__ import annotations

from functools import reduce
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.streams.events import Event, decode
from jobtide.streams.folds.attempts import (
    DEAD,
    ENQUEUED,
    FAILED,
    FINISHED,
    OUTCOME_FIELD,
    RETRIED,
    STARTED,
    AttemptFacts,
    Outcome,
    contributions,
    facts_of,
    join,
)
from jobtide.streams.folds.counters import Limits
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.saving import save
from jobtide.streams.folds.source import SourceFold

from tests.proof.job_events import MINUTE, SECOND, START_US, job_event, value_of
from tests.properties.searching import searching

KINDS = (
    "enqueued", "scheduled", "started", "heartbeat", "progress", "finished", "failed", "retry_scheduled", "dead", "discarded", "cancelled"
)  # fmt: skip
COUNTING = [kind for kind in KINDS if kind not in ("heartbeat", "progress")]

# A coarse grid, so that times are often equal; two far points, so that panes are often gone.
times = st.integers(0, 12).map(lambda n: START_US + n * 7 * SECOND) | st.sampled_from([START_US + 4 * MINUTE, START_US + 70 * MINUTE])
maybe_time = st.none() | times


@st.composite
def job_events(draw: st.DrawFn, kinds: tuple[str, ...] | list[str] = KINDS, attempts: int = 2) -> dict[str, Any]:
    """Any job event of a very small world: two jobs, two queues, two classes, two workers."""
    kind = draw(st.sampled_from(kinds))
    held = kind in ("started", "heartbeat", "progress", "finished", "failed")
    return job_event(
        kind,
        draw(times),
        job_id=draw(st.sampled_from(["a", "b"])),
        attempt=draw(st.integers(1, attempts)),
        queue=draw(st.sampled_from(["mail", "mail", "bulk"])),
        job_class=draw(st.sampled_from(["Welcome", "Welcome", "Adopted"])),
        worker_id=draw(st.sampled_from(["w-1", "w-2"])) if held or draw(st.booleans()) else None,
        enqueued_at=draw(maybe_time),
        started_at=draw(maybe_time),
        run_at=draw(times if kind == "retry_scheduled" else maybe_time),
        duration_ms=draw(st.none() | st.sampled_from([0, 0.0005, 1, 7000, 3.1415])),
    )


def all_facts(events: list[dict[str, Any]]) -> list[AttemptFacts]:
    """What events say of attempt 1 of one job, whichever job and attempt they name."""
    decoded: list[Event] = [decode(value_of(event))[0] for event in events]
    return [facts for event in decoded for _, facts in facts_of(event.kind, event.data, event.time_us)]  # type: ignore[arg-type]


def joined(events: list[dict[str, Any]]) -> AttemptFacts:
    return reduce(join, all_facts(events), AttemptFacts())


facts = st.lists(job_events(COUNTING), max_size=4).map(joined)


@searching(150)
@given(facts, facts, facts)
def test_join_is_associative_commutative_and_idempotent(a: AttemptFacts, b: AttemptFacts, c: AttemptFacts) -> None:
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(a, b) == join(b, a)
    assert join(a, a) == a
    assert join(join(a, b), b) == join(a, b)
    assert join(a, AttemptFacts()) == a


@searching(150)
@given(st.lists(job_events(COUNTING), min_size=1, max_size=8), st.data())
def test_what_an_attempt_counts_for_depends_on_the_set_of_its_events(events: list[dict[str, Any]], data: st.DataObject) -> None:
    other_order = data.draw(st.permutations(events)) + data.draw(st.lists(st.sampled_from(events)))
    assert contributions(joined(events)) == contributions(joined(other_order))


@searching(150)
@given(facts)
def test_a_transition_counts_once(known: AttemptFacts) -> None:
    before = AttemptFacts(*known.record())
    fields = [change.field for change in contributions(known)]
    assert known == before, "reading changed the facts"
    assert len(fields) == len(set(fields))
    outcomes = [field for field in fields if field in OUTCOME_FIELD]
    assert len(outcomes) <= 1
    if FINISHED in fields or FAILED in fields:
        assert STARTED in fields, "what ended had begun"
    for change in contributions(known):
        assert change.sample_us is None or change.field in (STARTED, FINISHED, FAILED)


def counted(*events: dict[str, Any]) -> dict[int, tuple[int, int | None]]:
    """field -> (time since START in µs, sample)"""
    return {change.field: (change.time_us - START_US, change.sample_us) for change in contributions(joined(list(events)))}


def at(kind: str, second: float, **more: Any) -> dict[str, Any]:
    return job_event(kind, START_US + round(second * SECOND), **more)


def test_the_plain_attempt() -> None:
    assert counted(at("enqueued", 0), at("started", 3), at("finished", 10, duration_ms=6_900)) == {
        ENQUEUED: (0, None), STARTED: (3 * SECOND, 3 * SECOND), FINISHED: (10 * SECOND, 6_900_000),
    }  # fmt: skip


def test_a_deliberate_delay_is_no_wait() -> None:
    assert counted(at("scheduled", 0, run_at=START_US + 60 * SECOND), at("started", 61))[STARTED] == (61 * SECOND, SECOND)


def test_a_wait_that_clocks_make_negative_is_kept_raw() -> None:
    assert counted(at("enqueued", 5), at("started", 3))[STARTED] == (3 * SECOND, -2 * SECOND)


def test_the_wait_begins_at_what_events_say_where_no_enqueue_was_seen() -> None:
    assert counted(at("started", 9, enqueued_at=START_US + SECOND)) == {STARTED: (9 * SECOND, 8 * SECOND)}
    assert counted(at("started", 9)) == {STARTED: (9 * SECOND, None)}


def test_an_end_implies_a_start() -> None:
    assert counted(at("finished", 9, started_at=START_US + SECOND))[STARTED] == (SECOND, None)
    assert counted(at("finished", 9, duration_ms=2_000))[STARTED] == (7 * SECOND, None)
    assert counted(at("failed", 9)) == {STARTED: (9 * SECOND, None), FAILED: (9 * SECOND, None)}
    assert STARTED not in counted(at("cancelled", 9))
    assert STARTED not in counted(at("discarded", 9))


def test_the_started_event_beats_what_an_end_implies() -> None:
    told = at("finished", 9, started_at=START_US + SECOND), at("started", 2)
    assert counted(*told) == counted(*reversed(told)) == {STARTED: (2 * SECOND, None), FINISHED: (9 * SECOND, 7 * SECOND)}


def test_a_start_that_nothing_measured_gives_no_sample() -> None:
    assert counted(at("enqueued", 0), at("finished", 9)) == {ENQUEUED: (0, None), STARTED: (9 * SECOND, None), FINISHED: (9 * SECOND, None)}


def test_of_two_that_say_the_same_the_earlier_counts_and_of_two_delays_the_longer() -> None:
    told = [
        at(kind, second, enqueued_at=START_US + round((second - 5) * SECOND), run_at=START_US + round((second + 5) * SECOND))
        for second in (7, 6, 8) for kind in ("enqueued", "started", "dead", "retry_scheduled")
    ]  # fmt: skip
    known = joined([event for event in told if event["type"] != "job.retry_scheduled.v1"])
    assert (known.enqueued_us, known.started_us, known.dead_us) == (START_US + 6 * SECOND,) * 3
    assert (known.queued_us, known.eligible_us) == (START_US + SECOND, START_US + 13 * SECOND)
    retried = [facts for event in told if event["type"] == "job.retry_scheduled.v1" for facts in all_facts([event])]
    assert reduce(join, retried[::2]).retried_us == reduce(join, retried[1::2]).enqueued_us == START_US + 6 * SECOND
    assert joined([at("finished", 9, duration_ms=2_000), at("failed", 8, duration_ms=3_000)]).implied_us == START_US + 5 * SECOND
    assert joined([at("started", 1, worker_id="w-2"), at("started", 2, worker_id="w-1")]).worker_id == "w-1"


def test_outcomes_go_by_rank_then_time_and_duration_goes_with_its_outcome() -> None:
    failed = at("failed", 5, duration_ms=1_000)
    assert counted(failed, at("finished", 9, duration_ms=4_000))[FINISHED] == (9 * SECOND, 4 * SECOND)
    assert FAILED not in counted(failed, at("finished", 9))
    assert counted(failed, at("failed", 4, duration_ms=3_000))[FAILED] == (4 * SECOND, 3 * SECOND)
    assert counted(failed, at("failed", 5, duration_ms=900))[FAILED] == (5 * SECOND, 900_000)
    assert counted(failed, at("failed", 5))[FAILED] == (5 * SECOND, SECOND)
    for worse, better in (("discarded", "cancelled"), ("cancelled", "failed"), ("failed", "finished")):
        rank = Outcome[better.upper()]
        assert joined([at(worse, 1), at(better, 2)]).outcome == joined([at(better, 2), at(worse, 1)]).outcome == rank


def test_a_retry_is_a_flag_of_one_attempt_and_the_enqueue_of_the_next() -> None:
    event = decode(value_of(at("retry_scheduled", 4, run_at=START_US + 64 * SECOND, enqueued_at=START_US)))[0]
    (first, told), (second, follows) = facts_of(event.kind, event.data, event.time_us)  # type: ignore[arg-type]
    assert (first.attempt, second.attempt) == (1, 2)
    assert [change.field for change in contributions(told)] == [RETRIED]
    assert told.eligible_us is None, "the delay is the next attempt's"
    assert (follows.enqueued_us, follows.eligible_us, follows.queued_us) == (START_US + 4 * SECOND, START_US + 64 * SECOND, None)


def test_dead_is_a_flag_beside_the_outcome() -> None:
    assert counted(at("started", 1), at("failed", 2), at("dead", 3)).keys() == {STARTED, FAILED, DEAD}


# -- the hot path


def folds(limits: Limits) -> tuple[SourceFold, SourceFold]:
    """One that takes shortcuts, and one that joins each event's facts and assumes nothing of what came before."""
    fast, slow = SourceFold(0, 1, limits), SourceFold(0, 1, limits)
    slow.lifecycles.shortcuts = False
    return fast, slow


# What sets an event apart from the usual one: the fast paths must notice each. None: it never came.
ODDITIES: list[dict[str, Any] | None] = [
    {}, None, {"job_class": "Adopted"}, {"worker_id": "w-0"}, {"worker_id": "w-2"}, {"enqueued_at": START_US - 9 * SECOND},
    {"enqueued_at": START_US + SECOND}, {"run_at": START_US + SECOND}, {"run_at": START_US + 8 * SECOND}, {"duration_ms": None},
    {"started_at": None}, {"started_at": START_US - SECOND},
]  # fmt: skip


def typical(odd: tuple[dict[str, Any] | None, ...], end: str, at_us: int, first_us: int, second_us: int, **same: Any) -> list[dict[str, Any]]:
    """Enqueued, started, ended: what nearly every attempt looks like, with something odd about each."""
    measured: dict[str, Any] = {"duration_ms": second_us / 1000, "started_at": at_us + first_us}
    times_us = at_us, at_us + first_us, at_us + first_us + second_us
    told: list[dict[str, Any]] = [{}, {}, measured]
    return [
        job_event(kind, time_us, **{**same, **data, **oddity})
        for kind, time_us, data, oddity in zip(("enqueued", "started", end), times_us, told, odd, strict=True) if oddity is not None
    ]  # fmt: skip


typical_lives = st.builds(
    typical,
    st.tuples(*[st.sampled_from([{}, {}, *ODDITIES])] * 3),
    st.sampled_from(["finished", "failed"]),
    st.integers(0, 90).map(lambda second: START_US + second * SECOND),
    st.integers(-2, 5).map(lambda second: second * SECOND),
    st.integers(0, 9).map(lambda second: second * SECOND),
    job_id=st.sampled_from(["a", "b"]),
    attempt=st.integers(1, 2),
)
arrivals = st.tuples(
    st.sampled_from([0, 0, 0, SECOND, 40 * SECOND, 20 * MINUTE]),  # how much later than the one before it reaches Kafka
    st.sampled_from(["", "", "", "publish", "save"]),  # what is done after it
)


@pytest.mark.parametrize("first", ["dead", "enqueued", "retry_scheduled"])
def test_a_fast_start_ends_a_wait_only_where_one_had_begun(first: str) -> None:
    """A dead letter may be the first that is heard of an attempt: it is open then, and not waiting."""
    fast, slow = folds(Limits())
    run_at = START_US + MINUTE if first == "retry_scheduled" else None
    for offset, event in enumerate([at(first, 1, run_at=run_at), at("started", 2)]):
        for fold in (fast, slow):
            fold.fold([offset], [START_US + MINUTE], [value_of(event)])
        assert fast.read() == slow.read()
    series = next(iter(fast.lifecycles.table.by_key.values()))
    assert (series.running, series.waiting) == (1, int(first == "retry_scheduled")), "a retry has the next attempt wait"


@pytest.mark.parametrize("end", ["finished", "failed"])
def test_the_fast_paths_notice_everything_odd(end: str) -> None:
    """Every odd enqueue with every odd start with every odd end, twice over."""
    for number, odd in enumerate(product(ODDITIES, repeat=3)):
        fast, slow = folds(Limits())
        events = typical(odd, end, START_US, 3 * SECOND, 4 * SECOND)
        for offset, event in enumerate(events + events[::-1] if number % 7 == 0 else events):
            for fold in (fast, slow):
                fold.fold([offset], [START_US + MINUTE], [value_of({**event, "id": f"event-{offset:012d}"})])
        assert fast.read() == slow.read(), odd
        assert save(fast) == save(slow), odd


@searching(200)
@given(st.lists(st.lists(job_events(), max_size=3) | typical_lives | typical_lives, min_size=1, max_size=8), st.data())
def test_the_fast_paths_do_what_the_general_path_does(lives: list[list[dict[str, Any]]], data: st.DataObject) -> None:
    """Equal in everything that leaves the fold: read-outs, counters, published records, checkpoint records."""
    events = [event for life in lives for event in life]
    if data.draw(st.booleans()):
        events = data.draw(st.permutations(events))
    fast, slow = folds(Limits(open_attempts=data.draw(st.sampled_from([2, 1000])), recent_attempts=data.draw(st.sampled_from([1, 1000]))))
    publishers = Publisher(fast), Publisher(slow)
    steps = data.draw(st.lists(arrivals, min_size=1, max_size=12))
    append_us = START_US + 12 * 7 * SECOND
    for offset, event in enumerate(events):
        later_us, then = steps[offset % len(steps)]
        append_us += later_us
        value = value_of({**event, "id": f"event-{offset:012d}"})
        for fold in (fast, slow):
            fold.fold([offset], [append_us], [value])
        if then == "publish":
            assert publishers[0].collect("active") == publishers[1].collect("active")
        elif then == "save":
            assert save(fast) == save(slow)
        assert fast.read() == slow.read()
        assert fast.counters == slow.counters
    assert [publisher.collect("active") for publisher in publishers[:1]] == [publisher.collect("active") for publisher in publishers[1:]]
    assert save(fast) == save(slow)
