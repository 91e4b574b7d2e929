"""Which minutes a batch changes: not one too few and not one too many, whatever was evicted, or forgotten in a crash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.sinks import batch, moves
from jobtide.sinks import known as known_module
from jobtide.sinks.batch import Record
from jobtide.sinks.executions import Execution, Key
from jobtide.sinks.known import EVERYTHING, Known, hash_of
from jobtide.sinks.moves import SKEW_US, Remembered
from jobtide.streams.events import Kind, decode, time_us
from jobtide.streams.folds.attempts import AttemptFacts, AttemptKey, contributions, facts_of, join

from tests.proof.job_events import SECOND, START_US, job_event, value_of
from tests.properties.searching import searching

KINDS = ["enqueued", "scheduled", "started", "heartbeat", "finished", "failed", "retry_scheduled", "dead", "discarded", "cancelled"]
# Far enough apart that most events change the minute of something; few jobs, so that most events meet an earlier one.
times = st.integers(0, 9).map(lambda n: START_US + n * 47 * SECOND)
maybe_time = st.none() | times


@st.composite
def moving_events(draw: st.DrawFn) -> dict[str, Any]:
    """Any job event of a few attempts whose minutes change often."""
    kind = draw(st.sampled_from(KINDS))
    return job_event(
        kind,
        draw(times),
        job_id=draw(st.sampled_from(["a", "b", "c"])),
        attempt=draw(st.sampled_from([1, 1, 2])),
        job_class=draw(st.sampled_from(["Welcome"] * 4 + ["Adopted"])),
        worker_id=draw(st.sampled_from([None, "w-1", "w-2"])),
        enqueued_at=draw(maybe_time),
        started_at=draw(maybe_time),
        run_at=draw(times if kind == "retry_scheduled" else st.none() | maybe_time),
        duration_ms=draw(st.none() | st.sampled_from([0, 0.0005, 1, 47_000, 3.1415])),
    )


# An event is appended when it happens or a while later; the second number repeats it later still.
delays = st.sampled_from([0, 0, 0, 1, 90, 600])
appended = st.lists(st.tuples(moving_events(), delays, st.none() | delays), min_size=8, max_size=30)


def in_append_order(drawn: list[tuple[dict[str, Any], int, int | None]]) -> list[tuple[int, dict[str, Any]]]:
    """(append time, event), with ids that tell them apart."""
    log = []
    for number, (event, delay_s, again_s) in enumerate(drawn):
        event["id"] = f"event-{number:012d}"
        at_us = time_us(event["time"]) + delay_s * SECOND
        log.append((at_us, event))
        if again_s is not None:
            log.append((at_us + again_s * SECOND, event))
    return sorted(log, key=lambda pair: pair[0])


def add_facts(known: dict[AttemptKey, AttemptFacts], event: dict[str, Any]) -> None:
    """The reference: `facts_of` and `join`."""
    decoded = decode(value_of(event))[0]
    if decoded.kind in (Kind.HEARTBEAT, Kind.PROGRESS):
        return
    for key, facts in facts_of(decoded.kind, decoded.data, decoded.time_us):  # type: ignore[arg-type]
        known[key] = join(known[key], facts) if key in known else facts


def counted(known: dict[AttemptKey, AttemptFacts]) -> dict[tuple[str, int], Counter[Any]]:
    """What each minute counts, exactly."""
    minutes: dict[tuple[str, int], Counter[Any]] = {}
    for key, facts in known.items():
        for c in contributions(facts):
            minute = minutes.setdefault((key.tenant, c.time_us // 60_000_000 * 60), Counter())
            minute[key, facts.job_class, c.field, c.sample_us] += 1
    return minutes


@searching(300)
@given(appended, st.sampled_from([1, 2, 1000]), st.integers(1, 6), st.data())
def test_every_minute_that_changes_is_named_and_every_row_is_whole(drawn: list[Any], limit: int, size: int, data: st.DataObject) -> None:
    log = in_append_order(drawn)
    memory, seen = Remembered(limit), known_of({})
    known: dict[AttemptKey, AttemptFacts] = {}
    for start in range(0, len(log), size):
        part = log[start : start + size]
        if data.draw(st.sampled_from([False, False, False, True])):
            memory, seen = Remembered(limit), known_of(known)  # killed and started again
        prepared = batch.prepare([Record(0, start + i, at_us, value_of(e)) for i, (at_us, e) in enumerate(part)], 1)
        attempts = prepared.attempts[0]
        before = counted(known)
        wanted = moves.unknown(memory, seen, attempts)
        stored = {key: Execution(known[AttemptKey(*key)], 0, 0, 0) for key in wanted if key in known}
        named, whole = moves.changed(memory, seen, attempts, stored)
        memory.age()
        for _, event in part:
            add_facts(known, event)
        after = counted(known)
        changed = {minute for minute in before.keys() | after.keys() if before.get(minute) != after.get(minute)}
        assert named == changed
        for key, execution in whole:
            facts = known[AttemptKey(*key)]
            assert contributions(execution.facts) == contributions(facts)
            assert execution.facts.job_class == facts.job_class


def known_of(attempts: Iterable[Key]) -> Known:
    """What a new owner finds in ClickHouse."""
    known = Known()
    for key in attempts:
        known.add(hash_of(key))
    return known


def test_the_memory_is_bounded_and_keeps_the_newest() -> None:
    memory = Remembered(2)
    execution = Execution(AttemptFacts(job_class="C", worker_id="w", enqueued_us=1), 1, 2, 3, ("Boom", "", ""))
    for number in range(10):
        memory.put(number, execution)
        memory.age()
        assert len(memory) <= 4
        assert number in memory
    assert memory.get(9) == Execution(AttemptFacts(job_class="C", enqueued_us=1), 1, 2, 0)
    assert 0 not in memory
    assert memory.get(0) is None
    assert execution.facts.worker_id == "w", "what is remembered is a copy"


def test_the_filter_never_forgets_what_it_says_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FIRST_BITS", 1 << 10), ("LARGEST_BITS", 1 << 12), ("MOST_BITS", 1 << 13)):
        monkeypatch.setattr(known_module, name, value)
    known = Known()
    hashes = [hash_of(("acme", "default", "celery", "mail", f"job-{n}", 1)) for n in range(2_000)]
    for number, hashed in enumerate(hashes):
        known.add(hashed)
        known.age(number)
        since = max(known.complete_since_us, 0)
        assert number < 400 or since >= number - 800, "the size is bounded"
        assert all(earlier in known for earlier in hashes[since + 1 : number + 1 : 7])
    strangers = [hash_of(("acme", "default", "celery", "mail", f"other-{n}", 1)) for n in range(2_000)]
    assert sum(stranger in known for stranger in strangers) < 30
    assert sum(early in known for early in hashes[:500]) < 30


def test_an_attempt_older_than_the_filter_is_looked_up_unless_it_is_new() -> None:
    known, memory = Known(complete_since_us=START_US), Remembered(10)

    def asked(append_us: int, **times: int) -> bool:
        prepared = batch.prepare([Record(0, 0, append_us, value_of(job_event("started", append_us, **times)))], 1)
        return bool(moves.unknown(memory, known, prepared.attempts[0]))

    later_us = START_US + 60 * SECOND
    assert not asked(later_us, enqueued_at=START_US + SKEW_US), "enqueued since the filter is complete: it would be in it"
    assert asked(later_us, enqueued_at=START_US + SKEW_US - 1)
    assert asked(later_us), "nothing says when it was enqueued"
    assert asked(later_us, enqueued_at=later_us + 1), "a clock that claims the future proves nothing"
    known.complete_since_us = EVERYTHING
    assert not asked(later_us)
